"""Whether training features differ at all; a method learns nothing from equal ones.

KNN then measures the distance to one point, ViM divides by nothing, and each finds a
finite score. So fitting warns of it, whatever the method.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

# The lowest and the highest value of each feature, float [D]; inf, -inf of no rows.
Extent = tuple[jax.Array | np.ndarray, jax.Array | np.ndarray]


def extent(features: jax.Array, mask: jax.Array) -> Extent:
    """Returns the extent of features, floating [B, D], in rows whose mask is not 0."""
    rows = (mask > 0)[:, None]
    low = jnp.where(rows, features, jnp.inf).min(axis=0)
    return low, jnp.where(rows, features, -jnp.inf).max(axis=0)


def joined(a: Extent | None, b: Extent) -> Extent:
    """Returns the extent of two sets of rows, on the host; None stands for no rows."""
    low, high = map(np.asarray, jax.device_get(b))
    return (low, high) if a is None else (np.minimum(a[0], low), np.maximum(a[1], high))


def warn_if_constant(bounds: Extent, rows: int) -> None:
    """Warns if each feature has one value in all rows, and there are several rows."""
    if rows > 1 and np.array_equal(*bounds):
        warnings.warn(
            f"a detector is fitted on {rows:,} images that all have the same "
            "penultimate feature, from which it learns nothing. Does the network "
            "answer all images alike? Are its weights loaded? Are the images equal?",
            stacklevel=4,  # in `Detector.fit`
        )
