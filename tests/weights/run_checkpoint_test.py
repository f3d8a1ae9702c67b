"""Checkpoints of a run: which are kept, and what is refused or set aside."""

import dataclasses
import gc
import json
import logging
import shutil

from helpers import tiny_run
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import jood
from jood import models
from jood.training import checkpoints
from jood.training import loop
from jood.training import periodic
from jood.weights import checkpoint
from jood.weights import run_checkpoint

ONE = dataclasses.replace(tiny_run.CONFIG, epochs=1)


@pytest.fixture
def _what_orbax_leaves_behind():
    """Ends in the test that caused it, instead of failing whichever runs next.

    Of a damaged checkpoint Orbax leaves reads behind that raise once more, after their
    event loop is closed, when they are collected.
    """
    yield
    gc.collect()


def damages_checkpoints(test):
    ignored = "ignore::pytest.PytestUnraisableExceptionWarning"
    test = pytest.mark.filterwarnings(ignored)(test)
    return pytest.mark.usefixtures("_what_orbax_leaves_behind")(test)


def train(folder, config=ONE, model=tiny_run.MODEL, data=None, **options):
    return loop.train(config, data or tiny_run.data(), model, folder, **options)


def without_architecture(folder):
    """Makes a run's folder that of a jood that recorded no fields of the model."""
    path = folder / run_checkpoint.CONFIG
    content = json.loads(path.read_text())
    del content["architecture"]
    path.write_text(json.dumps(content))
    return folder


def steps(folder):
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of eight steps with checkpoints of the last two."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    keeping = periodic.LoopOptions(checkpoint_every=1, validate_every=0)
    config = dataclasses.replace(tiny_run.CONFIG, epochs=2)
    return folder, config, keeping, train(folder, config, keeping=keeping)


@pytest.mark.slow
def test_the_last_two_and_the_best_are_kept(tmp_path):
    fpr = iter([0.5, 0.2, 0.4, 0.3, 0.6])

    def validate(variables):
        return {"noise_fpr95_energy": next(fpr), "accuracy": 0.5}

    config = dataclasses.replace(tiny_run.CONFIG, epochs=5)
    keeping = periodic.LoopOptions(best="noise_fpr95_energy")
    last = train(tmp_path, config, validate=validate, keeping=keeping)
    assert steps(tmp_path) == [8, 16, 20]

    def load(which):
        return run_checkpoint.load_variables(
            tmp_path, tiny_run.MODEL, (32, 32, 3), which
        )

    jax.tree.map(np.testing.assert_array_equal, load("last"), last)
    best = load("best")
    assert (best["params"]["head"]["kernel"] != last["params"]["head"]["kernel"]).any()
    with pytest.raises(ValueError, match="one of last, best"):
        load("worst")


@pytest.mark.slow
def test_the_best_is_known_to_a_run_that_goes_on(tmp_path):
    def validate(values):
        values = iter(values)
        return lambda variables: {"accuracy": next(values)}

    keeping = periodic.LoopOptions(best="accuracy")
    config = dataclasses.replace(tiny_run.CONFIG, epochs=4, schedule="constant")

    class DiedError(Exception):
        pass

    def until_it_dies(values):
        measure = validate(values)

        def call(variables):
            try:
                return measure(variables)
            except StopIteration:
                raise DiedError from None

        return call

    with pytest.raises(DiedError):
        train(tmp_path, config, validate=until_it_dies([0.9, 0.1]), keeping=keeping)
    train(tmp_path, config, validate=validate([0.2, 0.3]), keeping=keeping)
    assert steps(tmp_path) == [4, 12, 16]


@pytest.mark.slow
def test_without_a_validation_there_is_no_best(trained):
    folder, *_ = trained
    with pytest.raises(FileNotFoundError, match=r"no checkpoint.*has a validation"):
        run_checkpoint.load_variables(folder, tiny_run.MODEL, (32, 32, 3), "best")


