"""Checks of hyper-parameters: a ValueError names what was expected and what came."""

from typing import Any

import jax
import numpy as np


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


def check_range(name: str, value: Any, low: float, high: float, expected: str) -> None:
    """Raises ValueError unless low < value < high, or the value is traced."""
    if isinstance(value, jax.core.Tracer):
        return
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        inside = low < float(value) < high
    except (TypeError, ValueError, OverflowError):
        inside = False
    if not inside:
        raise ValueError(f"{name} must be {expected}, got {name}={value!r}.")
