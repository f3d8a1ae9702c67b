"""ResNet-20 to ResNet-56 for CIFAR (He et al., CVPR 2016, Sec. 4.2): 6n + 2 layers.

Three stages of n basic blocks, 16, 32 and 64 channels wide, at stride 1, 2 and 4;
each returns the activated map after its last block. They are C3, C4 and C5, since
the last stage is always C5. The shortcut has no parameters (option A): where the
shape changes it takes every second pixel and pads the new channels with zeros, half
of them before and half after the old ones, as the networks of
github.com/akamaster/pytorch_resnet_cifar10 do.
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from jood.models import layers
from jood.models.family import Family


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters."""

    features: int
    stride: int
    types: layers.Types
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(layers.conv, self.types, self.features)
        norm = layers.batch_norm(self.types, self.train)
        y = nn.relu(norm(name="bn1")(conv(3, self.stride, name="conv1")(x)))
        y = norm(name="bn2")(conv(3, name="conv2")(y))
        if self.stride > 1:
            x = x[:, :: self.stride, :: self.stride]
            new = self.features - x.shape[-1]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2)))
        return nn.relu(x + y)


class CifarResNet(nn.Module):
    """A ResNet of 6n + 2 layers.

    Attributes:
      blocks: n, the number of blocks of each of the three stages.
      num_classes: K.
      width: channels of the first stage; each further stage doubles it.
      dtype: compute type, 'float32', 'bfloat16' or 'float16'.
      param_dtype: type of parameters and statistics.
    """

    blocks: int
    num_classes: int
    width: int = 16
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        layers.check_dtype(self.dtype)
        if self.blocks < 1:
            raise ValueError(f"blocks must be >= 1, got {self.blocks}.")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        types = layers.Types(jnp.dtype(self.dtype), self.param_dtype)
        x = layers.conv(types, self.width, name="conv1")(images.astype(types.dtype))
        x = nn.relu(layers.batch_norm(types, train)(name="bn1")(x))
        for i, stage in enumerate(("C3", "C4", "C5")):
            make_block = functools.partial(
                Block, features=self.width * 2**i, types=types, train=train
            )
            first = functools.partial(make_block, stride=1 if i == 0 else 2)
            further = functools.partial(make_block, stride=1)
            x = layers.Blocks(self.blocks, first, further, name=stage)(x)
        x = layers.pooled(x)  # [B, D]
        return layers.head(self.num_classes, types, x.shape[-1])(x)


_MODELS = {
    f"resnet{6 * n + 2}": functools.partial(CifarResNet, blocks=n) for n in (3, 5, 7, 9)
}
FAMILY = Family(CifarResNet, _MODELS)