@pytest.mark.slow
def test_what_an_objective_adds_travels_with_the_network(trained, tmp_path):
    """As does the projector of a contrastive objective, which no model has."""
    folder, *_ = trained
    copy = without_architecture(shutil.copytree(folder, tmp_path / "copy"))
    model = models.create("resnet_small", 8)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 32, 32, 3), "f"))
    projector = {"projector": {"dense": {"kernel": np.ones((64, 4), "f")}}}
    state = {
        "trained": {"params": variables["params"], **projector},
        "batch_stats": variables["batch_stats"],
    }
    with run_checkpoint.manager(copy, create=False) as opened:
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(state), position=ocp.args.JsonSave({})
        )
        opened.save(9, args=arguments)
    network = checkpoint.open(copy)
    expected = {**state["trained"], "batch_stats": variables["batch_stats"]}
    jax.tree.map(np.testing.assert_array_equal, dict(network.variables), expected)
    checkpoint.save(tmp_path / "saved", network)
    again = checkpoint.open(tmp_path / "saved").variables
    jax.tree.map(np.testing.assert_array_equal, dict(again), expected)
    loaded = checkpoint.load_variables(tmp_path / "saved", model)
    jax.tree.map(np.testing.assert_array_equal, loaded, expected)
    detector = jood.Detector("energy()", model, again, network.preprocessing)
    detector.save(tmp_path / "detector")
    kept = jood.Detector.load(tmp_path / "detector").variables
    jax.tree.map(np.testing.assert_array_equal, dict(kept), expected)
    tensors = jood.weights.to_torch_names(model, again, "torchvision")
    assert not [name for name in tensors if "projector" in name]


@pytest.mark.slow
def test_folder_of_another_configuration_is_refused(trained):
    folder, config, *_ = trained
    other = dataclasses.replace(config, epochs=3, objective="ssod")
    with pytest.raises(ValueError, match="epochs: there 2, now 3; objective: there"):
        train(folder, other)


@pytest.mark.slow
def test_a_checkpoint_of_another_architecture_lists_the_differences(trained, tmp_path):
    folder, config, keeping, _ = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    wider = models.create("resnet_small", 8, width=8)
    with pytest.raises(ValueError, match=r"another configuration .architecture: there"):
        train(copy, config, wider, keeping=keeping)
    without_architecture(copy)
    with pytest.raises(ValueError, match="of another architecture, optimiser") as error:
        train(copy, config, wider, keeping=keeping)
    assert "model (" in str(error.value)
    assert steps(copy) == steps(folder)  # nothing is set aside
    with pytest.raises(ValueError, match="another architecture") as error:
        run_checkpoint.load_variables(folder, wider, (32, 32, 3))
    assert "params/head/kernel (model (32, 8), file (16, 8))" in str(error.value) or (
        "more" in str(error.value)
    )


@pytest.mark.slow
def test_a_data_set_that_shrank_between_runs_is_refused(trained, tmp_path):
    folder, config, keeping, _ = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    message = r"examples: then 256, now 255.*Bring the data back.*--init_from="
    with pytest.raises(ValueError, match=message):
        train(copy, config, data=tiny_run.data(255), keeping=keeping)
    assert steps(copy) == steps(folder)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
