"""The embedded benchmark, digits on photographs: real images, no download.

Handwritten digits (UCI Optical Recognition of Handwritten Digits) are painted at
random size, place and colour over random crops of a photograph; both ship with
scikit-learn (BSD; the digits are CC BY 4.0). An object before an unrelated background
is the structure that Feature Sim, LFF and SSOD rest on, and the hardest far OOD set,
the background without an object, is the *spurious* OOD that these papers are about.

| set | what |
|---|---|
| id_train | 70 % of the digits 0-7, six times each, on the photograph's left half |
| id_test | the other 30 %, three times each, on its right half |
| near | digits 8 and 9, never seen, on the right half |
| background | crops of the right half without a digit |
| other_photo | crops of another photograph |
| gaussian | N(0, 1) per normalised pixel, clipped to the range of pixels |
| uniform | uniform in 0..255 per pixel |

Every example is a function of (seed, set, index): the same on every machine.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from jood._utils import fingerprinting
from jood.core.preprocessing import Preprocessing
from jood.data import sources
from jood.data.benchmarks.spec import Benchmark

ID_DIGITS = 8  # 0..7 are classes, 8 and 9 are near OOD
CLASS_NAMES = tuple(map(str, range(ID_DIGITS)))
TRAIN_SHARE = 0.7
IN_MEMORY_SIZE = 64  # up to this side, in pixels, sets are kept in memory
PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

_Paint = Callable[[np.random.Generator, int], np.ndarray]  # -> uint8 [H, W, 3]


@dataclasses.dataclass(frozen=True, eq=False)
class PaintedSource:
    """Examples that are painted when they are read; `key` and index decide them."""

    paint: _Paint
    size: int  # N
    key: tuple[int, int, int]  # seed, number of the set, image size
    labels: np.ndarray | None = None  # int [N]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Mapping[str, Any]:
        generator = np.random.default_rng([*self.key[:2], int(index)])
        example: dict[str, Any] = {"image": self.paint(generator, int(index))}
        if self.labels is not None:
            example["label"] = np.int32(self.labels[index])
        return example

    def fingerprint(self) -> str:
        """Returns what decides the examples."""
        labels = fingerprinting.array_digest(labels=self.labels)
        return f"digits on photographs {self.key}, {self.size} examples, {labels}"


def digits(
    image_size: int = 32,
    seed: int = 0,
    *,
    train_copies: int = 6,
    test_copies: int = 3,
    ood_size: int = 1000,
) -> Benchmark:
    """Returns the embedded benchmark.

    Args:
      image_size: Side of the canvas in pixels, at least 32.
      seed: Seed of the split of the digits and of every composite; >= 0.
      train_copies: Times that each training digit is painted.
      test_copies: Times that each test digit is.
      ood_size: Images per OOD set; at most 354 times `test_copies`, the near digits.

    Raises:
      ValueError: A number is out of range.
    """
    if image_size < 32:
        raise ValueError(f"image_size must be at least 32 pixels, got {image_size}.")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}.")
    if min(train_copies, test_copies, ood_size) < 1:
        counts = f"{train_copies=}, {test_copies=} and {ood_size=}"
        raise ValueError(f"copies and sizes must be at least 1, got {counts}.")
    glyphs, labels, photo, other = _load()
    train, test = _split(labels, seed)
    middle, shape = photo.shape[1] // 2, (image_size, image_size, 3)
    left, right = photo[:, :middle], photo[:, middle:]
    near = np.flatnonzero(labels >= ID_DIGITS)

    def composites(
        number: int, chosen: np.ndarray, background: np.ndarray, copies: int
    ) -> PaintedSource:
        order = np.repeat(chosen, copies)
        return PaintedSource(
            lambda rng, i: _composite(rng, glyphs[order[i]], background, image_size),
            len(order),
            (seed, number, image_size),
            labels[order],
        )

    def unlabelled(number: int, paint: _Paint) -> PaintedSource:
        return PaintedSource(paint, ood_size, (seed, number, image_size))

    def crops_of(image: np.ndarray) -> _Paint:
        return lambda rng, _: random_crop(rng, image, image_size)

    near_source = composites(2, near, right, test_copies)
    if (most := len(near_source)) < ood_size:
        raise ValueError(
            f"ood_size is at most {most} with {test_copies=}, got {ood_size}."
        )

    def keep(source: sources.Source) -> sources.Source:
        return sources.materialise(source) if image_size <= IN_MEMORY_SIZE else source

    ood = {
        "near": dataclasses.replace(near_source, size=ood_size, labels=None),
        "background": unlabelled(3, lambda rng, _: random_crop(rng, right, image_size)),
        "other_photo": unlabelled(
            4, lambda rng, _: random_crop(rng, other, image_size)
        ),
        "gaussian": unlabelled(5, lambda rng, _: _gaussian(rng, image_size)),
        "uniform": unlabelled(6, lambda rng, _: rng.integers(0, 256, shape, "u1")),
    }
    return Benchmark(
        name="digits",
        id_train=keep(composites(0, train, left, train_copies)),
        id_test=keep(composites(1, test, right, test_copies)),
        ood={name: keep(source) for name, source in ood.items()},
        near=("near",),
        class_names=CLASS_NAMES,
        preprocessing=PREPROCESSING,
        image_size=image_size,
        protocol=(
            "ID: digits 0-7 on a photograph, train and test disjoint in digits and "
            "in the photograph's half. Detectors are fitted on ID training images "
            f"only; {ood_size} images per OOD set."
        ),
    )


def _load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digits float32 [N, 8, 8] in [0, 1], their labels, and two photographs."""
    from sklearn import datasets  # takes a second to import

    loaded = datasets.load_digits()
    china, flower = datasets.load_sample_images().images
    return (loaded.images / 16.0).astype(np.float32), loaded.target, china, flower


