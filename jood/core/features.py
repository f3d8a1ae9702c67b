"""Features: the kept part of a pass over a batch, and the passes over a data set.

Many statistics read the penultimate features only. A record is rebuilt from them and
the classifier head alone, without the network; `Reader` takes them from a cache and
runs the network on the batches that it lacks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import itertools
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jood._utils import compiling
from jood.core import activations
from jood.core import finiteness
from jood.core.activations import Activations
from jood.core.component import Statistic
from jood.core.ood_head import OodHead

Run = tuple[str, ...]  # specs of the stage edits; () is the plain run

# (variables, batch) -> activations and mask, float32 [B]; runs under jit.
Observer = Callable[[Any, Any], tuple[Activations, jax.Array]]


class Features(NamedTuple):
    """The kept part of a batch."""

    runs: dict[Run, Any]  # penultimate features float32 [B, D]
    mask: Any  # float32 [B], 0 for padding
    labels: Any = None  # int32 [B]

    @classmethod
    def of(cls, acts: Activations, mask: jax.Array) -> "Features":
        """Takes the features out of a record."""

        def runs(record: Activations, run: Run) -> dict[Run, Any]:
            features = {run: record.penultimate}
            for spec, edited in record.edited.items():
                features |= runs(edited, (*run, spec))
            return features

        labels = None if acts.labels is None else acts.labels.astype(jnp.int32)
        return cls(runs(acts, ()), mask.astype(jnp.float32), labels)

    def record(
        self,
        kernel: jax.Array,
        bias: jax.Array,
        ood_head: OodHead | None = None,
        heads: Mapping[str, Any] | None = None,
    ) -> Activations:
        """Returns the record, without maps, that they were taken out of."""

        def build(run: Run, plain: Mapping[str, Any]) -> Activations:
            record = Activations.of(
                self.runs[run], kernel, bias, ood_head=ood_head, heads=heads
            )
            plain = plain or {  # its prediction and features stay with edited runs
                "labels": self.labels,
                "prediction": record.prediction,
                "original": record.original,
            }
            below = [r for r in self.runs if r and r[:-1] == run]
            return record.replace(
                edited={r[-1]: build(r, plain) for r in below}, **plain
            )

        return build((), {})


class Cache(Protocol):
    """Where features are kept; `jood.detector.feature_cache.FeatureCache` is one."""

    @property
    def count(self) -> int | None:
        """Number of batches of the data set, once that is known."""

    def has_batch(self, index: int) -> bool:
        """Whether a batch is there."""

    def read(self, index: int) -> Features | None:
        """Returns a batch, or None if it is missing."""

    def write(self, index: int, features: Features) -> None:
        """Keeps a batch."""

    def finish(self, count: int) -> None:
        """Notes the number of batches."""


def kept(head: Any, features: Features) -> tuple[Activations, jax.Array]:
    """Returns the record and its mask: the head is applied again, not the network."""
    return features.record(*head), features.mask


class Reader:
    """The features of a source, as many times as they are iterated."""

    def __init__(
        self,
        observer: Observer,
        variables: Any,
        source: Iterable[Any],
        first: Any,
        cache: Cache | None = None,
    ):
        """Reads nothing yet; `first` is the first batch of the source, for shapes.

        Without a cache the network runs in every iteration.
        """
        self._variables, self._source, self._first = variables, source, first
        self._cache, self._head = cache, None

        def observe(variables: Any, batch: Any) -> tuple[Features, Any, Any]:
            acts, mask = observer(variables, batch)
            head = acts.kernel, acts.bias, acts.ood_head, acts.heads
            return Features.of(acts, mask), finite(acts, mask), head

        self._observe, self._run = observe, compiling.jit(observe)

    def __iter__(self) -> Iterator[Features]:
        """Yields the features of each batch; the network runs on missing ones only.

        Raises:
          ValueError: a feature is NaN or infinite (the message names the rows), or the
            source is not the one that the cache was filled from.
          OSError: the cache cannot be written.
        """
        cache = self._cache
        batches: Iterator[Any] | None = None  # not begun where the cache is complete
        position = 0  # of the batch that comes next
        rows_before = 0  # this batch
        count = cache.count if cache else None
        for index in itertools.count():
            if index == count:
                return
            features = cache.read(index) if cache else None
            if features is None:
                batches = iter(self._source) if batches is None else batches
                position += sum(1 for _ in itertools.islice(batches, index - position))
                batch = next(batches, None) if position == index else None
                if batch is None:
                    if cache:
                        cache.finish(position)  # refuses a source that is too short
                    return
                position += 1
                features, rows, head = self._run(self._variables, batch)
                self._keep_head(head)
                finiteness.check(rows, rows_before)
                if cache:
                    cache.write(index, features)
                    features = jax.device_get(features)
            rows_before += len(features.mask)
            yield features

    @property
    def head(self) -> Any:
        """The heads: kernel [D, K], bias [K], the OOD head or None, and others."""
        if self._head is None:  # the network did not run, and compiles to nothing here
            read = jax.jit(lambda *inputs: self._observe(*inputs)[2])
            self._keep_head(read(self._variables, self._first))
        return self._head

    def _keep_head(self, head: Any) -> None:
        if self._head is None:
            # Where the features are: what was stored comes from the host.
            self._head = jax.device_put(jax.device_get(head)) if self._cache else head

    def suffices(self, statistic: Statistic) -> bool:
        """Whether a statistic reads no map and no network."""

        def once(head: Any, features: Features) -> Any:
            acts, mask = kept(head, features)
            return statistic.update(statistic.init(acts), acts, mask)

        features, _, head = jax.eval_shape(self._run, self._variables, self._first)
        try:
            jax.eval_shape(once, head, features)
        except activations.MissingStageError:
            return False
        return True


def finite(
    acts: Activations, mask: jax.Array, stages: Iterable[str] = ()
) -> finiteness.Report:
    """Returns what is finite or padding; see `finiteness.of_run`."""
    report = finiteness.of_run(acts, stages)
    return {k: v | (mask == 0) if v.ndim else v for k, v in report.items()}
