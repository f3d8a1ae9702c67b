"""Gram matrices (Sastry & Oore) against the slow reference."""

import importlib

from helpers import compiled
import numpy as np
import pytest
from reference import leading as reference

import jood
from jood import testing

# The folder's attribute of that name is the method.
module = importlib.import_module("jood.methods.scores.gram_deviation")
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(5, 3)).astype("f")
CLASSES = 3


def maps(count, seed):
    rng = np.random.default_rng(seed)
    signed = rng.normal(size=(count, 3, 3, 4)).astype("f")  # before a ReLU
    return {"C4": signed, "C5": np.abs(rng.normal(size=(count, 4, 5))).astype("f")}


def record(count, seed, rows=slice(None), **fields):
    features = np.random.default_rng(seed + 10).normal(size=(count, 5)).astype("f")
    stages = {name: x[rows] for name, x in maps(count, seed).items()}
    return jood.Activations.of(features[rows], KERNEL, stages=stages, **fields)


LABELS = RNG.integers(0, CLASSES - 1, 90)  # none is of the last class


@pytest.mark.parametrize(("P", "classes"), [(1, "label"), (5, "prediction")])
def test_it_matches_the_reference(P, classes):
    component = jood.scores.gram_deviation(P=P, classes=classes)
    parts = np.array_split(np.arange(90), 4)
    train = [record(90, 0, rows=p, labels=LABELS[p]) for p in parts]
    fitted = jood.fit(component, train)
    whole, test = record(90, 0), record(20, 1)
    got = compiled.apply(component, fitted, test)
    known = LABELS if classes == "label" else np.asarray(whole.prediction)
    held = np.asarray(module.held_out(whole))
    assert 0 < held.sum() < 30
    p = np.exp(test.logits - np.logaddexp.reduce(test.logits, -1, keepdims=True))
    expected = reference.gram_deviation(
        maps(90, 0), known, held, maps(20, 1), np.asarray(test.prediction), p.max(-1), P
    )
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_row_sums_are_those_of_the_whole_matrix():
    x = maps(2, 3)["C4"]
    expected = [reference.row_sums(one, 6) for one in x]
    np.testing.assert_allclose(module.row_sums(x, 6), expected, rtol=1e-4)


def test_large_maps_do_not_overflow():
    x = np.full((1, 2, 2, 3), 1e8, "f")
    found = np.asarray(module.row_sums(x, 10))
    np.testing.assert_allclose(found[0, 9], 1e16 * 12**0.1, rtol=1e-4)


@pytest.mark.slow
def test_what_no_training_image_did_lowers_the_score():
    component = jood.scores.gram_deviation()
    images, labels = testing.toy_images(96, 0)
    train = testing.toy_activations(component, images, labels)
    fitted = jood.fit(component, [train])
    scores = [
        component.apply(fitted, testing.toy_activations(component, some[0]))
        for some in (testing.toy_images(32, 1), testing.toy_images(32, 2, ood=True))
    ]
    assert jood.metrics.auroc(*map(np.asarray, scores)) > 0.9


def test_what_it_cannot_use_is_refused():
    with pytest.raises(ValueError, match="P must be an integer >= 1"):
        jood.scores.gram_deviation(P=0)
    with pytest.raises(ValueError, match="classes must be one of prediction, label"):
        jood.scores.gram_deviation(classes="both")
    component = jood.scores.gram_deviation()
    with pytest.raises(jood.MissingStageError, match="reads every stage"):
        jood.fit(component, [jood.Activations.of(np.ones((4, 5), "f"), KERNEL)])
    one = record(90, 0, rows=slice(0, 1))
    assert not np.asarray(module.held_out(one)).any()
    with pytest.raises(ValueError, match="none fell into it"):
        jood.fit(component, [one])
