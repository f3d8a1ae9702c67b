"""EfficientNet-Lite0 (Tan and Le, ICML 2019; its Lite form, TensorFlow, 2020).

Its blocks are MobileNetV2's, some with 5x5 filters: the Lite form has no gates, and
ReLU6 for the swish. Convolutions are padded as TensorFlow pads them, and BatchNorm has
epsilon 1e-3 and momentum 0.99. Before the classifier there is dropout in training.
"""

from flax import linen as nn
import jax

from jood.models import inverted_residual
from jood.models import layers
from jood.models.family import Family

# Table 1 of the paper: expansion, channels, blocks, stride of the first, kernel.
TABLE = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_STEM, _LAST = 32, 1280  # channels, whatever the width


class EfficientNetLite(nn.Module):
    """An EfficientNet-Lite classifier.

    Stages end inside blocks (see `inverted_residual`). At width 1 the maps have 144,
    240 and 672 channels in C2, C3 and C4, at stride 4, 8 and 16, and lie in [0, 6]. C5,
    at stride 32, is the last 1x1 convolution's map of 1280 channels; its mean is the
    penultimate feature.

    Attributes:
      num_classes: K.
      width: multiplier of the blocks' channels, which are rounded to multiples of 8.
      dropout: Share of the penultimate feature that training sets to 0, in [0, 1); it
        needs a key named 'dropout', without which nothing is dropped.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    num_classes: int
    width: float = 1.0
    dropout: float = 0.2
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        inverted_residual.check_fields(self.dtype, self.width, self.dropout)
        super().__post_init__()

    @property
    def rows(self) -> tuple[inverted_residual.Row, ...]:
        """Sizes of the blocks; the last row is the last 1x1 convolution."""
        rows = inverted_residual.repeated(TABLE, self.width, _STEM)
        return (*rows, inverted_residual.Row(_LAST, 0))

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        numbers = {"epsilon": 1e-3, "momentum": 0.99, "padding": "tensorflow"}
        kit = layers.kit(self, train, **numbers)
        x = inverted_residual.pooled_map(self.rows, kit, _STEM, "relu6", images)
        if train and self.has_rng("dropout"):
            x = nn.Dropout(self.dropout, deterministic=False)(x)
        return layers.linear(kit, x, self.num_classes)


FAMILY = Family(EfficientNetLite, {"efficientnet_lite0": EfficientNetLite})
