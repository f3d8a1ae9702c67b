"""RegNetY (Radosavovic et al., CVPR 2020): bottlenecks of equal width, with a gate.

A block's middle convolution works in groups of `group_width` channels, and a
squeeze-and-excitation gate follows it; there is no bottleneck: all three convolutions
have the width of the stage. Stages C2..C5 are the runs of blocks; each returns the
activated map after its last block, at stride 4, 8, 16, 32.

torchvision and timm round widths differently. `regnet_y_800mf` is torchvision's (timm
calls it regnety_008_tv), `regnety_008` is timm's, which has the paper's widths; at
400 MF both are the same network. `regnet_y_16gf` is torchvision's, on OpenOOD's
leaderboard of ImageNet-1k.
"""

import functools

from flax import linen as nn
import jax

from jood.models import layers
from jood.models.family import Family


class Block(nn.Module):
    """1x1, grouped 3x3, gate, 1x1; all `features` wide."""

    features: int
    group_width: int
    gate_ratio: float
    kit: layers.Kit
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        features, stride = self.features, self.stride
        conv_norm = functools.partial(layers.conv_norm, self.kit, features=features)
        groups = features // self.group_width
        # The gate is narrower in proportion to what enters the block.
        squeezed = round(self.gate_ratio * x.shape[-1])

        y = nn.relu(conv_norm("conv1", kernel=1)(x))
        y = nn.relu(conv_norm("conv2", stride=stride, groups=groups)(y))
        y = layers.SqueezeExcitation(squeezed, self.kit, name="se")(y)
        y = conv_norm("conv3", kernel=1)(y)
        if stride > 1 or x.shape[-1] != features:
            x = conv_norm("downsample_conv", kernel=1, stride=stride)(x)
        return nn.relu(x + y)


class RegNet(nn.Module):
    """A RegNetY classifier.

    Attributes:
      depths: number of blocks of each stage, two to four stages.
      widths: channels of each stage, multiples of `group_width`.
      group_width: channels of a group of the 3x3 convolutions.
      num_classes: K.
      stem_width: channels of the 3x3 stem.
      gate_ratio: width of a gate's hidden layer per channel that enters the block.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    group_width: int
    num_classes: int
    stem_width: int = 32
    gate_ratio: float = 0.25
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        layers.check_dtype(self.dtype)
        if not 2 <= len(self.depths) == len(self.widths) <= 4:
            expected = "depths and widths must both name 2 to 4 stages"
            raise ValueError(f"{expected}, got {self.depths=}, {self.widths=}.")
        layers.check_depths("depths", *self.depths)
        if self.group_width < 1:
            raise ValueError(f"group_width must be >= 1, got {self.group_width}.")
        if any(width % self.group_width for width in self.widths):
            expected = f"widths must be multiples of group_width = {self.group_width}"
            raise ValueError(f"{expected}, got {self.widths}.")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        kit = layers.kit(self, train)
        stem = layers.conv_norm(kit, "conv1", self.stem_width, stride=2)
        x = nn.relu(stem(images))
        stages = layers.stages(len(self.depths))
        for name, depth, width in zip(stages, self.depths, self.widths, strict=True):
            sizes = width, self.group_width, self.gate_ratio
            block = functools.partial(Block, *sizes, kit)
            halving = functools.partial(block, stride=2)
            x = layers.Blocks(depth, halving, block, name=name)(x)
        return layers.linear(kit, layers.pooled(x), self.num_classes)


_400MF = functools.partial(
    RegNet, depths=(1, 3, 6, 6), widths=(48, 104, 208, 440), group_width=8
)
_800MF = functools.partial(RegNet, depths=(1, 3, 8, 2), group_width=16)
_MODELS = {
    "regnet_y_400mf": _400MF,
    "regnet_y_800mf": functools.partial(_800MF, widths=(64, 144, 320, 784)),
    "regnet_y_16gf": functools.partial(
        RegNet, depths=(2, 4, 11, 1), widths=(224, 448, 1232, 3024), group_width=112
    ),
    "regnety_008": functools.partial(_800MF, widths=(64, 128, 320, 768)),
}
FAMILY = Family(RegNet, _MODELS)
