"""What a detector says of itself and of images, and what it compiles beforehand."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jood._utils import arguments
from jood.core.component import Component
from jood.core.preprocessing import Preprocessing
from jood.detector import answers
from jood.detector import image_shapes
from jood.detector.calibration import Calibration
from jood.detector.program import Output


def state(component: Component, fitted: Any, calibration: Calibration | None) -> str:
    """Returns what a detector has learned, in words."""
    text = "not fitted" if fitted is None else "fitted"
    text = text if component.passes else "nothing to fit"
    if calibration is not None:
        count = len(next(iter(calibration.scores.values())))
        text += f", calibrated on {count:,} images, TPR {calibration.tpr:.4g}"
    return text


def columns(
    output: Output, component: Component, calibration: Calibration | None
) -> dict[str, np.ndarray]:
    """Returns columns [B], as the loader of an exported detector gives them.

    Args:
      output: scores by name, {'score': [B]} of a single one.
      component: what gave them; those of a bundle are called 'score_NAME', ...
      calibration: adds 'is_ood' and 'p_value'.
    """
    found = {"prediction": output.prediction}
    for name, values in output.scores.items():
        suffix = f"_{name}" if component.slot == "bundle" else ""
        found[f"score{suffix}"] = values
        if calibration is not None:
            found[f"is_ood{suffix}"] = values < calibration.thresholds()[name]
            p_values = calibration.p_values({name: values})
            found[f"p_value{suffix}"] = p_values[name]
    return found


def answer(
    output: Output,
    component: Component,
    calibration: Calibration | None,
    class_names: Sequence[str] | None,
) -> answers.Answer:
    """Returns what one pass says; arguments are as of `columns`."""
    return answers.of_columns(columns(output, component, calibration), class_names)


def batches(
    sizes: Iterable[int],
    preprocessing: Preprocessing | None,
    image_shape: Sequence[int] | None,
) -> list[jax.ShapeDtypeStruct]:
    """Returns the batches of these sizes that a detector sees, to compile for them.

    Raises:
      ValueError: a size is no count; nothing says the shape (H, W, C) of an image.
    """
    shape = image_shapes.known(preprocessing, image_shape)
    if shape is None:
        raise ValueError(
            "nothing says how large images are, and programs are compiled for a size: "
            "warm_up(image_shape=(H, W, C)), or fit or calibrate the detector."
        )
    sizes = list(sizes)
    for size in sizes:
        arguments.check_count("sizes", size)
    dtype = np.float32 if preprocessing is None else np.uint8
    return [jax.ShapeDtypeStruct((size, *shape), dtype) for size in sizes]
