"""The intensities of one image's last map: all of them, and the mixture fitted."""

import types

from helpers import tiny_benchmark
import jax
import numpy as np
import pytest

from jood.evaluation import benchmark_run
from jood.report.benchmark import intensity_plots
from jood.report.benchmark.network_view import Viewer

BENCHMARK, MODEL = tiny_benchmark.BENCHMARK, tiny_benchmark.MODEL
RNG = np.random.default_rng(0)


def viewer():
    variables = tiny_benchmark.variables()
    detector = benchmark_run.make_detector(
        {"FS": "feature_sim()"}, BENCHMARK, MODEL, variables
    )
    return Viewer.of(detector, BENCHMARK.image_size)


@pytest.mark.slow
def test_an_image_has_all_intensities_of_its_map_and_a_mixture_of_its_own():
    view, variables = viewer(), tiny_benchmark.variables()
    images = np.stack([BENCHMARK.id_test[i]["image"] for i in range(3)])
    values = intensity_plots.of_images(images, view)
    observe = jax.jit(lambda x: view.detector.backbone.observe(variables, x))
    stage = np.asarray(observe(images).stage(view.last))  # [3, h, w, C]
    assert values.shape == (3, stage[0].size)
    np.testing.assert_allclose(np.sort(values[1]), np.sort(stage[1].ravel()), 1e-4)
    fitted = intensity_plots.mixtures(values)
    assert fitted.shape == (3, 5)
    w, mu1, mu2 = fitted[:, :3].T
    assert (mu1 >= mu2).all()
    # EM keeps the mean of what it is fitted to: here of one image, not of all.
    np.testing.assert_allclose(w * mu1 + (1 - w) * mu2, values.mean(1), rtol=1e-3)


def test_a_line_of_the_figure_shows_two_images_of_a_set_beside_their_intensities():
    images = np.stack([BENCHMARK.id_test[i]["image"] for i in range(3)])
    fig = intensity_plots.draw({"ID": images, "odd": images[:1]}, viewer())
    drawn = [len(axis.images) for axis in fig.axes]
    assert drawn == [1, 0, 1, 0, 1, 0, 0, 0]
    patches = [len(axis.patches) > 0 for axis in fig.axes]
    assert patches == [False, True, False, True, False, True, False, False]
    assert fig.axes[0].get_title() == "ID"
    fig.draw_without_rendering()


def test_a_network_without_maps_has_no_figure():
    assert intensity_plots.draw({}, types.SimpleNamespace(last=None)) is None


def test_a_mixture_that_misses_its_histogram_is_told_from_one_that_fits():
    edges = np.linspace(-4, 8, 61)
    first = RNG.random(5000) < 0.3
    fits = np.where(first, RNG.normal(4, 1, 5000), RNG.normal(0, 0.5, 5000))
    mixture = (0.3, 4.0, 0.0, 1.0, 0.5)
    assert intensity_plots.missed(fits, edges, mixture) < 0.05
    assert intensity_plots.missed(fits[:100], edges, mixture) < 0.15
    moved = np.where(first, fits + 3, fits)  # the foreground lies elsewhere
    assert 0.2 < intensity_plots.missed(moved, edges, mixture) < 0.3
    assert intensity_plots.missed(fits + 30, edges, mixture) > 0.95
    spike = np.zeros(500)
    assert intensity_plots.missed(spike, edges, (0.5, 0.0, 0.0, 0.0, 0.0)) < 0.6
