"""What a detector does with training data: it fits, or reads kept features."""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import os
from typing import Any

import jax

from jood.core import features
from jood.core.activations import Activations
from jood.core.backbones import PreprocessedNetwork
from jood.core.backbones import channel_errors
from jood.core.batch import Batch
from jood.core.component import Component
from jood.core.component import NotFittedError
from jood.core.fitting import Restartable
from jood.core.fitting import fit
from jood.detector import feature_cache

Folder = str | os.PathLike[str] | None


def check_fitted(component: Component, fitted: tuple[Any, ...] | None) -> None:
    """Raises NotFittedError if a component learns from data and has not yet."""
    if component.passes and fitted is None:
        raise NotFittedError(
            f"{component.spec} learns from data: call "
            "detector = detector.fit(train_batches) before scoring."
        )


def fitted_values(
    component: Component,
    backbone: PreprocessedNetwork,
    variables: Mapping[str, Any],
    source: Restartable,
    cache: Folder,
) -> tuple[Any, ...]:
    """Fits a component on a network's activations; see `jood.Detector.fit`.

    Several passes share the features of one run of the network, which are kept in the
    user's folder or a temporary one.
    """
    with channel_errors(), contextlib.ExitStack() as stack:
        store = None
        if cache is not None and component.passes:
            store = feature_cache.open_store(
                cache, backbone, variables, component.edits, source
            )
        elif len(component.passes) > 1:
            store = stack.enter_context(feature_cache.temporary(component.edits))
        return fit(
            component,
            source,
            observer=_observer(component, backbone),
            variables=variables,
            cache=store,
        )


def feature_records(
    component: Component,
    backbone: PreprocessedNetwork,
    variables: Mapping[str, Any],
    source: Restartable,
    cache: Folder,
) -> Iterator[tuple[Activations, jax.Array]]:
    """Yields records of features and masks; see `jood.Detector.features`."""
    with channel_errors():
        store = None
        if cache is not None:
            store = feature_cache.open_store(
                cache, backbone, variables, component.edits, source
            )
        observer = _observer(component, backbone)
        reader = features.Reader(observer, variables, source, source.first(), store)
        record = jax.jit(features.kept)
        for batch in reader:
            yield record(reader.head, batch)


def _observer(
    component: Component, backbone: PreprocessedNetwork
) -> Callable[[Any, Batch], tuple[Activations, jax.Array]]:
    def observe(variables: Any, batch: Batch) -> tuple[Activations, jax.Array]:
        acts = backbone.asked_by(component, variables, batch.image, batch.label)
        return acts, batch.mask

    return observe
