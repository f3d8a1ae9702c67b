"""The network that a run began with: kept once, read again, never a random one."""

import dataclasses
import os
import shutil
import signal

from helpers import tiny_network
from helpers import tiny_run
import jax
import numpy as np
import pytest

from jood.training import loop
from jood.training import periodic
from jood.training import preemption

CONFIG = dataclasses.replace(tiny_run.CONFIG, objective="lff(delta=0.3, mu=0.1)")


def network(seed=0):
    return tiny_network.random_variables(tiny_run.MODEL, seed=seed)


def train(folder, variables=None, config=CONFIG, **options):
    return loop.train(
        config, tiny_run.data(), tiny_run.MODEL, folder, variables=variables, **options
    )


def stop(variables):
    os.kill(os.getpid(), signal.SIGTERM)
    return {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, train(folder, network())


@pytest.mark.slow
def test_it_is_written_once_and_not_into_the_checkpoints(whole):
    folder, _ = whole
    assert (folder / "start").is_dir()
    saved = {path.name for path in (folder / "8" / "state").iterdir()}
    assert not [name for name in saved if name.startswith("start")]
    metadata = (folder / "8" / "state" / "_METADATA").read_text()
    assert "opt_state" in metadata
    assert "start" not in metadata


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_network_that_it_began_with(whole, tmp_path):
    with pytest.raises(preemption.StoppedError, match="step 5 of 8"):
        train(tmp_path, network(), validate=stop)
    # What it was copied from is another network by now.
    resumed = train(tmp_path, network(seed=1))
    jax.tree.map(np.testing.assert_array_equal, resumed, whole[1])


@pytest.mark.slow
def test_a_run_whose_start_is_lost_is_not_continued(whole, tmp_path):
    with pytest.raises(preemption.StoppedError):
        train(tmp_path, network(), validate=stop)
    shutil.rmtree(tmp_path / "start")
    with pytest.raises(ValueError, match=r"start, the network .* is missing.*backup"):
        train(tmp_path, network())


@pytest.mark.slow
def test_another_run_in_a_folder_without_checkpoints_writes_its_own(whole, tmp_path):
    shutil.copytree(whole[0] / "start", tmp_path / "run" / "start")
    train(tmp_path / "run", network(seed=1))
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    for step in ("4", "8"):
        shutil.rmtree(tmp_path / "again" / step)
    found = train(tmp_path / "again", network())
    jax.tree.map(np.testing.assert_array_equal, found, whole[1])


@pytest.mark.slow
@pytest.mark.parametrize("new_head", [False, True])
def test_a_random_start_is_refused(tmp_path, new_head):
    config = dataclasses.replace(
        CONFIG, init_from="somewhere" * new_head, new_head=new_head
    )
    with pytest.raises(ValueError, match=r"expected a trained one.*--init_from"):
        train(tmp_path, network() if new_head else None, config)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_is_split_over_the_devices_with_the_rest(whole, tmp_path):
    keeping = periodic.LoopOptions(split_state=True)
    split = train(tmp_path, network(), keeping=keeping)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5),
        split,
        whole[1],
    )
