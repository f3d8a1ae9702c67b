"""Evaluation on image files: unreadable, unlabelled, absent ones; other classes."""

import json

from helpers import layouts
from helpers import tiny_network
from helpers.jobs import run_job as job
import numpy as np
import pytest

from jood import models
from jood.core import preprocessing
from jood.data import benchmarks
from jood.data.benchmarks.spec import Benchmark
from jood.data.sources import Skipping
from jood.data.sources.image_folder import ImageFolder
from jood.evaluation import benchmark_run
from jood.evaluation import preflight
from jood.methods import detector_text
from jood.report.benchmark import results
from jood.report.benchmark.benchmark_results import BenchmarkResults
from jood.weights import checkpoint

# The ID images are nearly black, and the network gives them the same output.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.* gives each of"),
    pytest.mark.filterwarnings("ignore:a detector is fitted on"),
]

CLASSES = ("cat", "dog", "frog")
PREPROCESSING = preprocessing.Preprocessing((0.5,) * 3, (0.25,) * 3, resize=20, crop=16)
TEXTS = {"FS": "feature_sim()", "Energy": "energy()", "KNN": "knn(k=2)"}


def benchmark_of(root, source=lambda folder, **options: ImageFolder(folder, **options)):
    """A benchmark of image files of two sizes, one OOD set of which is absent."""
    layouts.class_folders(root / "train", CLASSES, count=4)
    layouts.class_folders(root / "test", CLASSES, count=3)
    for index in range(5):
        layouts.image(root / "ood" / f"{index}.png", 40 * index, size=(30, 17 + index))
    return Benchmark(
        name="imagenet",
        id_train=source(root / "train", preprocessing=PREPROCESSING),
        id_test=source(root / "test", preprocessing=PREPROCESSING),
        ood={"odd": source(root / "ood", preprocessing=PREPROCESSING, labelled=False)},
        near=(),
        class_names=CLASSES,
        preprocessing=PREPROCESSING,
        image_size=16,
        protocol="Tiny files.",
        absent={"sun": "looked for in SUN"},
        incomplete={"id_test": "found 9 of 10"},
    )


def evaluated(benchmark, texts=TEXTS, **options):
    detector = benchmark_run.make_detector(
        texts, benchmark, tiny_network.MODEL, tiny_network.VARIABLES
    )
    return benchmark_run.evaluate(detector, benchmark, batch_size=4, **options)[1]


def skipping(folder, **options):
    return Skipping(ImageFolder(folder, **options))


