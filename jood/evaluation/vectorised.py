"""Many candidates of one method in one program: the engine of `jood.select`.

A text with free names is a function of their values. Candidates that differ in traced
numbers only are vectorised with `vmap`: what does not depend on the swept value (the
layers before Threshold Activation, say) is computed and compiled once for all. Values
that must be known while tracing (a stage's name, what steers Python) make programs of
their own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import functools
import math
from typing import Any, NamedTuple
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import compiling
from jood.core import assumptions
from jood.core import component as component_lib
from jood.core import fitting
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods import detector_text

AT_ONCE = 12  # candidates in one program: bounds the memory of their edited runs
MEMORY = 1 << 29  # bytes that what they learn may take together

Values = Mapping[str, Any]
# (component, variables, batch) -> activations and mask, float32 [B]; runs under jit.
Look = Callable[[Component, Any, Any], tuple[Activations, jax.Array]]
Read = Callable[[Any], jax.Array]  # what a component gives -> [B, ...]; under jit


class Scores(NamedTuple):
    """The scores of a candidate.

    Attributes:
      sources: float32 [N], or [N, ...], per source, without padded rows.
      warned: warnings from fitting it, each once; they are not shown.
    """

    sources: list[np.ndarray]
    warned: tuple[str, ...] = ()


def scores(
    method: str,
    points: Sequence[Values],
    look: Look,
    variables: Any,
    train: Iterable[Any],
    *sources: Iterable[Any],
    read: Read = lambda scores: scores,
) -> list[Scores]:
    """Fits every candidate and scores every source with it.

    Args:
      method: a text with free names.
      points: their values, one mapping per candidate.
      look: function from a batch to activations, with the edits that a component asks
        for.
      variables: pytree that `look` gets beside the batch.
      train: batches to fit on; can be iterated again.
      *sources: batches to score; can be iterated again.
      read: function from a candidate's result to the part to keep, an array [B, ...].

    Returns:
      The scores of each candidate, in the order of `points`.
    """
    given = (look, variables, train, sources, read)
    results_of: list[Scores] = [Scores([]) for _ in points]
    at_once = _at_once(method, points[0], look, variables, train)
    for names, group in _groups(points, at_once):
        chosen = [points[i] for i in group]
        try:
            results = _together(method, chosen, names, *given)
        except (
            jax.errors.ConcretizationTypeError,  # a value steers Python,
            jax.errors.TracerArrayConversionError,  # or NumPy,
            _DifferentShapesError,  # or what is learned has another size
        ):
            results = [_alone(method, one, *given) for one in chosen]
        for index, result in zip(group, results, strict=True):
            results_of[index] = result
    return results_of


class _DifferentShapesError(Exception):
    """Candidates learn values of different shapes, which cannot be stacked."""


def _at_once(
    method: str, values: Values, look: Look, variables: Any, train: Iterable[Any]
) -> int:
    """How many candidates fit into `MEMORY` while they are fitted side by side."""
    component = detector_text.parse(method, variables=values)
    if not component.passes:
        return AT_ONCE

    def init(variables: Any, batch: Any) -> Any:
        acts, _ = look(component, variables, batch)
        return component.passes[0](()).init(acts)

    for batch in train:
        leaves = jax.tree.leaves(jax.eval_shape(init, variables, batch))
        size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
        return max(min(AT_ONCE, MEMORY // max(size, 1)), 1)
    raise component_lib.empty_data_set("fit")


def _groups(
    points: Sequence[Values], at_once: int
) -> list[tuple[tuple[str, ...], list[int]]]:
    """Candidates that differ in floats only, at most `at_once` of them together."""
    members: dict[Any, list[int]] = {}
    for index, values in enumerate(points):
        kinds = {k: float if isinstance(v, float) else v for k, v in values.items()}
        members.setdefault(tuple(kinds.items()), []).append(index)
    return [
        (tuple(k for k, kind in key if kind is float), group[start : start + at_once])
        for key, group in members.items()
        for start in range(0, len(group), at_once)
    ]


def _together(
    method: str,
    points: Sequence[Values],
    traced: tuple[str, ...],
    look: Look,
    variables: Any,
    train: Iterable[Any],
    sources: Sequence[Iterable[Any]],
    read: Read,
) -> list[Scores]:
    """Candidates that differ in the values of `traced` only; see `scores`."""
    components = [detector_text.parse(method, variables=values) for values in points]
    numbers = {name: jnp.array([v[name] for v in points]) for name in traced}
    count = len(points)
    numbers["index"] = jnp.arange(count)  # so that there is an axis to map over
    static = {k: v for k, v in points[0].items() if k not in traced}

    def view(variables: Any, batch: Any, own: dict[str, jax.Array]) -> Any:
        given = {name: own[name] for name in traced}
        component = detector_text.parse(method, variables={**static, **given})
        return component, *look(component, variables, batch)

    # `fit` holds what earlier passes learned, so its length is the number of this one.
    def init(variables: Any, batch: Any, own: Any, fit: tuple[Any, ...]) -> Any:
        component, acts, _ = view(variables, batch, own)
        return component.passes[len(fit)](fit).init(acts)

    def update(
        state: Any, variables: Any, batch: Any, own: Any, fit: tuple[Any, ...]
    ) -> Any:
        component, acts, mask = view(variables, batch, own)
        return component.passes[len(fit)](fit).update(state, acts, mask)

    start = compiling.jit(jax.vmap(init, in_axes=(None, None, 0, 0)))
    step = compiling.jit(jax.vmap(update, in_axes=(0, None, None, 0, 0)))
    fitted: list[tuple[Any, ...]] = [() for _ in points]
    warned: list[tuple[str, ...]] = [() for _ in points]
    for _ in components[0].passes:
        stacked, state = _stack(fitted), None
        for batch in train:
            if state is None:
                state = start(variables, batch, numbers, stacked)
            state = step(state, variables, batch, numbers, stacked)
        if state is None:
            raise component_lib.empty_data_set("fit")
        states = jax.device_get(state)
        for i, component in enumerate(components):
            own = jax.tree.map(lambda leaf, i=i: leaf[i], states)
            statistic = component.passes[len(fitted[i])](fitted[i])
            value, texts = _warned(functools.partial(statistic.finalize, own))
            fitted[i] += (value,)
            warned[i] += texts

    def score(variables: Any, batch: Any, own: Any, fit: tuple[Any, ...]) -> Any:
        component, acts, mask = view(variables, batch, own)
        return read(component.apply(fit, acts)), mask

    every = jax.vmap(score, in_axes=(None, None, 0, 0), out_axes=(0, None))
    program = _compiled(every, fitted)
    stacked = _stack(fitted)
    results = [Scores([], tuple(dict.fromkeys(texts))) for texts in warned]
    for source in sources:
        rows = _rows(source, lambda b: program(variables, b, numbers, stacked))
        for result, row in zip(results, rows, strict=True):
            result.sources.append(row)
    return results


def _alone(
    method: str,
    values: Values,
    look: Look,
    variables: Any,
    train: Iterable[Any],
    sources: Sequence[Iterable[Any]],
    read: Read,
) -> Scores:
    """One candidate, whose passes may steer NumPy by what earlier ones learned."""
    component = detector_text.parse(method, variables=values)

    def observe(variables: Any, batch: Any) -> Any:
        return look(component, variables, batch)

    fitted, texts = _warned(
        lambda: fitting.fit(component, train, observer=observe, variables=variables)
    )

    def score(variables: Any, batch: Any, fit: tuple[Any, ...]) -> Any:
        acts, mask = observe(variables, batch)
        return read(component.apply(fit, acts))[None], mask

    program = _compiled(score, fitted)
    result = Scores([], tuple(dict.fromkeys(texts)))
    for source in sources:
        (row,) = _rows(source, lambda b: program(variables, b, fitted))
        result.sources.append(row)
    return result


def _compiled(score: Callable[..., Any], fitted: Any) -> Callable[..., Any]:
    return (jax.jit if compiling.holds_large(fitted) else compiling.jit)(score)


def _rows(source: Iterable[Any], run: Callable[[Any], Any]) -> np.ndarray:
    """What candidates give for all images, without padding: [C, N, ...]."""
    parts = []
    for batch in source:
        values, mask = jax.device_get(run(batch))  # [C, B, ...], [B]
        parts.append(values[:, mask > 0])
    if not parts:
        raise component_lib.empty_data_set("select")
    return np.concatenate(parts, axis=1)


def _warned(run: Callable[[], Any]) -> tuple[Any, tuple[str, ...]]:
    """What a function returns, and what it warned that a method assumes; no print."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", assumptions.AssumptionWarning)
        value = run()
    texts: tuple[str, ...] = ()
    for warning in caught:
        if issubclass(warning.category, assumptions.AssumptionWarning):
            texts += (str(warning.message),)
        else:
            warnings.warn(warning.message, stacklevel=2)
    return value, texts


def _stack(fitted: Sequence[tuple[Any, ...]]) -> Any:
    if len({tuple(np.shape(x) for x in jax.tree.leaves(one)) for one in fitted}) > 1:
        raise _DifferentShapesError
    return jax.tree.map(lambda *leaves: np.stack(leaves), *fitted)