@damages_checkpoints
@pytest.mark.parametrize("how", ["half", "empty", "gone"])
def test_a_truncated_checkpoint_is_put_aside_for_the_one_before(
    trained, tmp_path, caplog, how
):
    folder, config, keeping, whole = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    largest = max(files(copy / "8" / "state"), key=lambda path: path.stat().st_size)
    blob = largest.read_bytes()
    largest.unlink()
    if how != "gone":
        largest.write_bytes(blob[: len(blob) // 2] if how == "half" else b"")
    with caplog.at_level(logging.INFO, "jood"):
        again = train(copy, config, keeping=keeping)
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "the checkpoint of step 8 is truncated or damaged" in told
    assert "continuing at step 7 of 8" in told
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    assert (copy / "8.damaged").is_dir()
    assert steps(copy) == [7, 8]


@damages_checkpoints
@pytest.mark.slow
def test_any_file_that_is_cut_is_survived_or_noticed(trained, tmp_path):
    """Whichever file of a checkpoint is truncated, the run ends as it would have."""
    folder, config, keeping, whole = trained
    names = [path.relative_to(folder) for path in files(folder / "8")]
    assert len(names) > 8
    for number, name in enumerate(names):
        copy = shutil.copytree(folder, tmp_path / str(number))
        blob = (copy / name).read_bytes()
        (copy / name).write_bytes(blob[: len(blob) // 2])
        again = train(copy, config, keeping=keeping)
        jax.tree.map(np.testing.assert_array_equal, again, whole)


@pytest.mark.slow
@damages_checkpoints
def test_if_no_checkpoint_is_whole_the_run_does_not_begin_anew(trained, tmp_path):
    folder, config, keeping, _ = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    for step in steps(copy):
        (copy / str(step) / "position" / "metadata").write_text("{")
    for _ in range(2):  # a scheduler gives the same command again
        with pytest.raises(ValueError, match=r"none of.*is whole: 8, 7\. Restore one"):
            train(copy, config, keeping=keeping)
        assert steps(copy) == steps(folder)


@pytest.mark.parametrize(
    "error", [PermissionError("no"), OSError("RESOURCE_EXHAUSTED")]
)
def test_a_checkpoint_that_the_machine_cannot_read_now_is_left_alone(
    trained, tmp_path, monkeypatch, error
):
    folder, config, keeping, _ = trained
    copy = shutil.copytree(folder, tmp_path / "copy")

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(ocp.CheckpointManager, "restore", fails)
    with pytest.raises(OSError, match=r"cannot read the checkpoint.*left as it is"):
        train(copy, config, keeping=keeping)
    assert steps(copy) == steps(folder)


@pytest.mark.slow
def test_two_runs_at_once_in_one_folder_are_refused(tmp_path):
    found = []

    def validate(variables):
        with pytest.raises(OSError, match="another process is training in") as error:
            train(tmp_path)
        found.append(error)
        return {}

    train(tmp_path, validate=validate)
    assert found
    train(tmp_path)  # and afterwards it is free


@pytest.mark.slow
def test_a_run_without_a_checkpoint_yields_to_a_mended_command(tmp_path):
    wrong = dataclasses.replace(ONE, batch_size=5000)
    with pytest.raises(ValueError, match="expected at least 5000"):
        train(tmp_path, wrong)
    train(tmp_path)
    with pytest.raises(ValueError, match="batch_size: there 64, now 5000"):
        train(tmp_path, wrong)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"checkpoints but no config\.json"):
        train(tmp_path)


@pytest.mark.slow
def test_the_best_is_on_the_metric_that_the_run_goes_by_now(tmp_path):
    config = dataclasses.replace(tiny_run.CONFIG, epochs=3)
    values = iter([(0.9, 0.9), (0.2, 0.1), (0.3, 0.2)])

    class DiedError(Exception):
        pass

    def validate(variables):
        accuracy, fpr = next(values)
        return {"accuracy": accuracy, "noise_fpr95_energy": fpr}

    def once(variables):
        if steps(tmp_path):
            raise DiedError
        return validate(variables)

    keeping = periodic.LoopOptions(best="noise_fpr95_energy")
    with pytest.raises(DiedError):
        train(tmp_path, config, validate=once, keeping=keeping)
    keeping = periodic.LoopOptions(best="accuracy")
    train(tmp_path, config, validate=validate, keeping=keeping)
    with run_checkpoint.manager(tmp_path, create=False) as opened:
        assert run_checkpoint._chosen(opened, tmp_path, "best") == 4


def test_a_validation_of_too_few_images_is_refused():
    with pytest.raises(ValueError, match="one image in 50 leaves fewer than 10 of 256"):
        tiny_run.data(held_out=50)


@damages_checkpoints
def test_a_damaged_checkpoint_is_no_network(trained, tmp_path):
    folder, *_ = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    largest = max(files(copy / "8" / "state"), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"")
    with pytest.raises(ValueError, match=r"8 is truncated or damaged.*resumes from"):
        run_checkpoint.load_variables(copy, tiny_run.MODEL, (32, 32, 3))


@pytest.mark.slow
@damages_checkpoints
def test_a_flipped_byte_is_never_another_weight(trained, tmp_path):
    """It is noticed, or it is one that nothing reads."""
    folder, *_, whole = trained
    rng = np.random.default_rng(0)
    copy = shutil.copytree(folder, tmp_path / "copy")
    blobs = {path: path.read_bytes() for path in files(copy / "8")}
    sizes = np.array([len(blob) for blob in blobs.values()])
    noticed = 0
    for path in rng.choice(list(blobs), 12, p=sizes / sizes.sum()):
        blob = bytearray(blobs[path])
        blob[rng.integers(len(blob))] ^= 1 << rng.integers(8)
        path.write_bytes(blob)
        try:
            loaded = run_checkpoint.load_variables(copy, tiny_run.MODEL, (32, 32, 3))
        except ValueError as error:
            noticed += "8 is truncated or damaged" in str(error)
        else:
            jax.tree.map(np.testing.assert_array_equal, loaded, whole)
        path.write_bytes(blobs[path])
    assert noticed > 6


@damages_checkpoints
@pytest.mark.parametrize(
    ("part", "says"),
    [("8", "it is a copy of step 7"), ("8/state", "does not match its SHA-256")],
)
def test_another_steps_state_is_not_this_steps(trained, tmp_path, part, says):
    folder, *_ = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(copy / part)
    shutil.copytree(folder / part.replace("8", "7"), copy / part)
    with pytest.raises(ValueError, match=rf"8 is truncated or damaged.*{says}"):
        run_checkpoint.load_variables(copy, tiny_run.MODEL, (32, 32, 3))


@pytest.mark.slow
@damages_checkpoints
def test_a_run_does_not_resume_from_another_steps_state(trained, tmp_path, caplog):
    folder, config, keeping, whole = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(copy / "8" / "state")
    shutil.copytree(copy / "7" / "state", copy / "8" / "state")
    with caplog.at_level(logging.INFO, "jood"):
        again = train(copy, config, keeping=keeping)
    assert "it does not match its SHA-256" in caplog.text
    assert "continuing at step 7 of 8" in caplog.text
    assert (copy / "8.damaged").is_dir()
    jax.tree.map(np.testing.assert_array_equal, again, whole)


def test_a_changed_validation_is_noticed_and_none_is_asked_of_an_older_jood(
    trained, tmp_path, caplog
):
    folder, *_, whole = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "8" / "position" / "metadata"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "validation": {"accuracy": 1.0}}))
    with pytest.raises(ValueError, match="does not match its SHA-256"):
        run_checkpoint.load_variables(copy, tiny_run.MODEL, (32, 32, 3))
    content.pop("sha256")
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.INFO, "jood"):
        old = run_checkpoint.load_variables(copy, tiny_run.MODEL, (32, 32, 3))
    jax.tree.map(np.testing.assert_array_equal, old, whole)
    assert "step 8 cannot be checked: an older version of jood" in caplog.text


