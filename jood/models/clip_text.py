"""CLIP's text tower (Radford et al., ICML 2021), a causal transformer.

Token ids become tokens with positions; each token attends to itself and to those
before it. The row of the end token, after a LayerNorm and the projection, is the
embedding of the text. What follows the end token has no influence on it.

The tower is not a classifier and runs only when a network is converted: the embeddings
of the class texts become the head of the image tower (`jood.weights.clip_head`).
"""

from collections.abc import Callable, Mapping
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jood.models import clip_blocks
from jood.models import layers

_FIRST_SCALE = float(np.log(1 / 0.07))  # with which training begins


class ClipText(nn.Module):
    """The text tower of a CLIP.

    It holds the logarithm of the logit scale too, as its parameter 'logit_scale'.

    Attributes:
      vocabulary: number of token ids; the last one ends a text.
      context: tokens that a text may have, the start and the end among them.
      width, depth, heads, mlp_width, embedding_width, activation: The same as for
        `clip_image.ClipImage`.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    vocabulary: int = 49408
    context: int = 77
    width: int = 512
    depth: int = 12
    heads: int = 8
    mlp_width: int = 2048
    embedding_width: int = 512
    activation: str = "quick_gelu"
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        clip_blocks.check_fields(self)
        super().__post_init__()

    @property
    def example_input(self) -> np.ndarray:
        """The input to initialise the tower with, in place of images."""
        return np.zeros((1, self.context), np.int32)

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        """Maps token ids int32 [B, L], L <= context, to embeddings float32 [B, D].

        Each row holds the end token, the largest id, and anything after it. The
        embeddings are not normalised.

        Raises:
          ValueError: A row is longer than the context.
        """
        if ids.ndim != 2 or ids.shape[1] > self.context:
            raise ValueError(
                f"token ids must be [B, L] with L <= {self.context}, got {ids.shape}."
            )
        kit = layers.kit(self, train=False)
        init = nn.initializers.normal(0.02)
        x = nn.Embed(
            self.vocabulary,
            self.width,
            embedding_init=init,
            name="token_embedding",
            **kit.types,
        )(ids)  # [B, L, width]
        shape = (self.context, self.width)
        positions = self.param("position_embedding", init, shape, kit.param_dtype)
        constant = nn.initializers.constant(_FIRST_SCALE)
        self.param("logit_scale", constant, (), kit.param_dtype)
        x = x + positions[: ids.shape[1]].astype(kit.dtype)[None]
        attend = functools.partial(jax.nn.dot_product_attention, is_causal=True)
        for number in range(1, self.depth + 1):
            x = clip_blocks.block(self, kit, number, attend=attend)(x)
        x = clip_blocks.layer_norm(kit, "norm")(x)
        end = x[jnp.arange(len(ids)), ids.argmax(-1)]  # [B, width]
        return clip_blocks.projection(self, kit)(end.astype(jnp.float32))


_SIZES: Mapping[str, Callable[..., ClipText]] = {
    "clip_vit_b32": ClipText,
    "clip_vit_b16": ClipText,
    "clip_vit_l14": functools.partial(
        ClipText, width=768, heads=12, mlp_width=3072, embedding_width=768
    ),
    "clip_small": functools.partial(
        ClipText, width=16, depth=2, heads=2, mlp_width=32, embedding_width=24
    ),
}


def beside(name: str) -> ClipText:
    """Returns the text tower of a model of `clip_image.FAMILY`, by the model's name.

    Raises:
      ValueError: The model is not a CLIP.
    """
    size = name.removesuffix("_gelu")
    if size not in _SIZES:
        raise ValueError(
            f"{name} has no text tower; the models that have one are "
            f"{', '.join(_SIZES)}."
        )
    activation = "quick_gelu" if size == name else "gelu"
    return _SIZES[size](activation=activation)
