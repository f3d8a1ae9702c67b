"""Batches of a source on all devices, read and sent ahead, with a progress bar."""

from collections.abc import Iterator
import dataclasses
import functools

import jax

from jood._utils import progress
from jood._utils import sharding
from jood.core.batch import Batch
from jood.data.pipeline import EvaluationBatches
from jood.data.prefetch import Timed
from jood.data.prefetch import prefetched
from jood.data.sources import Source


@dataclasses.dataclass(frozen=True, eq=False)
class ShardedBatches:
    """Batches on a mesh of devices, to be iterated again and again."""

    batches: EvaluationBatches  # on the host
    timed: Timed  # the same, measured
    mesh: jax.sharding.Mesh
    what: str  # the text of the progress bar
    disable: bool | None  # whether to show none; see `progress.bar`

    def __iter__(self) -> Iterator[Batch]:
        put = functools.partial(sharding.shard_batch, mesh=self.mesh)
        sent, every = prefetched(self.timed, put), self.batches
        total = len(every.source)
        return progress.counted(sent, every.batch_size, self.what, total, self.disable)

    def fingerprint(self) -> str:
        """Returns that of the batches."""
        return self.batches.fingerprint()


def sharded(
    source: Source,
    batch_size: int,
    *,
    what: str = "",
    workers: int = 0,
    disable: bool | None = None,
) -> ShardedBatches:
    """Returns batches of a source, of `batch_size` images over all local devices.

    The options are as in `ShardedBatches` and `EvaluationBatches`.
    """
    every = EvaluationBatches(source, batch_size, workers=workers)
    return ShardedBatches(every, Timed(every), sharding.data_mesh(), what, disable)
