"""The training step: what it updates, on how many devices, in parts, in bfloat16.

One objective adds up all of jood's, so that a program is compiled once for all; its
log holds the loss of each.
"""

import functools

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
from jood.training.objectives import true_class_probability

PREPROCESSING = Preprocessing((0.5,) * 3, (0.25,) * 3)
# Without weight decay, which moves every kernel: see that gradients reach them.
CONFIG = config.TrainConfig(warmup_epochs=0, learning_rate=0.05, weight_decay=0.0)
MODEL = models.create("resnet_small", 3, width=4, stage_sizes=(1, 1))
OPTIMIZER = optimizer_lib.make_optimizer(CONFIG, 10)
OBJECTIVES = (
    "cross_entropy",
    "lff(delta=0.4, mu=0.1, reference='current')",
    "lff(delta=0.4, mu=0.1)",
    "ssod(gamma=0.6)",
    "ssod(gamma=0.6, balance='dr')",
)


def added_up():
    """The sum of all objectives, which logs the loss of each by its text."""
    parts = {text: objectives.parse(text) for text in OBJECTIVES}

    def loss(outputs, key):
        losses = {
            text: part.loss(outputs.replace(reference=outputs.reference[text]), key)
            for text, part in parts.items()
        }
        logged = {
            text: objectives.Part(value, jnp.float32(1))
            for text, (value, _) in losses.items()
        }
        for _, more in losses.values():
            logged |= more
        return sum(value for value, _ in losses.values()), logged

    def reference(before):
        ask = {text: part.reference for text, part in parts.items()}
        return {text: a and a(before) for text, a in ask.items()}

    init = objectives.ssod().init
    return objectives.Objective("added_up()", loss, init=init, reference=reference)


ALL = added_up()


