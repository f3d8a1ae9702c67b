"""Classifiers in Flax Linen whose stages are modules named C2..C5.

`create(name, num_classes)` builds one, `names()` lists them; `describe` and `build`
turn a model into plain JSON values and back, which is how a saved detector
remembers its network.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

from flax import linen as nn
import numpy as np

from jood import names as names_lib
from jood.models import resnet

_FAMILIES: dict[str, type[nn.Module]] = {"ResNet": resnet.ResNet}
_MODELS: dict[str, Callable[..., nn.Module]] = {**resnet.MODELS}


def names() -> tuple[str, ...]:
    """Returns the names that `create` knows."""
    return tuple(_MODELS)


def create(name: str, num_classes: int, **options: Any) -> nn.Module:
    """Builds a model.

    Args:
      name: one of `names()`.
      num_classes: K, the width of the logits.
      **options: fields of the model's class, such as `width` or `dtype`
        ('float32' or 'bfloat16').

    Returns:
      A Linen module: `model.apply(variables, images)` maps float [B, H, W, 3] to
      logits float32 [B, K] in evaluation mode.

    Raises:
      ValueError: the name or an option is unknown; the near ones are listed.
    """
    if name not in _MODELS:
        raise names_lib.unknown("model", name, _MODELS)
    if isinstance(num_classes, np.integer):
        num_classes = int(num_classes)
    if type(num_classes) is not int or num_classes < 1:
        raise ValueError(f"num_classes must be an integer >= 1, got {num_classes!r}.")
    try:
        return _MODELS[name](num_classes=num_classes, **options)
    except TypeError as error:
        raise ValueError(f"{error}; in models.create({name!r}).") from None


def describe(model: nn.Module) -> dict[str, Any] | None:
    """Returns a model of ours as JSON values; None for a class that is not ours."""
    family = type(model).__name__
    if _FAMILIES.get(family) is not type(model):
        return None
    fields = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in ("parent", "name")
    }
    return {"family": family, **fields}


def build(description: dict[str, Any]) -> nn.Module:
    """Builds the model that `describe` described.

    Raises:
      ValueError: the family is unknown or a field does not fit it.
    """
    fields = dict(description)
    family = fields.pop("family", None)
    if family not in _FAMILIES:
        raise ValueError(
            f"unknown model family {family!r}; known: {', '.join(_FAMILIES)}."
        )
    known = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    try:
        return _FAMILIES[family](**known)
    except TypeError as error:
        raise ValueError(f"{error}; in a model of family {family}.") from None
