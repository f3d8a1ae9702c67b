"""Pictures of scores and samples: what they show of one set and of eight."""

import types

import jax
import numpy as np
import pytest

import jood
from jood import testing
from jood.data.benchmarks.spec import Benchmark
from jood.data.sources import ArraySource
from jood.evaluation import benchmark_run
from jood.methods import presets
from jood.report.benchmark import heatmaps
from jood.report.benchmark import plots
from jood.report.benchmark import sample_plots
from jood.report.benchmark.benchmark_results import PANELS
from jood.report.benchmark.benchmark_results import BenchmarkResults
from jood.report.benchmark.samples import Sample

EIGHT = [f"set_{i}" for i in range(8)]
RNG = np.random.default_rng(0)


def evaluated(rows, sets=EIGHT):
    """Rows of which each is better than the one before it."""
    rng = np.random.default_rng(0)  # the same, in whatever order the tests run

    def scores(mean, size):
        return {n: rng.normal(mean * i, 1, size) for i, n in enumerate(rows)}

    outside = {name: scores(0, 40) for name in sets}
    return benchmark_run.Evaluation(0.9, scores(0.2, 50), outside)


@pytest.mark.parametrize("sets", [EIGHT[:1], EIGHT])
def test_every_set_has_a_line_with_its_name_in_each_histogram(sets):
    rows = ["a", "b", "c", "d"]
    fig = plots.histograms(evaluated(rows, sets), rows)
    assert [axis.get_title() for axis in fig.axes[:4]] == rows
    for axis in fig.axes[:4]:
        bases = [patch.get_data().baseline for patch in axis.patches]
        assert bases == list(range(len(sets), -1, -1))  # one below the other
        for patch in axis.patches:
            heights = patch.get_data().values - patch.get_data().baseline
            assert heights.max() == pytest.approx(0.85)
    named = [label.get_text() for label in fig.axes[2].get_yticklabels()]
    assert named == ["ID test", *sets]  # at the beginning of each line of panels
    fig.draw_without_rendering()
    for axis in fig.axes[:4]:
        assert fig.bbox.x0 <= axis.get_tightbbox().x0


def results_of(rows, **fields):
    benchmark = types.SimpleNamespace(
        name="digits",
        near=(),
        paper=(),
        groups={},
        shifted={},
        absent={},
        absent_shifted={},
        incomplete={},
    )
    texts = dict.fromkeys(rows, "msp()")
    return BenchmarkResults([evaluated(rows)], None, benchmark, texts, {}, **fields)


def test_all_rows_are_drawn_where_they_are_few():
    rows = [*list(presets.table("digits"))[: PANELS - 1], "mine"]
    assert results_of(rows).shown == rows
    assert results_of(rows).shown_text == ""


def test_of_many_rows_the_users_own_and_the_best_are_drawn():
    known = list(presets.table("digits"))[:14]
    rows = ["mine", *known, "also mine"]
    results = results_of(rows, examine=known[1])
    best = known[-PANELS + 2 :]
    assert results.shown == ["mine", known[1], *best, "also mine"]
    assert "Shown are 10 of 16 rows: those with the highest" in results.shown_text


def test_heatmaps_are_of_all_sets_in_bands_that_can_be_read():
    images = np.zeros((8, 4, 4, 3), np.uint8)
    benchmark = types.SimpleNamespace(
        id_test=ArraySource(images, np.arange(8)),
        ood={name: ArraySource(images) for name in (*EIGHT, "gaussian", "uniform")},
    )
    shown = heatmaps.images_shown(benchmark)
    assert list(shown) == ["ID", *EIGHT, "gaussian", "uniform"]
    fig = plots.heatmaps(shown, [])
    assert fig.get_figwidth() < 17
    drawn = [axis for part in fig.subfigs for axis in part.axes if axis.images]
    assert len(drawn) == 4 + 2 * 10
    titles = [axis.get_title(loc="left") for axis in drawn]
    assert [t for t in titles if t][-2:] == ["gaussian", "uniform"]


@pytest.mark.parametrize(
    ("classes", "names", "expected"),
    [
        (3, ("cat", "dog", "frog"), ["cat", "dog", "frog", "OOD"]),
        (2, (), ["class 0", "class 1", "OOD"]),
        (11, tuple("abcdefghijk"), ["ID", "OOD"]),
        (None, (), ["ID", "OOD"]),
    ],
)
def test_the_classes_of_an_embedding_are_named(monkeypatch, classes, names, expected):
    monkeypatch.setattr(sample_plots, "embedding", lambda *_: RNG.normal(size=(40, 2)))
    features = np.zeros((20, 2), np.float32)
    labels = None if classes is None else np.arange(20) % classes
    samples = {"id_test": Sample(features, labels)}
    samples["odd"] = Sample(features, None)
    fig = sample_plots.tsne(samples, class_names=names)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == expected


def test_msp_of_a_users_own_detector_is_drawn_on_its_log_odds():
    images, labels = testing.toy_images(8, seed=0)
    pixels = (8 * images).clip(0, 255).astype(np.uint8)
    scale = jood.Preprocessing((0.0,) * 32, (8 / 255,) * 32)
    source = ArraySource(pixels, labels)
    benchmark = Benchmark(
        "digits", source, source, {"odd": source}, (), (), scale, 4, ""
    )
    detector = jood.Detector(
        "bundle(MSP=msp(), Energy=energy())",
        testing.ToyNet(),
        testing.toy_variables(),
        scale,
    )
    _, result = benchmark_run.evaluate(detector, benchmark, batch_size=8)
    odds = result.id_scores["MSP"]
    assert (odds > 1).any()
    share = detector(pixels)["MSP"]
    np.testing.assert_allclose(jax.nn.sigmoid(odds), share, rtol=1e-4)
