"""Names of EfficientNet-Lite's tensors: efficientnet_pytorch's and timm's.

timm's are those of its `tf_efficientnet_lite0`; its `efficientnet_lite0` computes
something else, with PyTorch's padding and BatchNorm's epsilon 1e-5.
"""

from jood.models import efficientnet_lite
from jood.weights import layout
from jood.weights import mobilenet_v2


def _efficientnet_pytorch(model: efficientnet_lite.EfficientNetLite) -> layout.Pairs:
    ends = ("_conv_stem", "_bn0", "_conv_head", "_bn1")
    yield from mobilenet_v2.ends(model, *ends)
    yield "head", "_fc"
    # The first block has no expansion, but its names count on as if it had.
    names = (
        *("_expand_conv", "_bn0", "_depthwise_conv", "_bn1"),
        *("_project_conv", "_bn2"),
    )
    for ours, number in mobilenet_v2.blocks(model):
        theirs = f"_blocks.{number - 1}"
        yield from layout.below(ours, theirs, mobilenet_v2.PARTS, names)


def _timm(model: efficientnet_lite.EfficientNetLite) -> layout.Pairs:
    repeats = [row[2] for row in efficientnet_lite.TABLE]
    return mobilenet_v2.timm_pairs(model, repeats)


MODEL = efficientnet_lite.EfficientNetLite
LAYOUTS = {
    "efficientnet_pytorch": layout.Layout(_efficientnet_pytorch),
    "timm": layout.Layout(_timm),
}
