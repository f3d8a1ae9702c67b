"""CARef, CADRef, Relation and ActSub against the slow reference."""

from helpers import compiled
import numpy as np
import pytest
from reference import leading as reference

import jood
from jood.methods.scores.actsub import actsub
from jood.methods.scores.cadref import cadref
from jood.methods.scores.cadref import caref
from jood.methods.scores.relation import relation

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(12, 4)).astype("f")
KERNEL -= KERNEL.mean(0, keepdims=True)
BIAS = np.linspace(-0.2, 0.2, 4).astype("f")
TRAIN, TEST = np.maximum(RNG.normal(0.3, 1.0, (2, 80, 12)), 0).astype("f")
CASE = (TRAIN, KERNEL, BIAS, TEST)


def scores(component, train=TRAIN, test=TEST):
    parts = [jood.Activations.of(p, KERNEL, BIAS) for p in np.array_split(train, 3)]
    fitted = jood.fit(component, parts)
    return compiled.apply(component, fitted, jood.Activations.of(test, KERNEL, BIAS))


def test_caref_matches_reference():
    np.testing.assert_allclose(scores(caref()), reference.caref(*CASE), rtol=1e-5)


@pytest.mark.parametrize(
    ("logit", "g"),
    [
        ("energy", lambda f: np.log(np.exp(f).sum())),
        ("max_logit", max),
        ("msp", lambda f: max(reference.softmax(f))),
        ("gen", lambda f: 1 / sum((p * (1 - p)) ** 0.1 for p in reference.softmax(f))),
    ],
)
def test_cadref_matches_reference(logit, g):
    got = scores(cadref(logit=logit))
    np.testing.assert_allclose(got, reference.cadref(*CASE, g), rtol=2e-4)


def test_a_class_that_is_never_predicted_takes_the_mean_of_all():
    predicted = np.argmax(TRAIN @ KERNEL + BIAS, -1)
    train = TRAIN[predicted != 1]
    with pytest.warns(UserWarning, match=r"caref.*class 1.*mean of all"):
        got = scores(caref(), train)
    chosen = np.argmax(TEST @ KERNEL + BIAS, -1) == 1
    assert chosen.any()
    error = np.abs(TEST - train.mean(0)).sum(-1) / np.abs(TEST).sum(-1)
    np.testing.assert_allclose(got[chosen], -error[chosen], rtol=1e-5)


@pytest.mark.parametrize("logit", ["", "odin", None])
def test_cadrefs_logit_score_is_checked(logit):
    with pytest.raises(ValueError, match="logit must be one of energy, max_logit"):
        cadref(logit=logit)


@pytest.mark.parametrize(("power", "least"), [(1.0, 0.03), (4.0, 0.2), (0.5, 0.0)])
def test_relation_matches_reference(power, least):
    got = scores(relation(power=power, least=least))
    expected = reference.relation(*CASE, power, least)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"power": 0.0}, "power must be a finite number above 0"),
        ({"least": 1.0}, r"least must be a fraction in \[0, 1\)"),
        ({"capacity": 0}, "capacity must be an integer >= 1"),
    ],
)
def test_relation_refuses_bad_values(values, match):
    with pytest.raises(ValueError, match=match):
        relation(**values)


@pytest.mark.parametrize(("k", "lam"), [(1, 2.0), (3, 1.0), (4, 0.5)])
def test_actsub_matches_reference(k, lam):
    got = scores(actsub(k=k, q=0.6, lam=lam, neighbours=5))
    expected = reference.actsub(*CASE, k, 0.6, lam, 5)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("k", "M", "lam"), [(1, 50, 0.5), (3, 2, 1.0)])
def test_actsub_gen_matches_reference(k, M, lam):
    component = jood.scores.actsub_gen(k=k, gamma=0.2, M=M, lam=lam, neighbours=5)
    expected = reference.actsub_gen(*CASE, k, 0.2, M, lam, 5)
    np.testing.assert_allclose(scores(component), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"k": 0}, "k must be an integer >= 1"),
        ({"gamma": 1.0}, r"gamma must be .*exponent in \(0, 1\)"),
        ({"M": 0}, "M must be an integer >= 1"),
        ({"lam": -1.0}, "lam must be a finite number >= 0"),
    ],
)
def test_actsub_gen_refuses_bad_values(values, match):
    with pytest.raises(ValueError, match=match):
        jood.scores.actsub_gen(**values)


def test_actsub_fits_the_subspace_of_equal_lengths():
    acts = jood.Activations.of(TRAIN, KERNEL, BIAS)
    _, basis, _ = jood.fit(actsub(neighbours=5), [acts])
    vectors = np.linalg.svd(KERNEL)[0]
    apart = []
    for k in range(1, 5):
        inside = np.linalg.norm(TRAIN @ vectors[:, :k], axis=-1).mean()
        outside = np.linalg.norm(TRAIN @ vectors[:, k:], axis=-1).mean()
        apart.append(abs(inside - outside))
    assert basis.shape[1] == np.argmin(apart) + 1


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"k": 0}, "k must be an integer >= 1"),
        ({"shape": "react"}, "shape must be one of scale, ash_s"),
        ({"q": 95}, r"q must be a fraction in \(0, 1\)"),
        ({"lam": -1.0}, "lam must be a finite number >= 0"),
        ({"neighbours": 0}, "k must be an integer >= 1"),
    ],
)
def test_actsub_refuses_bad_values(values, match):
    with pytest.raises(ValueError, match=match):
        actsub(**values)


def test_actsub_refuses_a_subspace_above_the_rank():
    with pytest.raises(ValueError, match=r"rank 4.*smaller k"):
        scores(actsub(k=5))
