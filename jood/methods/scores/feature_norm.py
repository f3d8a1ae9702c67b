"""FeatureNorm: how strongly the map of a well-chosen block is activated.

The norm of the last block is overconfident in some networks. `feature_norm_selected`
therefore compares each training image with its own jigsaw puzzle, which has the
textures but no object, and reads the block whose norm tells them apart best.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import assumptions
from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.activations import MissingStageError
from jood.core.component import Component
from jood.core.stats import reservoir
from jood.methods.scores.feature_map import flat

GRID = 3  # the puzzle has 3 x 3 pieces, as in the authors' code
_SAME = 1e-4  # NormRatios that differ by less are equal
_TINY = 1e-6  # of a norm; a block that is dead on both images has the ratio 1


def norm(feature_map: jax.Array) -> jax.Array:
    """mean_C ‖ReLU(z)‖₂ over HW; [B, H, W, C] or [B, L, C] -> float32 [B]."""
    return norms.l2(jnp.maximum(flat(feature_map), 0), axis=1).mean(-1)


def jigsaw(images: jax.Array, grid: int = GRID) -> jax.Array:
    """Shuffles the pieces of each image [B, H, W, C] by a hash of its pixels.

    Args:
      images: floating [B, H, W, C].
      grid: pieces per side. Where it does not divide H or W, the last rows or
        columns stay where they are (the authors' code blackens them).

    Raises:
      ValueError: an image has less than one pixel per piece.
    """
    batch, height, width, channels = images.shape
    h, w = height // grid, width // grid
    if not h * w:
        raise ValueError(
            f"a jigsaw puzzle of {grid} x {grid} pieces needs images of at least as "
            f"many pixels, got {height} x {width}."
        )
    keys = jax.vmap(jax.random.key)(reservoir.row_hash(images.reshape(batch, -1)))
    order = jax.vmap(lambda key: jax.random.permutation(key, grid * grid))(keys)
    shape = (batch, grid, h, grid, w, channels)
    inner = images[:, : h * grid, : w * grid].reshape(shape).swapaxes(2, 3)
    pieces = inner.reshape(batch, grid * grid, -1)  # [B, pieces, h w C]
    pieces = jnp.take_along_axis(pieces, order[:, :, None], axis=1)
    inner = pieces.reshape(batch, grid, grid, h, w, channels).swapaxes(2, 3)
    inner = inner.reshape(batch, h * grid, w * grid, channels)
    return images.at[:, : h * grid, : w * grid].set(inner)


def norm_ratios(acts: Activations) -> jax.Array:
    """Norm of each image over that of its puzzle, per stage in sorted order; [B, S]."""
    network = acts.behind()
    with assumptions.ignored():
        puzzle = network.run(jigsaw(network.images))

    def norms(record: Activations) -> jax.Array:
        return jnp.stack([norm(record.stage(s)) + _TINY for s in _names(acts)], axis=-1)

    return norms(acts) / norms(puzzle)


def _names(acts: Activations) -> list[str]:
    """The stages of a record in sorted order; of features only, there are none."""
    if not acts.stages:
        raise MissingStageError(
            "feature_norm_selected() reads every stage of the network, but these "
            "activations hold features only. Use a jood.Detector."
        )
    return sorted(acts.stages)


@component.row("FeatureNorm")
def feature_norm(stage: str = "C5") -> Component:
    """FeatureNorm: S = 1/C Σ_c ‖ReLU(z^(c))‖₂, the norm over the locations.

    Args:
      stage: whose map is read. `feature_norm_selected` chooses it on training data.

    Returns:
      A score component, in units of the map, >= 0.

    Raises:
      ValueError: stage is no stage name.

    References:
      Yu, Shin, Lee, Jun, Lee, FeatureNorm, CVPR 2023, definition of FeatureNorm.
    """
    component.check_stage(stage)
    spec = component.call_spec("feature_norm", stage=stage)
    return component.score(spec, lambda acts: norm(acts.stage(stage)), (stage,))


@component.row("FeatureNorm (NormRatio)")
def feature_norm_selected() -> Component:
    """FeatureNorm of the stage with the largest NormRatio on the training images.

    NormRatio(stage) = mean over images x of norm(x) / norm(jigsaw(x)): as the authors'
    code has it, a mean of ratios. The paper tries every convolution block; here the
    stages of the record are tried. Of equal ratios (to 1e-4) the last stage wins.

    Returns:
      A score component, in units of the map, >= 0. It fits which stage to read,
      one-hot float32 [S] over the sorted names, in one pass; that pass runs the
      network twice, scoring only once.

    Raises:
      ValueError: on fitting or scoring, the record has no stage.

    References:
      Yu, Shin, Lee, Jun, Lee, FeatureNorm, CVPR 2023, definition of NormRatio.
    """
    statistic = stats.mean(norm_ratios)

    def finalize(state: Any) -> np.ndarray:
        ratios = statistic.finalize(state)  # [S]
        best = np.flatnonzero(ratios >= ratios.max() - _SAME)[-1]
        return np.eye(len(ratios), dtype=np.float32)[best]

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        names = _names(acts)
        if len(names) != len(fitted[0]):
            raise ValueError(
                f"feature_norm_selected was fitted on {len(fitted[0])} stages, but "
                f"these activations have {len(names)}: {', '.join(names)}."
            )
        branches = [lambda name=name: norm(acts.stage(name)) for name in names]
        return jax.lax.switch(jnp.argmax(fitted[0]), branches)

    return component.build(
        component.call_spec("feature_norm_selected"),
        "score",
        apply,
        (lambda _: statistic._replace(finalize=finalize),),
        needs_network=True,
        reads=("stage",),
    )
