"""`jit` with the compiler options that suit a network's forward pass.

XLA's CPU backend may hand parts of a program to a second library of kernels (YNN).
Without it ResNet-50 runs 1.15 and DenseNet-121 1.3 times as fast (two cores, batch 16,
`launch/measure_forward.py`), with results that agree to float error. A product with a
large transposed matrix, as of features with KNN's bank, takes far longer without it,
so a program that holds one is compiled as usual.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import numpy as np

CPU = {"xla_cpu_experimental_ynn_fusion_type": ""}
_LARGE = 1 << 22  # entries of an array, with which products cost what a network costs


def jit(function: Callable[..., Any], **arguments: Any) -> jax.stages.Wrapped:
    """Returns `jax.jit(function, **arguments)` with the options of this backend.

    XLA takes options for whole programs only, so it cannot be traced into another one.
    """
    return jax.jit(function, compiler_options=options(), **arguments)


def holds_large(fitted: Any) -> bool:
    """Whether products with a fitted array may outweigh the network."""
    return any(np.size(leaf) >= _LARGE for leaf in jax.tree.leaves(fitted))


@functools.cache
def options() -> dict[str, Any] | None:
    """Returns the options for the default backend; None if it has, or knows, none."""
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda x: x + 1, compiler_options=CPU)(0.0)
    except jax.errors.JaxRuntimeError:  # experimental: another XLA may not know it
        return None
    return CPU