def test_missing_runs_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint folder"):
        run_checkpoint.load_variables(tmp_path / "none", tiny_run.MODEL, (32, 32, 3))
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        run_checkpoint.read_config(tmp_path)
    with pytest.raises(FileNotFoundError, match="no finished checkpoint"):
        run_checkpoint.load_variables(tmp_path, tiny_run.MODEL, (32, 32, 3))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        run_checkpoint.read_config(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match=r"cannot write to the run's folder.*--workdir"):
        train(blocked / "run")


@pytest.mark.slow
def test_a_run_is_a_network_that_others_open(tmp_path):
    config = dataclasses.replace(ONE, objective="ssod", model="resnet_small")
    model = models.create("resnet_small", 8)
    variables = train(tmp_path, config, model)
    network = checkpoint.open(tmp_path)
    assert network.class_names == tuple("01234567")
    assert network.preprocessing == tiny_run.data().preprocessing
    jax.tree.map(np.testing.assert_array_equal, dict(network.variables), variables)
    assert network.variables["ood_head"]["kernel"].shape == (64, 1)
    checkpoint.save(tmp_path / "saved", network)
    again = checkpoint.open(tmp_path / "saved")
    jax.tree.map(np.testing.assert_array_equal, dict(again.variables), variables)


def test_the_policy_keeps_the_later_of_equally_good_ones():
    policy = checkpoints.last_and_best(2, {1: 0.5, 2: 0.5, 3: None, 4: 0.1, 5: None})

    @dataclasses.dataclass
    class Info:
        step: int

    kept = policy.should_preserve([Info(s) for s in range(1, 6)], context=None)
    assert kept == [False, True, False, True, True]
