"""`select`: choose hyper-parameters without seeing an OOD set.

The papers' validation strategy (HIMPLoS, Sec. V-F; Feature Sim, App. A.1; DICE): every
candidate of a grid is fitted on ID training images and tells ID validation images from
images of Gaussian noise, N(0, 1) per normalised pixel.

    "feature_mask(q=q)|react(q=r)|prototype_smoothing()|energy()",
    {"q": (0.1, 0.3, 0.6), "r": (0.8, 0.9)}

Candidates that differ in traced numbers are one program (`vectorised`). Those that read
neither maps nor edited runs are swept on kept features: the network then runs once per
image for the whole grid.
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
        scores: ranks candidates that are correct on all images.
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
        return tabulate.tabulate(self.rows(), "keys", style, ".5g")

    def as_csv(self) -> str:
        """Returns the curve as CSV, full precision, with each candidate's text."""
        rows, specs = self.rows(), [candidate.spec for candidate in self.candidates]
        lines = [[*r.values(), spec] for r, spec in zip(rows, specs, strict=True)]
        return csv_text.joined([*rows[0], "spec"], lines)


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
      detector: gives network, preprocessing and module paths, not its component.
      train: ID training batches, as for `Detector.fit`; can be iterated again.
      validation: ID batches that are neither in `train` nor in a test set, which can
        be iterated again. As many noise images of the same size are drawn.
      seed: seed of the noise.

    Returns:
      The curve, and the best candidate by AUROC, then FPR95, then separation.

    Raises:
      ValueError: a name of the grid is not in the method, the grid is empty, a text
        cannot be read, a source is empty, or the detector refuses a batch.

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
    triples = zip(points, components, found, strict=True)
    made = [_candidate(values, part.spec, *scores) for values, part, scores in triples]
    return Selection(method, tuple(made))


def candidates(
    method: str,
    points: Sequence[Mapping[str, Any]],
    detector: Detector,
    train: Restartable,
    *sources: Restartable,
    read: vectorised.Read = lambda scores: scores,
) -> list[list[np.ndarray]]:
    """Fits every candidate of a method and scores sources; see `vectorised.scores`.

    Batches are as `detector.read_batch` gives them; its component does not matter.
    """

    def look(
        component: Component, variables: Any, batch: "Batch | _NoiseBatch"
    ) -> tuple[Activations, jax.Array]:
        backbone = detector.backbone
        noise = isinstance(batch, _NoiseBatch)  # which is normalised already
        run = backbone.observe_normalised if noise else backbone.observe
        edits, needs = component.edits, component.needs_network
        label = getattr(batch, "label", None)
        return run(variables, batch.image, edits, label, needs), batch.mask

    variables, every = detector.variables, (train, *sources)
    first = detector_text.parse(method, variables=points[0])
    if not first.edits and not first.needs_network:
        plain = functools.partial(look, first)
        with contextlib.ExitStack() as stack:

            def reader(source: Restartable) -> features.Reader:
                cache = stack.enter_context(feature_cache.temporary(()))
                return features.Reader(plain, variables, source, source.first(), cache)

            readers = [reader(source) for source in every]
            with contextlib.suppress(MissingStageError):  # else it reads a map
                return vectorised.scores(
                    method, points, _kept, readers[0].head, *readers, read=read
                )
    return vectorised.scores(method, points, look, variables, *every, read=read)


def _kept(_: Component, *kept: Any) -> tuple[Activations, jax.Array]:
    return features.kept(*kept)


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
    if not grid or not all(map(len, grid.values())):
        raise ValueError(f"the grid needs at least one value per name, got {grid}.")
    unused = sorted(set(grid) - detector_text.free_names(method))
    if unused:
        raise ValueError(
            f"the grid names {', '.join(unused)}, which {method!r} does not mention: "
            "write 'ta(k=k)|feature_sim()' for {'k': (0.1, 0.2)}."
        )
    axes = [_axis(name, values) for name, values in grid.items()]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*axes)]


def _axis(name: str, values: Any) -> list[Any]:
    """Returns values as Python's own; integers beside fractions become floats."""
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
