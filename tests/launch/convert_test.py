"""Networks as users have them become folders of jood's, and tensors again."""

import argparse
import dataclasses
import subprocess
import sys

from helpers.jobs import ROOT
from helpers.jobs import environment
from helpers.jobs import run_job
from helpers.tiny_network import random_variables
from helpers.torch_oracle import torch_or_skip
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors import numpy as safetensors_numpy

from jood import models
from jood import weights
from jood.core import preprocessing
from jood.data import benchmarks
from jood.weights import checkpoint
from jood.weights import conversion
from jood.weights import reading

IMAGENET = ("--mean=.485,.456,.406", "--std=.229,.224,.225")
PLAIN = preprocessing.Preprocessing((0.5,) * 3, (0.25,) * 3)

SMALL = models.create("resnet_small", 8)
SMALL_VARIABLES = random_variables(SMALL)


def convert(*arguments, ok=True):
    """Runs launch/convert.py; returns what it printed."""
    printed = run_job("convert", *arguments, ok=ok)
    assert "Traceback" not in printed
    return printed


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A network of 8 classes with timm's names, in a file."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    tensors = weights.to_torch_names(SMALL, SMALL_VARIABLES, "kuangliu")
    safetensors_numpy.save_file(tensors, path)
    return path


def equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


# The job, run as a user runs it.


@pytest.mark.slow
def test_a_published_network_there_and_back(data_dir, tmp_path):
    file = data_dir / "weights" / "akamaster_resnet20-12fca82f.npz"
    names = [f"class {i}" for i in range(10)]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    folder = tmp_path / "networks" / "resnet20"
    printed = convert(
        f"--weights={file}",
        "--model=resnet20",
        f"--output={folder}",
        f"--class_names={tmp_path / 'names.txt'}",
        "--image_size=32",
        *IMAGENET,
    )
    for part in (
        "akamaster",
        "97 tensors",
        "269,722 parameters",
        "10 classes",
        "32 px",
    ):
        assert part in printed
    network = checkpoint.open(folder)
    assert network.class_names == tuple(names)
    assert network.source["layout"] == "akamaster"
    with np.load(
        data_dir / "reference" / "akamaster_resnet20-12fca82f.npz"
    ) as reference:
        images = network.preprocessing(reference["images"][:32])
        logits = jax.jit(network.model.apply)(network.variables, images)
        np.testing.assert_allclose(logits, reference["logits"][:32], rtol=0, atol=1e-4)

    back = tmp_path / "there" / "back.safetensors"
    printed = convert(f"--weights={folder}", f"--to_torch={back}")
    assert "akamaster" in printed
    equal(reading.read(back), reading.read(file))
    again = convert(f"--weights={folder}", f"--to_torch={back}", ok=False)
    assert "exists already" in again


@pytest.mark.slow
def test_a_benchmark_says_names_and_preprocessing_unless_flags_do(small_file, tmp_path):
    arguments = (f"--weights={small_file}", "--model=resnet_small", "--std=.1,.2,.3")
    folder = tmp_path / "network"
    printed = convert(*arguments, "--benchmark=digits", f"--output={folder}")
    assert "names of kuangliu" in printed
    digits = benchmarks.describe("digits")
    network = checkpoint.open(folder)
    assert network.class_names == digits.class_names
    assert network.image_size == 32
    assert network.preprocessing == dataclasses.replace(
        digits.preprocessing["digits"], std=(0.1, 0.2, 0.3)
    )
    equal(network.variables, SMALL_VARIABLES)

    convert(
        *arguments,
        "--benchmark=imagenet",
        "--preprocessing=feature_sim",
        "--interpolation=bicubic",
        f"--output={tmp_path / 'other'}",
    )
    network = checkpoint.open(tmp_path / "other")
    assert network.class_names is None
    assert network.image_size == 224
    assert network.preprocessing.resize == (224, 224)
    assert network.preprocessing.interpolation == "bicubic"


@pytest.mark.slow
def test_the_job_says_what_is_wrong_without_a_traceback(small_file, tmp_path):
    torch_or_skip().save(argparse.Namespace(lr=0.1), tmp_path / "unsafe.pth")
    model, output = "--model=resnet_small", f"--output={tmp_path / 'never'}"
    for file, arguments, message in [
        (small_file, (model,), "either --output=FOLDER or"),
        (small_file, (output,), "--model must say what"),
        (small_file, (model, output), "--mean and --std are needed"),
        (small_file, (model, output, "--mean=123.7", "--std=58.4"), "Divide it by 255"),
        (small_file, (model, output, *IMAGENET), "--image_size=32"),
        (
            small_file,
            (model, output, *IMAGENET, "--class_names=nope.txt"),
            "--class_names: there is no file nope.txt",
        ),
        (tmp_path / "unsafe.pth", (model, output, "--crop=32", *IMAGENET), "any code"),
    ]:
        assert message in convert(f"--weights={file}", *arguments, ok=False)
    assert not (tmp_path / "never").exists()


@pytest.mark.slow
def test_without_pytorch_the_job_names_the_extra(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"PK")
    code = (
        "import sys, runpy; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, str(ROOT / "launch" / "convert.py")),
            *(f"--weights={tmp_path / 'net.pth'}", "--model=resnet20", *IMAGENET),
            *("--image_size=32", f"--output={tmp_path / 'never'}"),
        ],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=100,
    )
    assert done.returncode == 1
    assert 'pip install "jood[torch]"' in done.stderr
    assert "Traceback" not in done.stderr


