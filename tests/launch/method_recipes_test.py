"""Recipes of the methods that LFF and SSOD compare with: one for each row, and whole.

The rows, their numbers and their scores are those of the transcription in jood.papers.
"""

import re

from helpers import recipes
from helpers.jobs import ROOT
import jax
import numpy as np
import pytest

from jood import models
from jood import papers
from jood.data import benchmarks
from jood.data.benchmarks import choose_preprocessing
from jood.methods import detector_list
from jood.papers import row_reading
from jood.papers import transcription
from jood.training import config as config_lib
from jood.training import objectives
from jood.training import optimizer
from jood.training import state

OWN = ("lff", "ssod")  # the papers' own methods: recipes_test.py
ELSEWHERE = "linear_probe"  # a classifier on CLIP's frozen tower: docs/clip.md


TABLES = [papers.table(paper, number) for paper in OWN for number in "123"]


def rows():
    """(table, part, row, recipe's name) of every row that a training method makes."""
    for table in TABLES:
        for part in table.parts:
            for row in part.rows:
                trained = "fort" if row.name.startswith("Fort") else row.trained
                if trained and trained not in (*OWN, ELSEWHERE):
                    network = part.network.removesuffix("_cifar")
                    yield table, part, row, f"{trained}_{part.benchmark}_{network}"


ROWS = list(rows())


def named(value):
    return value if isinstance(value, str) else ""


def title(table):
    """As the papers number it: LFF in Roman numerals."""
    roman = "I" * int(table.number)
    return f"LFF {roman}" if table.paper == "lff" else f"SSOD {table.number}"


@pytest.fixture(scope="module")
def configs():
    return recipes.configs()


def test_every_row_of_a_training_method_has_a_recipe_and_no_other_is_there():
    names = [name for *_, name in ROWS]
    assert len(names) == len(set(names)) == 14 + 12 + 7 + 5 + 2
    assert set(names) == {path.stem for path in recipes.OF_METHODS}


def test_a_row_without_a_recipe_cannot_be_run_and_a_recipe_says_why():
    """No row of these tables waits for a training method."""
    parts = [part for table in TABLES for part in table.parts]
    assert not [row.why for part in parts for row in part.rows if row.why]
    for path in recipes.OF_METHODS:
        said = "MSP (CLIP-L)" in recipes.head(path).replace("\n", " ")
        assert said == path.stem.startswith("fort")


@pytest.mark.parametrize(("table", "part", "row", "name"), ROWS, ids=named)
def test_the_head_has_the_papers_numbers_and_sets(table, part, row, name):
    path = recipes.FOLDER / f"{name}.cfg"
    text = recipes.head(path)
    (line,) = re.findall(rf"^ +{re.escape(row.name)} +(\d.* / .*)$", text, re.MULTILINE)
    numbers = [float(number) for number in re.findall(r"\d+\.\d\d", line)]
    told = list(row.numbers)
    if transcription.ACCURACY in part.columns:
        assert f"ID accuracy {told.pop():.2f} %" in text.replace("\n", " ")
    assert numbers == told
    sets = recipes.flag(path, "ood").split(",")
    spec = benchmarks.describe(part.benchmark)
    choose_preprocessing.check_ood(spec, sets)
    single = {c for c in part.columns if c not in ("Average", "ID ACC")}
    assert len(sets) == (len(single) or 6)
    (number,) = re.findall(r"Table (\w+)", text)
    assert number == title(table).split()[1]
    assert "Authors' settings" in text or name.startswith("fort")
    assert re.search("Different here: |Ours: ", text)
    assert re.search(r"Cost: (.|\n)*GPU", text)


@pytest.mark.parametrize(("table", "part", "row", "name"), ROWS, ids=named)
def test_the_command_asks_the_rows_score(table, part, row, name):
    del table
    text = recipes.flag(recipes.FOLDER / f"{name}.cfg", "detectors")
    asked = {
        detector_list.read(one, part.benchmark).component.spec
        for one in detector_list.split(text).values()
    }
    score = row_reading.read(row.text, part.benchmark, part.network).component
    assert score.spec in asked


