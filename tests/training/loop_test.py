"""The loop: it learns, logs, stops and resumes; clear failures."""

import csv
import dataclasses
import json
import logging
import os
import re
import shutil
import signal
import threading
import time

from helpers import tiny_network
from helpers import tiny_run
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from tensorboard.backend.event_processing import event_accumulator

from jood import models
from jood.data import benchmarks
from jood.data.benchmarks import choose_preprocessing
from jood.data.sources import subset
from jood.training import data as data_lib
from jood.training import loop
from jood.training import metric_logs
from jood.training import periodic
from jood.training import preemption
from jood.weights import checkpoint
from jood.weights import run_checkpoint


def train(folder, config=tiny_run.CONFIG, model=tiny_run.MODEL, data=None, **options):
    return loop.train(config, data or tiny_run.data(), model, folder, **options)


def measure(variables):
    return {"accuracy": 0.5, "noise_fpr95_energy": 0.25}


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """The folder of a whole run that logs every step, and its network."""
    folder = tmp_path_factory.mktemp("logged") / "run"
    keeping = periodic.LoopOptions(log_every=1)
    return folder, train(folder, validate=measure, keeping=keeping)


@pytest.mark.slow
def test_training_learns(tmp_path):
    model = models.create("resnet_small", 8, width=8)
    config = dataclasses.replace(tiny_run.CONFIG, epochs=20)
    variables = train(tmp_path / "run", config, model)
    benchmark = tiny_run.few()
    images = benchmark.preprocessing(benchmark.id_train.images)
    logits = model.apply(variables, images)
    accuracy = (np.argmax(logits, -1) == benchmark.id_train.labels).mean()
    assert accuracy > 0.3  # chance is 0.125


