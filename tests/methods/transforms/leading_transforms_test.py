"""Fitted temperature, normalisation, RAS and LTS against the slow reference."""

from helpers import compiled
import numpy as np
import pytest
from reference import distance as reference_distance
from reference import leading as reference

import jood
from jood.methods.transforms.fitted_temperature import fitted_temperature
from jood.methods.transforms.lts import lts
from jood.methods.transforms.normalise import normalise
from jood.methods.transforms.ras import ras

RNG = np.random.default_rng(0)
KERNEL, BIAS = RNG.normal(size=(10, 3)).astype("f"), np.float32([0.1, 0.2, -1.0])
TRAIN, TEST = np.maximum(RNG.normal(0.3, 1.0, (2, 60, 10)), 0.0).astype("f")
LABELS = (np.argmax(TRAIN @ KERNEL + BIAS, -1) + (np.arange(60) % 3 == 0)) % 3


def fit(component, train=TRAIN, labels=LABELS):
    parts = np.array_split(np.arange(len(train)), 3)
    return jood.fit(
        component,
        [jood.Activations.of(train[p], KERNEL, BIAS, labels=labels[p]) for p in parts],
    )


def record(features=TEST):
    return jood.Activations.of(features, KERNEL, BIAS)


def test_the_fitted_temperature_is_the_best_one():
    bracket, T = fit(fitted_temperature())
    logits = record(TRAIN).logits
    best = reference.nll(logits, LABELS, float(T))
    for factor in (0.97, 1.03):
        assert best < reference.nll(logits, LABELS, factor * float(T))
    out = compiled.apply(fitted_temperature(), (bracket, T), record())
    np.testing.assert_allclose(out.logits, record().logits / T, rtol=1e-6)


def test_a_network_without_mistakes_has_no_best_temperature(caplog):
    _, T = fit(fitted_temperature(), labels=np.asarray(record(TRAIN).prediction))
    np.testing.assert_allclose(T, 0.01, rtol=1e-5)
    assert "Fit on held-out images" in caplog.text


@pytest.mark.parametrize(("p", "beta"), [(2, 1.0), (1, 1.0), (2, 0.5), (3.5, 0.3)])
def test_normalise_matches_reference(p, beta):
    out = compiled.apply(normalise(p=p, beta=beta), (), record())
    expected = reference.normalise(TEST, p, beta)
    np.testing.assert_allclose(out.penultimate, expected, rtol=1e-5)
    np.testing.assert_allclose(
        out.logits, expected @ KERNEL + BIAS, rtol=1e-4, atol=1e-5
    )


def test_normalise_leaves_zeros_and_huge_features_finite():
    features = np.stack([np.zeros(10), np.full(10, 1e30)]).astype("f")
    for p in (2, 3):
        out = np.asarray(
            compiled.apply(normalise(p=p), (), record(features)).penultimate
        )
        np.testing.assert_array_equal(out[0], 0)
        np.testing.assert_allclose(out[1], 10 ** (-1 / p), rtol=1e-5)


def test_mahalanobis_after_it_is_mahalanobis_plus_plus():
    component = jood.parse("normalise()|mahalanobis()")
    got = compiled.apply(component, fit(component), record())
    unit = reference.normalise(TRAIN, 2, 1), reference.normalise(TEST, 2, 1)
    expected = reference_distance.mahalanobis(unit[0], LABELS, unit[1])
    np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.parametrize(("name", "value"), [("p", 0.5), ("beta", 0.0), ("beta", 1.5)])
def test_normalise_refuses_bad_values(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        normalise(**{name: value})


def test_ras_matches_reference():
    out = compiled.apply(ras(), fit(ras()), record())
    np.testing.assert_allclose(out.penultimate, reference.ras(TRAIN, TEST), rtol=1e-5)


def test_ras_worked_out_by_hand():
    train = np.float32([[3, 1, 2], [5, 9, 1]])  # sorted: 1 2 3 and 1 5 9
    acts = jood.Activations.of(train, np.eye(3))
    fitted = jood.fit(ras(), [acts])
    test = jood.Activations.of(np.float32([[7, -1, 2], [4, 4, 0]]), np.eye(3))
    out = compiled.apply(ras(), fitted, test)
    np.testing.assert_allclose(out.penultimate, [[6, 1, 3.5], [3.5, 6, 1]])


@pytest.mark.parametrize("q", [0.1, 0.5, 0.85])
def test_lts_matches_reference(q):
    out = compiled.apply(lts(q=q), (), record())
    expected = reference.lts(TEST, record().logits, q)
    np.testing.assert_allclose(out.logits, expected, rtol=1e-5)
    np.testing.assert_array_equal(out.penultimate, TEST)


def test_lts_of_features_without_a_positive_entry_changes_nothing():
    acts = record(np.stack([np.zeros(10), -np.ones(10)]).astype("f"))
    np.testing.assert_allclose(compiled.apply(lts(), (), acts).logits, acts.logits)


@pytest.mark.parametrize("q", [0, 1, 95, float("nan")])
def test_lts_s_fraction_is_checked(q):
    with pytest.raises(ValueError, match=r"q must be a fraction in \(0, 1\)"):
        lts(q=q)
