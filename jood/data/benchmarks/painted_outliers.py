"""The embedded outliers, which networks see in training beside digits on photographs.

Half are crops of a photograph that the embedded benchmark does not hold (matplotlib's
portrait of Grace Hopper, public domain), half are textures: gratings, blobs and
checks of two random colours. No test set of the benchmark holds any of these.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from jood.data.benchmarks import painted_digits

NAME = "embedded"
SIZE = 3_000
_NUMBER = 100  # beside the sets of the benchmark, so that no two draw the same


def outliers(
    image_size: int = 32, seed: int = 0, size: int = SIZE
) -> painted_digits.PaintedSource:
    """Returns the embedded outliers: images uint8 [S, S, 3] without labels.

    Each is a function of (seed, index): the same on every machine.

    Args:
      image_size: S, their side in pixels.
      seed: Decides them.
      size: Number of images.
    """
    photo = _portrait()
    kinds = (_grating, _blobs, _checks)

    def paint(rng: np.random.Generator, index: int) -> np.ndarray:
        if index % 2:
            return painted_digits.random_crop(rng, photo, image_size)
        return _texture(rng, kinds[index // 2 % len(kinds)], image_size)

    return painted_digits.PaintedSource(paint, size, (seed, _NUMBER, image_size))


def _portrait() -> np.ndarray:
    """Grace Hopper, uint8 [H, W, 3]."""
    from matplotlib import cbook  # takes a second to import

    path = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


_Pattern = Callable[[np.random.Generator, int], np.ndarray]  # -> [S, S], in [0, 1]


def _texture(rng: np.random.Generator, pattern: _Pattern, size: int) -> np.ndarray:
    """A pattern between two random colours, and some noise."""
    share = pattern(rng, size)[..., None]
    dark, light = rng.uniform(0, 255, (2, 3))
    noise = rng.normal(0, rng.uniform(0, 20), (size, size, 3))
    pixels = share * light + (1 - share) * dark + noise
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def _turned(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the pixels after a random rotation, each [S, S], in 1 / S."""
    y, x = np.mgrid[:size, :size] / size
    angle = rng.uniform(0, np.pi)
    return (
        np.cos(angle) * x + np.sin(angle) * y,
        np.cos(angle) * y - np.sin(angle) * x,
    )


def _grating(rng: np.random.Generator, size: int) -> np.ndarray:
    """Waves of 2 to 10 periods a side."""
    across, _ = _turned(rng, size)
    phase = rng.uniform(0, 2 * np.pi)
    return 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(2, 10) * across + phase)


def _blobs(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise of 3 to 10 cells a side, enlarged."""
    cells = int(rng.integers(3, 11))
    coarse = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
    smooth = coarse.resize((size, size), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth), 0, 1)


def _checks(rng: np.random.Generator, size: int) -> np.ndarray:
    """A turned chessboard of 2 to 8 fields a side."""
    across, down = _turned(rng, size)
    fields = rng.uniform(2, 8)
    return (np.floor(fields * across) + np.floor(fields * down)) % 2
