"""`detector.function()`: the detector inside programs that jood does not run."""

from helpers.toy_detectors import BUNDLE
from helpers.toy_detectors import INSIDE
from helpers.toy_detectors import OUTSIDE
from helpers.toy_detectors import PIXELS
from helpers.toy_detectors import SINGLE
from helpers.toy_detectors import calibrated
from helpers.toy_detectors import fitted
from helpers.toy_detectors import pixel_detector
from helpers.toy_detectors import toy
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import testing
from jood._utils import sharding

# Not those of the calibration, which another program's rounding would move past their
# own scores.
IMAGES = np.concatenate([testing.toy_images(4, seed=7)[0], OUTSIDE[:4]])


def assert_same(found, expected):
    """Outputs agree; decisions exactly, scores and p-values to float32's rounding."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("component", [SINGLE, BUNDLE])
def test_the_function_says_what_run_says(component):
    detector = calibrated(component)
    function, params = detector.function()
    found = jax.jit(function)(params, IMAGES)
    expected = detector.run(IMAGES)
    assert_same(found, expected)
    several = component == BUNDLE
    assert np.any(jax.tree.leaves(expected.is_ood))
    assert isinstance(found.scores, dict) is several
    assert jax.tree.leaves(found.p_value)[0].dtype == jnp.float32


def test_thresholds_per_class_are_those_of_the_answer():
    detector = fitted().calibrate([INSIDE], tpr=0.5, thresholds="per_class")
    function, params = detector.function()
    counts = params["calibration"]["score"]["count"]
    assert len(set(counts.tolist())) > 1  # so that classes are filled up
    found, expected = jax.jit(function)(params, IMAGES), detector.run(IMAGES)
    assert_same(found, expected)
    assert len(set(expected.prediction.tolist())) > 1


def test_without_calibration_nothing_is_judged():
    function, params = fitted().function()
    found = function(params, IMAGES)
    assert found.is_ood is None
    assert found.p_value is None
    assert fitted().run(IMAGES).is_ood is None
    np.testing.assert_allclose(found.scores, fitted()(IMAGES), rtol=1e-5)


def test_it_can_be_mapped_and_sharded():
    detector = calibrated()
    function, params = detector.function()
    expected = detector.run(IMAGES)
    halves = jax.vmap(function, (None, 0))(
        params, IMAGES.reshape(2, 4, *IMAGES.shape[1:])
    )
    assert_same(jax.tree.map(lambda x: x.reshape(-1), halves), expected)
    axis = jax.sharding.PartitionSpec("images")
    mesh = jax.make_mesh(
        (2,),
        ("images",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:2],
    )
    everywhere = jax.sharding.PartitionSpec()
    split = jax.shard_map(
        function, mesh=mesh, in_specs=(everywhere, axis), out_specs=axis
    )
    assert_same(jax.jit(split)(params, IMAGES), expected)
    sharded = sharding.shard_batch(IMAGES, sharding.data_mesh(jax.devices()[:2]))
    assert_same(jax.jit(function)(params, sharded), expected)


def test_its_arrays_are_arguments_and_can_be_exchanged():
    function, params = toy("max_logit()").function()
    other = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_array_equal(function(other, IMAGES).scores, np.zeros(8))


def test_gradients_flow_through_it():
    function, params = toy("energy()").function()
    gradient = jax.grad(lambda x: function(params, x).scores.sum())(jnp.asarray(IMAGES))
    assert np.abs(gradient).max() > 0


def test_an_image_that_run_refuses_is_ood_and_has_no_p_value():
    function, params = calibrated().function()
    images = INSIDE[:8].copy()
    images[3, 0, 0, 0] = np.nan
    found = function(params, images)
    np.testing.assert_array_equal(np.isnan(found.scores), np.arange(8) == 3)
    np.testing.assert_array_equal(np.isnan(found.p_value), np.arange(8) == 3)
    assert bool(found.is_ood[3])


def test_it_normalises_uint8_images_of_the_networks_size():
    detector = pixel_detector()
    function, params = detector.function()
    found, expected = jax.jit(function)(params, PIXELS), detector.run(PIXELS)
    assert_same(found.scores, expected.scores)
    assert_same(found.prediction, expected.prediction)
    with pytest.raises(ValueError, match="fitted or calibrated on"):
        function(params, PIXELS[:, :8])
    with pytest.raises(ValueError, match="must be uint8"):
        function(params, PIXELS.astype(np.float32))
    with pytest.raises(ValueError, match=r"must be \[B, H, W, C\], got shape"):
        function(params, PIXELS[0])


def test_a_detector_that_has_not_learned_has_no_function():
    with pytest.raises(jood.NotFittedError):
        toy().function()


@pytest.mark.parametrize("component", [SINGLE, BUNDLE])
def test_the_detector_itself_can_be_traced(component):
    detector = jood.Detector(
        component,
        toy().model,
        toy().variables,
        fitted=fitted(component).fitted,
        calibration=calibrated(component).calibration,
    )  # one of its own, whose arrays are first asked for within a trace
    traced = jax.jit(lambda x: detector.run(x))(IMAGES)
    assert_same(traced, detector.run(IMAGES))
    assert_same(jax.jit(lambda x: detector(x))(IMAGES), detector(IMAGES))
    is_ood = jax.jit(lambda x: detector.is_ood(x))(IMAGES)
    assert_same(is_ood, detector.is_ood(IMAGES))
    with pytest.raises(TypeError, match=r"detector\.run\(images\) in it"):
        jax.jit(lambda x: detector.answer(x).score)(IMAGES)
