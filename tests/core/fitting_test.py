"""`fit`: one sweep a pass, the network once per image; and records of features."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import stats
from jood import testing
from jood.core import component as component_lib
from jood.core.activations import Activations
from jood.core.backbones import observing
from jood.core.fitting import fit
from jood.detector import feature_cache
from jood.methods import detector_text

ROWS, D, K = 6, 5, 3


def _features(seed=0, rows=ROWS):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 3, (rows, D)).astype(np.float32)


KERNEL = np.random.default_rng(9).normal(size=(D, K)).astype(np.float32)


def _acts(seed=0, rows=ROWS, **options):
    return Activations.of(_features(seed, rows), KERNEL, **options)


def _moments(read):
    """A statistic that is fitted as the mean of what `read` returns, [B, D]."""
    return stats.moments(read)._replace(finalize=lambda state: np.array(state["mean"]))


def _two_passes(second):
    """A score that learns the mean feature, then a statistic that builds on it."""
    return component_lib.build(
        "two_passes()",
        "score",
        lambda fitted, acts: acts.logits.max(-1),
        passes=(
            lambda fitted: _moments(lambda acts: acts.penultimate),
            lambda fitted: second(fitted[0]),
        ),
    )


# How often the network runs.


class _Source:
    """Batches of the toy that count how often they are iterated and observed."""

    def __init__(self, component, count=3):
        self.batches = [testing.toy_images(4, seed) for seed in range(count)]
        self.edits = component.edits
        self.sweeps = 0
        self.runs = 0

    def __iter__(self):
        self.sweeps += 1
        return iter(self.batches)

    def _count(self):
        self.runs += 1
        return np.float32(0)

    def observe(self, variables, batch):
        images, labels = batch
        # Counts where the images are used, not where the program is traced, nor where
        # it reads shapes or the head only.
        images += jax.pure_callback(self._count, jax.ShapeDtypeStruct((), "f"))
        acts = observing.observe(
            testing.ToyNet(), variables, images, edits=self.edits, labels=labels
        )
        return acts, jnp.ones(len(images))

    def records(self):
        run = jax.jit(self.observe)
        return [run(testing.toy_variables(), batch)[0] for batch in self.batches]


def _fit(component, source, batches=None):
    """As `Detector.fit` does: with a temporary store of features."""
    with feature_cache.temporary(component.edits) as cache:
        return fit(
            component,
            source if batches is None else batches,
            observer=source.observe,
            variables=testing.toy_variables(),
            cache=cache,
        )


TWO_PASSES = [
    "fuse(react()|energy(), max_logit(), weights='scale')",
    "ta()|fuse(react()|energy(), feature_sim(), weights='scale')",
    "ta(stage='C3')|ta()|react(q=0.9)|react(q=0.8)|energy()",
    "bundle(a=react()|react(q=0.5)|energy(), b=ta()|react()|msp(), c=msp())",
]


@pytest.mark.slow
@pytest.mark.parametrize("text", TWO_PASSES)
def test_network_runs_once_per_image_however_many_passes(text):
    component = detector_text.parse(text)
    assert len(component.passes) == 2
    source = _Source(component)
    fitted = _fit(component, source)
    assert (source.runs, source.sweeps) == (3, 1)
    # Fitting on full records, without a cache, gives the same values.
    expected = fit(component, source.records())
    chex.assert_trees_all_close(fitted, expected, rtol=1e-5, atol=1e-6)


def test_later_pass_that_reads_a_stage_map_runs_the_network_again():
    component = _two_passes(
        lambda mean: _moments(lambda acts: acts.stage("C5").mean((1, 2)) - mean[None])
    )
    source = _Source(component)
    fitted = _fit(component, source)
    assert (source.runs, source.sweeps) == (6, 2)
    expected = fit(component, source.records())
    chex.assert_trees_all_close(fitted, expected, rtol=1e-5, atol=1e-6)


def test_later_passes_of_cached_records_keep_labels_and_prediction():
    component = _two_passes(
        lambda mean: stats.class_means(
            lambda acts: acts.prediction[:, None] + acts.original - mean[None]
        )
    )
    source = _Source(component)
    fitted = _fit(component, source)
    assert source.runs == 3
    expected = fit(component, source.records())
    chex.assert_trees_all_close(fitted, expected, rtol=1e-5, atol=1e-6)


def test_component_without_passes_does_not_read_the_source():
    def source():
        raise AssertionError("read")
        yield

    assert fit(detector_text.parse("energy()"), source()) == ()


# Sources.


def test_one_shot_iterator_serves_a_single_pass():
    component = detector_text.parse("react()|energy()")
    batches = [_acts(0), _acts(1)]
    assert fit(component, iter(batches)) == fit(component, batches)


def test_one_shot_iterator_serves_two_passes_if_features_are_kept():
    component = detector_text.parse(TWO_PASSES[0])
    source = _Source(component)
    fitted = _fit(component, source, batches=iter(source.batches))
    chex.assert_trees_all_equal(fitted, _fit(component, source))


@pytest.mark.parametrize("once", [iter, lambda x: (b for b in x)])
def test_one_shot_iterator_that_is_needed_again_raises(once):
    component = detector_text.parse(TWO_PASSES[0])
    with pytest.raises(ValueError, match=r"iterator that is used up\. Pass a list"):
        fit(component, once([_acts(0), _acts(1)]))


@pytest.mark.parametrize("source", [[], (), iter([])])
def test_empty_source_raises(source):
    with pytest.raises(ValueError, match="empty data set"):
        fit(detector_text.parse("react()|energy()"), source)


@pytest.mark.parametrize(
    ("batch", "name"),
    [(np.zeros((2, D)), "ndarray"), ((np.zeros((2, D)), np.zeros(2)), "tuple")],
)
def test_batches_that_are_no_activations_raise(batch, name):
    with pytest.raises(ValueError, match=rf"takes jood.Activations.*got {name}"):
        fit(detector_text.parse("react()|energy()"), [batch])


def test_nan_features_are_named_by_their_index_in_the_data():
    bad = _acts(1)
    penultimate = np.array(bad.penultimate)
    penultimate[2, 0], penultimate[4, 1] = np.nan, -np.inf
    bad = bad.replace(penultimate=penultimate)
    match = r"NaN or infinite penultimate features at index 8, 10 \(2 of 6"
    with pytest.raises(ValueError, match=match):
        fit(detector_text.parse("react()|energy()"), [_acts(0), bad, _acts(2)])


@pytest.mark.parametrize("padding", [1e3, np.nan])
@pytest.mark.parametrize("text", ["react()|energy()", TWO_PASSES[0]])
def test_padded_rows_count_nothing_whatever_they_hold(text, padding):
    component = detector_text.parse(text)
    acts = _acts(0)
    rows = np.full((2, D), padding, np.float32)
    longer = acts.replace(
        penultimate=np.concatenate([acts.penultimate, rows]),
        original=np.concatenate([acts.original, rows]),
        logits=np.pad(acts.logits, ((0, 2), (0, 0)), constant_values=padding),
        prediction=np.pad(acts.prediction, (0, 2)),
    )
    mask = np.array([1.0] * ROWS + [0.0] * 2, np.float32)
    chex.assert_trees_all_close(
        fit(component, [(longer, mask), _acts(1)]), fit(component, [acts, _acts(1)])
    )


@pytest.mark.slow
def test_order_and_split_do_not_matter():
    component = detector_text.parse(TWO_PASSES[0])
    features = np.concatenate([_features(0), _features(1)])
    expected = fit(component, [Activations.of(features, KERNEL)])
    order = np.random.default_rng(0).permutation(12)
    parts = np.split(features[order], [1, 8])
    actual = fit(component, [Activations.of(part, KERNEL) for part in parts])
    chex.assert_trees_all_close(actual, expected, rtol=1e-5)


def test_states_of_a_composition_merge():
    component = detector_text.parse(
        "bundle(a=react()|msp(), b=msp(), c=react(q=0.5)|msp())"
    )
    statistic = component.passes[0](())
    batches = [_acts(0), _acts(1), _acts(2)]

    @jax.jit
    def summarise(acts):
        return statistic.update(statistic.init(acts), acts, jnp.ones(ROWS))

    states = [summarise(acts) for acts in batches]
    state = functools.reduce(jax.jit(statistic.merge), states[::-1])
    assert statistic.finalize(jax.device_get(state)) == fit(component, batches)[0]


def test_sharded_batches_give_what_one_device_gives_as_numpy():
    axis_types = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((2,), ("data",), axis_types, devices=jax.devices()[:2])
    rows, everywhere = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for axes in (("data",), ())
    )

    def observer(kernel, features):
        return Activations.of(features, kernel), jnp.ones(len(features))

    component = detector_text.parse(TWO_PASSES[0])
    batches = [_features(0), _features(1)]
    sharded = jax.device_put(batches, rows)
    assert len(sharded[0].sharding.device_set) == 2
    kernel = jax.device_put(KERNEL, everywhere)
    actual = fit(component, sharded, observer=observer, variables=kernel)
    expected = fit(component, batches, observer=observer, variables=KERNEL)
    chex.assert_trees_all_close(actual, expected, rtol=1e-5)
    for leaf in jax.tree.leaves(actual):
        assert isinstance(leaf, (np.ndarray, np.generic))
