"""The jitted program of a detector: images in, scores and predictions out."""

from collections.abc import Callable, Iterable
import dataclasses
import functools
import logging
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import batch_sizes
from jood._utils import compiling
from jood._utils import dependence
from jood.core import assumptions
from jood.core import finiteness
from jood.core import slot_rules
from jood.core.activations import Activations
from jood.core.backbones import PreprocessedNetwork
from jood.core.backbones import channel_errors
from jood.core.component import Component

_LOGGER = logging.getLogger(__name__)
SINGLE = "score"  # the name of the score of a detector that has only one
_STAGES = jax.tree_util.GetAttrKey("stages")  # on the path of a map in a record


class Output(NamedTuple):
    """What one pass over a batch gives.

    Attributes:
      scores: float32 [B], or a dict of them for a bundle.
      prediction: int32 [B], the class that the unmodified network predicts.
      is_ood: bool [B], score < γ (or a dict); None without a calibration.
      p_value: floating [B], conformal (or a dict); None without a calibration.
    """

    scores: Any
    prediction: Any
    is_ood: Any = None
    p_value: Any = None


Result = tuple[Output, jax.Array, tuple[finiteness.Report, dict[str, jax.Array]]]
HalfResult = tuple[Activations, dict[str, jax.Array], finiteness.Report]


class Programs(NamedTuple):
    """(variables, fitted, images) -> output, if all is well, and why not.

    What is finite and which assumptions are violated is fetched only where bool [] says
    that something is wrong: each array costs time.

    Attributes:
      network: compiled for a network's forward pass.
      look: the first half, compiled likewise; None if the network runs again later on,
        or if this backend has no options to tell the halves apart.
      rest: (fitted, *what `look` gives) -> the result, compiled as usual: products with
        large arrays need that. See `jood._utils.compiling`.
      inner: compiled as usual, or a part of another program.
    """

    network: Callable[..., Result]
    look: Callable[..., HalfResult] | None
    rest: Callable[..., Result]
    inner: Callable[..., Result]

    def single(self, fitted: Any) -> Callable[..., Result] | None:
        """Returns the one program that scores; None where `look` and `rest` do."""
        if not compiling.holds_large(fitted):
            return self.network
        return self.inner if self.look is None else None

    def __call__(self, variables: Any, fitted: Any, images: Any) -> Result:
        if (single := self.single(fitted)) is not None:
            return single(variables, fitted, images)
        assert self.look is not None
        return self.rest(fitted, *self.look(variables, fitted, images))


def build(backbone: PreprocessedNetwork, component: Component) -> Programs:
    """Returns the programs of a network with its preprocessing and a score or bundle.

    They look at the features, the maps that are read, the logits and all scores; see
    `finiteness.of_run`.
    """

    def look(variables: Any, fitted: tuple[Any, ...], images: jax.Array) -> HalfResult:
        apply = functools.partial(_applied, component, fitted)
        measure = functools.partial(_of_maps, component, apply)
        acts, measured = backbone.measured(component, variables, images, measure)
        of_maps, finite = measured or ({}, _finite_maps(component, acts))
        finite |= finiteness.of_run(acts)
        return _without_maps(acts) if measured else acts, of_maps, finite

    def rest(
        fitted: tuple[Any, ...],
        acts: Activations,
        of_maps: dict[str, jax.Array],
        finite: finiteness.Report,
    ) -> Result:
        scores, violated = jax.tree_util.tree_map_with_path(
            lambda path, other: of_maps.get(jax.tree_util.keystr(path), other),
            _applied(component, fitted, _with_zeros(acts)),
        )
        each = [jnp.isfinite(one) for one in jax.tree.leaves(scores)]
        finite = {**finite, "scores": functools.reduce(jnp.logical_and, each)}
        well = functools.reduce(jnp.logical_and, map(jnp.all, finite.values()))
        for wrong in violated.values():
            well &= ~jnp.any(wrong)
        return Output(scores, acts.prediction), well, (finite, violated)

    def score(variables: Any, fitted: tuple[Any, ...], images: jax.Array) -> Result:
        return rest(fitted, *look(variables, fitted, images))

    alike = compiling.options() is None
    apart = None if alike or component.needs_network else compiling.jit(look)
    return Programs(compiling.jit(score), apart, jax.jit(rest), jax.jit(score))


def _applied(
    component: Component, fitted: tuple[Any, ...], acts: Activations
) -> tuple[Any, dict[str, jax.Array]]:
    """Scores, and which assumptions are violated, bool [] by message."""
    with assumptions.collected() as violated:
        scores = component.apply(fitted, acts)
    return scores, violated