# What it does, in this process.


def test_classes_and_layout_are_read_from_the_file(small_file):
    network = conversion.convert(small_file, "resnet_small", PLAIN, image_size=32)
    assert network.model == SMALL
    assert network.name == "resnet_small"
    assert network.source["file"] == "small.safetensors"
    assert network.source["layout"] == "kuangliu"
    assert len(network.source["sha256"]) == 64
    equal(network.variables, SMALL_VARIABLES)


def test_the_image_size_is_that_of_the_crop_unless_it_is_given(small_file):
    cropped = preprocessing.Preprocessing(
        (0.5,) * 3, (0.25,) * 3, resize=40, crop=36, interpolation="bicubic"
    )
    network = conversion.convert(small_file, "resnet_small", cropped)
    assert network.image_size == 36
    with pytest.raises(ValueError, match="how large are the images that resnet_small"):
        conversion.convert(small_file, "resnet_small", PLAIN)
    with pytest.raises(
        ValueError, match=r"makes images of \(36, 36\).*takes \(48, 48\)"
    ):
        conversion.convert(small_file, "resnet_small", cropped, image_size=48)


def test_a_backbone_alone_or_a_wrong_number_of_classes(small_file):
    network = conversion.convert(
        small_file, "resnet_small", PLAIN, image_size=32, num_classes=0
    )
    assert "head" not in network.variables["params"]
    with pytest.raises(
        ValueError, match=r"small\.safetensors.*\n.*\n.*num_classes=8 in"
    ):
        conversion.convert(
            small_file, "resnet_small", PLAIN, image_size=32, num_classes=5
        )
    with pytest.raises(ValueError, match="2 class names for a network of 8"):
        conversion.convert(
            *(small_file, "resnet_small", PLAIN),
            class_names=("a", "b"),
            image_size=32,
        )


def test_a_file_of_another_network_lists_what_it_lacks(small_file):
    with pytest.raises(ValueError, match=r"(?s)CifarResNet:.*missing:.*unexpected:"):
        conversion.convert(small_file, "resnet20", PLAIN, image_size=32)


def test_a_file_without_classifier_must_be_meant(small_file, tmp_path):
    tensors = safetensors_numpy.load_file(small_file)
    backbone = {n: t for n, t in tensors.items() if not n.startswith("linear")}
    np.savez(tmp_path / "backbone.npz", **backbone)
    arguments = (tmp_path / "backbone.npz", "resnet_small", PLAIN)
    with pytest.raises(ValueError, match="Only the classifier is missing"):
        conversion.convert(*arguments, image_size=32)
    network = conversion.convert(*arguments, image_size=32, num_classes=0)
    assert network.model.num_classes == 0


@pytest.mark.parametrize(("entry", "factor"), [("model_ema", 2), (None, 1)])
def test_an_entry_of_a_checkpoint_can_be_named(small_file, tmp_path, entry, factor):
    torch = torch_or_skip()
    tensors = safetensors_numpy.load_file(small_file)
    plain = {n: torch.from_numpy(t) for n, t in tensors.items()}
    average = {f"module.{n}": 2 * t for n, t in plain.items()}
    torch.save({"model": plain, "model_ema": average}, tmp_path / "run.pth")
    network = conversion.convert(
        tmp_path / "run.pth", "resnet_small", PLAIN, image_size=32, entry=entry
    )
    equal(network.variables, jax.tree.map(lambda leaf: factor * leaf, SMALL_VARIABLES))


def test_an_orbax_checkpoint_is_converted(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "arrays", SMALL_VARIABLES)
    network = conversion.convert(
        tmp_path / "arrays", "resnet_small", PLAIN, image_size=32
    )
    assert network.model == SMALL
    equal(network.variables, SMALL_VARIABLES)
    with pytest.raises(ValueError, match="jood's own names: layout='timm'"):
        conversion.convert(
            tmp_path / "arrays", "resnet_small", PLAIN, image_size=32, layout="timm"
        )


def test_tensors_are_written_as_they_were_read_or_as_asked(small_file, tmp_path):
    network = conversion.convert(small_file, "resnet_small", PLAIN, image_size=32)
    expected = {None: "kuangliu", "mmpretrain": "mmpretrain"}
    for given, layout in expected.items():
        path = tmp_path / f"{layout}.safetensors"
        assert conversion.export(network, path, given) == layout
        found = safetensors_numpy.load_file(path)
        equal(found, weights.to_torch_names(SMALL, SMALL_VARIABLES, layout))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "kuangliu.safetensors",
        "mmpretrain.safetensors",
    ]
    with pytest.raises(FileExistsError, match="exists already"):
        conversion.export(network, tmp_path / "kuangliu.safetensors")
    with pytest.raises(
        ValueError, match=r"name of a \.safetensors file, got .*net\.pth"
    ):
        conversion.export(network, tmp_path / "net.pth")
    with pytest.raises(ValueError, match="unknown layout"):
        conversion.export(network, tmp_path / "new.safetensors", "tensorflow")
