"""What a saved detector may say: types and ranges of its description and arrays.

A checksum finds damage, but not a file that another program wrote and sealed anew. So
whatever is read is checked as if a user had typed it, and one message names all
problems.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
import numpy as np

from jood.core.backbones import kinds
from jood.core.component import Component
from jood.detector import stored_calibration

_DEEPEST = 64  # tuples in tuples; compositions of compositions have a few
_LARGEST_SIDE = 1 << 16  # pixels: XLA aborts the interpreter on far larger shapes
# What jood's methods fit; folders of jood 0.1 do not give each array's type.
_FITTED = ("bool", "int32", "float32")


def check_description(content: Mapping[str, Any], where: str) -> None:
    """Raises ValueError, with all problems, unless a description has these types.

    Args:
      content: JSON values.
      where: the file, for the message.
    """
    _raise(_of_description(content), where)


def check_arrays(
    content: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
) -> None:
    """Raises ValueError, with all problems, unless arrays fit their description.

    Args:
      content: a description that `check_description` accepts.
      arrays: arrays that lie beside it, by name.
      where: the folder, for the message.
    """
    problems = [*_of_arrays(content, arrays)]
    if not problems and content["calibration"] is not None:
        problems = [*stored_calibration.problems(content["calibration"], arrays)]
    _raise(problems, where)


def _raise(problems: Any, where: str) -> None:
    listed = [*problems]
    if listed:
        raise ValueError(
            f"{where} does not describe a detector: {'; '.join(listed)}. Save it again "
            "with Detector.save or jood fit."
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_network(value: Any) -> bool:
    known = isinstance(value, dict) and value.keys() == {"kind", "weights"}
    return known and all(map(_is_text, value.values()))


def _is_shape(value: Any) -> bool:
    sides = isinstance(value, list) and len(value) == 3
    return sides and all(type(n) is int and 0 < n <= _LARGEST_SIDE for n in value)


def _are_counts(value: Any) -> bool:
    """Whether a value gives each detector a count, or a list with one per class."""
    if not isinstance(value, dict) or not value:
        return False
    lists = [n if isinstance(n, list) else [n] for n in value.values()]
    return all(n and all(type(x) is int and x >= 0 for x in n) for n in lists)


def _is_fraction(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _is_structure(value: Any, depth: int = _DEEPEST) -> bool:
    """Whether a value is what `saving` makes of tuples, lists, dicts and arrays."""
    if value is None:
        return True
    if not depth or not isinstance(value, dict) or len(value) != 1:
        return False
    ((kind, inner),) = value.items()
    if kind == "array":
        return isinstance(inner, str)
    if kind == "dict" and isinstance(inner, dict):
        inner = [*inner.values()]
    elif kind not in ("tuple", "list"):
        return False
    return isinstance(inner, list) and all(_is_structure(v, depth - 1) for v in inner)


_LATER = ("fitted_dtypes", "network")  # keys that older folders lack
# Key: what it must be, in words and as a check; with a '?', it may be null.
_KEYS = {
    "spec": ("a text", _is_text),
    "model?": ("an object", lambda v: isinstance(v, dict)),
    "model_class": ("a text", _is_text),
    "network?": ("an object with the texts kind and weights", _is_network),
    "stages?": (
        "an object of texts",
        lambda v: isinstance(v, dict) and all(map(_is_text, v.values())),
    ),
    "head": ("a text or null", _is_text_or_none),
    "image_shape?": (f"three integers from 1 to {_LARGEST_SIDE:,}", _is_shape),
    "preprocessing?": (
        "an object with mean and std",
        lambda v: isinstance(v, dict) and {"mean", "std"} <= v.keys(),
    ),
    "class_names?": ("a list of texts", _are_texts),
    "fitted?": (f"tuples of arrays, at most {_DEEPEST} deep", _is_structure),
    "calibration?": ("an object", lambda v: isinstance(v, dict)),
    "arrays": ("an object", lambda v: isinstance(v, dict)),
}
_CALIBRATION_KEYS = {
    "tpr": ("a fraction in (0, 1)", _is_fraction),
    "images": ("an object of counts, or of lists of them", _are_counts),
    "thresholds": ("an object", lambda v: isinstance(v, dict)),
}
_ARRAYS_KEYS = {
    "sha256": ("a text", _is_text),
    "bfloat16": ("a list of texts", _are_texts),
    "fitted_dtypes?": (
        "an object of texts",
        lambda v: isinstance(v, dict) and all(map(_is_text, v.values())),
    ),
}


def _of_description(content: Mapping[str, Any]) -> Iterator[str]:
    yield from _of_keys("", content, _KEYS)
    for name, keys in (("calibration", _CALIBRATION_KEYS), ("arrays", _ARRAYS_KEYS)):
        if isinstance(content.get(name), dict):
            yield from _of_keys(f"{name}.", content[name], keys)


def _of_keys(
    prefix: str, content: Mapping[str, Any], keys: Mapping[str, Any]
) -> Iterator[str]:
    for key, (words, is_right) in keys.items():
        name = key.removesuffix("?")
        if name not in content and name not in _LATER:
            yield f"{prefix}{name} is missing"
        elif content.get(name) is None and key.endswith("?"):
            continue
        elif not is_right(content[name]):
            text = stored_calibration.short(content[name])
            yield f"{prefix}{name} must be {words}, got {text}"


def _of_arrays(
    content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Iterator[str]:
    recorded = content["arrays"].get("fitted_dtypes") or {}
    for name, array in arrays.items():
        dtype = str(array.dtype)
        fitted = name.startswith("fitted/")
        expected = [recorded[name]] if name in recorded else _FITTED
        if fitted and dtype not in expected:
            yield f"{name} must be of type {' or '.join(expected)}, got {dtype}"
        elif jnp.issubdtype(array.dtype, jnp.complexfloating):
            yield f"{name} must be real, got {dtype}"
        elif jnp.issubdtype(array.dtype, jnp.floating):
            # Of what is fitted, -inf is a threshold that lets everything pass.
            fine = array < np.inf if fitted else np.isfinite(array)
            if not fine.all():
                yield f"{name} holds NaN or infinite values"
    if content["calibration"] is not None:
        for name in content["calibration"]["images"]:
            if f"calibration/{name}" not in arrays:
                yield f"the array calibration/{name} is missing"


def check_given(model: Any, component: Any) -> None:
    """Raises TypeError if what is given beside the folder is of another kind."""
    known = isinstance(model, nn.Module) or kinds.of(model).foreign
    if model is not None and not known:
        raise TypeError(
            "model must be a network (a Linen module, a flax.nnx module, ...), as the "
            "detector was made with, got "
            f"{type(model).__name__ if not isinstance(model, type) else model!r}: "
            "Detector.load(path, model=Network(...))."
        )
    if component is not None and not isinstance(component, Component):
        raise TypeError(
            f"component must be a Component, got {type(component).__name__}. The "
            "folder holds the variables: Detector.load(path, model=...) needs none."
        )
