"""Images that show no ID class, without any OOD set: what `jood.select` chooses on.

The papers draw Gaussian noise (HIMPLoS, Sec. V-F; Feature Sim, App. A.1), which many
networks separate from images without a mistake, so that it ranks nothing. The other
kinds are made from ID images and keep some of what makes those images ID;
`docs/selection.md` shows how well each ranks detectors.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import ndimage

from jood._utils import unknown_name
from jood.core.batch import Batch

NOISE = "noise"
GRID = 4  # pieces per side of a jigsaw puzzle
BLUR = 1 / 16  # standard deviation of the blur as a fraction of the shorter side

# (random numbers, images float32 [N, H, W, C]) -> images float32 [N, H, W, C]
Make = Callable[[np.random.Generator, np.ndarray], np.ndarray]


class NormalisedBatch(NamedTuple):
    """Floating images [B, H, W, C] in the network's own units, and their mask [B]."""

    image: jax.Array
    mask: Any


def _blurred(_: np.random.Generator, images: np.ndarray) -> np.ndarray:
    sigma = BLUR * min(images.shape[1:3])
    return ndimage.gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest")


def _shuffled(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    count, height, width, channels = images.shape
    pixels = images.reshape(count, height * width, channels)
    order = rng.random((count, height * width, 1)).argsort(axis=1)
    return np.take_along_axis(pixels, order, axis=1).reshape(images.shape)


def _jigsaw(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    count, height, width, channels = images.shape
    if min(height, width) < GRID:
        raise ValueError(
            f"a jigsaw puzzle has {GRID} x {GRID} pieces, but the images have "
            f"{height} x {width} pixels. Choose on another kind of images."
        )
    high, wide = height // GRID, width // GRID
    puzzles = images.copy()  # rows and columns beyond the last piece stay
    inner = puzzles[:, : GRID * high, : GRID * wide]
    pieces = inner.reshape(count, GRID, high, GRID, wide, channels)
    pieces = pieces.swapaxes(2, 3).reshape(count, GRID * GRID, high, wide, channels)
    order = rng.random((count, GRID * GRID)).argsort(axis=1)[..., None, None, None]
    pieces = np.take_along_axis(pieces, order, axis=1)
    pieces = pieces.reshape(count, GRID, GRID, high, wide, channels).swapaxes(2, 3)
    inner[...] = pieces.reshape(inner.shape)
    return puzzles


def _mixed(_: np.random.Generator, images: np.ndarray) -> np.ndarray:
    return (images + np.roll(images, 1, axis=0)) / 2


# The kinds that are made from ID images, by name; noise is not.
MAKERS: dict[str, Make] = {
    "blur": _blurred,
    "pixels": _shuffled,
    "jigsaw": _jigsaw,
    "mixed": _mixed,
}
KINDS = (NOISE, *MAKERS)
MEANINGS = {
    NOISE: "Gaussian noise, N(0, 1) per normalised pixel, as in the papers",
    "blur": "ID images, blurred by a 16th of their shorter side",
    "pixels": "ID images whose pixels are shuffled",
    "jigsaw": f"ID images whose {GRID} x {GRID} pieces are shuffled",
    "mixed": "means of two ID images",
}


def check(kinds: Sequence[str]) -> None:
    """Raises ValueError unless `kinds` names at least one kind, each known and once."""
    if isinstance(kinds, str) or not kinds:
        raise ValueError(
            f"the kinds of images to choose on must be a list of {', '.join(KINDS)}, "
            f"got {kinds!r}; ('noise',) is the papers'."
        )
    for kind in kinds:
        if kind not in KINDS:
            raise unknown_name.unknown("kind of images to choose on", kind, KINDS)
    if len({*kinds}) < len(kinds):
        raise ValueError(f"each kind can be named once, got {', '.join(kinds)}.")


@dataclasses.dataclass(frozen=True, eq=False)
class Outliers:
    """Batches of one kind, as many and as large as those of ID images.

    Attributes:
      kind: one of `KINDS`.
      like: batches of ID images, uint8 in 0..255 or floating in the network's units;
        can be iterated again. 'mixed' pairs neighbours of a batch, so images that are
        sorted by class should be shuffled.
      seed: seed of everything that is random; equal seeds make equal images.
    """

    kind: str
    like: Iterable[Batch]
    seed: int

    def __iter__(self) -> Iterator[Batch | NormalisedBatch]:
        for index, batch in enumerate(self.like):
            if self.kind == NOISE:
                key = jax.random.fold_in(jax.random.key(self.seed), index)
                noise = jax.random.normal(key, batch.image.shape)
                yield NormalisedBatch(noise, batch.mask)
            else:
                rng = np.random.default_rng([self.seed, index])
                yield batch._replace(image=self._outliers(rng, batch))

    def _outliers(self, rng: np.random.Generator, batch: Batch) -> np.ndarray:
        """The batch's images changed; padded rows stay as they are."""
        images = np.array(batch.image)
        real = np.asarray(batch.mask) > 0
        outliers = MAKERS[self.kind](rng, images[real].astype(np.float32))
        if images.dtype == np.uint8:
            outliers = np.rint(outliers).clip(0, 255)
        images[real] = outliers.astype(images.dtype)
        return images
