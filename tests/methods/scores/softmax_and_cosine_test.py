"""MaxCosine, DOCTOR and weighted energy against the slow reference and by hand."""

from helpers import compiled
import numpy as np
import pytest
from reference import leading as reference

import jood
from jood.methods.scores.doctor import doctor_alpha
from jood.methods.scores.doctor import doctor_beta
from jood.methods.scores.max_cosine import max_cosine
from jood.methods.scores.max_cosine import relative_cosine
from jood.methods.scores.weighted_energy import weighted_energy

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(6, 4)).astype("f")
TRAIN, TEST = RNG.normal(0.5, 1.0, (2, 30, 6)).astype("f")
LABELS = np.arange(30, dtype=np.int32) % 4


def fitted(component):
    record = jood.Activations.of(TRAIN, KERNEL, labels=LABELS)
    return jood.fit(component, [record])


def of_logits(logits):
    return jood.Activations.of(logits, np.eye(np.shape(logits)[1], dtype="f"))


@pytest.mark.parametrize("factory", [max_cosine, relative_cosine])
def test_cosines_match_reference(factory):
    got = compiled.apply(
        factory(), fitted(factory()), jood.Activations.of(TEST, KERNEL)
    )
    expected = getattr(reference, factory.__name__)(TRAIN, LABELS, TEST)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_class_without_examples_is_left_out():
    record = jood.Activations.of(TRAIN, KERNEL, labels=LABELS % 3)
    with pytest.warns(UserWarning, match=r"class 3.*left out"):
        values = jood.fit(max_cosine(), [record])
    test = jood.Activations.of(np.float32([np.zeros(6), TEST[0]]), KERNEL)
    got = compiled.apply(max_cosine(), values, test)
    assert got[0] == 0  # a zero feature has no direction
    expected = reference.max_cosine(TRAIN, LABELS % 3, TEST[:1])
    np.testing.assert_allclose(got[1:], expected, rtol=1e-5)


def test_cosines_need_labels():
    with pytest.raises(ValueError, match="needs labels"):
        jood.fit(max_cosine(), [jood.Activations.of(TRAIN, KERNEL)])


@pytest.mark.parametrize("factory", [doctor_alpha, doctor_beta])
@pytest.mark.parametrize("T", [0.5, 1.0, 3.0])
def test_doctor_matches_reference(factory, T):
    logits = RNG.normal(0, 6, (16, 5)).astype("f")
    got = compiled.apply(factory(T=T), (), of_logits(logits))
    expected = getattr(reference, factory.__name__)(logits, T)
    np.testing.assert_allclose(got, expected, rtol=2e-5)


def test_doctor_worked_out_by_hand():
    acts = of_logits(np.log(np.float32([[2, 1, 1], [1, 1, 1]])))  # p = .5, .25, .25
    got = compiled.apply(doctor_alpha(), (), acts)
    np.testing.assert_allclose(got, [-(1 - 0.375) / 0.375, -2], rtol=1e-6)
    got = compiled.apply(doctor_beta(), (), acts)
    np.testing.assert_allclose(got, [-1, -2], rtol=1e-6)


def test_doctor_keeps_its_digits_where_p_is_near_one():
    acts = of_logits(np.float32([[40, 0, 0], [41, 0, 0]]))
    got = np.asarray(compiled.apply(doctor_beta(), (), acts), np.float64)
    np.testing.assert_allclose(got, -2 * np.exp([-40.0, -41.0]), rtol=1e-5)


@pytest.mark.parametrize("factory", [doctor_alpha, doctor_beta])
def test_doctor_refuses_bad_values(factory):
    with pytest.raises(ValueError, match="T must be a finite number above 0"):
        factory(T=0.0)
    with pytest.raises(ValueError, match="eps must be a finite number >= 0"):
        factory(eps=-0.1)
    with pytest.raises(ValueError, match="runs the network again"):
        factory(eps=0.1).apply((), of_logits(np.eye(3, dtype="f")))


def test_weighted_energy_matches_reference():
    logits = RNG.normal(0, 4, (16, 4)).astype("f")
    weights = (0.5, -1.0, 2.0, 0.25)
    got = compiled.apply(weighted_energy(weights), (), of_logits(logits))
    expected = reference.weighted_energy(logits, weights)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    one = compiled.apply(weighted_energy(), (), of_logits(logits))
    plain = compiled.apply(jood.scores.energy(), (), of_logits(logits))
    np.testing.assert_allclose(one, plain, rtol=1e-6)


def test_weights_that_make_no_energy_are_refused():
    with pytest.raises(ValueError, match="above 0 to have a sum"):
        weighted_energy((0.0, -1.0))
    with pytest.raises(ValueError, match="above 0 to have a sum"):
        weighted_energy(())
    with pytest.raises(ValueError, match="weights must be finite numbers"):
        weighted_energy((1.0, float("nan")))
    with pytest.raises(ValueError, match=r"each of the 3 classes.*got 2"):
        weighted_energy((1.0, 2.0)).apply((), of_logits(np.eye(3, dtype="f")))
