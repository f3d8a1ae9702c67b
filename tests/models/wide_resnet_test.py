"""WideResNet: the paper's network, cut where its maps are activated; its weights."""

import chex
from helpers import torch_oracle
import jax
import numpy as np
import pytest

import jood
from jood import models
from jood import weights
from jood.models import wide_resnet

_MODEL = wide_resnet.WideResNet(depth=16, widen=2, num_classes=5)
_WIDTHS = (16, 32, 64, 128)
_SIZE = 16


def _variables(seed=0):
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        if path[-1].key in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1]) if path[-1].key == "kernel" else 25
        return rng.normal(0, fan_in**-0.5, leaf.shape).astype(np.float32)

    images = jax.ShapeDtypeStruct((1, _SIZE, _SIZE, 3), np.float32)
    shapes = jax.eval_shape(_MODEL.init, jax.random.key(0), images)
    return jax.tree_util.tree_map_with_path(fill, shapes)


def _pytorch_network(torch):
    """The paper's network as xternalz and OpenOOD name its parts."""

    def conv(features_in, features, side, stride=1):
        return torch.nn.Conv2d(
            features_in, features, side, stride, side // 2, bias=False
        )

    class Block(torch.nn.Module):
        def __init__(self, features_in, features, stride):
            super().__init__()
            self.bn1 = torch.nn.BatchNorm2d(features_in)
            self.conv1 = conv(features_in, features, 3, stride)
            self.bn2 = torch.nn.BatchNorm2d(features)
            self.conv2 = conv(features, features, 3)
            if features_in != features:
                self.convShortcut = conv(features_in, features, 1, stride)

        def forward(self, x):
            activated = self.bn1(x).relu()
            y = self.conv2(self.bn2(self.conv1(activated)).relu())
            if hasattr(self, "convShortcut"):
                return y + self.convShortcut(activated)
            return y + x

    network = torch.nn.Module()
    network.conv1 = conv(3, 16, 3)
    for i in (1, 2, 3):
        first = Block(_WIDTHS[i - 1], _WIDTHS[i], 1 if i == 1 else 2)
        block = torch.nn.Module()
        block.layer = torch.nn.Sequential(first, Block(_WIDTHS[i], _WIDTHS[i], 1))
        network.add_module(f"block{i}", block)
    network.bn1 = torch.nn.BatchNorm2d(_WIDTHS[-1])
    network.fc = torch.nn.Linear(_WIDTHS[-1], 5)

    def forward(x):
        x = network.conv1(x)
        for block in (network.block1, network.block2, network.block3):
            x = block.layer(x)
        return network.fc(network.bn1(x).relu().mean((2, 3)))

    network.forward = forward
    return network


def test_logits_are_those_of_pytorch_and_weights_go_both_ways():
    torch = torch_oracle.torch_or_skip()
    network = torch_oracle.perturbed(_pytorch_network(torch))
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, generator=generator)
    variables = weights.from_torch_names(torch_oracle.tensors(network), _MODEL)
    images = torch_oracle.images(_SIZE)
    expected = torch_oracle.logits(network, images)
    assert 0.3 < expected.std() < 10
    logits = jax.jit(_MODEL.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)

    back = weights.to_torch_names(_MODEL, variables, "openood")
    fresh = _pytorch_network(torch).eval()
    fresh.load_state_dict({n: torch.from_numpy(t) for n, t in back.items()})
    np.testing.assert_array_equal(torch_oracle.logits(fresh, images), expected)


def test_weights_go_both_ways_without_pytorch():
    variables = _variables()
    tensors = weights.to_torch_names(_MODEL, variables, "openood")
    # The BatchNorm that ends a stage here begins the next one's first block there.
    for ours, theirs in [
        (variables["params"]["bn1"], "block1.layer.0.bn1"),
        (variables["params"]["C3"]["bn"], "block2.layer.0.bn1"),
        (variables["params"]["C4"]["bn"], "block3.layer.0.bn1"),
        (variables["params"]["C5"]["bn"], "bn1"),
    ]:
        np.testing.assert_array_equal(tensors[f"{theirs}.weight"], ours["scale"])
    found = weights.from_torch_names(tensors, _MODEL)
    chex.assert_trees_all_equal(found, variables)


def test_stages_are_activated_and_the_head_reads_the_last():
    acts = jax.jit(lambda v, x: jood.observe(_MODEL, v, x))(
        _variables(), torch_oracle.images(_SIZE)
    )
    assert list(acts.stages) == ["C3", "C4", "C5"]
    for i, (name, stage) in enumerate(acts.stages.items(), start=1):
        side = _SIZE // 2 ** (i - 1)
        chex.assert_shape(stage, (2, side, side, _WIDTHS[i]))
        assert stage.min() == 0, name
    pooled = acts.stages["C5"].mean(axis=(1, 2))
    np.testing.assert_allclose(acts.penultimate, pooled, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 30}, r"depth must be 6n \+ 4 .*got 30"),
        ({"depth": 4}, r"depth must be 6n \+ 4 .*got 4"),
        ({"widen": 1}, "widen must be >= 2, got 1"),
        ({"dtype": "int8"}, "dtype must be one of .*got 'int8'"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("wrn_40_2", 10, **options)
