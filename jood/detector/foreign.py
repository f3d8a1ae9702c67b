"""Networks whose weights their owner keeps: what a saved detector knows of them.

An nnx module or a function lives in the user's own code and checkpoints. A detector on
disk holds what is jood's (method, fitted values, thresholds, preprocessing, added
heads) and a fingerprint of the weights, so that it is never used with other weights.
"""

from collections.abc import Mapping
from typing import Any

import jax

from jood._utils import fingerprinting
from jood.core import added_heads
from jood.core.backbones import kinds
from jood.core.backbones.protocol import Variables


def described(model: Any, variables: Variables) -> dict[str, str] | None:
    """Returns the kind and the weights' fingerprint; None if the weights are saved."""
    kind = kinds.of(model)
    if not kind.foreign:
        return None
    return {"kind": kind.name, "weights": fingerprint(model, variables)}


def kept(model: Any, variables: Variables) -> dict[str, Any]:
    """Returns the collections that are saved; for a foreign network, added heads."""
    if not kinds.of(model).foreign:
        return dict(variables)
    return {
        name: value for name, value in variables.items() if added_heads.is_added(name)
    }


def fingerprint(model: Any, variables: Variables) -> str:
    """Returns the SHA-256 of a network's own arrays, with their paths and types."""
    arrays = kinds.of(model).weights(model, variables)
    return fingerprinting.array_digest(**jax.device_get(arrays))


def restored(
    stored: Mapping[str, str], heads: Variables, model: Any, name: str, where: str
) -> Variables:
    """Returns the variables of the network that a saved detector was made with.

    Args:
      stored: description that `described` returned.
      heads: the collections that were kept.
      model: the network that is given beside the folder, or None.
      name: the class of the network that was saved.
      where: the folder, for messages.

    Raises:
      ValueError: no model is given, or one of another kind or with other weights.
    """
    if model is None:
        raise ValueError(
            f"{where} was made with a {name}, whose weights it does not hold (a "
            f"network of kind {stored['kind']}): pass it, Detector.load(path, "
            "model=...)."
        )
    kind = kinds.of(model)
    if kind.name != stored["kind"]:
        raise ValueError(
            f"{where} was made with a {name}, a network of kind {stored['kind']}; the "
            f"given {type(model).__name__} is of kind {kind.name}."
        )
    variables = kind.complete(model, heads)
    digest = fingerprint(model, variables)
    if digest != stored["weights"]:
        raise ValueError(
            f"{where} was made with other weights than those of the given "
            f"{type(model).__name__}: their fingerprint is {digest[:12]}..., not "
            f"{stored['weights'][:12]}.... Give the network the weights it had then, "
            "or fit, calibrate and save a detector with these."
        )
    return variables
