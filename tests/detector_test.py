"""The façade: fit, score, calibrate, refuse bad input, save and load."""

import functools
import json
import pathlib

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import core
from jood import testing
from jood.detector_io import ARRAYS_NAME
from jood.detector_io import JSON_NAME

SINGLE = "react(q=0.9)|energy()"
BUNDLE = "bundle(a=react(q=0.9)|energy(), b=ta(k=0.2)|feature_sim(), c=max_logit())"
IMAGES, LABELS = testing.toy_images(48, seed=0)
TRAIN = [IMAGES[:32], IMAGES[32:]]
INSIDE, _ = testing.toy_images(40, seed=1)
OUTSIDE, _ = testing.toy_images(40, seed=2, ood=True)


def toy(component=SINGLE, **fields):
    return jood.Detector(component, testing.ToyNet(), testing.toy_variables(), **fields)


@functools.cache
def fitted(component=SINGLE):
    return toy(component).fit(TRAIN)


@functools.cache
def calibrated(component=SINGLE):
    return fitted(component).calibrate([INSIDE[:20], INSIDE[20:]])


@functools.cache
def pixel_detector():
    """A small ResNet on uint8 images with everything that can be saved."""
    model = jood.models.create("resnet_small_8x8", 4, width=4, stage_sizes=(1, 2))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    detector = jood.Detector(
        BUNDLE,
        model,
        variables,
        preprocessing=jood.Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
        class_names=("ant", "bee", "cat", "dog"),
        stages={"C4": "C4", "C5": "C5"},
    )
    return detector.fit([PIXELS]).calibrate([PIXELS])


PIXELS = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)


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
    calibration = detector.calibrate([padded]).calibration
    assert {len(scores) for scores in calibration.scores.values()} == {16}


@pytest.mark.parametrize("component", [SINGLE, BUNDLE])
def test_the_threshold_keeps_the_tpr_and_rejects_what_scores_below_it(component):
    detector = calibrated(component)
    for images in (INSIDE, OUTSIDE):
        scores, threshold = detector(images), detector.threshold
        expected = jax.tree.map(lambda s, t: s < t, scores, threshold)
        chex.assert_trees_all_equal(detector.is_ood(images), expected)
    for rejected in jax.tree.leaves(detector.is_ood(INSIDE)):
        assert np.sum(rejected) == 2  # of 40: exactly 5 %
    loose = detector.calibrate([INSIDE], tpr=0.5)
    for rejected in jax.tree.leaves(loose.is_ood(INSIDE)):
        assert np.sum(rejected) == 20


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


def test_scoring_compiles_once_per_shape():
    traces = []

    def score(acts):
        traces.append(acts.logits.shape)
        return acts.logits.max(-1)

    component = jood.chain(jood.transforms.react(), core.score("max_logit()", score))
    detector = toy(component).fit(TRAIN).calibrate([INSIDE])
    assert traces == [(40, 4)]  # calibration's, which scoring shares
    for images in (INSIDE, OUTSIDE, INSIDE[:8], OUTSIDE[:8], INSIDE):
        detector(images)
    assert traces == [(40, 4), (8, 4)]


# Fitting from sources of several kinds

TWO_SWEEPS_OF_FEATURES = "fuse(react(q=0.9)|energy(), max_logit(), weights='scale')"
TWO_SWEEPS_OF_MAPS = "fuse(react(q=0.9)|feature_sim(), energy(), weights='scale')"


@pytest.mark.parametrize("component", [SINGLE, TWO_SWEEPS_OF_FEATURES])
def test_a_one_shot_iterator_suffices_where_features_do(component):
    detector = toy(component).fit(iter(TRAIN))
    np.testing.assert_array_equal(detector(INSIDE), fitted(component)(INSIDE))


def test_a_one_shot_iterator_is_refused_where_maps_are_read_again():
    with pytest.raises(ValueError, match=r"more than once.* Pass a list"):
        toy(TWO_SWEEPS_OF_MAPS).fit(iter(TRAIN))
    assert np.isfinite(fitted(TWO_SWEEPS_OF_MAPS)(INSIDE)).all()


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


@pytest.mark.parametrize("tpr", [0, 1.5, 95])
def test_calibrate_refuses_a_bad_tpr(tpr):
    with pytest.raises(ValueError, match=r"tpr must be a fraction in \(0, 1\]"):
        fitted().calibrate([INSIDE], tpr=tpr)


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


# Saving and loading


@pytest.fixture
def saved(tmp_path):
    pixel_detector().save(tmp_path / "detector")
    return tmp_path / "detector"


def test_a_loaded_detector_is_the_saved_one_bit_for_bit(saved):
    old, new = pixel_detector(), jood.Detector.load(saved)
    fields = ("preprocessing", "class_names", "stages", "head", "image_shape", "taps")
    for field in (*fields, "model"):
        assert getattr(new, field) == getattr(old, field), field
    assert new.component.spec == old.component.spec
    chex.assert_trees_all_equal(new.variables, dict(old.variables))
    chex.assert_trees_all_equal(new.fitted, old.fitted)
    chex.assert_trees_all_equal(new.calibration, old.calibration)
    for call in ("run", "is_ood", "p_values"):
        got, expected = getattr(new, call)(PIXELS), getattr(old, call)(PIXELS)
        chex.assert_trees_all_equal(got, expected)
    assert new.threshold == old.threshold


