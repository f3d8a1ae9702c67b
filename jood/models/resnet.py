"""Residual networks (He et al., CVPR 2016), laid out so that PyTorch's weights fit.

Stages are modules named C2..C5; each returns the activated map after its last
block, at stride 4, 8, 16, 32 with the ImageNet stem. The last stage is always C5, also
where there are fewer. As in torchvision, a bottleneck has its stride on the 3x3
convolution, padding is (1, 1) on both sides also at stride 2 (Flax's 'SAME' is not),
and BatchNorm has epsilon 1e-5 and momentum 0.9.

The variants are those of He et al., CVPR 2019 (Table 5, "bag of tricks"), and of
dense prediction. `resnet50d` has a deep stem and pools before it projects (v1d).
`resnet50_d8`, the backbone of FCN-R50-D8, has the deep stem (v1c) and dilates its
last two stages instead of striding: its map is at stride 8; `fcn_r50_d8` is the whole
network, whose head classifies each location of a decoded map. Faster R-CNN's backbone,
torchvision's and mmdetection's (style='pytorch'), is `resnet50` itself.
"""

import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core.activations import DECODED
from jood.models import layers
from jood.models.family import Family


class Block(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, and a shortcut.

    A bottleneck returns 4 `features` channels. Only the first 3x3 convolution is
    dilated, as in mmsegmentation (timm dilates both).

    Attributes:
      kind: 'basic' or 'bottleneck'.
      downsample: The way a shortcut changes its shape, as in `ResNet`; or 'pad', which
        takes every second pixel and pads the channels with zeros on both sides.
    """

    features: int
    kind: str
    downsample: str
    kit: layers.Kit
    dilation: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv_norm = functools.partial(layers.conv_norm, self.kit)
        features, stride = self.features, self.stride
        spatial = {"stride": stride, "dilation": self.dilation}
        if self.kind == "bottleneck":
            y = nn.relu(conv_norm("conv1", features, 1)(x))
            y = nn.relu(conv_norm("conv2", features, **spatial)(y))
            y = conv_norm("conv3", 4 * features, 1)(y)
        else:
            y = nn.relu(conv_norm("conv1", features, **spatial)(x))
            y = conv_norm("conv2", features)(y)
        added = y.shape[-1] - x.shape[-1]
        if stride == 1 and not added:
            return nn.relu(y + x)
        if self.downsample == "pad":
            x = x[:, ::stride, ::stride]
            zeros = (added // 2, added - added // 2)
            return nn.relu(y + jnp.pad(x, ((0, 0), (0, 0), (0, 0), zeros)))
        if self.downsample == "avgpool" and stride == 2:
            # An odd last row or column is the mean of what there is (ceil_mode).
            x = nn.avg_pool(x, (2, 2), (2, 2), padding="SAME", count_include_pad=False)
            stride = 1
        return nn.relu(y + conv_norm("downsample_conv", y.shape[-1], 1, stride)(x))


class DecodeHead(nn.Module):
    """FCN's decode head in mmsegmentation: two 3x3 convolutions, and one of all.

    The last convolution reads the stage's map beside that of the first two.
    """

    features: int
    kit: layers.Kit

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv_norm = functools.partial(layers.conv_norm, self.kit)
        y = nn.relu(conv_norm("conv1", self.features)(x))
        y = nn.relu(conv_norm("conv2", self.features)(y))
        both = jnp.concatenate([x, y], axis=-1)
        return nn.relu(conv_norm("conv3", self.features)(both))


_STEMS = {  # convolutions: the width divided by their channels, kernel, stride
    "imagenet": [(1, 7, 2)],
    "deep": [(2, 3, 2), (2, 3, 1), (1, 3, 1)],
    "cifar": [(1, 3, 1)],
    "strided": [(1, 3, 2)],
}


class ResNet(nn.Module):
    """A ResNet classifier.

    Attributes:
      stage_sizes: Number of blocks of each stage, two to four stages.
      num_classes: K; 0 is a backbone without a head, which returns the pooled
        feature [B, D] instead of logits.
      block: 'basic' or 'bottleneck'.
      stem: 'imagenet' (7x7 stride 2 and max pooling), 'deep' (three 3x3, the first
        of stride 2 and two of half the width, and max pooling), 'cifar' (3x3
        stride 1) or 'strided' (3x3 stride 2, a quarter of the cost).
      width: Channels of the first stage (a bottleneck returns four times as many);
        each further stage doubles it.
      downsample: The way a shortcut strides: 'conv' (the 1x1 projection has the
        stride) or 'avgpool' (the mean of 2x2 pixels, then the projection).
      strides: 1 or 2 for each stage; () is 1, then 2 for each further stage.
      dilations: Distance of the taps of each stage's 3x3 convolutions; () is 1. The
        first block of a stage has half of it.
      decoder: Channels of FCN's decode head between the last stage and the
        classifier; 0 has none.
      epsilon: The number that BatchNorm adds to the variance. 0 for torchvision's
        Faster R-CNN with the weights COCO_V1, whose BatchNorm is frozen.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    stage_sizes: tuple[int, ...]
    num_classes: int
    block: str = "basic"
    stem: str = "imagenet"
    width: int = 64
    downsample: str = "conv"
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    decoder: int = 0
    epsilon: float = 1e-5
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        layers.check_choice("block", self.block, ("basic", "bottleneck"))
        layers.check_choice("stem", self.stem, tuple(_STEMS))
        layers.check_choice("downsample", self.downsample, ("conv", "avgpool"))
        layers.check_dtype(self.dtype)
        arguments.check_within("epsilon", self.epsilon, 0, 1, "a number in [0, 1]")
        arguments.check_count("width", self.width)
        if self.width < (least := max(part for part, *_ in _STEMS[self.stem])):
            raise ValueError(
                f"width must be >= {least} with stem={self.stem!r}, got {self.width}."
            )
        sizes, stages = self.stage_sizes, len(self.stage_sizes)
        if not 2 <= stages <= 4:
            raise ValueError(f"stage_sizes must name 2 to 4 stages, got {sizes}.")
        layers.check_depths("stage_sizes", *sizes)
        if len(self.strides) not in (0, stages) or set(self.strides) - {1, 2}:
            raise ValueError(
                f"strides must be 1 or 2 for each of the {stages} stages (or empty), "
                f"got {self.strides}."
            )
        if len(self.dilations) not in (0, stages) or min(self.dilations or (1,)) < 1:
            raise ValueError(
                f"dilations must be >= 1 for each of the {stages} stages (or empty), "
                f"got {self.dilations}."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        kit = layers.kit(self, train, epsilon=self.epsilon)
        x = self._stem(kit, images)
        strides = self.strides or (1, 2, 2, 2)
        dilations = self.dilations or (1, 1, 1, 1)
        for i, name in enumerate(layers.stages(len(self.stage_sizes))):
            fields = self.width * 2**i, self.block, self.downsample, kit
            make = functools.partial(Block, *fields)
            # The first block's input was made at the dilation of the stage before, so
            # it has half: torchvision's rule, and mmsegmentation's contract_dilation.
            half = max(dilations[i] // 2, 1)
            first = functools.partial(make, half, strides[i])
            further = functools.partial(make, dilations[i])
            x = layers.Blocks(self.stage_sizes[i], first, further, name=name)(x)
        if self.decoder and self.num_classes:
            x = DecodeHead(self.decoder, kit, name=DECODED)(x)  # [B, H, W, D]
            classify = layers.conv(kit, self.num_classes, 1, use_bias=True, name="head")
            return layers.pooled(classify(x))  # of the logits of all locations
        x = layers.pooled(x)  # [B, D]
        return layers.linear(kit, x, self.num_classes) if self.num_classes else x

    def _stem(self, kit: layers.Kit, x: jax.Array) -> jax.Array:
        """The layers before the first stage, each activated."""
        for i, (part, *sizes) in enumerate(_STEMS[self.stem], start=1):
            conv_norm = layers.conv_norm(kit, f"conv{i}", self.width // part, *sizes)
            x = nn.relu(conv_norm(x))
        return layers.max_pool(x) if self.stem in ("imagenet", "deep") else x


_DEPTHS: dict[str, dict[str, Any]] = {
    "resnet18": {"stage_sizes": (2, 2, 2, 2)},
    "resnet34": {"stage_sizes": (3, 4, 6, 3)},
    "resnet50": {"stage_sizes": (3, 4, 6, 3), "block": "bottleneck"},
    "resnet101": {"stage_sizes": (3, 4, 23, 3), "block": "bottleneck"},
}
_R50 = _DEPTHS["resnet50"]
_DILATED = {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)}
_SMALL = {"stage_sizes": (2, 2, 2), "width": 16}
_FIELDS = {
    **_DEPTHS,
    **{f"{name}_cifar": depth | {"stem": "cifar"} for name, depth in _DEPTHS.items()},
    "resnet50d": _R50 | {"stem": "deep", "downsample": "avgpool"},
    # Of torchvision's segmentation networks, and of mmsegmentation's R50 (not V1c).
    "resnet50_dilated": _R50 | _DILATED,
    "faster_rcnn_r50": _R50 | {"epsilon": 0.0},
    "resnet50_d8": _R50 | _DILATED | {"stem": "deep"},
    "fcn_r50_d8": _R50 | _DILATED | {"stem": "deep", "decoder": 512},
    # For the embedded benchmark. At 32 px the last map is 4x4, and two CPU cores train
    # it in half a minute; the second keeps 8x8 locations, at about a quarter of that.
    "resnet_small": _SMALL | {"stem": "strided"},
    "resnet_small_8x8": _SMALL | {"stem": "cifar"},
}
_MODELS = {n: functools.partial(ResNet, **fields) for n, fields in _FIELDS.items()}
FAMILY = Family(ResNet, _MODELS, fewest_classes=0)
