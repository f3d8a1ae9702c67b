"""`select`: choose hyper-parameters without seeing an OOD set.

The papers' validation strategy (HIMPLoS, Sec. V-F; Feature Sim, App. A.1; DICE): every
candidate of a grid is fitted on ID training images and compares ID validation images
with synthetic ones: Gaussian noise, N(0, 1) per normalised pixel, or images made from
ID images (`synthetic_outliers`). `choice` says which candidate is taken.

`select_against` is OpenOOD's protocol instead: the highest AUROC on validation images,
of which some are OOD. A selection names the images that it used.

    "feature_mask(q=q)|react(q=r)|prototype_smoothing()|energy()",
    {"q": (0.1, 0.3, 0.6), "r": (0.8, 0.9)}

Candidates that differ in traced numbers are one program (`vectorised`). Those that read
neither maps nor edited runs are swept on kept features: the network then runs once per
image for the whole grid.
"""

from collections.abc import Iterable, Mapping, Sequence
import contextlib
import functools
import itertools
from typing import Any

import jax

from jood.core import features
from jood.core.activations import Activations
from jood.core.activations import MissingStageError
from jood.core.batch import Batch
from jood.core.component import Component
from jood.core.fitting import Restartable
from jood.detector import Detector
from jood.detector import feature_cache
from jood.evaluation import choice
from jood.evaluation import synthetic_outliers
from jood.evaluation import vectorised
from jood.evaluation.choice import Candidate
from jood.evaluation.choice import Selection
from jood.evaluation.synthetic_outliers import NormalisedBatch
from jood.methods import detector_text


def select(
    method: str,
    grid: Mapping[str, Sequence[Any]],
    detector: Detector,
    train: Iterable[Any],
    validation: Iterable[Any],
    *,
    outliers: Sequence[str] = (synthetic_outliers.NOISE,),
    seed: int = 0,
) -> Selection:
    """Tries every combination of a grid against synthetic images, not an OOD set.

    Args:
      method: a detector's text in which names stand for what is chosen, such as
        'ta(k=k, stage=stage)|feature_sim()'.
      grid: the values to try, by those names.
      detector: gives network, preprocessing and module paths, not its component.
      train: ID training batches, as for `Detector.fit`; can be iterated again.
      validation: ID batches that are neither in `train` nor in a test set, which can
        be iterated again. As many images of each kind are made, of the same size.
      outliers: kinds of synthetic images, of `synthetic_outliers.KINDS`: 'noise', which
        the papers take, 'blur', 'pixels', 'jigsaw', 'mixed'; metrics are means over
        them.
      seed: seed of what is random in them.

    Returns:
      The curve, its best candidate and reasons to doubt it: among candidates within
      one standard error of the highest AUROC, the one with the widest separation.

    Raises:
      ValueError: a name of the grid is not in the method, the grid is empty, a text
        cannot be read, a source is empty, a kind is unknown, or the detector refuses
        a batch.

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
    synthetic_outliers.check(outliers)
    read = detector.read_batch
    train, validation = Restartable(train, read), Restartable(validation, read)
    synthetic = {
        kind: Restartable(synthetic_outliers.Outliers(kind, validation, seed))
        for kind in outliers
    }
    meanings = "; ".join(synthetic_outliers.MEANINGS[kind] for kind in outliers)
    saw = f"held-out ID images and synthetic ones ({meanings}), no OOD image"
    tried = _tried(method, grid, detector, train, validation, synthetic)
    return Selection(method, tried, saw)


def select_against(
    method: str,
    grid: Mapping[str, Sequence[Any]],
    detector: Detector,
    train: Iterable[Any],
    validation: Iterable[Any],
    outliers: Mapping[str, Iterable[Any]],
) -> Selection:
    """Tries every combination of a grid against real OOD images, as OpenOOD does.

    It sees OOD images, which `select` does not: its numbers are those of a detector
    that knew something about the images to come.

    Args:
      method: a detector's text with free names, as for `select`.
      grid: the values to try, by those names.
      detector: gives network, preprocessing and module paths, not its component.
      train: ID training batches; can be iterated again.
      validation: ID batches that are neither in `train` nor in a test set.
      outliers: batches of OOD images that are in no test set, by name; metrics are
        means over the names.

    Returns:
      The curve, and its candidate with the highest AUROC; the first of equal ones.

    Raises:
      ValueError: as `select`, or there are no outliers.

    References:
      Zhang et al., OpenOOD v1.5, 2023; openood/evaluation_api/evaluator.py,
      hyperparam_search.
    """
    if not outliers:
        raise ValueError("give OOD images to choose on, by name; got none.")
    read = detector.read_batch
    train, validation = Restartable(train, read), Restartable(validation, read)
    real = {name: Restartable(batches, read) for name, batches in outliers.items()}
    tried = _tried(method, grid, detector, train, validation, real)
    saw = f"ID validation images and OOD images of {', '.join(outliers)}"
    return Selection(method, tried, saw, choice.HIGHEST_AUROC)


def _tried(
    method: str,
    grid: Mapping[str, Sequence[Any]],
    detector: Detector,
    train: Restartable,
    validation: Restartable,
    others: Mapping[str, Restartable],
) -> tuple[Candidate, ...]:
    """Every candidate, with how well it separates validation images from the others."""
    points = _points(method, grid)
    components = [detector_text.parse(method, variables=values) for values in points]
    if components[0].slot != "score":
        raise ValueError(f"the method must end in a score, got {components[0].spec}.")
    sources = (validation, *others.values())
    scores = candidates(method, points, detector, train, *sources)
    return tuple(
        _candidate(values, part.spec, list(others), one)
        for values, part, one in zip(points, components, scores, strict=True)
    )


def candidates(
    method: str,
    points: Sequence[Mapping[str, Any]],
    detector: Detector,
    train: Restartable,
    *sources: Restartable,
    read: vectorised.Read = lambda scores: scores,
) -> list[vectorised.Scores]:
    """Fits every candidate of a method and scores sources; see `vectorised.scores`.

    Batches are as `detector.read_batch` gives them; its component does not matter.
    """

    def look(
        component: Component, variables: Any, batch: Batch | NormalisedBatch
    ) -> tuple[Activations, jax.Array]:
        backbone = detector.backbone
        ready = isinstance(batch, NormalisedBatch)
        run = backbone.observe_normalised if ready else backbone.observe
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
    values: Mapping[str, Any],
    spec: str,
    kinds: Sequence[str],
    candidate_scores: vectorised.Scores,
) -> Candidate:
    inside, *outside = candidate_scores.sources
    against = {
        kind: choice.contrast(inside, scores)
        for kind, scores in zip(kinds, outside, strict=True)
    }
    return Candidate(
        values, spec, against, choice.degenerate(inside, candidate_scores.warned)
    )
