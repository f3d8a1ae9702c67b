"""Names of WideResNet's tensors: OpenOOD's, which are xternalz's WideResNet-pytorch.

There a block owns the BatchNorm before its first convolution; here that of a stage's
first block ends the stage before (see `jood.models.wide_resnet`).
"""

from jood.models import wide_resnet
from jood.weights import layout


def _openood(model: wide_resnet.WideResNet) -> layout.Pairs:
    yield from (("conv1", "conv1"), ("bn1", "block1.layer.0.bn1"))
    yield from (("C3/bn", "block2.layer.0.bn1"), ("C4/bn", "block3.layer.0.bn1"))
    yield from (("C5/bn", "bn1"), ("head", "fc"))
    for ours, stage, block in layout.blocks(3 * [(model.depth - 4) // 6]):
        theirs = f"block{stage + 1}.layer.{block}"
        yield from layout.below(ours, theirs, ("conv1", "bn2", "conv2"))
        if block == 0:
            yield f"{ours}/shortcut", f"{theirs}.convShortcut"
        else:
            yield f"{ours}/bn1", f"{theirs}.bn1"


MODEL = wide_resnet.WideResNet
LAYOUTS = {"openood": layout.Layout(_openood)}
