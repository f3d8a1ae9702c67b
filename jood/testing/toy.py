"""A toy problem on which any sensible detector works: for checks and examples.

"Images" are small maps. In ID ones a region lights up with the pattern of the class;
OOD ones are background only: weak, flat over the image, a few channels stronger than
others, as real features are.
"""

from typing import Any

from flax import linen as nn
import jax
import numpy as np

from jood.core.ood_head import COLLECTION as OOD_HEAD

CLASSES, WIDTH, SIZE = 4, 32, 4  # K, D, and the side of the toy's maps


# Of each module its gain, and that of the first channel over that of the last.
# C4 takes the tilt of C3 back: only the map of C3 is not a multiple of others.
PASSES = {"C2": (0.8, 1.0), "C3": (1.25, 2.0), "C4": (0.9, 0.5), "C5": (1.2, 1.0)}
BLOCK = (1.0, 3.0)  # nothing reads its map but `feature_norm_selected`


def gained(x: jax.Array, gain: float, tilt: float) -> jax.Array:
    """Returns the ReLU of a map times a gain per channel."""
    gains = gain * np.geomspace(tilt, 1.0, x.shape[-1])
    return jax.nn.relu(x) * gains.astype(x.dtype)[None, None, None]


class _Pass(nn.Module):
    gain: float
    tilt: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return gained(x, self.gain, self.tilt)


class ToyNet(nn.Module):
    """Four stages that only apply a ReLU and a gain; pooling and a head."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps images [B, 4, 4, D] to logits [B, K]."""
        _Pass(*BLOCK, name="block")(images)
        x = images
        for name, gain in PASSES.items():
            x = _Pass(*gain, name=name)(x)
        return nn.Dense(CLASSES, name="head")(x.mean(axis=(1, 2)))


def toy_variables() -> dict[str, Any]:
    """Returns the classifier, a pattern per class, and heads of other objectives."""
    kernel = 4.0 * _patterns().T - 0.5  # [D, K]
    weights = np.linspace(0.02, 0.08, WIDTH, dtype=np.float32)
    ones = np.ones(CLASSES, "f")
    return {
        "params": {"head": {"kernel": kernel, "bias": np.zeros(CLASSES, "f")}},
        OOD_HEAD: {"kernel": weights[:, None], "bias": -np.ones(1, "f")},
        "godin_head": {
            "kernel": weights[:, None],
            **{name: np.ones(1, "f") for name in ("bias", "scale", "offset")},
        },
        "mos_head": {"kernel": np.zeros((WIDTH, 2), "f"), "bias": np.ones(2, "f")},
        "mos_head_groups": {"group": np.arange(CLASSES, dtype=np.int32) % 2},
        "csi_head": {
            "projector": {
                "hidden": {"kernel": _patterns().T, "bias": 0 * ones},
                "output": {"kernel": np.diag(ones), "bias": ones},
            },
            "shift": {"kernel": np.tile(weights[:, None], 4), "bias": np.ones(4, "f")},
        },
        "csi_head_joint": {
            "kernel": np.tile(kernel, 4),
            "bias": np.zeros(4 * CLASSES, "f"),
        },
        "neglabel_head": {
            "positive": _patterns().T,
            "negative": _flat(128).T,
        },
        "godin_head_stats": {"mean": np.ones(1, "f"), "var": np.ones(1, "f")},
    }


def toy_images(count: int, seed: int, ood: bool = False) -> tuple[Any, Any]:
    """Returns images float32 [N, 4, 4, D] and labels int32 [N] (of OOD: arbitrary)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    shape = 0.6 if ood else 1.0  # of equal mean; of OOD, fewer channels are stronger
    channels = rng.gamma(shape, 0.15 / shape, (count, 1, 1, WIDTH))
    images = channels * rng.uniform(0.8, 1.2, (count, SIZE, SIZE, WIDTH))
    if not ood:
        strength = rng.uniform(6.0, 9.0, (count, 1, 1, 1))
        images[:, 1:3, 1:3] += strength * _patterns()[labels][:, None, None]
    return images.astype(np.float32), labels


def _flat(count: int) -> np.ndarray:
    """Weak patterns that no class owns, as those of OOD images, [M, D]."""
    rng = np.random.default_rng(7)
    return rng.gamma(2.0, 1.0, (count, WIDTH)).astype(np.float32)


def _patterns() -> np.ndarray:
    """One pattern per class, [K, D]: each class owns D / K channels."""
    owner = np.arange(WIDTH) % CLASSES
    graded = 1.0 + 0.1 * np.arange(WIDTH) / WIDTH  # no two entries tie
    return ((owner[None] == np.arange(CLASSES)[:, None]) * graded).astype(np.float32)
