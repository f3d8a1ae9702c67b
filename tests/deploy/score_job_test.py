"""Scoring into a folder: every row, picture and page is right."""

import json
import pathlib
import re

from helpers import brightness
from helpers.scored_folder import LEVELS
from helpers.scored_folder import page_of
from helpers.scored_folder import run
from helpers.scored_folder import table
import numpy as np
from pyarrow import parquet
import pytest

import jood
from jood.deploy import requirements
from jood.deploy import score_job
from jood.detector.calibration import Calibration
from jood.report import figures

pytestmark = pytest.mark.usefixtures("small_shards")
SAVE_PICTURES = figures.save_pictures
FILES = {"scores.csv", "summary.json"} | {
    f"{name}.{suffix}"
    for name in ("histograms", "timeline")
    for suffix in ("png", "pdf")
}


def test_the_folder_holds_table_summary_and_pictures(images, tmp_path, monkeypatch):
    monkeypatch.setattr(score_job.figures, "save_pictures", SAVE_PICTURES)
    run(images, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_every_image_has_its_row_in_order(images, tmp_path):
    results = run(images, tmp_path / "out")
    rows = table(tmp_path / "out")
    detector = brightness.detector()
    batch = np.stack([brightness.gray(level) for level in LEVELS])
    output = detector.run(batch)
    threshold = detector.threshold
    assert [r["path"] for r in rows] == [f"{images}/{i:04}.png" for i in range(50)]
    scores = np.array([r["score"] for r in rows], np.float32)
    np.testing.assert_array_equal(scores, output.scores)  # all bits survive the text
    assert [float(r["threshold"]) for r in rows] == pytest.approx([threshold] * 50)
    ood = [r["is_ood"] == "true" for r in rows]
    assert ood == list(detector.is_ood(batch))
    assert 0 < sum(ood) < 50
    np.testing.assert_allclose(
        [float(r["p_value"]) for r in rows], detector.p_values(batch), rtol=1e-8
    )
    names = detector.class_names
    assert [r["class"] for r in rows] == [names[c] for c in output.prediction]
    assert {r["error"] for r in rows} == {""}
    assert results.images == 50
    assert not results.failed
    assert results.called_ood == {"score": pytest.approx(sum(ood) / 50)}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["promises"]["score"]["images"] == 19
    assert summary["called_ood"]["score"] == pytest.approx(sum(ood) / 50)
    assert not list(tmp_path.glob("*.partial"))


def test_bad_images_have_a_row_with_the_reason_and_the_others_their_scores(
    images, tmp_path
):
    whole = run(images, tmp_path / "whole")
    assert not whole.failed
    for index in (0, 17, 49):
        (images / f"{index:04}.png").write_text("no image")
    results = run(images, tmp_path / "out", parquet=True)
    assert [pathlib.Path(path).stem for path, _ in results.failed] == [
        "0000",
        "0017",
        "0049",
    ]
    rows, before = table(tmp_path / "out"), table(tmp_path / "whole")
    assert len(rows) == 50
    for index, (row, other) in enumerate(zip(rows, before, strict=True)):
        if index in (0, 17, 49):
            assert "none of the formats" in row["error"]
            assert row["score"] == row["is_ood"] == row["p_value"] == row["class"] == ""
        else:
            assert row == other
    read = parquet.read_table(tmp_path / "out" / "scores.parquet")
    assert read.column_names == list(rows[0])
    assert read["score"].null_count == read["is_ood"].null_count == 3
    kept = [r for r in rows if not r["error"]]
    found = [value for value in read["score"].to_pylist() if value is not None]
    np.testing.assert_array_equal(
        np.array(found, "f"), np.array([r["score"] for r in kept], "f")
    )
    assert read["path"].to_pylist() == [r["path"] for r in rows]


def test_the_page_shows_the_ends_the_threshold_and_what_failed(images, tmp_path):
    (images / "0017.png").write_text("no image")
    run(images, tmp_path / "out", report=True)
    shown = page_of(tmp_path / "out")
    rows = [row for row in table(tmp_path / "out") if row["score"]]
    order = sorted(rows, key=lambda row: float(row["score"]))
    below = sum(row["is_ood"] == "true" for row in rows)
    assert 0 < below < 12
    head, low, near, high = re.split("<h3>.*</h3>", shown)
    called = f"{below} ({100 * below / 49:.1f} %) are called OOD; if all were ID"
    assert f"49 images are scored: {called}" in head
    assert "1 could not be read." in head
    start = max(below - 6, 12)  # none of the lowest again
    around = order[start : start + 12]
    for part, some in ((low, order[:12]), (near, around), (high, order[-12:])):
        assert part.count("<li>") == len(some)
        for row in some:
            assert f"<p>{pathlib.Path(row['path']).name}</p>" in part
            side = "OOD" if row["is_ood"] == "true" else "ID"
            assert f"score {float(row['score']):.4f}, {side}" in part
            assert f"p-value {float(row['p_value']):.3f}" in part
    assert f"Names are those in {images}." in head
    assert shown.count('<ul class="cards narrow">') == 3
    assert "0017.png" in high.split("What could not be read</h2>")[1]


def test_the_page_says_which_detector_it_is(images, tmp_path):
    run(images, tmp_path / "out", report=True)
    shown = page_of(tmp_path / "out")
    says = "max_logit() on a MeanPixel, TPR 90 %, calibrated on 19 images"
    assert says in shown
    assert '<th scope="row" data-key="max_logit()">max_logit()</th>' in shown
    assert "fewer images than --window=500" in shown.lower()


@pytest.mark.parametrize(("level", "side"), [(0, "OOD"), (200, "ID")])
def test_the_page_of_one_image_shows_it(tmp_path, level, side):
    brightness.folder(tmp_path / "in", [level])
    run(tmp_path / "in", tmp_path / "out", report=True)
    shown = page_of(tmp_path / "out")
    assert f"1 image is scored: it is called {side};" in shown
    assert "could not be read" not in shown
    assert shown.count("data:image/png;base64") == 1
    assert "<p>0000.png</p>" in shown


def test_the_page_of_images_that_all_failed_shows_why(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_text("no image")
    run(tmp_path / "in", tmp_path / "out", report=True)
    shown = page_of(tmp_path / "out")
    assert "0 images are scored. 1 could not be read." in shown
    assert "<h3>" not in shown


def test_a_folder_of_bad_images_only_is_listed_not_scored(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for index in range(3):
        (root / f"{index}.png").write_text("no")
    results = run(root, tmp_path / "out")
    assert len(results.failed) == 3
    assert results.called_ood == {}
    assert len(table(tmp_path / "out")) == 3


def test_an_image_at_the_threshold_is_in_distribution(images, tmp_path):
    batch = np.stack([brightness.gray(level) for level in LEVELS])
    own = brightness.detector().calibrate([batch], tpr=0.9)  # γ is a score of theirs
    run(images, tmp_path / "out", own)
    rows = table(tmp_path / "out")
    at = [row for row in rows if row["score"] == row["threshold"]]
    assert at
    assert {row["is_ood"] for row in at} == {"false"}
    assert sum(row["is_ood"] == "true" for row in rows) == 4  # of 5 / 51 at most


def test_an_image_that_is_listed_twice_counts_twice(images, tmp_path):
    (tmp_path / "list.txt").write_text("images/no.png\nimages/0001.png\n" * 2)
    results = run(tmp_path / "list.txt", tmp_path / "out")
    assert results.images == 4
    assert len(results.failed) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"alpha": 5.0}, r"alpha must be a fraction"), ({"window": 0}, "window must be")],
)
def test_bad_options_are_refused_before_hours_of_work(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        score_job.ScoreConfig(str(tmp_path / "out"), **options)


def test_a_bundle_has_columns_for_each_detector(images, tmp_path):
    one = brightness.detector()
    levels = one.calibration.scores["score"]
    both = jood.Detector(
        "bundle(a=max_logit(), b=energy())",
        one.model,
        one.variables,
        preprocessing=one.preprocessing,
        calibration=Calibration(0.9, {"a": levels, "b": levels + 0.5}),
    )
    results = run(images, tmp_path / "out", both, report=True)
    shown = page_of(tmp_path / "out")
    for name in "ab":  # an answer each
        assert re.search(rf"<p>{name}: \d+ \([\d.]+ %\) are called OOD; if", shown)
        assert f"<h3>{name}: lowest scores</h3>" in shown
    assert "Over time" not in shown  # a folder's images have no times
    before, after = shown.split("<summary>Images by the scores of b</summary>")
    assert "a: lowest scores" in before  # the first detector's are shown at once
    assert "b: lowest scores" in after.split("</details>")[0]
    rows, single = table(tmp_path / "out"), run(images, tmp_path / "single")
    assert list(rows[0])[2:6] == [
        "score_a",
        "threshold_a",
        "is_ood_a",
        "p_value_a",
    ]
    assert results.called_ood["a"] == single.called_ood["score"]
    assert [r["score_a"] for r in rows] == [
        r["score"] for r in table(tmp_path / "single")
    ]
    assert rows[0]["class"] in ("0", "1")  # no names are known


def test_another_tpr_moves_the_threshold_as_far_as_the_calibration_allows():
    detector = requirements.with_tpr(brightness.detector(), 0.5)
    assert detector.threshold == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least 99 held-out"):
        requirements.with_tpr(detector, 0.99)


def test_a_detector_that_cannot_score_files_says_why(images, tmp_path):
    with pytest.raises(ValueError, match=r"not calibrated.*jood fit"):
        requirements.with_tpr(
            jood.Detector("msp()", brightness.MeanPixel(), {"params": {}}), 0.9
        )
    plain = brightness.detector(preprocessing=None)
    with pytest.raises(ValueError, match="has no preprocessing"):
        run(images, tmp_path / "out", plain)
    other = jood.Preprocessing((0.0,) * 3, (1.0,) * 3, resize=(8, 8))
    with pytest.raises(ValueError, match=r"made with images of \(4, 4\).*\(8, 8\)"):
        run(images, tmp_path / "out", brightness.detector(preprocessing=other))


def test_a_preprocessing_without_a_size_takes_that_of_the_fitted_images(tmp_path):
    plain = jood.Preprocessing((0.0,) * 3, (1.0,) * 3)
    root = brightness.folder(tmp_path / "images", [100, 200], size=(9, 7))
    results = run(root, tmp_path / "out", brightness.detector(preprocessing=plain))
    assert not results.failed
    scores = [float(row["score"]) for row in table(tmp_path / "out")]
    assert scores == pytest.approx([100 / 255, 200 / 255])


def test_drift_is_told_where_it_begins(tmp_path):
    rng = np.random.default_rng(0)
    levels = np.r_[rng.uniform(0.05, 0.95, 200), rng.uniform(0, 0.2, 200)]
    images = np.stack([brightness.gray(int(255 * level)) for level in levels])
    np.savez(tmp_path / "traffic.npz", images=images)
    many = Calibration(0.9, {"score": np.linspace(0.05, 0.95, 190).astype("f")})
    results = run(
        tmp_path / "traffic.npz",
        tmp_path / "out",
        brightness.detector(many),
        batch_size=50,
        window=100,
    )
    drifted = [window.drifted for window in results.drift["score"]]
    assert drifted == [False, False, True, True]
