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
ONCE = {"xla_backend_optimization_level": 1}
_LARGE = 1 << 22  # entries of an array, with which products cost what a network costs


def jit(function: Callable[..., Any], **arguments: Any) -> jax.stages.Wrapped:
    """Returns `jax.jit(function, **arguments)` with the options of this backend.

    XLA takes options for whole programs only, so it cannot be traced into another one.
    """
    return jax.jit(function, compiler_options=options(), **arguments)


def run_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns `function(*arguments)` of what runs just once, such as a network's init.

    Such a program takes longer to compile than to run, so LLVM's costly passes are left
    out: the init of resnet_small compiles in 6 instead of 16 CPU seconds. They do not
    reorder floating-point operations: the numbers are the same to the last bit.
    """
    traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arguments))
    unoptimised = jax.config.read("jax_disable_most_optimizations")  # as fast tests are
    if traced or unoptimised or jax.default_backend() != "cpu":
        return jax.jit(function)(*arguments)
    return jax.jit(function, compiler_options=ONCE)(*arguments)


def holds_large(fitted: Any) -> bool:
    """Whether products with a fitted array may outweigh the network."""
    return any(np.size(leaf) >= _LARGE for leaf in jax.tree.leaves(fitted))


def on_host(results: Any) -> Any:
    """Returns `jax.device_get(results)`, without what that costs on a CPU.

    There the arrays are on the host already, and NumPy reads them where they are.
    """
    if jax.default_backend() == "cpu":
        return jax.tree.map(np.asarray, results)
    return jax.device_get(results)


@functools.cache
def options() -> dict[str, Any] | None:
    """Returns the options for the default backend; None if it has, or knows, none."""
    if jax.default_backend() != "cpu":
        return None
    try:
        with jax.ensure_compile_time_eval():  # also while another program is traced
            jax.jit(lambda x: x + 1, compiler_options=CPU)(0.0)
    except jax.errors.JaxRuntimeError:  # experimental: another XLA may not know it
        return None
    return CPU
