"""NAC, GradUncertainty, WeiPer+KLD and OpenMax against the slow reference."""

from helpers import compiled
import jax.numpy as jnp
import numpy as np
import pytest
from reference import leading as reference
import scipy.stats

import jood
from jood import testing
from jood.core import stage_gradients
from jood.methods.scores import weiper
from jood.methods.scores.grad_uncertainty import grad_uncertainty
from jood.methods.scores.nac import _edges as edges_of
from jood.methods.scores.nac import nac
from jood.methods.scores.openmax import openmax
from jood.methods.scores.openmax import weibull
from jood.methods.scores.weiper import weiper_kld

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(12, 4)).astype("f")
KERNEL -= KERNEL.mean(0, keepdims=True)
BIAS = np.linspace(-0.2, 0.2, 4).astype("f")
TRAIN, TEST = np.maximum(RNG.normal(0.3, 1.0, (2, 80, 12)), 0).astype("f")
TEST = TEST[:20]
LABELS = np.argmax(TRAIN @ KERNEL + BIAS, -1)
LABELS[::5] = (LABELS[::5] + 1) % 4  # a fifth is misclassified


def fit(component, train=TRAIN, labels=LABELS):
    parts = np.array_split(np.arange(len(train)), 3)
    return jood.fit(
        component,
        [jood.Activations.of(train[p], KERNEL, BIAS, labels=labels[p]) for p in parts],
    )


def scores(component, fitted=None):
    acts = jood.Activations.of(TEST, KERNEL, BIAS)
    return compiled.apply(component, fit(component) if fitted is None else fitted, acts)


@pytest.mark.parametrize(("M", "O", "alpha"), [(50, 5, 1.0), (8, 20, 10.0)])
def test_nac_matches_reference(M, O, alpha):  # noqa: E741
    got = scores(nac(M=M, O=O, alpha=alpha))
    expected = reference.nac(TRAIN, KERNEL, BIAS, TEST, edges_of(M), O, alpha)
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.slow
def test_nac_of_the_last_map_is_nac_of_the_feature():
    """Whose head reads the mean over 4 x 4 locations: h = sum z / 16, g = sum ∂z."""
    images, labels = testing.toy_images(64, 0)
    new, _ = testing.toy_images(16, 1)
    found = []
    for alpha, stage in ((16.0, None), (1.0, "C5")):
        component = nac(M=20, O=3, alpha=alpha, stage=stage)
        train = testing.toy_activations(component, images, labels)
        fitted = jood.fit(component, [train])
        found.append(
            compiled.apply(component, fitted, testing.toy_activations(component, new))
        )
    np.testing.assert_allclose(*found, atol=0.05)
    assert np.std(found[0]) > 0


def test_the_gradient_at_a_stage_is_that_of_small_shifts():
    component = nac(stage="C4")
    acts = testing.toy_activations(component, testing.toy_images(2, 1)[0])

    def loss(record):
        return jnp.square(record.logits).sum(-1)

    gradient = np.asarray(stage_gradients.gradient(acts, "C4", loss))
    place, step = (1, 2, 1, 3), 1e-2
    shift = np.zeros(gradient.shape, "f")
    shift[place] = step
    sides = []
    for sign in (1, -1):
        move = jood.StageEdit("probe", "C4", lambda z, s=sign: z + s * shift)
        record = acts.network.edited((move,), acts.network.images)
        sides.append(np.asarray(loss(record))[1])
    found = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(gradient[place], found, rtol=2e-2)


def test_nac_of_a_stage_needs_the_network():
    with pytest.raises(ValueError, match="stage must be a stage's name"):
        nac(stage="")
    with pytest.raises(jood.MissingStageError, match="have none behind them"):
        fit(nac(stage="C4"))


def test_the_bins_of_nac_are_symmetric_and_narrow_at_the_ends():
    edges = edges_of(50)
    assert len(edges) == 50
    inner = np.append(edges[:-2], 1.0)
    np.testing.assert_allclose(inner, 1 - inner[::-1], atol=1e-6)
    assert np.diff(edges).argmin() > 0  # wide at 0, ever narrower to 1/2
    assert 0.5 in edges


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"M": 3}, "M must be at least 4"),
        ({"O": 0}, "O must be an integer >= 1"),
        ({"alpha": 0.0}, "alpha must be a finite number above 0"),
    ],
)
def test_nac_refuses_bad_values(values, match):
    with pytest.raises(ValueError, match=match):
        nac(**values)


@pytest.mark.parametrize("parameters", ["weight", "weight_bias"])
def test_grad_uncertainty_matches_reference(parameters):
    got = scores(grad_uncertainty(parameters=parameters), ())
    whole = parameters == "weight_bias"
    expected = reference.grad_uncertainty(TEST, KERNEL, BIAS, whole)
    np.testing.assert_allclose(got, expected, rtol=2e-5)


