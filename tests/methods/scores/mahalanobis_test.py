"""Mahalanobis and relative Mahalanobis against slow versions."""

import importlib
import warnings

import chex
from helpers import compiled
import jax
import numpy as np
import pytest
from reference import distance as reference

import jood
from jood import transforms
from jood.core.fitting import fit

# The functions of the same names hide the modules.
single = importlib.import_module("jood.methods.scores.mahalanobis")
SINGLE = (single.mahalanobis, single.relative_mahalanobis)
by_name = pytest.mark.parametrize("factory", SINGLE, ids=lambda f: f.__name__)


def problem(count=60, width=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % classes).astype(np.int32)
    mix = rng.normal(size=(width, width))
    centres = 3 * rng.normal(size=(classes, width))
    train = centres[labels] + rng.normal(size=(count, width)) @ mix
    test = rng.normal(size=(20, width)) * 4
    return train.astype("f"), labels, test.astype("f")


def record(features, labels=None, classes=3):
    kernel = np.ones((features.shape[1], classes), "f")
    return jood.Activations.of(features, kernel, labels=labels)


def scores(component, train, labels, test, size=17, classes=3):
    parts = [
        record(train[i : i + size], labels[i : i + size], classes)
        for i in range(0, len(train), size)
    ]
    return np.asarray(compiled.apply(component, fit(component, parts), record(test)))


@by_name
@pytest.mark.parametrize("seed", [0, 1])
def test_matches_reference(factory, seed):
    train, labels, test = problem(seed=seed)
    out = scores(factory(), train, labels, test)
    chex.assert_shape(out, (20,))
    expected = getattr(reference, factory.__name__)(train, labels, test)
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=1e-4)


def test_worked_out_by_hand():
    # Two classes around (0, 0) and (10, 0); variances 4 in x and 1 in y.
    offsets = np.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
    train = np.concatenate([offsets, offsets + np.array([[10.0, 0.0]])])
    labels = np.repeat([0, 1], 4)
    test = np.array([[0.0, 0.0], [6.0, 0.0], [10.0, 3.0]])
    out = scores(single.mahalanobis(), train, labels, test, classes=2)
    np.testing.assert_allclose(out, [0.0, -16 / 4, -9.0], atol=1e-5)
    # Of all data the mean is (5, 0) and the variance in x 25 + 4.
    out = scores(single.relative_mahalanobis(), train, labels, test, classes=2)
    np.testing.assert_allclose(out, [25 / 29, 1 / 29 - 4, 25 / 29], atol=1e-5)


@by_name
def test_does_not_depend_on_where_the_features_are(factory):
    train, labels, test = problem()
    out = scores(factory(), train, labels, test)
    moved = scores(factory(), train + 500.0, labels, test + 500.0)
    np.testing.assert_allclose(moved, out, rtol=2e-3, atol=2e-3)


@by_name
def test_class_without_examples_is_left_out_and_named(factory):
    train, labels, test = problem()
    keep = labels != 1
    with pytest.warns(UserWarning, match=r"1 of 3 classes have fewer \(class 1\)"):
        out = scores(factory(), train[keep], labels[keep], test)
    expected = getattr(reference, factory.__name__)(train[keep], labels[keep], test)
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=1e-4)


@by_name
def test_needs_labels(factory):
    train, _, _ = problem()
    with pytest.raises(ValueError, match=r"needs labels.*\(images, labels\)"):
        fit(factory(), [record(train)])


@by_name
def test_fewer_examples_than_dimensions(factory):
    train, labels, test = problem(count=9, width=12)
    message = r"at least D \+ K = 15 .*got N = 9.*rank 6"
    with pytest.warns(UserWarning, match=message) as caught:
        out = scores(factory(), train, labels, test)
    assert len(caught) == 1
    assert np.isfinite(out).all()
    if factory is single.mahalanobis:
        expected = reference.mahalanobis(train, labels, test)
        np.testing.assert_allclose(out, expected, rtol=1e-3)


def test_enough_examples_do_not_warn():
    train, labels, test = problem(count=9, width=6)
    scores(single.mahalanobis(), train, labels, test)


@by_name
def test_dead_and_constant_features_count_nothing(factory):
    train, labels, test = problem()

    def with_dead(x):
        constant = np.full((len(x), 1), 3.0, "f")
        return np.concatenate([x, np.zeros((len(x), 2), "f"), constant], axis=1)

    out = scores(factory(), with_dead(train), labels, with_dead(test))
    expected = scores(factory(), train, labels, test)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@by_name
def test_one_image_per_class_and_constant_data_stay_finite(factory):
    train = np.repeat(np.arange(3.0, dtype="f")[:, None], 5, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = scores(factory(), train, np.arange(3), train + 1e4)
    with (
        pytest.warns(UserWarning, match=f"{factory.__name__}.*do not vary within"),
        pytest.warns(UserWarning, match="all have the same penultimate feature"),
    ):
        flat = scores(factory(), np.ones((9, 5), "f"), np.arange(9) % 3, train)
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(flat, np.zeros(3))


@by_name
def test_no_large_temporary(factory):
    batch, classes, width = 64, 128, 256
    train, labels, _ = problem(count=512, width=width, classes=classes)
    component = factory()
    acts = record(train, labels, classes)
    fitted = fit(component, [acts])
    analysis = jax.jit(component.apply).lower(
        fitted, record(train[:batch], classes=classes)
    )
    used = analysis.compile().memory_analysis().temp_size_in_bytes
    assert used < 4 * batch * classes * width / 8


@pytest.mark.slow
def test_chained_after_react_and_fused():
    train, labels, test = problem()
    component = jood.chain(transforms.react(clip=1.0), single.mahalanobis())
    out = scores(component, train, labels, test)
    expected = reference.mahalanobis(np.minimum(train, 1), labels, np.minimum(test, 1))
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=1e-4)
    both = jood.fuse(component, jood.parse("energy()"), weights=(2.0, 1.0))
    fused = scores(both, train, labels, test)
    energies = compiled.apply(jood.parse("energy()"), (), record(test))
    np.testing.assert_allclose(fused, 2 * out + energies, rtol=1e-5)
