"""Data parallelism: batches split over a mesh axis 'data', the rest replicated.

No function of jood names the axis: `jit` over batches with these shardings lets XLA
insert the sums, so one device and many run the same code. What is large may be split
over the same axis (`split`), which XLA gathers where it is used.
"""

import math
from typing import Any, TypeVar

import jax
from jax.experimental import multihost_utils
import numpy as np

T = TypeVar("T")  # a batch: a pytree of arrays [B, ...]
Mesh = jax.sharding.Mesh | jax.sharding.AbstractMesh

SPLIT_FROM = 1 << 14  # entries of an array that is worth splitting: 64 KiB of float32


def data_mesh(devices: list[jax.Device] | None = None) -> jax.sharding.Mesh:
    """Returns a mesh with the one axis 'data' over all (or the given) devices."""
    devices = devices or jax.devices()
    # Auto axes: with the default, explicit ones, scatter-adds do not compile.
    auto = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((len(devices),), ("data",), auto, devices=devices)


def shard_batch(batch: T, mesh: jax.sharding.Mesh) -> T:
    """Puts a batch on the mesh, its first axis split over 'data'.

    With several JAX processes, each passes its rows of the global batch, as
    `jood.data.pipeline` yields them.

    Raises:
      ValueError: B is not divisible by the number of devices.
    """
    size = jax.tree.leaves(batch)[0].shape[0] * jax.process_count()
    rows = split_rows(mesh, size)
    if jax.process_count() > 1:
        return jax.tree.map(
            lambda part: jax.make_array_from_process_local_data(rows, np.asarray(part)),
            batch,
        )
    return jax.device_put(batch, rows)


def split_rows(mesh: jax.sharding.Mesh, size: int) -> jax.sharding.NamedSharding:
    """Returns how `shard_batch` places arrays of so many rows, B in all.

    Raises:
      ValueError: B is not divisible by the number of devices.
    """
    devices = mesh.devices.size
    if size % devices:
        raise ValueError(
            f"batch_size must be divisible by the {devices} devices, got {size}."
        )
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))


def replicated(mesh: Mesh) -> jax.sharding.NamedSharding:
    """Returns the sharding of an array that every device of the mesh holds whole."""
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Puts every array of a pytree on all devices of the mesh."""
    return jax.device_put(tree, replicated(mesh))


def gathered(tree: Any, mesh: jax.sharding.Mesh) -> Any:
    """Returns arrays of the mesh as NumPy arrays, whole, in every process."""
    whole = jax.jit(lambda x: x, out_shardings=replicated(mesh))(tree)
    return jax.device_get(whole)


def on_host(tree: Any) -> Any:
    """Returns a pytree's arrays as NumPy arrays, whole, in every process."""

    def whole(leaf: Any) -> np.ndarray:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return np.asarray(leaf)
        if leaf.is_fully_replicated:
            return np.asarray(leaf.addressable_data(0))
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

    return jax.tree.map(whole, tree)


def split(tree: Any, mesh: jax.sharding.Mesh) -> Any:
    """Returns shardings that split every large array of a pytree over the mesh.

    Each is split along its longest axis that the number of devices divides; small
    ones, of which a share would cost more to gather than it saves, are replicated.
    """

    def sharding(leaf: Any) -> jax.sharding.NamedSharding:
        axes: list[str | None] = [None] * len(leaf.shape)
        fits = [a for a, n in enumerate(leaf.shape) if n % mesh.devices.size == 0]
        if fits and math.prod(leaf.shape) >= SPLIT_FROM:
            axes[max(fits, key=lambda axis: leaf.shape[axis])] = "data"
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))

    return jax.tree.map(sharding, tree)


def replicate_like(tree: Any, batch: Any) -> Any:
    """Puts a pytree on all devices of the mesh that `batch` is on, if it is on one.

    A state that starts there has the sharding of what a step returns, so the step is
    compiled once.
    """
    for leaf in jax.tree.leaves(batch):
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, jax.sharding.NamedSharding):
            return replicate(tree, sharding.mesh)
    return tree
