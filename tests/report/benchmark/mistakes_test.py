"""What a detector gets wrong: the right images, also where some cannot be read."""

import csv
import io

from flax import linen as nn
from helpers import tiny_network
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood.core import preprocessing
from jood.data.benchmarks.spec import Benchmark
from jood.data.sources import ArraySource
from jood.data.sources import Skipping
from jood.data.sources.decoding import ImageError
from jood.evaluation import benchmark_run
from jood.report.benchmark import heatmaps
from jood.report.benchmark import mistakes
from jood.report.benchmark.network_view import Viewer

PREPROCESSING = preprocessing.Preprocessing((0.5,) * 3, (0.25,) * 3)
CLASSES = ("cat", "dog", "frog")
rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (12, 16, 16, 3), np.uint8)
LABELS = np.arange(12) % 3


class Broken:
    """A source whose images 0 and 3 cannot be read."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        if index in (0, 3):
            raise ImageError(f"{index}.png", "truncated")
        return {"image": IMAGES[index] // 2, "name": f"{index}.png"}


@pytest.fixture(scope="module")
def evaluated():
    benchmark = Benchmark(
        name="cifar10",
        id_train=ArraySource(IMAGES, LABELS),
        id_test=ArraySource(IMAGES, LABELS),
        ood={"odd": Skipping(Broken())},
        near=(),
        class_names=CLASSES,
        preprocessing=PREPROCESSING,
        image_size=16,
        protocol="",
    )
    model = models.create("resnet_small", 3, width=4, stage_sizes=(1, 1))
    variables = tiny_network.random_variables(model)
    detector = benchmark_run.make_detector(
        {"FS": "feature_sim()"}, benchmark, model, variables
    )
    fitted, result = benchmark_run.evaluate(detector, benchmark, batch_size=4)
    viewer = Viewer.of(fitted, benchmark.image_size)
    found = mistakes.find(result, "FS", benchmark, viewer, count=3)
    return fitted, result, found, benchmark


@pytest.mark.slow
def test_the_images_found_are_those_with_these_scores(evaluated):
    fitted, result, found, benchmark = evaluated
    assert list(found) == ["id_test", "odd"]
    np.testing.assert_array_equal(result.places("odd"), [1, 2, *range(4, 12)])
    for name, source in (("id_test", benchmark.id_test), ("odd", benchmark.ood["odd"])):
        for one in found[name]:
            np.testing.assert_array_equal(one.image, source[one.place]["image"])
            score = fitted(one.image[None])["FS"][0]
            np.testing.assert_allclose(one.score, score, rtol=1e-4)
        scores = np.sort(result.scores(name, "FS"))
        expected = scores[:3] if name == "id_test" else scores[:-4:-1]
        np.testing.assert_allclose([one.score for one in found[name]], expected)


def test_prediction_label_side_and_maps(evaluated):
    fitted, result, found, _ = evaluated
    threshold = np.sort(result.id_scores["FS"])[0]  # 95 % of twelve are all
    for name, mistakes_found in found.items():
        for one in mistakes_found:
            prediction = fitted.run(one.image[None]).prediction[0]
            assert one.prediction == CLASSES[prediction]
            expected = one.score < threshold
            assert one.wrong == (expected if name == "id_test" else not expected)
            plain, edited = one.maps
            assert plain.shape == edited.shape
            assert (edited < plain).any()
    assert [one.label for one in found["id_test"]] == [
        CLASSES[one.place % 3] for one in found["id_test"]
    ]
    assert {one.label for one in found["odd"]} == {""}


def test_they_are_listed_and_shown(evaluated):
    fitted, _, found, _ = evaluated
    rows = list(csv.DictReader(io.StringIO(mistakes.as_csv(found))))
    assert len(rows) == 6
    assert [float(row["score"]) for row in rows[3:]] == [m.score for m in found["odd"]]
    assert rows[3]["name"] == f"{found['odd'][0].place}.png"
    section = mistakes.section(found, "FS", Viewer.of(fitted, 16))
    text, inside, outside = section.blocks
    assert "Of FS" in text.text
    assert "Threshold Activation on C4 (k = 0.2), all on one" in text.text
    assert (len(inside.cards), len(outside.cards)) == (3, 3)
    assert [what for _, what in inside.cards[0].pictures] == [
        "image",
        "without TA",
        "with TA",
    ]
    assert f"label: {found['id_test'][0].label}" in inside.cards[0].lines


def test_of_equal_scores_the_first_come_first():
    scores = np.array([1.0, 3.0, 3.0, 0.0, 0.0])
    assert mistakes.extreme(scores, 2, highest=True).tolist() == [1, 2]
    assert mistakes.extreme(scores, 9, highest=False).tolist() == [3, 4, 0, 1, 2]


def test_an_unknown_row_is_refused(evaluated):
    _, result, _, benchmark = evaluated
    with pytest.raises(ValueError, match="there are: FS"):
        mistakes.find(result, "MSP", benchmark, viewer=None)


class Plain(nn.Module):
    """A network without stages."""

    num_classes = 3

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="head")(x.mean((1, 2)))


def test_a_network_without_maps_still_answers(evaluated):
    *_, benchmark = evaluated
    model = Plain()
    variables = model.init(jax.random.key(0), jnp.zeros([1, 16, 16, 3]))
    viewer = Viewer.of(jood.Detector("msp()", model, variables, PREPROCESSING), 16)
    assert (viewer.last, viewer.edited) == (None, None)
    assert heatmaps.draw(benchmark, viewer) is None
    view = viewer(IMAGES[:11])
    logits = model.apply(variables, PREPROCESSING(IMAGES[:11]))
    np.testing.assert_array_equal(view.prediction, np.asarray(logits).argmax(-1))
    assert view.maps == view.scores == viewer.labels == ()
