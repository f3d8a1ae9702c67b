"""The ensemble of Mahalanobis distances over stages, on moved images and on noise."""

import functools
import importlib
import re

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

# The function of the same name hides the module.
ensemble = importlib.import_module("jood.methods.scores.mahalanobis_ensemble")


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


@pytest.mark.slow
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
    golden_network.load(golden_dir)  # skips without one
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_ensemble_needs_no_network_to_score_without_a_step():
    component, fitted = toy_fit(eps=0.0)
    images, _ = testing.toy_images(8, seed=1)

    def both(acts):
        alone = acts.replace(network=None)
        return [component.apply(fitted, record) for record in (acts, alone)]

    np.testing.assert_array_equal(*toy_run(component, images, both))


@pytest.mark.slow
def test_ensemble_step_moves_images_towards_their_class():
    _, fitted = toy_fit()
    component, _ = toy_fit()
    images, _ = testing.toy_images(8, seed=1)

    def both(acts):
        return [ensemble.confidences(fitted[1], acts, eps) for eps in (0.0, 0.0014)]

    still, moved = toy_run(component, images, both)
    chex.assert_shape(moved, (8, 4))
    assert (moved > still).all()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_ensemble_needs_stages_and_a_network():
    component, fitted = toy_fit()
    features, labels = np.ones((6, 5), "f"), np.arange(6) % 3
    record = jood.Activations.of(features, np.ones((5, 3), "f"), labels=labels)
    with pytest.raises(jood.MissingStageError, match="reads every stage"):
        fit(component, [record])
    images, _ = testing.toy_images(4, seed=1)
    acts = testing.toy_activations(component, images).replace(network=None)
    with pytest.raises(jood.MissingStageError, match="runs the network again"):
        component.apply(fitted, acts)


def test_ensemble_hashes_fit_one_image_per_row():
    images, _ = testing.toy_images(16, seed=1)
    hashes = compiled.run(reservoir.row_hash, images.reshape(16, -1))
    assert len(np.unique(hashes)) == 16
