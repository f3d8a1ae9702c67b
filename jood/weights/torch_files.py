"""PyTorch's files of plain tensors, read without PyTorch.

`torch.save` writes a zip archive: a pickle, in which each tensor names its storage,
and a member per storage. Before 2020 it wrote four pickles (a magic number, a version,
the machine's sizes, the content), a fifth with the keys of the storages, and these one
after the other. `plain_pickles` reads the pickles and can run no code.
"""

from collections.abc import Callable
import io
import math
import pathlib
import struct
from typing import IO, Any
import zipfile

import jax.numpy as jnp
import numpy as np

from jood.weights import plain_pickles
from jood.weights.plain_pickles import NotPlainError
from jood.weights.plain_pickles import Storage
from jood.weights.plain_pickles import StoredTensor

_MAGIC = 0x1950A86A20F9469CFC6C
_PICKLE, _TORCHSCRIPT = "data.pkl", "constants.pkl"
_TYPES: dict[str, Any] = {
    "torch DoubleStorage": np.float64,
    "torch FloatStorage": np.float32,
    "torch HalfStorage": np.float16,
    "torch BFloat16Storage": jnp.bfloat16,
    "torch LongStorage": np.int64,
    "torch IntStorage": np.int32,
    "torch ShortStorage": np.int16,
    "torch CharStorage": np.int8,
    "torch ByteStorage": np.uint8,
    "torch BoolStorage": np.bool_,
}


def load(path: pathlib.Path) -> Any:
    """Reads a file that torch.save wrote.

    Returns:
      The saved object, with NumPy's arrays for tensors.

    Raises:
      OSError: The file cannot be opened.
      NotPlainError: It holds more than dicts, lists, numbers, texts and tensors, is
        damaged, or is something else.
    """
    with path.open("rb") as file:
        try:
            if not zipfile.is_zipfile(file):
                file.seek(0)
                return _of_pickles(file)
            with zipfile.ZipFile(file) as archive:
                return _of_archive(archive)
        except NotPlainError:
            raise
        except Exception as error:  # of every kind: foreign bytes are read as a pickle
            raise NotPlainError(f"it is damaged: {error!r}.") from None


def _of_archive(archive: zipfile.ZipFile) -> Any:
    names = archive.namelist()
    folders = [n.removesuffix(_PICKLE) for n in names if n.endswith(f"/{_PICKLE}")]
    if len(folders) != 1 or f"{folders[0]}{_TORCHSCRIPT}" in names:
        raise NotPlainError("it is not an archive of torch.save.")

    def read(name: str) -> bytes:
        info = archive.getinfo(folders[0] + name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise NotPlainError("it is compressed, which torch.save never does.")
        return archive.read(info)

    if f"{folders[0]}byteorder" in names:
        _check_order(read("byteorder") == b"little")
    content = plain_pickles.read(io.BytesIO(read(_PICKLE)))
    return _with_arrays(content, lambda storage: read(f"data/{storage.key}"))


def _of_pickles(file: IO[bytes]) -> Any:
    if plain_pickles.read(file) != _MAGIC:
        raise NotPlainError("it does not begin as torch.save's files do.")
    plain_pickles.read(file)  # the version, which was never raised
    _check_order(plain_pickles.read(file)["little_endian"] is True)
    storages: dict[str, Storage] = {}
    content = plain_pickles.read(file, storages)
    data: dict[str, bytes] = {}
    for key in plain_pickles.read(file):
        (count,) = struct.unpack("<q", file.read(8))
        data[key] = file.read(count * _type(storages[key]).itemsize)
    return _with_arrays(content, lambda storage: data[storage.key])


def _check_order(little: bool) -> None:
    if not little:
        raise NotPlainError("its numbers are big-endian.")


def _type(storage: Storage) -> np.dtype:
    if storage.kind not in _TYPES:
        raise NotPlainError(f"it has a {storage.kind}.")
    return np.dtype(_TYPES[storage.kind])


def _with_arrays(content: Any, data: Callable[[Storage], bytes]) -> Any:
    """Returns the content with arrays for tensors; `data` gives a storage's bytes."""
    if isinstance(content, StoredTensor):
        return _array(content, data(content.storage))
    if isinstance(content, dict):
        return {key: _with_arrays(value, data) for key, value in content.items()}
    if isinstance(content, list):
        return [_with_arrays(value, data) for value in content]
    if content is None or isinstance(content, bool | int | float | str):
        return content
    if type(content) is tuple:
        return tuple(_with_arrays(value, data) for value in content)
    raise NotPlainError(f"it holds {content!r}.")  # a storage, or a name of a class


def _array(tensor: StoredTensor, data: bytes) -> np.ndarray:
    """Copies a tensor out of its storage, after checking that it lies inside."""
    storage, offset, shape, strides = tensor
    dtype = _type(storage)
    if len(data) != storage.size * dtype.itemsize:
        raise NotPlainError(f"{len(data)} bytes do not hold {storage.size} of {dtype}.")
    if len(shape) != len(strides) or min((*shape, *strides, offset), default=0) < 0:
        raise NotPlainError(f"a tensor has {shape=}, {strides=}, {offset=}.")
    count = math.prod(shape)
    if count == 0:
        return np.zeros(shape, dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # An expanded tensor, which repeats its storage, could have any size.
    if last >= storage.size or count > storage.size:
        raise NotPlainError(f"a tensor of {shape} is larger than its storage.")
    flat = np.frombuffer(data, dtype)[offset:]
    steps = [step * dtype.itemsize for step in strides]
    return np.array(np.lib.stride_tricks.as_strided(flat, shape, steps))
