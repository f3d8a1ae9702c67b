"""MSP, MaxLogit, Energy and Feature Sim against literals and the slow reference."""

import chex
from helpers import compiled
import jax.numpy as jnp
import numpy as np
import pytest
from reference import papers as reference

import jood
from jood import scores

LOGIT_SCORES = ("msp", "max_logit", "energy")
MAP_SCORES = (
    "feature_sim",
    "feature_sim_median",
    "feature_sim_std",
    "feature_sim_channel",
)


def of_logits(logits):
    """A record whose logits are given: an identity head."""
    return jood.Activations.of(logits, np.eye(np.shape(logits)[1]))


def of_map(feature_map, stage="C5"):
    feature_map = jnp.asarray(feature_map)
    axes = tuple(range(1, feature_map.ndim - 1))
    pooled = feature_map.astype(jnp.float32).mean(axes)
    kernel = np.ones((pooled.shape[1], 2))
    return jood.Activations.of(pooled, kernel, stages={stage: feature_map})


def random_map(shape, seed=0):
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(0.3, 1.0, shape), 0.0).astype(np.float32)


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (scores.msp(), 0.5),
        (scores.max_logit(), np.log(4)),
        (scores.energy(), np.log(8)),
        (scores.energy(T=0.5), 0.5 * np.log(16 + 4 + 4 + 0)),
        (scores.energy(T=2.0), 2 * np.log(2 + np.sqrt(2) + np.sqrt(2))),
    ],
)
def test_logit_scores_worked_out_by_hand(component, expected):
    # exp(f) = 4, 2, 2 and as good as 0: the sum is 8.
    acts = of_logits([[np.log(4), np.log(2), np.log(2), -50.0]])
    np.testing.assert_allclose(
        compiled.apply(component, (), acts), [expected], rtol=1e-6
    )


@pytest.mark.parametrize("name", LOGIT_SCORES)
def test_logit_scores_match_reference(name):
    logits = np.random.default_rng(0).normal(0, 4, (16, 7)).astype(np.float32)
    out = compiled.apply(getattr(scores, name)(), (), of_logits(logits))
    chex.assert_shape(out, (16,))
    np.testing.assert_allclose(out, getattr(reference, name)(logits), rtol=2e-6)


@pytest.mark.parametrize("T", [0.1, 1.0, 2.5, 1000.0])
def test_energy_matches_reference_at_temperatures(T):
    logits = np.random.default_rng(0).normal(0, 4, (16, 7)).astype(np.float32)
    out = compiled.apply(scores.energy(T=T), (), of_logits(logits))
    np.testing.assert_allclose(out, reference.energy(logits, T), rtol=2e-6)


def test_huge_logits_do_not_overflow():
    acts = of_logits([[1e4, 0.0], [-1e4, -1e4]])
    np.testing.assert_allclose(compiled.apply(scores.msp(), (), acts), [1.0, 0.5])
    np.testing.assert_allclose(
        compiled.apply(scores.energy(), (), acts), [1e4, -1e4 + np.log(2)], rtol=1e-6
    )


@pytest.mark.parametrize("T", [0, -1.0, float("nan"), float("inf"), "1", None, True])
def test_energy_refuses_a_bad_t(T):
    with pytest.raises(ValueError, match="T must be a finite number above 0, got T="):
        scores.energy(T=T)


@pytest.mark.parametrize("T", [0.5, 2.0])
def test_energy_at_t_is_t_times_energy_after_temperature(T):
    acts = of_logits([[1.0, 2.0, 3.0]])
    after = jood.chain(jood.transforms.temperature(T=T), scores.energy())
    np.testing.assert_allclose(
        compiled.apply(scores.energy(T=T), (), acts),
        T * compiled.apply(after, (), acts),
        rtol=1e-6,
    )


# Channel 0 holds 0, 0, 0, 4 (mean 1, median 0), channel 1 holds 1, 2, 3, 6 (mean 3,
# median 2.5), both over a 2x2 map.
HAND_MAP = np.array([[[[0, 1], [0, 2]], [[0, 3], [4, 6]]]], np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # (1 + 1 + 1 + 3) / 4 = 1.5 and (2 + 1 + 0 + 3) / 4 = 1.5
        ("feature_sim", 1.5),
        # median of 0, 0, 0, 4 is 0; of 1.5, 0.5, 0.5, 3.5 is 1
        ("feature_sim_median", (0 + 1) / 2),
        # variances (1 + 1 + 1 + 9) / 4 = 3 and (4 + 1 + 0 + 9) / 4 = 3.5
        ("feature_sim_std", (3**0.5 + 3.5**0.5) / 2),
        # halves of the differences 1, 2, 3, 2 between the channels
        ("feature_sim_channel", (0.5 + 1 + 1.5 + 1) / 4),
    ],
)
def test_map_scores_worked_out_by_hand(name, expected):
    out = compiled.apply(getattr(scores, name)(), (), of_map(HAND_MAP))
    np.testing.assert_allclose(out, [expected], rtol=1e-6)


