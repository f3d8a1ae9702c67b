"""CIFAR as its authors publish it: cifar-10-batches-py and cifar-100-python.

These files are pickles, which may run any code when they are read. Here they are read
by an unpickler that admits nothing but arrays, lists, dicts, numbers and strings.
"""

import dataclasses
import os
import pathlib
import pickle
from typing import Any

import numpy as np

from jood.data.sources import ArraySource
from jood.data.sources import resized
from jood.data.sources import source_kind

_SIDE = 32
# Per data set: files by split, the key of the labels, the file and key of their names.
_Layout = tuple[dict[str, tuple[str, ...]], bytes, tuple[str, bytes]]
_LAYOUTS: dict[str, _Layout] = {
    "test_batch": (
        {
            "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
            "test": ("test_batch",),
        },
        b"labels",
        ("batches.meta", b"label_names"),
    ),
    "test": (
        {"train": ("train",), "test": ("test",)},
        b"fine_labels",
        ("meta", b"fine_label_names"),
    ),
}


@dataclasses.dataclass(frozen=True)
class NamedArrays(ArraySource):
    """Arrays whose labels have names."""

    class_names: tuple[str, ...] | None = None


def _latin1(text: str, encoding: str) -> bytes:
    """Decodes Python 2's strings; other codecs may do anything."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the codec {encoding!r}")
    return text.encode("latin1")


def _array(kind: type, shape: tuple[int, ...], dtype: bytes) -> np.ndarray:
    """An array still without content, as NumPy's pickles begin one."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError(f"an array of type {kind!r}")
    return np.ndarray(shape, dtype.decode())


# Everything that a pickle may call.
_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


class _Data(pickle.Unpickler):
    """Reads data and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns one of the names that arrays are made of, or raises."""
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return _KNOWN[module, name]


def _load(path: pathlib.Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            content = _Data(file, encoding="bytes").load()
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged pickle raises nearly everything
        raise ValueError(
            f"{path} is not a file of CIFAR's: it is damaged, or holds {error}, where "
            "arrays, lists, dicts, numbers and strings are read and nothing else."
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a file of CIFAR's: it holds no dict.")
    return content


def read(folder: str | os.PathLike[str], split: str) -> NamedArrays:
    """Reads 'train' or 'test' of a folder as its authors publish it.

    Returns:
      Images uint8 [N, 32, 32, 3] with their labels (CIFAR-100's fine ones).

    Raises:
      FileNotFoundError: A file is missing.
      ValueError: A file is damaged or holds something else.
    """
    folder = pathlib.Path(folder)
    layout = _layout(folder)
    if layout is None:
        raise FileNotFoundError(f"there is no {' or '.join(_LAYOUTS)} in {folder}.")
    files, label_key, (meta, names_key) = _LAYOUTS[layout]
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for path in (folder / name for name in files[split]):
        content = _load(path)
        data, own = content.get(b"data"), content.get(label_key) or ()
        size = 3 * _SIDE**2
        whole = isinstance(data, np.ndarray) and data.dtype == np.uint8
        if data is None or not whole or data.shape != (len(own), size):
            raise ValueError(
                f"{path} holds no b'data', uint8 [N, {size}], with as many "
                f"{label_key!r}."
            )
        images.append(data)
        labels.append(np.asarray(own, np.int32))
    rows = np.concatenate(images).reshape(-1, 3, _SIDE, _SIDE)
    names = tuple(name.decode() for name in _load(folder / meta)[names_key])
    return NamedArrays(
        np.ascontiguousarray(rows.transpose(0, 2, 3, 1)), np.concatenate(labels), names
    )


def _layout(folder: pathlib.Path) -> str | None:
    return next((name for name in _LAYOUTS if (folder / name).is_file()), None)


def _open(path: pathlib.Path, how: source_kind.Reading) -> Any:
    arrays = read(path, how.split)
    if not how.labelled:
        return resized.fitted(ArraySource(arrays.images), how.preprocessing)
    return resized.fitted(arrays, how.preprocessing)


KIND = source_kind.SourceKind(
    "cifar_batches",
    open=_open,
    is_there=lambda path: _layout(path) is not None,
)
