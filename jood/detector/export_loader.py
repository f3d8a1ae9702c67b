"""Runs a detector that jood exported; needs jax, flatbuffers, numpy and pillow.

Either `python detector.zip image1.jpg image2.png`: the file runs itself. Or take this
loader and its modules out of it (`unzip detector.zip '*.py'`) for your own program:

    detector = load.load("detector.zip")
    answer = detector.answer([load.read("image1.jpg", detector.about)])
    answer.score, answer.is_ood, answer.p_value, answer.prediction, answer.class_name
"""

from collections.abc import Callable, Iterable
import json
import math
import os
import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image
from PIL import ImageOps

from jood._utils import batch_sizes
from jood._utils import compilation_cache
from jood.detector import answers
from jood.detector import export_archive

Columns = dict[str, np.ndarray]
_MAX_PIXELS = 2**27  # of a resized image: a narrow strip would fill the memory


class Exported(NamedTuple):
    """An exported detector, opened.

    Attributes:
      about: Description in the file: a summary, the images' shape, the preprocessing.
      score: Images [B, H, W, C] of that shape -> columns [B]: 'prediction', 'score',
        and with a calibration 'is_ood' and 'p_value'; for a bundle 'score_NAME', ...
    """

    about: dict[str, Any]
    score: Callable[[Any], Columns]

    def answer(self, images: Any) -> answers.Answer:
        """Answers for images [B, H, W, C], or a list of them as `read` gives them."""
        columns = self.score(images)
        return answers.of_columns(columns, self.about["summary"]["class_names"])

    def warm_up(self, sizes: Iterable[int] = (1,)) -> None:
        """Compiles for batches of these sizes, so that the first one need not wait."""
        shape, dtype = export_archive.images_of(self.about)
        for size in sizes:
            self.score(np.zeros((size, *shape), dtype))


def load(
    path: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None
) -> Exported:
    """Opens an exported detector.

    Args:
      path: The file.
      cache: Folder that keeps compiled programs, so that the next process need not
        compile them; like JAX_COMPILATION_CACHE_DIR.

    Raises:
      OSError: The file cannot be opened.
      ValueError: It is not an exported detector, one of another version, damaged or
        forged.
    """
    if cache is not None:
        compilation_cache.keep_programs(cache)
    about, program, arrays = export_archive.read(path)
    weights = jax.device_put([arrays[name] for name in about["weights"]])
    run = _jit(program.call, about["compiler_options"].get(jax.default_backend()))
    shape, dtype = export_archive.images_of(about)

    def score(images: Any) -> Columns:
        images = _checked(images, shape, dtype)
        count = len(images)
        outputs = jax.device_get(run(weights, batch_sizes.padded(images)))
        scores, prediction = jax.tree.map(lambda values: values[:count], outputs)
        columns = {"prediction": prediction}
        for values, output in zip(scores, about["outputs"], strict=True):
            columns["score" + output["suffix"]] = values
            if output["threshold"] is not None:
                known = arrays[output["calibration"]]
                is_ood, p_value = _judged(output, known, values, prediction)
                columns["is_ood" + output["suffix"]] = is_ood
                columns["p_value" + output["suffix"]] = p_value
        return columns

    return Exported(about, score)


def _judged(
    output: dict[str, Any], known: np.ndarray, values: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compares scores with the calibration scores, all of them or those of a class."""
    if not isinstance(output["threshold"], list):
        thresholds, parts = np.full(len(values), output["threshold"]), [known]
        classes = np.zeros_like(classes)
    else:
        thresholds = np.array(output["threshold"])[classes]
        parts = np.split(known, np.cumsum(output["images"])[:-1])
    p_value = np.full(len(values), np.nan)
    for k in np.unique(classes):
        rows = np.flatnonzero((classes == k) & ~np.isnan(values))
        rank = 1 + np.searchsorted(parts[k], values[rows], side="right")
        p_value[rows] = rank / (1 + len(parts[k]))
    return ~(values >= thresholds), p_value


def _checked(images: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    images = images if isinstance(images, jax.Array) else np.asarray(images)
    fits = images.dtype == dtype or (dtype.kind == "f" and images.dtype.kind == "f")
    if not (fits and images.ndim == 4 and len(images) and images.shape[1:] == shape):
        raise ValueError(
            f"images must be {dtype} [B, {', '.join(map(str, shape))}], for which the "
            f"detector was exported, got {images.dtype} {list(images.shape)}; "
            "load.read(file, about) brings an image file to that."
        )
    return images.astype(dtype, copy=False)


def _jit(function: Callable[..., Any], options: dict[str, Any] | None) -> Any:
    """Compiles as the detector was, if this XLA knows the options: same scores."""
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        options = None
    return jax.jit(function, compiler_options=options)


def read(path: str, about: dict[str, Any]) -> np.ndarray:
    """Decodes an image file and brings it to the network's size: uint8 [H, W, C]."""
    if about["preprocessing"] is None:
        raise ValueError("the detector takes normalised floating images, not files")
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I;16"):  # `convert` would clip 16 bits at 255
        deep = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    image.info.pop("transparency", None)
    how = about["preprocessing"]
    # A network of one channel reads colours as their luma (ITU-R 601).
    image = image.convert("RGB").convert("L" if len(how["mean"]) == 1 else "RGB")
    size, crop = how["resize"], how["crop"]
    if isinstance(size, int):  # of the shorter side
        size = [int(size * side / min(image.size)) for side in image.size[::-1]]
    if size is not None and math.prod(size) > _MAX_PIXELS:
        raise ValueError(f"an image of {image.size} pixels would become one of {size}")
    if size is not None and tuple(size) != image.size[::-1]:
        image = image.resize(size[::-1], Image.Resampling[how["interpolation"].upper()])
    if crop is not None:
        left, top = (
            round((side - crop) / 2) if side >= crop else -((crop - side) // 2)
            for side in image.size
        )
        image = image.crop((left, top, left + crop, top + crop))
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def main(path: str, *images: str) -> None:
    """Prints the scores of image files; without any, what the detector is."""
    try:
        about, score = load(path)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    names = about["summary"]["class_names"]
    if not images or images[0].startswith("-"):
        print(json.dumps(about["summary"], indent=2))
        print(f"usage: python {path} IMAGE [IMAGE ...]")
    failed = False
    for image in (one for one in images if not one.startswith("-")):
        try:
            columns = score(read(image, about)[None])
        except Exception as error:  # Pillow raises nearly everything
            print(f"{image} error={error}")
            failed = True
            continue
        values_of = {name: values[0] for name, values in columns.items()}
        if names:
            values_of["prediction"] = names[values_of["prediction"]]
        print(image, *(f"{name}={value}" for name, value in values_of.items()))
    if failed:
        sys.exit(2)


if __name__ == "__main__":
    main(*sys.argv[1:])
