"""Recipes: every one is read, headed by its paper, and fits its network."""

import re

from helpers import recipes
from helpers.jobs import ROOT
from helpers.recipes import OF_METHODS
from helpers.recipes import PATHS
from helpers.recipes import head
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

# Those that have a method of the compared tables are in method_recipes_test.py.
OTHERS = [path for path in PATHS if path not in OF_METHODS]


@pytest.fixture(scope="module")
def configs():
    return recipes.configs()


def test_there_is_a_recipe_for_every_run_that_the_papers_report():
    names = {path.stem for path in OTHERS}
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


# Recipes that begin with a trained network.
BEGINS = (
    "lff", "ssod_imagenet", "feature_sim_waterbirds", "godin_imagenet_", "mos", "fort",
    "cider_imagenet100",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_recipe_is_headed_by_its_table_numbers_and_command(path):
    text = head(path)
    assert "Paper: " in text
    assert re.search(r"Tables? [0-9IVX]+", text)
    assert re.search(r"\d\.\d\d / \d\d\.\d\d", text)
    command = f"jood train --flagfile=recipe:{path.stem}"
    assert command in text
    begins = path.stem.startswith(BEGINS)
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


@pytest.mark.slow
def test_the_recipes_have_the_papers_values(configs):
    for name in (path.stem for path in OTHERS):
        config = configs[name]
        for field, value in expected(name).items():
            assert config[field] == value, (name, field)
        if not name.startswith(("ssod", "lff")):
            assert config["objective"] == "cross_entropy()"


def test_the_commands_score_the_papers_ood_sets(configs):
    for path in OTHERS:
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
    for path in PATHS:
        text = recipes.flag(path, "detectors")
        for detector in detector_list.split(text).values():
            detector_list.read(detector, configs[path.stem]["benchmark"])


@pytest.mark.slow
def test_the_networks_can_be_trained_with_their_objectives(configs):
    pairs = {
        (c["model"], c["objective"].split("(")[0], c["image_size"], c["optimizer"])
        for c in (configs[path.stem] for path in OTHERS)
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
