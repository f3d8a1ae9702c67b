"""The page of a results folder shows all that the folder holds."""

import base64
import csv
import json
import re

from helpers import tiny_benchmark
import numpy as np
import pytest

from jood.evaluation import benchmark_run
from jood.evaluation import choice
from jood.report.benchmark import results
from jood.report.benchmark import sample_plots
from jood.report.benchmark import samples
from jood.report.benchmark.benchmark_results import BenchmarkResults
from jood.report.benchmark.network_view import Viewer

TEXTS = {
    "FS": "feature_sim()",
    "Energy": "energy()",
    "FS+TA": "ta(k=0.1)|feature_sim()",
}
STEMS = ("histograms", "distributions", "roc", "heatmaps", "tsne", "intensities")
BENCHMARK, MODEL = tiny_benchmark.BENCHMARK, tiny_benchmark.MODEL
VARIABLES = tiny_benchmark.variables()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    detector = benchmark_run.make_detector(TEXTS, BENCHMARK, MODEL, VARIABLES)
    fitted, result = benchmark_run.evaluate(detector, BENCHMARK, batch_size=8)
    path = tmp_path_factory.mktemp("page") / "results"
    candidates = [
        choice.Candidate(
            {"k": k},
            f"ta(k={k})|feature_sim()",
            {"noise": choice.Contrast(auroc, 0.25, 1.0, 0.01)},
        )
        for k, auroc in ((0.1, 0.75), (0.2, 0.875), (0.3, 0.9))
    ]
    curve = choice.Selection("ta(k=k)|feature_sim()", tuple(candidates))
    results.write(
        path,
        BenchmarkResults(
            [result, result],
            fitted,
            BENCHMARK,
            TEXTS,
            configuration={"model": "tiny", "seed": 0},
            curves={"FS+TA (selected)": curve},
            examine="Energy",
        ),
    )
    return path


def page_of(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_picture_of_the_folder_is_on_the_page(folder):
    text = page_of(folder)
    pictures = {path.stem for path in folder.glob("*.png")}
    assert pictures == {*STEMS, "selection_FS_TA"}
    for stem in pictures:
        whole = base64.b64encode((folder / f"{stem}.png").read_bytes()).decode()
        assert whole in text
        assert f"({stem}.png, {stem}.pdf)" in text
        assert (folder / f"{stem}.pdf").stat().st_size > 1000


@pytest.mark.slow
def test_numbers_texts_and_versions_are_those_of_the_other_files(folder):
    text = page_of(folder)
    summary = json.loads((folder / "results.json").read_text())
    rows, again = summary["metrics_by_seed"]
    assert rows == again
    for columns in rows.values():
        for metrics in columns.values():
            assert f">{100 * metrics['AUROC']:.1f} ± 0.0<" in text
            assert f">{100 * metrics['FPR95']:.1f} ± 0.0<" in text
    for known in (*summary["versions"].values(), *TEXTS.values(), "looked for in SUN"):
        assert known in text
    assert "Noise." in text
    assert "ABSENT, not scored: sun." in text
    assert "Pictures are of the first of 2 networks." in text
    assert "FS+TA (selected): ta(k=k)|feature_sim()" in text
    assert ">87.5<" in text  # of the selection's grid
    assert "Chosen on noise" in text
    assert "k=0.3 is the largest value tried" in text


@pytest.mark.slow
def test_the_mistakes_are_those_of_the_row_that_is_asked_for(folder):
    text = page_of(folder)
    assert "Of Energy, the ID images with the lowest scores" in text
    rows = list(csv.DictReader((folder / "mistakes.csv").read_text().splitlines()))
    assert [row["set"] for row in rows] == ["id_test"] * 6 + ["dark"] * 6 + ["flat"] * 6
    for row in rows:
        assert f"score {float(row['score']):.4g}" in text
    assert len(re.findall(r"<li>\s*<div class=\"strip\">", text)) == len(rows)


def test_a_sample_is_bounded_and_spread_over_the_set(monkeypatch):
    monkeypatch.setattr(samples, "COUNT", 16)
    detector = benchmark_run.make_detector(TEXTS, BENCHMARK, MODEL, VARIABLES)
    viewer = Viewer.of(detector, BENCHMARK.image_size)
    found = samples.take(BENCHMARK, viewer, batch_size=4)
    assert [len(one.features) for one in found.values()] == [16, 8, 7]
    labels = BENCHMARK.id_test.labels
    spread = labels[np.arange(16) * len(labels) // 16]
    np.testing.assert_array_equal(found["id_test"].labels, spread)
    assert found["dark"].labels is None
    assert len(found["flat"].features) == 7
    points = sample_plots.embedding(found)
    assert points.shape == (31, 2)
    np.testing.assert_array_equal(points, sample_plots.embedding(found))


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((9, 4)),
        np.eye(3),
        np.ones((6, 2)),
        np.full((9, 4), 8_000) + 1e-3 * np.eye(9, 4),  # rounding
    ],
)
def test_without_enough_or_different_features_there_is_no_embedding(features):
    sample = samples.Sample(features.astype(np.float32), None)
    assert sample_plots.embedding({"id_test": sample}) is None
    assert sample_plots.tsne({"id_test": sample}) is None


@pytest.mark.slow
def test_a_browser_shows_it_without_a_word_and_asks_for_nothing_else(folder, browser):
    told, asked = [], []
    shown = browser.new_page(viewport={"width": 390, "height": 800})
    shown.on("console", lambda message: told.append(message.text))
    shown.on("pageerror", lambda error: told.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    address = (folder / "report.html").as_uri()
    shown.goto(address)
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    assert min(shown.evaluate("[...document.images].map((i) => i.naturalWidth)")) > 0
    shown.locator("thead button").nth(1).click()
    values = shown.locator("tbody tr td:nth-child(2)").all_inner_texts()[:3]
    assert values == sorted(values, key=lambda x: float(x.split()[0]), reverse=True)
    shown.close()
    assert told == []
    assert {url for url in asked if not url.startswith("data:")} == {address}
