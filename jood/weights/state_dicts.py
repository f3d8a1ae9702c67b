"""What training scripts wrap around a network's tensors, and how to get it off.

A checkpoint is a dict of the tensors by name, or holds such a dict beside the epoch
and the optimiser; wrappers such as DataParallel and torch.compile prefix each name.
"""

from collections.abc import Iterator, Mapping
import logging
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
_PREFIX = "module."
_COMMON_PREFIXES = ("model.", "net.")
_COMPILED = "_orig_mod."  # torch.compile's, also in the middle of a name
# BatchNorm's, which only its momentum=None would need, and averaged networks'.
_COUNTERS = ("num_batches_tracked", "n_averaged")


def unwrap(content: Any, where: str, entry: str | None = None) -> dict[str, Any]:
    """Returns the dict of tensors that a checkpoint holds.

    Args:
      content: The file's content.
      where: the file, for messages.
      entry: the key to take, such as 'state_dict_ema'; by default the most usual one
        that holds tensors.

    Raises:
      ValueError: nothing holds tensors, or it is unclear which entry is meant.
    """
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{where} holds a {type(content).__name__}; expected tensors by name: save "
            "model.state_dict()."
        )
    entries = [
        key
        for key, value in content.items()
        if isinstance(value, Mapping) and any(_has_tensors(value))
    ]
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
        raise ValueError(
            f"{where} has no tensors under {entry!r}; there are "
            f"{', '.join(map(repr, entries)) or 'none under any key'}."
        )
    return unwrap(content[entry], where)


def tidy(tensors: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    """Returns tensors without wrappers' prefixes, those of floating point as float32.

    Counters of batches are left out.

    Args:
      tensors: NumPy arrays or PyTorch tensors by name.
      where: the file, for messages.

    Raises:
      ValueError: two names become one, or a tensor's type is none of NumPy's.
    """
    names = {
        name: _bare(name)
        for name in tensors
        if name.rpartition(".")[2] not in _COUNTERS
    }
    for prefix in _COMMON_PREFIXES:
        if names and all(bare.startswith(prefix) for bare in names.values()):
            names = {name: bare.removeprefix(prefix) for name, bare in names.items()}
    if len(set(names.values())) < len(names):
        raise ValueError(
            f"{where} has a tensor both with and without {_PREFIX!r} or {_COMPILED!r} "
            "before its name; keep one of them."
        )
    return {
        bare: _array(tensors[name], f"{name} in {where}")
        for name, bare in names.items()
    }


def _named(content: Mapping[Any, Any], where: str) -> dict[str, Any]:
    tensors = {
        name: value for name, value in content.items() if hasattr(value, "shape")
    }
    if not tensors or not all(isinstance(name, str) for name in tensors):
        raise ValueError(
            f"{where} holds no tensors by name, only {_shown(content)}. Expected a "
            "state_dict, perhaps under 'state_dict' or 'model'."
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


def _bare(name: str) -> str:
    name = name.replace(_COMPILED, "")
    while name.startswith(_PREFIX):
        name = name.removeprefix(_PREFIX)
    return name


def _array(value: Any, where: str) -> np.ndarray:
    if hasattr(value, "detach"):  # a PyTorch tensor; bfloat16 is no type of NumPy's
        try:
            value = value.detach().cpu()
            value = (value.float() if value.is_floating_point() else value).numpy()
        except (TypeError, RuntimeError) as error:
            raise ValueError(f"{where} is no plain tensor: {error}.") from None
    array = np.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.floating):  # NumPy's own does not know bfloat16
        return array.astype(np.float32, copy=False)
    return array


def _shown(content: Mapping[Any, Any]) -> str:
    keys = [repr(key) for key in content]
    return ", ".join(keys[:6]) + ", ..." * (len(keys) > 6) or "an empty dict"