def _of_maps(
    component: Component, apply: Callable[[Activations], Any], acts: Activations
) -> tuple[dict[str, jax.Array], finiteness.Report]:
    """What depends on the maps of a chunk: results of `apply`, and if maps are finite.

    The rest is computed for the whole batch at once, whose products with a large bank
    take less time than those of its chunks.

    Returns:
      Results by their path, [B] also where one holds for all rows; and bool [B].
    """
    watched = jax.tree_util.tree_map_with_path(lambda path, _: _STAGES in path, acts)
    results = dependence.dependent(apply, acts, watched)
    rows = (acts.penultimate.shape[0],)
    of_rows = {path: jnp.broadcast_to(one, rows) for path, one in results.items()}
    return of_rows, _finite_maps(component, acts)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Absent:
    """A map that stayed in the loop over chunks: what depends on it has been taken."""

    shape: tuple[int, ...]
    dtype: Any


def _without_maps(acts: Activations) -> Activations:
    """Returns a record with the shapes of its maps in their place."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: _Absent(x.shape, x.dtype) if _STAGES in path else x, acts
    )


def _with_zeros(acts: Activations) -> Activations:
    """Returns a record to be traced: what depends on its maps is not used."""

    def present(x: Any) -> Any:
        return jnp.zeros(x.shape, x.dtype) if isinstance(x, _Absent) else x

    return jax.tree.map(present, acts, is_leaf=lambda x: isinstance(x, _Absent))


def _finite_maps(component: Component, acts: Activations) -> finiteness.Report:
    """Whether the maps that a component reads are finite, bool [B] by what they are."""
    report = finiteness.of_run(acts, slot_rules.maps_read(component, acts.stages))
    return {what: own for what, own in report.items() if what.startswith("maps")}


def run(programs: Programs, variables: Any, fitted: Any, images: jax.Array) -> Output:
    """Scores images on the device; returns scores on the host, always by name.

    Traced images give traced scores: NaN where an image would be refused here.

    Images on the host are padded to one of a few batch sizes, so that few programs are
    compiled; those on the device keep their size.

    Raises:
      ValueError: the head, or something of an image, is NaN or infinite.
    """
    if isinstance(images, jax.core.Tracer):
        output = traced(programs, variables, fitted, images)
        return output._replace(scores=by_name(output.scores))
    with channel_errors():
        results = programs(variables, fitted, batch_sizes.padded(images))
        output, well, reasons = results
        output, well = compiling.on_host((output, well))
        rows = len(images)  # the rest is padding
        if not well:
            finite, violated = compiling.on_host(reasons)
            finiteness.check({k: v[:rows] if v.ndim else v for k, v in finite.items()})
            assumptions.warn(violated)
    output = jax.tree.map(lambda values: values[:rows], output)
    return output._replace(scores=by_name(output.scores))


def by_name(scores: Any) -> dict[str, Any]:
    """Returns scores by detector name, {'score': [B]} for a single one."""
    return scores if isinstance(scores, dict) else {SINGLE: scores}


def traced(
    programs: Programs, variables: Any, fitted: Any, images: jax.Array
) -> Output:
    """Scores images within another traced program; a pure function.

    Violated assumptions are not reported, since a program cannot warn.
    """
    with channel_errors():
        output, _, (report, _) = programs.inner(variables, fitted, images)
    return output._replace(scores=unless_refused(output.scores, report, images))


def unless_refused(scores: Any, report: finiteness.Report, images: jax.Array) -> Any:
    """Returns scores, NaN where `run` refuses an image with an error.

    That is where a pixel, a feature, a weight of the head, a logit or a score is NaN or
    infinite; no threshold takes NaN for ID.
    """
    finite = finiteness.of_rows(report)
    if jnp.issubdtype(images.dtype, jnp.floating):
        finite &= jnp.isfinite(images).all((1, 2, 3))
    return jax.tree.map(lambda score: jnp.where(finite, score, jnp.nan), scores)


def compile_for(
    programs: Programs,
    variables: Any,
    fitted: Any,
    images: Iterable[jax.ShapeDtypeStruct],
) -> None:
    """Compiles for batches of given shapes, as `run` pads them, and runs them once."""
    for one in images:
        zeros = batch_sizes.padded(np.zeros(one.shape, one.dtype))
        start = time.perf_counter()
        with channel_errors():
            jax.block_until_ready(programs(variables, fitted, zeros))
        seconds = time.perf_counter() - start
        _LOGGER.info("compiled for images %s in %.1f s", zeros.shape, seconds)
