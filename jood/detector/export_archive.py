"""Reads the archive of an exported detector, which may be damaged or forged.

Nothing in it is trusted: no array is unpickled, memory stays within a multiple of the
file's size, and only known options reach XLA. `Detector.export` copies this module
into its file.
"""

from collections.abc import Sequence
import io
import json
import math
import os
import re
from typing import Any, BinaryIO, NamedTuple
import zipfile

from jax import export
import numpy as np
from PIL import Image

FORMAT, VERSION = "jood.exported", 1
JSON_NAME, PROGRAM_NAME, LOADER_NAME = "detector.json", "program.stablehlo", "load.py"
MAIN_NAME = "__main__.py"
# By backend. Some of XLA's options make it write files: any other value is refused.
KNOWN_OPTIONS = {"cpu": {"xla_cpu_experimental_ynn_fusion_type": ""}}
_LARGEST_JSON, _LARGEST_UNPACKED = 2**24, 2**29  # bytes
_MAX_ENTRIES = 2**27  # of an image
_PREPROCESSING = {"mean", "std", "resize", "crop", "interpolation"}
_CALLBACK = re.compile(rb"xla_\w*python_\w*callback")  # a call at an address it names


class Contents(NamedTuple):
    """What an exported detector's file holds.

    Attributes:
      about: The JSON.
      program: (weights, images) -> (scores, prediction).
      arrays: Weights and calibration scores, by the names that `about` gives them.
    """

    about: dict[str, Any]
    program: export.Exported
    arrays: dict[str, np.ndarray]


def images_of(about: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype]:
    """Returns the shape (H, W, C) and the dtype of the images that a program takes."""
    dtype = np.float32 if about["preprocessing"] is None else np.uint8
    return tuple(about["image_shape"]), np.dtype(dtype)


def read(path: str | os.PathLike[str]) -> Contents:
    """Reads and checks an archive.

    Raises:
      OSError: The file cannot be opened.
      ValueError: It is not an exported detector, one of another version, damaged or
        forged.
    """
    with open(path, "rb") as raw:
        try:
            return _read(raw)
        except Exception as error:  # a damaged archive raises nearly everything
            reason = str(error).strip(" .") or type(error).__name__
            raise ValueError(
                f"{os.fspath(path)} is not an exported detector, or it is damaged or "
                f"was changed: {reason}. Copy it again, or export the detector again "
                "(jood export, Detector.export)."
            ) from error


def _read(raw: BinaryIO) -> Contents:
    with zipfile.ZipFile(raw) as file:
        infos = {info.filename: info for info in file.infolist()}
        _check_sizes(infos, len(file.infolist()), os.fstat(raw.fileno()).st_size)
        _require_all([JSON_NAME, PROGRAM_NAME, LOADER_NAME, MAIN_NAME], infos)
        # Reading a member checks its CRC-32.
        about = json.loads(file.read(JSON_NAME))
        names = _checked_names(about)
        _require_all(names, infos)
        program = export.deserialize(bytearray(file.read(PROGRAM_NAME)))
        arrays = {name: _array(name, file.read(name)) for name in set(names)}
        for name in infos.keys() - arrays.keys() - {JSON_NAME, PROGRAM_NAME}:
            file.read(name)
    _check_program(program, about, arrays)
    _check_calibration(about, arrays)
    return Contents(about, program, arrays)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _require_all(names: Sequence[str], infos: dict[str, zipfile.ZipInfo]) -> None:
    absent = sorted({name for name in names if name not in infos})
    _require(not absent, f"it lacks {', '.join(absent[:3])}")


def _check_sizes(infos: dict[str, zipfile.ZipInfo], count: int, size: int) -> None:
    """Refuses an archive that would expand far beyond the size of its file."""
    _require(len(infos) == count, "it has two members of one name")
    packed = sum(info.compress_size for info in infos.values())
    _require(packed <= size, "its members overlap")
    unpacked = 0
    for name, info in infos.items():
        if info.compress_type == zipfile.ZIP_STORED:
            same = info.file_size == info.compress_size
            _require(same, f"{name} claims another size than it has")
            continue
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        _require(deflated, f"{name} is packed in another way than zip's usual one")
        _require(not name.endswith(".npy"), f"{name} is packed, which arrays are not")
        unpacked += info.file_size
    _require(
        unpacked <= _LARGEST_UNPACKED
        and (JSON_NAME not in infos or infos[JSON_NAME].file_size <= _LARGEST_JSON),
        f"it claims to unpack to {unpacked:,} bytes",
    )


