"""A folder with what the commands of the guides take for granted, all of it tiny.

Images are digits, networks have the names and classes that the guides give them and few
weights, one run is really trained, and `data` has the real sets where JOOD_DATA_DIR is
set.
"""

import dataclasses
import importlib.util
import os
import pathlib
import re
import shutil

import make_demo_photographs
import numpy as np
from PIL import Image

from helpers import layouts
from helpers import tiny_clip
from helpers import tiny_run
from helpers import torch_archive
from helpers.jobs import ROOT
from helpers.tiny_network import scaled_variables
import jood
from jood import models
from jood.data import benchmarks
from jood.deploy.demo import imagenet_network
from jood.training import loop
from jood.weights import checkpoint

IMAGENET = jood.Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Folders of the guides' networks: the model, the benchmark of its classes.
NETWORKS = {
    "networks/mine": ("resnet20", "digits"),
    "networks/resnet20": ("resnet20", "cifar10"),
    "networks/resnet56": ("resnet56", "cifar10"),
    "networks/densenet": ("densenet100_cifar", "cifar10"),
    "networks/resnet50": ("resnet50", "imagenet"),
    "runs/pretrain_cifar10_resnet34": ("resnet34_cifar", "cifar10"),
    **{f"networks/s{seed}": ("resnet_small", "openood_cifar10") for seed in range(3)},
}
# Models whose weights are many: a narrow one stands in under their name.
NARROW = ("densenet100_cifar", "resnet56", "resnet50", "resnet34_cifar")
# Files of PyTorch that are converted: the model, its classes, whose names tensors have.
WEIGHTS = {
    "mine.pth": ("resnet20", 8, "akamaster"),
    "densenet100_cifar10.pth.tar": ("densenet100_cifar", 10, "dice"),
    **{f"s{seed}/best.ckpt": ("resnet_small", 10, "openood") for seed in range(3)},
}


def build(folder: pathlib.Path) -> pathlib.Path:
    """Writes everything into a new folder and returns it."""
    _write_photos(folder)
    _write_texts(folder)
    _write_features(folder / "my_features")
    for name, (model, benchmark) in NETWORKS.items():
        _save_network(folder / name, model, benchmark)
    for name, (model, classes, layout) in WEIGHTS.items():
        _write_weights(folder / name, models.create(model, classes), layout)
    tiny_clip.write(folder / "clip-vit-base-patch16")
    tiny_clip.write(folder / "clip-vit-large-patch14")
    config = dataclasses.replace(tiny_run.CONFIG, epochs=1)
    loop.train(config, tiny_run.data(), tiny_run.MODEL, folder / "runs" / "a")
    shutil.copytree(folder / "runs" / "a", folder / "runs" / "b")
    _save_detectors(folder)
    return folder


def copy(world: pathlib.Path, folder: pathlib.Path, without: list[str]) -> None:
    """Makes a workspace of links to the world's files, without some of its folders."""
    shutil.copytree(world, folder, symlinks=True, copy_function=os.link)
    for name in without:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (folder / name).unlink(missing_ok=True)


def missing(job: str, arguments: list[str]) -> str | None:
    """Returns what a command needs that this machine lacks; None if nothing."""
    needed = {"serve": "uvicorn", "score_ray": "ray"}.get(job)
    if needed and not importlib.util.find_spec(needed):
        return f"the package {needed} is not installed"
    if job == "demo" or "--weights=WEIGHTS" in arguments:
        return None if imagenet_weights() else "jood[demo] is not installed"
    real = "--data_dir=data" in arguments or "$JOOD_DATA_DIR" in " ".join(arguments)
    tiny = "--benchmark=openood_cifar10" in arguments  # as `build` writes it
    if real and not tiny and "JOOD_DATA_DIR" not in os.environ:
        return "JOOD_DATA_DIR is not set"
    return None


def imagenet_weights() -> str:
    """Returns the demo's file of weights; '' where its package is not installed."""
    try:
        return str(imagenet_network.weights_file())
    except ValueError:
        return ""


