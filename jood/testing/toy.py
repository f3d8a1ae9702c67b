"""A toy problem on which any sensible detector works: for checks and examples.

"Images" are small maps. In ID ones a region lights up with the pattern of the class;
OOD ones are background only: weak, flat over the image, a few channels stronger than
others, as real features are.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jood.core.backbones.linen import observe
from jood.core.component import Component
from jood.core.ood_head import COLLECTION as OOD_HEAD

CLASSES, WIDTH, SIZE = 4, 32, 4  # K, D, and the side of the toy's maps


class _Pass(nn.Module):
    gain: float
    tilt: float = 1.0  # of the first channel's gain to the last's

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        gain = self.gain * np.geomspace(self.tilt, 1.0, x.shape[-1])
        return nn.relu(x) * gain.astype(x.dtype)[None, None, None]


class ToyNet(nn.Module):
    """Four stages that only apply a ReLU and a gain; pooling and a head."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps images [B, 4, 4, D] to logits [B, K]."""
        # Nothing reads this block but `feature_norm_selected`; its map is no stage's.
        _Pass(1.0, 3.0, name="block")(images)
        x = _Pass(0.8, name="C2")(images)
        # C4 takes the tilt of C3 back: only the map of C3 is not a multiple of others.
        x = _Pass(1.25, 2.0, name="C3")(x)
        x = _Pass(0.9, 0.5, name="C4")(x)
        x = _Pass(1.2, name="C5")(x)
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


def _patterns() -> np.ndarray:
    """One pattern per class, [K, D]: each class owns D / K channels."""
    owner = np.arange(WIDTH) % CLASSES
    graded = 1.0 + 0.1 * np.arange(WIDTH) / WIDTH  # no two entries tie
    return ((owner[None] == np.arange(CLASSES)[:, None]) * graded).astype(np.float32)


def toy_activations(component: Component, images: Any, labels: Any = None) -> Any:
    """Observes the toy network with the edits that a component asks for."""
    return observe(
        ToyNet(),
        toy_variables(),
        jnp.asarray(images),
        edits=component.edits,
        needs_network=component.needs_network,
        labels=labels,
    )
