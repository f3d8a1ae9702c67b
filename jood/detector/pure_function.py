"""A detector as a pure function: (params, images) -> scores, classes and judgements.

For programs that jood does not run: the user's own `jit`, `vmap`, `shard_map` or
serving code. All checks that need values stay with `Detector`, on the host.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core.backbones import PreprocessedNetwork
from jood.core.batch import check_images
from jood.detector import image_shapes
from jood.detector import program
from jood.detector.calibration import Calibration
from jood.detector.class_calibration import AnyCalibration
from jood.detector.class_calibration import ClassCalibration
from jood.detector.program import Output

Params = dict[str, Any]


def parameters(
    variables: Any, fitted: Any, calibration: AnyCalibration | None
) -> Params:
    """Returns all arrays of a detector: variables, fitted values and calibration."""
    judging = None
    if calibration is not None:
        parts: tuple[Calibration, ...] = (
            calibration.classes
            if isinstance(calibration, ClassCalibration)
            else (calibration,)
        )
        thresholds = calibration.thresholds()
        judging = {
            name: _judging([part.scores[name] for part in parts], thresholds[name])
            for name in thresholds
        }
    return {"variables": variables, "fitted": fitted, "calibration": judging}


def _judging(scores: list[np.ndarray], threshold: Any) -> dict[str, jax.Array]:
    """Sorted scores of each class [K, n], filled up with inf; K = 1 is for all."""
    longest = max(map(len, scores))
    rows = [np.pad(s, (0, longest - len(s)), constant_values=np.inf) for s in scores]
    return {
        "scores": jnp.asarray(np.stack(rows), jnp.float32),
        "count": jnp.asarray([len(s) for s in scores], jnp.int32),
        "threshold": jnp.atleast_1d(jnp.asarray(threshold, jnp.float32)),
    }


def build(
    programs: program.Programs,
    backbone: PreprocessedNetwork,
    image_shape: tuple[int, ...] | None,
) -> Callable[[Params, jax.Array], Output]:
    """Returns the function; see `jood.Detector.function`.

    Args:
      programs: the detector's, as `program.build` gives them.
      backbone: the network with its preprocessing.
      image_shape: (H, W, C) of the images that it was fitted or calibrated on, or None.
    """

    def function(params: Params, images: jax.Array) -> Output:
        images = jnp.asarray(images)
        if images.ndim != 4:
            raise ValueError(f"images must be [B, H, W, C], got shape {images.shape}.")
        check_images(images, backbone.preprocessing)
        backbone.check_normalised(images)
        image_shapes.check(images, backbone.preprocessing, image_shape)
        output = program.traced(programs, params["variables"], params["fitted"], images)
        named = output._replace(scores=program.by_name(output.scores))
        judged = judge(named, params["calibration"])
        bundle = isinstance(output.scores, dict)
        return judged if bundle else single(judged)

    return function


def judge(output: Output, calibration: Mapping[str, Any] | None) -> Output:
    """Adds decisions and p-values to scores by name; NaN is OOD and has no p-value."""
    if calibration is None:
        return output
    judged = {
        name: _judged(score, output.prediction, **calibration[name])
        for name, score in output.scores.items()
    }
    return output._replace(
        is_ood={name: is_ood for name, (is_ood, _) in judged.items()},
        p_value={name: p for name, (_, p) in judged.items()},
    )


def _judged(
    score: jax.Array,
    prediction: jax.Array,
    scores: jax.Array,
    count: jax.Array,
    threshold: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Decision bool [B] and p-value float32 [B]; the rest is as for `_judging`."""
    # The class that the network predicts; one calibration is everyone's.
    k = prediction if len(scores) > 1 else jnp.zeros(len(score), jnp.int32)

    def rank(k: jax.Array, one: jax.Array) -> jax.Array:
        return jnp.searchsorted(scores[k], one, side="right")

    below = jnp.minimum(jax.vmap(rank)(k, score), count[k])  # int32 [B]
    p = (1 + below) / (1 + count[k])
    return ~(score >= threshold[k]), jnp.where(jnp.isnan(score), jnp.nan, p)


def single(output: Output) -> Output:
    """Returns the output of a single score, which has no names."""

    def only(values: Any) -> Any:
        return None if values is None else values[program.SINGLE]

    return Output(
        only(output.scores),
        output.prediction,
        only(output.is_ood),
        only(output.p_value),
    )
