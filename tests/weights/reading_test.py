"""Files of weights: every kind gives the same arrays, or says why it does not."""

import argparse
import builtins
import collections
import logging
import os
import pickle
import warnings

from helpers.torch_oracle import torch_or_skip
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from jood.weights import reading
from jood.weights import state_dicts

TENSORS = {
    "conv1.weight": np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3) / 7,
    "bn1.running_mean": np.array([0.5, -2.0], np.float32),
    "fc.bias": np.array([1.0, 2.0, 3.0], np.float32),
}
COUNTED = {**TENSORS, "bn1.num_batches_tracked": np.array(7)}


def torch_tensors(names=COUNTED):
    torch = torch_or_skip()
    return {name: torch.from_numpy(np.array(names[name])) for name in names}


def check_equal(found, expected=TENSORS):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


@pytest.fixture
def safetensors_file(tmp_path):
    safetensors_numpy.save_file(COUNTED, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


@pytest.fixture
def npz_file(tmp_path):
    np.savez(tmp_path / "net.npz", **COUNTED)
    return tmp_path / "net.npz"


def test_safetensors_and_npz_give_the_tensors_without_counters(
    safetensors_file, npz_file
):
    found = reading.read(safetensors_file)
    check_equal({name: found[name] for name in TENSORS})
    assert found.keys() == TENSORS.keys()
    check_equal(reading.read(npz_file))


@pytest.mark.parametrize(
    "name",
    ["net.pth", "net.pt", "net.th", "net.pth.tar", "net.bin", "NET.PTH", "a.ckpt"],
)
def test_files_of_torch_give_the_tensors(tmp_path, name):
    torch_or_skip().save(torch_tensors(), tmp_path / name)
    check_equal(reading.read(tmp_path / name))


def test_old_files_of_torch_give_the_tensors(tmp_path):
    torch = torch_or_skip()
    path = tmp_path / "net.pth"
    torch.save(torch_tensors(), path, _use_new_zipfile_serialization=False)
    check_equal(reading.read(path))


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_other_floating_types_become_float32(tmp_path, kind):
    torch = torch_or_skip()
    from safetensors import torch as safetensors_torch

    exact = {"a.weight": torch.tensor([[0.5, -1.25], [3.0, 1 / 4096]])}
    stored = {"a.weight": exact["a.weight"].to(getattr(torch, kind))}
    safetensors_torch.save_file(stored, tmp_path / "net.safetensors")
    torch.save(stored, tmp_path / "net.pth")
    expected = {"a.weight": exact["a.weight"].numpy()}
    for name in ("net.safetensors", "net.pth"):
        check_equal(reading.read(tmp_path / name), expected)


@pytest.mark.parametrize(
    "key", ["state_dict", "model", "model_state", "net", "ema", "x"]
)
def test_tensors_are_found_under_the_key_that_holds_them(tmp_path, key):
    torch = torch_or_skip()
    content = {
        "epoch": 3,
        "best_acc1": torch.tensor(93.5),
        key: collections.OrderedDict(torch_tensors()),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{}]},
        "meta": {"note": "no tensors"},
    }
    torch.save(content, tmp_path / "net.pth.tar")
    check_equal(reading.read(tmp_path / "net.pth.tar"))


def test_a_nested_wrapper_is_unwrapped():
    content = {"model": {"state_dict": TENSORS, "epoch": 1}, "args": {"lr": 0.1}}
    check_equal(state_dicts.unwrap(content, "it"))


def test_a_dict_beside_the_tensors_is_not_taken_for_them():
    content = {**TENSORS, "meta": {"mean": np.zeros(3)}}
    check_equal(state_dicts.unwrap(content, "it"))


def test_of_several_networks_the_usual_one_is_read_unless_another_is_named(caplog):
    averaged = {name: array + 1 for name, array in TENSORS.items()}
    content = {"state_dict_ema": averaged, "state_dict": TENSORS}
    with caplog.at_level(logging.INFO, logger="jood"):
        check_equal(state_dicts.unwrap(content, "it"))
    assert "'state_dict' is read, of ['state_dict_ema', 'state_dict']" in caplog.text
    check_equal(state_dicts.unwrap(content, "it", "state_dict_ema"), averaged)
    with pytest.raises(ValueError, match="under 'ema'; there are 'state_dict_ema', 's"):
        state_dicts.unwrap(content, "it", "ema")
    with pytest.raises(ValueError, match="none under any key"):
        state_dicts.unwrap(TENSORS, "it", "ema")
    with pytest.raises(ValueError, match=r"each of 'student', 'teacher'.*entry="):
        state_dicts.unwrap({"student": TENSORS, "teacher": TENSORS}, "it")


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "model.",
        "net.",
    ],
)
def test_prefixes_of_wrappers_are_taken_off(prefix):
    wrapped = {prefix + name: array for name, array in COUNTED.items()}
    check_equal(state_dicts.tidy(wrapped, "it"))


def test_prefixes_that_are_part_of_a_name_stay():
    names = ("model.weight", "backbone.module.weight", "net.0.weight", "modular.bias")
    tensors = {name: np.zeros(2, np.float32) for name in names}
    assert tuple(state_dicts.tidy(tensors, "it")) == names
    averaged = {"module.net.bias": np.zeros(2, np.float32), "n_averaged": np.array(9)}
    assert tuple(state_dicts.tidy(averaged, "it")) == ("bias",)
    compiled = {"layer1._orig_mod.0.weight": np.zeros(2, np.float32)}
    assert tuple(state_dicts.tidy(compiled, "it")) == ("layer1.0.weight",)


