"""Benchmarks: an ID set to train and test on, and named OOD sets to tell from it.

`get(name)` returns a `Benchmark`; `names()` lists them. All benchmarks are of this
one type, so whatever evaluates one evaluates all.
"""

from collections.abc import Callable
import functools
from typing import Any

from jood import names as names_lib
from jood.data import digits
from jood.data.benchmark import Benchmark as Benchmark

_BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "digits": digits.digits,
    # A sixth of the data: to try a job end to end, not to compare methods.
    "digits_tiny": functools.partial(
        digits.digits, name="digits_tiny", train_copies=1, test_copies=1, ood_size=64
    ),
}


def names() -> tuple[str, ...]:
    """Returns the names that `get` knows."""
    return tuple(_BENCHMARKS)


def get(name: str, **options: Any) -> Benchmark:
    """Returns a benchmark.

    Args:
      name: one of `names()`.
      **options: what the benchmark takes, such as `image_size` for 'digits'.

    Raises:
      ValueError: the name is unknown; the near ones are listed.
    """
    if name not in _BENCHMARKS:
        raise names_lib.unknown("benchmark", name, _BENCHMARKS)
    return _BENCHMARKS[name](**options)
