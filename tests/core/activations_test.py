"""Records of features from elsewhere, and their rewrites."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core import activations
from jood.core.activations import Activations

ROWS, D, K = 6, 5, 3
KERNEL = np.random.default_rng(9).normal(size=(D, K)).astype(np.float32)


def _features(seed=0, rows=ROWS):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 3, (rows, D)).astype(np.float32)


def _acts(seed=0, rows=ROWS, **options):
    return Activations.of(_features(seed, rows), KERNEL, **options)


def test_record_of_features_holds_logits_and_prediction():
    acts = Activations.of(
        np.array([[1.0, 2.0], [3.0, 0.0]]),
        np.array([[1.0, 0.0, -1.0], [0.0, 1.0, 1.0]]),
        np.array([0.0, 0.5, 0.0]),
        stages={"C5": np.ones((2, 3, 3, 4))},
        labels=[2, 0],
    )
    np.testing.assert_array_equal(acts.logits, [[1, 2.5, 1], [3, 0.5, -3]])
    np.testing.assert_array_equal(acts.prediction, [1, 0])
    np.testing.assert_array_equal(acts.labels, [2, 0])
    chex.assert_type([acts.logits, acts.penultimate, acts.kernel], jnp.float32)
    chex.assert_type([acts.prediction, acts.labels], jnp.int32)
    chex.assert_shape(acts.stage("C5"), (2, 3, 3, 4))
    np.testing.assert_array_equal(_acts().bias, np.zeros(K))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"penultimate": np.zeros(D)}, r"\[B, D\] and kernel \[D, K\].*\(5,\)"),
        ({"penultimate": np.zeros((2, 2, 2, D))}, r"\[B, D\]"),
        ({"kernel": np.zeros(D)}, r"\[B, D\] and kernel \[D, K\]"),
        ({"kernel": KERNEL.T}, r"D = 5.*got \(3, 5\)\. Transpose the kernel"),
        ({"kernel": np.zeros((4, K))}, r"D = 5.*got \(4, 3\)\.$"),
        ({"bias": np.zeros(D)}, r"bias must be \[K\] = \(3,\), got \(5,\)"),
        ({"bias": np.zeros((1, K))}, r"bias must be \[K\]"),
        ({"penultimate": np.zeros((6, D), int)}, "floating-point array, got int"),
        ({"kernel": np.zeros((D, K), int)}, "floating-point array, got int"),
        ({"labels": [0, 1, 3, 0, -1, 2]}, "label 3 at index 2 .*2 of 6"),
        ({"labels": [0, -1, 0, 0, 0, 0]}, "label -1 at index 1"),
        ({"labels": [0, 1]}, r"labels must be integers of shape \(6,\)"),
        ({"labels": np.zeros(6)}, "labels must be integers .*float64"),
    ],
)
def test_record_of_unfitting_arrays_raises(change, match):
    arguments = {"penultimate": _features(), "kernel": KERNEL, **change}
    with pytest.raises(ValueError, match=match):
        Activations.of(**arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_record_of_nan_features_names_the_rows(bad):
    features = _features()
    features[[1, 4], 2] = bad
    with pytest.raises(
        ValueError, match=r"penultimate features at index 1, 4 \(2 of 6"
    ):
        Activations.of(features, KERNEL)


def test_rewrites_recompute_what_follows_and_keep_the_answer():
    acts = _acts()
    feature, kernel = acts.penultimate[:, ::-1], acts.kernel[:, ::-1]
    rewritten = acts.with_penultimate(feature).with_kernel(kernel)
    logits = np.asarray(feature) @ np.asarray(kernel)
    np.testing.assert_allclose(rewritten.logits, logits, rtol=1e-5)
    np.testing.assert_array_equal(rewritten.penultimate, feature)
    other = acts.with_kernel(kernel).with_penultimate(feature)
    chex.assert_trees_all_equal(other, rewritten)
    for record in (rewritten, acts.with_logits(-acts.logits)):
        np.testing.assert_array_equal(record.prediction, acts.prediction)
        np.testing.assert_array_equal(record.original, acts.penultimate)
    assert (rewritten.logits.argmax(-1) != acts.prediction).any()


@pytest.mark.parametrize("rewrite", ["with_penultimate", "with_kernel", "with_logits"])
def test_rewrites_of_another_shape_raise(rewrite):
    with pytest.raises(AssertionError, match="shape"):
        getattr(_acts(), rewrite)(jnp.zeros((2, 2)))


def test_missing_stage_lists_those_there_are():
    acts = _acts(stages={"C4": np.zeros((6, 1, 1, 2))})
    with pytest.raises(activations.MissingStageError, match=r"'C5'.*there are: C4"):
        acts.stage("C5")
    with pytest.raises(activations.MissingStageError, match=r"none.*features only"):
        _acts().stage("C5")


MAP = np.ones((ROWS, 3, 3, 4), np.float32)


def _broken(array, value=np.nan):
    array = np.array(array)
    array.flat[-1] = value
    return array


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kernel": _broken(KERNEL)}, "classifier head's kernel or bias holds NaN"),
        ({"bias": _broken(np.zeros(K), np.inf)}, "classifier head's kernel or bias"),
        ({"kernel": np.full((D, K), 3e38)}, r"infinite logits at index 0.*6 of 6"),
        ({"stages": {"C5": _broken(MAP)}}, r"infinite maps of C5 at index 5 \(1 of 6"),
        (
            {"ood_head": (np.full((D, 1), np.nan), np.zeros(1))},
            "OOD head's kernel or bias holds NaN",
        ),
        ({"penultimate": np.full((ROWS, D), 1e39)}, "infinite penultimate features"),
    ],
)
def test_record_of_what_is_not_finite_raises(change, match):
    """Left in, they give DICE, LINE, SHE or a median finite and equal scores."""
    arguments = {"penultimate": _features(), "kernel": KERNEL, **change}
    with pytest.raises(ValueError, match=match):
        Activations.of(**arguments)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"stages": {"C5": MAP[:4]}},
            r"map of C5 must have B = 6 rows.*\(4, 3, 3, 4\)",
        ),
        ({"stages": {"C5": np.ones((7, 3, 3, 4))}}, r"map of C5 must have B = 6 rows"),
        ({"stages": {"C5": MAP + 1j}}, "map of C5 must be a floating.*complex"),
        ({"stages": {"C5": MAP.astype(int)}}, "map of C5 must be a floating.*int"),
        ({"stages": {"C5": MAP.astype(object)}}, "map of C5 must be .*object"),
        ({"stages": {"C5": MAP[:, 0, 0]}}, r"map of C5 must be \[B, H, W, C\].*\(6, 4"),
        ({"stages": {"C5": MAP[:, :, :0]}}, "at least one location and channel"),
        ({"penultimate": np.zeros((6, 0)), "kernel": np.zeros((0, 3))}, "D >= 1"),
        ({"penultimate": _features().astype(object)}, "penultimate must be .*object"),
        ({"kernel": KERNEL.astype(complex)}, "kernel must be a floating.*complex"),
        ({"penultimate": np.ma.masked_less(_features(), 1)}, "mask would be lost"),
    ],
)
def test_record_of_parts_that_do_not_belong_together_raises(change, match):
    arguments = {"penultimate": _features(), "kernel": KERNEL, **change}
    with pytest.raises(ValueError, match=match):
        Activations.of(**arguments)
