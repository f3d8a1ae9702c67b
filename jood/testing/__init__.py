"""The contract: what every component must satisfy, as public checks.

`check_component(factory)` runs all of them on a factory's default component. The
suite runs them over every name in `transforms.__all__` and `scores.__all__`, so a new
method is tested by being listed there. Each check raises `AssertionError` and says
what was violated.
"""

from collections.abc import Callable, Iterator
import functools
import inspect
import pathlib
import tempfile
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jood import detector as detector_lib
from jood import metrics
from jood.core import compose
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.fitting import fit
from jood.methods import detector_text
from jood.methods.scores.logit import energy
from jood.testing import hyperparameter_values
from jood.testing.toy import CLASSES as CLASSES
from jood.testing.toy import SIZE as SIZE
from jood.testing.toy import WIDTH as WIDTH
from jood.testing.toy import ToyNet as ToyNet
from jood.testing.toy import toy_activations as toy_activations
from jood.testing.toy import toy_images as toy_images
from jood.testing.toy import toy_variables as toy_variables

Factory = Callable[..., Component]


def scoring(component: Component) -> Component:
    """Returns the component, or its chain with Energy if it returns no score."""
    if component.slot in ("score", "bundle"):
        return component
    return compose.chain(component, energy())


def check_component(factory: Factory) -> None:
    """Runs every check on `scoring(factory())`.

    Args:
      factory: a function that returns a `Component` and can be called without
        arguments.

    Raises:
      AssertionError: a check failed; the message says which promise is broken.
    """
    for _, check in component_checks():
        check(factory)


def component_checks() -> Iterator[tuple[str, Callable[[Factory], None]]]:
    """Yields (name, check) pairs, to parametrise tests with."""
    for name, check in globals().items():
        if name.startswith("check_") and name != "check_component":
            yield name.removeprefix("check_"), check


_FITTED: dict[str, tuple[Any, ...]] = {}  # by spec: the checks share one fit


def _fit(component: Component, order: Any = None, size: int = 64) -> tuple[Any, ...]:
    images, labels = toy_images(256, seed=0)
    if order is not None:
        images, labels = images[order], labels[order]
    batches = [
        toy_activations(component, images[i : i + size], labels[i : i + size])
        for i in range(0, len(images), size)
    ]
    return fit(component, batches)


def _default(factory: Factory) -> tuple[Component, tuple[Any, ...]]:
    component = scoring(factory())
    if component.spec not in _FITTED:
        _FITTED[component.spec] = _fit(component)
    return component, _FITTED[component.spec]


def _scores(component: Component, fitted: Any, images: Any) -> Any:
    return component.apply(fitted, toy_activations(component, images))


def _assert_close(actual: Any, expected: Any) -> None:
    """Equal but for float32 rounding."""
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-5)


def check_spec_round_trip(factory: Factory) -> None:
    """`parse(component.spec)` gives back a component that jood knows by name."""
    component = factory()
    if factory not in detector_text.factories().values():
        assert component.spec, "a component needs a text"
        return
    assert detector_text.parse(component.spec).spec == component.spec


def check_score_shape_and_type(factory: Factory) -> None:
    """A score is float32 [B] and finite, for float32 and for bfloat16 images."""
    component, fitted = _default(factory)
    images = jnp.asarray(toy_images(6, seed=1)[0])
    for dtype in (jnp.float32, jnp.bfloat16):
        scores = _scores(component, fitted, images.astype(dtype))
        chex.assert_shape(scores, (6,))
        chex.assert_type(scores, jnp.float32)
        chex.assert_tree_all_finite(scores)


def check_jit_equals_eager(factory: Factory) -> None:
    """Compiled and eager scores agree, and equal shapes are traced once."""
    component, fitted = _default(factory)

    traces = []

    @jax.jit
    def score(fitted: Any, images: jax.Array) -> jax.Array:
        traces.append(images.shape)
        return component.apply(fitted, toy_activations(component, images))

    for seed in (1, 2):
        images = jnp.asarray(toy_images(6, seed)[0])
        eager = _scores(component, fitted, images)
        _assert_close(score(fitted, images), eager)
    assert len(traces) == 1, f"{component.spec} was traced {len(traces)} times"


def check_rows_are_independent(factory: Factory) -> None:
    """Permuting a batch permutes its scores; a row alone scores the same."""
    component, fitted = _default(factory)
    images, _ = toy_images(8, seed=1)
    order = np.random.default_rng(0).permutation(8)
    scores = np.asarray(_scores(component, fitted, images))
    permuted = _scores(component, fitted, images[order])
    _assert_close(permuted, scores[order])
    alone = _scores(component, fitted, images[:1])
    _assert_close(alone, scores[:1])


def check_order_and_split_do_not_matter(factory: Factory) -> None:
    """Reordering the training data or batching it otherwise changes nothing."""
    component, fitted = _default(factory)
    order = np.random.default_rng(1).permutation(256)
    other = _fit(component, order, size=48)
    images, _ = toy_images(16, seed=1)
    expected = _scores(component, fitted, images)
    scores = _scores(component, other, images)
    _assert_close(scores, expected)


