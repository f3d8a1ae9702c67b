"""Names of WideResNet's tensors: OpenOOD's, which are xternalz's WideResNet-pytorch.

There a block owns the BatchNorm before its first convolution; here that of a stage's
first block ends the stage before (see `jood.models.wide_resnet`).
"""

from collections.abc import Iterator

from jood.models import wide_resnet
from jood.weights import layout


def _openood(model: wide_resnet.WideResNet) -> Iterator[tuple[str, str]]:
    yield "conv1", "conv1"
    yield "bn1", "block1.layer.0.bn1"
    yield "C3/bn", "block2.layer.0.bn1"
    yield "C4/bn", "block3.layer.0.bn1"
    yield "C5/bn", "bn1"
    for stage in range(3):
        for block in range((model.depth - 4) // 6):
            ours = f"C{stage + 3}/block{block + 1}"
            theirs = f"block{stage + 1}.layer.{block}"
            if block == 0:
                yield f"{ours}/shortcut", f"{theirs}.convShortcut"
            else:
                yield f"{ours}/bn1", f"{theirs}.bn1"
            yield f"{ours}/conv1", f"{theirs}.conv1"
            yield f"{ours}/bn2", f"{theirs}.bn2"
            yield f"{ours}/conv2", f"{theirs}.conv2"
    yield "head", "fc"


MODEL = wide_resnet.WideResNet
LAYOUTS = {"openood": layout.Layout(_openood)}
