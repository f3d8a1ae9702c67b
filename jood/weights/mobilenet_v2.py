"""Names of MobileNetV2's tensors: torchvision's and timm's.

A block that two of our stages share has one name there, so each is listed in both.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from jood.models import inverted_residual
from jood.models import mobilenet_v2
from jood.weights import layout

_PROJECT = ("project/conv", "project/bn")
PARTS = ("expand/conv", "expand/bn", "depthwise", "depthwise_bn", *_PROJECT)


def _torchvision(model: mobilenet_v2.MobileNetV2) -> layout.Pairs:
    last = f"features.{len(model.rows)}"
    yield from ends(model, "features.0.0", "features.0.1", f"{last}.0", f"{last}.1")
    yield "head", "classifier.1"
    for ours, number in blocks(model):
        i = int(number > 1)  # the first block has no expansion
        names = ("0.0", "0.1", f"{i}.0", f"{i}.1", i + 1, i + 2)
        yield from layout.below(ours, f"features.{number}.conv", PARTS, names)


def _timm(model: mobilenet_v2.MobileNetV2) -> layout.Pairs:
    return timm_pairs(model, [repeats for _, _, repeats, _ in mobilenet_v2.TABLE])


def timm_pairs(model: Any, repeats: Sequence[int]) -> layout.Pairs:
    """Yields timm's names for a network of inverted residuals.

    Args:
      model: It has `rows`.
      repeats: The number of blocks in each of timm's groups.
    """
    yield from ends(model, "conv_stem", "bn1", "conv_head", "bn2")
    yield "head", "classifier"
    groups = enumerate(repeats)
    theirs = [f"blocks.{group}.{i}" for group, n in groups for i in range(n)]
    for ours, number in blocks(model):
        # The first block has no expansion.
        names = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
        if number == 1:
            names[2:] = "conv_dw", "bn1", "conv_pw", "bn2"
        yield from layout.below(ours, theirs[number - 1], PARTS, names)


def ends(model: Any, *theirs: str) -> layout.Pairs:
    """Yields the pairs of the stem and of the last 1x1 convolution, a block alone."""
    last = f"C5/block{len(model.rows)}/expand"
    ours = ("stem/conv", "stem/bn", f"{last}/conv", f"{last}/bn")
    return zip(ours, theirs, strict=True)


def blocks(model: Any) -> Iterator[tuple[str, int]]:
    """Yields (path of our block, its number from 1), without the last convolution."""
    for stage, (first, last) in inverted_residual.ranges(model.rows).items():
        for number in range(first, min(last + 1, len(model.rows))):
            yield f"{stage}/block{number}", number


MODEL = mobilenet_v2.MobileNetV2
LAYOUTS = {"torchvision": layout.Layout(_torchvision), "timm": layout.Layout(_timm)}