def _write_photos(folder: pathlib.Path) -> None:
    digits = benchmarks.get("digits_tiny")
    _write_images(folder / "photos" / "train", digits.id_train, 120, classes=True)
    _write_images(folder / "photos" / "val", digits.id_test, 96, classes=True)
    for name, source in {
        "other/digits": "near",
        "other/empty": "background",
        "unlabelled": "uniform",
        "traffic": "other_photo",
    }.items():
        _write_images(folder / "photos" / name, digits.ood[source], 16)
    make_demo_photographs.main(str(folder / "build" / "photographs"))
    shutil.copytree(folder / "build" / "photographs", folder / "photographs")
    for name in ("bird.jpg", "dog.jpg", "moss.jpg", "photo.jpg"):
        layouts.image(folder / name, size=(40, 50))
    (folder / "data").mkdir()
    layouts.openood_cifar10(folder / "data")
    if "JOOD_DATA_DIR" in os.environ:
        for path in pathlib.Path(os.environ["JOOD_DATA_DIR"]).iterdir():
            (folder / "data" / path.name).symlink_to(path)
    shutil.copytree(folder / "photos" / "train", folder / "data" / "train")
    shutil.copytree(folder / "photos" / "val", folder / "data" / "validation")
    shutil.copytree(folder / "photos" / "other", folder / "data" / "other")
    shutil.copytree(folder / "photos" / "traffic", folder / "traffic")


def _write_images(folder, source, count, classes=False) -> None:
    for index in range(count):
        example = source[index]
        place = folder / str(example["label"]) if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(example["image"]).save(place / f"{index:03}.png")


def _write_texts(folder: pathlib.Path) -> None:
    words = [f"cat{index}" for index in range(40)]
    wordnet = [f"n{index:08}\tcat {index}" for index in range(1000)]
    page = (ROOT / "docs" / "python.md").read_text()
    (method,) = re.findall(r"```python\n([^`]*@jood.register[^`]*)```", page)
    for name, text in {
        "classes.txt": "\n".join("01234567"),
        "other_words.txt": "\n".join(f"the digit {digit}" for digit in range(8)),
        "templates.txt": "a photo of a {}\nthe {}.",
        "nouns.txt": "\n".join(words),
        "adjectives.txt": "\n".join(words),
        "imagenet.txt": "\n".join(wordnet),
        "my_module.py": method,
    }.items():
        (folder / name).write_text(f"{text}\n")


def _write_features(folder: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    (folder / "ood").mkdir(parents=True)
    np.savez(folder / "head.npz", kernel=rng.normal(size=(64, 8)).astype("f"))
    for name, count in (("train", 200), ("test", 60), ("ood/far", 60)):
        np.save(folder / f"{name}.npy", rng.random((count, 64), np.float32))
        np.save(folder / f"{name}_labels.npy", rng.integers(0, 8, count))
    (folder / "ood" / "far_labels.npy").unlink()


def _save_network(folder: pathlib.Path, name: str, benchmark: str) -> None:
    described = benchmarks.describe(benchmark)
    classes = len(described.class_names) or 1000
    if name in NARROW:
        model = models.create("resnet_small", classes, width=4, stage_sizes=(1, 1))
    else:
        model = models.create(name, classes)
    network = checkpoint.TrainedNetwork(
        model=model,
        variables=scaled_variables(model),
        name=name,
        class_names=described.class_names or None,
        preprocessing=IMAGENET,
        image_size=32,
        source={"file": "random weights"},
    )
    folder.parent.mkdir(exist_ok=True)
    checkpoint.save(folder, network)


def _write_weights(path: pathlib.Path, model, layout: str) -> None:
    path.parent.mkdir(exist_ok=True)
    tensors = jood.weights.to_torch_names(model, scaled_variables(model), layout)
    torch_archive.write(path, tensors)


def _save_detectors(folder: pathlib.Path) -> None:
    network = checkpoint.open(folder / "networks" / "mine")
    detector = jood.Detector(
        "energy()",
        network.model,
        network.variables,
        preprocessing=network.preprocessing,
        class_names=network.class_names,
    )
    images = benchmarks.get("digits_tiny").id_test.images[:32]
    detector = detector.calibrate([images], tpr=0.9)
    detector.save(folder / "detectors" / "mine")
    shutil.copytree(folder / "detectors" / "mine", folder / "detectors" / "a")
