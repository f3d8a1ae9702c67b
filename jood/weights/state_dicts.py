"""Unwraps a network's tensors from what training scripts put around them.

A checkpoint is a dict of the tensors by name, or holds such a dict beside the epoch
and the optimiser; wrappers such as DataParallel and torch.compile prefix each name.
"""

from collections.abc import Iterator, Mapping
import logging
import re
import textwrap
from typing import Any

import jax.numpy as jnp
import numpy as np

logger = logging.getLogger(__name__)

# Where training scripts keep the tensors, most usual first; averaged ones come last.
_ENTRIES = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "params",
    "weights",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema",
)
# DataParallel's and DistributedDataParallel's, on any name; Lightning's and other
# holders' only where all names have it.
_PREFIX = re.compile(r"^(module\.)+")
_COMMON_PREFIXES = ("model.", "net.")
_COMPILED = "_orig_mod."  # torch.compile's, also in the middle of a name
_NOT_LEARNED = (
    # BatchNorm's, which only its momentum=None would need, and averaged networks'.
    "num_batches_tracked",
    "n_averaged",
    # Swin's, which follow from the size of its windows and of its images.
    "relative_position_index",
    "attn_mask",
)


def unwrap(content: Any, where: str, entry: str | None = None) -> dict[str, Any]:
    """Returns the dict of tensors that the content of a file holds.

    Args:
      content: The file's content.
      where: The file, for messages.
      entry: Key to take, such as 'state_dict_ema'; by default the most usual one
        that holds tensors.

    Raises:
      ValueError: Nothing holds tensors, or it is unclear which entry is meant.
    """
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{where} holds a {type(content).__name__}; expected tensors by name: save "
            "model.state_dict()."
        )
    nested = {k: value for k, value in content.items() if isinstance(value, Mapping)}
    entries = [key for key, value in nested.items() if any(_has_tensors(value))]
    if entry is None:
        usual = [key for key in _ENTRIES if key in entries]
        if not usual and (any(map(_is_tensor, content.values())) or not entries):
            return _named(content, where)
        if not usual and len(entries) > 1:
            raise ValueError(
                f"{where} has tensors under each of {', '.join(map(repr, entries))}; "
                "say which are meant: entry=..."
            )
        entry = (usual or entries)[0]
        if len(entries) > 1:
            logger.info("%s: %r is read, of %s.", where, entry, entries)
    if entry not in entries:
        known = ", ".join(map(repr, entries)) or "none under any key"
        raise ValueError(f"{where} has no tensors under {entry!r}; there are {known}.")
    return unwrap(content[entry], where)


def tidy(tensors: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    """Returns arrays without wrappers' prefixes, those of floating point as float32.

    Takes NumPy's and PyTorch's. What is not learned, such as BatchNorm's counters, is
    skipped.

    Raises:
      ValueError: Two names become one, or the type of a tensor is none of NumPy's.
    """
    kept = [name for name in tensors if name.rpartition(".")[2] not in _NOT_LEARNED]
    names = {name: _PREFIX.sub("", name.replace(_COMPILED, "")) for name in kept}
    for prefix in _COMMON_PREFIXES:
        if names and all(bare.startswith(prefix) for bare in names.values()):
            names = {name: bare.removeprefix(prefix) for name, bare in names.items()}
    if len(set(names.values())) < len(names):
        raise ValueError(
            f"{where} has a tensor both with and without 'module.' or {_COMPILED!r} "
            "before its name; keep one of them."
        )
    return {bare: _array(tensors[n], f"{n} in {where}") for n, bare in names.items()}


def _named(content: Mapping[Any, Any], where: str) -> dict[str, Any]:
    tensors = {n: value for n, value in content.items() if hasattr(value, "shape")}
    if not tensors or not all(isinstance(name, str) for name in tensors):
        keys = textwrap.shorten(", ".join(map(repr, content)), 80, placeholder=" ...")
        raise ValueError(
            f"{where} holds no tensors by name, only {keys or 'an empty dict'}. "
            "Expected a state_dict, perhaps under 'state_dict' or 'model'."
        )
    return tensors


def _is_tensor(value: Any) -> bool:
    """Numbers such as the best accuracy are kept as tensors without axes."""
    return bool(getattr(value, "shape", ()))


def _has_tensors(content: Mapping[Any, Any]) -> Iterator[bool]:
    """Whether a dict holds tensors by name, itself or under a usual key."""
    for key, value in content.items():
        if isinstance(key, str):
            yield _is_tensor(value)
            if isinstance(value, Mapping) and key in _ENTRIES:
                yield any(_has_tensors(value))


def _array(value: Any, where: str) -> np.ndarray:
    if hasattr(value, "detach"):  # a PyTorch tensor; bfloat16 is not a type of NumPy's
        try:
            value = value.detach().cpu()
            value = (value.float() if value.is_floating_point() else value).numpy()
        except (TypeError, RuntimeError) as error:
            raise ValueError(f"{where} is not a plain tensor: {error}.") from None
    array = np.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.floating):  # NumPy's own does not know bfloat16
        return array.astype(np.float32, copy=False)
    return array
