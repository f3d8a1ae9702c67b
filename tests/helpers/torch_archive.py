"""Files of PyTorch, written without PyTorch."""

import pickle
import zipfile

import numpy as np


def body(value):
    """A value as the instructions that put it on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(kind="FloatStorage", size=6, offset=0, shape=(2, 3), strides=(3, 1)):
    """A tensor as PyTorch pickles it."""
    storage = (
        b"(" + body("storage") + f"ctorch\n{kind}\n".encode() + body("0")
        + body("cuda:0") + body(size) + b"tQ"
    )  # fmt: skip
    view = body(offset) + body(shape) + body(strides) + b"\x89"
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + hooks + b"tR"


def archive(path, content, data, order=b"little", **options):
    """Writes the format of today, which is a zip archive."""
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("net/data.pkl", content)
        file.writestr("net/byteorder", order)
        file.writestr("net/data/0", data)
    return path


def write(path, arrays):
    """Writes float32 arrays by name, which lie one after the other in one storage."""
    data = b"".join(np.ascontiguousarray(a, "<f4").tobytes() for a in arrays.values())
    content, offset = b"\x80\x02}(", 0
    for name, array in arrays.items():
        strides = tuple(int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim))
        view = {"offset": offset, "shape": array.shape, "strides": strides}
        content += body(name) + tensor(size=len(data) // 4, **view)
        offset += array.size
    return archive(path, content + b"u.", data)
