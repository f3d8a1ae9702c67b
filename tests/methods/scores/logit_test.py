"""GEN, entropy, KL matching and GradNorm, which read the logits (and the norm of h)."""

from helpers import compiled
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import scores as reference

import jood
from jood.methods.scores.entropy import entropy
from jood.methods.scores.gen import gen
from jood.methods.scores.gen import log_probabilities
from jood.methods.scores.gradnorm import gradnorm
from jood.methods.scores.klm import klm
from jood.methods.scores.logit import msp


def of_logits(logits):
    """A record with these logits: the head is the identity."""
    logits = np.asarray(logits, np.float32)
    return jood.Activations.of(logits, np.eye(logits.shape[1], dtype=np.float32))


def sample_logits(rows=40, classes=7, seed=0, spread=4.0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, spread, (rows, classes)).astype(np.float32)


def feature_record(rows=8, width=12, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(0.2, 1.0, (rows, width)).astype(np.float32)
    kernel = rng.normal(size=(width, classes)).astype(np.float32)
    return jood.Activations.of(features, kernel, np.linspace(-1, 1, classes))


def score(component, acts):
    return np.asarray(compiled.apply(component, (), acts), np.float64)


LOG2 = float(np.log(2))


def test_entropy_worked_out_by_hand():
    acts = of_logits([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1e4, -1e4], [9e3, 0, 0, 0]])
    expected = [-2 * LOG2, -LOG2, 0.0]
    np.testing.assert_allclose(score(entropy(), acts), expected, atol=1e-6)


