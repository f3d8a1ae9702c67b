"""Other values of a hyper-parameter, for the check that each one matters."""

import atexit
from collections.abc import Callable, Sequence
import functools
import inspect
import itertools
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
    return (0.5, 0.25, 2.0, 2, 1, _features_file(), "C4")


def without_effect(
    parameters: Sequence[inspect.Parameter], scores: Callable[[dict[str, Any]], Any]
) -> tuple[str, int]:
    """Finds a parameter of which no value changes the scores.

    Args:
      parameters: parameters of a factory.
      scores: values by name -> scores; raises ValueError if they are refused.

    Returns:
      Its name, or '' if all have an effect, by themselves or beside another value of
      another parameter, its neighbours first; and how many values were tried of it.
    """
    for place, parameter in enumerate(parameters):
        others = [p for p in parameters if p is not parameter]
        others.sort(key=lambda p: abs(parameters.index(p) - place))
        beside = ({p.name: value} for p in others for value in of(p))
        tried = 0
        for base in itertools.chain([{}], beside):
            values = of(parameter)[:2] if base else of(parameter)
            changes, count = _changes(scores, base, parameter.name, values)
            tried += count
            if changes:
                break
        else:
            return parameter.name, tried
    return "", 0


def _changes(
    scores: Callable[[dict[str, Any]], Any],
    base: dict[str, Any],
    name: str,
    values: Sequence[Any],
) -> tuple[bool, int]:
    """Whether a value beside others changes the scores, and how many were tried."""
    tried = 0
    try:
        before = scores(base)
    except ValueError:
        return False, tried
    for value in values:
        try:
            after = scores({**base, name: value})
        except ValueError:
            continue  # no value that this parameter takes
        tried += 1
        if not np.allclose(after, before, rtol=1e-6, atol=1e-7):
            return True, tried
    return False, tried


@functools.cache
def _features_file() -> str:
    """A file of features, for methods that can read their memory from disk."""
    folder = tempfile.mkdtemp(prefix="jood_features_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = f"{folder}/features.npy"
    features = np.random.default_rng(0).exponential(size=(96, WIDTH))
    np.save(path, features.astype(np.float32))
    return path
