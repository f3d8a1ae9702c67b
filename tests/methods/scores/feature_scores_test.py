"""SHE, fDBD and NCI, which compare the feature with training features and weights."""

from helpers import compiled
import jax
import numpy as np
import pytest
from reference import scores as reference

import jood
from jood.methods.scores.fdbd import fdbd
from jood.methods.scores.fdbd import weight_distances
from jood.methods.scores.nci import nci
from jood.methods.scores.she import METRICS
from jood.methods.scores.she import she

WIDTH, CLASSES = 12, 5
RNG = np.random.default_rng(7)
KERNEL = RNG.normal(size=(WIDTH, CLASSES)).astype(np.float32)
KERNEL -= KERNEL.mean(0, keepdims=True)  # so that no class is always predicted
BIAS = np.linspace(-0.2, 0.2, CLASSES).astype(np.float32)


def record(rows, seed, labels=False):
    rng = np.random.default_rng(seed)
    features = np.maximum(rng.normal(0.3, 1.0, (rows, WIDTH)), 0).astype(np.float32)
    acts = jood.Activations.of(features, KERNEL, BIAS)
    if not labels:
        return acts
    wrong = rng.uniform(size=rows) < 0.3
    prediction = np.asarray(acts.prediction)
    given = np.where(wrong, rng.integers(0, CLASSES, rows), prediction)
    return acts.replace(labels=np.asarray(given, np.int32))


TRAIN, TEST = record(150, 0, labels=True), record(20, 1)


def fit(component, train=TRAIN):
    rows = np.array_split(np.arange(len(train.labels)), 3)
    return jood.fit(component, [select(train, r) for r in rows])


def select(acts, rows):
    """The rows of a record, in that order."""
    features, labels = np.asarray(acts.penultimate)[rows], np.asarray(acts.labels)[rows]
    chosen = jood.Activations.of(features, acts.kernel, acts.bias)
    return chosen.replace(labels=labels)


def expected_she(train, test, metric):
    return reference.she(
        train.penultimate,
        np.asarray(train.labels),
        train.logits,
        test.penultimate,
        test.logits,
        metric,
    )


@pytest.mark.parametrize("metric", METRICS)
def test_she_matches_reference(metric):
    component = she(metric=metric)
    got = compiled.apply(component, fit(component), TEST)
    np.testing.assert_allclose(got, expected_she(TRAIN, TEST, metric), rtol=1e-5)


def test_she_worked_out_by_hand():
    # The identity as head: the prediction is the larger entry.
    train = jood.Activations.of([[4, 0], [2, 0], [0, 6], [9, 0.0]], np.eye(2))
    train = train.replace(labels=np.array([0, 0, 1, 1]))  # the last one is wrong
    test = jood.Activations.of([[3.0, 4.0], [1.0, 0.0]], np.eye(2))
    fitted = jood.fit(she(), [train])
    np.testing.assert_allclose(fitted[0], [[3, 0], [0, 6]])
    for metric, expected in (
        ("inner_product", [24.0, 3.0]),
        ("euclidean", [-np.sqrt(13), -2.0]),
        ("cosine", [0.8, 1.0]),
    ):
        got = compiled.apply(she(metric=metric), fitted, test)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_she_of_a_class_that_is_never_right(metric):
    component = she(metric=metric)
    right = TRAIN.labels == np.asarray(TRAIN.prediction)
    rows = np.flatnonzero(~(right & (TRAIN.labels == 1)))
    train = select(TRAIN, rows)
    assert (train.labels == 1).any()
    with pytest.warns(UserWarning, match=r"she\(metric=.*1 of 5 .*class 1.*labelled"):
        fitted = fit(component, train)
    got = compiled.apply(component, fitted, TEST)
    assert (np.asarray(TEST.prediction) == 1).any()
    np.testing.assert_allclose(got, expected_she(train, TEST, metric), rtol=1e-5)


def test_she_of_a_class_without_examples():
    train = select(TRAIN, np.flatnonzero(TRAIN.labels != 1))
    with pytest.warns(UserWarning, match="class 1"):
        fitted = fit(she(), train)
    np.testing.assert_allclose(
        fitted[0][1], np.asarray(train.penultimate).mean(0), rtol=1e-5
    )
    got = compiled.apply(she(), fitted, TEST)
    expected = expected_she(train, TEST, "inner_product")
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_she_refuses_a_network_that_is_never_right():
    wrong = TRAIN.replace(labels=(np.asarray(TRAIN.prediction) + 1) % CLASSES)
    with pytest.raises(ValueError, match=r"she.*correctly classified"):
        jood.fit(she(), [wrong])


def test_she_needs_labels():
    with pytest.raises(ValueError, match="needs labels"):
        jood.fit(she(), [TEST])