def test_gen_worked_out_by_hand():
    # p = 1/4 each: a term is (3/16)^γ. p = (1/2, 1/2, 0, 0): terms (1/4)^γ and 0.
    acts = of_logits([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1e4, -1e4]])
    expected = [-3 * (3 / 16) ** 0.5, -2 * 0.25**0.5]
    np.testing.assert_allclose(score(gen(gamma=0.5, M=3), acts), expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("M", [1, 3, 7, 100])
def test_gen_matches_reference(gamma, M):
    logits = sample_logits()
    expected = reference.gen(logits, gamma, M)
    got = score(gen(gamma=gamma, M=M), of_logits(logits))
    np.testing.assert_allclose(got, expected, rtol=2e-5)


def test_gen_resolves_softmaxes_that_float32_calls_one():
    # p of the top class is 1 - 3e-9 and 1 - 3e-18: both are 1.0 in float32.
    logits = np.float32([[20.0, 0.4, 0.0], [40.0, 0.4, 0.0]])
    got = score(gen(M=1), of_logits(logits))
    expected = [-((np.exp(0.4 - x) + np.exp(-x)) ** 0.1) for x in (20, 40)]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    got = score(gen(), of_logits(logits))
    np.testing.assert_allclose(got, reference.gen(logits, 0.1, 100), rtol=1e-5)
    assert got[1] > got[0]


def test_gen_of_one_class_or_none_left():
    assert score(gen(), of_logits([[3.0], [-2.0]])).tolist() == [0.0, 0.0]
    extreme = score(gen(), of_logits([[1e4, -1e4, 0.0], [1e4, 1e4, -1e4]]))
    np.testing.assert_allclose(extreme, [0.0, -2 * 0.25**0.1], rtol=1e-6)


def test_gens_probabilities_have_finite_gradients():
    logits = jnp.array([[30.0, 0.0, -50.0], [0.0, 0.0, 0.0]])
    for part in (0, 1):
        gradient = jax.grad(lambda x, part=part: log_probabilities(x)[part].sum())
        assert np.isfinite(compiled.run(gradient, logits)).all()


def test_gen_takes_a_traced_exponent():
    acts = of_logits(sample_logits())
    got = jax.jit(lambda g: gen(gamma=g, M=3).apply((), acts))(0.3)
    np.testing.assert_allclose(got, score(gen(gamma=0.3, M=3), acts), rtol=1e-5)


@pytest.mark.parametrize("gamma", [0, 1, -0.1, float("nan"), "0.1", True])
def test_gens_exponent_is_checked(gamma):
    with pytest.raises(ValueError, match=r"gamma must be an exponent in \(0, 1\)"):
        gen(gamma=gamma)


@pytest.mark.parametrize("M", [0, -1, 2.0, True, "5", None])
def test_gens_number_of_classes_is_checked(M):
    with pytest.raises(ValueError, match="M must be an integer >= 1"):
        gen(M=M)


def test_entropy_matches_reference():
    logits = sample_logits(spread=20.0)
    got = score(entropy(), of_logits(logits))
    np.testing.assert_allclose(got, reference.entropy(logits), rtol=1e-5, atol=1e-7)


def expected_klm(train, logits):
    return reference.klm(train, np.argmax(train, axis=-1), logits)


def fit_klm(logits):
    return jood.fit(klm(), [of_logits(part) for part in np.array_split(logits, 3)])


def test_klm_matches_reference():
    train, logits = sample_logits(150, seed=1), sample_logits(seed=2)
    got = compiled.apply(klm(), fit_klm(train), of_logits(logits))
    np.testing.assert_allclose(got, expected_klm(train, logits), rtol=1e-4, atol=1e-5)


def test_klm_leaves_out_classes_that_are_never_predicted():
    train = sample_logits(150, seed=1)
    train[:, 2] = -9.0
    with pytest.warns(UserWarning, match=r"klm\(\).*1 of 7 .*class 2.*left out"):
        fitted = fit_klm(train)
    assert fitted[0].shape == (6, 7)
    logits = sample_logits(seed=2)
    got = compiled.apply(klm(), fitted, of_logits(logits))
    np.testing.assert_allclose(got, expected_klm(train, logits), rtol=1e-4, atol=1e-5)


def test_klm_is_finite_where_a_prototype_is_zero():
    train = np.float32([[1e3, 0, 0], [0, 1e3, 0], [1e3, 0, 0]])
    with pytest.warns(UserWarning, match="left out"):
        fitted = fit_klm(train)
    test = of_logits([[1e3, 0, 0], [0, 0, 1e3]])
    got = np.asarray(compiled.apply(klm(), fitted, test))
    smallest = np.log(np.finfo(np.float32).tiny)
    np.testing.assert_allclose(got, [0.0, smallest], rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_klm_groups_by_the_prediction_of_the_plain_pass():
    train = of_logits(sample_logits(150, seed=1))
    chained = jood.chain(jood.parse("react(clip=1.0)"), klm())
    got = compiled.apply(chained, jood.fit(chained, [train]), train)
    clipped = np.minimum(train.logits, 1.0)  # here the head is the identity
    assert (np.argmax(clipped, axis=-1) != train.prediction).any()
    expected = reference.klm(clipped, train.prediction, clipped)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("T", [1.0, 0.5, 20.0])
def test_gradnorm_matches_reference(T):
    acts = feature_record()
    expected = reference.gradnorm(acts.penultimate, acts.logits, T)
    np.testing.assert_allclose(score(gradnorm(T=T), acts), expected, rtol=2e-5)


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_gradnorm_is_the_gradient_of_the_divergence_from_uniform(T):
    acts = feature_record(rows=4)

    def divergence(kernel, h):  # KL(uniform || softmax) up to the uniform's entropy
        return -jax.nn.log_softmax((h @ kernel + acts.bias) / T).mean()

    gradient = jax.jit(jax.grad(divergence))
    gradients = [gradient(acts.kernel, h) for h in np.asarray(acts.penultimate)]
    expected = [np.abs(g).sum() for g in gradients]
    np.testing.assert_allclose(score(gradnorm(T=T), acts), expected, rtol=1e-5)


def test_the_mean_form_of_gradnorm_is_over_the_features_too():
    acts = feature_record(width=12)
    whole = score(gradnorm(T=2.0), acts)
    mean = score(gradnorm(T=2.0, norm="mean"), acts)
    np.testing.assert_allclose(12 * mean, whole, rtol=1e-5)
    assert gradnorm().spec == "gradnorm(T=1.0)"
    assert gradnorm(norm="mean").spec == "gradnorm(T=1.0, norm='mean')"
    with pytest.raises(ValueError, match="norm must be 'l1' or 'mean', got norm='l2'"):
        gradnorm(norm="l2")


@pytest.mark.parametrize("T", [0, -1.0, float("inf"), "1"])
def test_gradnorms_temperature_is_checked(T):
    with pytest.raises(ValueError, match="T must be a finite number above 0"):
        gradnorm(T=T)


def test_metrics_rank_msp_by_its_log_odds_which_do_not_end_at_one():
    logits = np.float32([[20.0, 0.4, 0.0], [40.0, 0.4, 0.0], [1.0, 0.9, 0.0]])
    p = score(msp(), of_logits(logits))
    assert p[0] == p[1] == 1
    got = score(msp().ranking, of_logits(logits))
    rest = np.log(np.exp(0.4) + 1)
    np.testing.assert_allclose(got[:2], [20 - rest, 40 - rest], rtol=1e-6)
    np.testing.assert_allclose(got[2], np.log(p[2] / (1 - p[2])), rtol=1e-5)


def test_log_odds_keep_the_order_of_softmax_probabilities():
    logits = sample_logits()
    wide = logits.astype(np.float64)
    p = np.exp(wide - wide.max(-1, keepdims=True))
    p = (p / p.sum(-1, keepdims=True)).max(-1)
    np.testing.assert_array_equal(
        np.argsort(score(msp().ranking, of_logits(logits))), np.argsort(p)
    )


def test_log_odds_of_one_class_are_finite():
    np.testing.assert_array_equal(
        score(msp().ranking, of_logits(np.float32([[3.0], [-2.0]]))), [0, 0]
    )


def test_a_chain_is_ranked_by_its_last_parts_ranking():
    acts = of_logits(np.float32([[40.0, 0.4, 0.0]]))
    ranking = jood.parse("temperature(T=2.0)|msp()").ranking
    rest = np.log(np.exp(0.2) + 1)
    np.testing.assert_allclose(score(ranking, acts), [20 - rest], rtol=1e-6)
    assert jood.parse("temperature(T=2.0)|energy()").ranking is None