@pytest.mark.parametrize("head", ["head", "top/classifier"])
@pytest.mark.parametrize("component", ["msp()", SINGLE])
def test_a_custom_model_of_any_channels_and_head_survives(tmp_path, component, head):
    model, variables = testing.ToyNet(), testing.toy_variables()
    if head != "head":
        model, variables = _Wrapped(), {"params": {"top": _renamed(variables)}}
    detector = jood.Detector(component, model, variables, head=head)
    if detector.component.passes:
        detector = detector.fit(TRAIN)
    detector.save(tmp_path / "detector")
    with pytest.raises(ValueError, match=f"made with a {type(model).__name__}.*model="):
        jood.Detector.load(tmp_path / "detector")
    loaded = jood.Detector.load(tmp_path / "detector", model=model)
    np.testing.assert_array_equal(loaded(INSIDE), detector(INSIDE))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_variables_survive(tmp_path, dtype):
    model = jood.models.create("resnet_small_8x8", 4, width=4, param_dtype=dtype)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    variables = jax.tree.map(lambda x: jnp.full(x.shape, 0.3, x.dtype), variables)
    jood.Detector("msp()", model, variables).save(tmp_path / "detector")
    loaded = jood.Detector.load(tmp_path / "detector")
    chex.assert_trees_all_equal(loaded.variables, variables, strict=True)


class _Top(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(testing.CLASSES, name="classifier")(x)


class _Wrapped(nn.Module):
    @nn.compact
    def __call__(self, x):
        return _Top(name="top")(nn.relu(x).mean((1, 2)))


def _renamed(variables):
    return {"classifier": variables["params"]["head"]}


def test_save_overwrites_nothing(saved):
    before = (saved / JSON_NAME).read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        fitted().save(saved)
    assert (saved / JSON_NAME).read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("method", ["write_bytes", "write_text", "rename"])
def test_a_save_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, method):
    def full(self, *_):
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, method, full)
    with pytest.raises(OSError, match="disk full"):
        calibrated().save(tmp_path / "detector")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [JSON_NAME, ARRAYS_NAME])
def test_a_missing_folder_or_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        jood.Detector.load(saved)
    with pytest.raises(FileNotFoundError, match="no saved detector"):
        jood.Detector.load(saved / "nowhere")


def flip(blob, position):
    return blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda blob: blob[:-1],
        lambda blob: b"",
        lambda blob: flip(blob, len(blob) - 5),
        lambda blob: flip(blob, 20),
    ],
    ids=["truncated", "emptied", "value flipped", "header flipped"],
)
def test_damaged_arrays_are_refused(saved, damage):
    path = saved / ARRAYS_NAME
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{ARRAYS_NAME} is truncated or was changed"):
        jood.Detector.load(saved)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("calibration", "thresholds", "c"), 0.0),
        (("calibration", "tpr"), 0.5),
        (("spec",), "msp()"),
        (("class_names",), ["a", "b", "c", "d"]),
        (("preprocessing", "mean"), [0.0, 0.0, 0.0]),
        (("arrays", "sha256"), "0" * 64),
    ],
)
def test_edited_json_is_refused(saved, keys, value):
    content = json.loads((saved / JSON_NAME).read_text())
    node = content
    for key in keys[:-1]:
        node = node[key]
    assert node[keys[-1]] != value
    node[keys[-1]] = value
    (saved / JSON_NAME).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{JSON_NAME} was changed by hand"):
        jood.Detector.load(saved)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", "3", '"detector"'])
def test_json_that_holds_no_detector_is_refused(saved, text):
    (saved / JSON_NAME).write_text(text)
    with pytest.raises(ValueError, match=f"{JSON_NAME} is truncated or no detector"):
        jood.Detector.load(saved)


@pytest.mark.parametrize("size", [1, 200, -2])
def test_truncated_json_is_refused(saved, size):
    text = (saved / JSON_NAME).read_text()
    (saved / JSON_NAME).write_text(text[:size])
    with pytest.raises(ValueError, match=f"{JSON_NAME} is truncated"):
        jood.Detector.load(saved)


@pytest.mark.parametrize(("key", "value"), [("version", 99), ("format", "other")])
def test_another_format_or_version_is_named(saved, key, value):
    content = json.loads((saved / JSON_NAME).read_text()) | {key: value}
    (saved / JSON_NAME).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{value}.*reads 'jood.Detector' version 1"):
        jood.Detector.load(saved)


def test_another_architecture_lists_every_difference(saved):
    other = jood.models.create("resnet_small_8x8", 5, width=4, stage_sizes=(2, 1))
    with pytest.raises(
        ValueError, match=r"another architecture than .*ResNet"
    ) as error:
        jood.Detector.load(saved, model=other)
    missing, unexpected, shapes = str(error.value).splitlines()[1:]
    assert "missing: batch_stats/C4/block2/bn1/mean" in missing
    assert "unexpected: batch_stats/C5/block2/bn1/mean" in unexpected
    assert "params/head/kernel (model (8, 5), file (8, 4))" in shapes
