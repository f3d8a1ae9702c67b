"""The contract: what every component must satisfy, as public checks.

The suite runs them over every name in `transforms.__all__` and `scores.__all__`, so a
new method is tested by being listed there.
"""

from collections.abc import Callable, Iterable, Iterator
import functools
import inspect
import pathlib
import tempfile
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jood import detector as detector_lib
from jood import metrics
from jood._utils import compiling
from jood._utils import sharding
from jood.core import compose
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.fitting import fit
from jood.methods import detector_text
from jood.methods.scores.logit import energy
from jood.testing import hyperparameter_values
from jood.testing import toy_kinds
from jood.testing.toy import CLASSES as CLASSES
from jood.testing.toy import SIZE as SIZE
from jood.testing.toy import WIDTH as WIDTH
from jood.testing.toy import ToyNet as ToyNet
from jood.testing.toy import toy_images as toy_images
from jood.testing.toy import toy_variables as toy_variables
from jood.testing.toy_kinds import toy_activations as toy_activations

Factory = Callable[..., Component]
LINEN = "Linen"  # the kind of the toy network, if no other is asked for


def scoring(component: Component) -> Component:
    """Returns the component, or its chain with Energy if it returns no score."""
    scores = component.slot in ("score", "bundle")
    return component if scores else compose.chain(component, energy())


def check_component(factory: Factory, kind: str = LINEN) -> None:
    """Runs every check on `scoring(factory())`.

    Args:
      factory: Makes the component.
      kind: the kind of the toy network: 'Linen', 'flax.nnx', 'function' or 'PyTorch'.

    Raises:
      AssertionError: A check failed; the message says which promise is broken.
    """
    for _, check in component_checks():
        check(factory, kind)


def component_checks() -> Iterator[tuple[str, Callable[..., None]]]:
    """Yields (name, check(factory, kind)) pairs, to parametrise tests with."""
    for name, check in globals().items():
        if name.startswith("check_") and name != "check_component":
            yield name.removeprefix("check_"), check


ROWS = 16  # of the batches that checks score, so that they share one program


class _Subject(NamedTuple):
    """A component with its fitted values and a compiled scorer, as checks share it."""

    component: Component
    fitted: tuple[Any, ...]
    score: Callable[[Any, Any], jax.Array]  # (fitted, images) -> scores, under jit
    traces: list[Any]  # one entry each time that `score` was traced


def _subject(factory: Factory, kind: str = LINEN) -> _Subject:
    component = scoring(factory())
    traces: list[Any] = []

    @compiling.jit  # as `Detector` does; else XLA 0.12 makes inf of bfloat16 means
    def score(fitted: Any, images: jax.Array) -> jax.Array:
        traces.append(images.shape)
        return component.apply(fitted, toy_activations(component, images, kind=kind))

    return _Subject(component, _fit(component, kind), score, traces)


_default = functools.lru_cache(maxsize=4)(_subject)  # shared by a factory's checks


def _fit(
    component: Component, kind: str, batches: Iterable[Any] | None = None
) -> tuple[Any, ...]:
    """Fits on batches (images, labels, mask), by default four of the toy's."""

    def observer(_: Any, batch: Any) -> tuple[Activations, jax.Array]:
        images, labels, mask = batch
        known = labels if component.needs_labels else None
        return toy_activations(component, images, known, kind), mask

    return fit(component, batches or _train(), observer=observer)


def _train(order: Any = slice(None), splits: Any = (64, 128, 192)) -> list[Any]:
    """The toy's training data, batched: images, labels and masks of ones."""
    images, labels = toy_images(256, seed=0)
    whole = (images[order], labels[order], np.ones(256, np.float32))
    return list(zip(*(np.split(array, splits) for array in whole), strict=True))


def _test_images(seed: int = 1) -> np.ndarray:
    return toy_images(ROWS, seed)[0]


