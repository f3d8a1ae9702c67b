"""Turns photographs into the demo's scores and maps, in one pass of the network."""

from collections.abc import Callable, Iterator, Sequence
import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from jood._utils import compiling
from jood.core import compose
from jood.data import inputs as inputs_lib
from jood.deploy.demo.reference import Reference
from jood.detector import Detector
from jood.detector.streaming import Scored
from jood.methods import detector_text
from jood.weights import checkpoint

LAST = "C5"  # the stage whose maps are shown
SHOWN = 24  # photographs in pictures; all are in the table
_AT_ONCE = 8  # photographs per step: one compilation serves any number


class Judged(NamedTuple):
    """Photographs, with the network's predictions and maps and the detectors' scores.

    Attributes:
      names: The path of each of n photographs.
      scored: Predictions and scores of all, and why one could not be read.
      shown: Places of the first readable ones, at most `SHOWN`; m of them.
      images: uint8 [m, H, W, 3], as the network takes them.
      maps: float32 [m, h, w] each: the last map summed over channels, without and with
        Threshold Activation.
    """

    names: Sequence[str]
    scored: Scored
    shown: np.ndarray
    images: np.ndarray
    maps: tuple[np.ndarray, np.ndarray]


def open_photographs(
    where: Sequence[str], network: checkpoint.TrainedNetwork
) -> list[inputs_lib.Inputs]:
    """Opens each photograph, or folder of photographs.

    Raises:
      OSError, ValueError: One is not there, holds no image or is not an image: see
        `inputs.open_inputs`.
    """
    opened = [inputs_lib.open_inputs(one, network.preprocessing) for one in where]
    for some in opened:
        for path, reason in some.broken.items():
            raise ValueError(f"cannot read {path}: {reason}.")
    return opened


def detector(network: checkpoint.TrainedNetwork, reference: Reference) -> Detector:
    """Returns the reference's detectors on the network, calibrated, as one bundle.

    Raises:
      ValueError: The scores are of other weights, or a detector would have to be
        fitted.
    """
    if (checksum := network.source.get("sha256")) != reference.weights:
        raise ValueError(
            f"the calibration scores are of weights with SHA-256 {reference.weights}, "
            f"but these have {checksum}. Install jood[demo] again."
        )
    texts = reference.detectors.items()
    component = compose.bundle(**{n: detector_text.parse(text) for n, text in texts})
    if component.passes:
        raise ValueError(f"a detector learns from data: {component.spec}.")
    return Detector(
        component,
        network.model,
        network.variables,
        network.preprocessing,
        network.class_names,
        calibration=reference.calibration,
    )


def judge(asked: Detector, photographs: Sequence[inputs_lib.Inputs]) -> Judged:
    """Runs the network on all photographs; one that cannot be read keeps its place."""
    run = _program(asked)
    names = [name for some in photographs for name in some.names]
    skipped: dict[int, str] = {}
    kept: dict[int, tuple[np.ndarray, ...]] = {}  # image and maps, by place
    outputs = []
    for first, examples in _batches(photographs):
        images = np.stack([example["image"] for example in examples])
        missing = _AT_ONCE - len(images)
        padded = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
        prediction, scores, maps = jax.device_get(run(padded))
        rows = slice(len(images))
        outputs.append(jax.tree.map(lambda x, rows=rows: x[rows], (prediction, scores)))
        for row, example in enumerate(examples):
            if reason := example.get("skipped", ""):
                skipped[first + row] = reason
            elif len(kept) < SHOWN:
                kept[first + row] = (images[row], *(one[row] for one in maps))
    prediction, scores = jax.tree.map(lambda *parts: np.concatenate(parts), *outputs)
    readable = np.array([place not in skipped for place in range(len(names))])
    scored = Scored(0, readable, scores, prediction, None, skipped)
    images, plain, edited = (
        np.array([part[i] for part in kept.values()]) for i in range(3)
    )
    return Judged(names, scored, np.array(list(kept), int), images, (plain, edited))


def _program(asked: Detector) -> Callable[[np.ndarray], Any]:
    """uint8 [B, H, W, 3] -> classes [B], scores [B] by name, both maps [B, h, w]."""
    component, backbone = asked.component, asked.backbone
    ((edit,),) = component.edits  # they share one TA

    def look(variables: Any, images: jax.Array) -> Any:
        acts = backbone.asked_by(component, variables, images)
        maps = [acts.stage(LAST), acts.edit(edit.spec).stage(LAST)]
        scores = component.apply((), acts)
        return acts.prediction, scores, [one.sum(-1) for one in maps]

    return functools.partial(compiling.jit(look), jax.device_put(asked.variables))


def _batches(
    photographs: Sequence[inputs_lib.Inputs],
) -> Iterator[tuple[int, list[Any]]]:
    """Yields (place of the first, up to `_AT_ONCE` examples)."""
    places = [(some.source, i) for some in photographs for i in range(len(some.names))]
    for first in range(0, len(places), _AT_ONCE):
        part = places[first : first + _AT_ONCE]
        yield first, [source[i] for source, i in part]
