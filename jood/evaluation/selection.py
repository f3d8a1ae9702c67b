"""`select`: choose hyper-parameters without seeing an OOD set.

The papers' validation strategy (HIMPLoS, Sec. V-F; Feature Sim, App. A.1; DICE): ID
validation images against images of Gaussian noise, N(0, 1) per normalised pixel.
Every candidate of a grid is fitted on ID training images and told from the noise;
the whole curve is returned, not only the winner.

    "feature_mask(q=q)|react(q=r)|prototype_smoothing()|energy()",
    {"q": (0.1, 0.3, 0.6), "r": (0.8, 0.9)}

Candidates that differ in traced numbers are one vectorised program: a sweep over
TA's k compiles once and runs the layers before TA once. Candidates that read neither
maps nor edited runs are swept on kept features; the network then runs once per image
for the whole grid.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

import jax
import numpy as np
import tabulate

from jood import metrics
from jood._utils import csv_text
from jood.core import features
from jood.core.activations import Activations
from jood.core.activations import MissingStageError
from jood.core.batch import Batch
from jood.core.component import Component
from jood.core.fitting import Restartable
from jood.detector import Detector
from jood.detector import feature_cache
from jood.evaluation import vectorised
from jood.methods import detector_text


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One point of the grid.

    Attributes:
      values: hyper-parameters by name.
      spec: the detector's text.
      auroc: fraction; ID validation images against noise.
      fpr95: fraction of noise accepted where 95 % of ID validation images are.
      separation: (mean_ID - mean_noise) / sqrt((var_ID + var_noise) / 2) of the
        scores: tells candidates apart that rank all images correctly.
    """

    values: Mapping[str, Any]
    spec: str
    auroc: float
    fpr95: float
    separation: float

    @property
    def rank(self) -> tuple[float, float, float]:
        """What is compared: AUROC, then FPR95, then the separation."""
        return (round(self.auroc, 6), -round(self.fpr95, 6), self.separation)


@dataclasses.dataclass(frozen=True)
class Selection:
    """The whole curve of a selection, in the order of the grid."""

    method: str
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        """The candidate with the highest rank; of equals the first."""
        return max(self.candidates, key=lambda candidate: candidate.rank)

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row per candidate, metrics in percent."""
        return [
            {
                **candidate.values,
                "AUROC": 100 * candidate.auroc,
                "FPR95": 100 * candidate.fpr95,
                "separation": candidate.separation,
                "chosen": "*" if candidate is self.best else "",
            }
            for candidate in self.candidates
        ]

    def text(self, style: str = "simple") -> str:
        """Returns the curve as a table (a `tabulate` style)."""
        return tabulate.tabulate(
            self.rows(), headers="keys", tablefmt=style, floatfmt=".5g"
        )

    def as_csv(self) -> str:
        """Returns the curve as CSV, full precision, with each candidate's text."""
        rows = [
            {**row, "spec": candidate.spec}
            for row, candidate in zip(self.rows(), self.candidates, strict=True)
        ]
        return csv_text.joined(list(rows[0]), [list(row.values()) for row in rows])


def select(
    method: str,
    grid: Mapping[str, Sequence[Any]],
    detector: Detector,
    train: Iterable[Any],
    validation: Iterable[Any],
    *,
    seed: int = 0,
) -> Selection:
    """Tries every combination of a grid against Gaussian noise.

    Args:
      method: a detector's text in which names stand for what is chosen, such as
        'ta(k=k, stage=stage)|feature_sim()'.
      grid: the values to try, by those names.
      detector: gives network, preprocessing and module paths; its own component
        does not matter.
      train: ID training batches, as for `Detector.fit`; can be iterated again.
      validation: ID batches that are neither in `train` nor in a test set. As many
        noise images of the same size are drawn. Can be iterated again.
      seed: seed of the noise.

    Returns:
      The curve, and the best candidate by AUROC, then FPR95, then separation.

    Raises:
      ValueError: a name of the grid is not in the method, the grid is empty, a text
        cannot be read, a source is empty, or a batch is one that the detector
        refuses.

    References:
      Sun et al., HIMPLoS, Sec. V-F; Feature Map Matters in OOD Detection, App. A.1.

    Example:
      >>> from jood import testing
      >>> detector = Detector('msp()', testing.ToyNet(), testing.toy_variables())
      >>> train, held_out = (testing.toy_images(32, seed=i) for i in (0, 1))
      >>> method, grid = 'temperature(T=T)|energy()', {'T': (1.0, 10.0)}
      >>> found = select(method, grid, detector, [train], [held_out])
      >>> [candidate.spec for candidate in found.candidates]
      ['temperature(T=1.0)|energy(T=1.0)', 'temperature(T=10.0)|energy(T=1.0)']
    """
    points = _points(method, grid)
    components = [detector_text.parse(method, variables=values) for values in points]
    if components[0].slot != "score":
        raise ValueError(f"the method must end in a score, got {components[0].spec}.")
    read = detector.read_batch
    train, validation = Restartable(train, read), Restartable(validation, read)
    noise = Restartable(_Noise(validation, seed))
    found = candidates(method, points, detector, train, validation, noise)
    return Selection(
        method,
        tuple(
            _candidate(values, component.spec, *scores)
            for values, component, scores in zip(points, components, found, strict=True)
        ),
    )


