"""Names of MobileNetV3's tensors: torchvision's.

timm's are not here, because its network computes something else: its BatchNorm has
epsilon 1e-5 instead of 1e-3.
"""

from collections.abc import Iterator

from jood.models import inverted_residual
from jood.models import mobilenet_v3
from jood.weights import layout


def _torchvision(model: mobilenet_v3.MobileNetV3) -> Iterator[tuple[str, str]]:
    yield "stem/conv", "features.0.0"
    yield "stem/bn", "features.0.1"
    for stage, (first, last) in inverted_residual.ranges(model.rows).items():
        for number in range(first, last + 1):  # one that stages share, in both
            ours, theirs = f"{stage}/block{number}", f"features.{number}.block"
            i = 0 if number == 1 else 1  # the first block has no expansion
            yield f"{ours}/expand/conv", f"{theirs}.0.0"
            yield f"{ours}/expand/bn", f"{theirs}.0.1"
            yield f"{ours}/depthwise", f"{theirs}.{i}.0"
            yield f"{ours}/depthwise_bn", f"{theirs}.{i}.1"
            yield f"{ours}/gate/fc1", f"{theirs}.{i + 1}.fc1"
            yield f"{ours}/gate/fc2", f"{theirs}.{i + 1}.fc2"
            i += 2 if model.rows[number - 1].gated else 1
            yield f"{ours}/project/conv", f"{theirs}.{i}.0"
            yield f"{ours}/project/bn", f"{theirs}.{i}.1"
    number = len(model.rows)  # the last 1x1 convolution, a block of its own
    yield f"C5/block{number}/expand/conv", f"features.{number}.0"
    yield f"C5/block{number}/expand/bn", f"features.{number}.1"
    yield "hidden", "classifier.0"
    yield "head", "classifier.3"


MODEL = mobilenet_v3.MobileNetV3
LAYOUTS = {"torchvision": layout.Layout(_torchvision)}
