"""Own network + own folders -> detector -> scores: the two jobs as a user runs them."""

import csv
import json
import signal
import subprocess
import time

from helpers import brightness
from helpers.jobs import HEARS_SIGINT
from helpers.jobs import run_job
from helpers.jobs import start_job
from helpers.tiny_network import MODEL
from helpers.tiny_network import VARIABLES
import numpy as np
import pytest

import jood
from jood.weights import checkpoint

pytestmark = pytest.mark.slow


def launch(job, *arguments, code=0, prefix=()):
    """Runs a job; returns what it printed."""
    printed = run_job(job, *arguments, code=code, prefix=prefix)
    assert "Traceback" not in printed
    return printed


def rows(folder):
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A converted network, class folders, others to calibrate on, a detector."""
    root = tmp_path_factory.mktemp("work")
    trained = checkpoint.TrainedNetwork(
        model=MODEL,
        variables=VARIABLES,
        name="resnet_small",
        class_names=("ant", "bee", "cat"),
        preprocessing=jood.Preprocessing((0.5,) * 3, (0.25,) * 3),
        image_size=16,
        source={"file": "own"},
    )
    checkpoint.save(root / "network", trained)
    for index, name in enumerate(trained.class_names):
        brightness.folder(root / "train" / name, range(index, 250, 9), (20, 30))
        brightness.folder(root / "held" / name, range(index, 250, 11), (20, 30))
    printed = launch(
        "fit",
        f"--checkpoint={root / 'network'}",
        f"--images={root / 'train'}",
        f"--calibration={root / 'held'}",
        f"--output={root / 'detector'}",
        "--method=himplos",
        "--batch_size=16",
    )
    (root / "printed.txt").write_text(printed)
    images = np.random.default_rng(0).integers(0, 256, (1500, 16, 16, 3), np.uint8)
    np.savez(root / "traffic.npz", images=images)
    return root


def score(work, images, target, *more):
    return (
        f"--detector={work / 'detector'}",
        f"--images={images}",
        f"--output={target}",
        "--batch_size=4",
        *more,
    )


def test_two_commands_lead_from_a_network_to_scores(work, tmp_path):
    printed = (work / "printed.txt").read_text()
    assert "84 to fit, 69 to calibrate" in printed
    assert "at most 4.29% on average" in printed  # 3 of 70
    assert "jood score --detector=" in printed
    content = json.loads((work / "detector" / "detector.json").read_text())
    assert content["calibration"]["images"] == {"score": 69}
    assert content["class_names"] == ["ant", "bee", "cat"]

    arguments = score(work, work / "train", tmp_path / "out", "--fdr=0.5")
    printed = launch("score", *arguments)
    found = rows(tmp_path / "out")
    assert len(found) == 84
    detector = jood.Detector.load(work / "detector")
    image = brightness.gray(9, (20, 30))
    expected = detector.run([image])
    assert found[1]["path"].endswith("train/ant/0001.png")
    assert float(found[1]["score"]) == pytest.approx(float(expected.scores[0]), 1e-4)
    assert found[1]["class"] == detector.class_names[int(expected.prediction[0])]
    assert "84 scored, 0 failed" in printed
    assert "are called OOD at a false discovery rate of 50.00%" in printed
    assert "Fewer than 3 cannot be found among 84" in printed  # 84 / (70 * 0.5)
    again = launch("score", *arguments)
    assert "at a false discovery rate of 50.00%" in again
    assert "this job is done already" in again
    assert "84 scored, 0 failed" in again
    assert "exists already" in launch(
        "score", *score(work, work / "held", tmp_path / "out"), code=1
    )


def test_thresholds_per_class_need_images_of_each_class(work, tmp_path):
    printed = launch(
        "fit",
        f"--checkpoint={work / 'network'}",
        f"--images={work / 'train'}",
        f"--calibration={work / 'held'}",
        f"--output={tmp_path / 'detector'}",
        "--method=max_logit()",
        "--thresholds=per_class",
        "--tpr=0.99",
        code=1,
    )
    assert "needs at least 297 images to calibrate on, 99 for each of 3" in printed
    assert not (tmp_path / "detector").exists()


def test_bad_files_are_listed_and_the_exit_code_says_so(work, tmp_path):
    root = brightness.folder(tmp_path / "traffic", range(30))
    for index in range(3, 28):
        (root / f"{index:04}.png").write_bytes(b"\x89PNG no")
    printed = launch("score", *score(work, root, tmp_path / "out"), code=2)
    assert "5 scored, 25 failed" in printed
    assert f"failed: {root}/0003.png: its content is of none" in printed
    assert "and 5 more, in scores.csv" in printed
    assert sum(row["error"] != "" for row in rows(tmp_path / "out")) == 25


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_job_that_is_stopped_goes_on_where_it_was(work, tmp_path, sent):
    arguments = score(work, work / "traffic.npz", tmp_path / "out")
    partial = tmp_path / "out.partial"
    job = start_job("score", *arguments, prefix=HEARS_SIGINT)
    while len(list(partial.glob("parts/part-*"))) < 2:
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.01)
    job.send_signal(sent)
    printed, _ = job.communicate(timeout=100)
    assert job.returncode == (130 if sent is signal.SIGINT else -sent)
    if sent is signal.SIGINT:
        assert "of 1,500 images are scored and kept" in printed
        assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in partial.glob("parts/part-*")}
    times = {}
    job = start_job("score", *arguments)
    while job.poll() is None:
        for path in list(partial.glob("parts/part-*")):
            if path.name in kept:
                times[path.name] = path.stat().st_mtime_ns if path.exists() else 0
        time.sleep(0.05)
    printed, _ = job.communicate()
    assert job.returncode == 0, printed
    assert len(rows(tmp_path / "out")) == 1500
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {n: t for n, t in times.items() if t} == {n: kept[n] for n in times}


def test_a_full_disk_ends_the_job_with_what_to_do(work, tmp_path):
    """A limit on the size of files stands for the full disk."""
    arguments = score(work, work / "traffic.npz", tmp_path / "out")
    limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "limited"]  # KiB
    printed = launch("score", *arguments, code=1, prefix=limited)
    assert "All images are scored and kept in" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
    launch("score", *arguments)
    assert len(rows(tmp_path / "out")) == 1500


def test_a_detector_that_finds_no_space_is_kept_elsewhere(work, tmp_path):
    small, other = tmp_path / "small", tmp_path / "other"
    small.mkdir()
    other.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        printed = run_job(
            "fit",
            f"--checkpoint={work / 'network'}",
            f"--images={work / 'train'}",
            f"--output={small / 'detector'}",
            "--batch_size=16",
            "--tpr=0.9",
            "--method=knn(k=5)",
            code=1,
            TMPDIR=str(other),
        )
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert f"error: cannot write {small}/detector: No space left on device" in printed
    (kept,) = other.glob("jood.*/detector")
    assert f"The results are kept in {kept}." in printed
    assert jood.Detector.load(kept).calibration is not None


@pytest.mark.parametrize(
    ("job", "arguments", "message"),
    [
        ("fit", ["--images={}/train", "--tpr=0.9999"], "needs at least 9999 images"),
        ("fit", [], "either --images=FOLDER or --benchmark"),
        ("score", ["--detector={}/network"], "is not a saved detector"),
    ],
)
def test_wrong_use_fails_at_once_and_writes_nothing(
    work, tmp_path, job, arguments, message
):
    first = f"--checkpoint={work / 'network'}" if job == "fit" else "--images=/nowhere"
    given = [argument.format(work) for argument in arguments]
    printed = launch(job, first, *given, f"--output={tmp_path / 'out'}", code=1)
    assert message in printed
    assert list(tmp_path.iterdir()) == []
