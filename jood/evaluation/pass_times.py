"""What detectors cost beside one forward pass: Feature Sim's Table 8.

Each detector is one program from images to scores, as it runs when it is asked alone;
the forward pass, which takes a batch in chunks as theirs do, ends in the logits.
Programs take turns, so that what slows one slows all. Times do not depend on pixels, so
the images are noise.
"""

from collections.abc import Callable, Mapping
from typing import Any
import warnings

import jax
import numpy as np

from jood._utils import compiling
from jood._utils import turns
from jood.core.backbones import observing
from jood.core.backbones.protocol import Taps
from jood.core.component import Component
from jood.detector import Detector
from jood.evaluation import preflight
from jood.weights.checkpoint import TrainedNetwork

RUNS = 5  # of each program, of which the median counts


def ratios(
    parts: Mapping[str, Component],
    network: TrainedNetwork,
    batch_size: int = 16,
    runs: int = RUNS,
) -> dict[str, float]:
    """Measures scoring a batch, relative to the network's forward pass.

    Args:
      parts: Scores by name; what they learn is fitted on one batch of noise.
      network: The network.
      batch_size: Images of the batch.
      runs: Timed runs of each program, whose median counts.

    Returns:
      Seconds of each score over those of the forward pass, by name; both include
      preprocessing.
    """
    shape = (batch_size, *network.image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    classes = max(getattr(network.model, "num_classes", 0), 1)
    labels = np.arange(batch_size, dtype=np.int32) % classes
    programs = {"": _forward(network, images)}
    for name, part in parts.items():
        detector = Detector(
            part,
            network.model,
            network.variables,
            preprocessing=network.preprocessing,
            head=preflight.head(network.model),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one batch of noise makes poor statistics
            fitted = detector.fit([(images, labels)]) if part.passes else detector
        programs[name] = _scoring(fitted, images)
    seconds = turns.medians(programs, runs)
    forward = seconds.pop("")
    return {name: own / forward for name, own in seconds.items()}


def _forward(network: TrainedNetwork, images: np.ndarray) -> Callable[[], Any]:
    taps = Taps(head=preflight.head(network.model))

    def outputs(variables: Any, images: jax.Array) -> Any:
        images = network.preprocessing(images)
        acts = observing.observe_in_chunks(network.model, variables, images, taps=taps)
        return acts.penultimate, acts.logits

    return _bound(outputs, jax.device_put((network.variables, images)))


def _scoring(detector: Detector, images: np.ndarray) -> Callable[[], Any]:
    part, fitted = detector.component, detector.fitted or ()

    def scores(variables: Any, fitted: Any, images: jax.Array) -> Any:
        return part.apply(fitted, detector.backbone.asked_by(part, variables, images))

    return _bound(scores, jax.device_put((detector.variables, fitted, images)))


def _bound(function: Callable[..., Any], arguments: Any) -> Callable[[], Any]:
    program = compiling.jit(function)
    return lambda: program(*arguments)
