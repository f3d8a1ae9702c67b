"""Names of DenseNets' tensors: torchvision's, timm's, OpenOOD's and DICE's.

There a transition owns the norm that ends a stage here (see `jood.models.densenet`).
"""

from collections.abc import Iterator

from jood.models import densenet
from jood.weights import layout


def _torchvision(model: densenet.DenseNet) -> Iterator[tuple[str, str]]:
    yield "conv1", "features.conv0"
    yield "bn1", "features.norm0"
    for number, stage, size in _blocks(model):
        yield f"{stage}/reduce", f"features.transition{number - 1}.conv"
        for i in range(1, size + 1):
            theirs = f"features.denseblock{number}.denselayer{i}"
            for j in (1, 2):
                yield f"{stage}/layer{i}/bn{j}", f"{theirs}.norm{j}"
                yield f"{stage}/layer{i}/conv{j}", f"{theirs}.conv{j}"
        yield f"{stage}/norm", f"features.transition{number}.norm"
    # The last block has no transition: this takes the place of that name.
    yield "C5/norm", f"features.norm{len(model.block_sizes) + 1}"
    yield "head", "classifier"


def _andreas_veit(model: densenet.DenseNet) -> Iterator[tuple[str, str]]:
    """The CIFAR network that most OOD code bases took over."""
    yield "conv1", "conv1"
    for number, stage, size in _blocks(model):
        yield f"{stage}/reduce", f"trans{number - 1}.conv1"
        for i in range(size):
            for part in ("bn1", "conv1", "bn2", "conv2"):
                theirs = f"block{number}.layer.{i}.{part}"
                yield f"{stage}/layer{i + 1}/{part}", theirs
        yield f"{stage}/norm", f"trans{number}.bn1"
    yield "C5/norm", "bn1"
    yield "head", "fc"


def _blocks(model: densenet.DenseNet) -> Iterator[tuple[int, str, int]]:
    """Yields (number of the block from 1, our stage, number of its layers)."""
    for number, size in enumerate(model.block_sizes, start=1):
        yield number, f"C{5 - len(model.block_sizes) + number}", size


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
    "dice": _ANDREAS_VEIT,
    "openood": _ANDREAS_VEIT,
}
