"""Chunks of a batch: the same rows, in order, from as few layers, on every device."""

import functools
import re

import chex
from flax import linen as nn
from helpers.tiny_network import scaled_variables
import jax
from jax import export as jax_export
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood import testing
from jood._utils import affinity
from jood._utils import sharding
from jood.core.backbones import chunks
from jood.core.backbones import observing
from jood.methods import detector_text
from jood.testing import toy_kinds

IMAGES = np.random.default_rng(1).normal(size=(16, 8, 8, 3)).astype(np.float32)
TEXT = "bundle(a=energy(), b=ta()|msp(), c=ta(stage='C5')|feature_sim())"


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    """A core for each of the two devices: up to 4 small images of each in a chunk."""
    monkeypatch.setattr(affinity, "cores", lambda: 2)


@pytest.mark.parametrize(
    ("batch", "count"),
    # Devices share even numbers; of their shares 4 divides 8, and 3 divides 9.
    [(0, 1), (1, 1), (7, 1), (14, 1), (16, 2), (18, 3), (100, 25), (128, 16), (31, 1)],
)
def test_chunks_are_of_equal_size_on_every_device(batch, count):
    assert jax.device_count() == 2
    assert chunks.number((batch, 32, 32, 3)) == count


def test_batches_of_any_size_and_those_of_accelerators_are_whole(monkeypatch):
    (size,) = jax_export.symbolic_shape("B")
    assert chunks.number((size, 32, 32, 3)) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert chunks.number((128, 32, 32, 3)) == 1


def test_of_large_images_chunks_are_half_as_long():
    assert chunks.number((128, 224, 224, 3)) == 2 * chunks.number((128, 32, 32, 3))


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_rows_keep_their_order(count):
    def function(gain, images):
        assert len(images) == len(IMAGES) // count
        return {"most": gain * images.max((1, 2, 3)), "images": images}

    got = jax.jit(functools.partial(chunks.mapped, function, chunks=count))(2.0, IMAGES)
    chex.assert_trees_all_equal(got["images"], IMAGES)
    chex.assert_trees_all_equal(got["most"], 2 * IMAGES.max((1, 2, 3)))


def test_rows_of_a_sharded_batch_stay_on_their_device():
    mesh = sharding.data_mesh()
    images = sharding.shard_batch(IMAGES, mesh)
    gain = sharding.replicate(jnp.float32(2), mesh)
    run = jax.jit(lambda gain, x: chunks.mapped(lambda g, y: g * y, gain, x, 2))
    compiled = run.lower(gain, images).compile()
    assert not re.search("all-gather|all-to-all|collective", compiled.as_text())
    got = compiled(gain, images)
    assert got.sharding.is_equivalent_to(images.sharding, 4)
    chex.assert_trees_all_equal(np.asarray(got), 2 * IMAGES)


def test_what_nobody_reads_is_not_put_together():
    def function(gain, images):
        brightness = images.mean((1, 2, 3))
        return {"read": brightness, "unread": brightness[:, None] * gain[None]}

    def run(gain, images):
        return chunks.mapped(function, gain, images, 4)["read"]

    text = jax.jit(run).lower(np.ones(37, np.float32), IMAGES).as_text()
    assert "while" in text
    assert "x37xf32" not in text


def test_gradients_are_those_of_the_whole_batch_and_keep_variables_once():
    kernel = np.linspace(1, 2, 3 * 37, dtype=np.float32).reshape(3, 37)

    def function(kernel, images):
        return jnp.sin(images.mean((1, 2)) @ kernel).sum(1)

    def in_chunks(kernel, images):
        return chunks.mapped(function, kernel, images, 8)

    def gradients(run, kernel, images):
        return jax.grad(lambda *both: run(*both).sum(), (0, 1))(kernel, images)

    whole, chunked = (functools.partial(gradients, f) for f in (function, in_chunks))
    got = jax.jit(chunked)(kernel, IMAGES)
    chex.assert_trees_all_close(got, jax.jit(whole)(kernel, IMAGES), rtol=1e-5)

    def of_images(kernel, images):
        return jax.grad(lambda images: in_chunks(kernel, images).sum())(images)

    assert "[8,3,37]" not in str(jax.make_jaxpr(of_images)(kernel, IMAGES))


