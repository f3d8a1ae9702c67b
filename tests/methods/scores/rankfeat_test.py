"""RankFeat: golden scores, the component that it removes, its edges."""

from helpers import compiled
from helpers import golden_cases
from helpers import golden_network
from helpers.random_maps import random_maps
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import maps as reference_maps

import jood
from jood import testing
from jood.methods.scores.rankfeat import rankfeat
from jood.methods.scores.rankfeat import remove_first_component
from jood.methods.transforms import react
from jood.methods.transforms import ta

BOTH = rankfeat()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "component", "tolerance"),
    [
        ("rankfeat_fused34__.*", BOTH, 1e-4),
        # the peer's power iteration starts at random and stops after 20 steps
        ("rankfeat_fused34_poweriter__.*", BOTH, 2e-4),
        ("rankfeat_block4__.*", rankfeat(("C5",)), 1e-4),
        ("rankfeat_block3__.*", rankfeat(("C4",)), 1e-4),
    ],
)
def test_scores_of_peers(golden_dir, pattern, component, tolerance):
    for key, golden in golden_cases.keys_of_network(golden_dir, pattern).items():
        sign = -1 if key.endswith("__pytorch_ood") else 1
        got = sign * golden_network.scores(golden_dir, component)
        error = np.abs(got - golden).max() / golden.std()
        assert error <= tolerance, f"{key}: {error:.1e} std"


@pytest.mark.parametrize("shape", [(3, 4, 4, 20), (3, 6, 5, 8), (2, 1, 1, 5)])
def test_the_first_component_is_removed(shape):
    maps = np.maximum(random_maps(shape), 0)
    got = compiled.run(remove_first_component, maps)
    expected = reference_maps.remove_first_component(maps)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_close_singular_values_are_told_apart():
    """The paper's random start needs many steps; here σ2 / σ1 = 0.97."""
    rng = np.random.default_rng(3)
    u, _ = np.linalg.qr(rng.normal(size=(36, 6)))
    v, _ = np.linalg.qr(rng.normal(size=(50, 6)))
    x = (u * [10, 9.7, 5, 3, 2, 1]) @ v.T
    x = x.reshape(1, 6, 6, 50).astype(np.float32)
    expected = reference_maps.remove_first_component(x)
    got = compiled.run(remove_first_component, x)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_constant_map_loses_everything_and_stays_finite():
    program = jax.jit(remove_first_component)
    for value in (0.0, 1e-25, 1.0, 1e15):
        out = program(np.full((2, 3, 3, 4), value, np.float32))
        np.testing.assert_allclose(out, np.zeros((2, 3, 3, 4)), atol=1e-5 * value)


@pytest.mark.slow
def test_rankfeat_is_the_energy_of_the_mean_logits():
    component = rankfeat(T=2.0)
    assert component.spec == "rankfeat(stages=('C4', 'C5'), T=2.0)"
    images = jnp.asarray(testing.toy_images(5, 0)[0])
    acts = testing.toy_activations(component, images)
    logits = []
    for stage in ("C4", "C5"):
        # The toy's layers act on each entry alone, so C5 follows from C4 by hand.
        rest = reference_maps.remove_first_component(acts.stages[stage])
        if stage == "C4":
            gain = np.asarray(acts.stages["C5"]) / np.asarray(acts.stages["C4"])
            rest = np.maximum(rest, 0) * gain
        logits.append(rest.mean((1, 2)) @ np.asarray(acts.kernel))  # the bias is 0
    mean = (logits[0] + logits[1]) / 2
    expected = 2 * np.log(np.exp(mean / 2).sum(-1))
    got = compiled.apply(component, (), acts)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_rankfeat_follows_threshold_activation_but_nothing_later():
    images = testing.toy_images(5, 0)[0]
    chained = jood.chain(ta(k=0.5), rankfeat(("C5",)))

    @jax.jit
    def both(images):
        acts = testing.toy_activations(chained, images)
        edited = acts.edit(ta(k=0.5).spec)
        rest = remove_first_component(edited.stages["C5"]).mean((1, 2))
        by_hand = jax.nn.logsumexp(edited.with_penultimate(rest).logits, axis=-1)
        return chained.apply((), acts), by_hand

    got, expected = both(images)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"react.*stands before.*rankfeat"):
        jood.chain(react(clip=1.0), rankfeat())


@pytest.mark.parametrize("stages", [(), "C5", ["C5"], ("C5", "C5"), (4,), None])
def test_rankfeat_refuses_bad_stages(stages):
    with pytest.raises(ValueError, match="stage"):
        rankfeat(stages=stages)


def test_rankfeat_refuses_a_bad_temperature():
    with pytest.raises(ValueError, match="T must be"):
        rankfeat(T=0.0)
