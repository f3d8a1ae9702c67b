"""An objective from outside that adds collections: a run carries them like its own."""

import dataclasses

from flax import traverse_util
from helpers import tiny_run
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import models
from jood.training import loop
from jood.training import objectives
from jood.training import periodic
from jood.training import state as state_lib
from jood.weights import checkpoint
from jood.weights import run_checkpoint

WIDTH = 4  # of what the projector maps to


class DiedError(Exception):
    pass


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    """Makes `contrast` known for the time of a test."""
    monkeypatch.setattr(
        objectives, "_FACTORIES", {**objectives._FACTORIES, "contrast": contrast}
    )


def contrast(weight: float = 0.1) -> objectives.Objective:
    """Cross-entropy, and projected features that keep away from their own mean."""
    plain = objectives.cross_entropy()

    def init(key, width):
        kernel = jax.random.normal(key, (width, WIDTH)) / width
        return {"projector": {"kernel": kernel}, "centre": {"mean": jnp.zeros(WIDTH)}}

    def projected(outputs):
        return outputs.acts.penultimate @ outputs.added["projector"]["kernel"]

    def loss(outputs, key):
        distance = projected(outputs) - outputs.added["centre"]["mean"][None]
        pull = jnp.exp(-(distance**2).sum(-1)).mean()
        parts = {"pull": objectives.Part(pull, jnp.float32(1))}
        return plain.loss(outputs, key)[0] + weight * pull, parts

    def update(outputs):
        mean = outputs.added["centre"]["mean"]
        return {"centre": {"mean": 0.9 * mean + 0.1 * projected(outputs).mean(0)}}

    return objectives.Objective(
        f"contrast(weight={weight})", loss, init=init, state=("centre",), update=update
    )


def config(**changes):
    return dataclasses.replace(tiny_run.CONFIG, objective="contrast", **changes)


def train(folder, config, model=tiny_run.MODEL, **options):
    return loop.train(config, tiny_run.data(), model, folder, **options)


@pytest.mark.slow
def test_a_projector_is_trained_and_a_state_updated_and_both_resume(tmp_path):
    whole = train(tmp_path / "whole", config())

    def die(variables):
        raise DiedError

    keeping = periodic.LoopOptions(checkpoint_every=3)
    with pytest.raises(DiedError):  # in step 4, of which nothing is saved
        train(tmp_path / "died", config(), validate=die, keeping=keeping)
    resumed = train(tmp_path / "died", config())
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    assert (tmp_path / "died" / "8").is_dir()
    with run_checkpoint.manager(tmp_path / "died", create=False) as opened:
        tree = opened.item_metadata(8)["state"].tree
    assert "projector" in tree["trained"]
    assert "centre" in tree
    names = {"/".join(k) for k in traverse_util.flatten_dict(tree["opt_state"][-1][0])}
    assert any("projector" in name for name in names)
    assert not any("centre" in name for name in names)
    begun = contrast().init(jax.random.fold_in(jax.random.key(0), 1), 16)
    kernel = begun["projector"]["kernel"]
    assert np.abs(whole["projector"]["kernel"] - kernel).max() > 1e-6
    assert (whole["centre"]["mean"] != 0).all()


@pytest.mark.slow
def test_a_network_with_added_collections_is_opened_and_saved(tmp_path):
    model = models.create("resnet_small", 8)
    trained = train(tmp_path / "run", config(epochs=1), model)
    network = checkpoint.open(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, dict(network.variables), trained)
    checkpoint.save(tmp_path / "saved", network)
    again = checkpoint.open(tmp_path / "saved").variables
    jax.tree.map(np.testing.assert_array_equal, dict(again), trained)
    further = train(
        tmp_path / "further", config(epochs=1, init_from=str(tmp_path / "run")), model
    )
    assert np.abs(further["projector"]["kernel"]).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken",
    [
        {"init": lambda key, width: {"params": {}}, "state": ()},
        {"init": lambda key, width: {"opt_state": {}}, "state": ()},
        {"init": lambda key, width: {}, "state": ("centre",)},
    ],
)
def test_a_collection_under_a_name_that_is_taken_is_refused(broken):
    objective = contrast()._replace(**broken)
    with pytest.raises(ValueError, match="no name may be one of batch_stats, "):
        state_lib.create_state(tiny_run.MODEL, objective, None, (32, 32, 3), 0)
