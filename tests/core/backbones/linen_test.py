"""`observe`: what it reads, what an edit changes, and what it costs."""

import functools
import re

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import models
from jood import testing
from jood.core import added_heads
from jood.core import compose
from jood.core.backbones import linen
from jood.core.backbones import observing
from jood.core.fitting import fit
from jood.methods import detector_text
from jood.methods.transforms import ta

TAPS = linen.Taps(stages={"C4": "body/two", "C5": "top"}, head="classifier")


class _Conv(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(6, (3, 3), name="conv")(x))


class _Body(nn.Module):
    cut: float
    double: bool

    @nn.compact
    def __call__(self, x):
        x = _Conv(name="one")(x)
        two = _Conv(name="two")
        x = nn.relu(two(x) - self.cut)  # cut = 0 leaves the ReLU's output as it is
        return two(x) if self.double else x


class _Net(nn.Module):
    """Names of its own; `cut` is TA after 'body/two', written out by hand."""

    cut: float = 0.0
    double: bool = False
    use_bias: bool = True

    @nn.compact
    def __call__(self, images):
        x = _Body(self.cut, self.double, name="body")(images)
        x = _Conv(name="top")(x).mean(axis=(1, 2))
        return nn.Dense(3, use_bias=self.use_bias, name="classifier")(x)


class _NormHead(nn.Module):
    @nn.compact
    def __call__(self, images):
        return nn.LayerNorm(name="head")(images.mean(axis=(1, 2)))


IMAGES = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)


