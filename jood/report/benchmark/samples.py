"""A bounded sample of a benchmark's test images, as the network sees them."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jood._utils import compiling
from jood.data.benchmarks.spec import Benchmark
from jood.data.pipeline import EvaluationBatches
from jood.data.sources.subset import Subset
from jood.report.benchmark.network_view import Viewer

ID = "id_test"
COUNT = 400  # images of the ID test set at most, and of all OOD sets together


class Sample(NamedTuple):
    """What the network gives for some images of a set.

    Attributes:
      features: float32 [n, D], penultimate.
      labels: int [n], or None where there are none.
    """

    features: np.ndarray
    labels: np.ndarray | None


def take(
    benchmark: Benchmark, viewer: Viewer, batch_size: int = 64
) -> dict[str, Sample]:
    """Runs the network on images at even distances in each test set.

    Returns:
      The sample of 'id_test' and of each OOD set, without images that cannot be read.
    """
    detector = viewer.detector
    variables = jax.device_put(detector.variables)

    def features_of(variables: Any, images: jax.Array) -> jax.Array:
        return detector.backbone.observe_in_chunks(variables, images).penultimate

    look = compiling.jit(features_of)

    by_set = {}
    for name, source in {ID: benchmark.id_test, **benchmark.ood}.items():
        count = min(COUNT if name == ID else COUNT // len(benchmark.ood), len(source))
        chosen = np.arange(count) * len(source) // count
        parts = []
        for batch in EvaluationBatches(Subset(source, chosen), batch_size):
            features = look(variables, batch.image)
            rows = jax.device_get(Sample(features, batch.label))
            keep = np.asarray(batch.mask) > 0
            parts.append(jax.tree.map(lambda x, keep=keep: x[keep], rows))
        by_set[name] = jax.tree.map(lambda *each: np.concatenate(each), *parts)
    return by_set
