"""Batches of a source on all devices, read and sent ahead, with a progress bar."""

from collections.abc import Iterator
import dataclasses
import functools

import jax
import tqdm

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
    disable: bool | None  # whether to draw none; None draws it on a terminal only

    def __iter__(self) -> Iterator[Batch]:
        put = functools.partial(sharding.shard_batch, mesh=self.mesh)
        sent, total = prefetched(self.timed, put), len(self.batches)
        bar = tqdm.tqdm(sent, self.what, total, unit="batch", disable=self.disable)
        return iter(bar)

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
