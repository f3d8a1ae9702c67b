"""Recipes: every one is read, headed by its paper, and fits its network."""

import json
import re
import subprocess
import sys

from helpers.jobs import ROOT
import jax
import pytest

from jood import models
from jood.data import benchmarks
from jood.data.benchmarks import choose_preprocessing
from jood.methods import detector_list
from jood.training import config as config_lib
from jood.training import objectives
from jood.training import optimizer
from jood.training import state

RECIPES = sorted((ROOT / "launch" / "recipes").glob("*.cfg"))

# Reads flag files as launch/train.py does; prints the configurations as JSON.
READER = """
import importlib.util, json, sys
from absl import flags
spec = importlib.util.spec_from_file_location("train", sys.argv[1])
train = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train)

class Network:
    # Stands for what --init_from names: of the recipe's own model.
    image_size = None

    @property
    def name(self):
        return flags.FLAGS.model

for path in sys.argv[2:]:
    flags.FLAGS.unparse_flags()
    rest = flags.FLAGS(["train.py", f"--flagfile={path}", "--workdir=x"])
    assert rest == ["train.py"], rest
    begun = Network() if "--init_from" in open(path).read() else None
    if begun:
        flags.FLAGS.init_from = "runs/before"
    print(json.dumps(train._config(begun).as_json()))
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
    begins = path.stem.startswith(("lff", "ssod_imagenet", "feature_sim_waterbirds"))
    assert ("--init_from=" in text) == begins
    # The network that it begins with is made by a command that exists.
    for name in re.findall(r"--init_from=runs/(\w+)", text):
        assert (ROOT / "launch" / "recipes" / f"{name}.cfg").is_file()


@pytest.mark.slow
def test_every_recipe_is_a_configuration(configs):
    for name, config in configs.items():
        lists = {k: tuple(v) for k, v in config.items() if isinstance(v, list)}
        made = config_lib.TrainConfig(**{**config, **lists})
        assert made.as_json() == config
        assert config["benchmark"] in benchmarks.names(), name


def expected(name):
    """What the papers say of a run."""
    family = next(f for f in FAMILIES if name.startswith(f))
    benchmark = next(b for b in ("imagenet100", "cifar100", "cifar10", "") if b in name)
    values = dict(FAMILIES[family])
    if family == "lff":
        large = benchmark == "imagenet100"
        mu = {"cifar10": 1.0, "cifar100": 2.0, "imagenet100": 3.0}[benchmark]
        delta = 0.1 if benchmark == "cifar10" else 0.01
        start = "lam=1.0, reference='start'"
        values["objective"] = f"lff(delta={delta}, mu={mu}, {start})"
        if large:
            values |= {"epochs": 10, "learning_rate": 5e-5, "decay_epochs": [5]}
    if "wrn" in name:
        values["model"] = "wrn_28_10"
    return values


SGD = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4, "learning_rate": 0.1}
ADAMW = {"optimizer": "adamw", "learning_rate": 1e-4, "decay_factor": 0.5}
SSOD = {
    "objective": "ssod(gamma=0.95, alpha=1.0, balance='lwb')",
    "batch_size": 256,
    "augment": ["crop"],
}
FAMILIES = {  # LFF, Sec. V-A; SSOD, App. A.4; HIMPLoS, Sec. V-A; Feature Sim, App. A.1
    "pretrain_cifar": {  # LogitNorm's
        **SGD,
        "augment": ["crop", "flip", "jitter"],
        "weight_decay": 5e-4,
        "epochs": 200,
        "decay_epochs": [80, 140],
        "jitter": [0.4, 0.4, 0.4, 0.1],
        "jitter_probability": 0.8,
    },
    "pretrain": {**SGD, "augment": ["crop", "flip", "jitter"]},
    "lff": {**SGD, "augment": ["crop", "flip"], "epochs": 30, "decay_epochs": [15]},
    "ssod_cifar10": {
        **ADAMW,
        **SSOD,
        "image_size": 224,
        "model": "resnet18",
        "decay_epochs": [30, 60, 90],
    },
    "ssod": {**ADAMW, **SSOD, "image_size": 224, "decay_epochs": [30]},
    "himplos": {**SGD, "epochs": 100, "batch_size": 128, "decay_epochs": [50, 75, 90]},
    "feature_sim_cifar": {
        **SGD,
        "weight_decay": 5e-4,
        "epochs": 200,
        "batch_size": 16,
        "decay_epochs": [60, 120, 180],
        "model": "resnet18_cifar",
    },
    "feature_sim_imagenet_resnet50": {
        **SGD,
        "weight_decay": 5e-3,
        "epochs": 200,
        "batch_size": 128,
        "decay_epochs": [60, 120, 180],
    },
    "feature_sim_imagenet_densenet121": {**SGD, "epochs": 90, "batch_size": 256},
    "feature_sim_waterbirds": {"epochs": 30, "optimizer": "sgd", "new_head": True},
}


def test_the_recipes_have_the_papers_values(configs):
    for name, config in configs.items():
        for field, value in expected(name).items():
            assert config[field] == value, (name, field)
        if not name.startswith(("ssod", "lff")):
            assert config["objective"] == "cross_entropy()"


def test_the_commands_score_the_papers_ood_sets(configs):
    for path in RECIPES:
        name = path.stem
        if not name.startswith(("ssod", "lff", "pretrain")):
            continue
        (text,) = re.findall(r"--ood=(\S+)", head(path))
        sets = text.split(",")
        spec = benchmarks.describe(configs[name]["benchmark"])
        choose_preprocessing.check_ood(spec, sets)
        numbers = re.findall(r"^ +(?:Ours|MSP|SSOD)?(.* / .*)$", head(path), re.M)[0]
        averages = "wrn" not in name  # Table II of LFF has averages alone
        assert len(re.findall(" / ", numbers)) == (len(sets) + 1 if averages else 1)


def test_the_detectors_of_the_commands_are_readable(configs):
    for path in RECIPES:
        (text,) = re.findall(r'--detectors="([^"]+)"', head(path))
        for detector in detector_list.split(text).values():
            detector_list.read(detector, configs[path.stem]["benchmark"])


@pytest.mark.slow
def test_the_networks_can_be_trained_with_their_objectives(configs):
    pairs = {
        (c["model"], c["objective"].split("(")[0], c["image_size"], c["optimizer"])
        for c in configs.values()
    }
    assert len({model for model, *_ in pairs}) >= 10
    for model, objective, size, name in sorted(pairs):
        config = config_lib.TrainConfig(optimizer=name)
        shapes = jax.eval_shape(
            lambda model=model, objective=objective, size=size, config=config: (
                state.create_state(
                    models.create(model, 10),
                    objectives.parse(objective),
                    optimizer.make_optimizer(config, 10),
                    (size, size, 3),
                    0,
                )
            )
        )
        assert ("ood_head" in shapes.trained) == (objective == "ssod")
