"""Pictures of a user's own network: its own stages and head, under its own names."""

from flax import linen as nn
from helpers import tiny_benchmark
import jax
import numpy as np
import pytest

import jood
from jood.evaluation import benchmark_run
from jood.report.benchmark import pictures
from jood.report.benchmark import results
from jood.report.benchmark.benchmark_results import BenchmarkResults
from jood.report.benchmark.network_view import Viewer
from jood.report.pictures import Picture

BENCHMARK = tiny_benchmark.BENCHMARK
TEXTS = {"Energy": "energy()", "FS": "feature_sim(stage='late')"}


class Layer(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(self.features, (3, 3), 2)(x))


class Own(nn.Module):
    """A network of the modules stem, block and classifier."""

    @nn.compact
    def __call__(self, x):
        x = Layer(5, name="block")(Layer(4, name="stem")(x))
        return nn.Dense(3, name="classifier")(x.mean((1, 2)))


MODEL = Own()
VARIABLES = MODEL.init(jax.random.key(0), np.zeros([1, 16, 16, 3], np.float32))


def detector(text="bundle(**{'Energy': energy(), 'FS': feature_sim(stage='late')})"):
    return jood.Detector(
        text,
        MODEL,
        VARIABLES,
        BENCHMARK.preprocessing,
        stages={"early": "stem", "late": "block"},
        head="classifier",
    )


def test_the_last_map_and_the_stage_before_it_are_looked_at():
    viewer = Viewer.of(detector(), BENCHMARK.image_size, k=0.05)
    assert (viewer.last, viewer.edited) == ("late", "early")
    images = BENCHMARK.id_test.images[:11]
    view = viewer(images)
    logits = MODEL.apply(VARIABLES, BENCHMARK.preprocessing(images))
    np.testing.assert_array_equal(view.prediction, np.asarray(logits).argmax(-1))
    scores = detector(
        "bundle(a=feature_sim(stage='late'), "
        "b=ta(k=0.05, stage='early')|feature_sim(stage='late'))"
    )(images)
    np.testing.assert_allclose(view.scores[0], scores["a"], rtol=1e-5)
    np.testing.assert_allclose(view.scores[1], scores["b"], rtol=1e-5)
    assert [heatmap.shape for heatmap in view.maps] == 2 * [(11, 4, 4)]


def test_a_k_that_suits_the_map_takes_most_of_it_away():
    viewer = Viewer.of(detector(), BENCHMARK.image_size)
    images = BENCHMARK.id_test.images[:4]
    suited = viewer.suited(images)
    early = viewer.detector.backbone.observe(VARIABLES, images).stage("early")
    assert np.mean(np.asarray(early) < suited.k) == pytest.approx(0.9, abs=0.02)
    assert f"(k = {suited.k:g}, the 0.9-quantile of early on" in suited.caption
    plain, edited = suited(images).scores
    assert (edited < 0.9 * plain).all()


def test_a_lone_map_is_shown_without_an_edit():
    alone = jood.Detector(
        "energy()", MODEL, VARIABLES, stages={"only": "block"}, head="classifier"
    )
    viewer = Viewer.of(alone, BENCHMARK.image_size)
    assert (viewer.last, viewer.edited) == ("only", None)
    view = viewer(np.zeros([2, 16, 16, 3], np.float32))
    assert [heatmap.shape for heatmap in view.maps] == [(2, 4, 4)]
    assert viewer.labels == ("last map",)
    assert viewer.suited(np.zeros([2, 16, 16, 3], np.uint8)) is viewer


def test_the_stem_of_a_registered_picture_must_be_free(monkeypatch):
    monkeypatch.setattr(pictures, "PICTURES", list(pictures.PICTURES))
    own = Picture("mine", "Mine", "A picture of mine.", lambda results: None)
    pictures.register(own)
    assert pictures.PICTURES[-1] is own
    with pytest.raises(ValueError, match="'mine' is taken; pictures: histograms"):
        pictures.register(own)
    with pytest.raises(ValueError, match="'roc' is taken"):
        pictures.register(own._replace(stem="roc"))


@pytest.mark.slow
def test_its_report_has_heatmaps_of_its_own_maps_and_what_is_registered(
    tmp_path, monkeypatch
):
    fitted, result = benchmark_run.evaluate(detector(), BENCHMARK, batch_size=8)
    listed = list(pictures.PICTURES)
    monkeypatch.setattr(pictures, "PICTURES", listed)
    monkeypatch.setattr(jood.metrics, "COLUMNS", dict(jood.metrics.COLUMNS))
    pictures.register(
        Picture("again", "Again", "ROC again.", listed[2].draw)  # of a user
    )
    jood.metrics.register(
        jood.metrics.Column(
            "Gap", lambda a, b: float(np.mean(a) > np.mean(b)), shown=True
        )
    )
    printed = results.write(
        tmp_path / "results",
        BenchmarkResults([result], fitted, BENCHMARK, TEXTS, configuration={}),
    )
    assert "AUROC / FPR95 / Gap in %, ID positive; higher / lower / higher" in printed
    folder = tmp_path / "results"
    for stem in ("heatmaps", "intensities", "again"):
        assert (folder / f"{stem}.png").stat().st_size > 5_000
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "the last feature map, late, summed over channels" in text
    assert "the 0.9-quantile of early on the first ID images), all on one" in text
    assert "ROC again." in text
    assert "Gap_percent" in (folder / "table.csv").read_text().splitlines()[0]
    assert ">with TA<" in text
