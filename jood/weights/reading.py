"""Tensors by their PyTorch names, from the kinds of files that weights come in.

None of them can run code. `.safetensors`, `.npz` and PyTorch's own files of plain
tensors need no PyTorch; it is asked, with `weights_only=True`, for files that hold
other objects beside them.
"""

import os
import pathlib
import zipfile
import zlib

import jax.numpy as jnp
import numpy as np
import safetensors

from jood.weights import state_dicts
from jood.weights import torch_files
from jood.weights import torch_support
from jood.weights.plain_pickles import NotPlainError

_TORCH_SUFFIXES = (".pth", ".pt", ".th", ".pth.tar", ".pt.tar", ".tar", ".bin", ".ckpt")
SUFFIXES = (".safetensors", ".npz", *_TORCH_SUFFIXES)

_NO_WEIGHTS = {  # how files begin that are something else
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML page",
    b"version https://git-lfs": "a pointer of Git LFS (run: git lfs pull)",
}
_TYPES = {  # safetensors' names
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read(
    path: str | os.PathLike[str], entry: str | None = None
) -> dict[str, np.ndarray]:
    """Reads a file of weights.

    Args:
      path: A file that ends in one of `SUFFIXES`.
      entry: Key of the network to read, such as 'state_dict_ema', where a checkpoint
        holds several; by default the most usual one.

    Returns:
      Arrays by PyTorch's names, as `state_dicts.tidy` makes them.

    Raises:
      FileNotFoundError, IsADirectoryError: There is no such file.
      ImportError: PyTorch is needed and not installed.
      ValueError: The file is damaged, is something else, would have to run code, or
        holds no tensors.
    """
    path = pathlib.Path(path)
    name = path.name.lower()
    if path.is_dir():
        raise IsADirectoryError(
            f"{path} is a folder; expected a file ({', '.join(SUFFIXES)}). Orbax "
            "folders are read by jood.weights.load(path, model)."
        )
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}.")
    if not name.endswith(SUFFIXES):
        raise ValueError(
            f"{path} ends in none of {', '.join(SUFFIXES)}. Save the state_dict as "
            ".safetensors, or rename the file to what it is."
        )
    _check_start(path)
    if name.endswith(".safetensors"):
        content = _read_safetensors(path)
    elif name.endswith(".npz"):
        content = _read_npz(path)
    else:
        try:
            content = torch_files.load(path)
        except NotPlainError:
            content = torch_support.load(path)
    return state_dicts.tidy(state_dicts.unwrap(content, str(path), entry), str(path))


def _check_start(path: pathlib.Path) -> None:
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if not start:
        raise ValueError(f"{path} is empty; fetch or save it again.")
    for begin, what in _NO_WEIGHTS.items():
        if start.startswith(begin):
            raise ValueError(f"{path} is {what}, not weights; fetch it again.")


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        tensors = dict(safetensors.deserialize(path.read_bytes()))
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is truncated or not a .safetensors file ({error}); fetch it again."
        ) from None
    types = {name: tensor["dtype"] for name, tensor in tensors.items()}
    strange = [f"{name} ({t})" for name, t in types.items() if t not in _TYPES]
    if strange:
        raise ValueError(
            f"{path} has tensors of types that are not read: {', '.join(strange[:6])}. "
            f"Expected {', '.join(_TYPES)}; expand quantised weights first."
        )
    flat = {n: np.frombuffer(t["data"], _TYPES[types[n]]) for n, t in tensors.items()}
    return {name: array.reshape(tensors[name]["shape"]) for name, array in flat.items()}


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise ValueError(
            f"{path} is truncated or not a plain .npz file ({error}). Expected arrays "
            "of numbers, as np.savez(path, **tensors) writes them."
        ) from None
