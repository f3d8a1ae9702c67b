"""PyTorch's side of a comparison: the network that one of ours has its weights from.

torchvision and timm have the networks for ImageNet. Those for CIFAR are written here as
the code whose weights `jood.weights` reads has them, so that theirs go over by name.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import torch
from torch import nn

LARGE, SMALL = 224, 32  # pixels of an image's side


class TorchNetwork(NamedTuple):
    """A network with random weights, and what is asked of it."""

    module: Any
    layout: str  # of its tensors' names, as jood.weights calls it
    classes: int
    side: int  # pixels of an image


def create(name: str) -> TorchNetwork:
    """Returns the PyTorch network of a name that `jood.models` knows.

    Raises:
      ValueError: There is none for this name.
      ImportError: torchvision or timm is missing.
    """
    if name in _SMALL:
        make, layout = _SMALL[name]
        return TorchNetwork(make().eval(), layout, 10, SMALL)
    if name == "efficientnet_lite0":
        import timm

        module = timm.create_model("tf_efficientnet_lite0")
        return TorchNetwork(module.eval(), "timm", 1000, LARGE)
    import torchvision

    theirs = {"vit_b16": "vit_b_16"}.get(name, name)
    if theirs not in torchvision.models.list_models():
        raise ValueError(f"no PyTorch network is known for the model {name!r}.")
    module = torchvision.models.get_model(theirs)
    return TorchNetwork(module.eval(), "torchvision", 1000, LARGE)


def _conv(features_in: int, features: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(features_in, features, side, stride, side // 2, bias=False)


class _Stages(nn.Module):
    """Three stages, named `name`1 to 3, whose widths double; `blocks` in each."""

    def __init__(self, name: str, block: Any, blocks: int, width: int):
        super().__init__()
        self.conv1, features = _conv(3, 16), 16
        self.names = [f"{name}{i}" for i in (1, 2, 3)]
        for i, stage in enumerate(self.names):
            first = block(features, features := width * 2**i, 1 + (i > 0))
            rest = [block(features, features, 1) for _ in range(1, blocks)]
            self.add_module(stage, nn.Sequential(first, *rest))
        self.features = features

    def stages(self, x: Any) -> Any:
        for name in self.names:
            x = getattr(self, name)(x)
        return x


class _Block(nn.Module):
    """Two 3x3 convolutions; where the map changes, its shortcut is padded by zeros."""

    def __init__(self, features_in: int, features: int, stride: int):
        super().__init__()
        self.conv1 = _conv(features_in, features, stride=stride)
        self.bn1 = nn.BatchNorm2d(features)
        self.conv2 = _conv(features, features)
        self.bn2 = nn.BatchNorm2d(features)
        self.stride, self.zeros = stride, (features - features_in) // 2

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.zeros:
            x = x[:, :, :: self.stride, :: self.stride]
            x = nn.functional.pad(x, (0, 0, 0, 0, self.zeros, self.zeros))
        return (y + x).relu()


class _ResNet(_Stages):
    def __init__(self, blocks: int):
        super().__init__("layer", _Block, blocks, 16)
        self.bn1, self.linear = nn.BatchNorm2d(16), nn.Linear(self.features, 10)

    def forward(self, x: Any) -> Any:
        x = self.stages(self.bn1(self.conv1(x)).relu())
        return self.linear(x.mean((2, 3)))


class _WideBlock(nn.Module):
    """A pre-activated block."""

    def __init__(self, features_in: int, features: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(features_in)
        self.conv1 = _conv(features_in, features, stride=stride)
        self.bn2 = nn.BatchNorm2d(features)
        self.conv2 = _conv(features, features)
        self.widens = features_in != features
        if self.widens:
            self.convShortcut = _conv(features_in, features, 1, stride)

    def forward(self, x: Any) -> Any:
        activated = self.bn1(x).relu()
        y = self.conv2(self.bn2(self.conv1(activated)).relu())
        return y + (self.convShortcut(activated) if self.widens else x)


class _Layers(nn.Module):
    """A stage of WideResNet, whose blocks are in a module named 'layer'."""

    def __init__(self, *blocks: nn.Module):
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, x: Any) -> Any:
        return self.layer(x)


class _WideResNet(_Stages):
    def __init__(self, depth: int, widen: int):
        super().__init__("block", _WideBlock, (depth - 4) // 6, 16 * widen)
        for name in self.names:
            self.add_module(name, _Layers(*getattr(self, name)))
        self.bn1 = nn.BatchNorm2d(self.features)
        self.fc = nn.Linear(self.features, 10)

    def forward(self, x: Any) -> Any:
        x = self.bn1(self.stages(self.conv1(x))).relu()
        return self.fc(x.mean((2, 3)))


def _densenet100() -> Any:
    import torchvision

    network = torchvision.models.DenseNet(12, (16, 16, 16), 24, num_classes=10)
    network.features.conv0 = _conv(3, 24)
    for name in ("norm0", "relu0", "pool0"):
        setattr(network.features, name, nn.Identity())
    # torchvision counts four blocks, however many there are; here are three.
    network.features.norm4 = network.features.norm5
    del network.features.norm5
    return network


_SMALL: dict[str, tuple[Callable[[], Any], str]] = {
    "resnet20": (functools.partial(_ResNet, 3), "akamaster"),
    "resnet56": (functools.partial(_ResNet, 9), "akamaster"),
    "wrn_28_10": (functools.partial(_WideResNet, 28, 10), "openood"),
    "densenet100_cifar": (_densenet100, "torchvision"),
}


def same_weights(network: TorchNetwork) -> dict[str, Any]:
    """Returns a network's tensors by name, as NumPy arrays; none is all zeros."""
    generator = torch.Generator().manual_seed(0)
    for tensor in network.module.parameters():
        if not tensor.any():  # a ViT starts with a classifier of zeros
            nn.init.normal_(tensor, 0, 0.02, generator=generator)
    state = network.module.state_dict()
    return {name: tensor.detach().numpy() for name, tensor in state.items()}
