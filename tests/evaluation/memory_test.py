"""Memory: what each method needs at ImageNet's sizes, and with growing data.

K = 1000, D = 2048, B = 256. What a compiled program needs beside its arguments is read
off the compiler; what a whole fit needs is measured in a process of its own.
"""

import functools
import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import testing
from jood.core import added_heads
from jood.core import ood_head
from jood.core.stats import reservoir
from jood.methods import detector_text

B, D, K = 256, 2048, 1000
# What a program needs depends on what XLA makes of it.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_users_compile")]
GIGABYTE = 1 << 30
SHAPES = {
    "C2": (56, 56, 256),
    "C3": (28, 28, 512),
    "C4": (14, 14, 1024),
    "C5": (7, 7, D),
}
# Read maps at several stages or run the network: covered by their own network's memory.
# Those of heads that an objective adds read a few columns more.
FACTORIES = {
    name: factory
    for name, factory in detector_text.factories().items()
    if not factory().needs_network
    and not added_heads.lacking(factory().reads, {})
    and name != "gram_deviation"
}


def reading(component, what):
    """Shapes of the activations that a component reads, edited runs with them."""
    shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    record = jood.Activations(
        stages={what: shape((B, *SHAPES[what]))} if what else {},
        penultimate=shape((B, D)),
        kernel=shape((D, K)),
        bias=shape((K,)),
        logits=shape((B, K)),
        prediction=jax.ShapeDtypeStruct((B,), jnp.int32),
        original=shape((B, D)),
        labels=jax.ShapeDtypeStruct((B,), jnp.int32),
        ood_head=ood_head.OodHead(shape((D, 1)), shape((1,))),
    )
    for path in component.edits:
        record = record.replace(
            edited={**record.edited, path[0].spec: record.replace(edited={})}
        )
    return record


@functools.cache
def sample():
    """A few training examples at full width, of 20 of the classes."""
    rng = np.random.default_rng(0)
    features = rng.gamma(0.5, 1.0, (1024, D)).astype(np.float32)
    kernel = rng.normal(0, 0.05, (D, K)).astype(np.float32)
    return jood.Activations.of(features, kernel, labels=rng.integers(0, 20, 1024))


@functools.cache
def fitted_values(text):
    """Fitted at full width where features suffice."""
    component = jood.parse(text)
    if not component.passes:
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few examples for a covariance, it says
        return jood.fit(component, [sample()])


@pytest.mark.parametrize("name", FACTORIES)
def test_scoring_a_batch_needs_less_than_a_gigabyte(name):
    component = FACTORIES[name]()
    values = fitted_values(component.spec)
    component = testing.scoring(component)
    if name in ("knn", "nnguide", "actsub", "relation"):  # a bank at its capacity
        shape = (10_000, D + K) if name == "relation" else (reservoir.CAPACITY, D)
        rows = jax.ShapeDtypeStruct(shape, jnp.float32)
        values = (*values[:-1], {**values[-1], "rows": rows} if name == "knn" else rows)
    stage = "C5" if _needs_map(component, values) else None
    needed = (
        jax.jit(component.apply)
        .lower(values, reading(component, stage))
        .compile()
        .memory_analysis()
    )
    extra = needed.temp_size_in_bytes + needed.output_size_in_bytes
    assert extra < GIGABYTE, f"{component.spec}: {extra / GIGABYTE:.2f} GB"


def _needs_map(component, values):
    try:
        jax.eval_shape(component.apply, values, reading(component, ""))
    except jood.MissingStageError:
        return True
    return False


@pytest.mark.parametrize("name", FACTORIES)
def test_a_step_of_fitting_needs_less_than_a_gigabyte(name):
    component = FACTORIES[name]()
    acts = reading(component, "C5")
    mask = jax.ShapeDtypeStruct((B,), jnp.float32)
    values = fitted_values(component.spec)
    for j, build in enumerate(component.passes):
        statistic = build(values[:j])
        state = jax.eval_shape(statistic.init, acts)
        size = sum(np.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
        step = jax.jit(statistic.update, donate_argnums=0)
        needed = step.lower(state, acts, mask).compile().memory_analysis()
        extra = size + needed.temp_size_in_bytes
        assert extra < GIGABYTE, f"pass {j} of {component.spec}: {extra / GIGABYTE:.2f}"
        merging = jax.jit(statistic.merge).lower(state, state).compile()
        assert merging.memory_analysis().temp_size_in_bytes < GIGABYTE


_GROW = """
import re, resource, sys, warnings
import numpy as np
import jood
from jood import presets

warnings.simplefilter("ignore")
N, B, D, K = int(sys.argv[1]), 256, 512, 100
kernel = np.random.default_rng(0).normal(0, 0.1, (D, K)).astype(np.float32)

class Stream:
    def __iter__(self):
        for start in range(0, N, B):
            rng = np.random.default_rng(start)
            features = rng.gamma(0.5, 1.0, (B, D)).astype(np.float32)
            yield jood.Activations.of(
                features, kernel, labels=rng.integers(0, K, B),
                stages={s: np.zeros((B, 2, 2, 8), np.float32) + rng.random((B, 1, 1, 8))
                        for s in ("C3", "C4", "C5")},
            )

rows = presets.everything("cifar100")
parts = {n: jood.parse(t, "cifar100") for n, t in rows.items()}
parts = {n: p for n, p in parts.items() if not p.edits and not p.needs_network}
for name, part in parts.items():  # banks that are full after a few batches
    parts[name] = jood.parse(re.sub(r"capacity=\\d+", "capacity=1000", part.spec))
jood.fit(jood.bundle(**parts), Stream())
print(len(parts), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_training_set(tmp_path):
    # The first process compiles, which needs more than the data do; the others read.
    programs = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    peaks = {}
    for count in (2_048, 2_048, 49_152):
        out = subprocess.run(
            [sys.executable, "-c", _GROW, str(count)],
            capture_output=True,
            text=True,
            check=True,
            env=programs,
        ).stdout.split()
        assert int(out[0]) >= 25  # methods without stage edits
        peaks[count] = int(out[1])
    grown = (49_152 - 2_048) * 512 * 4 / 2**20  # MB of the features alone
    assert peaks[49_152] - peaks[2_048] < 0.5 * grown, peaks
