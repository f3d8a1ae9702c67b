"""The embedded benchmarks: their sets, and the functions that paint them."""

import dataclasses
import functools

from jood.data.benchmarks import opening
from jood.data.benchmarks import painted_digits
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.benchmarks.spec import BenchmarkSpec


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


# A sixth of the data: to try a job end to end, not to compare methods.
_tiny = functools.partial(
    painted_digits.digits, train_copies=1, test_copies=1, ood_size=64
)
_DIGITS = BenchmarkSpec(
    name="digits",
    title="digits 0 to 7 on a photograph, embedded",
    id_train=_set("digits_train", "digits 0-7, six times each", 6_060),
    id_test=_set("digits_test", "other digits 0-7, three times each", 1_299),
    ood=_ood(1_000),
    near=("near",),
    class_names=painted_digits.CLASS_NAMES,
    num_classes=painted_digits.ID_DIGITS,
    preprocessing={"digits": painted_digits.PREPROCESSING},
    image_size=32,
    protocol="ID: digits 0-7 on a photograph, disjoint from OOD.",
    paper="jood.data.benchmarks.painted_digits",
    open=opening.made_by(painted_digits.digits),
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
        open=opening.made_by(_tiny),
    ),
)