@functools.cache
def _variables(model):
    """Plausible values; compiling the model's own `init` takes ten seconds."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if path[-1].key in ("var", "scale"):
            return np.ones(leaf.shape, np.float32)
        fan_in = np.prod(leaf.shape[:-1]) if path[-1].key == "kernel" else 100
        return rng.normal(0, (2 / fan_in) ** 0.5, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(fill, _shapes(model, IMAGES))


def _shapes(model, images):
    return jax.eval_shape(model.init, jax.random.key(0), images)


def _observe(model, *parts, variables=None, **options):
    edits = tuple(path for part in parts for path in part.edits)

    @jax.jit
    def run(variables, images):
        return observing.observe(model, variables, images, edits=edits, **options)

    return run(variables or _variables(model), IMAGES)


RESNET = models.create("resnet_small_8x8", 5, width=8)


# The plain record.


@pytest.mark.slow
def test_record_of_a_resnet_has_its_stages_feature_and_logits():
    acts = _observe(RESNET)
    assert list(acts.stages) == ["C3", "C4", "C5"]
    chex.assert_shape(
        [acts.stages[name] for name in ("C3", "C4", "C5")],
        [(4, 8, 8, 8), (4, 4, 4, 16), (4, 2, 2, 32)],
    )
    chex.assert_shape([acts.penultimate, acts.original], (4, 32))
    chex.assert_shape([acts.kernel, acts.bias, acts.logits], [(32, 5), (5,), (4, 5)])
    logits = jax.jit(RESNET.apply)(_variables(RESNET), IMAGES)
    np.testing.assert_allclose(acts.logits, logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(acts.prediction, logits.argmax(-1))
    pooled = acts.stages["C5"].mean(axis=(1, 2))
    np.testing.assert_allclose(acts.penultimate, pooled, rtol=1e-5)
    assert acts.labels is None
    assert acts.edited == {}


@pytest.mark.parametrize("use_bias", [True, False])
def test_taps_name_the_modules_of_any_model(use_bias):
    net = _Net(use_bias=use_bias)
    variables = _variables(net)
    acts = _observe(net, taps=TAPS)
    chex.assert_shape([acts.stages["C4"], acts.stages["C5"]], (4, 8, 8, 6))
    logits = net.apply(variables, IMAGES)
    np.testing.assert_allclose(acts.logits, logits, rtol=1e-5, atol=1e-6)
    body = variables["params"]["body"]
    first = _Conv().apply({"params": body["one"]}, IMAGES)
    second = _Conv().apply({"params": body["two"]}, first)
    np.testing.assert_allclose(acts.stages["C4"], second, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_bfloat16_network_keeps_its_maps_and_gives_float32_features():
    model = models.create("resnet_small_8x8", 5, width=8, dtype="bfloat16")
    part = ta(k=0.1)
    acts = _observe(model, part)
    for record in (acts, acts.edit(part.spec)):
        chex.assert_type(record.stages["C4"], jnp.bfloat16)
        chex.assert_type([record.penultimate, record.logits], jnp.float32)


# Stage edits.


def test_edited_record_is_that_of_a_network_with_the_threshold_built_in():
    part = ta(k=0.3)
    edited = _observe(_Net(), part, taps=TAPS).edit(part.spec)
    expected = _Net(cut=0.3).apply(_variables(_Net()), IMAGES)
    np.testing.assert_allclose(edited.logits, expected, rtol=1e-5, atol=1e-6)
    plain = _Net().apply(_variables(_Net()), IMAGES)
    assert not np.allclose(edited.logits, plain, rtol=1e-2)


def test_edit_changes_its_stage_and_what_follows_and_nothing_before():
    part = ta(k=0.5, stage="C4")
    acts = _observe(RESNET, part)
    edited = acts.edit(part.spec)
    np.testing.assert_array_equal(edited.stages["C3"], acts.stages["C3"])
    cut = jnp.maximum(acts.stages["C4"] - 0.5, 0)
    np.testing.assert_allclose(edited.stages["C4"], cut, atol=1e-6)
    for before, after in [
        (acts.stages["C5"], edited.stages["C5"]),
        (acts.penultimate, edited.penultimate),
        (acts.logits, edited.logits),
    ]:
        assert not np.allclose(before, after, rtol=1e-2)


@pytest.mark.slow
def test_edits_leave_the_plain_record_as_it_is():
    plain, acts = _observe(RESNET), _observe(RESNET, ta(k=0.3))
    chex.assert_trees_all_close(acts.replace(edited={}), plain, rtol=1e-5, atol=1e-6)


def test_prediction_original_and_labels_stay_those_of_the_plain_pass():
    params = _variables(_Net())["params"]
    kernel = np.abs(params["classifier"]["kernel"])
    kernel[:, 0] = -1.0  # with activations >= 0 class 0 comes last,
    bias = np.array([1e-6, 0, 0], np.float32)  # but first when all is cut away
    params = {**params, "classifier": {"kernel": kernel, "bias": bias}}
    part = ta(k=1e6, stage="C5")
    labels = jnp.array([2, 1, 0, 1])
    options = {"variables": {"params": params}, "labels": labels, "taps": TAPS}
    acts = _observe(_Net(), part, **options)
    edited = acts.edit(part.spec)
    assert (acts.prediction != 0).all()
    np.testing.assert_array_equal(edited.logits.argmax(-1), np.zeros(4))
    np.testing.assert_array_equal(edited.prediction, acts.prediction)
    np.testing.assert_array_equal(edited.original, acts.penultimate)
    np.testing.assert_array_equal(edited.penultimate, np.zeros((4, 6)))
    np.testing.assert_array_equal(edited.labels, labels)


@pytest.mark.slow
def test_nested_edits_apply_both():
    first, second = ta(k=0.3, stage="C3"), ta(k=0.4, stage="C4")
    both = compose.chain(first, second)
    assert [[e.stage for e in path] for path in both.edits] == [["C3", "C4"]]
    acts = _observe(RESNET, both, second)
    assert list(acts.edited) == [first.spec, second.spec]
    once = acts.edit(first.spec)
    twice = once.edit(second.spec)
    np.testing.assert_allclose(
        twice.stages["C4"], jnp.maximum(once.stages["C4"] - 0.4, 0), atol=1e-6
    )
    np.testing.assert_array_equal(twice.stages["C3"], once.stages["C3"])
    assert not np.allclose(twice.logits, acts.edit(second.spec).logits, rtol=1e-3)
    assert not np.allclose(twice.logits, once.logits, rtol=1e-3)
    np.testing.assert_array_equal(twice.prediction, acts.prediction)
    np.testing.assert_array_equal(both.apply((), acts).logits, twice.logits)


def test_a_record_without_the_edit_says_what_it_needs():
    acts = _observe(RESNET, ta(k=0.3))
    with pytest.raises(ValueError, match=r"no run with the edit ta\(k=0.7.*k=0.3"):
        ta(k=0.7).apply((), acts)


# What is refused.


def test_an_edit_of_a_missing_stage_lists_those_there_are():
    match = r"needs the stage 'C2'.*it has: C3, C4, C5\..*modules: .*head"
    with pytest.raises(ValueError, match=match):
        _observe(RESNET, ta(stage="C2"))


@pytest.mark.parametrize(
    ("head", "match"),
    [
        ("fc", r"head 'fc' was called 0 times.*modules: .*classifier"),
        (
            "top",
            r"head 'top' must be a Dense module with a kernel.*found parameters: conv",
        ),
    ],
)
def test_a_wrong_head_says_so(head, match):
    taps = linen.Taps(stages=TAPS.stages, head=head)
    with pytest.raises(ValueError, match=match):
        _observe(_Net(), taps=taps)


def test_a_head_that_is_no_dense_module_says_so():
    with pytest.raises(ValueError, match=r"Dense module with a kernel.*bias, scale"):
        _observe(_NormHead())


def test_a_stage_that_is_called_twice_is_refused():
    with pytest.raises(ValueError, match="'body/two' was called 2 times"):
        _observe(_Net(double=True), taps=TAPS)


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 4, 8, 8, 3)])
def test_images_of_wrong_rank_are_refused(shape):
    with pytest.raises(ValueError, match=r"\[B, H, W, C\], got shape"):
        observing.observe(RESNET, _variables(RESNET), jnp.zeros(shape))


# What it costs: the layers before an edit run once.


def _compiled(model, variables, images, component=None, fitted=()):
    def score(fitted, variables, images):
        edits = component.edits if component else ()
        acts = observing.observe(model, variables, images, edits=edits)
        return component.apply(fitted, acts) if component else acts.logits

    return jax.jit(score).lower(fitted, variables, images).compile()


# 20 convolutions, 5 of them in each of C3, C4 and C5.
RESNET18 = models.create("resnet18_cifar", testing.CLASSES, width=4)


def _convolutions(compiled):
    """Counts the convolutions of the network that a compiled program runs.

    The 1x1 ones are matrix products there, as are the head and much of what detectors
    compute; the compiler keeps the name of the module that an instruction is from.
    """
    name = r'op_name="[^"]*/(?:conv\d|downsample_conv)/[^"/]*"'
    instruction = rf"= \S+ (?:convolution|dot)\(.*{name}"
    return len(re.findall(instruction, compiled.as_text()))


@pytest.mark.slow
def test_threshold_at_c4_of_a_resnet50_costs_the_ten_convolutions_of_c5():
    model = models.create("resnet50", 1000)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = _shapes(model, images)
    plain = _compiled(model, variables, images)
    part = detector_text.parse("bundle(a=energy(), b=ta(k=0.2)|feature_sim())")
    both = _compiled(model, variables, images, part)
    assert (_convolutions(plain), _convolutions(both)) == (53, 63)
    ratio = both.cost_analysis()["flops"] / plain.cost_analysis()["flops"]
    assert 1.1 < ratio <= 1.20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("bundle(a=msp(), b=ta()|msp(), c=ta()|energy())", 20 + 5),
        ("bundle(a=msp(), b=ta(k=0.1)|msp(), c=ta(k=0.2)|msp())", 20 + 5 + 5),
        ("bundle(a=msp(), b=ta()|ta(stage='C5')|msp(), c=ta(stage='C3')|msp())", 35),
        ("ta(k=0.2, stage='C3')|feature_sim()", 20),  # nobody reads the plain record
    ],
)
def test_each_distinct_edit_costs_the_layers_after_it(text, count):
    part = detector_text.parse(text)
    compiled = _compiled(RESNET18, _variables(RESNET18), IMAGES, part)
    assert _convolutions(compiled) == count


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:openmax")  # random logits are rarely correct
def test_all_methods_together_cost_one_pass_and_their_distinct_edits():
    every = {
        name: testing.scoring(make())
        for name, make in detector_text.factories().items()
    }
    # Those that need the gradient cost what they cost.
    parts = {n: p for n, p in every.items() if not p.needs_network}
    variables = dict(_variables(RESNET18))
    # Those of objectives whose heads this network lacks are measured by none here.
    parts = {
        n: p for n, p in parts.items() if not added_heads.lacking(p.reads, variables)
    }
    assert len(parts) >= len(every) - 14
    together = compose.bundle(**parts)
    width = variables["params"]["head"]["kernel"].shape[0]
    variables["ood_head"] = {"kernel": jnp.ones((width, 1)), "bias": jnp.zeros(1)}

    def observer(variables, batch):
        images, labels = batch
        acts = observing.observe(
            RESNET18, variables, images, edits=together.edits, labels=labels
        )
        return acts, jnp.ones(len(images))

    images = np.random.default_rng(2).normal(size=(96, 8, 8, 3)).astype(np.float32)
    batch = (images, np.arange(96, dtype=np.int32) % testing.CLASSES)
    fitted = fit(together, [batch], observer=observer, variables=variables)
    compiled = _compiled(RESNET18, variables, IMAGES, together, fitted)
    after = {"C2": 15, "C3": 10, "C4": 5, "C5": 0}  # convolutions after a stage
    assert all(len(path) == 1 for path in together.edits)
    expected = 20 + sum(after[edit.stage] for (edit,) in together.edits)
    assert expected >= 25  # TA at C4, at least
    assert _convolutions(compiled) == expected
