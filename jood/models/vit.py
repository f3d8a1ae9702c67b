"""Vision Transformer (Dosovitskiy et al., ICLR 2021), as torchvision and timm have it.

An image is cut into patches, each a token of width D; a class token is put before
them, and after `depth` blocks and the final LayerNorm the class token is the
penultimate feature.

The stages are the patch tokens [B, L, D] in row-major order, without the class token:
C2, C3 and C4 after a quarter, a half and three quarters of the blocks, C5 after the
final LayerNorm. Tokens have both signs, so Threshold Activation, which cuts off what is
below zero, is not meant for them. An edit of C2..C4 reaches the logits through the
attention of later blocks; one of C5 does not, since nothing after it reads them. Nor is
the mean of C5 the penultimate feature, as it is for the other families.
"""

from collections.abc import Callable
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from jood.models import layers
from jood.models.family import Family

_gelu = functools.partial(nn.gelu, approximate=False)  # PyTorch's default, not Flax's


class Tokens(nn.Module):
    """The identity: gives patch tokens a name by which they are read and edited."""

    def __call__(self, tokens: jax.Array) -> jax.Array:
        return tokens


class Block(nn.Module):
    """Self-attention and a two-layer perceptron, each behind a LayerNorm.

    `attend` maps queries, keys and values [B, L, heads, D / heads] to one such array.
    """

    heads: int
    mlp_width: int
    kit: layers.Kit
    epsilon: float = 1e-6  # of the LayerNorms
    activation: Callable[[jax.Array], jax.Array] = _gelu
    attend: Callable[..., jax.Array] = jax.nn.dot_product_attention

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, width = x.shape
        init = nn.initializers.xavier_uniform()
        dense = functools.partial(nn.Dense, kernel_init=init, **self.kit.types)
        norm = functools.partial(layer_norm, self.kit, epsilon=self.epsilon)

        qkv = dense(features=3 * width, name="qkv")(norm(name="norm1")(x))
        qkv = qkv.reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        y = self.attend(query, key, value)  # [B, L, heads, D / heads]
        x = x + dense(features=width, name="out")(y.reshape(x.shape))

        y = dense(features=self.mlp_width, name="mlp1")(norm(name="norm2")(x))
        return x + dense(features=width, name="mlp2")(self.activation(y))


class ViT(nn.Module):
    """A Vision Transformer classifier.

    Attributes:
      num_classes: K; 0 is a backbone without a head, which returns the feature [B, D].
      image_size: side of the images in pixels; each patch has its own position
        embedding, so no other size fits.
      patch: side of a patch in pixels; divides `image_size`.
      width: D, the size of a token; a multiple of `heads`.
      depth: number of blocks, a multiple of 4.
      heads: Number of the attention's heads.
      mlp_width: hidden size of the blocks' perceptrons.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    num_classes: int
    image_size: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        layers.check_dtype(self.dtype)
        for name, value, divisor, shown in (
            ("image_size", self.image_size, self.patch, f"patch = {self.patch}"),
            ("width", self.width, self.heads, f"heads = {self.heads}"),
            ("depth", self.depth, 4, "4"),
        ):
            if value < 1 or divisor < 1 or value % divisor:
                raise ValueError(f"{name} must be a multiple of {shown}, got {value}.")
        layers.check_depths("depth", self.depth)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3], H = W = image_size, to float32 [B, K].

        `train` has no effect: there is no dropout and no BatchNorm.

        Raises:
          ValueError: The images have another size.
        """
        kit = layers.kit(self, train)
        patches = embedded_patches(self, kit, images, "ViT")  # [B, L, D]

        def embedding(name: str, length: int) -> jax.Array:
            init = nn.initializers.normal(0.02)
            shape = (1, length, self.width)
            return self.param(name, init, shape, kit.param_dtype).astype(kit.dtype)

        first = jnp.tile(embedding("class_token", 1), (len(images), 1, 1))
        x = jnp.concatenate([first, patches], axis=1)  # [B, 1 + L, D]
        x = x + embedding("position_embedding", x.shape[1])
        for i in range(self.depth):
            x = Block(self.heads, self.mlp_width, kit, name=f"block{i + 1}")(x)
            quarter, rest = divmod(4 * (i + 1), self.depth)
            if rest == 0 and quarter < 4:
                x = named_patches(x, f"C{quarter + 1}")
        x = named_patches(layer_norm(kit, name="norm")(x), "C5")
        feature = x[:, 0].astype(jnp.float32)  # [B, D]
        classes = self.num_classes
        return layers.linear(kit, feature, classes) if classes else feature


def embedded_patches(
    model: Any, kit: layers.Kit, images: jax.Array, what: str, use_bias: bool = True
) -> jax.Array:
    """Returns a linear map of each patch, [B, L, width], as the module calls it.

    Args:
      model: has `image_size`, `patch` and `width`.
      kit: its building blocks.
      images: [B, H, W, C].
      what: the network in words, for the message.
      use_bias: whether the map has a bias.

    Raises:
      ValueError: The images have another size than the model's.
    """
    side, patch = model.image_size, (model.patch, model.patch)
    if images.shape[1:3] != (side, side):
        height, width = images.shape[1:3]
        raise ValueError(
            f"this {what} takes images of {side} x {side} pixels alone, got {height} "
            f"x {width}. Resize them, or create the model with image_size."
        )
    maps = nn.Conv(
        model.width,
        patch,
        patch,
        padding="VALID",
        use_bias=use_bias,
        name="patch_embedding",
        **kit.types,
    )(images)
    return maps.reshape(len(images), -1, model.width)


def named_patches(x: jax.Array, stage: str) -> jax.Array:
    """Passes the patch tokens of [B, 1 + L, D] through a stage."""
    return jnp.concatenate([x[:, :1], Tokens(name=stage)(x[:, 1:])], axis=1)


def layer_norm(kit: layers.Kit, name: str, epsilon: float = 1e-6) -> nn.LayerNorm:
    """PyTorch's, whose variance is that of the centred values."""
    return nn.LayerNorm(epsilon, use_fast_variance=False, name=name, **kit.types)


_LARGE = functools.partial(ViT, width=1024, depth=24, heads=16, mlp_width=4096)
FAMILY = Family(ViT, {"vit_b16": ViT, "vit_l16": _LARGE}, fewest_classes=0)