@pytest.mark.parametrize("parameters", ["all", "", None])
def test_grad_uncertainty_refuses_other_parameters(parameters):
    with pytest.raises(ValueError, match="parameters must be 'weight_bias' or"):
        grad_uncertainty(parameters=parameters)


def test_weiper_matches_reference():
    got = scores(weiper_kld(r=3, delta=0.7, lam1=2.0, lam2=0.5, s1=4, s2=7, seed=5))
    heads = []
    for i in range(3):
        drawn = np.asarray(weiper.noise(5, i, KERNEL.shape), np.float64)
        drawn /= np.linalg.norm(drawn, axis=0)
        heads.append(KERNEL + 0.7 * np.linalg.norm(KERNEL, axis=0) * drawn)
    expected = reference.weiper_kld(TRAIN, heads, BIAS, TEST, 2.0, 0.5, 4, 7)
    np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.slow
def test_weiper_with_shared_draws_matches_reference():
    """Head i turns the features by Q_iᵀ, or, the same, all heads' draw by Q_i."""
    values = {"r": 3, "delta": 0.7, "lam1": 2.0, "lam2": 0.5, "s1": 4, "s2": 7}
    got = scores(weiper_kld(**values, seed=5, draws="shared"))
    drawn = np.asarray(weiper.noise(5, 0, KERNEL.shape), np.float64)
    drawn /= np.linalg.norm(drawn, axis=0)
    heads = []
    for i in range(3):
        turn = np.asarray(weiper.turned(5, i, np.eye(12, dtype="f")), np.float64)
        np.testing.assert_allclose(turn @ turn.T, np.eye(12), atol=1e-6)
        heads.append(KERNEL + 0.7 * np.linalg.norm(KERNEL, axis=0) * (turn @ drawn))
    assert np.abs(heads[0] - heads[1]).max() > 0.1
    expected = reference.weiper_kld(TRAIN, heads, BIAS, TEST, 2.0, 0.5, 4, 7)
    np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"r": 0}, "r must be an integer >= 1"),
        ({"s2": 0}, "s2 must be an integer >= 1"),
        ({"draws": "none"}, "draws must be one of independent, shared"),
        ({"delta": -1.0}, "delta must be a finite number >= 0"),
        ({"lam1": float("nan")}, "lam1 must be a finite number >= 0"),
    ],
)
def test_weiper_refuses_bad_values(values, match):
    with pytest.raises(ValueError, match=match):
        weiper_kld(**values)


def test_weiper_needs_features_that_vary():
    train = np.zeros((6, 12), "f")
    with (
        pytest.raises(ValueError, match=r"weiper_kld.*do not vary"),
    ):
        fit(weiper_kld(r=2), train, LABELS[:6])


@pytest.mark.parametrize("alpha", [1, 3, 9])
def test_openmax_matches_reference(alpha):
    component = openmax(alpha=alpha, tail=8)
    fitted = fit(component)
    logits = TEST.astype(np.float64) @ KERNEL + BIAS
    expected = reference.openmax(*fitted, logits, alpha)
    np.testing.assert_allclose(scores(component, fitted), expected, rtol=1e-4)


def test_openmax_fits_correctly_classified_images():
    means, weibulls = fit(openmax(tail=8))
    logits = TRAIN.astype(np.float64) @ KERNEL + BIAS
    right = np.argmax(logits, -1) == LABELS
    for k in range(4):
        own = logits[right & (k == LABELS)]
        np.testing.assert_allclose(means[k], own.mean(0), rtol=1e-4, atol=1e-5)
        distances = np.sort(np.linalg.norm(own - own.mean(0), axis=-1))[-8:]
        np.testing.assert_allclose(weibulls[k], weibull(distances), rtol=1e-3)


def test_the_weibull_fit_is_scipys():
    tail = np.sort(RNG.gamma(3.0, size=25))
    scale, shape, start = weibull(tail)
    expected = scipy.stats.weibull_min.fit(tail - tail.min() + 1, floc=0)
    np.testing.assert_allclose([shape, scale], [expected[0], expected[2]], rtol=1e-3)
    assert start == tail.min()


def test_a_class_with_one_example_gives_nothing_to_the_unknown():
    kept = np.flatnonzero((LABELS != 2) | (np.arange(80) == 1))
    labels = LABELS.copy()
    labels[1] = 2
    with pytest.warns(UserWarning, match="1 of 4 classes have fewer"):
        _, weibulls = fit(openmax(), TRAIN[kept], labels[kept])
    assert weibulls[2, 0] > 1e20


@pytest.mark.parametrize(("name", "value"), [("alpha", 0), ("tail", 0), ("tail", 1)])
def test_openmax_refuses_bad_values(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        openmax(**{name: value})
