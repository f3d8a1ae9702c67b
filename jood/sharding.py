"""Data parallelism: batches split over a mesh axis 'data', the rest replicated.

No function of jood names the axis: `jit` over batches with these shardings lets XLA
insert the sums, so one device and many run the same code.
"""

from typing import Any

import jax
import numpy as np

from jood.batch import Batch


def data_mesh(devices: list[jax.Device] | None = None) -> jax.sharding.Mesh:
    """Returns a mesh with the one axis 'data' over all (or the given) devices."""
    devices = devices or jax.devices()
    # Auto axes: with the default, explicit ones, scatter-adds do not compile.
    auto = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((len(devices),), ("data",), auto, devices=devices)


def shard_batch(batch: Batch, mesh: jax.sharding.Mesh) -> Batch:
    """Puts a batch on the mesh, its first axis split over 'data'.

    With several JAX processes, each passes its rows of the global batch, as
    `jood.data.pipeline` yields them.

    Raises:
      ValueError: B is not divisible by the number of devices.
    """
    size = batch.image.shape[0] * jax.process_count()
    if size % mesh.devices.size:
        raise ValueError(
            f"batch_size must be divisible by the {mesh.devices.size} devices, "
            f"got {size}."
        )
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    if jax.process_count() > 1:
        return jax.tree.map(
            lambda part: jax.make_array_from_process_local_data(rows, np.asarray(part)),
            batch,
        )
    return jax.device_put(batch, rows)


def replicate(tree: Any, mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh) -> Any:
    """Puts every array of a pytree on all devices of the mesh."""
    return jax.device_put(
        tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    )


def replicate_like(tree: Any, batch: Any) -> Any:
    """Puts a pytree on all devices of the mesh that `batch` is on, if it is on one.

    A state that starts there has the sharding of what a step returns, so the step is
    compiled once.
    """
    for leaf in jax.tree.leaves(batch):
        if isinstance(leaf, jax.Array) and isinstance(
            leaf.sharding, jax.sharding.NamedSharding
        ):
            return replicate(tree, leaf.sharding.mesh)
    return tree