def stops_and_goes_on(folder, config, whole):
    def stop(variables):
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    with pytest.raises(preemption.StoppedError, match="step 5 of 8"):
        train(folder, config, validate=stop)
    resumed = train(folder, config)
    starts = (folder / "starts.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in starts] == [0, 5]
    assert json.loads(starts[0])["versions"]["jax"] == jax.__version__
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_parameters(logged, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "jood"):
        stops_and_goes_on(tmp_path, tiny_run.CONFIG, logged[1])
    assert "continuing at step 5 of 8" in caplog.text


@pytest.mark.slow
def test_so_does_one_of_many_random_draws(tmp_path):
    config = dataclasses.replace(
        tiny_run.CONFIG,
        objective="ssod(gamma=0.6, balance='dr')",
        augment=("crop", "flip", "jitter"),
        optimizer="adamw",
        schedule="cosine",
        accumulate=2,
    )
    stops_and_goes_on(tmp_path / "stopped", config, train(tmp_path / "whole", config))


@pytest.mark.slow
def test_sigterm_in_mid_epoch_saves_the_step_and_leaves_the_handler(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    config = dataclasses.replace(tiny_run.CONFIG, epochs=500)

    def when_it_runs():
        while not (tmp_path / "train.csv").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=when_it_runs)
    killer.start()
    with pytest.raises(preemption.StoppedError, match="resumes there"):
        train(tmp_path, config, keeping=periodic.LoopOptions(log_every=1))
    killer.join()
    assert signal.getsignal(signal.SIGTERM) is before
    steps = [int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()]
    assert steps == [int(rows(tmp_path / "train.csv")[-1]["step"])]


@pytest.mark.slow
def test_a_run_in_a_thread_trains_without_a_handler(tmp_path):
    found = []
    config = dataclasses.replace(tiny_run.CONFIG, epochs=1)
    thread = threading.Thread(target=lambda: found.append(train(tmp_path, config)))
    thread.start()
    thread.join()
    assert "params" in found[0]


@pytest.mark.slow
def test_a_finished_run_returns_its_network_again(logged):
    folder, network = logged
    rows = (folder / "train.csv").read_text()
    jax.tree.map(np.testing.assert_array_equal, train(folder), network)
    assert (folder / "train.csv").read_text() == rows


# Where a run begins


@pytest.fixture(scope="module")
def other_network(tmp_path_factory):
    """A saved network of two classes; `train` has eight."""
    model = models.create("resnet_small", 2)
    folder = tmp_path_factory.mktemp("network") / "saved"
    checkpoint.save(
        folder,
        checkpoint.TrainedNetwork(
            model=model,
            variables=tiny_network.random_variables(model),
            name="resnet_small",
            class_names=("cat", "dog"),
            preprocessing=tiny_run.data().preprocessing,
            image_size=32,
            source={},
        ),
    )
    return str(folder)


def initial(config, model=tiny_run.MODEL, variables=None):
    return loop._initial_variables(config, tiny_run.data(), model, variables)


@pytest.mark.slow
def test_a_run_begins_with_the_network_that_its_configuration_names(logged, tmp_path):
    _, network = logged
    config = dataclasses.replace(tiny_run.CONFIG, init_from=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="there is no checkpoint folder"):
        train(tmp_path / "run", config)
    # The same network as an argument is begun with, without reading the folder.
    given = initial(config, variables=network)
    jax.tree.map(np.testing.assert_array_equal, given, network)
    assert initial(tiny_run.CONFIG) is None


@pytest.mark.slow
def test_a_configuration_that_asks_for_a_new_head_gets_one(other_network):
    config = dataclasses.replace(tiny_run.CONFIG, init_from=other_network)
    model = models.create("resnet_small", 8)
    with pytest.raises(ValueError, match=r"2 classes, but .* has 8.*--new_head"):
        initial(config, model)
    begun = initial(dataclasses.replace(config, new_head=True), model)
    saved = checkpoint.open(other_network).variables
    for name in ("conv1", "C5"):
        jax.tree.map(
            np.testing.assert_array_equal, begun["params"][name], saved["params"][name]
        )
    assert begun["params"]["head"]["kernel"].shape == (64, 8)
    with pytest.raises(ValueError, match="made for another architecture"):
        initial(dataclasses.replace(config, new_head=True), tiny_run.MODEL)


@pytest.fixture
def slow_disk(monkeypatch):
    """Makes a checkpoint complete half a second after its step."""
    finalize = ocp.StandardCheckpointHandler.finalize

    def later(*args, **options):
        time.sleep(0.5)
        return finalize(*args, **options)

    monkeypatch.setattr(ocp.StandardCheckpointHandler, "finalize", later)


@pytest.mark.slow
@pytest.mark.usefixtures("slow_disk")
def test_nan_loss_stops_with_step_rate_and_the_last_good_checkpoint(tmp_path):
    config = dataclasses.replace(
        tiny_run.CONFIG, epochs=3, learning_rate=1e38, warmup_epochs=2
    )
    message = (
        r"(loss|gradient norm) is (nan|inf) in step (\d), at learning rate (\S+)\. "
        rf"The last good checkpoint is {tmp_path}/(\d)\."
    )
    with pytest.raises(FloatingPointError, match=message) as error:
        train(tmp_path, config, keeping=periodic.LoopOptions(checkpoint_every=1))
    _, _, step, rate, kept = re.search(message, str(error.value)).groups()
    assert int(kept) < int(step)
    # The one that was being written when the loss was NaN counts.
    assert kept == max(p.name for p in tmp_path.iterdir() if p.name.isdigit())
    # Warm-up is linear over 8 steps.
    assert float(rate) == pytest.approx(1e38 * (int(step) - 1) / 8, rel=1e-3)
    assert not (tmp_path / step).exists()
    saved = run_checkpoint.load_variables(tmp_path, tiny_run.MODEL, (32, 32, 3))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved))
    without = dataclasses.replace(config, warmup_epochs=0)
    with pytest.raises(FloatingPointError, match="There is no checkpoint before it"):
        train(tmp_path / "other", without)


# The log


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_log_has_a_row_a_step(logged):
    folder, _ = logged
    found = rows(folder / "train.csv")
    assert [int(row["step"]) for row in found] == list(range(1, 9))
    assert {"loss", "accuracy", "learning_rate", "gradient_norm"} <= set(found[0])
    measured = rows(folder / "validation.csv")
    assert [row["step"] for row in measured] == ["4", "8"]
    assert measured[0]["noise_fpr95_energy"] == "0.25"


@pytest.mark.slow
def test_the_log_goes_on_without_a_row_twice(tmp_path):
    keep = periodic.LoopOptions(log_every=1, checkpoint_every=3, validate_every=0)
    train(tmp_path, keeping=keep)
    found = rows(tmp_path / "train.csv")
    # As if the process had died in step 8, in the middle of a row.
    shutil.rmtree(tmp_path / "8")
    text = (tmp_path / "train.csv").read_text()
    (tmp_path / "train.csv").write_text(text[:-9])
    train(tmp_path, keeping=keep)
    again = rows(tmp_path / "train.csv")
    fields = [k for k in found[0] if k != "images_per_second"]
    assert [[r[k] for k in fields] for r in again] == [
        [r[k] for k in fields] for r in found
    ]


def test_tensorboard_reads_the_events(logged):
    folder, _ = logged
    events = event_accumulator.EventAccumulator(str(folder))
    events.Reload()
    found = events.Scalars("train/loss")
    assert [event.step for event in found] == list(range(1, 9))
    losses = [float(row["loss"]) for row in rows(folder / "train.csv")]
    np.testing.assert_allclose([event.value for event in found], losses, rtol=1e-5)
    assert [e.value for e in events.Scalars("validation/accuracy")] == [0.5, 0.5]


