"""MobileNetV3-Large (Howard et al., ICCV 2019), laid out so that torchvision's fits.

Its blocks are MobileNetV2's with 5x5 filters, gates and the hard swish in places;
BatchNorm has epsilon 1e-3 and momentum 0.99. Before the classifier there is dropout in
training. timm's network is another: its BatchNorm has epsilon 1e-5.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
import jax

from jood.models import inverted_residual
from jood.models import layers
from jood.models.family import Family

# Table 1 of the paper: channels inside and out, stride, kernel, gate, activation.
_TABLE: tuple[tuple[Any, ...], ...] = (
    (16, 16, 1, 3, False, "relu"),
    (64, 24, 2, 3, False, "relu"),
    (72, 24, 1, 3, False, "relu"),
    (72, 40, 2, 5, True, "relu"),
    *2 * ((120, 40, 1, 5, True, "relu"),),
    (240, 80, 2, 3, False, "hard_swish"),
    (200, 80, 1, 3, False, "hard_swish"),
    *2 * ((184, 80, 1, 3, False, "hard_swish"),),
    (480, 112, 1, 3, True, "hard_swish"),
    (672, 112, 1, 3, True, "hard_swish"),
    (672, 160, 2, 5, True, "hard_swish"),
    *2 * ((960, 160, 1, 5, True, "hard_swish"),),
)


class MobileNetV3(nn.Module):
    """A MobileNetV3-Large classifier.

    Stages end inside blocks (see `inverted_residual`). At width 1 the maps have 72, 240
    and 672 channels in C2, C3 and C4, at stride 4, 8 and 16. C5, at stride 32, is the
    last 1x1 convolution's map of 960 channels.

    Two things differ from the other families. Only C2 is non-negative (ReLU): the hard
    swish of C3, C4 and C5 goes down to -3/8. And C5's mean is not the penultimate
    feature: a hidden layer turns it into the 1280 that the head reads, also by the hard
    swish.

    Attributes:
      num_classes: K.
      width: multiplier of the channels, which are rounded to multiples of 8.
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
        rounded, row = inverted_residual.rounded, inverted_residual.Row
        rows = [
            row(rounded(expanded * self.width), rounded(features * self.width), *others)
            for expanded, features, *others in _TABLE
        ]
        return (*rows, row(6 * rows[-1].features, 0, activation="hard_swish"))

    def head_input(self, params: Mapping[str, Any], x: jax.Array) -> jax.Array:
        """What the hidden layer makes of C5's mean, or of one location.

        Args:
          params: The model's parameters.
          x: float32 [..., C], C = 960 at width 1.

        Returns:
          float32 [..., D], what the head reads; D = 1280 at width 1.
        """
        hidden = params["hidden"]
        bias = hidden["bias"].reshape((1,) * (x.ndim - 1) + (-1,))
        return nn.hard_swish(x @ hidden["kernel"] + bias)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K]."""
        kit = layers.kit(self, train, epsilon=1e-3, momentum=0.99)
        stem = inverted_residual.rounded(16 * self.width)
        x = inverted_residual.pooled_map(self.rows, kit, stem, "hard_swish", images)
        hidden = inverted_residual.rounded(1280 * self.width)
        x = nn.hard_swish(layers.linear(kit, x, hidden, "hidden"))  # [B, D]
        if train and self.has_rng("dropout"):
            x = nn.Dropout(self.dropout, deterministic=False)(x)
        return layers.linear(kit, x, self.num_classes)


FAMILY = Family(MobileNetV3, {"mobilenet_v3_large": MobileNetV3})
