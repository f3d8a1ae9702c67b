"""Inverted residuals, which MobileNets are made of, and where their stages end.

A block widens the map with a 1x1 convolution, filters each channel for itself and
narrows it again with a 1x1 convolution that has no activation (a linear bottleneck).
So no block returns an activated map, and a stage ends inside one: after the expansion
of the next block that halves the map. That block has no shortcut, so all later layers
read the expanded map and nothing before it.
"""

from collections.abc import Callable, Sequence
import functools
import itertools
import math
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jood.models import layers

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "linear": lambda x: x,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "hard_swish": nn.hard_swish,  # x * relu6(x + 3) / 6, negative down to -3/8
}


class Row(NamedTuple):
    """One block of a network."""

    expanded: int  # channels inside
    features: int  # channels that it returns
    stride: int = 1  # or 2
    kernel: int = 3  # side of its depthwise convolution
    gated: bool = False  # whether a squeeze-and-excitation gate follows that
    activation: str = "relu6"  # a key of `ACTIVATIONS`; its last convolution has none


class Depthwise(nn.Module):
    """A convolution of each channel for itself; parameters as those of `nn.Conv`.

    It is written as a sum of shifted maps: on CPUs, XLA's own is far slower.
    """

    kernel: int
    stride: int
    kit: layers.Kit

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, 1, x.shape[-1])
        weight = self.param("kernel", layers.conv_init, shape, self.kit.param_dtype)
        weight = weight.astype(jnp.float32)
        height, width = (math.ceil(side / self.stride) for side in x.shape[1:3])
        pads = layers.pads(self.kit, self.kernel, self.stride, x.shape[1:3])
        x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
        taps = [
            # [B, H, W, C] x [1, 1, 1, C], summed in float32
            x[:, i :: self.stride, j :: self.stride][:, :height, :width]
            * weight[i, j][None, None]
            for i, j in np.ndindex(self.kernel, self.kernel)
        ]
        return functools.reduce(jnp.add, taps).astype(self.kit.dtype)


class ConvNorm(nn.Module):
    """A convolution ('conv'), BatchNorm ('bn') and an activation."""

    features: int
    kit: layers.Kit
    activation: str
    kernel: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        sizes = self.features, self.kernel, self.stride
        x = layers.conv_norm(self.kit, "conv", *sizes)(x)
        return ACTIVATIONS[self.activation](x)


class Block(nn.Module):
    """An inverted residual, or the part of one that a stage holds.

    `part` is 'whole', 'expansion' (the first convolution) or 'rest'.
    """

    row: Row
    kit: layers.Kit
    part: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        row, kit, y = self.row, self.kit, x
        if self.part != "rest" and x.shape[-1] != row.expanded:
            y = ConvNorm(row.expanded, kit, row.activation, name="expand")(y)
        if self.part == "expansion":
            return y
        y = Depthwise(row.kernel, row.stride, kit, name="depthwise")(y)
        y = ACTIVATIONS[row.activation](layers.batch_norm(kit, "depthwise_bn")(y))
        if row.gated:
            size, gate = rounded(row.expanded / 4), nn.hard_sigmoid
            y = layers.SqueezeExcitation(size, kit, gate, name="gate")(y)
        y = ConvNorm(row.features, kit, "linear", name="project")(y)
        shortcut = self.part == "whole" and row.stride == 1 and x.shape == y.shape
        return x + y if shortcut else y


class Stage(nn.Module):
    """Blocks from inside one that halves the map to inside the next one.

    `rows` has all blocks of which it holds a part; `number` counts the first, from 1.
    """

    rows: tuple[Row, ...]
    number: int
    kit: layers.Kit

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, row in enumerate(self.rows):
            part = "rest" if i == 0 and self.number > 1 else "whole"
            part = "expansion" if i == len(self.rows) - 1 else part
            x = Block(row, self.kit, part, name=f"block{self.number + i}")(x)
        return x


def pooled_map(
    rows: Sequence[Row], kit: layers.Kit, stem: int, act: str, images: jax.Array
) -> jax.Array:
    """Maps images float [B, H, W, 3] to the mean of C5, float32 [B, C].

    It is called inside a network's `__call__`; `stem` is the number of channels of the
    3x3 convolution of stride 2 before the blocks, `act` its activation.
    """
    x = ConvNorm(stem, kit, act, kernel=3, stride=2, name="stem")(images)
    for name, (first, last) in ranges(rows).items():
        x = Stage(tuple(rows[first - 1 : last]), first, kit, name=name)(x)
    return layers.pooled(x)


def ranges(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Returns the first and last block of each stage, numbered from 1.

    The last row stands for the 1x1 convolution that ends the network, an expansion that
    no block follows. A block that two stages share is in both: the earlier one holds
    its expansion.
    """
    halving = [number for number, row in enumerate(rows, start=1) if row.stride == 2]
    ends = [*halving[1:], len(rows)]  # the first halves the map to stride 4, in C2
    names = layers.stages(len(ends))
    return dict(zip(names, itertools.pairwise([1, *ends]), strict=True))


def rounded(channels: float) -> int:
    """Returns the nearest multiple of 8 that is not below 90 % of `channels`."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def repeated(
    table: Sequence[tuple[int, ...]], width: float, channels: int
) -> list[Row]:
    """Returns the blocks of a table in which lines stand for several blocks.

    Args:
      table: lines (factor of the expansion, channels, number of blocks, stride of the
        first), and perhaps the side of the depthwise kernel.
      width: multiplier of the channels.
      channels: number of channels that the stem returns.
    """
    rows = []
    for expansion, features, repeats, first_stride, *side in table:
        features, kernel = rounded(features * width), side[0] if side else 3
        for stride in (first_stride, *[1] * (repeats - 1)):
            rows.append(Row(expansion * channels, features, stride, kernel))
            channels = features
    return rows


def check_fields(dtype: str, width: float, dropout: float = 0.0) -> None:
    """Raises ValueError if a network cannot have such fields."""
    layers.check_dtype(dtype)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout!r}.")
    if not width >= 0.25:
        raise ValueError(f"width must be a multiplier >= 0.25, got {width!r}.")
