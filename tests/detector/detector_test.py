"""The façade: fit, score, calibrate, refuse bad input."""

import chex
from flax import linen as nn
from helpers.toy_detectors import BUNDLE
from helpers.toy_detectors import IMAGES
from helpers.toy_detectors import INSIDE
from helpers.toy_detectors import LABELS
from helpers.toy_detectors import OUTSIDE
from helpers.toy_detectors import SINGLE
from helpers.toy_detectors import TRAIN
from helpers.toy_detectors import calibrated
from helpers.toy_detectors import fitted
from helpers.toy_detectors import pixel_detector
from helpers.toy_detectors import toy
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import testing
from jood._utils import affinity
from jood.core import component as component_lib

# Fitting, scoring, calibrating


def test_a_single_detector_scores_as_its_component_does():
    detector = fitted()
    component = jood.parse(SINGLE)
    acts = testing.toy_activations(component, INSIDE)
    scores = detector(INSIDE)
    chex.assert_shape(scores, (40,))
    np.testing.assert_allclose(
        scores, component.apply(detector.fitted, acts), rtol=1e-5
    )
    run = detector.run(INSIDE)
    np.testing.assert_array_equal(run.scores, scores)
    np.testing.assert_array_equal(run.prediction, acts.prediction)


@pytest.mark.slow
def test_a_bundle_scores_as_its_parts_do():
    scores = fitted(BUNDLE)(INSIDE)
    assert list(scores) == ["a", "b", "c"]
    parts = {"a": SINGLE, "b": "ta(k=0.2)|feature_sim()", "c": "max_logit()"}
    for name, part in parts.items():
        np.testing.assert_allclose(scores[name], fitted(part)(INSIDE), rtol=1e-5)


@pytest.mark.parametrize("wrap", [str, jood.parse], ids=["text", "component"])
def test_a_text_and_a_component_are_the_same(wrap):
    detector = toy(wrap(SINGLE)).fit(TRAIN)
    np.testing.assert_array_equal(detector(INSIDE), fitted()(INSIDE))


def test_fit_and_calibrate_leave_the_old_detector_as_it_is():
    old = toy()
    new = old.fit(TRAIN)
    new.calibrate([INSIDE])
    assert old.fitted is None
    assert new.calibration is None
    assert new.image_shape == (4, 4, 32)


@pytest.mark.slow
@pytest.mark.parametrize("component", [SINGLE, BUNDLE])
def test_batches_in_any_form_and_with_padding_fit_the_same(component):
    pad = np.full((4, 4, 4, 32), 50.0, np.float32)
    padded = {
        "image": np.concatenate([IMAGES[32:], pad]),
        "label": np.r_[LABELS[32:], [-1] * 4],  # padding may carry any label
        "mask": np.r_[np.ones(16, "f"), np.zeros(4, "f")],
    }
    detector = toy(component).fit([(IMAGES[:32], LABELS[:32]), padded])
    got, expected = detector(INSIDE), fitted(component)(INSIDE)
    chex.assert_trees_all_close(got, expected, rtol=1e-5)
    calibration = detector.calibrate([padded], tpr=0.9).calibration
    assert {len(scores) for scores in calibration.scores.values()} == {16}


@pytest.mark.parametrize("component", [SINGLE, BUNDLE])
def test_the_threshold_keeps_the_tpr_and_rejects_what_scores_below_it(component):
    detector = calibrated(component)
    for images in (INSIDE, OUTSIDE):
        scores, threshold = detector(images), detector.threshold
        expected = jax.tree.map(lambda s, t: s < t, scores, threshold)
        chex.assert_trees_all_equal(detector.is_ood(images), expected)
    for rejected in jax.tree.leaves(detector.is_ood(INSIDE)):
        assert np.sum(rejected) == 1  # the 2nd of 41 gaps: at most 2 / 41 of new ones
    loose = detector.calibrate([INSIDE], tpr=0.5)
    for rejected in jax.tree.leaves(loose.is_ood(INSIDE)):
        assert np.sum(rejected) == 19


@pytest.mark.parametrize("component", [SINGLE, BUNDLE])
def test_p_values_count_calibration_scores(component):
    detector = calibrated(component)
    named = detector(OUTSIDE), detector.p_values(OUTSIDE)
    if component == SINGLE:
        named = tuple({"score": values} for values in named)
    for name, reference in detector.calibration.scores.items():
        counts = [(1 + np.sum(reference <= s)) / 41 for s in named[0][name]]
        np.testing.assert_allclose(named[1][name], counts)


