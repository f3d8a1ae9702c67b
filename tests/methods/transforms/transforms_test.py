"""TA, ReAct, ASH and temperature against literals and the slow reference."""

import chex
from helpers import compiled
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import papers as reference

import jood
from jood import transforms
from jood.methods import top_k
from jood.methods.transforms import ash
from jood.methods.transforms.ta import threshold_activation


def features(rows=6, width=20, seed=0):
    """Sparse and non-negative, as pooled ReLU features are; no two entries tie."""
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(0.3, 1.0, (rows, width)), 0.0).astype(np.float32)


def record(penultimate, seed=1):
    kernel = np.random.default_rng(seed).normal(size=(penultimate.shape[1], 3))
    return jood.Activations.of(penultimate, kernel.astype(np.float32), [0.1, 0.2, -1.0])


def test_ta_subtracts_k_and_rectifies():
    x = jnp.array([-1.0, 0.0, 0.1, 0.2, 0.5, 3.0])
    out = threshold_activation(x, 0.2)
    np.testing.assert_allclose(out, [0.0, 0.0, 0.0, 0.0, 0.3, 2.8], atol=1e-7)


@pytest.mark.parametrize("k", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 7, 5)])
def test_ta_matches_reference_on_maps_and_tokens(k, shape):
    x = np.random.default_rng(0).normal(0.5, 1.0, shape).astype(np.float32)
    out = threshold_activation(x, k)
    chex.assert_shape(out, shape)
    np.testing.assert_allclose(out, reference.ta(x, k), atol=1e-6)


def test_ta_keeps_the_maps_dtype():
    x = jnp.ones((1, 2, 2, 3), jnp.bfloat16)
    chex.assert_type(threshold_activation(x, 0.25), jnp.bfloat16)


def test_ta_without_the_network_says_what_it_needs():
    acts = record(features())
    with pytest.raises(jood.MissingStageError, match=r"ta\(k=0.2, stage='C4'\)"):
        transforms.ta().apply((), acts)


def test_react_clips_from_above_only_and_logits_follow():
    acts = jood.Activations.of([[-2.0, 0.5, 3.0]], np.eye(3))
    out = compiled.apply(transforms.react(clip=1.0), (), acts)
    np.testing.assert_array_equal(out.penultimate, [[-2.0, 0.5, 1.0]])
    np.testing.assert_allclose(out.logits, [[-2.0, 0.5, 1.0]])
    np.testing.assert_array_equal(out.original, [[-2.0, 0.5, 3.0]])
    np.testing.assert_array_equal(out.prediction, [2])


@pytest.mark.parametrize("q", [0.1, 0.75, 0.9, 0.99])
@pytest.mark.filterwarnings("ignore:react:jood.AssumptionWarning")
def test_react_fits_the_quantile_of_all_entries_pooled(q):
    batches = [features(40, 20, seed) for seed in range(3)]
    component = transforms.react(q=q)
    fitted = jood.fit(component, [record(batch) for batch in batches])
    expected = reference.react_threshold(batches, q)
    np.testing.assert_allclose(fitted[0], expected, rtol=1e-3, atol=1e-6)
    out = compiled.apply(component, fitted, record(batches[0]))
    expected = reference.react(batches[0], expected)
    np.testing.assert_allclose(out.penultimate, expected, rtol=1e-3)


def test_react_defaults_to_q_of_nine_tenths():
    assert transforms.react().spec == transforms.react(q=0.9).spec


def test_react_with_clip_has_nothing_to_fit():
    assert jood.fit(transforms.react(clip=1.0), []) == ()


# Rows of five: q = 0.6 keeps 5 - 3 = 2 entries; s1 = 10, s2 = 7.
ROW = [3.0, 1.0, 4.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ash_p", [3.0, 0.0, 4.0, 0.0, 0.0]),
        ("ash_b", [5.0, 0.0, 5.0, 0.0, 0.0]),
        ("ash_s", [3 * np.exp(10 / 7), 0.0, 4 * np.exp(10 / 7), 0.0, 0.0]),
    ],
)
def test_ash_on_a_row_worked_out_by_hand(name, expected):
    acts = jood.Activations.of([ROW], np.eye(5))
    out = compiled.apply(getattr(transforms, name)(q=0.6), (), acts)
    np.testing.assert_allclose(out.penultimate, [expected], rtol=1e-6)
    np.testing.assert_allclose(out.logits, [expected], rtol=1e-6)


@pytest.mark.parametrize("name", ["ash_p", "ash_b", "ash_s"])
@pytest.mark.parametrize("q", [0.1, 0.5, 0.65, 0.9])
def test_ash_matches_reference(name, q):
    x = features()
    out = compiled.apply(getattr(transforms, name)(q=q), (), record(x))
    expected = getattr(reference, name)(x, q)
    np.testing.assert_allclose(out.penultimate, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("width", "q", "kept"), [(10, 0.65, 4), (10, 0.75, 2), (10, 0.85, 2), (64, 0.9, 6)]
)
def test_ash_rounds_halves_to_even(width, q, kept):
    mask = top_k.mask(jnp.arange(float(width))[None], top_k.kept_count(width, q))
    assert int(mask.sum()) == kept == width - int(np.round(width * q))


