"""Wide residual networks (Zagoruyko & Komodakis, BMVC 2016) for CIFAR.

The blocks are pre-activated: BatchNorm and ReLU come before the convolutions, so
what a block returns is a sum that no ReLU has seen. Edits need an activated map that
everything after it reads, and there is one at each stage's end: the next stage's
first block (in the paper's code) sends its BatchNorm and ReLU to its convolution
and to its shortcut alike, and after the last stage the head reads the last ones'.
Hence a stage here ends with that BatchNorm and ReLU ('bn', of the block that follows
in the paper's code, or of the network's end), and its first block has none:

    images -> conv1 -> bn1, ReLU -> C3 -> C4 -> C5 -> mean -> head
    stage:  first block -> further blocks -> bn, ReLU

Three stages of n = (depth - 4) / 6 blocks at stride 1, 2 and 4, named C3, C4 and C5
(the last stage is always C5).
"""

import functools

from flax import linen as nn
import jax

from jood.models import layers
from jood.models.family import Family


class Block(nn.Module):
    """A pre-activated block that keeps the shape, or the one that begins a stage.

    The latter widens an activated map; its shortcut is a 1x1 convolution.
    """

    features: int
    kit: layers.Kit
    first_stride: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(layers.conv, self.kit, self.features)
        if self.first_stride is None:
            shortcut, stride = x, 1
            x = nn.relu(layers.batch_norm(self.kit, "bn1")(x))
        else:
            stride = self.first_stride
            shortcut = conv(1, stride, name="shortcut")(x)
        y = conv(3, stride, name="conv1")(x)
        y = conv(3, name="conv2")(nn.relu(layers.batch_norm(self.kit, "bn2")(y)))
        return shortcut + y


class Stage(nn.Module):
    """A run of blocks from one activated map to the next."""

    blocks: int
    features: int
    stride: int
    kit: layers.Kit

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        block = functools.partial(Block, self.features, self.kit)
        x = block(self.stride, name="block1")(x)
        for i in range(2, self.blocks + 1):
            x = block(name=f"block{i}")(x)
        return nn.relu(layers.batch_norm(self.kit, "bn")(x))


class WideResNet(nn.Module):
    """A WRN-depth-widen classifier.

    Attributes:
      depth: number of layers, 6n + 4.
      widen: factor on the widths 16, 32 and 64; at 1 the first block would keep the
        shape and be of another kind, which is not built here.
      num_classes: K.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    depth: int
    widen: int
    num_classes: int
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        layers.check_dtype(self.dtype)
        if self.depth < 10 or self.depth % 6 != 4:
            raise ValueError(f"depth must be 6n + 4 (10, 16, ...), got {self.depth}.")
        layers.check_depths("depth", self.depth)
        if self.widen < 2:
            raise ValueError(f"widen must be >= 2, got {self.widen}.")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        kit = layers.kit(self, train)
        x = nn.relu(layers.conv_norm(kit, "conv1", 16)(images))
        blocks = (self.depth - 4) // 6
        for i, stage in enumerate(layers.stages(3)):
            features, stride = 16 * self.widen * 2**i, min(i + 1, 2)
            x = Stage(blocks, features, stride, kit, name=stage)(x)
        return layers.linear(kit, layers.pooled(x), self.num_classes)


_MODELS = {
    "wrn_28_10": functools.partial(WideResNet, depth=28, widen=10),
    "wrn_40_2": functools.partial(WideResNet, depth=40, widen=2),
}
FAMILY = Family(WideResNet, _MODELS)
