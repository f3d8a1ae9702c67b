"""launch/evaluate.py on OpenOOD's CIFAR-10, as its downloader leaves it, but tiny."""

import csv
import json

from helpers import layouts
from helpers.jobs import run_job
import jax
import numpy as np
from PIL import Image
import pytest

import jood
from jood.data import benchmarks
from jood.weights import checkpoint

pytestmark = pytest.mark.slow
NAME = "openood_cifar10"


def test_the_protocol_from_lists_to_a_row_of_the_leaderboard(tmp_path):
    layouts.openood_cifar10(tmp_path / "data")
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "data").rglob("*.png")):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    described = benchmarks.describe(NAME)
    model = jood.models.create("resnet_small", 10, width=4, stage_sizes=(1, 1))
    trained = checkpoint.TrainedNetwork(
        model=model,
        variables=jax.jit(model.init)(jax.random.key(0), np.zeros((1, 32, 32, 3))),
        name="resnet_small",
        class_names=described.class_names,
        preprocessing=described.preprocessing["openood"],
        image_size=32,
        source={"file": "own"},
    )
    checkpoint.save(tmp_path / "network", trained)
    printed = run_job(
        "evaluate",
        f"--checkpoint={tmp_path / 'network'}",
        f"--benchmark={NAME}",
        f"--data_dir={tmp_path / 'data'}",
        f"--output={tmp_path / 'out'}",
        "--detectors=MSP,fs_ta_energy",
        "--select",
        "--select_on=validation_ood",
        "--batch_size=16",
    )
    assert "mean near" in printed
    assert "validation OOD" in printed  # what the selection saw
    table = (tmp_path / "out" / "table.txt").read_text()
    assert "mean far (3 of 4)" in table  # Places365 has a list but no images
    with (tmp_path / "out" / "leaderboard_ood.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = rows[0]
    assert first["Postprocessor"] == "MSP"
    for column in ("Near-OOD_AUROC", "Far-OOD_AUROC", "ID_Accuracy"):
        assert 0 <= float(first[column].split()[0]) <= 100
    partial = "partial: mean near*, mean far (3 of 4)*"  # sets, too, are in part here
    assert partial in first["Additional_Description"]
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["configuration"]["select_on"] == ["validation_ood"]
