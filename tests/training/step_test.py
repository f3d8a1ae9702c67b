"""The training step: what it updates, on how many devices, in parts, in bfloat16."""

import dataclasses

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import models
from jood._utils import sharding
from jood.core.batch import Batch
from jood.core.preprocessing import Preprocessing
from jood.training import augmentation
from jood.training import config
from jood.training import objectives
from jood.training import optimizer as optimizer_lib
from jood.training import state as state_lib
from jood.training import step as step_lib
from jood.training.forward import look

PREPROCESSING = Preprocessing((0.5,) * 3, (0.25,) * 3)
CONFIG = config.TrainConfig(warmup_epochs=0, learning_rate=0.05)
MODEL = models.create("resnet_small", 3, width=4, stage_sizes=(1, 1))
OPTIMIZER = optimizer_lib.make_optimizer(CONFIG, 10)
OBJECTIVES = (
    "cross_entropy",
    "lff(delta=0.4, mu=0.1)",
    "ssod(gamma=0.6)",
    "ssod(gamma=0.6, balance='dr')",
)


def batches(count, size=16, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        images = rng.integers(0, 256, (size, 16, 16, 3)).astype(np.uint8)
        yield Batch(images, rng.integers(0, 3, size).astype(np.int32), np.ones(size))


def begin(text, model=MODEL, variables=None):
    objective = objectives.parse(text)
    return objective, state_lib.create_state(
        model, objective, OPTIMIZER, (16, 16, 3), 0, variables
    )


def run(text, devices=1, steps=3, split=False, model=MODEL, **options):
    objective, state = begin(text, model)
    mesh = sharding.data_mesh(jax.devices()[:devices])
    shardings = jax.tree.map(lambda _: sharding.replicated(mesh), state)
    if split:
        shardings = sharding.split(state, mesh)
    plain = step_lib.make_step(model, objective, OPTIMIZER, PREPROCESSING, **options)
    traces = []

    def counted(state, batch):
        traces.append(None)
        return plain(state, batch)

    step = step_lib.compile_step(counted, shardings)
    state, metrics = jax.device_put(state, shardings), []
    for batch in batches(steps):
        state, found = step(state, sharding.shard_batch(batch, mesh))
        metrics.append(jax.device_get(found))
    assert len(traces) == 1
    return state, [m["loss"].total / m["loss"].count for m in metrics], metrics


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, marks=[pytest.mark.slow] if text != OBJECTIVES[-1] else [])
        for text in OBJECTIVES
    ],
)
def test_two_devices_give_the_losses_and_statistics_of_one(text):
    augment = augmentation.build(("crop", "flip", "jitter"), 16)
    one, losses_one, _ = run(text, augment=augment)
    two, losses_two, _ = run(text, devices=2, augment=augment)
    np.testing.assert_allclose(losses_two, losses_one, rtol=1e-5)
    chex.assert_trees_all_close(
        jax.device_get(two.batch_stats),
        jax.device_get(one.batch_stats),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.slow
def test_a_split_state_gives_the_losses_of_a_whole_one(monkeypatch):
    monkeypatch.setattr(sharding, "SPLIT_FROM", 64)
    _, whole, _ = run("ssod(gamma=0.6)", devices=2)
    state, split, _ = run("ssod(gamma=0.6)", devices=2, split=True)
    np.testing.assert_allclose(split, whole, rtol=1e-5)
    kernel = state.trained["params"]["C5"]["block1"]["conv2"]["kernel"]
    assert kernel.sharding.spec == jax.sharding.PartitionSpec(None, None, "data", None)
    (momentum,) = [
        leaf
        for leaf in jax.tree.leaves(state.opt_state)
        if leaf.shape == kernel.shape and leaf.sharding == kernel.sharding
    ][:1]
    assert momentum.addressable_shards[0].data.size == kernel.size // 2


def test_metrics_are_sums_over_the_batch():
    _, _, (metrics, *_) = run("lff(delta=0.4, mu=0.1)")
    assert {"loss", "accuracy", "gradient_norm", "background_excess"} <= set(metrics)
    assert metrics["loss"].count == metrics["accuracy"].count == 16
    assert 0 <= metrics["accuracy"].total <= 16
    assert metrics["gradient_norm"].total > 0


@pytest.mark.slow
@pytest.mark.parametrize("text", OBJECTIVES[1::2])
def test_accumulated_gradients_are_the_mean_of_the_parts(text):
    objective, state = begin(text)
    (batch,) = batches(1)
    step = step_lib.make_step(MODEL, objective, OPTIMIZER, PREPROCESSING, accumulate=2)
    after, metrics = jax.jit(step)(state, batch)

    # By hand: the parts one after the other, each with its own batch statistics.
    key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), 0)
    stats, total, losses_by_hand = state.batch_stats, None, []
    for part, part_key in enumerate(jax.random.split(key, 2)):
        rows = jax.tree.map(lambda x, part=part: x[part::2], batch)
        second = jax.random.split(part_key)[1]

        def loss(trained, stats=stats, rows=rows, second=second):
            seen, updated = look(
                MODEL,
                {**trained, "batch_stats": stats},
                PREPROCESSING(jnp.asarray(rows.image)),
                jnp.asarray(rows.label),
            )
            return objective.loss(seen, second)[0], updated

        (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(state.trained)
        losses_by_hand.append(float(value))
        total = grads if total is None else jax.tree.map(jnp.add, total, grads)
    grads = jax.tree.map(lambda g: g / 2, total)
    updates, _ = OPTIMIZER.update(grads, state.opt_state, state.trained)
    expected = jax.tree.map(jnp.add, state.trained, updates)
    chex.assert_trees_all_close(after.trained, expected, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(after.batch_stats, stats, rtol=1e-4, atol=1e-6)
    found = metrics["loss"].total / metrics["loss"].count
    np.testing.assert_allclose(found, np.mean(losses_by_hand), rtol=1e-5)


@pytest.mark.slow
def test_accumulation_over_two_devices_is_that_over_one():
    _, one, _ = run("lff(delta=0.4, mu=0.1)", accumulate=4)
    _, two, _ = run("lff(delta=0.4, mu=0.1)", devices=2, accumulate=4)
    np.testing.assert_allclose(two, one, rtol=1e-5)


@pytest.mark.parametrize("text", OBJECTIVES)
def test_bfloat16_computes_with_float32_parameters(text):
    model = models.create(
        "resnet_small", 3, width=4, stage_sizes=(1, 1), dtype="bfloat16"
    )
    state, found, _ = run(text, model=model)
    assert np.isfinite(found).all()
    types = {leaf.dtype for leaf in jax.tree.leaves((state.trained, state.batch_stats))}
    assert types == {np.dtype("float32")}
    (batch,) = batches(1)
    images, labels = PREPROCESSING(jnp.asarray(batch.image)), jnp.asarray(batch.label)
    seen, _ = look(model, state.variables, images, labels)
    assert seen.acts.stages["C5"].dtype == jnp.bfloat16
    chex.assert_type([seen.locations(), seen.acts.logits], jnp.float32)


def test_every_part_of_a_network_is_trained_also_the_ood_head():
    plain = dataclasses.replace(CONFIG, weight_decay=0.0)  # which moves every kernel
    optimizer = optimizer_lib.make_optimizer(plain, 10)
    objective = objectives.parse("ssod(gamma=0.6)")
    state = state_lib.create_state(MODEL, objective, optimizer, (16, 16, 3), 0)
    before = jax.device_get(state.trained)
    step = jax.jit(step_lib.make_step(MODEL, objective, optimizer, PREPROCESSING))
    for batch in batches(4):
        state, _ = step(state, batch)
    moved = jax.tree.map(lambda a, b: (a != b).any(), before, state.trained)
    assert all(jax.tree.leaves(moved))


def test_the_state_is_donated():
    objective, state = begin("cross_entropy")
    mesh = sharding.data_mesh(jax.devices()[:1])
    shardings = jax.tree.map(lambda _: sharding.replicated(mesh), state)
    state = jax.device_put(state, shardings)
    step = step_lib.compile_step(
        step_lib.make_step(MODEL, objective, OPTIMIZER, PREPROCESSING), shardings
    )
    kernel = state.trained["params"]["head"]["kernel"]
    (batch,) = batches(1)
    step(state, sharding.shard_batch(batch, mesh))
    assert kernel.is_deleted()


def test_a_run_begins_with_a_networks_variables_and_its_ood_head():
    _, trained = begin("ssod")
    variables = jax.device_get(trained.variables)
    variables["ood_head"]["bias"] = np.array([7.0], np.float32)
    _, again = begin("ssod", variables=variables)
    chex.assert_trees_all_equal(again.variables, variables)
    plain = {k: v for k, v in variables.items() if k != "ood_head"}
    _, fresh = begin("ssod", variables=plain)
    assert fresh.trained["ood_head"]["bias"] != 7.0
    _, without = begin("lff", variables=variables)
    assert "ood_head" not in without.variables


def test_one_seed_one_state():
    objective = objectives.parse("ssod")

    def make(seed):
        return state_lib.create_state(MODEL, objective, OPTIMIZER, (16, 16, 3), seed)

    chex.assert_trees_all_equal(make(1), make(1))
    assert (make(1).rng != make(2).rng).any()


@pytest.mark.slow
def test_local_features_are_what_the_head_reads():
    (batch,) = batches(1, size=2)
    images = PREPROCESSING(jnp.asarray(batch.image))
    for name, options in (
        ("resnet_small", {"width": 4, "stage_sizes": (1, 1)}),
        ("mobilenet_v3_large", {"width": 0.25}),
    ):
        model = models.create(name, 3, **options)
        variables = jax.jit(model.init)(jax.random.key(0), images)
        seen, _ = jax.jit(
            lambda v, model=model: look(
                model, v, images, jnp.asarray(batch.label), train=False
            )
        )(variables)
        chex.assert_rank(seen.local, 3)
        assert seen.local.shape[-1] == seen.acts.kernel.shape[0]
        if name == "resnet_small":  # the mean of the locations is the feature
            np.testing.assert_allclose(
                seen.local.mean(1), seen.acts.penultimate, rtol=1e-5, atol=1e-6
            )
        else:  # the hidden layer, applied to the mean, gives the feature
            pooled = seen.acts.stage("C5").mean((1, 2))
            np.testing.assert_allclose(
                model.head_input(variables["params"], pooled),
                seen.acts.penultimate,
                rtol=1e-4,
                atol=1e-5,
            )


def test_a_transformer_has_no_local_features():
    model = models.create(
        "vit_b16", 3, image_size=32, depth=4, width=16, heads=2, mlp_width=16
    )
    images = jnp.zeros((2, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    seen, stats = look(model, variables, images, jnp.zeros(2, jnp.int32))
    assert stats == {}
    with pytest.raises(ValueError, match="the head reads the class token"):
        seen.locations()
    objectives.cross_entropy().loss(seen, jax.random.key(0))  # which needs none


class _Hidden(nn.Module):
    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Conv(4, (3, 3), name="C5")(images)
        x = nn.relu(nn.Dense(7, name="hidden")(x.mean((1, 2))))
        return nn.Dense(3, name="head")(x)


def test_a_head_that_reads_something_else_is_named():
    images = jnp.zeros((2, 8, 8, 3))
    variables = _Hidden().init(jax.random.key(0), images)
    seen, _ = look(_Hidden(), variables, images, jnp.zeros(2, jnp.int32))
    with pytest.raises(ValueError, match=r"reads 7 features.*4 channels.*head_input"):
        seen.locations()


def test_a_new_head_is_for_other_classes():
    _, trained = begin("ssod")
    wider = models.create("resnet_small", 7, width=4, stage_sizes=(1, 1))
    made = state_lib.with_new_head(wider, trained.variables, 16, seed=1)
    assert made["params"]["head"]["kernel"].shape == (8, 7)
    assert "ood_head" not in made
    for name in ("C4", "C5", "conv1"):
        chex.assert_trees_all_equal(
            made["params"][name], trained.variables["params"][name]
        )
    state_lib.create_state(
        wider, objectives.parse("ssod"), OPTIMIZER, (16, 16, 3), 0, made
    )
