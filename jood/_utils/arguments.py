"""Checks of hyper-parameters: a ValueError names what was expected and what came.

Numbers are taken that jood computes with, in float32 and int32, and whose text can be
read again: Python's and NumPy's, and arrays with one number in them.
"""

from typing import Any

import jax
import numpy as np

_LARGEST_INT = 2**31 - 1  # of int32, JAX's integers
_FLOAT32 = np.finfo(np.float32)


def check_fraction(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is a fraction in (0, 1), or traced."""
    check_range(name, value, 0.0, 1.0, "a fraction in (0, 1), not a percentage")


def check_share(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is a fraction in [0, 1), or traced."""
    below = float(np.nextafter(0.0, -1.0))
    check_range(name, value, below, 1.0, "a fraction in [0, 1), not a percentage")


def check_positive(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is finite and above 0, or traced."""
    check_range(name, value, 0.0, float("inf"), "a finite number above 0")


def check_at_least(name: str, value: Any, least: float) -> None:
    """Raises ValueError unless `value` is finite and >= `least`, or traced."""
    below = float(np.nextafter(least, -np.inf))
    check_range(name, value, below, float("inf"), f"a finite number >= {least:g}")


def check_count(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is an integer of at least 1."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {name}={value!r}.")
    if value > _LARGEST_INT:
        raise ValueError(
            f"{name} must be an integer from 1 to {_LARGEST_INT} (int32), got "
            f"{name}={value!r}."
        )


def check_within(name: str, value: Any, low: float, high: float, expected: str) -> None:
    """Raises ValueError unless low <= value <= high, or the value is traced."""
    below, above = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
    check_range(name, value, float(below), float(above), expected)


def check_range(name: str, value: Any, low: float, high: float, expected: str) -> None:
    """Raises ValueError unless low < value < high, or the value is traced.

    It must lie between them in float32, too, in which jood computes.
    """
    if isinstance(value, jax.core.Tracer):
        return
    actual = f"got {name}={value!r}."
    try:
        inside = _is_number(value) and low < float(value) < high
    except OverflowError:  # an integer beyond float64
        inside = False
    if not inside:
        raise ValueError(f"{name} must be {expected}, {actual}")
    if isinstance(value, int | np.integer) and abs(int(value)) > _LARGEST_INT:
        raise ValueError(
            f"{name} must be {expected}; integers are int32, at most {_LARGEST_INT}, "
            f"{actual} Write it as {float(value)!r}."
        )
    with np.errstate(over="ignore", under="ignore"):
        narrow = float(np.float32(value))
    lost = value != 0 and abs(narrow) < float(_FLOAT32.tiny)
    if narrow in (low, high) or lost:
        raise ValueError(
            f"{name} must be {expected}, also in float32, in which jood computes "
            f"(magnitudes from {_FLOAT32.tiny:.2g} to {_FLOAT32.max:.2g}); there it is "
            f"{narrow:g}, {actual}"
        )


def _is_number(value: Any) -> bool:
    """Whether a value is one real number whose text is a literal."""
    if isinstance(value, np.ndarray | np.generic | jax.Array) and np.ndim(value) == 0:
        value = np.asarray(value).item()
    return isinstance(value, int | float) and not isinstance(value, bool)
