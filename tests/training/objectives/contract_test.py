"""What every objective promises of a step: all train, on two devices as on one."""

import functools

import chex
import jax
import numpy as np
import pytest

from jood import models
from jood._utils import sharding
from jood.core.preprocessing import Preprocessing
from jood.training import objectives
from jood.training import state as state_lib
from jood.training import step as step_lib
from jood.training.batches import TrainingBatch
from jood.training.config import TrainConfig
from jood.training.optimizer import make_optimizer

# Of values at which a few steps on a few images show every term.
TEXTS = {
    "godin": "godin()",
    "csi": "csi(width=4)",
    "csi_labelled": "csi('labelled', width=4)",
    "cider": "cider(width=4)",
    "mos": "mos(groups=2)",
    "npos": "npos(start=0, width=4, queue=2, k=2, select=2, draws=4, points=2)",
    "supcon": "supcon(width=4)",
    "vos": "vos(start=0, queue=2, draws=8)",
}
NAMES = sorted({*objectives.__all__, *TEXTS} - {"lff", "ssod"})  # in step_test.py
STATE = ("cider", "csi", "npos", "vos")  # whose queues and prototypes are state
MODEL = models.create("resnet_small", 3, width=4, stage_sizes=(1, 1))
PREPROCESSING = Preprocessing((0.5,) * 3, (0.25,) * 3)
CONFIG = TrainConfig(warmup_epochs=0, learning_rate=0.05, weight_decay=0.0)
OPTIMIZER = make_optimizer(CONFIG, 10)
STEPS = 4


@pytest.fixture(scope="module", autouse=True)
def anchors(tmp_path_factory):
    """A file of text embeddings, which TagFog needs."""
    path = tmp_path_factory.mktemp("anchors") / "texts.npz"
    np.savez(path, text=np.random.default_rng(0).normal(size=(3, 5)))
    TEXTS["tagfog"] = f"tagfog(anchors={str(path)!r}, width=4)"


def batches():
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        images, others = rng.integers(0, 256, (2, 6, 16, 16, 3)).astype(np.uint8)
        labels = np.tile(np.arange(3, dtype=np.int32), 2)
        yield TrainingBatch(images, labels, np.ones(6, np.float32), others)


def begun(text):
    objective = objectives.parse(text)
    state = state_lib.create_state(MODEL, objective, OPTIMIZER, (16, 16, 3), 0)
    return objective, jax.device_get(state)


@functools.cache
def compiled(name, devices):
    """(state, batch) -> (state, metrics), all on the host, and the first state."""
    objective, state = begun(TEXTS.get(name, name))
    mesh = sharding.data_mesh(jax.devices()[:devices])
    shardings = jax.tree.map(lambda _: sharding.replicated(mesh), state)
    plain = step_lib.make_step(MODEL, objective, OPTIMIZER, PREPROCESSING)
    step = step_lib.compile_step(plain, shardings)

    def one(state, batch):
        outliers = sharding.shard_batch(batch.outliers, mesh)
        placed = sharding.shard_batch(tuple(batch[:3]), mesh)
        state = jax.device_put(state, shardings)
        return jax.device_get(step(state, TrainingBatch(*placed, outliers)))

    return one, state


@functools.cache
def run(name):
    """The states and metrics of some steps on one device."""
    step, state = compiled(name, 1)
    states, metrics = [], []
    for batch in batches():
        state, found = step(state, batch)
        states.append(state)
        metrics.append(found)
    return states, metrics


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_steps_are_finite_and_reach_what_is_trained(name):
    states, metrics = run(name)
    for found in metrics:
        for part, value in found.items():
            assert np.isfinite(value.total), part
    _, start = begun(TEXTS.get(name, name))
    chex.assert_tree_all_finite(states[-1].variables)
    chex.assert_trees_all_equal_shapes_and_dtypes(states[-1], start)
    moved = jax.tree.map(
        lambda a, b: bool((a != b).any()), start.trained, states[-1].trained
    )
    idle = [
        jax.tree_util.keystr(path)
        for path, changed in jax.tree_util.tree_leaves_with_path(moved)
        # A bias before BatchNorm, and G-ODIN's of a classifier without one, stay.
        if not changed and not jax.tree_util.keystr(path).endswith("['bias']")
    ]
    assert not idle


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_devices_give_the_losses_and_the_state_of_one(name):
    """From the same state in each step: rounding that flips a ReLU adds up.

    In the later steps queues are full and turn, and outliers are drawn from them.
    """
    states, losses = run(name)
    step, before = compiled(name, devices=2)
    for batch, one, expected in zip(batches(), states, losses, strict=True):
        two, found = step(before, batch)
        for part in expected:
            np.testing.assert_allclose(
                found[part].total,
                expected[part].total,
                rtol=1e-3 if part == "gradient_norm" else 1e-5,
                atol=1e-5,
                err_msg=part,
            )
        chex.assert_trees_all_close(
            two.model_state, one.model_state, rtol=1e-5, atol=1e-5
        )
        chex.assert_trees_all_close(two.trained, one.trained, rtol=1e-3, atol=1e-4)
        before = one


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_class_gives_a_finite_step(name):
    """There is nothing to push apart then, and prototypes of the others stay at 0."""
    step, state = compiled(name, 1)
    for batch in list(batches())[:2]:
        state, metrics = step(state, batch._replace(label=np.ones(6, np.int32)))
        chex.assert_tree_all_finite((state.variables, metrics))


@pytest.mark.slow
@pytest.mark.parametrize("name", STATE)
def test_a_state_from_a_checkpoints_tree_goes_on_bit_for_bit(name):
    states, _ = run(name)
    saved = jax.tree.map(np.array, states[1].as_saved())
    step, fresh = compiled(name, 1)
    state = fresh.from_saved(saved)
    for batch in list(batches())[2:]:
        state, _ = step(state, batch)
    jax.tree.map(np.testing.assert_array_equal, state.variables, states[-1].variables)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["npos", "vos"])
def test_queues_fill_in_the_first_steps_and_the_outliers_begin(name):
    _, metrics = run(name)
    filled = [float(found["queue_filled"].total) for found in metrics]
    assert filled[0] == 0
    assert filled[-1] == 1
    told = {"npos": "outlier_loss", "vos": "virtual_outliers"}[name]
    counts = [float(found[told].count) for found in metrics]
    assert counts[0] == 0
    assert counts[-1] == 1
    assert metrics[-1][told].total > 0
