"""From the bytes of an image file to pixels, or to an error that names the file.

The result is uint8 RGB, as torchvision's loader makes it with `convert('RGB')`: alpha
is dropped and nothing composited, transparent entries of a palette keep their colour,
and of an animation the first frame counts. For a network of one channel, whose
preprocessing has one mean, colours become their luma (ITU-R 601, Pillow's mode 'L'),
and gray files stay what they are. Two departures:

- An EXIF (or XMP) orientation is applied, as viewers do. torchvision ignores it.
- Gray pixels of 16 bits are scaled, v / 257 rounded. `convert` would clip them at
  255, so that nearly all become white. (Colours of 16 bits are cut to their high byte
  by Pillow's own reader: at most 1 off.)
"""

from collections.abc import Iterator
import contextlib
import io
import os
import pathlib
import stat
import struct
import warnings

import numpy as np
from PIL import ExifTags
from PIL import Image

from jood.core.preprocessing import Preprocessing

_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_VERSION = 1  # raise it when a file gives other pixels than before
# The cheap ones first. Not all of Pillow's: for EPS it would run Ghostscript.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")
_BYTES = 12  # of a file for each pixel: colours of 16 bits take 6
_PILLOW = r"PIL\."  # the modules whose warnings are silenced
_METADATA_ERRORS = (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error)


class ImageError(ValueError):
    """The image `name` cannot be read, for `reason`; see `sources.Skipping`."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)  # so that it survives pickling
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return (
            f"cannot read the image {self.name}: {self.reason}. Replace or delete it, "
            "or skip and count such images: --corrupt=skip of the jobs, "
            "jood.data.sources.Skipping(source) in Python."
        )


def decode(
    data: bytes | str | os.PathLike[str],
    name: str | None = None,
    preprocessing: Preprocessing | None = None,
) -> np.ndarray:
    """Decodes an image.

    Args:
      data: The content of an image file, or its path; the suffix does not matter.
      name: Its name in errors; by default its path.
      preprocessing: Resizes and crops it, if given, and says how many channels it gets.

    Returns:
      uint8 [H, W, 3], or [H, W, 1] for a preprocessing of one channel; read-only.

    Raises:
      ImageError: (a ValueError) The path is that of a folder, pipe or device; the
        content is not an image, truncated or corrupt, too large to be trusted (Pillow's
        guard against decompression bombs), or of a kind without agreed brightness (32
        bits a pixel).
      ValueError: The preprocessing is for neither one channel nor three.
      OSError: The file cannot be opened.
    """
    _check_channels(preprocessing)
    if not isinstance(data, bytes):
        name = name or os.fspath(data)
        data = _content(data, name)
    with _named(name or f"({len(data)} bytes without a name)"):
        return _decoded(data, preprocessing)


def check_size(size: int, name: str) -> None:
    """Raises ImageError where a file is larger than any image that is decoded."""
    pixels = Image.MAX_IMAGE_PIXELS
    if pixels is not None and size > _BYTES * pixels:
        reason = (
            f"it has {size:,} bytes, more than an image of {pixels:,} pixels needs (if "
            "it is one, raise PIL.Image.MAX_IMAGE_PIXELS)"
        )
        raise ImageError(name, reason)


def from_pillow(
    image: Image.Image, name: str, preprocessing: Preprocessing | None = None
) -> np.ndarray:
    """Like `decode`, of an image that Pillow has opened; `name` is for errors."""
    _check_channels(preprocessing)
    with _named(name):
        return _fitted(image, preprocessing)


def version(preprocessing: Preprocessing | None) -> str:
    """Returns a text that changes when the same files give other pixels."""
    gray = preprocessing is not None and len(preprocessing.mean) == 1
    text = f"decoded as {_VERSION}{', gray' if gray else ''}"
    if preprocessing is None or not preprocessing.fitting:
        return text
    return f"{text}, {preprocessing.fitting}"


def _content(path: str | os.PathLike[str], name: str) -> bytes:
    """Reads a file; what might never end, or never begin, is not opened at all."""
    try:
        status = os.stat(path)
    except ValueError as error:  # a NUL in it, which no file system takes
        raise ImageError(name, f"it is not a path: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(name, f"it is {kind_of(path, status.st_mode)}, not a file")
    check_size(status.st_size, name)
    with pathlib.Path(path).open("rb") as file:
        return file.read(status.st_size)


def kind_of(path: str | os.PathLike[str], mode: int) -> str:
    """Returns what a path that is not a file leads to; `mode` is its stat's."""
    if stat.S_ISDIR(mode):
        listable = os.access(path, os.R_OK | os.X_OK)
        return "a folder" if listable else "a folder that may not be read"
    kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((text for holds, text in kinds.items() if holds(mode)), "a device")


def _check_channels(preprocessing: Preprocessing | None) -> None:
    """Raises ValueError if no image file has as many channels as the network takes."""
    if preprocessing is not None and len(preprocessing.mean) not in (1, 3):
        raise ValueError(
            f"the network takes images of {len(preprocessing.mean)} channels, but "
            "files are read as gray (1) or as RGB (3). Give it arrays instead."
        )


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Turns whatever goes wrong with an image into an error that names it."""
    _silence_pillow()
    try:
        yield
    except MemoryError:
        raise
    except Image.UnidentifiedImageError as error:
        reason = f"its content is of none of the formats {', '.join(_FORMATS)}"
        raise ImageError(name, reason) from error
    except Exception as error:  # Pillow's readers raise nearly everything
        reason = str(error).rstrip(".") or type(error).__name__
        raise ImageError(name, reason) from error


def _decoded(data: bytes, preprocessing: Preprocessing | None) -> np.ndarray:
    if not data:
        raise ValueError("the file is empty")
    with Image.open(io.BytesIO(data), formats=_FORMATS) as file:
        limit = Image.MAX_IMAGE_PIXELS  # below twice of which Pillow only warns
        if limit is not None and file.width * file.height > limit:
            raise ValueError(
                f"it claims {file.width} x {file.height} pixels, which could be a "
                f"decompression bomb (if not, raise PIL.Image.MAX_IMAGE_PIXELS={limit})"
            )
        return _fitted(file, preprocessing)


def _fitted(file: Image.Image, preprocessing: Preprocessing | None) -> np.ndarray:
    file.load()
    image = _as_rgb(file)
    try:
        turn = _TURNS.get(file.getexif().get(ExifTags.Base.Orientation, 1))
    except _METADATA_ERRORS:
        turn = None  # broken metadata say nothing about the pixels
    if turn is not None:
        image = image.transpose(turn)
    if preprocessing is None:
        return np.asarray(image)
    if len(preprocessing.mean) == 1:
        return np.asarray(preprocessing.fit_pil(image.convert("L")))[..., None]
    return np.asarray(preprocessing.fit_pil(image))


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are of mode {image.mode!r}, 32 bits, for which no range from "
            "black to white is agreed; save it with 8 or 16 bits"
        )
    if "transparency" in image.info:  # `convert` would look for its colour
        image = image.copy()
        del image.info["transparency"]
    return image.convert("RGB")


def _silence_pillow() -> None:
    """Ignores the warnings that Pillow's modules issue, from now on.

    They are about metadata (thousands of ImageNet's files have corrupt EXIF) or become
    errors here. `warnings.catch_warnings` around every image would change the filters
    of all threads, and make Python forget which warnings it showed.
    """
    silenced = ("ignore", _PILLOW)
    if silenced not in {
        (f[0], getattr(f[3], "pattern", None)) for f in warnings.filters
    }:
        warnings.filterwarnings("ignore", module=_PILLOW)
