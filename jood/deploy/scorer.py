"""`Scorer`: adds scores to batches of images, in whatever process it runs.

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

import numpy as np
from PIL import Image

from jood._utils import arguments
from jood.core.preprocessing import Preprocessing
from jood.data import prefetch
from jood.data.sources import decoding
from jood.detector import Detector
from jood.detector import export_loader
from jood.detector import saving

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
      batch_size: Images that the network sees at once. Batches may be of any size;
        multiples of this one waste nothing.
      threads: Threads that read and decode images while the network scores others.
    """

    path: str | os.PathLike[str]
    column: str = "image"
    batch_size: int = 64
    threads: int = 4

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
            prediction: int32, the class that the network answers.
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
        found = self._score(batch[self.column])
        taken = sorted(found.keys() & batch.keys())
        if taken:
            raise ValueError(
                f"the batch has columns {taken} already, which would be lost. Rename "
                "them first."
            )
        return {**batch, **found}

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

    def _score(self, images: Sequence[Any]) -> Columns:
        path = os.fspath(self.path)
        opened = _open(path, _stamp(path))

        def read(start: int) -> list[futures.Future[np.ndarray | str]]:
            rows = range(start, min(start + self.batch_size, len(images)))
            return [
                pool.submit(_pixels, images[i], f"row {i}", opened.preprocessing)
                for i in rows
            ]

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

    score: Callable[[np.ndarray], Columns]
    preprocessing: Preprocessing | None
    image_shape: tuple[int, ...]  # (H, W, C)


@functools.lru_cache(maxsize=8)
def _open(path: str, stamp: int) -> _Opened:
    """Opens a detector once per process."""
    del stamp  # another one is another detector under the same path
    if os.path.isfile(path):
        about, score = export_loader.load(path)
        how = about["preprocessing"]
        preprocessing = how and Preprocessing.of_json(how)
        return _Opened(score, preprocessing, tuple(about["image_shape"]))
    detector = Detector.load(path)
    shape, preprocessing = detector.image_shape, detector.preprocessing
    if preprocessing is not None and preprocessing.fixed_size is not None:
        shape = (*preprocessing.fixed_size, len(preprocessing.mean))
    if shape is None:
        raise ValueError(
            f"{path} does not say how large its images are, since it was neither "
            "fitted nor calibrated. Calibrate the detector and save it again."
        )
    return _Opened(functools.partial(_run, detector), preprocessing, shape)


def _stamp(path: str) -> int:
    """When the detector was written; 0 where there is none, which `_open` reports."""
    file = pathlib.Path(path)
    file = file / saving.JSON_NAME if file.is_dir() else file
    return file.stat().st_mtime_ns if file.exists() else 0


def _run(detector: Detector, images: np.ndarray) -> Columns:
    """Columns, as the loader of an exported detector gives them."""
    output = detector.run_named(images)
    scores = output.scores
    columns = {"prediction": output.prediction}
    for name, values in scores.items():
        suffix = f"_{name}" if detector.component.slot == "bundle" else ""
        columns[f"score{suffix}"] = values
        if detector.calibration is not None:
            threshold = detector.calibration.thresholds()[name]
            columns[f"is_ood{suffix}"] = values < threshold
            columns[f"p_value{suffix}"] = detector.calibration.p_values(scores)[name]
    return columns


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


def _scored(opened: _Opened, rows: list[np.ndarray | str], size: int) -> Columns:
    """Columns of some images, which are padded to one size of batch."""
    dtype = np.float32 if opened.preprocessing is None else np.uint8
    images = np.zeros((size, *opened.image_shape), dtype)
    errors = []
    for i, row in enumerate(rows):
        error = row if isinstance(row, str) else _mismatch(row, opened)
        errors.append(error)
        if not error:
            images[i] = row
    columns = {n: np.array(v[: len(rows)]) for n, v in opened.score(images).items()}
    wrong = np.array([error != "" for error in errors], bool)
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
