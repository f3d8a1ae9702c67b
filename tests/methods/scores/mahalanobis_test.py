"""Mahalanobis, relative and as the ensemble over stages, against slow versions."""

import functools
import importlib
import re
import warnings

import chex
from helpers import compiled
from helpers import golden_cases
from helpers import golden_inputs
from helpers import golden_network
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import distance as reference
from sklearn import linear_model

import jood
from jood import testing
from jood import transforms
from jood.core.fitting import fit
from jood.core.stats import class_gaussians
from jood.core.stats import reservoir

# The functions of the same names hide the modules.
single = importlib.import_module("jood.methods.scores.mahalanobis")
ensemble = importlib.import_module("jood.methods.scores.mahalanobis_ensemble")
SINGLE = (single.mahalanobis, single.relative_mahalanobis)
by_name = pytest.mark.parametrize("factory", SINGLE, ids=lambda f: f.__name__)


def problem(count=60, width=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % classes).astype(np.int32)
    mix = rng.normal(size=(width, width))
    centres = 3 * rng.normal(size=(classes, width))
    train = centres[labels] + rng.normal(size=(count, width)) @ mix
    test = rng.normal(size=(20, width)) * 4
    return train.astype("f"), labels, test.astype("f")


def record(features, labels=None, classes=3):
    kernel = np.ones((features.shape[1], classes), "f")
    return jood.Activations.of(features, kernel, labels=labels)


def scores(component, train, labels, test, size=17, classes=3):
    parts = [
        record(train[i : i + size], labels[i : i + size], classes)
        for i in range(0, len(train), size)
    ]
    return np.asarray(compiled.apply(component, fit(component, parts), record(test)))


@by_name
@pytest.mark.parametrize("seed", [0, 1])
def test_matches_reference(factory, seed):
    train, labels, test = problem(seed=seed)
    out = scores(factory(), train, labels, test)
    chex.assert_shape(out, (20,))
    expected = getattr(reference, factory.__name__)(train, labels, test)
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=1e-4)


def test_worked_out_by_hand():
    # Two classes around (0, 0) and (10, 0); variances 4 in x and 1 in y.
    offsets = np.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
    train = np.concatenate([offsets, offsets + np.array([[10.0, 0.0]])])
    labels = np.repeat([0, 1], 4)
    test = np.array([[0.0, 0.0], [6.0, 0.0], [10.0, 3.0]])
    out = scores(single.mahalanobis(), train, labels, test, classes=2)
    np.testing.assert_allclose(out, [0.0, -16 / 4, -9.0], atol=1e-5)
    # Of all data the mean is (5, 0) and the variance in x 25 + 4.
    out = scores(single.relative_mahalanobis(), train, labels, test, classes=2)
    np.testing.assert_allclose(out, [25 / 29, 1 / 29 - 4, 25 / 29], atol=1e-5)


@by_name
def test_does_not_depend_on_where_the_features_are(factory):
    train, labels, test = problem()
    out = scores(factory(), train, labels, test)
    moved = scores(factory(), train + 500.0, labels, test + 500.0)
    np.testing.assert_allclose(moved, out, rtol=2e-3, atol=2e-3)


@by_name
def test_class_without_examples_is_left_out_and_named(factory):
    train, labels, test = problem()
    keep = labels != 1
    with pytest.warns(UserWarning, match=r"1 of 3 classes have fewer \(class 1\)"):
        out = scores(factory(), train[keep], labels[keep], test)
    expected = getattr(reference, factory.__name__)(train[keep], labels[keep], test)
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=1e-4)


@by_name
def test_needs_labels(factory):
    train, _, _ = problem()
    with pytest.raises(ValueError, match=r"needs labels.*\(images, labels\)"):
        fit(factory(), [record(train)])


@by_name
def test_fewer_examples_than_dimensions(factory):
    train, labels, test = problem(count=9, width=12)
    message = r"at least D \+ K = 15 .*got N = 9.*rank 6"
    with pytest.warns(UserWarning, match=message) as caught:
        out = scores(factory(), train, labels, test)
    assert len(caught) == 1
    assert np.isfinite(out).all()
    if factory is single.mahalanobis:
        expected = reference.mahalanobis(train, labels, test)
        np.testing.assert_allclose(out, expected, rtol=1e-3)


def test_enough_examples_do_not_warn():
    train, labels, test = problem(count=9, width=6)
    scores(single.mahalanobis(), train, labels, test)


@by_name
def test_dead_and_constant_features_count_nothing(factory):
    train, labels, test = problem()

    def with_dead(x):
        constant = np.full((len(x), 1), 3.0, "f")
        return np.concatenate([x, np.zeros((len(x), 2), "f"), constant], axis=1)

    out = scores(factory(), with_dead(train), labels, with_dead(test))
    expected = scores(factory(), train, labels, test)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@by_name
