"""A method that meets data which its paper does not assume says so, once."""

import warnings

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import testing
from jood.core import assumptions
from jood.models import swin
from jood.models import vit

IMAGES, LABELS = testing.toy_images(16, seed=0)
NEGATIVE = jood.Activations.of(-jnp.ones((2, 4)), jnp.ones((4, 2)))


def negative_stage_net(offset=-5.0):
    class Stage(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x + offset

    class Net(nn.Module):
        @nn.compact
        def __call__(self, images):
            x = Stage(name="C4")(images)
            x = nn.relu(Stage(name="C5")(x) + 10.0)
            return nn.Dense(testing.CLASSES, name="head")(x.mean((1, 2)))

    return Net()


@pytest.mark.parametrize(
    "text",
    ["ash_p()|energy()", "ash_b()|energy()", "ash_s()|energy()", "scale()|energy()"],
)
def test_negative_features_are_told_with_the_paper_s_assumption(text):
    component = jood.parse(text)
    with pytest.warns(jood.AssumptionWarning, match=r"negative.*ReLU.*(ASH|SCALE)"):
        component.apply((), NEGATIVE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        vit.ViT(3, image_size=8, patch=4, width=8, depth=4, heads=2, mlp_width=8),
        swin.Swin((1, 1, 1, 1), (1, 1, 1, 1), 3, width=4, window=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_on_a_transformer_shaping_methods_name_what_leads_there(model):
    images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 3)), "float32")
    variables = jax.jit(model.init)(jax.random.key(0), images)
    shaping = ("ash_p()", "ash_b()", "ash_s()", "scale()", "ta(stage='C4')")
    parts = ", ".join(f"s{i}={text}|energy()" for i, text in enumerate(shaping))
    detector = jood.Detector(f"bundle({parts})", model, variables)
    with pytest.warns(jood.AssumptionWarning) as caught:
        detector(images)
    told = {str(warning.message) for warning in caught}
    assert {text.partition("(")[0] for text in told} == {
        "ash_p", "ash_b", "ash_s", "scale", "ta",
    }  # fmt: skip
    for text in told:
        assert "'normalise()|mahalanobis()' (MDS++)" in text
        assert "'normalise()|relative_mahalanobis()' (RMDS++)" in text


def test_vra_says_so_too():
    component = jood.parse("vra()|energy()")
    train = jood.Activations.of(jnp.ones((8, 4)).at[0].set(2), jnp.ones((4, 2)))
    fitted = jood.fit(component, [train])
    with pytest.warns(jood.AssumptionWarning, match="vra.*negative"):
        component.apply(fitted, NEGATIVE)


def test_react_says_when_its_quantile_is_zero():
    sparse = jnp.zeros((8, 4)).at[:, 0].set(jnp.arange(1.0, 9))  # three quarters are 0
    train = jood.Activations.of(sparse, jnp.ones((4, 2)))
    with pytest.warns(jood.AssumptionWarning, match=r"react\(q=0\.5\).*is 0.*larger q"):
        jood.fit(jood.parse("react(q=0.5)|energy()"), [train])
    jood.fit(jood.parse("react(q=0.9)|energy()"), [train])  # warnings are errors here


def test_a_detector_warns_of_a_map_without_activation_once():
    detector = jood.Detector(
        "ta(k=0.2)|feature_sim()", negative_stage_net(), testing.toy_variables()
    )
    with pytest.warns(jood.AssumptionWarning, match=r"ta\(.*'C4'.*Eq\. 5"):
        detector(IMAGES)
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()  # pytest shows all; users see each text once
        warnings.simplefilter("default")
        for _ in range(3):
            detector(IMAGES)
    assert len(caught) == 1


def test_one_image_of_a_batch_suffices():
    """On a CPU its map is looked at with a few others, in a loop."""
    images = np.abs(IMAGES)
    detector = jood.Detector(
        "ta(k=0.2)|feature_sim()", negative_stage_net(0.0), testing.toy_variables()
    )
    detector(images)  # warnings are errors here
    images[13, 2, 1, 0] = -1.0
    with pytest.warns(jood.AssumptionWarning, match=r"ta\(.*'C4'.*Eq\. 5"):
        detector(images)


def test_activated_maps_and_features_give_no_warning():
    text = "bundle(a=ta()|feature_sim(), b=ash_s()|energy(), c=scale()|energy())"
    detector = jood.Detector(text, testing.ToyNet(), testing.toy_variables())
    detector(IMAGES)  # warnings are errors here


def test_the_scores_are_the_same_as_without_anyone_listening():
    detector = jood.Detector(
        "ta(k=0.2)|feature_sim()", negative_stage_net(), testing.toy_variables()
    )
    with pytest.warns(jood.AssumptionWarning):
        scores = detector(IMAGES)
    acts = jood.observe(
        detector.model, detector.variables, IMAGES, edits=detector.component.edits
    )
    with pytest.warns(jood.AssumptionWarning):
        expected = detector.component.apply((), acts)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_what_is_collected_is_the_union_of_all_that_was_assumed():
    with assumptions.collected() as found:
        assumptions.assume(jnp.array(True), "a")
        assumptions.assume(jnp.array(False), "b")
        assumptions.assume(jnp.array(True), "b")
        with assumptions.ignored():
            assumptions.assume(jnp.array(False), "c")
    assert {k: bool(v) for k, v in found.items()} == {"a": False, "b": True}
    with pytest.warns(jood.AssumptionWarning, match="^b$") as caught:
        assumptions.warn(found)
    assert len(caught) == 1
