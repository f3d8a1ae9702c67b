"""PyTorch's files without PyTorch: plain tensors are read, all else is refused."""

import contextlib
import os
import pickle
import struct
import sys
import zipfile

from helpers import torch_archive
from helpers.torch_archive import body
from helpers.torch_archive import tensor
from helpers.torch_oracle import torch_or_skip
import numpy as np
import pytest

from jood.weights import reading
from jood.weights import torch_files
from jood.weights.plain_pickles import NotPlainError

NUMBERS = np.arange(6, dtype=np.float32)
MATRIX = NUMBERS.reshape(2, 3)
DATA = NUMBERS.tobytes()


def state_dict(value):
    """A pickled {'a': value}."""
    return b"\x80\x02}" + body("a") + value + b"s."


def archive(path, content, data=DATA, **options):
    """Writes the format of today."""
    return torch_archive.archive(path, content, data, **options)


def single(path, content, data=DATA, count=6, little=True):
    """Writes the format from before 2020."""
    start = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": little}]
    head = b"".join(pickle.dumps(part, 2) for part in start)
    keys = pickle.dumps(["0"], 2)
    path.write_bytes(head + content + keys + struct.pack("<q", count) + data)
    return path


WRITERS = pytest.mark.parametrize("write", [archive, single])


@WRITERS
def test_tensors_are_read_in_both_formats(tmp_path, write):
    found = torch_files.load(write(tmp_path / "net.pth", state_dict(tensor())))
    assert list(found) == ["a"]
    assert found["a"].dtype == np.float32
    assert found["a"].flags.writeable
    np.testing.assert_array_equal(found["a"], MATRIX)


@WRITERS
def test_reading_needs_no_torch(tmp_path, write, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = write(tmp_path / "net.pth", state_dict(tensor()))
    np.testing.assert_array_equal(reading.read(path)["a"], MATRIX)


@WRITERS
@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ({"shape": (3, 2), "strides": (1, 3)}, MATRIX.T),
        ({"offset": 4, "shape": (2,), "strides": (1,)}, NUMBERS[4:]),
        ({"offset": 1, "shape": (), "strides": ()}, NUMBERS[1]),
        ({"shape": (0, 7), "strides": (7, 1)}, np.zeros((0, 7))),
    ],
)
def test_views_of_a_storage(tmp_path, write, view, expected):
    path = write(tmp_path / "net.pth", state_dict(tensor(**view)))
    np.testing.assert_array_equal(torch_files.load(path)["a"], expected)


@WRITERS
@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"shape": (2, 4), "strides": (4, 1)}, "larger than its storage"),
        ({"offset": 1}, "larger than its storage"),
        ({"shape": (10**9, 10**9), "strides": (0, 0)}, "larger than its storage"),
        ({"offset": -1}, "offset=-1"),
        ({"strides": (-3, 1)}, "strides"),
        ({"strides": (1,)}, "strides"),
        ({"size": 7}, "do not hold 7 of float32|damaged"),
        ({"kind": "QInt8Storage"}, "QInt8Storage"),
    ],
)
def test_tensors_that_do_not_lie_in_their_storage_are_refused(
    tmp_path, write, view, message
):
    path = write(tmp_path / "net.pth", state_dict(tensor(**view)))
    with pytest.raises(NotPlainError, match=message):
        torch_files.load(path)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Stateful:
    """Pickled with attributes, which a machine that obeys would set."""


ATTRIBUTES = body(Stateful())[:-1] + body({"x": 1}) + b"b"


@WRITERS
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"cos\nsystem\n" + body(("touch ran",)) + b"R", "calls os system"),
        (b"cbuiltins\neval\n(" + body("1") + b"tR", "calls builtins eval"),
        (b"(" + body("touch ran") + b"ios\nsystem\n", "instruction INST"),
        (b"cos\nsystem\n" + b"}b", "has a _Name for a dict"),
        (b"ctorch\nfloat32\n", "holds _Name|damaged"),
        (b"ctorch.nn\nLinear\n)\x81", "instruction NEWOBJ"),
        (ATTRIBUTES, "calls|instruction"),
        (b"(" + body("module") + b"tQ", "damaged"),
        (b"h\x63", "damaged"),
    ],
)
def test_nothing_that_a_file_asks_for_is_run(tmp_path, write, value, message):
    path = write(tmp_path / "net.pth", state_dict(value))
    with pytest.raises(NotPlainError, match=message):
        torch_files.load(path)
    assert not (tmp_path / "ran").exists()


