"""CLIP's image tower (Radford et al., ICML 2021), a Vision Transformer.

The class token of the last block, after a LayerNorm, is projected to the embedding
that images and texts share. Its direction, of length 1, is the penultimate feature:

    logits = exp(logit_scale) · cos(image embedding, text embedding of a class)

is then linear in the feature, so that the head is a `Dense` like every other
network's: its kernel holds the directions of the class texts times the logit scale,
its bias is 0. Everything that reads a feature, a head or logits works on CLIP
unchanged. `jood.weights.clip_head` computes the head with the text tower. The
embedding before its normalisation is what the module 'projection' returns.

The stages are patch tokens [B, L, D] in row-major order, without the class token: C2,
C3 and C4 after a quarter, a half and three quarters of the blocks, where there is such
a block, and C5 after the last. Nothing after C5 reads them.
"""

from collections.abc import Callable
import functools
from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp

from jood.core import norms
from jood.core.preprocessing import Preprocessing
from jood.models import clip_blocks
from jood.models import layers
from jood.models import vit
from jood.models.family import Family


class ClipImage(nn.Module):
    """The image tower of a CLIP, with the texts of its classes as the head.

    Attributes:
      num_classes: K.
      image_size: side of the images in pixels; each patch has its own position
        embedding, so no other size fits.
      patch: side of a patch in pixels; divides `image_size`.
      width: size of a token; a multiple of `heads`.
      depth: number of blocks.
      heads: Number of the attention's heads.
      mlp_width: hidden size of the blocks' perceptrons.
      embedding_width: D, the size of the embedding that images and texts share.
      activation: 'quick_gelu', as OpenAI trained, or 'gelu', OpenCLIP's default.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    num_classes: int
    image_size: int = 224
    patch: int = 32
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    embedding_width: int = 512
    activation: str = "quick_gelu"
    dtype: str = "float32"
    param_dtype: str = "float32"

    lacks_head: ClassVar[str] = (
        "a CLIP has none in its file, since its head is made of the texts of the "
        "classes: jood convert --prompts=FILE"
    )

    def __post_init__(self) -> None:
        clip_blocks.check_fields(self)
        if self.image_size < 1 or self.patch < 1 or self.image_size % self.patch:
            raise ValueError(
                f"image_size must be a multiple of patch = {self.patch}, got "
                f"{self.image_size}."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3], H = W = image_size, to float32 [B, K].

        `train` has no effect: there is no dropout and no BatchNorm.

        Raises:
          ValueError: The images have another size.
        """
        kit = layers.kit(self, train)
        patches = vit.embedded_patches(self, kit, images, "CLIP", use_bias=False)

        init = nn.initializers.normal(self.width**-0.5)
        token = self.param("class_embedding", init, (self.width,), kit.param_dtype)
        shape = (1 + patches.shape[1], self.width)
        positions = self.param("position_embedding", init, shape, kit.param_dtype)
        first = jnp.broadcast_to(token.astype(kit.dtype), (len(images), 1, self.width))
        x = jnp.concatenate([first, patches], axis=1)  # [B, 1 + L, width]
        x = x + positions.astype(kit.dtype)[None]
        x = clip_blocks.layer_norm(kit, "norm_pre")(x)
        for number in range(1, self.depth + 1):
            x = clip_blocks.block(self, kit, number)(x)
            quarter, rest = divmod(4 * number, self.depth)
            if rest == 0:
                x = vit.named_patches(x, f"C{quarter + 1}")
        feature = clip_blocks.layer_norm(kit, "norm")(x[:, 0])  # [B, width]
        embedding = clip_blocks.projection(self, kit)(feature.astype(jnp.float32))
        return layers.linear(kit, norms.unit(embedding), self.num_classes)


def preprocessing(image_size: int) -> Preprocessing:
    """Returns OpenAI's and OpenCLIP's preprocessing for images of this side."""
    return Preprocessing(
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        resize=image_size,
        crop=image_size,
        interpolation="bicubic",
    )


_SIZES: dict[str, Callable[..., nn.Module]] = {
    "clip_vit_b32": ClipImage,
    "clip_vit_b16": functools.partial(ClipImage, patch=16),
    "clip_vit_l14": functools.partial(
        ClipImage,
        patch=14,
        width=1024,
        depth=24,
        heads=16,
        mlp_width=4096,
        embedding_width=768,
    ),
    # For tests and examples.
    "clip_small": functools.partial(
        ClipImage,
        image_size=32,
        patch=8,
        width=32,
        depth=4,
        heads=4,
        mlp_width=64,
        embedding_width=24,
    ),
}
# Those of OpenCLIP, whose configurations do not say quick_gelu, end in '_gelu'.
FAMILY = Family(
    ClipImage,
    {
        **_SIZES,
        **{
            f"{name}_gelu": functools.partial(size, activation="gelu")
            for name, size in _SIZES.items()
        },
    },
)