def batches(count, size=16, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        images = rng.integers(0, 256, (size, 16, 16, 3)).astype(np.uint8)
        yield Batch(images, rng.integers(0, 3, size).astype(np.int32), np.ones(size))


def begin(objective=ALL, model=MODEL, variables=None):
    return state_lib.create_state(
        model, objective, OPTIMIZER, (16, 16, 3), 0, variables
    )


@functools.cache
def begun():
    """The state before the first step, on the host: steps reuse what they are given."""
    return jax.device_get(begin())


def compiled(devices=1, split=False, model=MODEL, **options):
    """A step that fails if it is traced twice, and where its state and batches go."""
    mesh = sharding.data_mesh(jax.devices()[:devices])
    shardings = jax.tree.map(lambda _: sharding.replicated(mesh), begun())
    if split:
        shardings = sharding.split(begun(), mesh)
    plain = step_lib.make_step(model, ALL, OPTIMIZER, PREPROCESSING, **options)
    traces = []

    def once(state, batch):
        traces.append(None)
        assert len(traces) == 1
        return plain(state, batch)

    return step_lib.compile_step(once, shardings), shardings, mesh


@functools.cache
def run(devices=1, steps=3, **options):
    """The state after some steps, and the metrics of each."""
    step, shardings, mesh = compiled(devices, **options)
    state, metrics = jax.device_put(begun(), shardings), []
    for batch in batches(steps):
        state, found = step(state, sharding.shard_batch(batch, mesh))
        metrics.append(jax.device_get(found))
    return state, metrics


augmented = functools.partial(run, augment=augmentation.build(augmentation.NAMES, 16))


def same_losses(one, other):
    for step, (a, b) in enumerate(zip(one, other, strict=True)):
        for name in ("loss", *OBJECTIVES):
            np.testing.assert_allclose(
                b[name].total, a[name].total, rtol=1e-5, err_msg=f"{name} in {step}"
            )


@pytest.mark.slow
def test_two_devices_give_the_losses_and_statistics_of_one():
    one, losses_one = augmented()
    two, losses_two = augmented(devices=2)
    same_losses(losses_one, losses_two)
    chex.assert_trees_all_close(
        jax.device_get(two.model_state),
        jax.device_get(one.model_state),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.slow
def test_a_split_state_gives_the_losses_of_a_whole_one(monkeypatch):
    monkeypatch.setattr(sharding, "SPLIT_FROM", 64)
    _, whole = run(devices=2)
    state, split = run(devices=2, split=True)
    same_losses(whole, split)
    kernel = state.trained["params"]["C5"]["block1"]["conv2"]["kernel"]
    assert kernel.sharding.spec == jax.sharding.PartitionSpec(None, None, "data", None)
    (momentum,) = [
        leaf
        for leaf in jax.tree.leaves(state.opt_state)
        if leaf.shape == kernel.shape and leaf.sharding == kernel.sharding
    ][:1]
    assert momentum.addressable_shards[0].data.size == kernel.size // 2


@pytest.mark.slow
def test_metrics_are_sums_over_the_batch():
    _, (metrics, *_) = augmented()
    assert {"gradient_norm", "background_excess", "ood_loss"} <= set(metrics)
    assert metrics["loss"].count == metrics["accuracy"].count == 16
    assert 0 <= metrics["accuracy"].total <= 16
    assert metrics["gradient_norm"].total > 0
    assert len({float(metrics[text].total) for text in OBJECTIVES}) == len(OBJECTIVES)


@pytest.mark.slow
def test_accumulated_gradients_are_the_mean_of_the_parts():
    state = begin()
    (batch,) = batches(1)
    step = step_lib.make_step(MODEL, ALL, OPTIMIZER, PREPROCESSING, accumulate=2)
    after, metrics = jax.jit(step)(state, batch)

    def loss(trained, stats, rows, key):
        given = PREPROCESSING(jnp.asarray(rows.image)), jnp.asarray(rows.label)
        outputs, updated = look(MODEL, {**trained, "batch_stats": stats}, *given)
        before, _ = look(MODEL, state.start, *given, train=False)
        outputs = outputs.replace(reference=ALL.reference(before))
        return ALL.loss(outputs, key)[0], updated

    # By hand: the parts one after the other, each with its own batch statistics.
    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), 0)
    stats, total, losses_by_hand = state.model_state["batch_stats"], None, []
    for part, part_key in enumerate(jax.random.split(key, 2)):
        rows = jax.tree.map(lambda x, part=part: x[part::2], batch)
        second = jax.random.split(part_key)[1]
        (value, stats), grads = gradient(state.trained, stats, rows, second)
        losses_by_hand.append(float(value))
        total = grads if total is None else jax.tree.map(jnp.add, total, grads)
    grads = jax.tree.map(lambda g: g / 2, total)
    updates, _ = OPTIMIZER.update(grads, state.opt_state, state.trained)
    expected = jax.tree.map(jnp.add, state.trained, updates)
    chex.assert_trees_all_close(after.trained, expected, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(
        after.model_state["batch_stats"], stats, rtol=1e-4, atol=1e-6
    )
    found = metrics["loss"].total / metrics["loss"].count
    np.testing.assert_allclose(found, np.mean(losses_by_hand), rtol=1e-5)


@pytest.mark.slow
def test_accumulation_over_two_devices_is_that_over_one():
    _, one = run(accumulate=4)
    _, two = run(devices=2, accumulate=4)
    same_losses(one, two)


@pytest.mark.slow
def test_bfloat16_computes_with_float32_parameters():
    model = models.create(
        "resnet_small", 3, width=4, stage_sizes=(1, 1), dtype="bfloat16"
    )
    state, metrics = run(model=model)
    for found in metrics:
        assert all(np.isfinite(found[name].total) for name in ("loss", *OBJECTIVES))
    chex.assert_type(jax.tree.leaves(state.variables), jnp.float32)
    (batch,) = batches(1)
    images, labels = PREPROCESSING(jnp.asarray(batch.image)), jnp.asarray(batch.label)
    outputs, _ = jax.eval_shape(
        functools.partial(look, model), state.variables, images, labels
    )
    assert outputs.acts.stages["C5"].dtype == jnp.bfloat16
    dtypes = {outputs.locations().dtype, outputs.acts.logits.dtype}
    assert dtypes == {jnp.dtype("float32")}


@pytest.mark.slow
def test_every_part_of_a_network_is_trained_also_the_ood_head():
    state, _ = augmented()
    moved = jax.tree.map(lambda a, b: (a != b).any(), begun().trained, state.trained)
    assert "ood_head" in moved
    assert all(jax.tree.leaves(moved))


def test_the_state_is_donated():
    step, shardings, mesh = compiled(augment=augmented.keywords["augment"])
    state = jax.device_put(begun(), shardings)
    kernel = state.trained["params"]["head"]["kernel"]
    (batch,) = batches(1)
    step(state, sharding.shard_batch(batch, mesh))
    assert kernel.is_deleted()


@pytest.mark.slow
def test_the_reference_is_the_start_network_in_evaluation_mode():
    state, metrics = run()
    chex.assert_trees_all_equal(state.start, begun().variables)
    now, then = (s["params"]["head"]["kernel"] for s in (state.trained, state.start))
    assert (now != then).any()

    @jax.jit
    def share(variables, batch):
        images = PREPROCESSING(batch.image)
        before, _ = look(MODEL, variables, images, batch.label, train=False)
        return (true_class_probability.probability(before) < 0.4).mean()

    of_start = [share(begun().variables, batch) for batch in batches(3)]
    of_now = [share(state.variables, batch) for batch in batches(3)]
    found = [m["background_share"].mean for m in metrics]
    np.testing.assert_allclose(found, of_start, atol=1e-6)
    assert not np.allclose(found, of_now, atol=1e-3)


class _Dropping(nn.Module):
    """A network with dropout before its head, as MobileNetV3 has it."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Conv(8, (1, 1), name="C5")(images).mean((1, 2))
        if train and self.has_rng("dropout"):
            x = nn.Dropout(0.5, deterministic=False)(x)
        return nn.Dense(self.num_classes, name="head")(x)


def test_dropout_is_drawn_anew_in_each_step():
    model, objective = _Dropping(), objectives.cross_entropy()
    step = jax.jit(step_lib.make_step(model, objective, OPTIMIZER, PREPROCESSING))
    state = begin(objective, model)
    (batch,) = batches(1)

    def zeros(state):
        return step(state, batch)[1]["zero_features"]

    first, second = zeros(state), zeros(state.replace(step=state.step + 1))
    assert zeros(state).total == first.total
    assert 0 < first.mean < 1
    assert first.total != second.total


def test_only_an_objective_that_asks_the_start_network_carries_it():
    assert begin(objectives.lff()).start.keys() == {"params", "batch_stats"}
    assert begin(objectives.lff(reference="current")).start == {}


def test_a_run_begins_with_a_networks_variables_and_its_ood_head():
    ssod = objectives.ssod()
    head = {**begun().trained["ood_head"], "bias": np.array([7.0], np.float32)}
    variables = {**begun().variables, "ood_head": head}
    again = begin(ssod, variables=variables)
    chex.assert_trees_all_equal(again.variables, variables)
    plain = {k: v for k, v in variables.items() if k != "ood_head"}
    fresh = begin(ssod, variables=plain)
    assert fresh.trained["ood_head"]["bias"] != 7.0
    without = begin(objectives.lff(), variables=variables)
    assert "ood_head" not in without.variables


def test_one_seed_one_state():
    def make(seed):
        return state_lib.create_state(MODEL, ALL, OPTIMIZER, (16, 16, 3), seed)

    chex.assert_trees_all_equal(make(0), begun())
    assert (make(2).rng != begun().rng).any()


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
        outputs, _ = jax.jit(
            lambda v, model=model: look(
                model, v, images, jnp.asarray(batch.label), train=False
            )
        )(variables)
        chex.assert_rank(outputs.local, 3)
        assert outputs.local.shape[-1] == outputs.acts.kernel.shape[0]
        if name == "resnet_small":  # the mean of the locations is the feature
            np.testing.assert_allclose(
                outputs.local.mean(1), outputs.acts.penultimate, rtol=1e-5, atol=1e-6
            )
        else:  # the hidden layer, applied to the mean, gives the feature
            pooled = outputs.acts.stage("C5").mean((1, 2))
            np.testing.assert_allclose(
                model.head_input(variables["params"], pooled),
                outputs.acts.penultimate,
                rtol=1e-4,
                atol=1e-5,
            )


def looked_at(model, shape):
    """The shapes of a pass that cross-entropy, which needs no local features, reads."""

    def one(images):
        variables = model.init(jax.random.key(0), images)
        found = look(model, variables, images, jnp.zeros(len(images), jnp.int32))
        objectives.cross_entropy().loss(found[0], jax.random.key(0))
        return found

    return jax.eval_shape(one, jnp.zeros(shape))


def test_a_transformer_has_no_local_features():
    model = models.create(
        "vit_b16", 3, image_size=32, depth=4, width=16, heads=2, mlp_width=16
    )
    outputs, stats = looked_at(model, (2, 32, 32, 3))
    assert stats == {}
    with pytest.raises(ValueError, match="the head reads the class token"):
        outputs.locations()


class _Hidden(nn.Module):
    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Conv(4, (3, 3), name="C5")(images)
        x = nn.relu(nn.Dense(7, name="hidden")(x.mean((1, 2))))
        return nn.Dense(3, name="head")(x)


def test_a_head_that_reads_something_else_is_named():
    outputs, _ = looked_at(_Hidden(), (2, 8, 8, 3))
    with pytest.raises(ValueError, match=r"reads 7 features.*4 channels.*head_input"):
        outputs.locations()


@pytest.mark.slow
def test_a_new_head_is_for_other_classes():
    trained = begun().variables
    wider = models.create("resnet_small", 7, width=4, stage_sizes=(1, 1))
    made = state_lib.with_new_head(wider, trained, (16, 16, 3), seed=1)
    assert made["params"]["head"]["kernel"].shape == (8, 7)
    assert "ood_head" not in made
    for name in ("C4", "C5", "conv1"):
        chex.assert_trees_all_equal(made["params"][name], trained["params"][name])
    jax.eval_shape(lambda: begin(objectives.ssod(), wider, made))