@pytest.mark.parametrize("kind", ["Linen", "flax.nnx", "function"])
def test_every_kind_gives_the_record_of_the_whole_batch(kind):
    model, variables = toy_kinds.network(kind)
    images, labels = testing.toy_images(16, seed=0)
    edits = detector_text.parse("ta(k=0.2, stage='C4')|ta(k=0.1)|energy()").edits

    def run(observe, variables, images, labels):
        return observe(model, variables, images, edits=edits, labels=labels)

    whole, chunked = (
        jax.jit(functools.partial(run, observe))(variables, images, labels)
        for observe in (observing.observe, observing.observe_in_chunks)
    )
    assert len(whole.edited) == 1
    chex.assert_trees_all_close(chunked, whole, rtol=1e-6)


def _loops(text, images, model=None):
    given = testing.toy_variables() if model is None else None
    detector = jood.Detector(text, model or testing.ToyNet(), given)
    function, params = detector.function()
    return len(re.findall(r"scan\[", str(jax.make_jaxpr(function)(params, images))))


def test_programs_of_detectors_have_one_loop_unless_they_run_the_network_again():
    images, _ = testing.toy_images(16, seed=0)
    assert _loops("bundle(a=energy(), b=ta(k=0.2)|energy())", images) == 1
    assert _loops("energy()", images[:8]) == 0
    assert _loops("bundle(a=energy(), b=odin())", images) == 0


class _Wide(nn.Module):
    """Two maps of other shapes than the images."""

    @nn.compact
    def __call__(self, images):
        x = nn.relu(nn.Conv(37, (3, 3), name="C4")(images)) + 0.1
        x = nn.relu(nn.Conv(41, (3, 3), name="C5")(x))
        return nn.Dense(testing.CLASSES, name="head")(x.mean((1, 2)))


@pytest.mark.parametrize("taken", [16, 7])  # in chunks, and whole
@pytest.mark.filterwarnings("ignore::jood.AssumptionWarning")  # no activation
def test_scores_of_maps_are_taken_in_the_loop_and_the_maps_stay_there(taken):
    fused = "ta(k=0.2)|fuse(msp(), feature_sim_std(), weights=(1, 1))"
    images = IMAGES[:taken]
    variables = _Wide().init(jax.random.key(0), images)
    detector = jood.Detector(
        f"bundle(a=energy(), b=feature_sim(), c={fused})", _Wide(), variables
    )
    component = detector.component
    acts = observing.observe(_Wide(), variables, images, edits=component.edits)
    expected = component.apply((), acts)
    chex.assert_trees_all_close(detector.run(images).scores, expected, rtol=1e-5)
    function, params = detector.function()
    program = jax.jit(function).lower(params, images).compile().as_text()
    for channels in (37, 41):
        assert (f"f32[{taken},8,8,{channels}]" in program) == (taken == 7)


def test_a_network_of_tokens_takes_its_batch_whole():
    def features(params, images):
        del params
        tokens = images.reshape(len(images), -1, 32)
        return {"penultimate": tokens.mean(1), "stages": {"C5": tokens}}

    network = jood.Backbone(features, head=(np.ones((32, 4), np.float32), None))
    images, _ = testing.toy_images(16, seed=0)
    assert _loops("energy()", images, network) == 0


def test_inside_shard_map_each_device_takes_its_share_in_chunks():
    detector = jood.Detector("energy()", testing.ToyNet(), testing.toy_variables())
    function, params = detector.function()
    images, _ = testing.toy_images(32, seed=0)
    mesh = sharding.data_mesh()
    axis, everywhere = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=(everywhere, axis), out_specs=axis
    )
    got = jax.jit(mapped)(params, images).scores
    np.testing.assert_allclose(got, detector(images), rtol=1e-6)


@pytest.mark.slow
def test_the_record_is_that_of_the_whole_batch_and_edited_runs_stay_merged():
    model = models.create("resnet18_cifar", testing.CLASSES, width=4)
    variables = scaled_variables(model)
    part = detector_text.parse(TEXT)
    labels = jnp.arange(len(IMAGES)) % testing.CLASSES

    def run(observe, variables, images):
        acts = observe(model, variables, images, edits=part.edits, labels=labels)
        return acts, part.apply((), acts)

    whole, chunked = (
        jax.jit(functools.partial(run, observe)).lower(variables, IMAGES).compile()
        for observe in (observing.observe, observing.observe_in_chunks)
    )
    expected = whole(variables, IMAGES)
    chex.assert_trees_all_close(
        chunked(variables, IMAGES), expected, rtol=1e-5, atol=1e-5
    )
    layer = r'= \S+ (?:convolution|dot)\(.*op_name="[^"]*/(?:conv\d|downsample_conv)/'
    counts = [len(re.findall(layer, one.as_text())) for one in (whole, chunked)]
    assert counts == [25, 25]  # 20, and 5 after C4
