"""Runs a detector that jood exported; needs jax, flatbuffers, numpy and pillow.

Either `python detector.zip image1.jpg image2.png`: the file runs itself. Or take this
loader out of it (`unzip detector.zip load.py`) and use it in a program of your own:

    about, score = load.load("detector.zip")
    images = np.stack([load.read("image1.jpg", about)])  # uint8 [B, H, W, C]
    columns = score(images)  # {"score": [B], "is_ood": [B], "p_value": [B], ...}
"""

from collections.abc import Callable
import io
import json
import sys
from typing import Any
import zipfile

import jax
from jax import export
import numpy as np
from PIL import Image
from PIL import ImageOps

Score = Callable[[np.ndarray], dict[str, np.ndarray]]


def load(path: str) -> tuple[dict[str, Any], Score]:
    """Returns what the file says, and a function: images [B, H, W, C] -> columns."""
    with zipfile.ZipFile(path) as file:  # which checks every member's CRC-32
        about = json.loads(file.read("detector.json"))
        program = export.deserialize(bytearray(file.read("program.stablehlo")))
        names = [name for name in file.namelist() if name.endswith(".npy")]
        arrays = {name: np.load(io.BytesIO(file.read(name))) for name in names}
    weights = jax.device_put([arrays[name] for name in about["weights"]])
    run = _jit(program.call, about["compiler_options"].get(jax.default_backend()))

    def score(images: np.ndarray) -> dict[str, np.ndarray]:
        scores, prediction = jax.device_get(run(weights, images))
        columns = {"prediction": prediction}
        for values, output in zip(scores, about["outputs"], strict=True):
            columns["score" + output["suffix"]] = values
            if output["threshold"] is not None:
                columns["is_ood" + output["suffix"]] = ~(values >= output["threshold"])
                known = arrays[output["calibration"]]
                rank = 1 + np.searchsorted(known, values, side="right")
                p_value = np.where(np.isnan(values), np.nan, rank / (1 + len(known)))
                columns["p_value" + output["suffix"]] = p_value
        return columns

    return about, score


def _jit(function: Callable[..., Any], options: dict[str, Any] | None) -> Any:
    """Compiles as the detector was, if this XLA knows the options: same scores."""
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        options = None
    return jax.jit(function, compiler_options=options)


def read(path: str, about: dict[str, Any]) -> np.ndarray:
    """Decodes an image file and brings it to the network's size: uint8 [H, W, C]."""
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
    about, score = load(path)
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
        found = {name: values[0] for name, values in columns.items()}
        if names:
            found["prediction"] = names[found["prediction"]]
        print(image, *(f"{name}={value}" for name, value in found.items()))
    if failed:
        sys.exit(2)


if __name__ == "__main__":
    main(*sys.argv[1:])
