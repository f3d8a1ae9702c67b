"""What a data-parallel step sends: the gradient once, and BatchNorm's sums."""

import communication_volume
from helpers import tiny_network
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood._utils import sharding
from jood.core.batch import Batch
from jood.core.preprocessing import Preprocessing
from jood.training import config
from jood.training import objectives
from jood.training import optimizer
from jood.training import state as state_lib
from jood.training import step as step_lib


def traffic(devices, split=False):
    mesh = sharding.data_mesh(jax.devices()[:devices])
    objective = objectives.parse("cross_entropy")
    transformation = optimizer.make_optimizer(config.TrainConfig(), 10)
    state = state_lib.create_state(
        tiny_network.MODEL, objective, transformation, (16, 16, 3), 0
    )
    shardings = jax.tree.map(lambda _: sharding.replicated(mesh), state)
    if split:
        shardings = sharding.split(state, mesh)
    step = step_lib.make_step(
        tiny_network.MODEL,
        objective,
        transformation,
        Preprocessing((0.5,) * 3, (0.25,) * 3),
    )
    batch = Batch(np.zeros((4, 16, 16, 3), np.uint8), np.zeros(4, int), np.ones(4))
    compiled = (
        step_lib.compile_step(step, shardings)
        .lower(jax.device_put(state, shardings), sharding.shard_batch(batch, mesh))
        .compile()
    )
    parameters = sum(x.size for x in jax.tree.leaves(state.trained))
    return communication_volume.collective_bytes(compiled), parameters


@pytest.mark.slow
def test_one_device_sends_nothing():
    assert traffic(1)[0] == {}


@pytest.mark.slow
def test_the_gradient_is_reduced_once():
    found, parameters = traffic(2)
    assert list(found) == ["all-reduce"]
    # Besides: means and variances of BatchNorm, forward and backward, and metrics.
    assert 4 * parameters < found["all-reduce"] < 1.3 * 4 * parameters + 2000


@pytest.mark.slow
def test_a_split_state_is_gathered(monkeypatch):
    monkeypatch.setattr(sharding, "SPLIT_FROM", 64)
    assert "all-gather" in traffic(2, split=True)[0]


@pytest.mark.parametrize(
    ("dtype", "size"), [(jnp.float32, 4), (jnp.int16, 2), (jnp.uint8, 1)]
)
def test_bytes_are_counted_by_type(dtype, size):
    mesh = sharding.data_mesh(jax.devices()[:2])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    gather = jax.jit(lambda x: x, out_shardings=sharding.replicated(mesh))
    x = jax.ShapeDtypeStruct((6, 5), dtype, sharding=rows)
    found = communication_volume.collective_bytes(gather.lower(x).compile())
    assert found == {"all-gather": 30 * size}
