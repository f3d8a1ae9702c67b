"""Figures of the papers: each is drawn, or says why not."""

import dataclasses

from helpers import tiny_benchmark
import jax
import numpy as np
from PIL import Image
import pytest

from jood import papers
from jood.data import benchmarks
from jood.papers import figures
from jood.papers import given_networks
from jood.papers import reproduced
from jood.papers import reproduction
from jood.papers import transcription
from jood.papers.figures import results
from jood.papers.figures.figure_inputs import FigureInputs
from jood.report.benchmark import bars
from jood.report.benchmark import class_weights
from jood.weights.checkpoint import TrainedNetwork

EVERY = [
    (paper, one) for paper in papers.PAPERS for one in figures.of_paper(paper).values()
]
NETWORK = TrainedNetwork(
    tiny_benchmark.MODEL, tiny_benchmark.variables(), "resnet_small",
    tiny_benchmark.BENCHMARK.class_names, tiny_benchmark.PREPROCESSING, 16, {},
)  # fmt: skip


def inputs(named=None):
    return FigureInputs(
        {"tiny": NETWORK},
        "digits",
        lambda network: tiny_benchmark.BENCHMARK,
        named or {},
        batch_size=16,
    )


@pytest.mark.parametrize(
    ("paper", "count"), [("feature_sim", 11), ("himplos", 7), ("lff", 7), ("ssod", 7)]
)
def test_every_figure_of_a_paper_is_an_entry(paper, count):
    assert list(figures.of_paper(paper)) == [str(n + 1) for n in range(count)]


@pytest.mark.parametrize(("paper", "one"), EVERY)
def test_a_figure_is_drawn_on_known_benchmarks_or_says_why_not(paper, one):
    assert bool(one.draw) != bool(one.instead)
    assert bool(one.draw) == bool(one.benchmarks) == bool(one.caption)
    for name in one.benchmarks:
        assert benchmarks.describe(name)
    assert one.title in figures.line(one)


def test_unknown_and_undrawn_figures_say_so():
    with pytest.raises(ValueError, match=r"himplos has no figure '9'; .*1, 2, 3"):
        figures.figure("himplos", "9")
    with pytest.raises(ValueError, match="Figure 4, is not drawn: it is a diagram"):
        figures.figure("himplos", "4")
    with pytest.raises(ValueError, match="none of imagenet; name a --benchmark"):
        given_networks.benchmark_of({"tiny": NETWORK}, ["imagenet"])


@pytest.fixture
def files(tmp_path):
    """Two images for ID and one for OOD, of several sizes."""
    paths = []
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + i, 24, 3), np.uint8)
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return {"ID": paths[:2], "OOD": paths[2:]}


def test_images_that_the_user_names_need_no_data(files):
    asked = dataclasses.replace(inputs(files), open=None)  # nothing is opened
    assert {name: x.shape for name, x in asked.shown().items()} == {
        "ID": (2, 16, 16, 3),
        "OOD": (1, 16, 16, 3),
    }


@pytest.mark.slow
def test_maps_behind_edits_are_drawn_of_them(files, tmp_path):
    wanted = figures.figure("feature_sim", "11")
    pictures = wanted.draw(dataclasses.replace(inputs(files), open=None))
    folder = tmp_path / "out"
    results.write(folder, "Title", wanted, pictures, "resnet_small.", {"figure": "11"})
    assert {p.name for p in folder.iterdir()} == {
        *("heatmaps.png", "heatmaps.pdf", "results.json", "report.html")
    }
    axes = [axis for part in pictures["heatmaps"].subfigs for axis in part.axes]
    labels = [axis.get_ylabel() for axis in axes if axis.get_ylabel()]
    assert labels == ["image", "plain", "with TA\nk = 0.2", "with ASH"]


def test_the_class_is_the_one_that_most_ood_images_are_taken_for():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(6, 3))
    features, labels = rng.random((30, 6)), np.arange(30) % 3
    ood, predictions = rng.random((9, 6)), np.array([2, 2, 2, 2, 0, 0, 1, 1, 1])
    (panel,) = class_weights.most_predicted(
        kernel, (features, labels), {"noise": (ood, predictions)}, ("a", "b", "c")
    )
    assert panel.title == "'c': 4 images of noise taken for it"
    np.testing.assert_array_equal(panel.weights, kernel[:, 2])
    np.testing.assert_allclose(panel.inside, features[labels == 2].mean(0))
    np.testing.assert_allclose(panel.outside, ood[:4].mean(0))
    assert panel.correlations()[0] == pytest.approx(
        np.corrcoef(kernel[:, 2], features[labels == 2].mean(0))[0, 1]
    )


def test_bars_stand_for_each_series():
    fig = bars.draw(
        ["a", "b"], {"ours": {"a": 1.0}, "paper": {"a": 2.0, "b": 3.0}}, "", ""
    )
    assert [patch.get_height() for patch in fig.axes[0].patches] == [1.0, 2.0, 3.0]


def test_bars_name_the_network_of_each_number(monkeypatch):
    cell = (transcription.AVERAGE, "FPR95")
    numbers = {"MSP": 50.0, "HIMPLoS": 20.0}

    def ran(table, given, *_, **__):
        rows = [
            reproduced.ReproducedRow(n, "", {}, "", {cell: x - 1}, {cell: x})
            for n, x in numbers.items()
        ]
        return [
            reproduced.ReproducedPart(part.title, [cell], some, [], frozenset(), True)
            for part, some in zip(table.parts, [rows, [], [], []], strict=True)
        ]

    monkeypatch.setattr(reproduction, "run", ran)
    network = dataclasses.replace(
        NETWORK, model=NETWORK.model.clone(num_classes=10), class_names=None
    )
    asked = dataclasses.replace(
        inputs(), networks={"a": network}, benchmark_name="cifar10"
    )
    (drawn,) = figures.figure("himplos", "1").draw(asked).values()
    legend = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert legend == ["jood: cifar10, resnet_small", "paper: CIFAR-10, ResNet-18"]
    axis = drawn.axes[0]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["MSP", "HIMPLoS"]
    assert [patch.get_height() for patch in axis.patches] == [49.0, 19.0, 50.0, 20.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paper", "number"),
    [("himplos", "2"), ("himplos", "3"), ("himplos", "5"), ("lff", "5"), ("lff", "7"),
     ("ssod", "2"), ("ssod", "4"), ("ssod", "5"), ("ssod", "6"), ("feature_sim", "1"),
     ("feature_sim", "5"), ("feature_sim", "10")],
)  # fmt: skip
def test_figures_are_drawn_of_a_benchmark(paper, number):
    drawn = figures.figure(paper, number).draw(inputs())
    assert all(len(picture.get_axes()) for picture in drawn.values())
    jax.clear_caches()
