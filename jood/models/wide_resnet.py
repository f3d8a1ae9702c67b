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
import jax.numpy as jnp

from jood.models import layers
from jood.models.family import Family


class FirstBlock(nn.Module):
    """The block that widens an activated map; its shortcut is a 1x1 convolution."""

    features: int
    stride: int
    types: layers.Types
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(layers.conv, self.types, self.features)
        norm = layers.batch_norm(self.types, self.train)
        y = conv(3, self.stride, name="conv1")(x)
        y = conv(3, name="conv2")(nn.relu(norm(name="bn2")(y)))
        return y + conv(1, self.stride, name="shortcut")(x)


class Block(nn.Module):
    """A pre-activated block that keeps the shape."""

    types: layers.Types
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(layers.conv, self.types, x.shape[-1], 3)
        norm = layers.batch_norm(self.types, self.train)
        y = conv(name="conv1")(nn.relu(norm(name="bn1")(x)))
        y = conv(name="conv2")(nn.relu(norm(name="bn2")(y)))
        return x + y


class Stage(nn.Module):
    """A run of blocks from one activated map to the next."""

    blocks: int
    features: int
    stride: int
    types: layers.Types
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        types, train = self.types, self.train
        x = FirstBlock(self.features, self.stride, types, train, name="block1")(x)
        for i in range(2, self.blocks + 1):
            x = Block(types, train, name=f"block{i}")(x)
        return nn.relu(layers.batch_norm(types, train)(name="bn")(x))


class WideResNet(nn.Module):
    """A WRN-depth-widen classifier.

    Attributes:
      depth: number of layers, 6n + 4.
      widen: factor on the widths 16, 32 and 64; at 1 the first block would keep the
        shape and be of another kind, which is not built here.
      num_classes: K.
      dtype: compute type, 'float32', 'bfloat16' or 'float16'.
      param_dtype: type of parameters and statistics.
    """

    depth: int
    widen: int
    num_classes: int
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        layers.check_dtype(self.dtype)
        if self.depth < 10 or self.depth % 6 != 4:
            raise ValueError(
                f"depth must be 6n + 4 with n >= 1 (10, 16, ...), got {self.depth}."
            )
        if self.widen < 2:
            raise ValueError(f"widen must be >= 2, got {self.widen}.")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        types = layers.Types(jnp.dtype(self.dtype), self.param_dtype)
        x = layers.conv(types, 16, name="conv1")(images.astype(types.dtype))
        x = nn.relu(layers.batch_norm(types, train)(name="bn1")(x))
        blocks = (self.depth - 4) // 6
        for i, stage in enumerate(("C3", "C4", "C5")):
            features, stride = 16 * self.widen * 2**i, 1 if i == 0 else 2
            x = Stage(blocks, features, stride, types, train, name=stage)(x)
        x = layers.pooled(x)  # [B, D]
        return layers.head(self.num_classes, types, x.shape[-1])(x)


_MODELS = {
    "wrn_28_10": functools.partial(WideResNet, depth=28, widen=10),
    "wrn_40_2": functools.partial(WideResNet, depth=40, widen=2),
}
FAMILY = Family(WideResNet, _MODELS)
