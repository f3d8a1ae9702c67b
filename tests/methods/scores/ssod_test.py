"""Scores of a network with an OOD head, and the head on its way with the network."""

from helpers import compiled
from helpers import tiny_network
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood.core import features
from jood.data import pipeline
from jood.data.sources import ArraySource
from jood.methods import detector_text
from jood.models import check
from jood.testing import toy

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(6, 5)).astype(np.float32)
KERNEL, BIAS = RNG.normal(size=(5, 3)).astype(np.float32), np.ones(3, np.float32)
HEAD = (RNG.normal(size=(5, 1)).astype(np.float32), np.array([0.3], np.float32))


def acts(scale=1.0):
    return jood.Activations.of(scale * FEATURES, KERNEL, BIAS, ood_head=HEAD)


def test_ood_factor_is_the_sigmoid_of_the_heads_logit():
    expected = [1 / (1 + np.exp(-(h @ HEAD[0][:, 0] + 0.3))) for h in FEATURES]
    part = jood.scores.ood_factor()
    np.testing.assert_allclose(compiled.apply(part, (), acts()), expected, rtol=1e-5)


def test_joint_posterior_is_the_largest_class_posterior_of_eq_7():
    expected = []
    for h in FEATURES.astype(np.float64):
        f = np.exp(h @ KERNEL + BIAS)
        factor = 1 / (1 + np.exp(-(h @ HEAD[0][:, 0] + 0.3)))
        posterior = [f[i] / f.sum() * factor for i in range(3)]
        assert sum(posterior) < 1  # the rest is P(w_{M+1} | x), Sec. 2.1
        expected.append(max(posterior))
    part = jood.scores.joint_posterior()
    np.testing.assert_allclose(compiled.apply(part, (), acts()), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["ood_factor", "joint_posterior"])
def test_rankings_are_in_the_scores_order_and_do_not_saturate(name):
    part = getattr(jood.scores, name)()
    score, fine = (
        compiled.apply(part, (), acts()),
        compiled.apply(part.ranking, (), acts()),
    )
    np.testing.assert_array_equal(np.argsort(score), np.argsort(fine))
    huge = np.abs(FEATURES) * np.sign(HEAD[0][:, 0]) * np.array([[20.0], [25.0]] * 3)
    confident = jood.Activations.of(huge, KERNEL, BIAS, ood_head=HEAD)
    assert len(np.unique(compiled.apply(part.ranking, (), confident))) == 6


def test_features_may_be_rewritten_before_the_head_reads_them():
    part = jood.parse("react(clip=0.1)|ood_factor()")
    fitted = jood.fit(part, [acts()])
    clipped = jood.Activations.of(
        np.minimum(FEATURES, 0.1), KERNEL, BIAS, ood_head=HEAD
    )
    expected = compiled.apply(jood.scores.ood_factor(), (), clipped)
    np.testing.assert_allclose(
        compiled.apply(part, fitted, acts()), expected, rtol=1e-6
    )
    with pytest.raises(ValueError, match="has no effect"):
        jood.parse("dice(q=0.5)|ood_factor()")  # it masks the classifier's weights


def test_without_a_head_the_error_says_how_to_get_one():
    plain = jood.Activations.of(FEATURES, KERNEL, BIAS)
    with pytest.raises(ValueError, match=r"--objective=ssod"):
        jood.scores.ood_factor().apply((), plain)
    with pytest.raises(ValueError, match=r"kernel \[D, 1\] = \(5, 1\)"):
        jood.Activations.of(FEATURES, KERNEL, BIAS, ood_head=(KERNEL, BIAS))


def test_the_head_is_with_features_that_were_kept():
    record = features.Features.of(acts(), jnp.ones(6)).record(
        KERNEL, BIAS, acts().ood_head
    )
    np.testing.assert_array_equal(record.ood_logit(), acts().ood_logit())


def test_a_head_of_another_width_is_another_architecture():
    variables = {**tiny_network.VARIABLES, "ood_head": toy.toy_variables()["ood_head"]}
    with pytest.raises(ValueError, match=r"ood_head/kernel \(model \(8, 1\)"):
        check.check_variables(tiny_network.MODEL, variables, (32, 32, 3), "x")


@pytest.mark.slow
def test_it_travels_with_a_detector_and_its_cache(tmp_path):
    head = {"kernel": RNG.normal(size=(8, 1)).astype("f"), "bias": np.zeros(1, "f")}
    variables = {**tiny_network.VARIABLES, "ood_head": head}
    images = RNG.integers(0, 256, (12, 16, 16, 3)).astype(np.uint8)
    preprocessing = jood.Preprocessing((0.5,) * 3, (0.25,) * 3)
    text = "react(q=0.9)|fuse(ood_factor(), energy(), weights=(1, 0.1))"
    detector = jood.Detector(text, tiny_network.MODEL, variables, preprocessing)
    batches = pipeline.EvaluationBatches(ArraySource(images), batch_size=4)
    fitted = [detector.fit(batches, cache=tmp_path / "cache") for _ in range(2)][1]
    fitted.save(tmp_path / "saved")
    loaded = jood.Detector.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded(images), fitted(images))
    acts = jood.observe(tiny_network.MODEL, variables, preprocessing(images))
    expected = acts.penultimate @ head["kernel"][:, 0]
    np.testing.assert_allclose(acts.ood_logit(), expected, rtol=1e-5)


def test_it_travels_to_pytorchs_names_and_back():
    head = {"kernel": RNG.normal(size=(8, 1)).astype("f"), "bias": np.ones(1, "f")}
    variables = {**tiny_network.VARIABLES, "ood_head": head}
    tensors = jood.weights.to_torch_names(tiny_network.MODEL, variables, "torchvision")
    assert tensors["ood_head.weight"].shape == (1, 8)
    again = jood.weights.from_torch_names(tensors, tiny_network.MODEL)
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_penultimate_norm():
    part = detector_text.parse("penultimate_norm()")
    expected = [np.sqrt((h**2).sum()) for h in FEATURES.astype(np.float64)]
    np.testing.assert_allclose(jax.jit(part.apply)((), acts()), expected, rtol=1e-6)
