"""The embedded benchmarks: what they consist of, and how they are made."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks import choose_preprocessing
from jood.data.benchmarks import painted_digits
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.benchmarks.spec import Benchmark
from jood.data.benchmarks.spec import BenchmarkSpec
from jood.data.sources.resized import Fitted


def _set(name: str, title: str, size: int) -> SetSpec:
    return SetSpec(
        name=name,
        title=title,
        size=size,
        places=(),
        url="https://scikit-learn.org",
        licence="digits: CC BY 4.0; photographs: CC BY 2.0",
        how="ships with scikit-learn and is painted when it is read",
    )


def _ood(size: int) -> tuple[SetSpec, ...]:
    return (
        _set("near", "the digits 8 and 9", size),
        _set("background", "the photograph without a digit", size),
        _set("other_photo", "another photograph", size),
        _set("gaussian", "Gaussian noise", size),
        _set("uniform", "uniform noise", size),
    )


_DIGITS = BenchmarkSpec(
    name="digits",
    title="digits 0 to 7 on a photograph, embedded",
    id_train=_set("digits_train", "digits 0-7, six times each", 6_060),
    id_test=_set("digits_test", "other digits 0-7, three times each", 1_299),
    ood=_ood(1_000),
    near=("near",),
    class_names=tuple(str(digit) for digit in range(painted_digits.ID_DIGITS)),
    num_classes=painted_digits.ID_DIGITS,
    preprocessing={"digits": painted_digits.PREPROCESSING},
    image_size=32,
    protocol="ID: digits 0-7 on a photograph, disjoint from OOD.",
    paper="jood.data.benchmarks.painted_digits",
)
SPECS = (
    _DIGITS,
    dataclasses.replace(
        _DIGITS,
        name="digits_tiny",
        title="a sixth of digits, to try a job end to end",
        id_train=_set("digits_tiny_train", "digits 0-7, once each", 1_010),
        id_test=_set("digits_tiny_test", "other digits 0-7, once each", 433),
        ood=_ood(64),
    ),
)
_FACTORIES: dict[str, Callable[..., Benchmark]] = {
    "digits": painted_digits.digits,
    # A sixth of the data: to try a job end to end, not to compare methods.
    "digits_tiny": functools.partial(
        painted_digits.digits,
        name="digits_tiny",
        train_copies=1,
        test_copies=1,
        ood_size=64,
    ),
}


def open_benchmark(
    spec: BenchmarkSpec,
    *,
    image_size: int | None = None,
    preprocessing: Preprocessing | str | None = None,
    ood: Sequence[str] | None = None,
    **options: Any,
) -> Benchmark:
    """Paints a benchmark; see `benchmarks.get`.

    A preprocessing that resizes or crops is applied to what is painted, so that a
    network keeps its own.
    """
    if image_size is not None:
        options["image_size"] = image_size
    made = _FACTORIES[spec.name](**options)
    if preprocessing is not None:
        made = _with(made, choose_preprocessing.choose(spec, preprocessing))
    if ood is None:
        return made
    choose_preprocessing.check_ood(spec, ood)
    return dataclasses.replace(made, ood={name: made.ood[name] for name in ood})


def _with(made: Benchmark, preprocessing: Preprocessing) -> Benchmark:
    made = dataclasses.replace(made, preprocessing=preprocessing)
    if preprocessing.resize is None and preprocessing.crop is None:
        return made
    side = choose_preprocessing.side(preprocessing)
    return dataclasses.replace(
        made,
        id_train=Fitted(made.id_train, preprocessing),
        id_test=Fitted(made.id_test, preprocessing),
        ood={name: Fitted(source, preprocessing) for name, source in made.ood.items()},
        image_size=side,
    )