def test_a_log_is_written_by_one_process_only(tmp_path):
    with metric_logs.Log(tmp_path, 0, writes=False) as log:
        log.write(metric_logs.TRAIN, 1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_what_is_due_when():
    keeping = periodic.LoopOptions(log_every=3, validate_every=2, checkpoint_every=5)
    due = {s: periodic.Plan(4, 18, keeping).due(s) for s in range(1, 19)}
    assert [s for s, d in due.items() if d.validate] == [8, 16, 18]
    assert [s for s, d in due.items() if d.save] == [5, 8, 10, 15, 16, 18]
    assert [s for s, d in due.items() if d.log] == [3, 5, 6, 8, 9, 10, 12, 15, 16, 18]
    by_epoch = periodic.Plan(4, 10, periodic.LoopOptions(validate_every=0))
    assert [s for s in range(1, 11) if by_epoch.due(s).save] == [4, 8, 10]
    assert not any(by_epoch.due(s).validate for s in range(1, 11))
    with pytest.raises(ValueError, match="log_every must be >= 0"):
        periodic.LoopOptions(log_every=-1)


# Data


def test_held_out_images_are_validated_on_and_not_trained_on():
    data = tiny_run.data(100, held_out=10)
    assert (len(data.train), len(data.validation)) == (90, 10)
    whole = tiny_run.few(100).id_train
    kept, held = subset.hold_out(whole, 10)
    np.testing.assert_array_equal(data.validation.images[3], held[3]["image"])
    np.testing.assert_array_equal(data.train.labels[7], kept[7]["label"])


def test_without_a_part_held_out_some_training_images_are_watched():
    data = tiny_run.data(100)
    assert (len(data.train), len(data.validation)) == (100, 5)
    np.testing.assert_array_equal(data.validation.images[1], data.train.images[20])


def test_without_labels_nothing_is_begun():
    whole = tiny_run.few()
    bare = dataclasses.replace(whole, id_train=whole.ood["near"])
    with pytest.raises(ValueError, match="training needs labels"):
        data_lib.of_benchmark(bare)


@pytest.mark.slow
@pytest.mark.parametrize("crop", ["crop", "resized_crop"])
def test_a_crop_is_cut_from_the_resized_image(data_dir, crop):
    """CIFAR's images as if they were large: resized to 40, cropped to 32."""
    from jood.core.preprocessing import Preprocessing

    closer = Preprocessing((0.5,) * 3, (0.25,) * 3, resize=40, crop=32)
    config = dataclasses.replace(
        tiny_run.CONFIG, benchmark="cifar100", augment=(crop,), hold_out=10
    )
    data = data_lib.open_data(config, data_dir=data_dir, preprocessing=closer)
    assert data.train[0]["image"].shape == (40, 40, 3)
    assert data.validation[0]["image"].shape == (32, 32, 3)
    assert len(data.train) == 9 * len(data.validation) == 4500
    np.testing.assert_array_equal(
        data.train[0]["image"][4:36, 4:36],
        data_lib.open_data(
            dataclasses.replace(config, augment=()),
            data_dir=data_dir,
            preprocessing=closer,
        ).train[0]["image"],
    )


def test_what_a_crop_is_cut_from_is_what_the_preprocessing_resizes_to():
    for name, side in (("waterbirds", 256), ("imagenet", 256), ("cifar10", None)):
        spec = benchmarks.describe(name)
        preprocessing = choose_preprocessing.for_files(spec, None, spec.image_size)
        found = data_lib._before_crop(preprocessing, spec.image_size)
        assert found.crop == side, name
    # CIFAR's at 224 pixels, as SSOD has them, are enlarged to 256 first.
    large = choose_preprocessing.for_files(benchmarks.describe("cifar10"), None, 224)
    assert large.resize == (224, 224)
    assert data_lib._before_crop(large, 32).resize == (256, 256)


def test_a_missing_training_set_is_named(tmp_path):
    config = dataclasses.replace(tiny_run.CONFIG, benchmark="cifar10")
    with pytest.raises(FileNotFoundError, match="lacks its ID set"):
        data_lib.open_data(config, data_dir=tmp_path)


def test_the_run_folder_says_which_network_it_holds(logged):
    config = run_checkpoint.read_config(logged[0])
    assert config["class_names"] == list("01234567")
    assert config["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    # Its fields too, where they are not those that its name stands for.
    assert checkpoint.open(logged[0]).model == tiny_run.MODEL
