"""Which kind of network a model is: the list of kinds that jood runs."""

from typing import Any

from jood.core.backbones import function
from jood.core.backbones import linen
from jood.core.backbones import torch_kind
from jood.core.backbones import torch_support
from jood.core.backbones.protocol import Kind


def of(model: Any) -> Kind:
    """Returns the kind of a model; Linen for what is none, whose `check` says so."""
    if isinstance(model, function.Backbone):
        return function.KIND
    if isinstance(model, torch_support.TorchBackbone):
        return torch_kind.KIND
    if is_nnx(model):
        from jood.core.backbones import nnx  # takes a while to import

        return nnx.KIND
    return linen.KIND


def is_nnx(model: Any) -> bool:
    """Whether a model is an instance of a `flax.nnx` module."""
    return any(
        kind.__name__ == "Module" and kind.__module__.startswith("flax.nnx")
        for kind in type(model).__mro__
    )
