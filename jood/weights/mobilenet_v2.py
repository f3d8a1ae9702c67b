"""Names of MobileNetV2's tensors: torchvision's and timm's.

A block that two of our stages share has one name there, so each is listed in both.
"""

from collections.abc import Iterator

from jood.models import inverted_residual
from jood.models import mobilenet_v2
from jood.weights import layout


def _torchvision(model: mobilenet_v2.MobileNetV2) -> Iterator[tuple[str, str]]:
    yield "stem/conv", "features.0.0"
    yield "stem/bn", "features.0.1"
    for ours, number in _blocks(model):
        theirs = f"features.{number}.conv"
        i = 0 if number == 1 else 1  # the first block has no expansion
        yield f"{ours}/expand/conv", f"{theirs}.0.0"
        yield f"{ours}/expand/bn", f"{theirs}.0.1"
        yield f"{ours}/depthwise", f"{theirs}.{i}.0"
        yield f"{ours}/depthwise_bn", f"{theirs}.{i}.1"
        yield f"{ours}/project/conv", f"{theirs}.{i + 1}"
        yield f"{ours}/project/bn", f"{theirs}.{i + 2}"
    number = len(model.rows)  # the last 1x1 convolution, a block of its own
    yield f"C5/block{number}/expand/conv", f"features.{number}.0"
    yield f"C5/block{number}/expand/bn", f"features.{number}.1"
    yield "head", "classifier.1"


def _timm(model: mobilenet_v2.MobileNetV2) -> Iterator[tuple[str, str]]:
    yield "stem/conv", "conv_stem"
    yield "stem/bn", "bn1"
    groups = enumerate(repeats for _, _, repeats, _ in mobilenet_v2.TABLE)
    names = [f"blocks.{group}.{i}" for group, n in groups for i in range(n)]
    for ours, number in _blocks(model):
        theirs = names[number - 1]
        i = 1 if number == 1 else 2  # the first block has no expansion
        yield f"{ours}/expand/conv", f"{theirs}.conv_pw"
        yield f"{ours}/expand/bn", f"{theirs}.bn1"
        yield f"{ours}/depthwise", f"{theirs}.conv_dw"
        yield f"{ours}/depthwise_bn", f"{theirs}.bn{i}"
        project = "conv_pw" if number == 1 else "conv_pwl"
        yield f"{ours}/project/conv", f"{theirs}.{project}"
        yield f"{ours}/project/bn", f"{theirs}.bn{i + 1}"
    number = len(model.rows)  # the last 1x1 convolution, a block of its own
    yield f"C5/block{number}/expand/conv", "conv_head"
    yield f"C5/block{number}/expand/bn", "bn2"
    yield "head", "classifier"


def _blocks(model: mobilenet_v2.MobileNetV2) -> Iterator[tuple[str, int]]:
    """Yields (path of our block, its number from 1), without the last convolution."""
    for stage, (first, last) in inverted_residual.ranges(model.rows).items():
        for number in range(first, last + 1):
            if number < len(model.rows):
                yield f"{stage}/block{number}", number


MODEL = mobilenet_v2.MobileNetV2
LAYOUTS = {"torchvision": layout.Layout(_torchvision), "timm": layout.Layout(_timm)}