def _split(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the ID digits for training and for testing, disjoint."""
    inside = np.flatnonzero(labels < ID_DIGITS)
    order = np.random.default_rng([seed, 99]).permutation(inside)
    train, test = np.split(order, [round(TRAIN_SHARE * len(order))])
    return train, test


def random_crop(rng: np.random.Generator, photo: np.ndarray, size: int) -> np.ndarray:
    """A random square of the photograph at its own resolution, perhaps mirrored.

    A canvas that is larger than the photograph takes the largest square, enlarged.
    """
    height, width = photo.shape[:2]
    side = min(size, height, width)
    top = int(rng.integers(0, height - side + 1))
    left = int(rng.integers(0, width - side + 1))
    image = photo[top : top + side, left : left + side]
    if side < size:
        image = _resized(image, size)
    return image[:, ::-1] if rng.random() < 0.5 else image


def _composite(
    rng: np.random.Generator, glyph: np.ndarray, photo: np.ndarray, size: int
) -> np.ndarray:
    """A digit painted over a crop: alpha blending with one colour."""
    canvas = random_crop(rng, photo, size).astype(np.float32)
    side = int(rng.integers(size // 2, size * 7 // 8 + 1))
    top, left = (int(v) for v in rng.integers(0, size - side + 1, 2))
    place = canvas[top : top + side, left : left + side]
    alpha = np.clip(_resized(glyph, side), 0.0, 1.0)[..., None]
    place[:] = alpha * _contrasting_colour(rng, place) + (1 - alpha) * place
    return np.round(canvas).astype(np.uint8)


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    resized = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def _contrasting_colour(rng: np.random.Generator, place: np.ndarray) -> np.ndarray:
    """A random colour that a person can distinguish from the background's mean."""
    background = place.mean(axis=(0, 1))
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - background) > 120:
            return colour.astype(np.float32)


def _gaussian(rng: np.random.Generator, size: int) -> np.ndarray:
    """N(0, 1) per normalised pixel, as bytes."""
    noise = rng.standard_normal((size, size, 3))
    pixels = noise * np.array(PREPROCESSING.std) + np.array(PREPROCESSING.mean)
    return np.clip(np.round(255 * pixels), 0, 255).astype(np.uint8)
