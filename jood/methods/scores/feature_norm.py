"""FeatureNorm: how strongly the map of a well-chosen block is activated.

The norm of the last block is overconfident in some networks. `feature_norm_selected`
therefore compares each training image with its own jigsaw puzzle, which has the
textures but no object, and reads the stage or block whose norm separates them best.
"""

from collections.abc import Mapping
import functools
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import assumptions
from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.activations import MissingStageError
from jood.core.backbones.blocks import READS
from jood.core.component import Component
from jood.core.stats import reservoir
from jood.methods.scores.feature_map import flat

Among = Literal["stages", "blocks"]
AMONG: tuple[str, ...] = get_args(Among)
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


def norm_ratios(acts: Activations, among: Among = "stages") -> jax.Array:
    """Norm of each image over that of its puzzle, [B, S]; columns as in `_maps`."""
    with assumptions.ignored():
        puzzle = _maps(acts, among, jigsaw(acts.behind().images))

    def norms(maps: Mapping[str, jax.Array]) -> jax.Array:
        return jnp.stack([norm(z) + _TINY for z in maps.values()], axis=-1)

    return norms(_maps(acts, among)) / norms(puzzle)


def _maps(
    acts: Activations, among: Among, images: jax.Array | None = None
) -> dict[str, jax.Array]:
    """The maps to choose from: stages by sorted name, blocks from input to output.

    They are those of a record, or of the network behind it on other images.
    """
    if among == "stages":
        stages = (acts if images is None else acts.behind().run(images)).stages
        maps = {name: stages[name] for name in sorted(stages)}
    else:
        network = acts.behind()
        maps = network.blocks(network.images if images is None else images)
    if not maps:
        raise MissingStageError(
            f"feature_norm_selected(among={among!r}) reads all {among} of the network, "
            "but there are none here: activations that hold features only have none, "
            "and blocks are modules named like 'block1'. Use a jood.Detector, or name "
            "a stage: feature_norm(stage='C5')."
        )
    return maps


@component.row("FeatureNorm")
def feature_norm(stage: str = "C5") -> Component:
    """FeatureNorm: S = 1/C Σ_c ‖ReLU(z^(c))‖₂, the norm over the locations.

    Args:
      stage: stage whose map is read. `feature_norm_selected` chooses it on training
        data.

    Returns:
      A score component, in units of the map, >= 0.

    Raises:
      ValueError: stage is not a stage name.

    References:
      Yu, Shin, Lee, Jun, Lee, FeatureNorm, CVPR 2023, definition of FeatureNorm.
    """
    component.check_stage(stage)
    spec = component.call_spec("feature_norm", stage=stage)
    return component.score(spec, lambda acts: norm(acts.stage(stage)), (stage,))


@component.row("FeatureNorm (NormRatio)")
def feature_norm_selected(among: Among = "stages") -> Component:
    """FeatureNorm of the map with the largest NormRatio on the training images.

    NormRatio(map) = mean over images x of norm(x) / norm(jigsaw(x)): as the authors'
    code has it, a mean of ratios. Among equal ratios (to 1e-4) the last map wins.

    Args:
      among: 'stages', those of the record, or 'blocks', every residual block of the
        network: the paper's choice, whose code reads inner blocks of ResNet-18 and
        WRN-28, never the last. A WideResNet's are the sums, before norm and ReLU.

    Returns:
      A score component, in units of the map, >= 0. It fits which map to read, one-hot
      float32 [S] over the sorted stages or the blocks from input to output, in one
      pass; that pass runs the network twice, scoring only once.

    Raises:
      ValueError: among is none of these; or, on fitting or scoring, the network has no
        such maps.

    References:
      Yu, Shin, Lee, Jun, Lee, FeatureNorm, CVPR 2023, definition of NormRatio.
    """
    if among not in AMONG:
        expected = " or ".join(map(repr, AMONG))
        raise ValueError(f"among must be {expected}, got {among!r}.")
    statistic = stats.mean(functools.partial(norm_ratios, among=among))

    def finalize(state: Any) -> np.ndarray:
        ratios = statistic.finalize(state)  # [S]
        best = np.flatnonzero(ratios >= ratios.max() - _SAME)[-1]
        return np.eye(len(ratios), dtype=np.float32)[best]

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        maps = _maps(acts, among)
        if len(maps) != len(fitted[0]):
            raise ValueError(
                f"feature_norm_selected was fitted on {len(fitted[0])} {among}, but "
                f"this network has {len(maps)}: {', '.join(maps)}."
            )
        branches = [lambda z=z: norm(z) for z in maps.values()]
        return jax.lax.switch(jnp.argmax(fitted[0]), branches)

    return component.build(
        component.call_spec("feature_norm_selected", among=among),
        "score",
        apply,
        (lambda _: statistic._replace(finalize=finalize),),
        needs_network=True,
        reads=("stage", READS) if among == "blocks" else ("stage",),
    )
