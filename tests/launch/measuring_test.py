"""launch/measure_*.py: each runs to its table, at sizes that say nothing of speed."""

from helpers.jobs import run_job
import numpy as np
from PIL import Image
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photographs, of which the jobs make as many as they need."""
    path = tmp_path_factory.mktemp("photographs")
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{i}.jpg")
    return path


def measure(what, *arguments, ok=True):
    return run_job(f"measure_{what}", *arguments, ok=ok, JOOD_DATA_DIR=None)


def rows(printed):
    """The lines of a table by their first word."""
    return {line.split()[0]: line.split() for line in printed.splitlines() if line}


def test_what_all_detectors_cost_beside_the_network():
    printed = measure(
        "cost",
        "--model=resnet_small",
        "--image_size=32",
        "--batch_size=2",
        "--classes=4",
        "--bank=1001",
        "--runs=1",
    )
    found = rows(printed)
    for name in ("MSP", "KNN", "ViM", "HIMPLoS"):
        assert float(found[name][-1]) > 0
    assert "batch 2, 4 classes" in printed
    assert "with all scores: " in printed


def test_forward_passes():
    printed = measure(
        "forward",
        "--models=resnet18",
        "--image_size=32",
        "--batch_size=2",
        "--runs=1",
        "--nocompile",
    )
    assert "batch 2, 32 px" in printed
    assert "jood, jax.jit" in printed


def test_the_input_pipeline(folder):
    printed = measure(
        "input",
        f"--folder={folder}",
        "--images=4",
        "--batch_size=2",
        "--workers=1",
        "--runs=1",
    )
    assert "4 images of 3 files" in printed
    assert "jood, threads" in printed
    assert "jood, 1 workers" in printed


@pytest.mark.parametrize("what", ["input", "scoring"])
def test_without_images_a_folder_is_asked_for(what):
    assert "name a folder of images with --folder" in measure(what, ok=False)


def test_nearest_neighbours_are_those_of_sorting():
    printed = measure(
        "knn", "--rows=100", "--width=8", "--queries=10", "--k=3", "--runs=1"
    )
    assert "10 queries, bank 100 x 8" in printed
    (line,) = (line for line in printed.splitlines() if "differ from sorting" in line)
    assert float(line.split()[-1]) < 1e-5


def test_scoring_files(folder):
    printed = measure(
        "scoring",
        f"--folder={folder}",
        "--model=resnet_small",
        "--images=4",
        "--batch_size=2",
        "--runs=1",
    )
    assert "4 images of 3 files, resnet_small, fs_ta_energy" in printed
    assert "decode and score" in printed
    assert "a million images at 0.04" in printed


def test_one_image_at_a_time():
    pytest.importorskip("uvicorn", reason="needs the extra jood[serve]")
    printed = measure(
        "serving", "--model=resnet_small", "--image_size=32", "--requests=2"
    )
    assert "one image at a time, resnet_small, 32 px" in printed
    assert "  network          p50" in printed
    found = rows(printed)
    for name in ("Detector.answer", "Scorer.answer", "POST"):
        assert "times the network's" in " ".join(found[name])


def test_training_steps_and_what_two_devices_send_each_other():
    printed = measure(
        "training",
        "--model=resnet_small",
        "--image_size=32",
        "--batch_size=4",
        "--rounds=1",
        "--devices=2",
        "--objectives=cross_entropy,ssod",
        "--clock=cpu",
    )
    assert "2 x cpu, cpu time" in printed
    found = rows(printed)
    assert float(found["cross_entropy"][3]) == 1.0  # the ratio to itself
    megabytes = 4e-6 * 175_323  # of the gradients, float32
    assert float(found["ssod"][-1]) == pytest.approx(megabytes, rel=0.05)
