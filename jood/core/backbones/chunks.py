"""Chunks: on CPUs, a network runs on a few images at a time, inside one program.

The maps of a whole batch leave the processor's caches between two layers; those of a
few images stay there. So `lax.map` takes one chunk after the other, and puts features
and maps together again, those that someone reads.

A chunk takes the same number of images from each device's share of a sharded batch,
which therefore stays where it is.
"""

from collections.abc import Callable
import math
from typing import Any, TypeVar

import jax
from jax import lax
import jax.numpy as jnp

from jood._utils import affinity

T = TypeVar("T")  # pytree of arrays [B, ...]
V = TypeVar("V")  # pytree of arrays

_SMALL = 64  # pixels of a side


def number(shape: tuple[Any, ...]) -> int:
    """Returns how many chunks images [B, H, W, C] are cut into; 1 leaves them whole.

    All have the same size: two images for each core, of small images four, or down to
    half as many where that divides B. A batch stays whole if nothing does, as of a
    prime B; if it is less than two chunks; and if B is not known, as in an exported
    program for any B.

    JAX's default backend decides, at the time of tracing: a program with a fixed B that
    is traced on a CPU and exported for a GPU is correct there, but has chunks.
    """
    batch, height, width, _ = shape
    if jax.default_backend() != "cpu" or not isinstance(batch, int):
        return 1
    share, rest = divmod(batch, jax.device_count())
    share = batch if rest else share  # such a batch is on one device
    images = 4 if max(height, width) <= _SMALL else 2  # `jood measure_forward`
    most = images * affinity.cores() // jax.local_device_count()
    sizes = [n for n in range(max(most // 2, 2), most + 1) if share % n == 0]
    return share // max(sizes) if sizes and share >= 2 * most else 1


def mapped(
    function: Callable[[V, jax.Array], T], variables: V, images: jax.Array, chunks: int
) -> T:
    """Returns `function(variables, images)`, each row of which depends on one image.

    Args:
      function: (variables, images [B / chunks, H, W, C]) -> arrays of as many rows.
      variables: Pytree of arrays, the same for all chunks.
      images: [B, H, W, C].
      chunks: Number of chunks; divides B.
    """
    batch = len(images)
    devices = math.gcd(jax.device_count(), batch // chunks)
    size = batch // chunks // devices  # images of a chunk on each device
    # The share of each device is contiguous: [devices, chunks, size, H, W, C].
    shares = images.reshape(devices, chunks, size, *images.shape[1:])

    def run(chunk: jax.Array) -> T:
        own, chunk = _held(variables, chunk)
        rows = function(own, chunk.reshape(devices * size, *chunk.shape[2:]))
        return jax.tree.map(lambda x: x.reshape(devices, size, *x.shape[1:]), rows)

    rows = lax.map(run, jnp.moveaxis(shares, 1, 0))
    return jax.tree.map(
        lambda x: jnp.moveaxis(x, 0, 1).reshape(batch, *x.shape[3:]), rows
    )


@jax.custom_jvp
def _held(variables: V, chunk: jax.Array) -> tuple[V, jax.Array]:
    """Returns its arguments, and keeps inside the loop what depends on variables alone.

    XLA would compute that before the loop, for the plain and each edited run by itself,
    and would no longer see that these runs share their first layers.
    """
    return lax.optimization_barrier((variables, chunk))


def _held_jvp(primals: Any, tangents: Any) -> Any:
    # Without the barrier, whose derivative keeps the variables once for each chunk.
    return primals, tangents


_held.defjvp(_held_jvp, symbolic_zeros=True)
