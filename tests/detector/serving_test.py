"""One image in, one answer out: in one pass, and without waiting for a compiler."""

import logging
import re

from helpers.toy_detectors import BUNDLE
from helpers.toy_detectors import INSIDE
from helpers.toy_detectors import OUTSIDE
from helpers.toy_detectors import PIXELS
from helpers.toy_detectors import TRAIN
from helpers.toy_detectors import calibrated
from helpers.toy_detectors import fitted
from helpers.toy_detectors import pixel_detector
from helpers.toy_detectors import toy
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood._utils import affinity
from jood.core import component as component_lib
from jood.detector import program

BOTH = np.concatenate([INSIDE[:4], OUTSIDE[:3]])


def traced(**fields):
    """A detector without a fit, and the sizes of batches it was compiled for."""
    sizes = []

    def score(acts):
        sizes.append(len(acts.logits))
        return acts.logits.max(-1)

    return toy(component_lib.score("max_logit()", score), **fields), sizes


def test_an_answer_is_what_the_single_calls_give_in_one_pass(monkeypatch):
    detector = calibrated()
    output, is_ood = detector.run(BOTH), detector.is_ood(BOTH)
    p_values = detector.p_values(BOTH)
    passes = []
    run = program.run
    monkeypatch.setattr(program, "run", lambda *a: passes.append(1) or run(*a))
    answer = detector.answer(BOTH)
    assert len(passes) == 1
    np.testing.assert_array_equal(answer.score, output.scores)
    np.testing.assert_array_equal(answer.prediction, output.prediction)
    np.testing.assert_array_equal(answer.is_ood, is_ood)
    np.testing.assert_array_equal(answer.p_value, p_values)
    assert answer.is_ood.tolist() == [False] * 4 + [True] * 3
    assert answer.class_name is answer.error is None
    assert answer._fields[:5] == (
        "score", "is_ood", "p_value", "prediction", "class_name"
    )  # fmt: skip


def test_a_bundles_answers_have_names_and_classes_too():
    detector = pixel_detector()
    answer = detector.answer(PIXELS)
    for found, expected in [
        (answer.score, detector(PIXELS)),
        (answer.is_ood, detector.is_ood(PIXELS)),
        (answer.p_value, detector.p_values(PIXELS)),
    ]:
        assert found.keys() == expected.keys() == {"a", "b", "c"}
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)
    names = np.array(detector.class_names)
    assert answer.class_name.tolist() == names[answer.prediction].tolist()


@pytest.mark.parametrize("component", ["msp()", BUNDLE])
def test_without_a_calibration_nothing_is_judged(component):
    detector = toy(component).fit(TRAIN)
    answer = detector.answer(INSIDE[:1])
    assert answer.is_ood is answer.p_value is None
    np.testing.assert_array_equal(answer.prediction, detector.run(INSIDE[:1])[1])
    with pytest.raises(jood.NotFittedError, match=r"call detector = detector\.fit"):
        toy().answer(INSIDE)


def test_few_sizes_of_batch_are_compiled_with_the_same_scores():
    detector, sizes = traced()
    whole = detector(INSIDE[:5])
    for count in range(1, 6):
        found = detector(INSIDE[:count])
        np.testing.assert_allclose(found, whole[:count], rtol=1e-6)
        assert found.shape == (count,)
    assert sorted(sizes) == [1, 2, 4, 8]
    on_device = detector(jnp.asarray(INSIDE[:5]))  # evaluation's batches
    np.testing.assert_allclose(on_device, whole, rtol=1e-6)
    assert sorted(sizes) == [1, 2, 4, 5, 8]


def test_a_bad_image_is_named_by_its_place_in_the_batch_that_came():
    detector, _ = traced()
    images = np.array(INSIDE[:3])
    images[2] = 1e38  # finite, but no feature is
    with pytest.raises(ValueError, match=r"at index 2 \(1 of 3 in this batch"):
        detector(images)


def test_a_compiled_detector_compiles_nothing_more(caplog, monkeypatch):
    monkeypatch.setattr(affinity, "cores", lambda: 2)
    detector, sizes = traced()
    detector = detector.calibrate([INSIDE])
    assert sizes == [8, 64]  # a chunk, and the batch
    with caplog.at_level(logging.INFO, "jood"):
        assert detector.compile(batch_sizes=(1, 3)) is detector
    assert sizes == [8, 64, 1, 4]
    assert (
        len(re.findall(r"compiled for images \([14], .*\) in .* s", caplog.text)) == 2
    )
    for count in (1, 3, 4):
        detector.answer(INSIDE[:count])
    assert sizes == [8, 64, 1, 4]


def test_what_to_compile_for_has_to_be_known():
    detector, sizes = traced()
    with pytest.raises(ValueError, match=r"compile\(image_shape=\(H, W, C\)\)"):
        detector.compile()
    detector.compile(INSIDE.shape[1:])
    assert sizes == [1]
    with pytest.raises(ValueError, match="batch_sizes must be an integer >= 1"):
        detector.compile(INSIDE.shape[1:], [0])
    with pytest.raises(jood.NotFittedError, match=r"call detector = detector\.fit"):
        toy().compile()


@pytest.mark.parametrize("side", [8, 24])
def test_images_of_another_size_than_it_was_made_for_are_refused(side):
    other = np.zeros((2, side, side, 3), np.uint8)
    detector = pixel_detector()
    message = rf"\({side}, {side}\) pixels .* calibrated on \(16, 16\).* resize"
    for use in (detector, detector.answer, detector.is_ood):
        with pytest.raises(ValueError, match=message):
            use(other)
    with pytest.raises(ValueError, match=message):
        detector.calibrate([other] * 10)
    with pytest.raises(ValueError, match=r"pixels .* fitted or calibrated on"):
        fitted()(INSIDE[:, :2])


def test_behind_a_resize_of_the_shorter_side_the_other_one_may_differ():
    how = jood.Preprocessing((0.5,) * 3, (0.2,) * 3, resize=8)
    net = pixel_detector()
    detector = jood.Detector("max_logit()", net.model, net.variables, how)
    rng = np.random.default_rng(0)
    wide, high = (
        rng.integers(0, 256, (4, *size, 3), dtype=np.uint8)
        for size in [(10, 20), (20, 10)]
    )
    detector = detector.calibrate([wide], tpr=0.7)
    assert detector.image_shape == (8, 16, 3)
    assert detector(high).shape == (4,)
