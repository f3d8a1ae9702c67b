"""A network in a folder: everything survives, nothing damaged is read."""

import dataclasses
import json
import shutil

from flax import linen as nn
from helpers import tiny_run
from helpers.tiny_network import MODEL
from helpers.tiny_network import VARIABLES
from helpers.tiny_network import random_variables
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jood import models
from jood import weights
from jood.core import preprocessing
from jood.data import benchmarks
from jood.training import checkpoints
from jood.training import config as config_lib
from jood.training import state as state_lib
from jood.weights import checkpoint

NETWORK = checkpoint.TrainedNetwork(
    model=MODEL,
    variables=VARIABLES,
    name="resnet_small",
    class_names=("cat", "dog", "Wörter mit Komma, ja"),
    preprocessing=preprocessing.Preprocessing(
        (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), resize=(32, 32), interpolation="bicubic"
    ),
    image_size=32,
    source={"file": "net.pth", "layout": "timm"},
)


@pytest.fixture
def saved(tmp_path):
    checkpoint.save(tmp_path / "network", NETWORK)
    return tmp_path / "network"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training run's folder, as launch/train.py leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = config_lib.TrainConfig(benchmark="digits_tiny", dtype="bfloat16")
    variables = random_variables(models.create("resnet_small", 8))
    state = state_lib.TrainState(
        step=np.array(3, np.int32),
        trained={"params": variables["params"]},
        model_state={"batch_stats": variables["batch_stats"]},
        opt_state={"momentum": variables["params"]},
        rng=np.zeros(2, np.uint32),
    )
    data = tiny_run.data()
    identity = {
        **config.as_json(),
        "preprocessing": dataclasses.asdict(data.preprocessing),
        "class_names": data.class_names,
    }
    with checkpoints.Checkpoints(folder, identity, {}) as keeper:
        keeper.save(state, {})
    return folder, variables


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An Orbax checkpoint of somebody's own training, in half precision."""
    folder = tmp_path_factory.mktemp("bare") / "arrays"
    half = jax.tree.map(lambda leaf: leaf.astype(jax.numpy.bfloat16), VARIABLES)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(
            folder, {**half, "step": 3, "opt_state": [np.zeros(2), np.ones(3)]}
        )
    return folder, jax.tree.map(np.float32, half)


def check_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert isinstance(a, np.ndarray)
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


def test_an_opened_network_is_the_saved_one(saved):
    found = checkpoint.open(saved)
    for field in dataclasses.fields(checkpoint.TrainedNetwork):
        if field.name != "variables":
            assert getattr(found, field.name) == getattr(NETWORK, field.name)
    check_equal(found.variables, VARIABLES)
    written = json.loads((saved / "network.json").read_text())["written_by"]
    assert written.keys() == {"jood", "jax"}
    assert [path.name for path in saved.parent.iterdir()] == ["network"]


def test_a_network_without_class_names_or_classifier(tmp_path):
    backbone = MODEL.clone(num_classes=0)
    network = dataclasses.replace(
        NETWORK,
        model=backbone,
        variables=random_variables(backbone),
        class_names=None,
    )
    checkpoint.save(tmp_path / "network", network)
    found = checkpoint.open(tmp_path / "network")
    assert found.model == backbone
    assert found.class_names is None


@pytest.mark.slow
def test_a_training_run_is_opened_with_what_its_benchmark_says(run):
    folder, variables = run
    found = checkpoint.open(folder)
    digits = benchmarks.get("digits_tiny")
    assert found.model == models.create("resnet_small", 8, dtype="bfloat16")
    assert found.name == "resnet_small"
    assert found.class_names == digits.class_names
    assert found.preprocessing == digits.preprocessing
    assert found.image_size == 32
    assert found.source["schedule"] == "cosine"
    check_equal(found.variables, variables)


@pytest.mark.slow
def test_load_reads_every_kind_of_folder(saved, run, bare):
    check_equal(weights.load(saved, MODEL), VARIABLES)
    check_equal(weights.load(bare[0], MODEL), bare[1])
    check_equal(weights.load(run[0], models.create("resnet_small", 8)), run[1])
    for folder in (saved, run[0], bare[0]):
        with pytest.raises(ValueError, match=r"(?s)another architecture.*(C4/b|head)"):
            weights.load(folder, models.create("resnet_small", 5))
    with pytest.raises(ValueError, match="jood's own names: layout='timm'"):
        weights.load(saved, MODEL, "timm")


