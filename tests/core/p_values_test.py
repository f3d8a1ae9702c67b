"""Combined detectors: against SciPy, as texts, and the promise over many draws."""

from helpers import compiled
import jax
import numpy as np
import pytest
import scipy.stats

import jood
from jood import testing
from jood.detector import calibration

RULES = ("fisher", "brown", "harmonic")
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(8, 5)).astype("f")


def features(rows, seed):
    return np.random.default_rng(seed).gamma(1.0, size=(rows, 8)).astype("f")


def record(rows):
    return jood.Activations.of(rows, KERNEL)


TRAIN, TEST = features(90, 0), features(40, 1)
PARTS = ("energy()", "knn(k=3)", "penultimate_norm()")


def combined(rule):
    return jood.parse(f"combine({', '.join(PARTS)}, rule={rule!r})")


def fitted(component, parts=3):
    return jood.fit(component, [record(p) for p in np.array_split(TRAIN, parts)])


def p_values():
    """[B, P] by the definition, from each part's own scores; and of training rows."""
    columns = []
    for text in PARTS:
        part = jood.parse(text)
        values = fitted(part)
        train, test = (
            np.asarray(compiled.apply(part, values, record(x))) for x in (TRAIN, TEST)
        )
        n = len(train)
        low, high = min(train), max(train)
        low = low * n if low < 0 else low / n
        high = high * n if high > 0 else high / n
        support = np.sort([low, *train, high]).astype(np.float64)
        levels = np.arange(1, n + 3) / (n + 2)
        columns.append([np.interp(x, support, levels) for x in (test, train)])
    return [np.stack(p, axis=-1) for p in zip(*columns, strict=True)]


@pytest.mark.parametrize("rule", RULES)
def test_it_is_scipys(rule):
    component = combined(rule)
    got = jax.jit(component.apply)(fitted(component), record(TEST))
    p, of_training = p_values()
    if rule == "harmonic":
        expected = scipy.stats.hmean(p, axis=-1)
    elif rule == "fisher":
        expected = [scipy.stats.combine_pvalues(row).pvalue for row in p]
    else:
        tau = -2 * np.log(of_training).sum(-1)
        c, k = tau.var() / (2 * tau.mean()), 2 * tau.mean() ** 2 / tau.var()
        expected = scipy.stats.chi2.sf(-2 * np.log(p).sum(-1) / c, k)
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_splitting_the_training_data_changes_nothing(rule):
    component = combined(rule)
    apply = jax.jit(component.apply)
    one, other = (apply(fitted(component, n), record(TEST)) for n in (1, 5))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_the_text_gives_it_back(rule):
    component = combined(rule)
    assert jood.parse(component.spec).spec == component.spec
    chained = jood.parse(f"react(clip=1.0)|{component.spec}")
    assert np.isfinite(compiled.apply(chained, fitted(chained), record(TEST))).all()


def test_the_ranking_is_in_the_same_order_and_does_not_saturate():
    component = combined("fisher")
    values = fitted(component)
    score = np.asarray(compiled.apply(component, values, record(TEST)))
    ranks = np.asarray(compiled.apply(component.ranking, values, record(TEST)))
    assert len(np.unique(ranks)) == len(TEST)
    assert (np.diff(score[np.argsort(ranks)]) >= -1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_the_promise_holds_over_many_draws(rule):
    """Images that nothing was fitted to: on average at most α are called OOD."""
    component = combined(rule)
    apply = jax.jit(component.apply)
    values, alpha, size = fitted(component), 0.1, 60
    alarms = []
    for draw in range(200):
        both = apply(values, record(features(2 * size, 100 + draw)))
        known, new = np.split(np.asarray(both, np.float64), 2)
        held = calibration.Calibration(1 - alpha, {"it": np.sort(known)})
        alarms.append((held.p_values({"it": new})["it"] <= alpha).mean())
    spread = np.std(alarms) / np.sqrt(len(alarms))
    assert np.mean(alarms) <= alpha + 3 * spread
    assert np.mean(alarms) >= alpha * 0.7  # and it is not idle


@pytest.mark.slow
def test_ood_images_get_lower_scores_than_by_one_part_alone():
    component = jood.parse("combine(msp(), feature_sim(), rule='brown')")
    images, labels = testing.toy_images(128, 0)
    train = testing.toy_activations(component, images, labels)
    values = jood.fit(component, [train])
    scores = [
        np.asarray(
            component.apply(
                values,
                testing.toy_activations(component, testing.toy_images(64, 1, ood)[0]),
            )
        )
        for ood in (False, True)
    ]
    assert jood.metrics.auroc(*scores) > 0.9


def test_what_cannot_be_combined_is_refused():
    energy, react = jood.parse("energy()"), jood.parse("react()")
    with pytest.raises(ValueError, match="at least two scores, got 1"):
        jood.combine(energy)
    with pytest.raises(ValueError, match=r"react.*slot feature"):
        jood.combine(energy, react)
    with pytest.raises(ValueError, match="rule must be one of fisher, brown, harm"):
        jood.combine(energy, energy, rule="stouffer")
    with pytest.raises(ValueError, match="capacity must be an integer >= 1"):
        jood.combine(energy, energy, capacity=0)
    with pytest.raises(jood.NotFittedError):
        jood.combine(energy, energy).apply((), record(TEST))