def test_one_image_per_class_and_constant_data_stay_finite(factory):
    train = np.repeat(np.arange(3.0, dtype="f")[:, None], 5, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = scores(factory(), train, np.arange(3), train + 1e4)
        flat = scores(factory(), np.ones((8, 5), "f"), np.zeros(8, int), train)
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(flat, np.zeros(3))


@by_name
def test_no_large_temporary(factory):
    batch, classes, width = 64, 128, 256
    train, labels, _ = problem(count=512, width=width, classes=classes)
    component = factory()
    acts = record(train, labels, classes)
    fitted = fit(component, [acts])
    analysis = jax.jit(component.apply).lower(
        fitted, record(train[:batch], classes=classes)
    )
    used = analysis.compile().memory_analysis().temp_size_in_bytes
    assert used < 4 * batch * classes * width / 8


def test_chained_after_react_and_fused():
    train, labels, test = problem()
    component = jood.chain(transforms.react(clip=1.0), single.mahalanobis())
    out = scores(component, train, labels, test)
    expected = reference.mahalanobis(np.minimum(train, 1), labels, np.minimum(test, 1))
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=1e-4)
    both = jood.fuse(component, jood.parse("energy()"), weights=(2.0, 1.0))
    fused = scores(both, train, labels, test)
    energies = jood.parse("energy()").apply((), record(test))
    np.testing.assert_allclose(fused, 2 * out + energies, rtol=1e-5)


def golden_observe(folder, images, labels=None, std=None, needs_network=False):
    model, variables = golden_network.load(folder)
    return jood.observe(
        model,
        variables,
        images,
        needs_network=needs_network,
        labels=labels,
        taps=golden_network.TAPS,
        std=std,
    )


@functools.cache
def golden_stages(folder):
    """Passes 0 and 1 of the ensemble on the golden network."""
    images = golden_network.normalised(folder, "train_images_u8")
    stored = golden_inputs.load(folder / "cnn_images.npz")
    labels = stored["train_labels"].astype(np.int32)
    component = ensemble.mahalanobis_ensemble()

    def observer(variables, batch):
        del variables
        return golden_observe(folder, *batch), jnp.ones(len(batch[0]))

    batches = list(zip(np.split(images, 4), np.split(labels, 4), strict=True))
    gaussian_passes = component._replace(passes=component.passes[:2])
    return fit(gaussian_passes, batches, observer=observer)[1]


@functools.cache
def golden_confidences(folder, stage):
    """One program for all steps and std, which are its arguments."""
    fitted = {stage: golden_stages(folder)[stage]}

    @jax.jit
    def run(images, eps, std):
        acts = golden_observe(folder, images, std=std, needs_network=True)
        return ensemble.confidences(fitted, acts, eps)[:, 0]

    return run


@pytest.mark.parametrize(
    ("pattern", "stage", "tolerance"),
    [
        (r"mds_half__maha", "C5", 1e-4),
        (r"mds_half_layer3__maha", "C4", 1e-4),
        # Gradients near 0 change sign with float32 rounding.
        (r"mds_odin_eps.*", "C5", 5e-4),
        (r"mds_odin_layer3_eps.*", "C4", 5e-4),
    ],
)
def test_confidences_of_stages_on_moved_images(golden_dir, pattern, stage, tolerance):
    examples = len(golden_inputs.records(golden_dir, "cnn")[0].penultimate)
    for key, golden in golden_cases.keys_of_network(golden_dir, pattern).items():
        step = re.search(r"_eps([\d.]+)", key)
        std = (0.2023, 0.1994, 0.201) if "_std0.2" in key else (1.0, 1.0, 1.0)
        # maha's is half of the squared distance, pytorch-ood's a mean of it.
        factor = 2 if key.endswith("__maha") else -2 * examples
        images = golden_network.test_images(golden_dir)
        eps = float(step[1]) if step else 0.0
        got = golden_confidences(golden_dir, stage)(images, eps, np.float32(std))
        error = np.abs(np.asarray(got, np.float64) - factor * golden)
        assert error.max() <= tolerance * np.std(factor * golden), key


# The toy network: stages C2 to C5, all of them seen by the ensemble.


def toy_observer(component):
    def observe(variables, batch):
        del variables
        images, labels = batch
        acts = testing.toy_activations(component, images, labels)
        return acts, jnp.ones(images.shape[0])

    return observe


@functools.cache
def toy_fit(eps=0.0014):
    component = ensemble.mahalanobis_ensemble(eps=eps)
    images, labels = testing.toy_images(96, seed=0)
    batches = [(images[i : i + 32], labels[i : i + 32]) for i in range(0, 96, 32)]
    return component, fit(component, batches, observer=toy_observer(component))


def toy_run(component, images, function):
    """Returns what a function reads off the record of the toy network, in one program.

    Arrays alone leave it: the network behind the record ends with the program.
    """
    return jax.device_get(
        jax.jit(lambda x: function(testing.toy_activations(component, x)))(images)
    )


