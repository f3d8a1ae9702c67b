"""Saved detectors with a flipped byte or an edited field: refused, or the same."""

import contextlib
import hashlib
import json

from helpers import fuzzing
from helpers.toy_detectors import pixel_detector
import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

import jood
from jood._utils import checked_json
from jood.detector import saving

pytestmark = pytest.mark.slow
FLIPS = 219  # a call, and one description that is edited and sealed anew
VALUES = (None, True, -1, 0, 2, 1e9, 10**30, "x", "", [], [1], {}, {"a": 1}, [[0]])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "detector"
    pixel_detector().save(path)
    files = (path / saving.JSON_NAME, path / saving.ARRAYS_NAME)
    return path, {file: file.read_bytes() for file in files}


def same(detector):
    """Whether a detector is the saved one, in all that decides its scores."""
    old = pixel_detector()
    if detector.component.spec != old.component.spec or detector.model != old.model:
        return False
    pairs = ((detector.fitted, old.fitted), (detector.calibration, old.calibration))
    return all(jax.tree.all(jax.tree.map(np.array_equal, a, b)) for a, b in pairs)


def edited(rng, content):
    """Puts a random value at a random place of JSON values."""
    node = content
    while True:
        keys = [*node] if isinstance(node, dict) else [*range(len(node))]
        key = keys[rng.integers(len(keys))]
        inner = node[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
            node = inner
            continue
        node[key] = VALUES[rng.integers(len(VALUES))]
        return


@fuzzing.seeds("folders", each=FLIPS + 1)
def test_folders(saved, seed):
    path, files = saved
    rng = np.random.default_rng(seed)
    try:
        for _ in range(FLIPS):
            file, whole = list(files.items())[rng.integers(2)]
            place, bit = int(rng.integers(len(whole))), 1 << int(rng.integers(8))
            byte = bytes([whole[place] ^ bit])
            file.write_bytes(whole[:place] + byte + whole[place + 1 :])
            try:
                detector = jood.Detector.load(path)
            except ValueError:  # UnicodeDecodeError is one
                pass
            else:  # white space between JSON values
                assert same(detector), (file.name, place, bit)
            file.write_bytes(whole)
        content = json.loads(files[path / saving.JSON_NAME])
        for key in ("sha256", "format", "version"):
            del content[key]
        edited(rng, content)
        checked_json.write(
            path / saving.JSON_NAME, saving.FORMAT, saving.VERSION, content
        )
        with contextlib.suppress(ValueError):  # and nothing else
            jood.Detector.load(path)
    finally:
        for file, whole in files.items():
            file.write_bytes(whole)


def test_a_forged_type_of_each_array_is_refused(saved, tmp_path):
    path, files = saved
    arrays = safetensors_numpy.load(files[path / saving.ARRAYS_NAME])
    content = json.loads(files[path / saving.JSON_NAME])
    for key in ("sha256", "format", "version"):
        del content[key]
    for name in [n for n in arrays if not n.startswith("variables/")]:
        for dtype in ("float16", "float64", "int32", "uint8"):
            blob = safetensors_numpy.save({**arrays, name: arrays[name].astype(dtype)})
            content["arrays"]["sha256"] = hashlib.sha256(blob).hexdigest()
            (tmp_path / saving.ARRAYS_NAME).write_bytes(blob)
            where = tmp_path / saving.JSON_NAME
            checked_json.write(where, saving.FORMAT, saving.VERSION, content)
            with pytest.raises(ValueError, match=f"{name} must be"):
                jood.Detector.load(tmp_path)
