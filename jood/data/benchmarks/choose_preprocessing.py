"""Which preprocessing a network meets on a benchmark."""

from collections.abc import Sequence
import dataclasses

import jax

from jood._utils import unknown_name
from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks.spec import BenchmarkSpec


def choose(
    spec: BenchmarkSpec, preprocessing: Preprocessing | str | None
) -> Preprocessing:
    """Returns a preprocessing by name, the network's own, or the benchmark's first.

    Raises:
      ValueError: The name is unknown.
    """
    known = spec.preprocessing
    if isinstance(preprocessing, Preprocessing):
        return preprocessing
    name = next(iter(known)) if preprocessing is None else preprocessing
    if name not in known:
        raise unknown_name.unknown(f"preprocessing of {spec.name}", name, known)
    return known[name]


def side(preprocessing: Preprocessing) -> int:
    """Returns the side of the images, in pixels; ValueError unless they are square."""
    size = preprocessing.fixed_size
    if size is None or size[0] != size[1]:
        raise ValueError(
            "a benchmark's images must be squares of one size: give the preprocessing "
            f"a crop, or resize=(side, side); got {preprocessing}."
        )
    return size[0]


def for_files(
    spec: BenchmarkSpec,
    preprocessing: Preprocessing | str | None,
    image_size: int | None,
) -> Preprocessing:
    """Returns the preprocessing for images of any size.

    A network's own that neither resizes nor crops takes this from the benchmark.
    `image_size` is the side of the network's images in pixels, which then show the
    same part of an image; None keeps that of the preprocessing.

    Raises:
      ValueError: The images would not be squares of one size, or `image_size`
        contradicts the network's own resizing.
    """
    chosen, own = choose(spec, preprocessing), choose(spec, None)
    if chosen.resize is None and chosen.crop is None:
        chosen = dataclasses.replace(
            chosen, resize=own.resize, crop=own.crop, interpolation=own.interpolation
        )
        preprocessing = None  # the size is not the network's own
    pixels = side(chosen)
    if image_size is None or image_size == pixels:
        return chosen
    if isinstance(preprocessing, Preprocessing):
        raise ValueError(
            f"{image_size=}, but the preprocessing makes images of {pixels} pixels."
        )
    return _rescaled(chosen, image_size / pixels, image_size)


def _rescaled(preprocessing: Preprocessing, scale: float, size: int) -> Preprocessing:
    if preprocessing.crop is None:
        return dataclasses.replace(preprocessing, resize=(size, size))
    # The length of the shorter side, (height, width), or None.
    resize = jax.tree.map(lambda length: round(length * scale), preprocessing.resize)
    return dataclasses.replace(preprocessing, resize=resize, crop=size)


def check_ood(spec: BenchmarkSpec, ood: Sequence[str]) -> None:
    """Raises ValueError if a name is not an OOD or shifted set of the benchmark."""
    known = [one.name for one in (*spec.ood, *spec.extra, *spec.shifted)]
    if not ood:
        raise ValueError(f"ood must name at least one of {known}, or be None.")
    for name in ood:
        if name not in known:
            raise unknown_name.unknown(f"OOD set of {spec.name}", name, known)
