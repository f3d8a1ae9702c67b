"""The batches of a run, on their way to the devices: ID images and outliers.

Both streams are functions of (seed, step) alone, so that a run that stopped resumes
with exactly those that it would have seen.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jood._utils import sharding
from jood.core import activations
from jood.core.batch import Batch
from jood.data import pipeline
from jood.data.prefetch import prefetched
from jood.training.config import TrainConfig
from jood.training.data import TrainingData
from jood.training.periodic import Plan


class TrainingBatch(NamedTuple):
    """A `Batch` of ID images, and one of images that are not.

    Attributes:
      image: uint8 [B, H, W, C].
      label: int32 [B].
      mask: float32 [B].
      outliers: uint8 [M, H, W, C].
    """

    image: Any
    label: Any
    mask: Any
    outliers: Any


def read(
    config: TrainConfig,
    data: TrainingData,
    plan: Plan,
    start: int,
    mesh: jax.sharding.Mesh,
) -> Iterator[Any]:
    """Yields the batches from step `start` on, put on the mesh.

    Returns:
      `Batch`es, or `TrainingBatch`es for a run with outliers.

    Raises:
      ValueError: A label is not one of a class, or a batch cannot be spread.
    """

    def put(batch: Any) -> Any:
        activations.check_labels(batch.label, len(batch.label), len(data.class_names))
        if isinstance(batch, Batch):
            return sharding.shard_batch(batch, mesh)
        outliers = sharding.shard_batch(batch.outliers, mesh)  # of a size of their own
        ours = sharding.shard_batch(Batch(*batch[:3]), mesh)
        return TrainingBatch(ours.image, ours.label, ours.mask, outliers)

    how = {"steps": plan.total, "start": start, "workers": plan.keeping.workers}
    ours = pipeline.training_batches(
        data.train, config.batch_size, seed=config.seed, **how
    )
    if data.outliers is None:
        return prefetched(ours, put)
    size = _outliers_of(config)
    # Another seed, so that sets of equal size are not paired in the same order.
    others = pipeline.shuffled_batches(data.outliers, size, seed=config.seed + 1, **how)
    both = zip(ours, others, strict=True)
    return prefetched(
        (TrainingBatch(a.image, a.label, a.mask, b.image) for a, b in both), put
    )


def shapes(config: TrainConfig, data: TrainingData, mesh: jax.sharding.Mesh) -> Any:
    """Returns the shapes of such a batch, placed as `read` does, without reading one.

    Raises:
      ValueError: A batch cannot be spread over the devices.
    """

    def rows(size: int, dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
        where = sharding.split_rows(mesh, size)
        return jax.ShapeDtypeStruct((size, *shape), dtype, sharding=where)

    count = config.batch_size
    ours = Batch(
        rows(count, np.uint8, *data.train[0]["image"].shape),
        rows(count, np.int32),
        rows(count, np.float32),
    )
    if data.outliers is None:
        return ours
    shape = data.outliers[0]["image"].shape
    return TrainingBatch(*ours, rows(_outliers_of(config), np.uint8, *shape))


def _outliers_of(config: TrainConfig) -> int:
    return config.outlier_batch_size or config.batch_size
