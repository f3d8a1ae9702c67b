"""Other values of a hyper-parameter, for the check that each one matters."""

import atexit
import functools
import inspect
import shutil
import tempfile
import typing
from typing import Any

import numpy as np

from jood.testing.toy import WIDTH


def of(parameter: inspect.Parameter) -> tuple[Any, ...]:
    """Other values to try for a hyper-parameter, by its default."""
    default = parameter.default
    if isinstance(default, str):  # one of a Literal, or a stage
        named = typing.get_origin(parameter.annotation) is typing.Literal
        stages = ("C2", "C3", "C4", "C5")
        return typing.get_args(parameter.annotation) if named else stages
    if isinstance(default, tuple):  # names, such as stages: each alone
        return tuple((value,) for value in default)
    if isinstance(default, bool):
        return (not default,)
    if isinstance(default, int):
        # 64: fewer than the toy's training images
        return (default + 1, default - 1, default // 2, 2 * default, 1, 2, 64)
    if isinstance(default, float):
        return (default / 2, default * 2, (1 + default) / 2, default + 0.5)
    return (0.5, 0.25, 2.0, 2, _features_file(), "C4")


@functools.cache
def _features_file() -> str:
    """A file of features, for methods that can read their memory from disk."""
    folder = tempfile.mkdtemp(prefix="jood_features_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = f"{folder}/features.npy"
    features = np.random.default_rng(0).exponential(size=(96, WIDTH))
    np.save(path, features.astype(np.float32))
    return path
