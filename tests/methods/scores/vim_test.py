"""ViM and Residual against the slow reference and literals."""

import importlib

import chex
from helpers import compiled
import numpy as np
import pytest
from reference import distance as reference

import jood
from jood.core.fitting import fit

module = importlib.import_module("jood.methods.scores.vim")  # the function hides it
vim, residual = module.vim, module.residual
both = pytest.mark.parametrize("factory", [vim, residual])


def problem(count=80, width=9, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(width, width)) * np.linspace(3, 0.3, width)[None]
    train = (rng.normal(size=(count, width)) @ mix + 1.0).astype("f")
    test = rng.normal(2.0, 3.0, size=(15, width)).astype("f")
    kernel = rng.normal(size=(width, classes)).astype("f")
    return train, test, kernel, rng.normal(size=classes).astype("f")


def scores(component, train, test, kernel, bias, size=33):
    parts = [
        jood.Activations.of(train[i : i + size], kernel, bias)
        for i in range(0, len(train), size)
    ]
    acts = jood.Activations.of(test, kernel, bias)
    return np.asarray(compiled.apply(component, fit(component, parts), acts))


@pytest.mark.slow
@both
@pytest.mark.parametrize("dim", [1, 4, 8])
def test_matches_reference(factory, dim):
    train, test, kernel, bias = problem()
    out = scores(factory(dim=dim), train, test, kernel, bias)
    chex.assert_shape(out, (15,))
    expected = getattr(reference, factory.__name__)(train, kernel, bias, dim, test)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_worked_out_by_hand():
    # Logits h_0 and h_1 + 1 are zero at u = (0, -1, 0). Around u, the training
    # features vary by 6 along the first axis, and by 1 and 2 along the others.
    train = np.array([[6, -1, 0], [-6, -1, 0], [0, 0, 0], [0, -2, 0]], "f")
    train = np.concatenate([train, np.array([[0, -1, 2], [0, -1, -2]], "f")])
    kernel = np.array([[1, 0], [0, 1], [0, 0]], "f")
    bias = np.array([0, 1], "f")
    test = np.array([[100, 2, 4], [0, -1, 0]], "f")
    out = scores(residual(dim=1), train, test, kernel, bias)
    np.testing.assert_allclose(out, [-5.0, 0.0], atol=1e-5)
    # Largest logits 6, 0, 1, 0, 0, 0; residuals 0, 0, 1, 1, 2, 2.
    out = scores(vim(dim=1), train, test, kernel, bias)
    np.testing.assert_allclose(out, [100 - 7 / 6 * 5, np.log(2)], rtol=1e-5)


@pytest.mark.parametrize(
    ("width", "dim"),
    [(4096, 1000), (2048, 1000), (2047, 512), (768, 512), (767, 383), (64, 32)],
)
def test_default_dimension_is_the_authors(width, dim):
    assert module.default_dim(width) == dim


@pytest.mark.slow
@both
def test_default_dimension_is_half_of_a_narrow_feature(factory):
    arrays = problem()
    np.testing.assert_allclose(
        scores(factory(), *arrays), scores(factory(dim=4), *arrays), rtol=1e-6
    )


def test_vim_is_energy_minus_weighted_residual():
    train, test, kernel, bias = problem()
    component = vim(dim=5)
    fitted = fit(component, [jood.Activations.of(train, kernel, bias)])
    acts = jood.Activations.of(test, kernel, bias)
    fused = jood.fuse(
        jood.parse("energy()"), residual(dim=5), weights=(1.0, float(fitted[1]))
    )
    parts = [jood.Activations.of(train, kernel, bias)]
    expected = compiled.apply(fused, fit(fused, parts), acts)
    np.testing.assert_allclose(
        compiled.apply(component, fitted, acts), expected, rtol=1e-5
    )


def test_after_react_all_terms_see_the_clipped_feature():
    train, test, kernel, bias = problem()
    chained = jood.chain(jood.transforms.react(clip=1.0), vim(dim=5))
    out = scores(chained, train, test, kernel, bias)
    clipped = np.minimum(train, 1.0), np.minimum(test, 1.0)
    expected = reference.vim(clipped[0], kernel, bias, 5, clipped[1])
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@both
def test_features_far_from_zero_lose_little(factory):
    train, test, kernel, bias = problem()
    out = scores(factory(dim=5), train + 100, test + 100, kernel, bias)
    expected = getattr(reference, factory.__name__)(
        train + 100, kernel, bias, 5, test + 100
    )
    np.testing.assert_allclose(out, expected, rtol=1e-3)


@both
@pytest.mark.parametrize("dim", [9, 10])
def test_dimension_must_leave_something(factory, dim):
    with pytest.raises(ValueError, match=rf"below D = 9.*got dim={dim}"):
        scores(factory(dim=dim), *problem())


@both
@pytest.mark.parametrize("dim", [0, -1, 2.0, True, "5"])
def test_bad_dimensions_are_refused(factory, dim):
    with pytest.raises(ValueError, match="dim must be an integer >= 1, got dim="):
        factory(dim=dim)


@both
@pytest.mark.parametrize(("dim", "share"), [(2, "all count"), (7, "an arbitrary part")])
def test_fewer_examples_than_dimensions_warn(factory, dim, share):
    with pytest.warns(UserWarning, match=rf"D = 9 .*N = 5.*{share}"):
        out = scores(factory(dim=dim), *problem(count=5))
    assert np.isfinite(out).all()


def test_data_without_residual_are_refused():
    train = np.zeros((20, 4), "f")
    with pytest.raises(ValueError, match=r"no training feature has a residual"):
        scores(vim(dim=2), train, train, np.eye(4), np.zeros(4))