def candidates(
    method: str,
    points: Sequence[Mapping[str, Any]],
    detector: Detector,
    train: Restartable,
    *sources: Restartable,
    read: vectorised.Read = lambda scores: scores,
) -> list[list[np.ndarray]]:
    """Fits every candidate of a method and scores sources with it.

    Args:
      method: a text with free names.
      points: their values, one mapping per candidate.
      detector: gives network, preprocessing and module paths.
      train: batches as `detector.read_batch` gives them.
      *sources: batches to score.
      read: what of a candidate's result is kept, an array [B, ...].

    Returns:
      Per candidate, per source: float32 [N], or [N, ...] as `read` gives it.
    """

    def look(
        component: Component | None, variables: Any, batch: "Batch | _NoiseBatch"
    ) -> tuple[Activations, jax.Array]:
        backbone = detector.backbone
        noise = isinstance(batch, _NoiseBatch)  # which is normalised already
        run = backbone.observe_normalised if noise else backbone.observe
        acts = run(
            variables,
            batch.image,
            component.edits if component else (),
            getattr(batch, "label", None),
            component.needs_network if component else False,
        )
        return acts, batch.mask

    variables = detector.variables
    first = detector_text.parse(method, variables=points[0])
    if not first.edits and not first.needs_network:
        with contextlib.ExitStack() as stack:
            readers = [
                features.Reader(
                    functools.partial(look, None),
                    variables,
                    source,
                    source.first(),
                    stack.enter_context(feature_cache.temporary(())),
                )
                for source in (train, *sources)
            ]
            with contextlib.suppress(MissingStageError):  # else it reads a map
                return vectorised.scores(
                    method, points, _kept, readers[0].head, *readers, read=read
                )
    return vectorised.scores(
        method, points, look, variables, train, *sources, read=read
    )


def _kept(
    component: Component, head: Any, batch: features.Features
) -> tuple[Activations, jax.Array]:
    del component
    return features.kept(head, batch)


class _NoiseBatch(NamedTuple):
    """Floating images [B, H, W, C] in normalised units, and their mask [B]."""

    image: jax.Array
    mask: Any


@dataclasses.dataclass(frozen=True, eq=False)
class _Noise:
    """Batches of Gaussian noise, N(0, 1) per normalised pixel, as large as others."""

    like: Iterable[Batch]
    seed: int

    def __iter__(self) -> Iterator[_NoiseBatch]:
        for index, batch in enumerate(self.like):
            key = jax.random.fold_in(jax.random.key(self.seed), index)
            noise = jax.random.normal(key, batch.image.shape)
            yield _NoiseBatch(noise, batch.mask)


def _points(method: str, grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    if not grid or not all(len(values) for values in grid.values()):
        raise ValueError(f"the grid needs at least one value per name, got {grid}.")
    unused = sorted(set(grid) - detector_text.free_names(method))
    if unused:
        raise ValueError(
            f"the grid names {', '.join(unused)}, which {method!r} does not mention. "
            "Write the name where its value belongs: 'ta(k=k)|feature_sim()' for "
            "{'k': (0.1, 0.2)}."
        )
    axes = [_axis(name, values) for name, values in grid.items()]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*axes)]


def _axis(name: str, values: Any) -> list[Any]:
    """Values as Python's own; whole numbers beside fractions become floats."""
    if isinstance(values, str):
        raise ValueError(f"grid[{name!r}] must be a list of values, got {values!r}.")
    plain = [v.item() if hasattr(v, "item") else v for v in values]
    if any(isinstance(v, float) for v in plain):
        plain = [float(v) if type(v) is int else v for v in plain]
    return plain


def _candidate(
    values: Mapping[str, Any], spec: str, inside: np.ndarray, outside: np.ndarray
) -> Candidate:
    spread = np.sqrt((inside.var(dtype=float) + outside.var(dtype=float)) / 2)
    distance = inside.mean(dtype=float) - outside.mean(dtype=float)
    return Candidate(
        values=values,
        spec=spec,
        auroc=metrics.auroc(inside, outside),
        fpr95=metrics.fpr_at_tpr(inside, outside),
        separation=float(distance / spread) if spread else 0.0,
    )
