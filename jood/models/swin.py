"""Swin Transformer (Liu et al., ICCV 2021): attention within windows, in four stages.

An image is cut into patches of 4 x 4 pixels. Blocks attend within windows of 7 x 7
patches, every second block within windows that are shifted by half their side; from
stage to stage, 2 x 2 neighbours are merged and the width doubles.

The stages are maps [B, H, W, C] at stride 4, 8, 16 and 32: C2, C3 and C4 after the
blocks of a stage, C5 after the final LayerNorm, so that its mean is the penultimate
feature. As a ViT's tokens they have both signs, so Threshold Activation, which cuts off
what is below zero, is not meant for them.

Images may have any size: a map is padded at the bottom and on the right to whole
windows, as torchvision pads it.
"""

import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jood.models import layers
from jood.models import vit
from jood.models.family import Family

_EPSILON = 1e-5  # of the LayerNorms
_FAR = -100.0  # added to the dot products of patches that are no neighbours
_WIDER = 4  # the hidden layer of a block's perceptron, in widths of the block


class Block(nn.Module):
    """Attention within windows and a two-layer perceptron, each behind a LayerNorm.

    `window` is the side of a window and `shift` how far windows are shifted, both in
    patches.
    """

    heads: int
    window: int
    shift: int
    kit: layers.Kit

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        *_, height, width, channels = x.shape
        dense = functools.partial(_dense, self.kit)
        windows = _Windows(height, width, self.window, self.shift)
        table = self.param(
            "position_bias",
            nn.initializers.truncated_normal(0.02),
            ((2 * self.window - 1) ** 2, self.heads),
            self.kit.param_dtype,
        )
        bias = jnp.moveaxis(table[_offsets(self.window)], -1, 0)[None]
        apart = jnp.where(windows.neighbours(), 0.0, _FAR)[:, None]
        bias = (bias + apart).astype(x.dtype)  # [windows, heads, T, T]
        attend = functools.partial(jax.nn.dot_product_attention, bias=bias)

        y = windows.cut(_norm(self.kit, "norm1")(x))  # [B, windows, T, C]
        qkv = dense(3 * channels, "qkv")(y)
        qkv = qkv.reshape(*y.shape[:-1], 3, self.heads, channels // self.heads)
        y = jax.vmap(attend)(*(qkv[..., i, :, :] for i in range(3)))
        y = dense(channels, "out")(y.reshape(*y.shape[:-2], channels))
        x = x + windows.joined(y)

        y = dense(_WIDER * channels, "mlp1")(_norm(self.kit, "norm2")(x))
        return x + dense(channels, "mlp2")(nn.gelu(y, approximate=False))


class _Windows(NamedTuple):
    """A map's windows of T = side² patches, shifted by so many patches.

    The map is padded to whole windows, then rolled, which wraps it around.
    """

    height: int
    width: int
    side: int
    shift: int

    def sizes(self) -> list[int]:
        """Height and width of the padded map."""
        return [-(-n // self.side) * self.side for n in (self.height, self.width)]

    def shifts(self) -> list[int]:
        """How far along both axes; one that is a single window is not rolled."""
        return [self.shift if n > self.side else 0 for n in self.sizes()]

    def cut(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, windows, T, C]."""
        down, right = self.sizes()
        ends = [(0, down - self.height), (0, right - self.width)]
        x = jnp.pad(x, [(0, 0), *ends, (0, 0)])
        back = [-shift for shift in self.shifts()]
        return self._split(jnp.roll(x, back, axis=(1, 2)))

    def joined(self, x: jax.Array) -> jax.Array:
        """The inverse of `cut`."""
        (down, right), side = self.sizes(), self.side
        x = x.reshape(len(x), down // side, right // side, side, side, x.shape[-1])
        x = x.swapaxes(2, 3).reshape(len(x), down, right, x.shape[-1])
        x = jnp.roll(x, self.shifts(), axis=(1, 2))
        return x[:, : self.height, : self.width]

    def neighbours(self) -> np.ndarray:
        """Whether two patches of a window are not wrapped apart; [windows, T, T]."""
        rows, columns = (
            np.arange(size) >= size - shift
            for size, shift in zip(self.sizes(), self.shifts(), strict=True)
        )
        part = 2 * rows[:, None] + columns[None]  # [H, W]
        own = self._split(part[None, ..., None])[0]  # [windows, T, 1]
        return own == own.transpose(0, 2, 1)

    def _split(self, x: Any) -> Any:
        batch, height, width, channels = x.shape
        side = self.side
        x = x.reshape(batch, height // side, side, width // side, side, channels)
        return x.swapaxes(2, 3).reshape(batch, -1, side**2, channels)


class Merging(nn.Module):
    """Joins 2 x 2 neighbours: [B, H, W, C] -> [B, H / 2, W / 2, 2 C], rounded up."""

    kit: layers.Kit

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _, height, width, channels = x.shape
        x = jnp.pad(x, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)])
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        x = _norm(self.kit, "norm")(jnp.concatenate(corners, axis=-1))
        return _dense(self.kit, 2 * channels, "reduction", use_bias=False)(x)


class Swin(nn.Module):
    """A Swin Transformer classifier.

    Attributes:
      depths: number of blocks of each of the four stages.
      heads: number of attention's heads of each stage.
      num_classes: K; 0 is a backbone without a head, which returns the feature [B, D].
      width: channels of C2, a multiple of the first stage's heads; D = 8 `width`.
      window: side of a window in patches.
      patch: side of a patch in pixels.
      dtype, param_dtype: Types of the computation and of the parameters; see `layers`.
    """

    depths: tuple[int, ...]
    heads: tuple[int, ...]
    num_classes: int
    width: int = 96
    window: int = 7
    patch: int = 4
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        layers.check_dtype(self.dtype)
        if not len(self.depths) == len(self.heads) == 4 or min(self.depths) < 1:
            expected = "depths and heads must each name 4 stages of at least one block"
            raise ValueError(f"{expected}, got {self.depths=}, {self.heads=}.")
        for name in ("width", "window", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}.")
        widths = [self.width * 2**i for i in range(4)]
        if any(h < 1 or w % h for w, h in zip(widths, self.heads, strict=True)):
            expected = f"heads must divide the stages' widths {widths}"
            raise ValueError(f"{expected}, got {self.heads}.")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Maps images float [B, H, W, 3] to logits float32 [B, K].

        `train` has no effect: there is no dropout, no stochastic depth and no
        BatchNorm.
        """
        kit = layers.kit(self, train)
        patch = (self.patch, self.patch)
        x = nn.Conv(
            self.width, patch, patch, padding="VALID", name="patch_embedding",
            **kit.types,
        )(images)  # fmt: skip
        x = _norm(kit, "patch_norm")(x)
        stages = layers.stages(4)
        for name, depth, heads in zip(stages, self.depths, self.heads, strict=True):
            if name != stages[0]:
                x = Merging(kit, name=f"{name}_merging")(x)
            for i in range(depth):
                shift = self.window // 2 if i % 2 else 0
                x = Block(heads, self.window, shift, kit, name=f"{name}_block{i + 1}")(
                    x
                )
            if name == stages[-1]:
                x = _norm(kit, "norm")(x)
            x = vit.Tokens(name=name)(x)
        feature = layers.pooled(x)
        classes = self.num_classes
        return layers.linear(kit, feature, classes) if classes else feature


def _offsets(side: int) -> np.ndarray:
    """For two patches of a window, the row of the table that has their bias [T, T]."""
    y, x = np.divmod(np.arange(side**2), side)
    down, right = (p[:, None] - p[None] + side - 1 for p in (y, x))
    return down * (2 * side - 1) + right


def _norm(kit: layers.Kit, name: str) -> nn.LayerNorm:
    return vit.layer_norm(kit, name, _EPSILON)


def _dense(
    kit: layers.Kit, features: int, name: str, use_bias: bool = True
) -> nn.Dense:
    init = nn.initializers.truncated_normal(0.02)
    return nn.Dense(features, use_bias, kernel_init=init, name=name, **kit.types)


_TINY = functools.partial(Swin, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24))
FAMILY = Family(Swin, {"swin_t": _TINY}, fewest_classes=0)
