"""The ID accuracy of a network's prediction behind a stage edit.

TA's run serves OOD detection alone; used for the ID task, it would lose
accuracy (Feature Sim, Table 7, last row).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jood._utils import compiling
from jood.core.activations import Activations
from jood.core.activations import StageEdit
from jood.data.benchmarks.spec import Benchmark
from jood.data.device_batches import sharded
from jood.detector import Detector

Paths = Sequence[tuple[StageEdit, ...]]  # of a component: `Component.edits`


def measure(
    edits: Mapping[str, Paths],
    detector: Detector,
    benchmark: Benchmark,
    batch_size: int,
) -> dict[str, float]:
    """Classifies the ID test images behind stage edits, in one pass over them.

    Args:
      edits: The paths of edits of some detectors by name; only those with a single
        path are measured.
      detector: Any detector with the network.
      benchmark: Its ID test set carries labels.
      batch_size: Images per step, over all devices.

    Returns:
      The fraction of the images that is classified correctly, by name.
    """
    paths = {name: each[0] for name, each in edits.items() if len(each) == 1}
    if not paths:
        return {}
    every = tuple(dict.fromkeys(paths.values()))

    def answered(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
        acts = detector.backbone.observe_in_chunks(variables, images, every)
        return {n: behind(acts, path).logits.argmax(-1) for n, path in paths.items()}

    program, variables = compiling.jit(answered), detector.variables
    right, count = dict.fromkeys(paths, 0), 0
    for batch in sharded(benchmark.id_test, batch_size, what="ID accuracy behind TA"):
        keep, labels = np.asarray(batch.mask) > 0, np.asarray(batch.label)
        for name, answer in jax.device_get(program(variables, batch.image)).items():
            right[name] += int((answer == labels)[keep].sum())
        count += int(keep.sum())
    return {name: number / count for name, number in right.items()}


def behind(acts: Activations, path: tuple[StageEdit, ...]) -> Activations:
    """Returns the record behind all edits of a path."""
    for edit in path:
        acts = acts.edit(edit.spec)
    return acts
