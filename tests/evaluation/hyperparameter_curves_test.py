"""Sweeps of the papers' values: each point is what an evaluation of it gives."""

import csv
import io
import json

from helpers import tiny_benchmark
import numpy as np
import pytest

import jood
from jood import metrics
from jood.core.backbones.observing import observe
from jood.evaluation import benchmark_run
from jood.evaluation import hyperparameter_curves
from jood.evaluation import paper_sweeps
from jood.methods import detector_text
from jood.report.hyperparameters import results

BENCHMARK, MODEL = tiny_benchmark.BENCHMARK, tiny_benchmark.MODEL
PREPROCESSING = BENCHMARK.preprocessing
VARIABLES = tiny_benchmark.variables()
TRAIN = [(BENCHMARK.id_train.images, BENCHMARK.id_train.labels)]


def network():
    return benchmark_run.make_detector(
        {"Energy": "energy()"}, BENCHMARK, MODEL, VARIABLES
    )


def sweep(name, values, **changes):
    return paper_sweeps.sweeps("digits")[name]._replace(values=values, **changes)


@pytest.fixture(scope="module")
def curves():
    """A sweep with stage edits and one that reads features alone."""
    chosen = (sweep("k", (0.0, 0.3)), sweep("clip", (0.7, 0.95)))
    return [
        hyperparameter_curves.run(s, network(), BENCHMARK, batch_size=8) for s in chosen
    ]


def evaluated(texts):
    detector = benchmark_run.make_detector(texts, BENCHMARK, MODEL, VARIABLES)
    return benchmark_run.evaluate(detector, BENCHMARK, batch_size=8)


@pytest.mark.slow
def test_each_point_is_its_own_evaluation(curves):
    for curve in curves:
        for i, value in enumerate(curve.sweep.values):
            texts = {
                row: text.replace("value", repr(value))
                for row, text in curve.sweep.methods.items()
            }
            _, result = evaluated(texts)
            for row in texts:
                for name, scores in result.ood_scores.items():
                    sides = (result.id_scores[row], scores[row])
                    found = curve.auroc[row][name][i]
                    assert found == pytest.approx(metrics.auroc(*sides), abs=0.01)
                    found = curve.fpr95[row][name][i]
                    expected = metrics.fpr_at_tpr(*sides)
                    assert found == pytest.approx(expected, abs=1 / len(scores[row]))


@pytest.mark.slow
def test_the_accuracy_is_that_of_the_rewritten_logits(curves):
    images = PREPROCESSING(BENCHMARK.id_test.images)
    for curve in curves:
        for value, accuracy in zip(curve.sweep.values, curve.accuracy, strict=True):
            text = curve.sweep.rewrite.replace("value", repr(value))
            whole = jood.Detector(f"{text}|energy()", MODEL, VARIABLES, PREPROCESSING)
            fitted = whole.fit(TRAIN).fitted or ()
            component = detector_text.parse(text)
            acts = observe(MODEL, VARIABLES, images, edits=component.edits)
            logits = component.apply(fitted, acts).logits
            right = np.asarray(logits).argmax(-1) == BENCHMARK.id_test.labels
            assert accuracy == pytest.approx(right.mean(), abs=1e-6)


@pytest.mark.slow
def test_lambda_does_not_touch_the_answer_and_images_are_bounded():
    both = sweep("lambda", (0.1, 1.0))
    both = both._replace(methods={**both.methods, "MSP": "msp()"})
    curve = hyperparameter_curves.run(both, network(), BENCHMARK, batch_size=8, most=4)
    level = curve.auroc["MSP"]["dark"]  # a text without the value
    assert len(level) == 2
    assert level[0] == level[1]
    assert curve.accuracy is None
    assert {v * 16 % 1 for v in curve.auroc["Energy+TA+FS"]["dark"]} == {0.0}


@pytest.mark.slow
def test_they_are_written_as_csv_pictures_and_a_page(curves, tmp_path):
    folder = tmp_path / "sweeps"
    results.write(
        folder, curves, name="digits", protocol="Noise.", configuration={"a": 1}
    )
    rows = list(csv.DictReader(io.StringIO((folder / "sweeps.csv").read_text())))
    assert len(rows) == 2 * 3 * 2 + 2 * 2 * 2
    assert float(rows[0]["AUROC_percent"]) == pytest.approx(
        100 * curves[0].auroc["FS+TA"]["dark"][0], abs=1e-3
    )
    assert json.loads((folder / "results.json").read_text())["configuration"] == {
        "a": 1
    }
    for stem in ("sweep_k", "sweep_clip"):
        for suffix in ("png", "pdf"):
            assert (folder / f"{stem}.{suffix}").stat().st_size > 5_000
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert results.WARNING in text
    grid = results.grid(curves[0])
    assert grid.columns[-1].title == "ID accuracy"
    assert [row[0].text for row in grid.rows] == ["0", "0.3"]
    assert grid.rows[1][1].value == pytest.approx(
        100 * curves[0].mean("auroc", "FS+TA")[1]
    )
