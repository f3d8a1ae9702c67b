"""A bounded sample of a benchmark's test images, as the network sees them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import numpy as np

from jood.core.backbones.linen import Taps
from jood.core.backbones.linen import observe
from jood.data.benchmarks.spec import Benchmark
from jood.data.pipeline import EvaluationBatches
from jood.data.sources.subset import Subset
from jood.evaluation import preflight

ID = "id_test"
ID_COUNT, OOD_COUNT = 600, 200  # images of the ID test set and of each OOD set


class Sample(NamedTuple):
    """What the network gives for some images of a set.

    Attributes:
      features: float32 [n, D], penultimate.
      labels: int [n], or None where there are none.
      intensities: float32 [n, h * w], the mean over channels at each location of the
        last map, or None for a network without maps.
    """

    features: np.ndarray
    labels: np.ndarray | None
    intensities: np.ndarray | None


def take(
    benchmark: Benchmark,
    model: nn.Module,
    variables: Mapping[str, Any],
    batch_size: int = 64,
) -> dict[str, Sample]:
    """Runs the network on images at even distances in each test set.

    Args:
      benchmark: the sets.
      model: the network.
      variables: its parameters and statistics.
      batch_size: images per step.

    Returns:
      The sample of 'id_test' and of each OOD set; images that cannot be read are
      left out.
    """
    taps = Taps(head=preflight.head(model))

    @jax.jit
    def look(images: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        acts = observe(model, variables, benchmark.preprocessing(images), taps=taps)
        last = acts.stages.get("C5")
        if last is None or last.ndim != 4:
            return acts.penultimate, None
        return acts.penultimate, acts.stage("C5").mean(-1).reshape(len(images), -1)

    found = {}
    for name, source in {ID: benchmark.id_test, **benchmark.ood}.items():
        count = min(ID_COUNT if name == ID else OOD_COUNT, len(source))
        chosen = np.arange(count) * len(source) // count
        parts: list[Sample] = []
        for batch in EvaluationBatches(Subset(source, chosen), batch_size):
            features, intensities = jax.device_get(look(batch.image))
            keep = np.asarray(batch.mask) > 0
            every = (features, batch.label, intensities)
            parts.append(Sample(*[_kept(x, keep) for x in every]))
        found[name] = Sample(*map(_joined, zip(*parts, strict=True)))
    return found


def _kept(rows: Any, keep: np.ndarray) -> Any:
    return None if rows is None else rows[keep]


def _joined(parts: Sequence[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)
