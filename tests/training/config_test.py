"""Configurations of runs, their schedules and optimisers."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jood.training import config as config_lib
from jood.training import optimizer as optimizer_lib


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schedule", "linear", "one of cosine, step, constant"),
        ("optimizer", "adam", "one of nesterov, sgd, adamw"),
        ("dtype", "int8", "one of float32, bfloat16"),
        ("decay_epochs", (3.0,), "schedule='step' need each other"),
        ("decay_epochs", (-1.0,), "must rise from above 0 to below epochs = 16"),
        ("decay_epochs", (2.0, 2.0), "must rise from above 0"),
        ("decay_epochs", (3.0, 16.0), "must rise from above 0"),
        ("decay_epochs", (float("nan"),), "must rise from above 0"),
        ("augment", ("crop", "crop"), "augmentations must differ"),
        ("decay_factor", 1.0, r"in \(0, 1\)"),
        ("warmup_epochs", 99.0, "<= epochs"),
        ("epochs", 0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("learning_rate", float("inf"), "above 0"),
        ("momentum", 1.0, r"\[0, 1\)"),
        ("clip_norm", -1.0, ">= 0"),
        ("accumulate", 3, "batch_size must be divisible"),
        ("accumulate", 0, "above 0"),
        ("hold_out", 1, "0 or at least 2"),
        ("jitter", (0.4, 0.4, 0.4), "jitter must be four strengths"),
        ("jitter", (0.4, 0.4, 0.4, 0.6), "of the hue <= 0.5"),
        ("jitter_probability", 1.1, r"in \[0, 1\]"),
        ("augment", ("flop",), "augmentation 'flop'.*near: flip"),
        ("objective", "lff(delta=3)", "delta must be"),
        ("objective", "lof", "unknown objective.*near: lff"),
    ],
)
def test_bad_configuration_is_named(field, value, message):
    with pytest.raises(ValueError, match=message) as error:
        config_lib.TrainConfig(**{field: value})
    assert field in str(error.value) or field == "objective"


def test_all_problems_are_named_at_once():
    with pytest.raises(ValueError, match=r"epochs.*seed.*dtype"):
        config_lib.TrainConfig(epochs=0, seed=-1, dtype="x")


def test_equal_runs_have_equal_texts():
    one = config_lib.TrainConfig(objective="lff", augment=("crop",))
    other = config_lib.TrainConfig(objective="lff( delta=0.1 )", augment=("crop",))
    assert one == other
    assert one.as_json() == json.loads(json.dumps(one.as_json()))


def rates(steps, steps_per_epoch, **fields):
    config = config_lib.TrainConfig(**fields)
    rate = optimizer_lib.learning_rate_schedule(config, steps_per_epoch)
    return [float(rate(step)) for step in steps]


def test_cosine_schedule_warms_up_and_falls_to_zero():
    found = rates((0, 5, 10, 30, 50), 5, epochs=10, learning_rate=0.2, warmup_epochs=2)
    np.testing.assert_allclose(found, [0, 0.1, 0.2, 0.1, 0], rtol=1e-6, atol=1e-8)


def test_step_schedule_decays_tenfold_at_its_epochs():
    fields = {"schedule": "step", "decay_epochs": (3, 5), "learning_rate": 1.0}
    found = rates((10, 29, 31, 49, 51), 10, epochs=6, warmup_epochs=1, **fields)
    np.testing.assert_allclose(found, [1.0, 1.0, 0.1, 0.1, 0.01], rtol=1e-6)


def test_ssods_schedule_halves_every_thirty_epochs():
    fields = {"schedule": "step", "decay_epochs": (30, 60), "decay_factor": 0.5}
    found = rates(
        (0, 299, 301, 601), 10, epochs=90, warmup_epochs=0, learning_rate=1e-4, **fields
    )
    np.testing.assert_allclose(found, [1e-4, 1e-4, 5e-5, 2.5e-5], rtol=1e-6)


def test_constant_schedule():
    fields = {"schedule": "constant", "learning_rate": 0.3, "warmup_epochs": 0}
    np.testing.assert_allclose(rates((0, 7, 99), 10, epochs=10, **fields), 0.3)


PARAMS = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}


def update(config, gradient=0.0):
    optimizer = optimizer_lib.make_optimizer(config, 10)
    state = optimizer.init(PARAMS)
    grads = jax.tree.map(lambda leaf: jnp.full_like(leaf, gradient), PARAMS)
    trail = []
    params = PARAMS
    for _ in range(3):
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        trail.append(params)
    return trail


@pytest.mark.parametrize("name", config_lib.OPTIMIZERS)
def test_weight_decay_spares_biases(name):
    config = config_lib.TrainConfig(
        optimizer=name, weight_decay=0.5, warmup_epochs=0, schedule="constant"
    )
    moved = update(config)[0]
    assert (moved["kernel"] < 1).all()
    np.testing.assert_array_equal(moved["bias"], PARAMS["bias"])


def test_sgd_has_pytorchs_momentum_and_nesterov_its_form():
    config = config_lib.TrainConfig(
        optimizer="sgd",
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.0,
        warmup_epochs=0,
        schedule="constant",
    )

    def by_hand(nesterov):
        p, velocity, trail = 1.0, 0.0, []
        for _ in range(3):
            velocity = 0.9 * velocity + 2.0
            p -= 0.1 * (2.0 + 0.9 * velocity if nesterov else velocity)
            trail.append(p)
        return trail

    for name in ("sgd", "nesterov"):
        trail = update(dataclasses.replace(config, optimizer=name), gradient=2.0)
        found = [float(params["bias"][0]) for params in trail]
        np.testing.assert_allclose(found, by_hand(name == "nesterov"), rtol=1e-6)


@pytest.mark.parametrize("name", config_lib.OPTIMIZERS)
def test_a_long_gradient_is_shortened_and_a_short_one_is_not(name):
    fields = {"optimizer": name, "weight_decay": 0.5, "warmup_epochs": 0}
    plain = config_lib.TrainConfig(schedule="constant", **fields)
    clipped = dataclasses.replace(plain, clip_norm=2.0)
    # Of 8 numbers g all alike the norm is √8 g: 2 is that of g = 1/√2.
    chex.assert_trees_all_close(update(clipped, 3.0), update(plain, 0.5**0.5))
    chex.assert_trees_all_close(update(clipped, 0.5), update(plain, 0.5))
