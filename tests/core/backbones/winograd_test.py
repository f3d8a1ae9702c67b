"""Winograd's convolutions give what plain ones give, and are used where they pay."""

import chex
from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood.core.backbones import chunks
from jood.core.backbones import observing
from jood.core.backbones import winograd


def plain(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=numbers
    )


@pytest.mark.parametrize(
    ("height", "width", "channels", "features"), [(2, 2, 1, 1), (8, 6, 3, 5)]
)
def test_it_is_the_convolution_and_so_is_its_gradient(
    height, width, channels, features
):
    x = jax.random.normal(jax.random.key(0), (2, height, width, channels))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, features))

    def ours(x, kernel):
        return winograd.convolve(x, winograd.transformed(kernel))

    expected = plain(x, kernel)
    chex.assert_shape(expected, (2, height, width, features))
    np.testing.assert_allclose(jax.jit(ours)(x, kernel), expected, rtol=1e-5, atol=1e-5)

    def gradients(function):
        def loss(x, kernel):
            return (function(x, kernel) * expected).sum()

        return jax.jit(jax.grad(loss, (0, 1)))(x, kernel)

    chex.assert_trees_all_close(gradients(ours), gradients(plain), rtol=1e-5, atol=1e-4)


def test_a_filter_is_transformed_as_the_paper_says():
    G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
    expected = np.einsum("ai,bj,ijcd->abcd", G, G, kernel)
    given = np.array(winograd.transformed(jnp.asarray(kernel)))
    np.testing.assert_allclose(given, expected, rtol=1e-6, atol=1e-6)


class Network(nn.Module):
    """One convolution, its mean and a head."""

    options: dict
    features: int = 64
    wrapped: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(64, (1, 1), name="widen")(x)
        options = {"kernel_size": (3, 3), **self.options}
        convolve = nn.Conv(self.features, name="C5", **options)
        x = nn.relu((nn.WeightNorm(convolve) if self.wrapped else convolve)(x))
        return nn.Dense(3, name="head")(x.mean((1, 2)))


def in_chunks(network):
    def feature(variables, images):
        return observing.observe_in_chunks(network, variables, images).penultimate

    return feature


def convolutions(network, size=16):
    """How many of the network's two convolutions the program has left."""
    images = jax.ShapeDtypeStruct((32, size, size, 3), jnp.float32)
    assert chunks.number(images.shape) > 1
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    program = jax.make_jaxpr(in_chunks(network))(variables, images)
    return str(program).count("conv_general_dilated[")


def check_features(network):
    """In chunks the features are those of the whole batch."""
    images = jax.random.normal(jax.random.key(0), (32, 16, 16, 3))
    variables = network.init(jax.random.key(1), images[:1])
    moved = jax.tree.map(lambda x: x + 0.01, variables)  # biases begin as 0
    ours = jax.jit(in_chunks(network))(moved, images)
    whole = jood.observe(network, moved, images).penultimate
    np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-5)


def test_a_wide_convolution_becomes_products():
    assert convolutions(Network({})) == 1  # the 1x1 convolution
    check_features(Network({}))


@pytest.mark.parametrize("padding", [1, "SAME", (1, 1), ((1, 1), (1, 1))])
def test_all_ways_to_keep_the_size(padding):
    assert convolutions(Network({"padding": padding, "use_bias": False})) == 1


@pytest.mark.parametrize(
    ("options", "size", "features"),
    [
        ({"strides": 2}, 16, 64),
        ({"kernel_dilation": 2}, 16, 64),
        ({"feature_group_count": 2}, 16, 64),
        ({"padding": "VALID"}, 16, 64),
        ({"padding": "CIRCULAR"}, 16, 64),
        ({"dtype": jnp.bfloat16}, 16, 64),
        ({"kernel_size": (5, 5)}, 16, 64),
        ({}, 17, 64),
        ({}, 8, 64),
        ({}, 16, 32),
    ],
)
def test_another_stays(options, size, features):
    assert convolutions(Network(options, features), size) == 2


def test_a_kernel_that_a_wrapper_changes_is_not_taken_for_its_own():
    network = Network({}, wrapped=True)
    assert convolutions(network) == 2
    check_features(network)
