"""A benchmark with fewer images, for a first look at results that take long."""

import dataclasses

import numpy as np

from jood.data.benchmarks.spec import Benchmark
from jood.data.sources import Source
from jood.data.sources import subset
from jood.data.sources.absent import Absent


def with_at_most(
    benchmark: Benchmark, test: int | None = None, train: int | None = None
) -> Benchmark:
    """Returns a benchmark whose sets have at most so many images each.

    They are taken at even distances, so that classes in order are all there. The sets
    that lose some are among `incomplete`.

    Args:
      benchmark: The benchmark.
      test: Images of the ID test set, of each OOD set and of each covariate-shifted
        set; None keeps all.
      train: Images of the ID training set; None keeps all.
    """
    incomplete = dict(benchmark.incomplete)

    def fewer(name: str, source: Source, most: int | None) -> Source:
        if most is None or isinstance(source, Absent) or len(source) <= most:
            return source
        incomplete[name] = (
            f"{most:,} of {len(source):,} were asked for, at even distances"
        )
        return subset.part(source, np.arange(most) * len(source) // most)

    return dataclasses.replace(
        benchmark,
        id_train=fewer("id_train", benchmark.id_train, train),
        id_test=fewer("id_test", benchmark.id_test, test),
        ood={n: fewer(n, source, test) for n, source in benchmark.ood.items()},
        shifted={n: fewer(n, source, test) for n, source in benchmark.shifted.items()},
        incomplete=incomplete,
    )
