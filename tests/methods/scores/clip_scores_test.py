"""MCM, NegLabel and its mining against plain NumPy versions, and their bad input."""

import importlib

from helpers import compiled
import jax
import numpy as np
import pytest
from reference import clip as reference

import jood
from jood.methods import negative_mining

# The folder's own name for it is the function.
neglabel_lib = importlib.import_module("jood.methods.scores.neglabel")

RNG = np.random.default_rng(0)
FEATURES, KERNEL = RNG.normal(size=(6, 8)), RNG.normal(size=(8, 5))
POSITIVE, NEGATIVE = RNG.normal(size=(8, 5)), RNG.normal(size=(8, 23))
HEADS = {
    "neglabel_head": {
        "positive": POSITIVE.astype("f"),
        "negative": NEGATIVE.astype("f"),
    }
}


def records(scale=1.0, heads=HEADS):
    kernel = (scale * KERNEL).astype("f")
    return jood.Activations.of(FEATURES.astype("f"), kernel, heads=heads)


@pytest.mark.parametrize("T", [1.0, 0.1])
def test_mcm_is_the_largest_softmax_of_the_cosines(T):
    component = jood.parse(f"mcm(T={T})")
    expected = reference.mcm(FEATURES, KERNEL, T)
    np.testing.assert_allclose(
        compiled.apply(component, (), records()), expected, rtol=1e-5
    )
    # The length of the columns does not count: it holds the logit scale.
    np.testing.assert_allclose(
        compiled.apply(component, (), records(50)), expected, rtol=1e-5
    )


def test_mcm_at_the_inverse_of_the_logit_scale_is_msp():
    features = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    kernel = 20 * KERNEL / np.linalg.norm(KERNEL, axis=0)
    acts = jood.Activations.of(features.astype("f"), kernel.astype("f"))
    scaled = compiled.apply(jood.parse("mcm(T=0.05)"), (), acts)
    np.testing.assert_allclose(
        scaled, compiled.apply(jood.parse("msp()"), (), acts), rtol=1e-4
    )


@pytest.mark.parametrize(("groups", "seed", "T"), [(1, 0, 0.3), (4, 3, 0.05)])
def test_neglabel_is_the_mean_share_of_the_classes(groups, seed, T):
    component = jood.parse(f"neglabel(T={T}, groups={groups}, seed={seed})")
    dealt = neglabel_lib.dealt(records(), groups, seed)
    assert sorted(dealt.reshape(-1)) == list(range(23 - 23 % groups))
    expected = reference.neglabel(FEATURES, POSITIVE, NEGATIVE, dealt, T)
    found = jax.jit(lambda acts: component.apply((), acts))(records())
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("text", ["mcm(T=0.2)", "neglabel(T=0.2, groups=3)"])
def test_the_ranking_is_in_the_order_of_the_score(text):
    component = jood.parse(text)
    scores = compiled.apply(component, (), records())
    fine = compiled.apply(component.ranking, (), records())
    assert len(np.unique(scores)) == len(scores)
    assert np.argsort(scores).tolist() == np.argsort(fine).tolist()


def test_rankings_do_not_saturate():
    """Two images of which float32 says 1: the more certain ranks higher."""
    positive, negative = np.eye(2, dtype="f"), np.array([[0, 0], [-1, -1]], "f")
    heads = {"neglabel_head": {"positive": positive, "negative": negative}}
    features = np.array([[1, 0.2], [1, 0.1]], "f")
    acts = jood.Activations.of(features, np.eye(2, dtype="f"), heads=heads)
    for text in ("mcm(T=0.02)", "neglabel(T=0.01, groups=2)"):
        component = jood.parse(text)
        assert compiled.apply(component, (), acts).tolist() == [1, 1]
        first, second = compiled.apply(component.ranking, (), acts)
        assert first != second


def test_mining_keeps_the_words_that_are_least_near():
    candidates, classes = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (RNG.normal(size=(50, 8)), RNG.normal(size=(7, 8)))
    )
    near = negative_mining.nearness(candidates.astype("f"), classes.astype("f"))
    found = [
        *negative_mining.least_near(near[:30]),
        *(30 + negative_mining.least_near(near[30:])),
    ]
    assert found == reference.negative_words(candidates, classes, 30)
    assert len(found) == 4 + 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mcm(T=0)", "T must be a finite number above 0"),
        ("neglabel(T=-1)", "T must be a finite number above 0"),
        ("neglabel(groups=0)", "groups must be an integer >= 1"),
        ("neglabel(seed=-1)", "seed must be a finite number >= 0"),
    ],
)
def test_a_bad_value_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        jood.parse(text)


def test_what_a_network_lacks_is_named():
    with pytest.raises(ValueError, match=r"24 groups, .* has 23 of them.*<= 23"):
        jood.parse("neglabel(groups=24)").apply((), records())
    with pytest.raises(ValueError, match=r"'neglabel_head', .*jood convert \(--nouns"):
        jood.parse("neglabel()").apply((), records(heads={}))


def test_a_list_too_short_to_mine_is_refused():
    with pytest.raises(ValueError, match=r"0\.15 of 6 words leaves none"):
        negative_mining.least_near(np.zeros(6))
    with pytest.raises(ValueError, match="share must be a fraction"):
        negative_mining.least_near(np.zeros(9), 15)
    with pytest.raises(ValueError, match="quantile must be a fraction"):
        negative_mining.nearness(np.eye(2), np.eye(2), 95)
