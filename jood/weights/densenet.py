"""Names of DenseNets' tensors: torchvision's, timm's, mmpretrain's and others.

There a transition owns the norm that ends a stage here (see `jood.models.densenet`).
"""

from collections.abc import Iterator
import itertools

from jood.models import densenet
from jood.models import layers
from jood.weights import layout

_PARTS = ("bn1", "conv1", "bn2", "conv2")


def _torchvision(model: densenet.DenseNet) -> layout.Pairs:
    yield from (("conv1", "features.conv0"), ("bn1", "features.norm0"))
    for number, stage, size in _blocks(model):
        yield f"{stage}/reduce", f"features.transition{number - 1}.conv"
        for i in range(1, size + 1):
            theirs = f"features.denseblock{number}.denselayer{i}"
            names = ("norm1", "conv1", "norm2", "conv2")
            yield from layout.below(f"{stage}/layer{i}", theirs, _PARTS, names)
        yield f"{stage}/norm", f"features.transition{number}.norm"
    # The last block has no transition: this takes the place of that name.
    yield "C5/norm", f"features.norm{len(model.block_sizes) + 1}"
    yield "head", "classifier"


def _andreas_veit(model: densenet.DenseNet) -> layout.Pairs:
    """The CIFAR network that most OOD code bases took over."""
    yield "conv1", "conv1"
    for number, stage, size in _blocks(model):
        yield f"{stage}/reduce", f"trans{number - 1}.conv1"
        for i in range(size):
            theirs = f"block{number}.layer.{i}"
            yield from layout.below(f"{stage}/layer{i + 1}", theirs, _PARTS)
        yield f"{stage}/norm", f"trans{number}.bn1"
    yield from (("C5/norm", "bn1"), ("head", "fc"))


def _mmpretrain(model: densenet.DenseNet) -> layout.Pairs:
    """The norm after the last block counts as a transition there."""
    yield from (("conv1", "backbone.stem.0"), ("bn1", "backbone.stem.1"))
    for number, stage, size in _blocks(model):
        yield f"{stage}/reduce", f"backbone.transitions.{number - 2}.conv"
        for i in range(size):
            theirs = f"backbone.stages.{number - 1}.block.{i}"
            names = ("norm1", "conv1", "norm2", "conv2")
            yield from layout.below(f"{stage}/layer{i + 1}", theirs, _PARTS, names)
        yield f"{stage}/norm", f"backbone.transitions.{number - 1}.norm"
    yield "C5/norm", f"backbone.transitions.{len(model.block_sizes) - 1}.0"
    yield "head", "head.fc"


def _blocks(model: densenet.DenseNet) -> Iterator[tuple[int, str, int]]:
    """Yields (number of the block from 1, our stage, number of its layers)."""
    return zip(
        itertools.count(1), layers.stages(len(model.block_sizes)), model.block_sizes
    )


_TORCHVISION = layout.Layout(_torchvision)
_ANDREAS_VEIT = layout.Layout(_andreas_veit)
MODEL = densenet.DenseNet
LAYOUTS = {
    "torchvision": _TORCHVISION,
    "timm": _TORCHVISION,
    # The published files of torchvision have the names of before 2018.
    "torchvision_old": layout.renamed(
        _TORCHVISION,
        *[(f".{part}{j}", f".{part}.{j}") for part in ("norm", "conv") for j in (1, 2)],
    ),
    "mmpretrain": layout.Layout(_mmpretrain),
    "dice": _ANDREAS_VEIT,
    "openood": _ANDREAS_VEIT,
}
