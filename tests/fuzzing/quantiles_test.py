"""Random streams: a sketch's quantile is as near to NumPy's as its docstring says."""

from helpers import fuzzing
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.stats import quantiles

pytestmark = pytest.mark.slow
ROWS = 24  # of a stream, some of which are padding
FINE = (2**-8, 2**8)
# `quantile_sketch` without a record: its measure is the array itself.
SKETCH = quantiles.quantile_sketch(lambda samples: samples)
COUNT = jax.jit(lambda x, mask: SKETCH.update(SKETCH.init(x), x, mask))


def stream(rng):
    x = rng.normal(size=ROWS) * 10.0 ** rng.uniform(-44, 37)
    kind = rng.integers(4)
    if kind == 0:
        x = np.exp2(rng.uniform(-8, 8, ROWS)) * rng.choice([-1, 1])
    elif kind == 1:
        x = np.repeat(x[: ROWS // 6], 6)
    elif kind == 2:
        x = rng.choice([0.0, 1e-40, 1.0, 3.4e38, -2.0, 1e-38], ROWS)
    return x.astype(np.float32), (rng.random(ROWS) < 0.8).astype(np.float32)


@fuzzing.seeds("quantiles", each=10)
def test_quantiles(seed):
    rng = np.random.default_rng(seed)
    for _ in range(10):
        x, mask = stream(rng)
        mask[0] = 1
        counts = SKETCH.finalize(jax.device_get(COUNT(jnp.asarray(x), mask)))
        kept = x[mask > 0].astype(np.float64)
        kept[np.abs(kept) < np.finfo(np.float32).tiny] = 0
        q = float(rng.choice([0.0, 1.0, rng.random()]))
        found, expected = quantiles.quantile(counts, q), np.quantile(kept, q)
        ends = (
            np.quantile(kept, q, method="lower"),
            np.quantile(kept, q, method="higher"),
        )
        fine = all(FINE[0] <= abs(end) < FINE[1] for end in ends)
        bound = (2**-15 if fine else 2**-10) * max(map(abs, ends))
        assert abs(found - expected) <= bound * (1 + 1e-9), (kept, q)