def test_a_bare_checkpoint_says_how_to_make_a_network_of_it(bare):
    with pytest.raises(ValueError, match=r"arrays alone.*jood convert --weights="):
        checkpoint.open(bare[0])


def test_a_bare_checkpoint_of_something_else_is_refused(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "arrays", {"weights": np.zeros(3)})
    with pytest.raises(ValueError, match="holds no 'params'"):
        weights.load(tmp_path / "arrays", MODEL)


@pytest.mark.parametrize("read", [checkpoint.open, lambda p: weights.load(p, MODEL)])
def test_a_folder_without_a_network_says_what_was_expected(tmp_path, read):
    message = r"no checkpoint folder .*network\.json.*config\.json.*Orbax"
    with pytest.raises(FileNotFoundError, match=message):
        read(tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint folder .*nowhere"):
        checkpoint.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("old", "new"),
    [('"cat"', '"cow"'), ("0.5", "0.6"), ('"num_classes": 3', '"num_classes": 4')],
)
def test_an_edited_description_is_refused(saved, old, new):
    path = saved / "network.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=r"network\.json was changed"):
        checkpoint.open(saved)


@pytest.mark.parametrize("content", ["", "[]", '"text"', "{}", None])
def test_a_truncated_description_is_refused(saved, content):
    path = saved / "network.json"
    path.write_text(path.read_text()[:-20] if content is None else content)
    with pytest.raises(ValueError, match=r"network\.json is truncated or no jood.Net"):
        checkpoint.open(saved)


@pytest.mark.parametrize(("key", "value"), [("version", 9), ("format", "their.Net")])
def test_another_format_or_version_is_refused(saved, key, value):
    path = saved / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f"{value}.*reads 'jood.Network' version 1"):
        checkpoint.open(saved)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_arrays_are_refused(saved, damage):
    files = [path for path in (saved / "variables").rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.stat().st_size)[-3:]:
        if damage == "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        else:
            path.unlink()
    with pytest.raises(ValueError, match="variables is truncated or damaged"):
        checkpoint.open(saved)


def test_arrays_of_another_network_are_refused(saved, tmp_path):
    for name, model in (("same", MODEL), ("other", MODEL.clone(stage_sizes=(1, 2)))):
        network = dataclasses.replace(
            NETWORK, model=model, variables=random_variables(model, seed=1)
        )
        checkpoint.save(tmp_path / name, network)
    for name, message in (
        ("same", "do not match the SHA-256"),
        ("other", "another arc"),
    ):
        shutil.rmtree(saved / "variables")
        shutil.copytree(tmp_path / name / "variables", saved / "variables")
        with pytest.raises(ValueError, match=message):
            checkpoint.open(saved)


def test_nothing_is_overwritten_or_half_written(saved, tmp_path):
    with pytest.raises(FileExistsError, match="network exists already"):
        checkpoint.save(saved, NETWORK)
    wrong = dataclasses.replace(NETWORK, model=MODEL.clone(width=8))
    with pytest.raises(ValueError, match=r"what is to be saved .*another architecture"):
        checkpoint.save(tmp_path / "never", wrong)
    not_json = dataclasses.replace(NETWORK, source={"file": object()})
    with pytest.raises(TypeError, match="JSON"):
        checkpoint.save(tmp_path / "never", not_json)
    assert [path.name for path in tmp_path.iterdir()] == ["network"]


class Custom(nn.Module):
    num_classes: int = 3


def test_a_model_that_is_not_joods_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match=r"a Custom is not of jood\.models.*Detector"):
        checkpoint.save(tmp_path / "x", dataclasses.replace(NETWORK, model=Custom()))


def test_what_travels_must_fit_the_network():
    with pytest.raises(ValueError, match="2 class names for a network of 3 classes"):
        dataclasses.replace(NETWORK, class_names=("cat", "dog"))
    with pytest.raises(
        ValueError, match=r"makes images of \(32, 32\).*takes \(64, 64\)"
    ):
        dataclasses.replace(NETWORK, image_size=64)
    assert "array" not in repr(NETWORK)


def test_a_folder_without_its_arrays_is_refused(saved):
    shutil.rmtree(saved / "variables")
    with pytest.raises(ValueError, match="variables is missing or no Orbax checkpoint"):
        checkpoint.open(saved)