TWO_VIEWS = {
    "augment": ["resized_crop", "flip", "jitter", "grey"],
    "jitter": [0.4, 0.4, 0.4, 0.1],
    "jitter_probability": 0.8,
}
CONTRASTIVE = {**TWO_VIEWS, "batch_size": 512, "learning_rate": 0.5, "epochs": 500}
# The authors' settings for CIFAR; the recipes' heads say where they are from.
AUTHORS = {
    "logitnorm": {
        "epochs": 200, "batch_size": 128, "decay_epochs": [80, 140],
        "optimizer": "sgd", "weight_decay": 5e-4, "augment": ["crop", "flip"],
    },
    "vos": {
        "epochs": 100, "batch_size": 128, "schedule": "cosine",
        "optimizer": "nesterov", "weight_decay": 5e-4, "augment": ["crop", "flip"],
        "objective": "vos(lam=0.1, start=40.0, queue=1000, draws=10000, select=1)",
    },
    "npos": {
        **CONTRASTIVE, "batch_size": 256, "schedule": "contrastive",
        "warmup_epochs": 0.0, "optimizer": "nesterov", "weight_decay": 1e-4,
    },
    "cider": {
        **CONTRASTIVE, "schedule": "contrastive", "warmup_epochs": 10.0,
        "optimizer": "nesterov", "weight_decay": 1e-4,
    },
    "supcon": {
        **CONTRASTIVE, "schedule": "cosine", "optimizer": "sgd", "weight_decay": 1e-4,
    },
    "csi": {
        **TWO_VIEWS, "epochs": 700, "batch_size": 128, "learning_rate": 1.0,
        "optimizer": "lars", "weight_decay": 1e-6, "warmup_epochs": 10.0,
    },
    "tagfog": {
        **TWO_VIEWS, "epochs": 200, "batch_size": 512, "learning_rate": 0.05,
        "optimizer": "sgd", "weight_decay": 1e-4, "warmup_epochs": 10.0,
    },
    "godin": {
        "epochs": 300, "batch_size": 64, "decay_epochs": [150, 225],
        "weight_decay": 1e-4, "image_size": 224,
    },
}  # fmt: skip
# What differs between CIFAR-10 and CIFAR-100, in the objective's text.
DIFFERS = {
    "logitnorm": ("tau=0.01", "tau=0.04"),
    "npos": ("momentum=0.95", "momentum=0.5"),
    "cider": ("lam=2.0, temperature=0.1, momentum=0.95", "lam=1.0, temperature=0.1"),
    "supcon": ("temperature=0.5", "temperature=0.5"),
    "csi": ("kind='labelled', temperature=0.07", "kind='labelled', temperature=0.07"),
    "tagfog": ("fakes=2", "fakes=1"),
}
VIT = {
    "image_size": 384, "clip_norm": 1.0, "weight_decay": 0.0, "batch_size": 512,
    "schedule": "cosine", "optimizer": "sgd", "new_head": True,
    "objective": "cross_entropy()",
}  # fmt: skip
LARGE = {
    "mos_imagenet_resnet50": {
        "schedule": "bit", "epochs": 8, "batch_size": 512, "learning_rate": 3e-3,
        "weight_decay": 0.0, "objective": "mos(groups=8, mixup=0.1)",
    },
    "cider_imagenet100_resnet50": {"epochs": 20, "learning_rate": 5e-3},
    "godin_imagenet_resnet50": {"epochs": 30, "learning_rate": 1e-3},
    "fort_imagenet_vit_b16": VIT,
    "fort_imagenet_vit_l16": VIT,
}  # fmt: skip


@pytest.mark.slow
def test_the_recipes_have_the_authors_values(configs):
    checked = 0
    for path in recipes.OF_METHODS:
        method, benchmark, *_ = path.stem.split("_")
        wanted = LARGE.get(path.stem, {})
        if benchmark.startswith("cifar"):
            wanted = AUTHORS[method]
            if method in DIFFERS:
                text = DIFFERS[method][benchmark == "cifar100"]
                assert text in configs[path.stem]["objective"], path.stem
        for field, value in wanted.items():
            assert configs[path.stem][field] == value, (path.stem, field)
            checked += 1
    assert checked > 150


# What an objective adds to the network; "" is checked to be nothing.
ADDED = {
    "logitnorm": "", "fort": "", "vos": "vos class_queues", "supcon": "projector",
    "cider": "projector prototypes", "csi": "csi_head csi_head_joint",
    "npos": "projector npos prototypes class_queues",
    "tagfog": "tagfog tagfog_anchors", "godin": "godin_head godin_head_stats",
    "mos": "mos_head mos_head_groups",
}  # fmt: skip


@pytest.mark.slow
def test_the_networks_can_be_initialised_with_what_the_objectives_add(
    configs, tmp_path
):
    seen = set()
    for path in recipes.OF_METHODS:
        config = configs[path.stem]
        classes = benchmarks.describe(config["benchmark"]).num_classes
        anchors = tmp_path / f"texts_{classes}.npz"
        np.savez(anchors, texts=np.ones((classes, 768), np.float32))
        text = re.sub(r"anchors='[^']+'", f"anchors='{anchors}'", config["objective"])
        method, size, model = path.stem.split("_")[0], config["image_size"], None
        if (key := (config["model"], text, size)) in seen:
            continue
        seen.add(key)
        options = {"image_size": size} if method == "fort" else {}
        model = models.create(config["model"], classes, **options)
        fields = {k: config[k] for k in ("optimizer", "clip_norm", "weight_decay")}
        made = config_lib.TrainConfig(**fields)
        shapes = jax.eval_shape(
            lambda model=model, text=text, size=size, made=made: state.create_state(
                model,
                objectives.parse(text),
                optimizer.make_optimizer(made, 10),
                (size, size, 3),
                0,
            )
        )
        added = {*shapes.trained, *shapes.model_state} - {"params", "batch_stats"}
        assert added == set(ADDED[method].split()), path.stem
    assert len(seen) >= 30


def test_the_documentation_lists_every_row_with_its_recipe():
    page = (ROOT / "docs" / "training.md").read_text().splitlines()
    for table, _, row, name in ROWS:
        (line,) = [line for line in page if f"`{name}`" in line]
        assert line.startswith(f"| {title(table)} | {row.name} | "), name