def _checked_names(about: dict[str, Any]) -> list[str]:
    """Checks the JSON, which raises any error, and returns the arrays that it names."""
    version = about["format"], about["version"]
    _require(
        version == (FORMAT, VERSION) and type(version[1]) is int,
        f"its format is {version[0]!r:.50}, version {version[1]!r:.50}; this loader "
        f"reads {FORMAT!r}, version {VERSION}, and the file carries its own, load.py",
    )
    shape = about["image_shape"]
    _require(len(shape) == 3 and _sizes(shape), f"its images are {shape!r:.100}")
    if about["preprocessing"] is not None:
        _check_preprocessing(about["preprocessing"], shape)
    classes = about["summary"]["class_names"]
    _require(classes is None or _texts(classes), "its class names are not strings")
    for platform, options in about["compiler_options"].items():
        known = options in ({}, KNOWN_OPTIONS.get(platform, {}))
        _require(known, f"it asks for the compiler options {options!r:.200}")
    suffixes = [output["suffix"] for output in about["outputs"]]
    _require(_texts(suffixes) and len(set(suffixes)) == len(suffixes), "scores clash")
    names = [*about["weights"], *(o["calibration"] for o in _calibrated(about))]
    _require(_texts(names), "an array's name is not a string")
    return names


def _check_preprocessing(how: dict[str, Any], shape: Sequence[int]) -> None:
    resize, crop = how["resize"], how["crop"]
    pair = isinstance(resize, list) and len(resize) == 2
    sides = resize if pair else [resize]  # or the shorter side alone
    _require(
        how.keys() - {"zoom"} == _PREPROCESSING
        and how.get("zoom", 1) == 1  # an older version's files say so
        and len(how["mean"]) == len(how["std"]) == shape[2]
        and (resize is None or _sizes(sides))
        and (crop is None or [crop, crop] == shape[:2])
        and how["interpolation"].upper() in Image.Resampling.__members__,
        f"its preprocessing is {how!r:.200}",
    )


def _calibrated(about: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for output in about["outputs"] if output["threshold"] is not None]


def _sizes(values: Sequence[Any]) -> bool:
    whole = all(type(value) is int and value > 0 for value in values)
    return whole and math.prod(values) <= _MAX_ENTRIES


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _array(name: str, content: bytes) -> np.ndarray:
    """An array whose header claims as many bytes as follow it."""
    stream = io.BytesIO(content)
    _require(np.lib.format.read_magic(stream) == (1, 0), f"{name} is not a .npy file")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    length = math.prod(shape) * dtype.itemsize
    _require(
        dtype.kind in "biufc" and length == len(content) - stream.tell(),
        f"{name} claims to be {dtype} {shape!r:.100}",
    )
    return np.ndarray(
        shape, dtype, content, stream.tell(), order="F" if fortran else "C"
    )


def _check_program(
    program: export.Exported, about: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    """Checks that a program takes the weights and images and gives the scores."""
    *weights, images = program.in_avals
    stored = [arrays[name] for name in about["weights"]]
    shape, dtype = images_of(about)
    _require(
        [(w.shape, w.dtype) for w in weights] == [(a.shape, a.dtype) for a in stored]
        and (images.shape[1:], images.dtype) == (shape, dtype)
        and len(program.out_avals) == len(about["outputs"]) + 1,
        "its program is not for its weights, images and scores",
    )
    callback = _CALLBACK.search(program.mlir_module_serialized)
    _require(callback is None, f"its program calls back to Python: {callback}")


def _check_calibration(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    for output in _calibrated(about):
        known, thresholds = arrays[output["calibration"]], output["threshold"]
        parts = [known]
        if isinstance(thresholds, list):  # one per class
            counts = output["images"]
            whole = known.ndim == 1 and isinstance(counts, list)
            _require(
                whole
                and len(counts) == len(thresholds) > 0
                and all(type(n) is int and n > 0 for n in counts)
                and sum(counts) == len(known),
                f"{output['calibration']} has other images than it says",
            )
            parts = np.split(known, np.cumsum(counts)[:-1])
        else:
            thresholds = [thresholds]
        _require(
            all(map(_is_sorted_with, parts, thresholds)),
            f"{output['calibration']} is not a sorted list of scores and its threshold",
        )


def _is_sorted_with(known: np.ndarray, threshold: Any) -> bool:
    return (
        known.ndim == 1
        and bool((known[1:] >= known[:-1]).all() and np.isfinite(known).all())
        and type(threshold) is float
        and threshold in known
    )