def test_ensemble_without_a_step_is_the_logistic_regression_of_the_distances():
    component, fitted = toy_fit(eps=0.0)
    images, labels = testing.toy_images(96, seed=0)
    plain, noise, out = toy_run(
        component,
        images,
        lambda acts: (
            acts.stages,
            ensemble._noise(acts).stages,
            component.apply(fitted, acts),
        ),
    )
    pooled = {name: [a[name].mean((1, 2)) for a in (plain, noise)] for name in plain}
    assert sorted(pooled) == ["C2", "C3", "C4", "C5"]
    inside, outside = (
        np.stack(
            [reference.mahalanobis(p[0], labels, p[i]) for p in pooled.values()], 1
        )
        for i in (0, 1)
    )
    values = np.concatenate([inside, outside])
    centred = (values - values.mean(0)[None]) / values.std(0)[None]
    model = linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-10)
    model.fit(centred, np.repeat([1, 0], 96))
    expected = model.decision_function(centred[:96])
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3)


def test_ensemble_needs_no_network_to_score_without_a_step():
    component, fitted = toy_fit(eps=0.0)
    images, _ = testing.toy_images(8, seed=1)

    def both(acts):
        alone = acts.replace(network=None)
        return [component.apply(fitted, record) for record in (acts, alone)]

    np.testing.assert_array_equal(*toy_run(component, images, both))


def test_ensemble_step_moves_images_towards_their_class():
    _, fitted = toy_fit()
    component, _ = toy_fit()
    images, _ = testing.toy_images(8, seed=1)

    def both(acts):
        return [ensemble.confidences(fitted[1], acts, eps) for eps in (0.0, 0.0014)]

    still, moved = toy_run(component, images, both)
    chex.assert_shape(moved, (8, 4))
    assert (moved > still).all()


def test_ensemble_noise_is_standard_normal_and_follows_the_image():
    component, _ = toy_fit()
    images, _ = testing.toy_images(64, seed=1)

    def drawn(acts):
        return ensemble._noise(acts).network.images

    noise = toy_run(component, images, drawn)
    assert noise.shape == images.shape
    # 64 x 512 draws: deviations of a mean and a variance are 0.0055 and 0.0078.
    assert abs(noise.mean()) < 0.03
    assert abs(noise.var() - 1) < 0.04
    order = np.random.default_rng(0).permutation(64)[:20]
    again = toy_run(component, images[order], drawn)
    np.testing.assert_array_equal(again, noise[order])
    assert len(np.unique(noise[:, 0, 0, 0])) == 64


def test_ensemble_weights_do_not_need_more_than_its_memory(monkeypatch):
    monkeypatch.setattr(ensemble, "CAPACITY", 40)
    toy_fit.cache_clear()
    component, fitted = toy_fit(eps=0.0)
    toy_fit.cache_clear()
    inside, outside = (
        toy_run(component, images, functools.partial(component.apply, fitted))
        for images in (
            testing.toy_images(64, seed=1)[0],
            testing.toy_images(64, seed=2, ood=True)[0],
        )
    )
    assert jood.metrics.auroc(inside, outside) > 0.9


def test_ensemble_after_threshold_activation_sees_the_edited_network():
    component = jood.chain(transforms.ta(k=0.2), ensemble.mahalanobis_ensemble(eps=0.0))
    images, labels = testing.toy_images(96, seed=0)
    fitted = fit(component, [(images, labels)], observer=toy_observer(component))
    plain, plain_fitted = toy_fit(eps=0.0)
    spec = transforms.ta(k=0.2).edits[0][0].spec

    def read(acts):
        edited = acts.edit(spec).stage("C5").mean((1, 2))
        distances = class_gaussians.distance(fitted[1]["C5"]["within"], edited)
        without = plain.apply(plain_fitted, acts.replace(edited={}))
        return component.apply(fitted, acts), without, edited, distances

    out, without, edited, distances = toy_run(component, images, read)
    assert not np.allclose(out, without)
    expected = reference.mahalanobis(edited, labels, edited)
    np.testing.assert_allclose(-distances, expected, rtol=1e-3)


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf"), "1", None, True])
def test_ensemble_refuses_a_bad_step(eps):
    with pytest.raises(ValueError, match="eps must be a finite number >= 0"):
        ensemble.mahalanobis_ensemble(eps=eps)


def test_ensemble_needs_stages_and_a_network():
    component, fitted = toy_fit()
    train, labels, _ = problem()
    with pytest.raises(jood.MissingStageError, match="reads every stage"):
        fit(component, [record(train, labels)])
    images, _ = testing.toy_images(4, seed=1)
    acts = testing.toy_activations(component, images).replace(network=None)
    with pytest.raises(jood.MissingStageError, match="runs the network again"):
        component.apply(fitted, acts)


def test_ensemble_hashes_fit_one_image_per_row():
    images, _ = testing.toy_images(16, seed=1)
    hashes = compiled.run(reservoir.row_hash, images.reshape(16, -1))
    assert len(np.unique(hashes)) == 16