def check_merge_equals_stream(factory: Factory) -> None:
    """Merging states of parts, in any order, equals one stream over all."""
    component, fitted = _default(factory)
    images, labels = toy_images(256, seed=0)
    ones = jnp.ones(64)
    parts = [
        toy_activations(component, images[i : i + 64], labels[i : i + 64])
        for i in range(0, 256, 64)
    ]
    merged: tuple[Any, ...] = ()
    for build in component.passes:
        statistic = build(merged)
        empty = statistic.init(parts[0])
        states = [statistic.update(empty, acts, ones) for acts in parts]
        state = functools.reduce(statistic.merge, [*states[::-1], empty])
        merged += (statistic.finalize(jax.device_get(state)),)
    images, _ = toy_images(16, seed=1)
    expected = _scores(component, fitted, images)
    _assert_close(_scores(component, merged, images), expected)


def check_masked_rows_are_ignored(factory: Factory) -> None:
    """Rows with mask 0 change no fitted value, whatever they hold."""
    component, fitted = _default(factory)
    images, labels = toy_images(256, seed=0)
    padding = np.full((8, *images.shape[1:]), 1e3, np.float32)
    batches = []
    for i in range(0, 256, 64):
        acts = toy_activations(
            component,
            np.concatenate([images[i : i + 64], padding]),
            np.concatenate([labels[i : i + 64], np.zeros(8, np.int32)]),
        )
        batches.append((acts, jnp.concatenate([jnp.ones(64), jnp.zeros(8)])))
    masked = fit(component, batches)
    images, _ = toy_images(16, seed=1)
    expected = _scores(component, fitted, images)
    _assert_close(_scores(component, masked, images), expected)


def check_sharded_equals_single_device(factory: Factory) -> None:
    """Fitting and scoring over two devices give what one gives."""
    if jax.device_count() < 2:
        raise AssertionError(
            "this check needs two devices; on a CPU set "
            "XLA_FLAGS=--xla_force_host_platform_device_count=2 before JAX starts."
        )
    component, fitted = _default(factory)
    mesh = jax.make_mesh(
        (2,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:2]
    )
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

    def observer(variables: Any, batch: Any) -> tuple[Activations, jax.Array]:
        del variables
        image, label = batch
        return toy_activations(component, image, label), jnp.ones(image.shape[0])

    images, labels = toy_images(256, seed=0)
    batches = [
        jax.device_put((images[i : i + 64], labels[i : i + 64]), rows)
        for i in range(0, 256, 64)
    ]
    sharded = fit(component, batches, observer=observer)
    images, _ = toy_images(16, seed=1)
    expected = _scores(component, fitted, images)
    scores = _scores(component, sharded, jax.device_put(images, rows))
    _assert_close(scores, expected)


def check_extreme_inputs_stay_finite(factory: Factory) -> None:
    """Zero, constant and huge images give finite scores."""
    component, fitted = _default(factory)
    for value in (0.0, 1.0, 1e4):
        images = np.full((2, SIZE, SIZE, WIDTH), value, np.float32)
        scores = np.asarray(_scores(component, fitted, images))
        assert np.isfinite(scores).all(), (
            f"{component.spec} is {scores} on images that are {value} everywhere"
        )


def check_survives_saving(factory: Factory) -> None:
    """A saved and loaded detector gives the same scores, bit for bit."""
    component, fitted = _default(factory)
    detector = detector_lib.Detector(
        component,
        ToyNet(),
        toy_variables(),
        fitted=fitted,
        image_shape=(SIZE, SIZE, WIDTH),
    )
    images, _ = toy_images(6, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "detector"
        detector.save(path)
        loaded = detector_lib.Detector.load(path, ToyNet(), component)
    np.testing.assert_array_equal(loaded(images), detector(images))


def check_hyper_parameters_matter(factory: Factory) -> None:
    """Each hyper-parameter changes the scores (sweeps that do nothing exist)."""
    component, fitted = _default(factory)
    images = np.concatenate([toy_images(8, 1)[0], toy_images(8, 2, ood=True)[0]])
    before = np.asarray(_scores(component, fitted, images))
    for parameter in inspect.signature(factory).parameters.values():
        tried = 0
        for value in hyperparameter_values.of(parameter):
            try:
                other = scoring(factory(**{parameter.name: value}))
                scores = _scores(other, _fit(other), images)
            except ValueError:
                continue  # no value that this parameter takes
            tried += 1
            if not np.allclose(scores, before, rtol=1e-6, atol=1e-7):
                break
        else:
            raise AssertionError(
                f"{parameter.name} of {component.spec} has no effect on the scores "
                f"({tried} other values tried)"
            )


def check_separates_toy(factory: Factory) -> None:
    """AUROC on the toy is above 0.5: the sign is right."""
    component, fitted = _default(factory)
    inside = _scores(component, fitted, toy_images(64, seed=1)[0])
    outside = _scores(component, fitted, toy_images(64, seed=2, ood=True)[0])
    value = metrics.auroc(inside, outside)
    assert value > 0.5, f"AUROC of {component.spec} is {value:.3f} on a separable toy"
