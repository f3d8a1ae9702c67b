"""Compiler options: taken where the backend knows them, left out where not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood import testing
from jood._utils import compiling


@pytest.fixture
def fresh():
    compiling.options.cache_clear()
    yield
    compiling.options.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_compile")
def test_numbers_are_those_of_plain_jit():
    model = models.create("resnet_small", 3, width=8)
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(1), images)
    expected = jax.jit(model.apply)(variables, images)
    got = compiling.jit(model.apply)(variables, images)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_arguments_of_jit_are_passed_on():
    power = compiling.jit(lambda x, n: x**n, static_argnums=1)
    assert power(3.0, 2) == 9


def test_options_that_the_compiler_does_not_know_are_left_out(fresh, monkeypatch):
    monkeypatch.setattr(compiling, "CPU", {"xla_no_such_option": ""})
    assert compiling.options() is None
    assert compiling.jit(lambda x: 2 * x)(jnp.ones(2)).tolist() == [2, 2]


def test_a_detector_that_is_first_called_in_a_program(fresh):
    detector = jood.Detector("energy", testing.ToyNet(), testing.toy_variables())
    images = testing.toy_images(2, seed=0)[0]
    traced = jax.jit(lambda x: detector(x))(images)
    np.testing.assert_allclose(traced, detector(images), rtol=1e-5)


def test_other_backends_get_none(fresh, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiling.options() is None


def test_a_bank_is_large_and_class_means_are_not():
    assert compiling.holds_large((jax.ShapeDtypeStruct((50_000, 342), jnp.float32),))
    assert not compiling.holds_large(
        (np.zeros((1000, 2048), np.float32), np.float32(1))
    )
    assert not compiling.holds_large(None)


def test_a_detector_with_a_large_bank_scores_as_with_a_small_one(monkeypatch):
    images = testing.toy_images(32, seed=0)
    detector = jood.Detector("knn(k=2)", testing.ToyNet(), testing.toy_variables())
    detector = detector.fit([images])
    small = detector(images)
    monkeypatch.setattr(compiling, "_LARGE", 1)
    np.testing.assert_allclose(detector(images), small, rtol=1e-5, atol=1e-6)


@pytest.mark.slow  # fast tests optimise nothing
def test_what_runs_once_gives_the_same_bits():
    model = models.create("resnet_small", 3, width=8)
    images = jnp.zeros((1, 32, 32, 3))
    got = compiling.run_once(model.init, jax.random.key(1), images)
    expected = jax.jit(model.init)(jax.random.key(1), images)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_what_runs_once_can_be_traced():
    found = jax.eval_shape(lambda x: compiling.run_once(jnp.sin, x), jnp.ones(3))
    assert found.shape == (3,)
