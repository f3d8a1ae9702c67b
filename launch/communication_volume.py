"""What devices send each other in a step, read off its compiled program."""

import math
import re

import jax
import numpy as np

_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
_OPERATION = re.compile(rf"= (.+?) ({'|'.join(_COLLECTIVES)})(?:-start)?\(")
_ARRAY = re.compile(r"\b(pred|[usf]\d+|bf16)\[([\d,]*)\]")


def collective_bytes(compiled: jax.stages.Compiled) -> dict[str, int]:
    """Returns the bytes that each kind of collective operation yields per step.

    An array that is all-reduced counts once. How much of it crosses each link depends
    on the algorithm: in a ring of n devices, 2 (n - 1) / n of it.

    Args:
      compiled: `jax.jit(step).lower(state, batch).compile()`, over several devices.

    Returns:
      Bytes by kind ('all-reduce', 'all-gather', ...), of those that there are.
    """
    totals: dict[str, int] = {}
    for kind, name in _OPERATION.findall(compiled.as_text() or ""):
        total = sum(_size(*array) for array in _ARRAY.findall(kind))
        totals[name] = totals.get(name, 0) + total
    return totals


def _size(dtype: str, shape: str) -> int:
    """Bytes of an array, as 'f32' and '64,3,3,64'."""
    bits = 8 if dtype == "pred" else int(re.sub(r"\D", "", dtype))
    sides = [int(side) for side in shape.split(",") if side]
    return int(np.ceil(bits / 8)) * math.prod(sides)