def _assert_close(actual: Any, expected: Any) -> None:
    """Equal except for float32 rounding, of a score or of what cancels in it."""
    atol = 2e-5 + 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=atol)


def check_spec_round_trip(factory: Factory, kind: str = LINEN) -> None:
    """`parse(component.spec)` gives back a component that jood knows by name."""
    component = factory()
    if factory not in detector_text.factories().values():
        assert component.spec, "a component needs a text"
        return
    assert detector_text.parse(component.spec).spec == component.spec


def check_labels_are_needed(factory: Factory, kind: str = LINEN) -> None:
    """A component that says that it needs labels refuses to fit without them."""
    component = scoring(factory())
    if not component.needs_labels:
        return  # the other checks fit it without labels
    refusal = ""
    try:
        _fit(component._replace(needs_labels=False), kind)
    except ValueError as error:
        refusal = str(error)
    assert "labels" in refusal, f"{component.spec} says that it needs labels: {refusal}"


def check_score_shape_and_type(factory: Factory, kind: str = LINEN) -> None:
    """A score is float32 [B] and finite, for float32 and for bfloat16 images."""
    subject = _default(factory, kind)
    images = jnp.asarray(_test_images())
    for dtype in (jnp.float32, jnp.bfloat16):
        scores = subject.score(subject.fitted, images.astype(dtype))
        chex.assert_shape(scores, (ROWS,))
        chex.assert_type(scores, jnp.float32)
        chex.assert_tree_all_finite(scores)


def check_jit_equals_eager(factory: Factory, kind: str = LINEN) -> None:
    """Compiled and eager scores agree, and equal shapes are traced once."""
    component, fitted, score, traces = _default(factory, kind)
    before = len(traces)
    for seed in (1, 2):
        images = _test_images(seed)
        eager = component.apply(
            fitted, toy_activations(component, jnp.asarray(images), kind=kind)
        )
        _assert_close(score(fitted, images), eager)
    count = len(traces) - before
    assert count <= 1, f"{component.spec} was traced {count} times for one shape"


def check_rows_are_independent(factory: Factory, kind: str = LINEN) -> None:
    """Permuting a batch permutes its scores; a row alone scores the same."""
    _, fitted, score, _ = _default(factory, kind)
    images = _test_images()
    order = np.random.default_rng(0).permutation(ROWS)
    scores = np.asarray(score(fitted, images))
    _assert_close(score(fitted, images[order]), scores[order])
    _assert_close(score(fitted, images[:1]), scores[:1])


def check_order_and_split_do_not_matter(factory: Factory, kind: str = LINEN) -> None:
    """Reordering the training data or batching it otherwise changes nothing."""
    batches = _train(np.random.default_rng(1).permutation(256), splits=(96, 192))
    other = _fit(_default(factory, kind).component, kind, batches)
    _check_same_scores(factory, kind, other)


def check_merge_equals_stream(factory: Factory, kind: str = LINEN) -> None:
    """Merging states of parts, in any order, equals one stream over all."""
    component = _default(factory, kind).component
    merged: tuple[Any, ...] = ()
    for build in component.passes:
        statistic = build(merged)

        @jax.jit
        def summarise(batch: Any, statistic: Any = statistic) -> tuple[Any, Any]:
            images, labels, mask = batch
            acts = toy_activations(component, images, labels, kind)
            empty = statistic.init(acts)
            return empty, statistic.update(empty, acts, mask)

        pairs = [summarise(batch) for batch in _train()]
        states = [state for _, state in pairs[::-1]]
        state = functools.reduce(jax.jit(statistic.merge), [*states, pairs[0][0]])
        merged += (statistic.finalize(jax.device_get(state)),)
    _check_same_scores(factory, kind, merged)


