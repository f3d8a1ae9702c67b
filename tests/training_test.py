"""Training: loss, schedules, resuming, sharding, checkpoints, clear failures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jood import models
from jood import sharding
from jood.data import benchmarks
from jood.data import pipeline
from jood.training import checkpoints
from jood.training import config as config_lib
from jood.training import loop
from jood.training import state as state_lib
from jood.training.losses.cross_entropy import cross_entropy

TINY = config_lib.TrainConfig(
    benchmark="digits_tiny", epochs=2, batch_size=64, warmup_epochs=0.5
)


@pytest.fixture(scope="module")
def benchmark():
    whole = benchmarks.get("digits_tiny")
    few = dataclasses.replace(
        whole.id_train,
        images=whole.id_train.images[:256],
        labels=whole.id_train.labels[:256],
    )
    return dataclasses.replace(whole, id_train=few)


@pytest.fixture(scope="module")
def model():
    return models.create("resnet_small", 8, width=4)


def test_cross_entropy_is_the_mean_of_minus_log_p():
    logits = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5]], np.float32)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -(np.log(p[0, 1]) + np.log(p[1, 2])) / 2
    loss = cross_entropy(jnp.asarray(logits), jnp.array([1, 2]))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    half = cross_entropy(jnp.asarray(logits, jnp.bfloat16), jnp.array([1, 2]))
    assert half.dtype == jnp.float32


def test_cosine_schedule_warms_up_and_falls_to_zero():
    config = config_lib.TrainConfig(epochs=10, learning_rate=0.2, warmup_epochs=2)
    rate = config_lib.learning_rate_schedule(config, steps_per_epoch=5)
    np.testing.assert_allclose(rate(0), 0.0)
    np.testing.assert_allclose(rate(5), 0.1, rtol=1e-6)
    np.testing.assert_allclose(rate(10), 0.2, rtol=1e-6)
    np.testing.assert_allclose(rate(30), 0.1, rtol=1e-6)
    np.testing.assert_allclose(rate(50), 0.0, atol=1e-8)


def test_step_schedule_decays_tenfold_at_its_epochs():
    config = config_lib.TrainConfig(
        epochs=6,
        learning_rate=1.0,
        schedule="step",
        warmup_epochs=1,
        decay_epochs=(3, 5),
    )
    rate = config_lib.learning_rate_schedule(config, steps_per_epoch=10)
    found = [float(rate(step)) for step in (10, 29, 31, 49, 51)]
    np.testing.assert_allclose(found, [1.0, 1.0, 0.1, 0.1, 0.01], rtol=1e-6)


def test_weight_decay_spares_biases_and_batch_norm(model):
    config = dataclasses.replace(TINY, weight_decay=0.5, warmup_epochs=0)
    optimizer = state_lib.make_optimizer(config, 10)
    state = state_lib.create_state(model, optimizer, (32, 32, 3), seed=0)
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    updates, _ = optimizer.update(zeros, state.opt_state, state.params)
    moved = optax.apply_updates(state.params, updates)
    assert (moved["head"]["kernel"] != state.params["head"]["kernel"]).any()
    np.testing.assert_array_equal(moved["head"]["bias"], state.params["head"]["bias"])
    np.testing.assert_array_equal(moved["bn1"]["scale"], state.params["bn1"]["scale"])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schedule", "linear", "one of cosine, step"),
        ("dtype", "int8", "one of float32, bfloat16"),
        ("decay_epochs", (3.0,), "go with schedule='step'"),
        ("warmup_epochs", 99.0, "<= epochs"),
        ("epochs", 0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("momentum", 1.0, r"\[0, 1\)"),
    ],
)
def test_bad_configuration_is_named(field, value, message):
    with pytest.raises(ValueError, match=f"{field}.*{message}"):
        config_lib.TrainConfig(**{field: value})


def run_steps(model, benchmark, devices, steps=4):
    optimizer = state_lib.make_optimizer(TINY, 4)
    state = state_lib.create_state(model, optimizer, (32, 32, 3), seed=0)
    step = loop.make_step(model, optimizer, benchmark.preprocessing)
    mesh = sharding.data_mesh(jax.devices()[:devices])
    state = sharding.replicate(state, mesh)
    losses = []
    for batch in pipeline.training_batches(benchmark.id_train, 64, steps=steps, seed=0):
        state, metrics = step(state, sharding.shard_batch(batch, mesh))
        losses.append(float(metrics["loss"]) / 64)
    return jax.device_get(state), losses


def test_two_devices_give_the_loss_curve_of_one(model, benchmark):
    one, losses = run_steps(model, benchmark, devices=1)
    two, sharded = run_steps(model, benchmark, devices=2)
    np.testing.assert_allclose(sharded, losses, rtol=1e-5)
    np.testing.assert_allclose(
        two.batch_stats["bn1"]["mean"], one.batch_stats["bn1"]["mean"], rtol=1e-4
    )


def test_batch_must_divide_over_devices(benchmark):
    mesh = sharding.data_mesh(jax.devices()[:2])
    batch = next(pipeline.training_batches(benchmark.id_train, 63, steps=1, seed=0))
    with pytest.raises(ValueError, match="divisible by the 2 devices, got 63"):
        sharding.shard_batch(batch, mesh)


def test_training_learns(benchmark, tmp_path):
    model = models.create("resnet_small", 8, width=8)
    config = dataclasses.replace(TINY, epochs=20)
    variables = loop.train(config, benchmark, model, tmp_path / "run")
    images = benchmark.preprocessing(benchmark.id_train.images)
    logits = model.apply(variables, images)
    accuracy = (np.argmax(logits, -1) == benchmark.id_train.labels).mean()
    assert accuracy > 0.3  # chance is 0.125


def test_a_stopped_run_goes_on_to_the_same_parameters(
    model, benchmark, tmp_path, monkeypatch
):
    whole = loop.train(TINY, benchmark, model, tmp_path / "whole")

    class StopError(Exception):
        pass

    report, epochs = loop._report, []

    def stop_in_the_second_epoch(*args):
        epochs.append(args)
        if len(epochs) == 2:
            raise StopError
        report(*args)

    monkeypatch.setattr(loop, "_report", stop_in_the_second_epoch)
    with pytest.raises(StopError):
        loop.train(TINY, benchmark, model, tmp_path / "stopped")
    monkeypatch.setattr(loop, "_report", report)
    resumed = loop.train(TINY, benchmark, model, tmp_path / "stopped")
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)


def test_folder_of_another_configuration_is_refused(model, benchmark, tmp_path):
    loop.train(dataclasses.replace(TINY, epochs=1), benchmark, model, tmp_path)
    with pytest.raises(ValueError, match="epochs: there 1, now 2"):
        loop.train(TINY, benchmark, model, tmp_path)


def test_checkpoint_of_another_architecture_lists_the_differences(
    model, benchmark, tmp_path
):
    loop.train(dataclasses.replace(TINY, epochs=1), benchmark, model, tmp_path)
    loaded = checkpoints.load_variables(tmp_path, model, (32, 32, 3))
    assert loaded["params"]["head"]["kernel"].shape == (16, 8)
    wider = models.create("resnet_small", 8, width=8)
    with pytest.raises(ValueError, match="another architecture") as error:
        checkpoints.load_variables(tmp_path, wider, (32, 32, 3))
    assert "params/head/kernel (model (32, 8), file (16, 8))" in str(error.value) or (
        "more" in str(error.value)
    )


def test_missing_checkpoints_are_named(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint folder"):
        checkpoints.load_variables(tmp_path / "none", model, (32, 32, 3))
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        checkpoints.read_config(tmp_path)
    with pytest.raises(FileNotFoundError, match="no finished checkpoint"):
        checkpoints.load_variables(tmp_path, model, (32, 32, 3))


def test_nan_loss_stops_with_the_step_and_keeps_the_last_checkpoint(
    model, benchmark, tmp_path
):
    config = dataclasses.replace(TINY, learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(FloatingPointError, match=r"step 4, .*learning rate 1e\+30"):
        loop.train(config, benchmark, model, tmp_path)


def test_bfloat16_trains_with_float32_parameters(benchmark, tmp_path):
    model = models.create("resnet_small", 8, width=4, dtype="bfloat16")
    config = dataclasses.replace(TINY, epochs=1, dtype="bfloat16")
    variables = loop.train(config, benchmark, model, tmp_path)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}


def test_without_labels_nothing_is_begun(model, benchmark, tmp_path):
    bare = dataclasses.replace(benchmark, id_train=benchmark.ood["near"])
    with pytest.raises(ValueError, match="training needs labels"):
        loop.train(TINY, bare, model, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
