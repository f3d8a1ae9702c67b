"""Names of RegNetY's tensors: torchvision's and timm's."""

from jood.models import regnet
from jood.weights import layout

_CONVS = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")
_PARTS = (*_CONVS, "se/fc1", "se/fc2", "downsample_conv", "downsample_bn")


def _torchvision(model: regnet.RegNet) -> layout.Pairs:
    yield from (("conv1", "stem.0"), ("bn1", "stem.1"), ("head", "fc"))
    convs = (f"f.{part}.{i}" for part in "abc" for i in (0, 1))
    names = (*convs, "f.se.fc1", "f.se.fc2", "proj.0", "proj.1")
    for ours, stage, block in layout.blocks(model.depths):
        theirs = f"trunk_output.block{stage + 1}.block{stage + 1}-{block}"
        yield from layout.below(ours, theirs, _PARTS, names)


def _timm(model: regnet.RegNet) -> layout.Pairs:
    yield from (("conv1", "stem.conv"), ("bn1", "stem.bn"), ("head", "head.fc"))
    convs = (f"conv{i}.{part}" for i in (1, 2, 3) for part in ("conv", "bn"))
    names = (*convs, "se.fc1", "se.fc2", "downsample.conv", "downsample.bn")
    for ours, stage, block in layout.blocks(model.depths):
        theirs = f"s{stage + 1}.b{block + 1}"
        yield from layout.below(ours, theirs, _PARTS, names)


MODEL = regnet.RegNet
LAYOUTS = {"torchvision": layout.Layout(_torchvision), "timm": layout.Layout(_timm)}