def test_pickles_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "net.pth"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps({"a": Evil(str(tmp_path / "ran"))}, protocol))
        with pytest.raises(NotPlainError):
            torch_files.load(path)
    assert not (tmp_path / "ran").exists()


def test_other_archives_and_byte_orders_are_refused(tmp_path):
    content = state_dict(tensor())
    path = archive(tmp_path / "a.pth", content, order=b"big")
    with pytest.raises(NotPlainError, match="big-endian"):
        torch_files.load(path)
    path = single(tmp_path / "b.pth", content, little=False)
    with pytest.raises(NotPlainError, match="big-endian"):
        torch_files.load(path)
    path = archive(tmp_path / "c.pth", content, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(NotPlainError, match="compressed"):
        torch_files.load(path)
    with zipfile.ZipFile(tmp_path / "d.pth", "w") as file:
        file.writestr("net/data.pkl", content)
        file.writestr("net/constants.pkl", content)
    with pytest.raises(NotPlainError, match=r"not an archive of torch\.save"):
        torch_files.load(tmp_path / "d.pth")


@WRITERS
def test_damaged_files_raise_one_kind_of_error(tmp_path, write):
    """Files that were cut short, and bytes changed at random."""
    path = write(tmp_path / "net.pth", state_dict(tensor()))
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(NotPlainError):
            torch_files.load(path)
    rng = np.random.default_rng(0)
    for _ in range(100):
        changed = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(NotPlainError):
            torch_files.load(path)


@pytest.mark.parametrize("new", [True, False])
def test_files_of_torch_are_read_as_torch_reads_them(tmp_path, new):
    torch = torch_or_skip()
    floats, integers = ("float64", "float32", "float16"), ("int64", "int32", "int16")
    kinds = (*floats, *integers, "int8", "uint8", "bool")
    whole = torch.arange(24).reshape(4, 6)
    content = {
        **{kind: whole.to(getattr(torch, kind)) for kind in kinds},
        "view": whole[1:3, ::2].T,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "nested": {"epoch": 3, "lr": 0.1, "note": "x", "list": [1, (2, None), True]},
        "layer": torch.nn.BatchNorm1d(3).state_dict(),
        "empty": torch.zeros(0, 3),
        "large": 2**40,
    }
    path = tmp_path / "net.pth"
    torch.save(content, path, _use_new_zipfile_serialization=new)
    found = torch_files.load(path)
    assert list(found) == list(content)
    assert found["nested"] == content["nested"]
    assert found["large"] == 2**40
    tensors = {n: t for n, t in content.items() if hasattr(t, "detach")}
    tensors |= {f"layer/{n}": t for n, t in content["layer"].items()}
    for name, expected in tensors.items():
        outer, _, inner = name.partition("/")
        value = found[outer][inner] if inner else found[outer]
        assert value.dtype == expected.detach().numpy().dtype, name
        np.testing.assert_array_equal(value, expected.detach().numpy())


def test_several_tensors_of_one_storage(tmp_path):
    arrays = {"a": MATRIX, "b": NUMBERS[:1], "c": MATRIX.T + 7}
    found = torch_files.load(torch_archive.write(tmp_path / "net.pth", arrays))
    assert list(found) == list(arrays)
    for name, expected in arrays.items():
        np.testing.assert_array_equal(found[name], expected)


def test_bfloat16(tmp_path):
    torch = torch_or_skip()
    torch.save({"a": torch.tensor([0.5, -3.0]).bfloat16()}, tmp_path / "net.pth")
    found = torch_files.load(tmp_path / "net.pth")["a"]
    assert found.dtype.name == "bfloat16"
    np.testing.assert_array_equal(found.astype(np.float32), [0.5, -3.0])
