"""Names of RegNetY's tensors: torchvision's and timm's."""

from collections.abc import Iterator

from jood.models import regnet
from jood.weights import layout


def _torchvision(model: regnet.RegNet) -> Iterator[tuple[str, str]]:
    yield "conv1", "stem.0"
    yield "bn1", "stem.1"
    for number, stage, block in _blocks(model):
        ours = f"{stage}/block{block + 1}"
        theirs = f"trunk_output.block{number}.block{number}-{block}"
        for i, part in enumerate("abc", start=1):
            yield f"{ours}/conv{i}", f"{theirs}.f.{part}.0"
            yield f"{ours}/bn{i}", f"{theirs}.f.{part}.1"
        yield f"{ours}/se/fc1", f"{theirs}.f.se.fc1"
        yield f"{ours}/se/fc2", f"{theirs}.f.se.fc2"
        yield f"{ours}/downsample_conv", f"{theirs}.proj.0"
        yield f"{ours}/downsample_bn", f"{theirs}.proj.1"
    yield "head", "fc"


def _timm(model: regnet.RegNet) -> Iterator[tuple[str, str]]:
    yield "conv1", "stem.conv"
    yield "bn1", "stem.bn"
    for number, stage, block in _blocks(model):
        ours, theirs = f"{stage}/block{block + 1}", f"s{number}.b{block + 1}"
        for i in (1, 2, 3):
            yield f"{ours}/conv{i}", f"{theirs}.conv{i}.conv"
            yield f"{ours}/bn{i}", f"{theirs}.conv{i}.bn"
        yield f"{ours}/se/fc1", f"{theirs}.se.fc1"
        yield f"{ours}/se/fc2", f"{theirs}.se.fc2"
        yield f"{ours}/downsample_conv", f"{theirs}.downsample.conv"
        yield f"{ours}/downsample_bn", f"{theirs}.downsample.bn"
    yield "head", "head.fc"


def _blocks(model: regnet.RegNet) -> Iterator[tuple[int, str, int]]:
    """Yields (number of the stage from 1, our stage, number of the block from 0)."""
    for number, depth in enumerate(model.depths, start=1):
        for block in range(depth):
            yield number, f"C{5 - len(model.depths) + number}", block


MODEL = regnet.RegNet
LAYOUTS = {"torchvision": layout.Layout(_torchvision), "timm": layout.Layout(_timm)}
