"""Names of ResNet's tensors in the code bases that train and publish them.

Blocks are called alike everywhere (layer1.0.conv1); what differs is the deep stem,
the projection of a shortcut, the head and a prefix. The projection is a Sequential,
whose index counts the average pooling before it where there is one. Detection and
segmentation models are read for their backbone: build ours with `num_classes=0`.
mmdetection's old caffe-style checkpoints, which have the stride on the 1x1
convolution, have the same names and shapes but are another network.
"""

from collections.abc import Callable
import functools
from typing import Any

from jood.core.activations import DECODED
from jood.models import resnet
from jood.weights import layout

_CONVS = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")
# The same in a deep stem.
_STEM = ("conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6", "bn1")
_MMPRETRAIN_STEM = tuple(f"stem.{i}.{of}" for i in range(3) for of in ("conv", "bn"))

Projection = Callable[[resnet.ResNet, int], tuple[str, int]]


def _downsample(model: resnet.ResNet, _: int) -> tuple[str, int]:
    """The pooling has a place, an identity where the stride is 1."""
    return "downsample", int(model.downsample == "avgpool")


def _mmpretrain_downsample(model: resnet.ResNet, stage: int) -> tuple[str, int]:
    """The pooling has a place only where the stride is 2."""
    strides = model.strides or (1, 2, 2, 2)
    return "downsample", int(model.downsample == "avgpool" and strides[stage] == 2)


def _openood_projection(model: resnet.ResNet, stage: int) -> tuple[str, int]:
    """OpenOOD's small-image networks follow kuangliu, the others torchvision."""
    return ("shortcut", 0) if model.stem == "cifar" else _downsample(model, stage)


def _modules(
    model: resnet.ResNet,
    stem: tuple[str, ...] = _STEM,
    projection: Projection = _downsample,
    head: str = "fc",
) -> layout.Pairs:
    yield from zip(_CONVS, stem if model.stem == "deep" else _CONVS[:2], strict=False)
    yield "head", head
    convs = _CONVS if model.block == "bottleneck" else _CONVS[:4]
    for ours, stage, block in layout.blocks(model.stage_sizes):
        theirs = f"layer{stage + 1}.{block}"
        yield from layout.below(ours, theirs, convs)
        shortcut, index = projection(model, stage)
        yield f"{ours}/downsample_conv", f"{theirs}.{shortcut}.{index}"
        yield f"{ours}/downsample_bn", f"{theirs}.{shortcut}.{index + 1}"


def _dilated(model: resnet.ResNet) -> layout.Pairs:
    """Refuses a network that would take the same tensors and compute another map."""
    if max(model.dilations, default=1) == 1:
        raise ValueError(
            "torchvision's segmentation networks have a dilated backbone: create the "
            "model 'resnet50_dilated' instead of this one."
        )
    return _modules(model)


def _fcn(model: resnet.ResNet) -> layout.Pairs:
    """The backbone, and the decode head of mmsegmentation's FCN."""
    if not model.decoder:
        raise ValueError(
            "mmsegmentation's FCN has a decode head: create the model 'fcn_r50_d8', or "
            "read its backbone with the layout 'mmsegmentation'."
        )
    yield from layout.prefixed(_MM, "backbone.").modules(model)
    parts = ("convs.0", "convs.1", "conv_cat")
    for i, theirs in enumerate(parts, start=1):
        yield f"{DECODED}/conv{i}", f"decode_head.{theirs}.conv"
        yield f"{DECODED}/bn{i}", f"decode_head.{theirs}.bn"
    yield "head", "decode_head.conv_seg"


def _layout(**names: Any) -> layout.Layout:
    return layout.Layout(functools.partial(_modules, **names))


_TORCHVISION = _layout()
_MM = _layout(stem=tuple(f"stem.{i}" for i in (0, 1, 3, 4, 6, 7)))
_MMPRETRAIN = _layout(
    stem=_MMPRETRAIN_STEM, projection=_mmpretrain_downsample, head="head.fc"
)


def _supcon(plain: layout.Layout) -> layout.Layout:
    """SupContrast's and KNN+'s: its projection head does not score."""
    encoder = layout.prefixed(plain, "encoder.", ("head.",))
    return layout.renamed(encoder, ("encoder.fc", "fc"))


MODEL = resnet.ResNet
LAYOUTS = {
    "torchvision": _TORCHVISION,
    "timm": _TORCHVISION,
    "openood": _layout(projection=_openood_projection),
    "kuangliu": _layout(projection=lambda *_: ("shortcut", 0), head="linear"),
    "supcon": _supcon(_layout(projection=lambda *_: ("shortcut", 0))),
    "supcon_torchvision": _supcon(_TORCHVISION),
    "torchvision_detection": layout.prefixed(
        _TORCHVISION, "backbone.body.", ("backbone.fpn.", "rpn.", "roi_heads.")
    ),
    "torchvision_segmentation": layout.prefixed(
        layout.Layout(_dilated), "backbone.", ("classifier.", "aux_classifier.")
    ),
    "mmpretrain": layout.renamed(
        layout.prefixed(_MMPRETRAIN, "backbone."), ("backbone.head.", "head.")
    ),
    "mmsegmentation": layout.prefixed(
        _MM, "backbone.", ("decode_head.", "auxiliary_head.")
    ),
    "mmsegmentation_fcn": layout.Layout(_fcn, ("auxiliary_head.",)),
    "mmdetection": layout.prefixed(
        _MM, "backbone.", ("neck.", "rpn_head.", "roi_head.")
    ),
}
