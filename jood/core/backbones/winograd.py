"""Winograd's F(2x2, 3x3): a 3x3 convolution with 2.25 times fewer products.

On a CPU XLA multiplies at nearly the processor's peak where a convolution has many
channels; what is left is to multiply less. 2x2 outputs take the 16 products of a
transformed tile with a transformed filter, in place of 36:

    Y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A.

Filters are transformed once for all chunks of a batch, so only batches that are cut
into chunks are convolved this way (`chunks`). The result is a plain convolution's up to
float error.

Lavin, Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, Sec. 4.1.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flax import linen as nn
from flax.linen import linear
import jax
import jax.numpy as jnp
import numpy as np

from jood.core.backbones import parts

COLLECTION = "winograd"  # of transformed filters by the module's path, in variables
# From so many channels, and locations times their square, fewer products pay for the
# transformations: `jood measure_forward` of ResNet-50 and WideResNet-28-10.
_FEWEST_CHANNELS = 64
_FEWEST_PRODUCTS = 1 << 20

Grid = Sequence[Sequence[Any]]  # of arrays: entry (i, j) of each tile, say


def filters(variables: Mapping[str, Any]) -> dict[str, dict[tuple[str, ...], Grid]]:
    """Returns the `transformed` kernels that are wide enough, by their module's path.

    A collection that is not for Flax, since its names are paths. Kernels of any stride
    are in it: XLA leaves out what is not used.
    """
    leaves = jax.tree_util.tree_leaves_with_path(variables.get("params", {}))
    named = {tuple(getattr(k, "key", "") for k in path): leaf for path, leaf in leaves}
    return {
        COLLECTION: {
            path[:-1]: transformed(kernel)
            for path, kernel in named.items()
            if path[-1] == "kernel" and _is_wide(kernel)
        }
    }


def transformed(kernel: jax.Array) -> Grid:
    """Returns G w Gᵀ of a kernel [3, 3, I, O]: 4x4 arrays [I, O]."""
    return _along_both(_of_filter, kernel)


def convolved(
    module: nn.Module,
    inputs: Sequence[Any],
    params: Mapping[str, Any],
    grids: Mapping[tuple[str, ...], Grid],
) -> jax.Array | None:
    """Returns what a module gives, if it is a convolution that this suits, else None.

    Args:
      module: Any module, bound, about to be called.
      inputs: Its arguments.
      params: The network's parameters.
      grids: The `transformed` kernels by their module's path; see `filters`.
    """
    u = grids.get(module.path)
    if u is None or type(module) is not nn.Conv or len(inputs) != 1:
        return None
    kernel: Any = module.get_variable("params", "kernel")
    if kernel is not parts.descend(params, (*module.path, "kernel")):
        return None  # another one, that WeightNorm has made of it, say
    if not _suits(module, inputs[0]):
        return None
    y = convolve(inputs[0], u)
    if module.use_bias:
        y = y + module.get_variable("params", "bias")[None, None, None]
    return y


def convolve(x: jax.Array, u: Grid) -> jax.Array:
    """The convolution of a map padded by 1, with transformed filters.

    Args:
      x: float32 [B, H, W, I]; H and W are even.
      u: 4x4 arrays, float32 [I, O]; see `transformed`.

    Returns:
      float32 [B, H, W, O].
    """
    _, height, width, _ = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tiles = [  # 4x4 arrays [B, H/2, W/2, I]
        [x[:, i : i + height - 1 : 2, j : j + width - 1 : 2] for j in range(4)]
        for i in range(4)
    ]
    products = [
        [jnp.matmul(d, w, precision="highest") for d, w in zip(*rows, strict=True)]
        for rows in zip(_along_both(_of_tile, tiles), u, strict=True)
    ]
    rows = [jnp.stack(row, axis=3) for row in _along_both(_of_output, products)]
    y = jnp.stack(rows, axis=2)  # [B, H/2, 2, W/2, 2, O]
    return y.reshape(-1, height, width, u[0][0].shape[-1])


def _of_filter(a: Any, b: Any, c: Any) -> tuple[Any, ...]:
    """G times a column of a filter."""
    ends, middle = (a + c) / 2, b / 2
    return a, ends + middle, ends - middle, c


def _of_tile(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, ...]:
    """Bᵀ times a column of a tile."""
    return a - c, b + c, c - b, b - d


def _of_output(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, ...]:
    """Aᵀ times a column of products."""
    return a + b + c, b - c - d


def _along_both(
    transform: Callable[..., tuple[Any, ...]], grid: Iterable[Iterable[Any]]
) -> Grid:
    """Transforms the columns of a grid, then its rows."""
    columns = [transform(*column) for column in zip(*grid, strict=True)]
    return [transform(*row) for row in zip(*columns, strict=True)]


def _is_wide(kernel: Any) -> bool:
    shape = np.shape(kernel)
    return (
        len(shape) == 4
        and shape[:2] == (3, 3)
        and min(shape[2:]) >= _FEWEST_CHANNELS
        and kernel.dtype == jnp.float32
    )


def _suits(module: nn.Conv, x: jax.Array) -> bool:
    """Whether a plain 3x3 convolution of a map is large enough."""
    if x.ndim != 4 or x.dtype != jnp.float32 or x.shape[1] % 2 or x.shape[2] % 2:
        return False
    padding = linear.canonicalize_padding(module.padding, 2)
    steps = module.strides, module.input_dilation, module.kernel_dilation
    plain = (
        (padding == "SAME" or padding == [(1, 1), (1, 1)])
        and all(np.all(np.equal(1 if step is None else step, 1)) for step in steps)
        and module.feature_group_count == 1
        and module.mask is None
        and module.conv_general_dilated is None
        and module.dtype in (None, jnp.float32)
    )
    least = min(x.shape[-1], module.features)
    return plain and x.shape[1] * x.shape[2] * least * least >= _FEWEST_PRODUCTS
