"""Recipes: every one is read, headed by its paper, and fits its network."""

import json
import pathlib
import re
import subprocess
import sys

import jax
import pytest

from jood import models
from jood import spec
from jood.data import benchmarks
from jood.training import config as config_lib
from jood.training import losses
from jood.training import optimizer
from jood.training import state

ROOT = pathlib.Path(__file__).parent.parent
RECIPES = sorted((ROOT / "launch" / "recipes").glob("*.cfg"))

# Reads flag files as launch/train.py does; prints the configurations as JSON.
READER = """
import importlib.util, json, sys
from absl import flags
spec = importlib.util.spec_from_file_location("train", sys.argv[1])
train = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train)
for path in sys.argv[2:]:
    flags.FLAGS.unparse_flags()
    rest = flags.FLAGS(["train.py", f"--flagfile={path}", "--workdir=x"])
    assert rest == ["train.py"], rest
    print(json.dumps(train._config(None).as_json()))
"""


def head(path):
    """The comment that a recipe opens with."""
    lines = path.read_text().splitlines()
    return "\n".join(line[2:] for line in lines if line.startswith("#"))


@pytest.fixture(scope="module")
def configs():
    done = subprocess.run(
        [sys.executable, "-c", READER, ROOT / "launch" / "train.py", *RECIPES],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip((path.stem for path in RECIPES), found, strict=True))


def test_there_is_a_recipe_for_every_run_that_the_papers_report():
    names = {path.stem for path in RECIPES}
    cifar = [
        f"{b}_{n}" for b in ("cifar10", "cifar100") for n in ("resnet34", "wrn_28_10")
    ]
    imagenet = [
        *("resnet18", "resnet34", "resnet50", "resnet101", "densenet121"),
        *("regnet_y_800mf", "mobilenet_v3_large"),
    ]
    assert names == {
        *(f"pretrain_{name}" for name in (*cifar, "imagenet100_resnet50")),
        *(f"lff_{name}" for name in (*cifar, "imagenet100_resnet50")),
        "ssod_cifar10_resnet18",
        "ssod_imagenet_hard_resnet50d",
        *(f"ssod_imagenet_{name}" for name in imagenet),
        *(
            f"himplos_{b}_{n}"
            for b in ("cifar10", "cifar100")
            for n in ("resnet18", "densenet100")
        ),
        "feature_sim_cifar10_resnet18",
        "feature_sim_cifar100_resnet18",
        "feature_sim_imagenet_resnet50",
        "feature_sim_imagenet_densenet121",
        "feature_sim_waterbirds_resnet18",
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_headed_by_its_table_numbers_and_command(path):
    text = head(path)
    assert "Paper: " in text
    assert re.search(r"Tables? [0-9IVX]+", text)
    assert re.search(r"\d\d\.\d\d / \d\d\.\d\d", text)
    command = f"python launch/train.py --flagfile=launch/recipes/{path.name}"
    assert command in text
    begins = path.stem.startswith(("lff", "ssod_imagenet"))
    assert ("--init_from=" in text) == begins
    # The network that it begins with is made by a command that exists.
    for name in re.findall(r"--init_from=runs/(\w+)", text):
        assert (ROOT / "launch" / "recipes" / f"{name}.cfg").is_file()


def test_every_recipe_is_a_configuration(configs):
    for name, config in configs.items():
        made = config_lib.TrainConfig(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        )
        assert made.as_json() == config
        assert config["benchmark"] in benchmarks.names(), name


def test_the_recipes_have_the_papers_values(configs):
    lff = configs["lff_cifar100_wrn_28_10"]
    assert lff["objective"] == "lff(delta=0.01, mu=2.0, lam=1.0)"
    assert (lff["epochs"], lff["learning_rate"]) == (30, 0.1)
    assert lff["decay_epochs"] == [15]
    assert (lff["optimizer"], lff["momentum"], lff["weight_decay"]) == (
        "sgd",
        0.9,
        1e-4,
    )
    assert lff["augment"] == ["crop", "flip"]
    large = configs["lff_imagenet100_resnet50"]
    assert large["objective"] == "lff(delta=0.01, mu=3.0, lam=1.0)"
    assert (large["epochs"], large["learning_rate"]) == (10, 5e-5)
    assert large["decay_epochs"] == [5]
    assert configs["pretrain_cifar10_resnet34"]["augment"] == ["crop", "flip", "jitter"]
    ssod = configs["ssod_cifar10_resnet18"]
    assert ssod["objective"] == "ssod(gamma=0.95, alpha=1.0, balance='lwb')"
    assert (ssod["image_size"], ssod["batch_size"]) == (224, 256)
    assert (ssod["optimizer"], ssod["learning_rate"]) == ("adamw", 1e-4)
    assert (ssod["decay_factor"], ssod["decay_epochs"]) == (0.5, [30, 60, 90])
    himplos = configs["himplos_cifar10_densenet100"]
    assert (himplos["epochs"], himplos["batch_size"]) == (100, 128)
    assert himplos["decay_epochs"] == [50, 75, 90]


def test_the_detectors_of_the_commands_are_readable(configs):
    for path in RECIPES:
        (text,) = re.findall(r'--detectors="([^"]+)"', head(path))
        for detector in spec.split(text).values():
            spec.parse(detector, configs[path.stem]["benchmark"])


@pytest.mark.slow
def test_the_networks_can_be_trained_with_their_objectives(configs):
    pairs = {
        (c["model"], c["objective"].split("(")[0], c["image_size"], c["optimizer"])
        for c in configs.values()
    }
    # Networks that recipes begin with are named in their heads.
    for path in RECIPES:
        for name in re.findall(r"--model=(\w+)", head(path)):
            pairs.add((name, "ssod", 64, "adamw"))
    for model, objective, size, name in sorted(pairs):
        config = config_lib.TrainConfig(optimizer=name)
        shapes = jax.eval_shape(
            lambda model=model, objective=objective, size=size, config=config: (
                state.create_state(
                    models.create(model, 10),
                    losses.parse(objective),
                    optimizer.make_optimizer(config, 10),
                    (size, size, 3),
                    0,
                )
            )
        )
        assert ("ood_head" in shapes.trained) == (objective == "ssod")
