"""`Scorer`: adds scores to batches of images, in any process.

It holds a path, not a network, so that pickling it is cheap; each process reads the
detector once, when the first batch comes. A batch is a dict of columns, which is what
the frameworks that spread work over a cluster pass around:

    scorer = jood.Scorer("detectors/a", column="path")
    ray.data.read_parquet("paths").map_batches(scorer)          # Ray Data
    dataset.map(scorer, batched=True)                           # Hugging Face datasets
    table.mapInPandas(scorer.frames, schema)                    # Spark
    batches | beam.Map(scorer)                                  # Beam
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
import dataclasses
import functools
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from jood._utils import arguments
from jood._utils import batch_sizes
from jood._utils import compilation_cache
from jood.core.preprocessing import Preprocessing
from jood.data import prefetch
from jood.data.sources import decoding
from jood.detector import Answer
from jood.detector import Detector
from jood.detector import answers
from jood.detector import export_loader
from jood.detector import image_shapes
from jood.detector import saving
from jood.detector import serving

Columns = dict[str, np.ndarray]
# Values of an image that cannot be read: prediction, is_ood, score and p-value.
_UNREAD = {"i": -1, "b": True, "f": np.nan}


@dataclasses.dataclass(frozen=True)
class Scorer:
    """Maps a batch, columns of equal length, to the same batch with scores.

    Attributes:
      path: A detector: a folder of `Detector.save`, or a file of `Detector.export`
        (which also serves networks that are not of `jood.models`).
      column: The column of the images. Each is the path of an image file, its content
        as bytes, a Pillow image, {'bytes', 'path'} as Hugging Face stores them, or an
        array [H, W, C]: uint8, or floating for a detector without preprocessing.
      batch_size: Images that the network sees at once, at most. Batches may be of any
        size; smaller ones are padded to the next of a few sizes (1, 2, 4, 8, ...).
      threads: Threads that read and decode images while the network scores others.
      compilation_cache: Folder that keeps compiled programs, so that the next process
        need not compile them; it must be the user's own.
    """

    path: str | os.PathLike[str]
    column: str = "image"
    batch_size: int = 64
    threads: int = 4
    compilation_cache: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))
        arguments.check_count("batch_size", self.batch_size)
        arguments.check_count("threads", self.threads)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Scores a batch of B images.

        Args:
          batch: Columns by name.

        Returns:
          Its columns and, as arrays [B]:
            score: float32, higher = more in-distribution.
            is_ood: bool, score < γ; like p_value only if the detector is calibrated.
            p_value: float64, conformal.
            prediction: int32, the class that the network predicts.
            error: Text; what is wrong with an image that cannot be read, else ''. Such
              an image has score and p_value NaN, is_ood True and prediction -1.
          A bundle has score, is_ood and p_value once per detector: 'score_NAME'.

        Raises:
          FileNotFoundError, ValueError: The path holds no detector, or a damaged one;
            the batch lacks the column, or has one of the names above.
        """
        if self.column not in batch:
            raise ValueError(
                f"the batch has no column {self.column!r}, only {sorted(batch)}. Name "
                "that of the images: Scorer(path, column=...)."
            )
        columns = self._score(batch[self.column])
        duplicates = sorted(columns.keys() & batch.keys())
        if duplicates:
            raise ValueError(
                f"the batch has columns {duplicates} already, which would be lost. "
                "Rename them first."
            )
        return {**batch, **columns}

    def answer(self, images: Sequence[Any]) -> Answer:
        """Answers for images, each as `column` has them; see `jood.Answer`.

        An image that cannot be read keeps its row, and `error` says why. Raises as
        `__call__`.
        """
        return answers.of_columns(self._score(images), self._opened().class_names)

    def warm_up(self, sizes: Iterable[int] = (1,)) -> None:
        """Compiles for batches of these sizes, so that the first one need not wait."""
        opened = self._opened()
        for size in sizes:
            arguments.check_count("sizes", size)
            _scored(opened, ["no image"] * min(size, self.batch_size), self.batch_size)

    def frames(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Scores pandas frames, as Spark's `mapInPandas` passes them.

        Args:
          frames: Frames with the column of images.

        Yields:
          Each frame with the columns that `__call__` adds.
        """
        for frame in frames:
            columns = {name: frame[name].to_numpy() for name in frame.columns}
            added = self(columns)
            yield frame.assign(**{n: added[n] for n in added if n not in columns})

    def _opened(self) -> "_Opened":
        path = os.fspath(self.path)
        if self.compilation_cache is not None:
            compilation_cache.keep_programs(self.compilation_cache)
        return _open(path, _stamp(path))

    def _score(self, images: Sequence[Any]) -> Columns:
        opened = self._opened()

        def pixels(row: int) -> np.ndarray | str:
            return _pixels(images[row], f"row {row}", opened.preprocessing)

        if len(images) == 1:  # a pool of threads would take longer than the image
            return _scored(opened, [pixels(0)], self.batch_size)

        def read(start: int) -> list[futures.Future[np.ndarray | str]]:
            rows = range(start, min(start + self.batch_size, len(images)))
            return [pool.submit(pixels, row) for row in rows]

        with futures.ThreadPoolExecutor(self.threads) as pool:
            # Once at least, so that an empty batch gets its columns too.
            starts = range(0, max(len(images), 1), self.batch_size)
            parts = [
                _scored(opened, [row.result() for row in rows], self.batch_size)
                for rows in prefetch.prefetched(starts, read)
            ]
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


class _Opened(NamedTuple):
    """A detector, from a folder or from an exported file."""

    score: Callable[[jax.Array], Columns]
    preprocessing: Preprocessing | None
    image_shape: tuple[int, ...]  # (H, W, C)
    class_names: Sequence[str] | None


@functools.lru_cache(maxsize=8)
def _open(path: str, stamp: int) -> _Opened:
    """Opens a detector once per process."""
    del stamp  # another one is another detector under the same path
    if os.path.isfile(path):
        about, score = export_loader.load(path)
        how, summary = about["preprocessing"], about["summary"]
        return _Opened(
            score,
            how and Preprocessing.of_json(how),
            tuple(about["image_shape"]),
            summary["class_names"],
        )
    detector = Detector.load(path)
    shape = image_shapes.known(detector.preprocessing, detector.image_shape)
    if shape is None:
        raise ValueError(
            f"{path} does not say how large its images are, since it was neither "
            "fitted nor calibrated. Calibrate the detector and save it again."
        )
    score = functools.partial(_run, detector)
    return _Opened(score, detector.preprocessing, shape, detector.class_names)


def _stamp(path: str) -> int:
    """When the detector was written; 0 where there is none, which `_open` reports."""
    file = pathlib.Path(path)
    file = file / saving.JSON_NAME if file.is_dir() else file
    return file.stat().st_mtime_ns if file.exists() else 0


def _run(detector: Detector, images: jax.Array) -> Columns:
    """Columns, as the loader of an exported detector gives them."""
    output = detector.run_named(images)
    return serving.columns(output, detector.component, detector.calibration)


def _pixels(
    image: Any, name: str, preprocessing: Preprocessing | None
) -> np.ndarray | str:
    """An image's pixels, resized and cropped; or what is wrong with it."""
    try:
        if isinstance(image, Mapping):
            image = image.get("path") if image.get("bytes") is None else image["bytes"]
        if isinstance(image, bytearray | memoryview):
            image = bytes(image)
        if isinstance(image, str | os.PathLike):
            return decoding.decode(image, preprocessing=preprocessing)
        if isinstance(image, bytes):
            return decoding.decode(image, name, preprocessing)
        if isinstance(image, Image.Image):
            return decoding.from_pillow(image, name, preprocessing)
        pixels = np.asarray(image)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            return f"{name} has NaN or infinite pixels"
        return pixels if preprocessing is None else preprocessing.fit_image(pixels)
    except decoding.ImageError as error:
        return error.reason
    except (OSError, ValueError) as error:
        return str(error)


def _scored(opened: _Opened, rows: list[np.ndarray | str], most: int) -> Columns:
    """Columns of at most so many images, which are padded to one of a few sizes."""
    errors = [r if isinstance(r, str) else _mismatch(r, opened) for r in rows]
    wrong = np.array([error != "" for error in errors], bool)
    size = min(batch_sizes.padded_size(max(len(rows), 1)), most)
    dtype = np.float32 if opened.preprocessing is None else np.uint8
    images = np.zeros((size, *opened.image_shape), dtype)
    good = np.flatnonzero(~wrong)
    if good.size:  # a real image instead of black, of which a method may warn
        images[:] = rows[good[0]]
    for i in good:
        images[i] = rows[i]
    # On the device, where a batch keeps its size.
    columns = opened.score(jax.device_put(images))
    columns = {n: np.array(v[: len(rows)]) for n, v in columns.items()}
    for values in columns.values():
        values[wrong] = _UNREAD[values.dtype.kind]
    return {**columns, "error": np.array(errors, object)}


def _mismatch(pixels: np.ndarray, opened: _Opened) -> str:
    """Why the detector cannot take an image; '' if it can.

    Raises:
      ValueError: The detector can take no such image at all.
    """
    if opened.preprocessing is None and pixels.dtype.kind != "f":
        raise ValueError(
            f"the images are {pixels.dtype}, but the detector has no preprocessing. "
            "Save one that has (jood.Preprocessing), or map normalised floats."
        )
    if pixels.shape != opened.image_shape:
        return f"its shape is {pixels.shape}, the detector takes {opened.image_shape}"
    return ""