def test_cosine_of_a_zero_feature_is_zero():
    zero = jood.Activations.of(np.zeros((1, WIDTH), np.float32), KERNEL, BIAS)
    component = she(metric="cosine")
    got = compiled.apply(component, fit(component), zero)
    assert np.asarray(got).tolist() == [0.0]


@pytest.mark.parametrize("metric", ["euclid", "", None, 2])
def test_shes_metric_is_checked(metric):
    with pytest.raises(ValueError, match="metric must be one of inner_product, eucl"):
        she(metric=metric)


def expected_fdbd(train, test):
    return reference.fdbd(
        train.penultimate, test.penultimate, KERNEL, test.logits, test.prediction
    )


def test_fdbd_matches_reference():
    got = compiled.apply(fdbd(), fit(fdbd()), TEST)
    np.testing.assert_allclose(got, expected_fdbd(TRAIN, TEST), rtol=1e-5)


def test_fdbd_worked_out_by_hand():
    # Boundaries of three classes with weights (0, 0), (3, 4), (0, 1): distances of
    # h = (1, 1), where f = (0, 7, 1): 7 / 5 to the first, 6 / √18 to the last; m = 0.
    kernel = [[0.0, 3.0, 0.0], [0.0, 4.0, 1.0]]
    train = jood.Activations.of([[1.0, -1.0], [-1.0, 1.0]], kernel)
    test = jood.Activations.of([[1.0, 1.0]], kernel)
    got = compiled.apply(fdbd(), jood.fit(fdbd(), [train]), test)
    np.testing.assert_allclose(got, [(7 / 5 + 6 / 18**0.5) / 2**0.5], rtol=1e-6)


def test_fdbd_keeps_the_prediction_of_the_plain_pass():
    react = jood.parse("react(clip=0.4)")
    component = jood.chain(react, fdbd())
    got = compiled.apply(component, jood.fit(component, [TRAIN]), TEST)
    clipped = compiled.apply(react, (), TEST)
    own = np.asarray(clipped.logits).argmax(-1)
    assert (own != np.asarray(TEST.prediction)).any()
    expected = expected_fdbd(compiled.apply(react, (), TRAIN), clipped)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_weight_distances_survive_a_common_offset(offset):
    rng = np.random.default_rng(3)
    kernel = (rng.normal(0, 0.05, (256, 20)) + offset).astype(np.float32)
    classes = np.arange(20)
    got = np.asarray(compiled.run(weight_distances, kernel, classes))
    exact = kernel.astype(np.float64)
    expected = np.linalg.norm(exact[:, :, None] - exact[:, None, :], axis=0)
    other = ~np.eye(20, dtype=bool)
    np.testing.assert_allclose(got[other], expected[other], rtol=1e-3)
    assert (got > 0).all()


@pytest.mark.parametrize("method", [fdbd, nci])
def test_feature_at_the_mean_and_equal_weights_give_finite_scores(method):
    train = np.float32([[1.0, 2.0], [3.0, 4.0]])
    for kernel in (np.float32([[1, 1, 0], [2, 2, 1]]), np.zeros((2, 3), np.float32)):
        fitted = jood.fit(method(), [jood.Activations.of(train, kernel, [0, 1, 2.0])])
        rows = np.float32([[2.0, 3.0], [0.0, 0.0], [1e4, -1e4]])
        test = jood.Activations.of(rows, kernel, [0, 1, 2.0])
        assert np.isfinite(compiled.apply(method(), fitted, test)).all()


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 0.5])
def test_nci_matches_reference(alpha):
    component = nci(alpha=alpha)
    got = compiled.apply(component, fit(component), TEST)
    expected = reference.nci(
        TRAIN.penultimate, TEST.penultimate, KERNEL, TEST.logits, alpha
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_nci_worked_out_by_hand():
    # m = (1, 1); h - m = (3, 4), of length 5; W_c = (2, 1): 10 / 5 + 0.1 · 9.
    kernel = [[2.0, 0.0], [1.0, 0.0]]
    train = jood.Activations.of([[0.0, 2.0], [2.0, 0.0]], kernel)
    test = jood.Activations.of([[4.0, 5.0]], kernel)
    component = nci(alpha=0.1)
    got = compiled.apply(component, jood.fit(component, [train]), test)
    np.testing.assert_allclose(got, [2.9], rtol=1e-6)


def test_nci_takes_a_traced_alpha():
    fitted = fit(nci())
    got = jax.jit(lambda a: nci(alpha=a).apply(fitted, TEST))(0.25)
    fixed = compiled.apply(nci(alpha=0.25), fitted, TEST)
    np.testing.assert_allclose(got, fixed, rtol=1e-5)


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf"), "0"])
def test_ncis_alpha_is_checked(alpha):
    with pytest.raises(ValueError, match="alpha must be a finite number >= 0"):
        nci(alpha=alpha)
