"""RegNetY: equal to torchvision's and timm's, weights both ways, stages, bad fields."""

import functools

import chex
from helpers import torch_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood import weights
from jood.models import layers
from jood.models import regnet

_SMALL = regnet.RegNet((1, 2), (8, 16), 8, num_classes=3, stem_width=4)


@functools.cache
def small_variables():
    images = jnp.zeros((1, 16, 16, 3))
    return jax.jit(_SMALL.init)(jax.random.key(0), images)


def calm(network):
    """Perturbs a PyTorch RegNet whose gates and logits are not all of a kind."""
    torch = torch_oracle.torch_or_skip()
    torch_oracle.perturbed(network)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, 0, 0.006, generator=generator)
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.weight, 0, 0.3, generator=generator)
            torch.nn.init.normal_(module.bias, 0, 1.0, generator=generator)
    return network


@pytest.mark.parametrize(
    ("name", "library", "theirs", "size"),
    [
        ("regnet_y_800mf", "torchvision", "regnet_y_800mf", 32),
        ("regnety_008", "timm", "regnety_008", 45),  # odd sides
    ],
)
def test_logits_are_those_of_pytorch_and_weights_go_both_ways(
    name, library, theirs, size
):
    module = torch_oracle.library(library)
    create = module.create_model if library == "timm" else module.models.get_model
    network = calm(create(theirs, num_classes=7))
    model = models.create(name, 7)
    variables = weights.from_torch_names(torch_oracle.tensors(network), model, library)
    images = torch_oracle.images(size)
    expected = torch_oracle.logits(network, images)
    assert 0.1 < expected.std() < 10
    logits = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)

    torch = torch_oracle.torch_or_skip()
    back = weights.to_torch_names(model, variables, library)
    fresh = create(theirs, num_classes=7).eval()
    fresh.load_state_dict({n: torch.from_numpy(t) for n, t in back.items()})
    np.testing.assert_array_equal(torch_oracle.logits(fresh, images), expected)


@pytest.mark.parametrize(
    ("name", "library", "theirs"),
    [
        ("regnet_y_800mf", "timm", "regnety_008_tv"),
        ("regnet_y_400mf", "timm", "regnety_004"),
        ("regnet_y_400mf", "torchvision", "regnet_y_400mf"),
    ],
)
def test_other_names_of_the_same_networks(name, library, theirs):
    module = torch_oracle.library(library)
    create = module.create_model if library == "timm" else module.models.get_model
    tensors = torch_oracle.tensors(create(theirs, num_classes=2))
    model = models.create(name, 2)
    variables = weights.from_torch_names(tensors, model)  # checks every shape
    back = weights.to_torch_names(model, variables, library)
    for tensor, found in back.items():
        np.testing.assert_array_equal(found, tensors[tensor])


@pytest.mark.slow
def test_the_layout_is_found():
    variables = small_variables()
    for name in ("torchvision", "timm"):
        tensors = weights.to_torch_names(_SMALL, variables, name)
        assert weights.find_layout(tensors, _SMALL) == name
        chex.assert_trees_all_equal(
            weights.from_torch_names(tensors, _SMALL), dict(variables)
        )


def test_the_gate_is_squeeze_and_excitation():
    gate = layers.SqueezeExcitation(2, layers.Kit())
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype("f")
    params = jax.tree.map(
        lambda leaf: np.random.default_rng(leaf.size).normal(size=leaf.shape),
        gate.init(jax.random.key(0), x)["params"],
    )
    first, second = params["fc1"], params["fc2"]
    hidden = x.mean(axis=(1, 2)) @ first["kernel"][0, 0] + first["bias"]
    z = np.maximum(hidden, 0) @ second["kernel"][0, 0] + second["bias"]
    expected = x / (1 + np.exp(-z))[:, None, None]
    found = gate.apply({"params": jax.tree.map(np.float32, params)}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_gate_is_as_wide_as_a_quarter_of_what_enters_the_block():
    params = small_variables()["params"]
    assert params["C4"]["block1"]["se"]["fc1"]["kernel"].shape == (1, 1, 8, 1)
    assert params["C5"]["block1"]["se"]["fc1"]["kernel"].shape == (1, 1, 16, 2)
    assert params["C5"]["block2"]["se"]["fc1"]["kernel"].shape == (1, 1, 16, 4)


def test_stages_and_their_shapes():
    model = models.create("regnet_y_800mf", 10)
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    expected = {"C2": (56, 64), "C3": (28, 144), "C4": (14, 320), "C5": (7, 784)}
    assert set(acts.stages) == set(expected)
    for stage, (side, channels) in expected.items():
        chex.assert_shape(acts.stages[stage], (2, side, side, channels))
    chex.assert_shape(acts.penultimate, (2, 784))


@pytest.mark.slow
def test_stages_are_activated_and_the_last_is_what_is_pooled():
    images = jnp.asarray(torch_oracle.images(16))
    acts = jax.jit(functools.partial(jood.observe, _SMALL))(small_variables(), images)
    for feature_map in acts.stages.values():
        assert (np.asarray(feature_map) >= 0).all()
        assert (np.asarray(feature_map) == 0).any()
    np.testing.assert_allclose(
        acts.penultimate, acts.stages["C5"].mean(axis=(1, 2)), rtol=1e-5, atol=1e-7
    )
    logits = _SMALL.apply(small_variables(), images)
    np.testing.assert_allclose(acts.logits, logits, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (64, 128, 320)}, "depths and widths must both name 2 to 4 stages"),
        ({"depths": (1,), "widths": (64,)}, "depths and widths must both name 2 to 4"),
        ({"group_width": 24}, "widths must be multiples of group_width = 24, got"),
        ({"group_width": 0}, "group_width must be >= 1, got 0"),
        ({"dtype": "int8"}, "dtype must be one of .*got 'int8'"),
    ],
)
def test_a_bad_field_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("regnet_y_800mf", 10, **options)
