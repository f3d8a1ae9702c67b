"""What a detector says about itself and about images, and what it compiles ahead."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jood._utils import arguments
from jood.core.component import Component
from jood.core.preprocessing import Preprocessing
from jood.detector import answers
from jood.detector import image_shapes
from jood.detector import pure_function
from jood.detector.class_calibration import AnyCalibration
from jood.detector.class_calibration import ClassCalibration
from jood.detector.program import Output


def state(component: Component, fitted: Any, calibration: AnyCalibration | None) -> str:
    """Returns what a detector has learned, in words."""
    text = "not fitted" if fitted is None else "fitted"
    text = text if component.passes else "nothing to fit"
    if calibration is not None:
        count = len(next(iter(calibration.scores.values())))
        text += f", calibrated on {count:,} images, TPR {calibration.tpr:.4g}"
        text += " per class" if isinstance(calibration, ClassCalibration) else ""
    return text


def judged(output: Output, calibration: AnyCalibration | None) -> Output:
    """Adds decisions and p-values, by name as the scores are; traced ones stay so."""
    if calibration is None:
        return output
    if isinstance(output.prediction, jax.core.Tracer):
        known = pure_function.parameters((), (), calibration)["calibration"]
        return pure_function.judge(output, known)
    thresholds = calibration.thresholds_of(output.prediction)
    is_ood = {name: values < thresholds[name] for name, values in output.scores.items()}
    p_values = calibration.p_values(output.scores, output.prediction)
    return output._replace(is_ood=is_ood, p_value=p_values)


def unnamed(output: Output, component: Component) -> Output:
    """Returns an output by name without the name of a single score; bundles keep it."""
    return output if component.slot == "bundle" else pure_function.single(output)


def columns(
    output: Output, component: Component, calibration: AnyCalibration | None
) -> dict[str, np.ndarray]:
    """Returns columns [B], as the loader of an exported detector gives them.

    Args:
      output: scores by name, {'score': [B]} for a single one.
      component: detector that gave them; those of a bundle are called 'score_NAME', ...
      calibration: adds 'is_ood' and 'p_value'.
    """
    output = judged(output, calibration)
    named = {"prediction": output.prediction}
    for name, values in output.scores.items():
        suffix = f"_{name}" if component.slot == "bundle" else ""
        named[f"score{suffix}"] = values
        if calibration is not None:
            named[f"is_ood{suffix}"] = output.is_ood[name]
            named[f"p_value{suffix}"] = output.p_value[name]
    return named


def answer(
    output: Output,
    component: Component,
    calibration: AnyCalibration | None,
    class_names: Sequence[str] | None,
) -> answers.Answer:
    """Returns what one pass says; arguments are as for `columns`.

    Raises:
      TypeError: the images were traced, but an answer is of NumPy's arrays.
    """
    if isinstance(output.prediction, jax.core.Tracer):
        raise TypeError(
            "detector.answer() gives NumPy arrays and names, which a traced function "
            "cannot hold: call detector.run(images) in it, or detector.function()."
        )
    return answers.of_columns(columns(output, component, calibration), class_names)


def batches(
    sizes: Iterable[int],
    preprocessing: Preprocessing | None,
    image_shape: Sequence[int] | None,
) -> list[jax.ShapeDtypeStruct]:
    """Returns the batches of these sizes that a detector sees, to compile for them.

    Raises:
      ValueError: a size is not a count; nothing says the shape (H, W, C) of an image.
    """
    shape = image_shapes.known(preprocessing, image_shape)
    if shape is None:
        raise ValueError(
            "nothing says how large images are, and programs are compiled for a size: "
            "compile(image_shape=(H, W, C)), or fit or calibrate the detector."
        )
    sizes = list(sizes)
    for size in sizes:
        arguments.check_count("batch_sizes", size)
    dtype = np.float32 if preprocessing is None else np.uint8
    return [jax.ShapeDtypeStruct((size, *shape), dtype) for size in sizes]
