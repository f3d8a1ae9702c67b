"""launch/measure_*.py: each runs to its table, at sizes that say nothing of speed."""

import importlib.util
import json
import shlex

from helpers.jobs import run_job
import jax
import numpy as np
from PIL import Image
import pytest

import jood
from jood.evaluation import synthetic_outliers
from jood.weights import checkpoint

pytestmark = pytest.mark.slow
_PRODUCTS = ("convolution", "product")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photographs, of which the jobs make as many as they need."""
    path = tmp_path_factory.mktemp("photographs")
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{i}.jpg")
    return path


def run(what, *arguments, ok=True):
    return run_job(f"measure_{what}", *arguments, ok=ok, JOOD_DATA_DIR=None)


@pytest.fixture
def measure(tmp_path):
    """Runs a job; returns what it says that it measured, and the rows of its table."""

    def measured(what, *arguments):
        output = tmp_path / f"{what}.json"
        printed = run(what, *arguments, f"--output={output}")
        content = json.loads(output.read_text())
        assert content["command"] == shlex.join(["jood", f"measure_{what}", *arguments])
        assert printed.count(content["what"]) == 1
        return content["what"], content["rows"]

    return measured


def by(column, rows):
    return {row[column]: row for row in rows}


def test_what_all_detectors_cost_beside_the_network(measure):
    what, rows = measure(
        "cost",
        "--model=resnet_small",
        "--image_size=32",
        "--batch_size=2",
        "--classes=4",
        "--bank=1001",
        "--runs=1",
    )
    found = by("what", rows)
    assert found["network"]["x network"] == 1
    for name in ("all detectors", "MSP", "KNN", "ViM", "HIMPLoS"):
        assert found[name]["x network"] > 0
    assert found["network, one run"]["memory x one run"] == 1
    assert found["all detectors"]["memory x one run"] > 0
    assert "batch 2, 4 classes" in what


def test_forward_passes(measure):
    what, rows = measure(
        "forward",
        "--models=resnet18",
        "--image_size=32",
        "--batch_size=2",
        "--runs=1",
        "--nocompile",
    )
    assert "batch 2, 32 px" in what
    assert {"jood", "jood, jax.jit"} <= by("program", rows).keys()


def test_convolutions_and_products_by_themselves(measure):
    what, rows = measure(
        "products",
        "--model=resnet_small",
        "--image_size=32",
        "--batch_size=16",
        "--classes=4",
        "--runs=1",
    )
    assert "of resnet_small at 32 px, batch 16" in what
    found = by("what", rows)
    products = [row for name, row in found.items() if name.split()[0] in _PRODUCTS]
    assert sum(row["ms"] for row in products) == pytest.approx(
        found["its products"]["ms"], rel=1e-3
    )
    assert found["network"]["x network"] == 1
    assert all(row["times"] >= 1 and row["GFLOP/s"] > 0 for row in products)


@pytest.fixture
def network(tmp_path):
    """The folder of a network of the digits, with random weights."""
    images = np.zeros((1, 32, 32, 3), np.float32)
    model = jood.models.create("resnet_small", 8)
    trained = checkpoint.TrainedNetwork(
        model=model,
        variables=jax.jit(model.init)(jax.random.key(0), images),
        name="resnet_small",
        class_names=tuple("01234567"),
        preprocessing=jood.Preprocessing((0.5,) * 3, (0.25,) * 3),
        image_size=32,
        source={"file": "own"},
    )
    checkpoint.save(tmp_path / "network", trained)
    return tmp_path / "network"


def test_an_evaluation_against_its_forward_passes(measure, network):
    flags = (f"--checkpoint={network}", "--benchmark=digits_tiny", "--ood=uniform")
    rest = ("--detectors=msp,fs_ta", "--batch_size=64", "--runs=1")
    what, rows = measure("evaluate", *flags, *rest)
    assert what.startswith("2 detectors, resnet_small, digits_tiny, ")
    assert "network: the 2 runs that they need" in what
    assert by("what", rows)["evaluate"]["x network"] > 1
    refused = run("evaluate", *flags, "--detectors=odin", ok=False)
    assert "odin: run(s) the network again" in refused


def test_what_each_kind_of_synthetic_images_chooses(network, tmp_path):
    printed = run(
        "selection",
        f"--checkpoint={network}",
        "--benchmark=digits_tiny",
        "--ood=near",
        "--images=10",
        "--batch_size=10",
        f"--output={tmp_path / 'selection'}",
    )
    assert "resnet_small on digits_tiny, 10 images per set" in printed
    table = (tmp_path / "selection" / "selection.md").read_text()
    for kind in (*synthetic_outliers.KINDS, "blur + jigsaw + mixed"):
        assert f"{kind} " in table
    content = json.loads((tmp_path / "selection" / "candidates.json").read_text())
    assert len(content) == 3


def test_a_quickstart(measure):
    what, rows = measure("quickstart", "--epochs=1", "--runs=1")
    assert what == "jood quickstart, --epochs=1, install aside, median of 1 runs"
    found = {row["what"]: row["s"] for row in rows}
    assert found["training"] >= 1
    assert found["quickstart"] == pytest.approx(
        found["training"] + found["all else"], rel=1e-3
    )


def test_a_fresh_process(measure):
    what, rows = measure("fresh", "--model=resnet_small", "--method=energy", "--runs=1")
    assert "a fresh process, energy, resnet_small, 32 px" in what
    kept = by("what", rows)
    assert kept.keys() == {"first score", "first score, cached"}
    for row in rows:
        parts = ("Python", "import", "load", "compile and score")
        assert row["s"] == pytest.approx(sum(row[part] for part in parts), rel=1e-3)


def test_all_parts_of_a_device(tmp_path):
    """The files that it writes are sections of docs/results/speed.md."""
    out, none = tmp_path / "gpu", tmp_path / "none"
    assert "--any_device" in run("gpu", f"--output={none}", ok=False)
    small = ("--model=resnet18", "--image_size=32", "--batch_size=2", "--runs=1")
    parts = "--parts=speed_gpu_forward,speed_gpu_knn"
    run("gpu", f"--output={out}", "--any_device", "--bank=1001", parts, *small)
    names = {"speed_gpu_forward", "speed_gpu_knn"}
    assert {path.stem for path in out.iterdir()} == names
    content = json.loads((out / "speed_gpu_forward.json").read_text())
    assert "bfloat16" in content["what"]
    assert all(row["TFLOP/s"] > 0 for row in content["rows"])
    wrong = ("--any_device", "--parts=speed_gpu_forwrd", f"--output={none}")
    assert "near: speed_gpu_forward" in run("gpu", *wrong, ok=False)
    assert not none.exists()


def test_the_input_pipeline(folder, measure):
    what, rows = measure(
        "input",
        f"--folder={folder}",
        "--images=4",
        "--batch_size=2",
        "--workers=1",
        "--runs=1",
    )
    assert "4 images of 3 files" in what
    assert {"jood, threads", "jood, 1 workers"} <= by("pipeline", rows).keys()
    assert all(row["whole"] > 0 for row in rows)


@pytest.mark.parametrize("what", ["input", "scoring"])
def test_without_images_a_folder_is_asked_for(what):
    assert "name a folder of images with --folder" in run(what, ok=False)


def test_nearest_neighbours_are_those_of_sorting(measure):
    what, rows = measure(
        "knn", "--rows=100", "--width=8", "--queries=10", "--k=3", "--runs=1"
    )
    assert "10 queries, bank of 100 x 8" in what
    found = by("search", rows)
    assert found["product"]["x product"] == 1
    assert found["jood"]["largest error"] < 1e-5


def test_twelve_detectors_of_pytorch_ood(measure):
    if not importlib.util.find_spec("pytorch_ood"):
        assert "pip install pytorch-ood" in run("peers", ok=False)
        return
    what, rows = measure(
        "peers", "--image_size=32", "--batch_size=2", "--bank=1000", "--runs=1"
    )
    assert "12 detectors on ResNet-50, 32 px, batch 2" in what
    found = by("program", rows)
    assert found["torch, network"]["x its network"] == 1
    assert found["jood"]["x jood"] == 1
    assert found["pytorch-ood"]["x its network"] > 1


def test_scoring_files(folder, measure):
    what, rows = measure(
        "scoring",
        f"--folder={folder}",
        "--model=resnet_small",
        "--images=4",
        "--batch_size=2",
        "--runs=1",
    )
    assert "4 images of 3 files, resnet_small, fs_ta_energy" in what
    for row in rows:
        hours = row["core-ms per image"] / 3.6
        assert row["core hours a million"] == pytest.approx(hours, rel=1e-3)
        assert row["price a million"] == pytest.approx(0.04 * hours, rel=1e-3)
    assert list(by("what", rows)) == ["decode", "score", "decode and score"]


def test_one_image_at_a_time(measure):
    pytest.importorskip("uvicorn", reason="needs the extra jood[serve]")
    what, rows = measure(
        "serving", "--model=resnet_small", "--image_size=32", "--requests=2"
    )
    assert "one image at a time, resnet_small, 32 px" in what
    found = by("what", rows)
    assert found["network"]["core time x network"] == 1
    for name in ("Detector.answer", "Scorer.answer", "POST /answer"):
        assert 0 < found[name]["p50 ms"] <= found[name]["p95 ms"]


def test_one_image_beside_the_bare_network(measure):
    what, rows = measure(
        "latency",
        "--model=resnet_small",
        "--image_size=32",
        "--classes=2",
        "--detector=Energy",
        "--runs=1",
    )
    assert "one image at a time, resnet_small, 32 px" in what
    found = by("what", rows)
    assert found["network"]["x network"] == 1
    for name in ("detector(image)", "detector.answer", "exported file"):
        assert found[name]["ms"] > 0
    assert found["detector(image)"]["compile s"] > 0


def test_training_steps_and_what_two_devices_send_each_other(measure):
    what, rows = measure(
        "training",
        "--model=resnet_small",
        "--image_size=32",
        "--batch_size=4",
        "--rounds=1",
        "--devices=2",
        "--classes=4",
        '--objectives=cross_entropy,ssod,"vos(queue=3, draws=8)",tagfog',
        "--clock=cpu",
    )
    assert "2 device(s), cpu time" in what
    plain, of_sixteen = (r for r in rows if r["objective"] == "cross_entropy")
    assert (plain["images"], plain["/ plain"], plain["/ as many"]) == (4, 1, 1)
    assert (of_sixteen["images"], of_sixteen["/ as many"]) == (16, 1)
    found = by("objective", rows)
    assert found["ssod"]["images"] == 4  # that the network is run on
    assert found["tagfog"]["images"] == 16  # two views of them and of as many fakes
    assert "vos(queue=3, draws=8), sampling" in found
    megabytes = 4e-6 * 175_323  # of the gradients, float32
    assert found["ssod"]["all-reduce MB"] == pytest.approx(megabytes, rel=0.05)
