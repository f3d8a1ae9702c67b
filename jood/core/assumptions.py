"""What a method assumes of its input, said where it does not hold.

A compiled program cannot warn. So `assume` hands a condition to whoever traces the
detector (`collected`), who returns it from the program beside the scores and warns on
the host (`warn`). Outside `jit` the warning comes at once.
"""

from collections.abc import Iterator, Mapping
import contextlib
import contextvars
from typing import Any
import warnings

import jax
import numpy as np

_OPEN: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "jood_assumptions", default=None
)


class AssumptionWarning(UserWarning):
    """A method meets data that its paper does not assume."""


def assume(holds: jax.Array, message: str) -> None:
    """Warns with `message` unless an assumption, bool [], holds.

    To be called at the top level of a component's `apply`, not in a `scan` or `vmap`.
    """
    violations = _OPEN.get()
    if violations is not None:
        violations[message] = violations.get(message, False) | ~holds
    elif not isinstance(holds, jax.core.Tracer):
        warn({message: not holds})


def assume_non_negative(x: jax.Array, method: str, why: str) -> None:
    """States that a feature or map has no negative entry, as after a ReLU."""
    assume((x >= 0).all(), f"{method} met negative values; {why}")


@contextlib.contextmanager
def collected() -> Iterator[dict[str, Any]]:
    """Yields a dict that fills with {message: violated, bool []} in the block."""
    conditions: dict[str, Any] = {}
    token = _OPEN.set(conditions)
    try:
        yield conditions
    finally:
        _OPEN.reset(token)


def ignored() -> contextlib.AbstractContextManager[Any]:
    """Drops what is assumed in the block: it runs inside a transformation."""
    return collected()


def warn(violated: Mapping[str, Any]) -> None:
    """Warns of each message whose condition was violated; Python shows it once."""
    for message, wrong in violated.items():
        if np.any(wrong):
            warnings.warn(message, AssumptionWarning, stacklevel=2)