def test_names_that_become_equal_are_refused():
    tensors = {"module.fc.bias": np.zeros(2), "fc.bias": np.zeros(2)}
    with pytest.raises(ValueError, match=r"both with and without 'module\."):
        state_dicts.tidy(tensors, "it")


def test_an_unsafe_file_is_refused_and_not_run(tmp_path):
    torch = torch_or_skip()
    path = tmp_path / "net.pth"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"state_dict": torch_tensors(), "args": Evil()}, path)
    with pytest.raises(ValueError, match=r"net.pth: .*mkdir.*any code") as error:
        reading.read(path)
    assert "weights_only=False" in str(error.value)
    assert ".safetensors" in str(error.value)
    for protocol, message in ((2, "mkdir"), (4, "pickles of other kinds")):
        path.write_bytes(pickle.dumps({"a": Evil()}, protocol))
        with pytest.raises(ValueError, match=message):
            reading.read(path)
    assert not (tmp_path / "ran").exists()


def test_objects_beside_the_tensors_are_named(tmp_path):
    torch = torch_or_skip()
    content = {"state_dict": torch_tensors(), "args": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(
        ValueError, match=r"argparse\.Namespace.*content\['state_dict'\]"
    ):
        reading.read(tmp_path / "net.pth")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"Linear.*content.state_dict\(\)"):
        reading.read(tmp_path / "whole.pth")


def test_a_torchscript_program_says_what_to_do(tmp_path):
    torch = torch_or_skip()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, its files are not
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"TorchScript.*torch\.jit\.load"):
        reading.read(tmp_path / "net.pt")


def test_sparse_tensors_are_named(tmp_path):
    torch = torch_or_skip()
    with pytest.raises(ValueError, match=r"fc\.weight in it is not a plain tensor"):
        state_dicts.tidy({"fc.weight": torch.eye(3).to_sparse()}, "it")


def test_without_torch_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def no_torch(name, *args, **kwargs):
        if name == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    (tmp_path / "net.pth").write_bytes(b"PK something")
    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(ImportError, match=r'net.pth.*pip install "jood\[torch\]"') as e:
        reading.read(tmp_path / "net.pth")
    assert "torch --index-url https://download.pytorch.org/whl/cpu" in str(e.value)


@pytest.mark.parametrize("name", ["net.safetensors", "net.npz", "net.pth", "old.pth"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.6, 0.99])
def test_truncated_files_are_named(tmp_path, safetensors_file, npz_file, name, kept):
    path = tmp_path / name
    if name.endswith("pth"):
        new = name == "net.pth"
        torch_or_skip().save(torch_tensors(), path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(
        ValueError, match=f"{name} is (truncated|empty)|{name}: it is tr"
    ):
        reading.read(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"<HTML>sign in</HTML>", "an HTML page"),
        (b'<?xml version="1.0"?><Error>', "an XML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"", "empty"),
        (b"hello there, this is text", "truncated or not a"),
        (bytes(range(200)), "truncated or not a"),
    ],
)
def test_files_that_are_something_else_say_so(tmp_path, suffix, content, message):
    if suffix == ".pth":
        torch_or_skip()
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        reading.read(path)
    assert str(path) in str(error.value)


def test_a_damaged_array_of_an_npz_is_refused(npz_file):
    content = bytearray(npz_file.read_bytes())
    where = content.find(TENSORS["conv1.weight"].tobytes())
    content[where + 5] ^= 1
    npz_file.write_bytes(content)
    with pytest.raises(ValueError, match="CRC"):
        reading.read(npz_file)


def test_an_npz_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "net.npz", a=np.array([{"b": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"net.npz.*allow_pickle"):
        reading.read(tmp_path / "net.npz")


def test_quantised_safetensors_are_named(tmp_path):
    torch = torch_or_skip()
    from safetensors import torch as safetensors_torch

    tensors = {"fc.weight": torch.ones(2, 2).to(torch.float8_e4m3fn)}
    safetensors_torch.save_file(tensors, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"fc.weight \(F8_E4M3\)"):
        reading.read(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list; expected tensors by name"),
        ({"epoch": 3, "lr": 0.1}, r"no tensors by name, only 'epoch', 'lr'\."),
        ({}, "only an empty dict"),
        ({0: np.zeros(3)}, "no tensors by name, only 0"),
    ],
)
def test_content_without_tensors_says_what_there_is(content, message):
    with pytest.raises(ValueError, match=message):
        state_dicts.unwrap(content, "it")


def test_paths_that_are_no_files_of_weights(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"is a folder.*weights\.load"):
        reading.read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.pth"):
        reading.read(tmp_path / "nowhere.pth")
    (tmp_path / "net.h5").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"ends in none of \.safetensors, \.npz"):
        reading.read(tmp_path / "net.h5")


@pytest.mark.parametrize(
    ("arrays", "original"),
    [
        ("akamaster_resnet20-12fca82f.npz", "akamaster_resnet20-12fca82f.th"),
        ("dice_densenet100_cifar10.npz", "dice_densenet100_cifar10.pth.tar"),
    ],
)
def test_published_files_equal_their_npz(data_dir, arrays, original):
    torch_or_skip()
    found = reading.read(data_dir / "weights" / original)
    check_equal(found, reading.read(data_dir / "weights" / arrays))
    assert len(found) > 90
    assert not any(name.startswith("module.") for name in found)
