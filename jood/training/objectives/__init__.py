"""Objectives of training, one file each; those that live elsewhere `register`."""

import ast
from collections.abc import Callable
from typing import TypeVar

from jood._utils import call_text
from jood._utils import unknown_name
from jood.training.objectives.cider import cider as cider
from jood.training.objectives.cross_entropy import cross_entropy as cross_entropy
from jood.training.objectives.csi import csi as csi
from jood.training.objectives.energy_margin import energy_margin as energy_margin
from jood.training.objectives.godin import godin as godin
from jood.training.objectives.lff import lff as lff
from jood.training.objectives.logitnorm import logitnorm as logitnorm
from jood.training.objectives.mixoe import mixoe as mixoe
from jood.training.objectives.mos import mos as mos
from jood.training.objectives.npos import npos as npos
from jood.training.objectives.objective import Objective as Objective
from jood.training.objectives.objective import Part as Part
from jood.training.objectives.outlier_exposure import (
    outlier_exposure as outlier_exposure,
)
from jood.training.objectives.ssod import ssod as ssod
from jood.training.objectives.supcon import supcon as supcon
from jood.training.objectives.t2fnorm import t2fnorm as t2fnorm
from jood.training.objectives.tagfog import tagfog as tagfog
from jood.training.objectives.vos import vos as vos

__all__ = (
    "cider",
    "cross_entropy",
    "csi",
    "energy_margin",
    "godin",
    "lff",
    "logitnorm",
    "mixoe",
    "mos",
    "npos",
    "outlier_exposure",
    "ssod",
    "supcon",
    "t2fnorm",
    "tagfog",
    "vos",
)  # fmt: skip

Factory = TypeVar("Factory", bound=Callable[..., Objective])
_FACTORIES: dict[str, Callable[..., Objective]] = {n: globals()[n] for n in __all__}


def names() -> tuple[str, ...]:
    """Returns the names that `parse` knows: jood's own, then registered ones."""
    return tuple(_FACTORIES)


def register(factory: Factory) -> Factory:
    """Makes a factory of objectives known by its name; use it as a decorator.

    Raises:
      ValueError: The name is taken by another factory, or can be no name in a text.
    """
    name, where = factory.__name__, (factory.__module__, factory.__qualname__)
    if not name.isidentifier():
        raise ValueError(f"an objective needs a name for its text, got {name!r}.")
    known = _FACTORIES.get(name, factory)
    # A cell of a notebook that runs again defines the same function once more.
    if (known.__module__, known.__qualname__) != where:
        raise ValueError(
            f"the objective {name!r} exists already, in {known.__module__}. Give the "
            f"function in {factory.__module__} another name."
        )
    _FACTORIES[name] = factory
    return factory


def parse(text: str) -> Objective:
    """Returns the objective of a text: a name, or a call with literal arguments.

    Raises:
      ValueError: The text is no such call, or its name or arguments are unknown.

    Example:
      >>> parse('lff(mu=2)').spec
      "lff(delta=0.1, mu=2.0, lam=1.0, reference='start')"
    """
    example = "'lff' or 'lff(delta=0.01, mu=2)'"
    try:
        node = ast.parse(text.strip(), mode="eval").body
        values = call_text.literals(node)
    except SyntaxError as error:
        raise ValueError(
            f"cannot read the objective {text!r}: {error.msg}. Expected {example}."
        ) from None
    except (RecursionError, MemoryError):
        raise ValueError(
            f"cannot read an objective that is nested this deeply: {text[:40]!r}.... "
            f"Expected {example}."
        ) from None
    name = node.func if isinstance(node, ast.Call) else node
    if not isinstance(name, ast.Name):
        raise ValueError(f"expected an objective such as {example}, got {text!r}.")
    if name.id not in _FACTORIES:
        raise unknown_name.unknown("objective", name.id, _FACTORIES)
    return call_text.build(name.id, _FACTORIES[name.id], *values)
