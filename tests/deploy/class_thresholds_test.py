"""The jobs with thresholds per class and at a false discovery rate."""

import csv
import dataclasses
import json

from helpers import brightness
import jax.numpy as jnp
import numpy as np
from pyarrow import parquet
import pytest

import jood
from jood.data import inputs as inputs_lib
from jood.data.id_splits import IdSplits
from jood.data.sources import ArraySource
from jood.deploy import finished_scores
from jood.deploy import fit_job
from jood.deploy import plots
from jood.deploy import requirements
from jood.deploy import score_job
from jood.detector.calibration import Calibration
from jood.detector.class_calibration import ClassCalibration

LEVELS = list(range(0, 250, 5))  # 50 images
DARK = [0] * 30 + LEVELS[30:]  # of which 30 are darker than those of the calibration


def two_classes(calibration=None):
    """Logits m and 1 - m of an image of brightness m: bright, or dark below 1/2."""
    head = {"kernel": jnp.array([[1.0, -1.0]]), "bias": jnp.array([0.0, 1.0])}
    return dataclasses.replace(
        brightness.detector(),
        variables={"params": {"head": head}},
        calibration=calibration,
    )


def per_class(tpr=0.8):
    """Calibrated on 19 bright and 9 dark images."""
    bright, dark = np.linspace(0.7, 0.95, 19), np.linspace(0.55, 0.9, 9)
    parts = [Calibration(tpr, {"score": x.astype("f")}) for x in (bright, dark)]
    return two_classes(ClassCalibration(tuple(parts)))


def score(folder, target, detector, **fields):
    inputs = inputs_lib.open_inputs(folder, requirements.preprocessing_of(detector))
    config = score_job.ScoreConfig(str(target), 4, **fields)
    return score_job.run(detector, inputs, config, identity="one")


def table(folder):
    with (folder / finished_scores.TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def no_files_of_pictures(monkeypatch):
    """They are drawn; writing them takes most of the time."""
    monkeypatch.setattr(score_job.figures, "save_pictures", lambda *_: None)


@pytest.fixture
def images(tmp_path):
    return brightness.folder(tmp_path / "images", LEVELS)


def test_each_row_has_the_threshold_of_its_class(images, tmp_path):
    (images / "broken.png").write_bytes(b"no image")
    detector = per_class()
    results = score(str(images), tmp_path / "out", detector, report=True)
    *rows, broken = table(tmp_path / "out")
    gamma = dict(zip(detector.class_names, detector.threshold, strict=True))
    assert len(set(gamma.values())) == 2
    for row in rows:
        own = gamma[row["class"]]
        assert float(row["threshold"]) == pytest.approx(own)
        assert row["is_ood"] == str(float(row["score"]) < own).lower()
    assert [broken[n] for n in ("threshold", "is_ood", "p_value")] == [""] * 3
    assert {row["class"] for row in rows} == set(gamma)
    called = np.mean([row["is_ood"] == "true" for row in rows])
    assert results.called_ood == {"score": pytest.approx(called)}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["thresholds"]["score"] == pytest.approx(list(gamma.values()))
    assert summary["promises"]["score"]["images"] == 28
    low, high = plots.outermost(detector.threshold)
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{low:.4g} to {high:.4g}" in page


def test_the_tpr_of_a_detector_with_thresholds_per_class_can_change():
    detector = requirements.with_tpr(per_class(), 0.9)
    assert detector.calibration.tpr == 0.9
    with pytest.raises(ValueError, match=r"at least 19 .* 1 of 2 classes.*: 1 \(9\)"):
        requirements.with_tpr(per_class(), 0.95)


def test_a_job_at_a_false_discovery_rate_adds_q_values(tmp_path):
    images = brightness.folder(tmp_path / "dark", DARK)
    (images / "0007.png").write_bytes(b"no image")
    detector = brightness.detector()
    results = score(str(images), tmp_path / "out", detector, fdr=0.2, parquet=True)
    rows = table(tmp_path / "out")
    assert list(rows[0])[-3:] == ["p_value", "q_value", "error"]
    readable = [row for row in rows if not row["error"]]
    assert len(readable) == 49
    q = np.array([float(row["q_value"]) for row in readable])
    p = np.array([float(row["p_value"]) for row in readable])
    np.testing.assert_allclose(q, jood.q_values(p), rtol=1e-7)
    assert rows[7]["q_value"] == ""
    assert 0 < results.discovered["score"] == (q <= 0.2).sum()
    stored = parquet.read_table(tmp_path / "out" / score_job.PARQUET)
    np.testing.assert_allclose(stored["q_value"].drop_null(), q, rtol=1e-7)
    again = score(str(images), tmp_path / "out", detector, fdr=0.2, parquet=True)
    assert again.discovered == results.discovered  # read from the finished folder


def test_a_rate_that_can_never_be_met_is_refused_before_scoring(images, tmp_path):
    with pytest.raises(ValueError, match=r"19 calibration image.*at least 99"):
        score(str(images), tmp_path / "out", brightness.detector(), fdr=0.01)
    assert not list(tmp_path.glob("out*"))


def gray_splits(count, seed=0):
    """Calibration and check images of random brightness."""
    levels = np.random.default_rng(seed).integers(0, 256, (2, count))
    held, check = (np.stack([brightness.gray(n) for n in some]) for some in levels)
    return IdSplits(
        name="gray",
        fit=ArraySource(check),
        calibration=ArraySource(held),
        check=ArraySource(check),
        preprocessing=brightness.FIT,
        class_names=("bright", "dark"),
    )


def test_fitting_with_thresholds_per_class_says_what_holds():
    data, detector = gray_splits(90), two_classes()
    made = fit_job.make(detector, data, tpr=0.9, thresholds="per_class", batch_size=64)
    calibration = made.detector.calibration
    predicted = detector.run(data.calibration.images).prediction
    sizes = [one.images() for one in calibration.classes]
    assert sizes == np.bincount(predicted).tolist()
    assert min(sizes) > 20
    output = made.detector.answer(data.check.images)
    assert made.alarms["score"] == pytest.approx(output.is_ood.mean())
    assert "images that the network calls any one class at most" in made.text()


def test_fewer_calibration_images_than_the_classes_need_are_refused_early():
    match = r"at least 198 .*, 99 for each of 2 classes, there are 90.*at most 0\.9782"
    with pytest.raises(ValueError, match=match):
        fit_job.make(two_classes(), gray_splits(90), tpr=0.99, thresholds="per_class")


def test_a_class_without_enough_calibration_images_is_named():
    data = dataclasses.replace(
        gray_splits(9), calibration=ArraySource(np.full((60, 4, 4, 3), 200, np.uint8))
    )
    with pytest.raises(ValueError, match=r"1 of 2 classes have fewer: dark \(0\)"):
        fit_job.make(two_classes(), data, tpr=0.9, thresholds="per_class")