@pytest.mark.parametrize("name", MAP_SCORES)
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (3, 7, 7, 2), (2, 1, 1, 4)])
def test_map_scores_match_reference(name, shape):
    feature_map = random_map(shape)
    out = compiled.apply(getattr(scores, name)(), (), of_map(feature_map))
    chex.assert_shape(out, shape[:1])
    expected = getattr(reference, name)(feature_map)
    np.testing.assert_allclose(out, expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", MAP_SCORES)
def test_tokens_score_as_the_map_they_are(name):
    feature_map = random_map((3, 4, 5, 6))
    tokens = feature_map.reshape(3, 20, 6)
    component = getattr(scores, name)()
    expected = getattr(reference, name)(tokens)
    out = compiled.apply(component, (), of_map(tokens))
    np.testing.assert_allclose(out, expected, rtol=2e-6)
    of_the_map = compiled.apply(component, (), of_map(feature_map))
    np.testing.assert_allclose(out, of_the_map, rtol=1e-6)


def test_feature_sim_is_the_papers_appendix_f():
    x = random_map((3, 6, 5, 4))  # [B, C, H, W]
    out = compiled.apply(scores.feature_sim(), (), of_map(x.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(out, reference.appendix_f(x), rtol=2e-6)


def test_feature_sim_is_zero_on_a_flat_map_and_grows_with_contrast():
    flat = np.full((1, 3, 3, 4), 2.0, np.float32)
    spot = flat.copy()
    spot[:, 1, 1] += 9.0
    low, high = (
        compiled.apply(scores.feature_sim(), (), of_map(m))[0] for m in (flat, spot)
    )
    assert low == 0
    # one location of nine is 8 above the mean, the others 1 below it
    np.testing.assert_allclose(high, (8 + 8 * 1) / 9, rtol=1e-6)


@pytest.mark.parametrize("name", MAP_SCORES)
def test_map_scores_compute_bfloat16_maps_in_float32(name):
    feature_map = jnp.asarray(random_map((2, 14, 14, 8)), jnp.bfloat16)
    out = compiled.apply(getattr(scores, name)(), (), of_map(feature_map))
    chex.assert_type(out, jnp.float32)
    rounded = np.asarray(feature_map.astype(jnp.float32))
    expected = getattr(reference, name)(rounded)
    np.testing.assert_allclose(out, expected, rtol=2e-6)


@pytest.mark.parametrize("name", MAP_SCORES)
def test_map_scores_read_the_stage_that_is_named(name):
    feature_map = random_map((2, 3, 3, 4))
    component = getattr(scores, name)(stage="C3")
    out = compiled.apply(component, (), of_map(feature_map, stage="C3"))
    expected = getattr(reference, name)(feature_map)
    np.testing.assert_allclose(out, expected, rtol=2e-6)
    with pytest.raises(jood.MissingStageError, match=r"'C3'.*there are: C5"):
        compiled.apply(component, (), of_map(feature_map, stage="C5"))


@pytest.mark.parametrize("name", MAP_SCORES)
@pytest.mark.parametrize("stage", ["", None, 5])
def test_map_scores_refuse_a_bad_stage(name, stage):
    with pytest.raises(ValueError, match="stage must be a stage's name"):
        getattr(scores, name)(stage=stage)


SCALE_FREE = {  # features and maps times s give scores times s to this power
    "knn(k=3)": 0,
    "she(metric='cosine')": 0,
    "she(metric='euclidean')": 1,
    "fdbd()": 0,
    "nci(alpha=0.0)": 0,
    "prototype_smoothing()|max_logit()": 1,
    "penultimate_norm()": 1,
    "gram(statistic='std')": 0,
    "feature_sim_std()": 1,
    "feature_norm()": 1,
    "gmm()": 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("power", [-80, 80])
def test_scores_by_lengths_and_directions_hold_at_any_scale(power):
    """2^80 squared is not a float32; the lengths' powers of two are exact."""
    rng = np.random.default_rng(0)
    train, test = rng.gamma(1.0, size=(2, 24, 6)).astype("f")
    kernel = np.repeat(np.eye(3), 2, axis=0).astype("f")  # [6, 3]
    z = random_map((24, 3, 3, 4))
    texts = {f"d{i}": text for i, text in enumerate(SCALE_FREE)}
    component = jood.bundle(**{name: jood.parse(text) for name, text in texts.items()})
    labels = np.argmax(train @ kernel, -1)
    assert len(set(labels)) == 3

    def scores_of(factor):
        """Of a network whose features and maps are `factor` times as large."""
        acts = [
            jood.Activations.of(
                h * factor, kernel, stages={"C5": z * factor}, labels=labels
            )
            for h in (train, test)
        ]
        return compiled.apply(component, jood.fit(component, acts[:1]), acts[1])

    before, after = scores_of(np.float32(1)), scores_of(np.float32(2.0**power))
    for name, text in texts.items():
        expected = np.asarray(before[name], np.float64) * 2.0 ** (
            power * SCALE_FREE[text]
        )
        np.testing.assert_allclose(after[name], expected, rtol=1e-4, err_msg=text)
