"""DenseNet-BC (Huang et al., CVPR 2017): every layer reads all maps before it.

A dense block's layers each append `growth` channels; between blocks a transition
(norm, ReLU, 1x1 convolution, 2x2 average pooling) shortens them. A dense block's raw
output is not activated, so a stage ends after the norm and the ReLU that follow it:
the transition's convolution and pooling begin the next stage, and C5 is the map after
the final norm and ReLU. All later layers read a stage's map and nothing before it.
Four blocks are C2..C5, at stride 4, 8, 16, 32 with the ImageNet stem; three C3..C5.
"""

import functools

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp

from jood.models import layers
from jood.models.family import Family


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1 convolution to 4 `growth` channels; the same, 3x3 to `growth`."""

    growth: int
    kit: layers.Kit

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(layers.batch_norm(self.kit, "bn1")(x))
        x = layers.conv(self.kit, 4 * self.growth, kernel=1, name="conv1")(x)
        x = nn.relu(layers.batch_norm(self.kit, "bn2")(x))
        return layers.conv(self.kit, self.growth, name="conv2")(x)


class Stage(nn.Module):
    """The transition of the block before, a dense block, norm and ReLU.

    The transition leaves `reduced` channels; None in the first stage, without one.
    """

    size: int
    growth: int
    reduced: int | None
    kit: layers.Kit

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.reduced is not None:
            # Pooling commutes with a 1x1 convolution; first, it saves 3/4 of the work.
            x = nn.avg_pool(x, (2, 2), (2, 2))
            x = layers.conv(self.kit, self.reduced, kernel=1, name="reduce")(x)
        # One buffer, written in place: concatenating anew for every layer copies all
        # maps again, which makes DenseNet-100 a tenth to a fifth slower on CPUs.
        width = x.shape[-1]
        maps = jnp.pad(x, ((0, 0),) * 3 + ((0, self.size * self.growth),))
        for i in range(self.size):
            layer = DenseLayer(self.growth, self.kit, name=f"layer{i + 1}")
            new = layer(maps[..., :width])
            maps = lax.dynamic_update_slice_in_dim(maps, new, width, axis=3)
            width += self.growth
        return nn.relu(layers.batch_norm(self.kit, "norm")(maps))


class DenseNet(nn.Module):
    """A DenseNet-BC classifier.

    Attributes:
      block_sizes: number of layers of each dense block, two to four blocks.
      num_classes: K.
      growth: channels that a layer appends; the stem has twice as many.
      stem: 'imagenet' (7x7 stride 2, norm, ReLU, max pooling) or 'cifar' (3x3 alone).
      compression: share of the channels that a transition leaves, in (0, 1].
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    block_sizes: tuple[int, ...]
    num_classes: int
    growth: int = 32
    stem: str = "imagenet"
    compression: float = 0.5
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        layers.check_choice("stem", self.stem, ("imagenet", "cifar"))
        layers.check_dtype(self.dtype)
        if not 2 <= len(self.block_sizes) <= 4:
            expected = "block_sizes must name 2 to 4 blocks"
            raise ValueError(f"{expected}, got {self.block_sizes}.")
        layers.check_depths("block_sizes", *self.block_sizes)
        if self.growth < 1:
            raise ValueError(f"growth must be >= 1, got {self.growth}.")
        if not 0 < self.compression <= 1:
            raise ValueError(f"compression must be in (0, 1], got {self.compression}.")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        kit = layers.kit(self, train)
        if self.stem == "imagenet":
            stem = layers.conv_norm(kit, "conv1", 2 * self.growth, 7, 2)
            x = layers.max_pool(nn.relu(stem(images)))
        else:
            x = layers.conv(kit, 2 * self.growth, name="conv1")(images)
        reduced = None
        for i, name in enumerate(layers.stages(len(self.block_sizes))):
            x = Stage(self.block_sizes[i], self.growth, reduced, kit, name=name)(x)
            reduced = int(x.shape[-1] * self.compression)
        return layers.linear(kit, layers.pooled(x), self.num_classes)


_MODELS = {
    "densenet121": functools.partial(DenseNet, block_sizes=(6, 12, 24, 16)),
    # Depth 100 = 4 + 3 blocks of 16 layers of two convolutions.
    "densenet100_cifar": functools.partial(
        DenseNet, block_sizes=(16, 16, 16), growth=12, stem="cifar"
    ),
}
FAMILY = Family(DenseNet, _MODELS)
