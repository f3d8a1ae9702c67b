"""`fit`: learns a component's values from training data, pass by pass.

A pass that needs penultimate features alone reads them from the cache, so that the
network runs once per image; one that needs a stage's map, which is too large to keep,
runs the network, which fills the cache on the way. Without a cache the network runs in
every pass; `jood.Detector.fit` opens a temporary one where there are several.

Batches may be sharded over devices: `jit` inserts what must be added up.
"""

from collections.abc import Callable, Iterable, Iterator
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import compiling
from jood._utils import fingerprinting
from jood._utils import sharding
from jood.core import batch as batch_lib
from jood.core import component as component_lib
from jood.core import features
from jood.core import finiteness
from jood.core import slot_rules
from jood.core import variation
from jood.core.activations import Activations


def _given(variables: Any, batch: Any) -> tuple[Activations, jax.Array]:
    """The observer of activations that were computed elsewhere."""
    acts, mask = batch if isinstance(batch, tuple) else (batch, None)
    return acts, jnp.ones(acts.penultimate.shape[0]) if mask is None else mask


def fit(
    component: component_lib.Component,
    source: Iterable[Any],
    *,
    observer: features.Observer = _given,
    variables: Any = (),
    cache: features.Cache | None = None,
) -> tuple[Any, ...]:
    """Fits every pass of a component.

    Args:
      component: the component to fit.
      source: batches that can be iterated more than once. Without an observer:
        `Activations`, or pairs (activations, mask [B]), where mask 0 marks padding.
      observer: runs the network: (variables, batch) -> activations and mask.
      variables: pytree that the observer gets beside the batch.
      cache: features of this very source, kept for later passes and read by them.

    Returns:
      One fitted value per pass: tuples, dicts and NumPy arrays. () for a component
      that learns nothing; `source` is not read then.

    Raises:
      ValueError: the source is empty, holds NaNs, or can be iterated only once but
        is needed again; a cache without an observer.
      OSError: the cache cannot be used.

    Example:
      >>> import jax, jood
      >>> features = jax.random.uniform(jax.random.key(0), (64, 8))
      >>> acts = jood.Activations.of(features, kernel=features[:4].T)
      >>> component = jood.parse('react(q=0.9)|energy()')
      >>> fitted = jood.fit(component, [acts])
      >>> component.apply(fitted, acts).shape
      (64,)
    """
    if observer is _given and cache is not None:
        raise ValueError(
            "a cache keeps what a network gave, but fit() was called without a network."
        )
    if not component.passes:
        return ()
    fitted: tuple[Any, ...] = ()
    source = Restartable(source)
    reader = None
    if observer is not _given:
        if not component.needs_network:  # else records hold tracers
            observer = jax.jit(observer, inline=True)  # traced once for all programs
        reader = features.Reader(observer, variables, source, source.first(), cache)
    for build in component.passes:
        statistic = build(fitted)
        if reader and reader.suffices(statistic):
            pairs = ((reader.head, kept) for kept in reader)
            state, extent, rows = _sweep(
                statistic, pairs, lambda _, pair: features.kept(*pair), ()
            )
        else:
            read = functools.partial(slot_rules.maps_read, component)
            state, extent, rows = _sweep(
                statistic, source, observer, variables, cache, read
            )
        state = jax.device_get(state)
        finiteness.check_learned(component.spec, state)  # before a solver meets it
        fitted += (statistic.finalize(state),)
        finiteness.check_learned(component.spec, fitted[-1])
    if slot_rules.reads_features(component):
        variation.warn_if_constant(extent, rows)
    return fitted


def _sweep(
    statistic: component_lib.Statistic,
    source: Iterable[Any],
    observe: features.Observer,
    variables: Any,
    cache: features.Cache | None = None,
    maps_read: Callable[[Iterable[str]], Iterable[str]] = lambda stages: (),
) -> tuple[Any, variation.Extent, int]:
    """One pass over the data; fills the cache, if one is given, with what it lacks.

    Returns what the statistic gathered, and the extent and number of the rows.
    """

    def step(state: Any, variables: Any, batch: Any) -> tuple[Any, ...]:
        acts, mask = observe(variables, batch)
        kept = features.Features.of(acts, mask) if cache else None
        finite = features.finite(acts, mask, maps_read(acts.stages))
        extent = variation.extent(acts.penultimate, mask)
        return statistic.update(state, acts, mask), (finite, extent, mask), kept

    update = compiling.jit(step, donate_argnums=0)
    state, rows_before, rows = None, 0, 0
    extent: variation.Extent | None = None
    for index, batch in enumerate(source):
        acts = batch[0] if isinstance(batch, tuple) and len(batch) == 2 else batch
        if observe is _given and not isinstance(acts, Activations):
            raise ValueError(
                "without a network, fit() takes jood.Activations (jood.Activations.of) "
                f"or pairs of them and a mask [B], got {type(batch).__name__}."
            )
        if state is None:
            # In one trace with `observe`: a record may have its network behind it. Once
            # compiled, nothing is left of the network; only its shapes count.
            empty = jax.jit(lambda v, b: statistic.init(observe(v, b)[0]))
            # Copies: equal zeros may share a buffer, which is not donated twice. With a
            # type of their own: what is weakly typed would be compiled for again.
            state = jax.tree.map(
                lambda x: jnp.array(x, x.dtype), empty(variables, batch)
            )
            state = sharding.replicate_like(state, batch)
        state, (finite, batch_extent, mask), kept = update(state, variables, batch)
        finiteness.check(finite, rows_before)
        extent = variation.joined(extent, batch_extent)
        rows += int(np.count_nonzero(mask))
        rows_before += finite["penultimate features"].size
        if cache and not cache.has_batch(index):
            cache.write(index, kept)
    if extent is None:
        raise component_lib.empty_data_set("fit")
    if cache:
        cache.finish(index + 1)
    return state, extent, rows


class Restartable:
    """Batches that may be iterated again, if the user's can; each read by `read`."""

    def __init__(
        self, source: Iterable[Any], read: Callable[[Any], Any] = lambda batch: batch
    ):
        batch_lib.check_batches(source)
        self._source, self._read, self._used = source, read, False
        self._with_first: Iterator[Any] | None = None  # by first(), with its batch

    def __iter__(self) -> Iterator[Any]:
        if self._with_first is not None:
            iterator, self._with_first = self._with_first, None
            return iterator
        iterator = iter(self._source)
        if self._used and iterator is self._source:
            raise ValueError(
                "this component sweeps over the training data more than once, but the "
                "source is an iterator that is used up. Pass a list, or an object "
                "whose __iter__ starts anew."
            )
        self._used = True
        return map(self._read, iterator)

    def first(self) -> Any:
        """Returns the first batch; the next iteration begins with it all the same."""
        iterator = iter(self)
        for batch in iterator:
            self._with_first = itertools.chain([batch], iterator)
            return batch
        raise component_lib.empty_data_set("fit")

    def fingerprint(self) -> str:
        """Returns the fingerprint of the batches."""
        return fingerprinting.fingerprint(self._source)
