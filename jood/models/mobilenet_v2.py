"""MobileNetV2 (Sandler et al., CVPR 2018), laid out so that PyTorch's weights fit.

Dropout before the classifier, which only training has, is left out.
"""

from flax import linen as nn
import jax

from jood.models import inverted_residual
from jood.models import layers
from jood.models.family import Family

# Table 2 of the paper: expansion t, channels c, blocks n, stride s of the first.
TABLE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """A MobileNetV2 classifier.

    Stages end inside blocks (see `inverted_residual`). At width 1 the maps have 144,
    192 and 576 channels in C2, C3 and C4, at stride 4, 8 and 16, and lie in [0, 6]. C5,
    at stride 32, is the last 1x1 convolution's map of 1280 channels; its mean is the
    penultimate feature.

    Attributes:
      num_classes: K.
      width: multiplier of the channels, which are rounded to multiples of 8.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    num_classes: int
    width: float = 1.0
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        inverted_residual.check_fields(self.dtype, self.width)
        super().__post_init__()

    @property
    def rows(self) -> tuple[inverted_residual.Row, ...]:
        """Sizes of the blocks; the last row is the last 1x1 convolution."""
        stem = inverted_residual.rounded(32 * self.width)
        rows = inverted_residual.repeated(TABLE, self.width, stem)
        last = inverted_residual.rounded(1280 * max(self.width, 1))
        return (*rows, inverted_residual.Row(last, 0))

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        kit = layers.kit(self, train)
        stem = inverted_residual.rounded(32 * self.width)
        x = inverted_residual.pooled_map(self.rows, kit, stem, "relu6", images)
        return layers.linear(kit, x, self.num_classes)


FAMILY = Family(MobileNetV2, {"mobilenet_v2": MobileNetV2})