@pytest.mark.parametrize("name", ["ash_p", "ash_b", "ash_s"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 7, 5)])
def test_ash_on_a_stage_shapes_all_entries_of_an_images_map(name, shape):
    x = features(2, int(np.prod(shape[1:]))).reshape(shape)
    ((edit,),) = getattr(transforms, name)(q=0.65, stage="C4").edits
    assert edit.stage == "C4"
    expected = getattr(reference, name)(x.reshape(2, -1), 0.65).reshape(shape)
    np.testing.assert_allclose(edit.rewrite(jnp.asarray(x)), expected, rtol=1e-5)
    assert edit.rewrite(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16


def test_ash_of_a_stage_stands_where_ta_does():
    both = jood.parse("ta(k=0.2)|ash_p(q=0.6, stage='C4')|feature_sim()")
    ((first, second),) = both.edits
    assert (first.spec, second.spec) == (
        "ta(k=0.2, stage='C4')",
        "ash_p(q=0.6, stage='C4')",
    )
    assert transforms.ash_p(stage="C3").slot == "stage"
    assert transforms.ash_p().spec == "ash_p(q=0.6)"  # as stored in saved detectors
    with pytest.raises(ValueError, match="would vanish"):
        jood.parse("ash_p(q=0.6)|ash_p(q=0.6, stage='C4')|energy()")
    with pytest.raises(ValueError, match="stage must be a stage's name"):
        transforms.ash_s(stage="")


def test_ash_ties_keep_the_lower_index():
    mask = top_k.mask(jnp.array([[1.0, 2.0, 2.0, 2.0, 0.0]]), 2)
    np.testing.assert_array_equal(mask, [[False, True, True, False, False]])


def test_ash_keeps_an_entry_even_if_q_would_remove_all():
    out = ash.prune(jnp.array([[1.0, 3.0, 2.0]]), 0.99)
    np.testing.assert_array_equal(out, [[0.0, 3.0, 0.0]])


def test_ash_s_leaves_a_zero_feature_zero():
    np.testing.assert_array_equal(ash.scale(jnp.zeros((2, 8)), 0.5), np.zeros((2, 8)))


def test_temperature_divides_the_logits_and_nothing_else():
    acts = record(features())
    out = compiled.apply(transforms.temperature(T=2.5), (), acts)
    expected = reference.temperature(acts.logits, 2.5)
    np.testing.assert_allclose(out.logits, expected, rtol=1e-6)
    np.testing.assert_array_equal(out.penultimate, acts.penultimate)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("name", ["ash_p", "ash_b", "ash_s", "react"])
@pytest.mark.parametrize("q", [0, 0.0, 1, 1.0, 65, -0.1, NAN, INF, "0.9", True, [0.5]])
def test_q_must_be_a_fraction(name, q):
    with pytest.raises(ValueError, match=r"q must be a fraction in \(0, 1\).*got q="):
        getattr(transforms, name)(q=q)


@pytest.mark.parametrize("name", ["ash_p", "ash_b", "ash_s"])
def test_ash_refuses_none(name):
    with pytest.raises(ValueError, match="q must be a fraction"):
        getattr(transforms, name)(q=None)


@pytest.mark.parametrize("k", [-0.1, -1, NAN, INF, "0.2", None, True])
def test_ta_refuses_a_bad_threshold(k):
    with pytest.raises(ValueError, match="k must be a finite number >= 0, got k="):
        transforms.ta(k=k)


@pytest.mark.parametrize("stage", ["", None, 4])
def test_ta_refuses_a_bad_stage(stage):
    with pytest.raises(ValueError, match="stage must be a stage's name"):
        transforms.ta(stage=stage)


@pytest.mark.parametrize("T", [0, 0.0, -1.0, NAN, INF, "1", None])
def test_temperature_refuses_a_bad_t(T):
    with pytest.raises(ValueError, match="T must be a finite number above 0, got T="):
        transforms.temperature(T=T)


def test_react_refuses_both_q_and_clip():
    with pytest.raises(ValueError, match=r"q or clip, not both; got q=0.9, clip=1.0"):
        transforms.react(q=0.9, clip=1.0)


@pytest.mark.parametrize("clip", [NAN, INF, -INF, "1"])
def test_react_refuses_a_bad_clip(clip):
    with pytest.raises(ValueError, match="clip must be a finite number, got clip="):
        transforms.react(clip=clip)


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (lambda v: transforms.react(clip=v), [0.5, 1.0]),
        (lambda v: transforms.temperature(T=v), [0.5, 2.0]),
    ],
)
def test_hyper_parameters_may_be_traced_in_a_sweep(make, values):
    acts = record(features())
    sweep = jax.jit(lambda v: make(v).apply((), acts).logits)
    for value in values:
        expected = compiled.apply(make(value), (), acts).logits
        np.testing.assert_allclose(sweep(jnp.float32(value)), expected, rtol=1e-6)