class _Mean(nn.Module):
    """One feature, the mean pixel, which is also the only logit."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1, name="head")(x.mean((1, 2)))


@pytest.mark.parametrize("digits", [8, 0], ids=["continuous", "ties"])
def test_conformal_false_alarms_stay_below_alpha(digits):
    head = {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}
    detector = jood.Detector("max_logit()", _Mean(), {"params": {"head": head}})
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(30):  # 19 calibration images and 2,000 more of the same kind
        draw = np.round(rng.normal(0, 2, (2019, 1, 1, 1)), digits).astype("f")
        p_values = detector.calibrate([draw[:19]]).p_values(draw[19:])
        alarms.append([np.mean(p_values <= alpha) for alpha in (0.1, 0.25)])
    # The rates of a draw are Beta(2, 18) and Beta(5, 15): 3 sigma of the mean of 30.
    excess = np.mean(alarms, axis=0) - [0.1, 0.25]
    assert (excess <= [0.036, 0.052]).all()
    if digits:  # without ties the bound is met
        assert (excess >= [-0.036, -0.052]).all()


def test_scoring_compiles_once_per_shape(monkeypatch):
    monkeypatch.setattr(affinity, "cores", lambda: 2)
    traces = []

    def score(acts):
        traces.append(acts.logits.shape)
        return acts.logits.max(-1)

    component = jood.chain(
        jood.transforms.react(), component_lib.score("max_logit()", score)
    )
    detector = toy(component).fit(TRAIN).calibrate([INSIDE])
    assert traces == [(8, 4), (64, 4)]  # calibration's, in chunks; scoring shares it
    for images in (INSIDE, OUTSIDE, INSIDE[:8], OUTSIDE[:8], INSIDE):
        detector(images)
    assert traces == [(8, 4), (64, 4), (8, 4)]  # batches are padded


# Fitting from sources of several kinds

TWO_SWEEPS_OF_FEATURES = "fuse(react(q=0.9)|energy(), max_logit(), weights='scale')"
LABELLED = [(IMAGES[:32], LABELS[:32]), (IMAGES[32:], LABELS[32:])]
TWO_SWEEPS_OF_MAPS = "mahalanobis_ensemble(eps=0.0)"


@pytest.mark.slow
@pytest.mark.parametrize("component", [SINGLE, TWO_SWEEPS_OF_FEATURES])
def test_a_one_shot_iterator_suffices_where_features_do(component):
    detector = toy(component).fit(iter(TRAIN))
    np.testing.assert_array_equal(detector(INSIDE), fitted(component)(INSIDE))


@pytest.mark.slow
def test_a_one_shot_iterator_is_refused_where_maps_are_read_again():
    with pytest.raises(ValueError, match=r"more than once.* Pass a list"):
        toy(TWO_SWEEPS_OF_MAPS).fit(iter(LABELLED))
    assert np.isfinite(toy(TWO_SWEEPS_OF_MAPS).fit(LABELLED)(INSIDE)).all()


@pytest.mark.parametrize("empty", [[], iter([])])
def test_an_empty_data_set_is_refused(empty):
    with pytest.raises(ValueError, match="cannot fit on an empty data set"):
        toy().fit(empty)
    with pytest.raises(ValueError, match="cannot calibrate on an empty data set"):
        fitted().calibrate(empty)


@pytest.mark.parametrize("call", ["__call__", "run"])
def test_scoring_before_fit_says_what_to_call(call):
    with pytest.raises(jood.NotFittedError, match=r"detector.fit\(train_batches\)"):
        getattr(toy(), call)(INSIDE)
    with pytest.raises(jood.NotFittedError, match="fit"):
        toy().calibrate([INSIDE])


@pytest.mark.parametrize("call", ["is_ood", "p_values"])
def test_deciding_before_calibrate_says_what_to_call(call):
    with pytest.raises(jood.NotFittedError, match=r"detector.calibrate\("):
        getattr(fitted(), call)(INSIDE)
    with pytest.raises(jood.NotFittedError, match=r"detector.calibrate\("):
        _ = fitted().threshold


@pytest.mark.parametrize("tpr", [0, 1, 1.5, 95])
def test_calibrate_refuses_a_bad_tpr(tpr):
    with pytest.raises(ValueError, match=r"tpr must be a fraction in \(0, 1\)"):
        fitted().calibrate([INSIDE], tpr=tpr)


def test_calibrate_refuses_to_promise_what_so_few_images_cannot():
    with pytest.raises(ValueError, match="at least 19 held-out ID images"):
        fitted().calibrate([INSIDE[:18]], tpr=0.95)
    detector = fitted().calibrate([INSIDE[:19]], tpr=0.95)
    assert detector.threshold == fitted()(INSIDE[:19]).min()


# Bad input; every way in refuses it alike

WAYS_IN = {
    "score": lambda detector, images: detector(images),
    "fit": lambda detector, images: detector.fit([images]),
    "calibrate": lambda detector, images: detector.calibrate([images]),
}
each_way_in = pytest.mark.parametrize("way", WAYS_IN)


@each_way_in
@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((4, 4, 32), "float32", r"shape \(4, 4, 32\).*For one image.*image\[None\]"),
        ((2, 32), "float32", r"non-empty \[B, H, W, C\], got shape \(2, 32\)"),
        ((0, 4, 4, 32), "float32", r"non-empty \[B, H, W, C\], got shape \(0,"),
        ((2, 4, 4, 32), "uint8", "uint8 but this detector has no preprocessing"),
        ((2, 4, 4, 32), "int32", "uint8 or floating, got int32"),
        ((2, 4, 4, 32), "bool", "uint8 or floating, got bool"),
        ((2, 4, 4, 3), "float32", "channels"),
    ],
)
def test_bad_images_are_refused(way, shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        WAYS_IN[way](fitted(), np.ones(shape, dtype))


@pytest.mark.slow
@each_way_in
@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((2, 16, 16, 3), "float32", "must be uint8 in 0..255.*got float32"),
        ((2, 16, 16, 1), "uint8", r"\[B, H, W, 3\], got shape \(2, 16, 16, 1\)"),
        ((16, 16, 3), "uint8", r"For one image add an axis: image\[None\]"),
    ],
)
def test_bad_images_are_refused_before_preprocessing(way, shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        WAYS_IN[way](pixel_detector(), np.ones(shape, dtype))


@each_way_in
@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_named(way, array, value):
    images = INSIDE[:8].copy()
    images[[3, 6], 1, 2, 5] = value
    with pytest.raises(ValueError, match=r"NaN or infinite .* at index 3, 6 \(2 of 8"):
        WAYS_IN[way](fitted(), array(images))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 4], r"in \[0, 4\).*label 4 at index 3 does not \(1 of 4"),
        ([0, -1, 2, 9], r"in \[0, 4\).*label -1 at index 1 does not \(2 of 4"),
        ([0, 1, 2], r"integers of shape \(4,\), got int64 \(3,\)"),
        ([0.0, 1.0, 2.0, 3.0], r"integers of shape \(4,\), got float64"),
    ],
)
def test_bad_labels_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        toy().fit([(IMAGES[:4], np.asarray(labels))])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"images": IMAGES}, "needs the key 'image', got .*images"),
        ({"image": IMAGES, "mask": np.ones(3)}, r"mask must have shape \(48,\)"),
    ],
)
def test_a_bad_batch_is_refused(batch, message):
    with pytest.raises(ValueError, match=message):
        toy().fit([batch])


@pytest.mark.parametrize("component", ["react()", "ta()|ash_s()", "temperature()"])
def test_a_component_without_a_score_is_refused(component):
    with pytest.raises(ValueError, match="must end in a score"):
        toy(component)


@pytest.mark.parametrize(
    "component", ["feature_sim(stage='C9')", "ta(stage='C9')|msp()"]
)
def test_a_stage_that_the_model_lacks_is_named_with_those_it_has(component):
    with pytest.raises(ValueError, match=r"'C9'.*C2, C3, C4, C5"):
        toy(component)(INSIDE)


def test_a_head_that_the_model_lacks_is_named_with_the_modules():
    with pytest.raises(ValueError, match=r"head 'fc'.*modules: head"):
        toy("msp()", head="fc")(INSIDE)
