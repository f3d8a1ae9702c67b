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

from jood.models import layers
from jood.models import resnet
from jood.models.family import Family


class CifarResNet(nn.Module):
    """A ResNet of 6n + 2 layers.

    Attributes:
      blocks: n, the number of blocks of each of the three stages.
      num_classes: K.
      width: channels of the first stage; each further stage doubles it.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    blocks: int
    num_classes: int
    width: int = 16
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        layers.check_dtype(self.dtype)
        layers.check_depths("blocks", self.blocks)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        kit = layers.kit(self, train)
        x = nn.relu(layers.conv_norm(kit, "conv1", self.width)(images))
        for i, stage in enumerate(layers.stages(3)):
            width = self.width * 2**i
            block = functools.partial(resnet.Block, width, "basic", "pad", kit)
            first = functools.partial(block, stride=min(i + 1, 2))
            x = layers.Blocks(self.blocks, first, block, name=stage)(x)
        return layers.linear(kit, layers.pooled(x), self.num_classes)


_MODELS = {
    f"resnet{6 * n + 2}": functools.partial(CifarResNet, blocks=n) for n in (3, 5, 7, 9)
}
FAMILY = Family(CifarResNet, _MODELS)
