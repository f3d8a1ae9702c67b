"""Validation while training: ID accuracy, and OOD metrics against Gaussian noise.

No test set is looked at: ID images come from the training set, the noise is N(0, 1) per
normalised pixel, the papers' own validation set (HIMPLoS, Sec. V-F; Feature Sim, App.
A.1). "Best" is chosen on these numbers.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import numpy as np

from jood import metrics
from jood._utils import sharding
from jood.core import compose
from jood.core.backbones import PreprocessedNetwork
from jood.core.backbones.protocol import Taps
from jood.core.batch import Batch
from jood.core.component import Component
from jood.core.preprocessing import Preprocessing
from jood.data.pipeline import EvaluationBatches
from jood.data.sources import Source
from jood.methods import detector_text

Scores = Mapping[str, str | Component]
DETECTORS: Scores = {n: f"{n}()" for n in ("msp", "energy", "feature_sim")}


@dataclasses.dataclass(frozen=True, eq=False)
class Validation:
    """Measures variables of one model; call it with them.

    Attributes:
      model: The network.
      preprocessing: Normalises the images.
      source: Labelled ID images of no test set.
      mesh: The devices over which each batch is spread.
      batch_size: Images per step, over all devices.
      detectors: Scores that fit nothing, by name: texts or components.
      workers: Processes that read images; 0 reads with threads.
      seed: Decides the noise.
    """

    model: nn.Module
    preprocessing: Preprocessing
    source: Source
    mesh: jax.sharding.Mesh
    batch_size: int
    detectors: Scores = dataclasses.field(default_factory=lambda: DETECTORS)
    workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, part in self._scores.items():
            if part.passes or part.slot != "score":
                given = f"{name}={part.spec}"
                raise ValueError(f"expected scores that fit nothing, got {given}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics."""
        noise = [f"noise_{m}_{d}" for d in self.detectors for m in ("auroc", "fpr95")]
        return ("accuracy", *noise)

    def __call__(self, variables: Mapping[str, Any]) -> dict[str, float]:
        """Returns the metrics, fractions, by name; `variables` are on the mesh."""
        batches = []
        reader = EvaluationBatches(self.source, self.batch_size, workers=self.workers)
        for index, batch in enumerate(reader):
            key = jax.random.fold_in(jax.random.key(self.seed), index)
            batch = sharding.shard_batch(batch, self.mesh)
            *arrays, mask = jax.device_get(self._look(variables, batch, key))
            batches.append(jax.tree.map(lambda x, rows=mask > 0: x[rows], arrays))
        inside, outside, correct = jax.tree.map(lambda *x: np.concatenate(x), *batches)
        values = {"accuracy": float(correct.mean())}
        for name in self.detectors:
            pair = inside[name], outside[name]
            values[f"noise_auroc_{name}"] = metrics.auroc(*pair)
            values[f"noise_fpr95_{name}"] = metrics.fpr_at_tpr(*pair)
        return values

    @functools.cached_property
    def _scores(self) -> dict[str, Component]:
        parse = detector_text.parse
        scores = self.detectors.items()
        return {n: parse(s) if isinstance(s, str) else s for n, s in scores}

    @functools.cached_property
    def _look(self) -> Callable[..., Any]:
        """(variables, batch, key) -> scores of ID and of noise, rightness, mask."""
        scores = {name: score.ranking or score for name, score in self._scores.items()}
        bundle = compose.bundle(**scores)
        backbone = PreprocessedNetwork(self.model, None, Taps())

        def look(variables: Any, batch: Batch, key: jax.Array) -> tuple[Any, ...]:
            images = self.preprocessing(batch.image)
            noise = jax.random.normal(key, images.shape)
            real = backbone.asked_by(bundle, variables, images)
            other = backbone.asked_by(bundle, variables, noise)
            correct = real.prediction == batch.label
            return bundle.apply((), real), bundle.apply((), other), correct, batch.mask

        # Replicated: every process gets the scores of all images.
        return jax.jit(look, out_shardings=sharding.replicated(self.mesh))