@pytest.mark.slow
def test_an_unreadable_image_stops_by_default_and_is_named(tmp_path):
    benchmark = benchmark_of(tmp_path)
    (tmp_path / "ood" / "3.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"3\.png"):
        evaluated(benchmark)


@pytest.mark.slow
def test_unreadable_images_are_left_out_named_and_counted(tmp_path):
    whole = evaluated(benchmark_of(tmp_path))
    assert whole.skipped == {}
    benchmark = benchmark_of(tmp_path, skipping)
    (tmp_path / "ood" / "3.png").write_bytes(b"no image")
    (tmp_path / "test" / "dog" / "1.png").write_bytes(b"")
    found = evaluated(benchmark)
    assert {name: len(lines) for name, lines in found.skipped.items()} == {
        "id_test": 1,
        "odd": 1,
    }
    assert "3.png" in found.skipped["odd"][3]
    for name in TEXTS:
        kept = np.delete(whole.ood_scores["odd"][name], 3)
        np.testing.assert_allclose(found.ood_scores["odd"][name], kept, rtol=1e-5)
        kept = np.delete(whole.id_scores[name], 4)
        np.testing.assert_allclose(found.id_scores[name], kept, rtol=1e-5)


@pytest.mark.slow
def test_worker_processes_give_the_same_scores_and_count_skipped_images(tmp_path):
    benchmark = benchmark_of(tmp_path, skipping)
    (tmp_path / "ood" / "0.png").write_bytes(b"no image")
    here, there = evaluated(benchmark), evaluated(benchmark, workers=2)
    assert here.skipped == there.skipped
    for name in TEXTS:
        np.testing.assert_array_equal(here.id_scores[name], there.id_scores[name])


def test_waiting_is_a_share_of_the_time(tmp_path):
    assert 0 < evaluated(benchmark_of(tmp_path)).waiting < 1


@pytest.mark.slow
def test_results_say_what_is_absent_incomplete_and_skipped(tmp_path):
    benchmark = benchmark_of(tmp_path, skipping)
    (tmp_path / "ood" / "0.png").write_bytes(b"no image")
    model = models.create("resnet_small", 3, width=4)
    variables = tiny_network.random_variables(model)
    detector = benchmark_run.make_detector(TEXTS, benchmark, model, variables)
    fitted, result = benchmark_run.evaluate(detector, benchmark, batch_size=4)
    printed = results.write(
        tmp_path / "results",
        BenchmarkResults([result], fitted, benchmark, TEXTS, configuration={}),
    )
    assert "ABSENT, not scored: sun." in printed
    assert "INCOMPLETE (*): id_test found 9 of 10." in printed
    assert "odd 1" in printed
    assert "mean (1 of 2)*" in printed
    summary = json.loads((tmp_path / "results" / "results.json").read_text())
    assert summary["absent"] == {"sun": "looked for in SUN"}
    assert "0.png" in summary["skipped"]["odd"][0]


@pytest.mark.slow
def test_without_labels_there_is_no_accuracy_and_json_stays_json(tmp_path):
    labelled = benchmark_of(tmp_path)
    plain = ImageFolder(tmp_path / "test", preprocessing=PREPROCESSING, labelled=False)
    fields = {**vars(labelled), "id_test": plain, "class_names": ()}
    model = models.create("resnet18", 0, width=4)
    variables = tiny_network.random_variables(model)
    benchmark = Benchmark(**fields)
    texts = {"FS": "feature_sim()", "FS+TA": "fs_ta"}
    preflight.check(detector_text.parse_each(texts), model, benchmark.image_size)
    detector = benchmark_run.make_detector(texts, benchmark, model, variables)
    fitted, result = benchmark_run.evaluate(detector, benchmark, batch_size=4)
    assert np.isnan(result.accuracy)
    printed = results.write(
        tmp_path / "results",
        BenchmarkResults([result], fitted, benchmark, texts, configuration={}),
    )
    assert "No ID accuracy" in printed
    text = (tmp_path / "results" / "results.json").read_text()
    assert json.loads(text)["id_accuracy"] == [None]
    assert "NaN" not in text


@pytest.mark.slow
def test_job_converts_checks_and_scores_real_images(data_dir, tmp_path):
    shown = job("prepare", "--benchmark=cifar10", f"--data_dir={data_dir}", "--check")
    assert "ABSENT" in shown
    file = data_dir / "weights" / "akamaster_resnet20-12fca82f.npz"
    job(
        "convert",
        f"--weights={file}",
        "--model=resnet20",
        "--benchmark=cifar10",
        "--mean=.485,.456,.406",
        "--std=.229,.224,.225",
        f"--output={tmp_path / 'net'}",
    )
    assert checkpoint.open(tmp_path / "net").class_names[0] == "airplane"
    printed = job(
        "evaluate",
        f"--checkpoint={tmp_path / 'net'}",
        "--benchmark=cifar10",
        f"--data_dir={data_dir}",
        "--ood=mnist,tin_crop",
        "--detectors=energy, fs_ta",
        "--workers=1",
        f"--output={tmp_path / 'results'}",
    )
    assert "ID accuracy 91.73 %" in printed
    assert "waited for data" in printed
    assert (tmp_path / "results" / "heatmaps.png").stat().st_size > 10_000


def test_arrays_are_resized_and_cropped_as_files_are_also_to_their_own_size(data_dir):
    closer = preprocessing.Preprocessing((0.5,) * 3, (0.25,) * 3, resize=40, crop=32)
    chosen = {"data_dir": data_dir, "ood": ("mnist", "cifar100_test")}
    plain = benchmarks.get("cifar10", **chosen)
    fitted = benchmarks.get("cifar10", preprocessing=closer, **chosen)
    for name in chosen["ood"]:
        image = plain.ood[name][3]["image"]
        np.testing.assert_array_equal(
            fitted.ood[name][3]["image"], closer.fit_image(image)
        )
        assert (fitted.ood[name][3]["image"] != image).any()
