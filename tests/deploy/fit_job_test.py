"""From a network to a detector's folder: fitted, calibrated, checked, saved."""

import dataclasses
import json

from helpers import brightness
from helpers.tiny_network import MODEL
from helpers.tiny_network import VARIABLES
import numpy as np
import pytest

import jood
from jood.data.id_splits import IdSplits
from jood.data.sources import ArraySource
from jood.data.sources import Skipping
from jood.deploy import fit_job

SIZE = 8
FIT = jood.Preprocessing((0.5,) * 3, (0.5,) * 3, resize=SIZE, crop=SIZE)


def noise(count, seed, labels=True):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return ArraySource(images, rng.integers(0, 3, count) if labels else None)


def splits(**fields):
    parts = {"fit": noise(40, 0), "calibration": noise(60, 1), "check": noise(50, 2)}
    return IdSplits(
        name="noise",
        preprocessing=FIT,
        class_names=("a", "b", "c"),
        **{**parts, **fields},
    )


def detector(method="react(q=0.9)|energy()"):
    return jood.Detector(
        method, MODEL, VARIABLES, preprocessing=FIT, class_names=("a", "b", "c")
    )


@pytest.mark.slow
def test_it_fits_calibrates_and_checks_on_the_three_sets():
    data = splits()
    made = fit_job.make(detector(), data, tpr=0.9, batch_size=16)
    expected = (
        detector().fit([data.fit.images]).calibrate([data.calibration.images], tpr=0.9)
    )
    found = made.detector
    np.testing.assert_allclose(
        found.calibration.scores["score"],
        expected.calibration.scores["score"],
        rtol=1e-5,
    )
    assert found.threshold == pytest.approx(expected.threshold, rel=1e-5)
    assert made.images == {"fit": 40, "calibrate": 60, "check": 50}
    run = expected.run(data.calibration.images)
    assert made.accuracy == pytest.approx(
        np.mean(run.prediction == data.calibration.labels)
    )
    alarms = np.mean(expected.is_ood(data.check.images))
    assert made.alarms["score"] == pytest.approx(alarms)
    text = made.text()
    assert "40 to fit, 60 to calibrate, 50 to check" in text
    assert "at most 9.84% on average" in text  # 6 of 61
    assert f"{alarms:.2%} of 50 other ID images" in text


def test_an_accuracy_of_guessing_is_warned_of():
    data = splits()
    made = fit_job.make(detector(), data, tpr=0.9, batch_size=16)
    assert "WARNING" not in made._replace(accuracy=0.9).text()
    assert "WARNING: guessing would reach" in made._replace(accuracy=0.3).text()


@pytest.mark.filterwarnings("ignore:a gives each of 20 calibration images the same")
def test_a_bundle_is_told_for_each_part_and_nothing_is_fitted_in_vain():
    made = fit_job.make(
        detector("bundle(a=msp(), b=energy())"),
        splits(check=None, calibration=noise(20, 1, labels=False)),
        tpr=0.95,
        batch_size=16,
    )
    assert made.images == {"fit": 0, "calibrate": 20, "check": 0}
    assert made.accuracy is None
    assert set(made.detector.threshold) == {"a", "b"}
    lines = made.text().splitlines()
    assert lines[0] == "images: 20 to calibrate"
    assert sorted(line[:2] for line in lines[1:]) == ["a:", "b:"]


def test_images_at_the_threshold_are_no_alarms():
    same = noise(60, 1)
    data = splits(calibration=same, check=same)
    made = fit_job.make(detector("energy()"), data, tpr=0.9, batch_size=16)
    assert made.alarms["score"] == pytest.approx(5 / 60)  # γ is the 6th smallest


class Untouched:
    """Nine images that nobody may read."""

    def __len__(self):
        return 9

    def __getitem__(self, index):
        raise AssertionError("was read")


def test_too_few_images_are_refused_before_anything_is_fitted():
    with pytest.raises(ValueError, match=r"at least 19 .*at most 0.9000"):
        fit_job.make(
            detector(), splits(fit=Untouched(), calibration=Untouched()), tpr=0.95
        )


class Broken:
    """The third image cannot be read."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        from jood.data.sources import decoding

        if index == 2:
            raise decoding.ImageError("2.png", "it is cut")
        return self.source[index]


def test_unreadable_images_are_left_out_and_listed():
    whole = noise(30, 1)
    kept = np.delete(np.arange(30), 2)
    made, expected = (
        fit_job.make(detector("energy()"), splits(calibration=source), 0.9)
        for source in (Skipping(Broken(whole)), ArraySource(whole.images[kept]))
    )
    np.testing.assert_allclose(
        made.detector.calibration.scores["score"],
        expected.detector.calibration.scores["score"],
        rtol=1e-5,
    )
    assert made.images["calibrate"] == 29
    assert made.skipped == {"calibrate": ["2.png: it is cut"]}
    assert "could not be read, to calibrate: 2.png" in made.text()


@pytest.mark.slow
def test_the_folder_is_a_detector_with_its_origin_and_a_picture(tmp_path):
    made = fit_job.make(detector(), splits(), tpr=0.9)
    fit_job.write(tmp_path / "detector", made, {"method": "x"})
    assert {path.name for path in (tmp_path / "detector").iterdir()} == {
        *("detector.json", "arrays.safetensors"),
        *("fit.json", "calibration.png", "calibration.pdf"),
    }
    loaded = jood.Detector.load(tmp_path / "detector")
    assert loaded.threshold == made.detector.threshold
    assert loaded.image_shape == (SIZE, SIZE, 3)
    images = noise(5, 9).images
    np.testing.assert_array_equal(loaded(images), made.detector(images))
    summary = json.loads((tmp_path / "detector" / "fit.json").read_text())
    assert summary["configuration"] == {"method": "x"}
    assert summary["images"]["calibrate"] == 60
    assert summary["promises"]["score"]["images"] == 60
    with pytest.raises(FileExistsError):
        fit_job.write(tmp_path / "detector", made, {})


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fit_job.figures, "save_pictures", full)
    made = fit_job.FitResult(brightness.detector(), {}, None, {}, {})
    made = made._replace(detector=dataclasses.replace(made.detector, fitted=None))
    with pytest.raises(OSError, match="No space left"):
        fit_job.write(tmp_path / "detector", made, {})
    assert list(tmp_path.iterdir()) == []