def check_masked_rows_are_ignored(factory: Factory, kind: str = LINEN) -> None:
    """Rows with mask 0 change no fitted value, whatever they hold."""
    padding = (np.full((8, SIZE, SIZE, WIDTH), 1e3), np.zeros(8), np.zeros(8))

    def padded(part: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([part, rows.astype(part.dtype)])

    batches = [jax.tree.map(padded, batch, padding) for batch in _train()]
    component = _default(factory, kind).component
    _check_same_scores(factory, kind, _fit(component, kind, batches))


def _check_same_scores(factory: Factory, kind: str, other: tuple[Any, ...]) -> None:
    """These fitted values give the scores of the plain fit."""
    _, fitted, score, _ = _default(factory, kind)
    images = _test_images()
    _assert_close(score(other, images), score(fitted, images))


def check_sharded_equals_single_device(factory: Factory, kind: str = LINEN) -> None:
    """Fitting and scoring over two devices give what one gives."""
    assert jax.device_count() > 1, (
        "this check needs two devices; on a CPU set "
        "XLA_FLAGS=--xla_force_host_platform_device_count=2 before JAX starts."
    )
    component, fitted, score, _ = _default(factory, kind)
    mesh = sharding.data_mesh(jax.devices()[:2])
    sharded = _fit(component, kind, [sharding.shard_batch(b, mesh) for b in _train()])
    images = _test_images()
    scores = score(sharded, sharding.shard_batch(images, mesh))
    _assert_close(scores, score(fitted, images))


def check_extreme_inputs_stay_finite(factory: Factory, kind: str = LINEN) -> None:
    """Zero, constant and huge images give finite scores."""
    component, fitted, score, _ = _default(factory, kind)
    for value in (0.0, 1.0, 1e4):
        images = np.full((ROWS, SIZE, SIZE, WIDTH), value, np.float32)
        scores = np.asarray(score(fitted, images))
        assert np.isfinite(scores).all(), f"{component.spec}: {scores} on all-{value}"


def check_survives_saving(factory: Factory, kind: str = LINEN) -> None:
    """A saved and loaded detector gives the same scores, bit for bit."""
    component, fitted, *_ = _default(factory, kind)
    shape = (SIZE, SIZE, WIDTH)
    model, variables = toy_kinds.network(kind)
    detector = detector_lib.Detector(
        component, model, variables, fitted=fitted, image_shape=shape
    )
    images = _test_images()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "detector"
        detector.save(path)
        loaded = detector_lib.Detector.load(path, model, component)
    np.testing.assert_array_equal(loaded(images), detector(images))


def check_hyper_parameters_matter(factory: Factory, kind: str = LINEN) -> None:
    """Each hyper-parameter changes the scores (sweeps that do nothing exist).

    If not by itself, then beside another value of another one: the toy may be too
    simple for the defaults.
    """
    half = ROWS // 2
    images = np.concatenate([toy_images(half, 1)[0], toy_images(half, 2, ood=True)[0]])

    def scores(values: dict[str, Any]) -> Any:
        other = functools.partial(factory, **values)
        subject = _subject(other, kind) if values else _default(factory, kind)
        return np.asarray(subject.score(subject.fitted, images))

    parameters = list(inspect.signature(factory).parameters.values())
    idle, tried = hyperparameter_values.without_effect(parameters, scores)
    what = f"{idle} of {_default(factory, kind).component.spec}"
    assert not idle, f"{what} has no effect; {tried} other values tried"


def check_separates_toy(factory: Factory, kind: str = LINEN) -> None:
    """AUROC on the toy is above 0.5: the sign is right."""
    component, fitted, score, _ = _default(factory, kind)

    def scores(images: Any) -> np.ndarray:
        parts = np.split(images, len(images) // ROWS)
        return np.concatenate([score(fitted, part) for part in parts])

    ood, _ = toy_images(64, seed=2, ood=True)
    value = metrics.auroc(scores(toy_images(64, seed=1)[0]), scores(ood))
    assert value > 0.5, f"AUROC of {component.spec} is {value:.3f} on a separable toy"
