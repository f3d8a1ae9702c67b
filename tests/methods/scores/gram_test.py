"""Gram against the reference, in blocks, on tokens and on the toy."""

import functools

import chex
from helpers import compiled
from helpers.random_maps import random_maps
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import maps as reference_maps

import jood
from jood import testing
from jood.methods.scores import feature_map
from jood.methods.scores.gram import gram
from jood.methods.scores.gram import gram_statistic


@pytest.mark.parametrize("statistic", ["mean", "std", "mad"])
@pytest.mark.parametrize("block", [1, 4 * 30 * 7, 1 << 24])
def test_gram_equals_the_reference_in_any_block_size(monkeypatch, statistic, block):
    monkeypatch.setattr(feature_map, "_BLOCK", block)
    got = jax.jit(gram_statistic, static_argnums=1)(random_maps(), statistic)
    chex.assert_shape(got, (4,))
    expected = reference_maps.gram(random_maps(), statistic)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_gram_of_two_orthogonal_locations():
    z = jnp.array([[[[3.0, 0.0], [0.0, 0.5]]]])  # cosines 1, 0, 0, 1
    for statistic in ("mean", "std", "mad"):
        np.testing.assert_allclose(gram_statistic(z, statistic), 0.5, rtol=1e-6)


def test_gram_reads_tokens_and_its_stage_and_only_the_direction():
    component = gram(statistic="std", stage="C4")
    assert component.spec == "gram(statistic='std', stage='C4')"
    acts = testing.toy_activations(component, testing.toy_images(3, 0)[0])
    expected = jax.jit(gram_statistic, static_argnums=1)(acts.stages["C4"], "std")
    np.testing.assert_array_equal(compiled.apply(component, (), acts), expected)
    tokens = random_maps().reshape(4, 30, 7)
    program = jax.jit(gram_statistic, static_argnums=1)
    np.testing.assert_allclose(
        program(5 * tokens, "mad"), program(random_maps(), "mad"), rtol=1e-5
    )


def test_the_mean_of_gram_is_below_chance_and_the_others_above():
    """Table 16."""
    inside, outside = testing.toy_images(64, 1)[0], testing.toy_images(64, 2, True)[0]
    for statistic, good in (("mean", False), ("std", True), ("mad", True)):
        program = jax.jit(functools.partial(gram_statistic, statistic=statistic))
        area = jood.metrics.auroc(program(inside), program(outside))
        assert (area > 0.5) == good, statistic


@pytest.mark.parametrize("statistic", ["median", "", None, 1])
def test_gram_refuses_another_statistic(statistic):
    with pytest.raises(ValueError, match="expected statistic 'mad', 'std' or 'mean'"):
        gram(statistic=statistic)


def test_a_stage_that_is_no_name_is_refused():
    with pytest.raises(ValueError, match="stage must be a stage's name"):
        gram(stage=5)
