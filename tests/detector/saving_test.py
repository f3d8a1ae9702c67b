"""A detector on disk: everything survives, nothing damaged is read."""

import hashlib
import json
import pathlib

import chex
from flax import linen as nn
from helpers.toy_detectors import INSIDE
from helpers.toy_detectors import PIXELS
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
from safetensors import numpy as safetensors_numpy

import jood
from jood import stats
from jood import testing
from jood._utils import checked_json
from jood.core import component as component_lib
from jood.detector import saving
from jood.detector.saving import ARRAYS_NAME
from jood.detector.saving import JSON_NAME
from jood.methods import factories
from jood.models import check


@pytest.fixture
def saved(tmp_path):
    pixel_detector().save(tmp_path / "detector")
    return tmp_path / "detector"


def test_a_loaded_detector_is_the_saved_one_bit_for_bit(saved):
    old, new = pixel_detector(), jood.Detector.load(saved)
    fields = ("preprocessing", "class_names", "stages", "head", "image_shape")
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
    with pytest.raises(TypeError, match=r"component must .* the variables"):
        jood.Detector.load(tmp_path / "detector", model, variables)
    with pytest.raises(TypeError, match=r"model must be a network .a Linen.*model=Net"):
        jood.Detector.load(tmp_path / "detector", type(model))
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


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "exported.zip").write_bytes(b"")
    with pytest.raises(ValueError, match=r"is a file.*python exported\.zip IMAGE"):
        jood.Detector.load(tmp_path / "exported.zip")


def test_a_detector_prints_on_a_line(saved):
    shown = repr(jood.Detector.load(saved))
    assert len(shown) < 200
    assert "calibrated on" in shown


@pytest.mark.parametrize("name", [JSON_NAME, ARRAYS_NAME])
def test_a_missing_folder_or_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        jood.Detector.load(saved)
    with pytest.raises(FileNotFoundError, match="not a saved detector"):
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
        (("calibration", "images", "c"), 1000),
        (("calibration", "promises", "c", "expected"), 0.0),
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
    with pytest.raises(ValueError, match="another architecture") as error:
        jood.Detector.load(saved, model=other)
    assert "num_classes: there 4, given 5" in str(error.value)
    assert "stage_sizes: there [1, 2], given [2, 1]" in str(error.value)


def test_a_model_of_equal_shapes_but_other_strides_is_refused(saved):
    same_shapes = jood.models.create(
        "resnet_small", 4, width=4, stage_sizes=(1, 2), stem="strided"
    )
    with pytest.raises(ValueError, match="stem: there 'cifar', given 'strided'"):
        jood.Detector.load(saved, model=same_shapes)


def test_variables_of_another_architecture_are_listed_by_name(saved):
    """As they would be if the description had no say: a model that is not jood's."""
    variables = pixel_detector().variables
    other = jood.models.create("resnet_small_8x8", 5, width=4, stage_sizes=(2, 1))
    with pytest.raises(ValueError, match=r"here was made for .*ResNet") as error:
        check.check_variables(other, variables, (16, 16, 3), "here")
    missing, unexpected, shapes = str(error.value).splitlines()[1:]
    assert "missing: batch_stats/C4/block2/bn1/mean" in missing
    assert "unexpected: batch_stats/C5/block2/bn1/mean" in unexpected
    assert "params/head/kernel (model (8, 5), file (8, 4))" in shapes


def test_a_method_that_is_not_joods_is_given_to_load(tmp_path):
    own = component_lib.score("my_score()", lambda acts: acts.logits.min(-1))
    jood.Detector(own, testing.ToyNet(), testing.toy_variables()).save(tmp_path / "own")
    advice = (
        r"made with my_score, which is not a method here.*--plugins=.*component=\.\.\."
    )
    with pytest.raises(ValueError, match=advice):
        jood.Detector.load(tmp_path / "own", testing.ToyNet())
    loaded = jood.Detector.load(tmp_path / "own", testing.ToyNet(), own)
    np.testing.assert_array_equal(loaded(INSIDE), toy(own)(INSIDE))
    with pytest.raises(ValueError, match=r"holds my_score\(\), not the given msp"):
        jood.Detector.load(tmp_path / "own", testing.ToyNet(), jood.parse("msp()"))


def test_a_component_whose_spec_is_no_text_is_given_to_load(tmp_path):
    own = component_lib.score("my score, 2nd try", lambda acts: acts.logits.min(-1))
    toy(own).save(tmp_path / "own")
    with pytest.raises(ValueError, match="made with my score, 2nd try, which is not"):
        jood.Detector.load(tmp_path / "own", testing.ToyNet())
    loaded = jood.Detector.load(tmp_path / "own", testing.ToyNet(), own)
    np.testing.assert_array_equal(loaded(INSIDE), toy(own)(INSIDE))


def test_a_registered_method_is_loaded_and_the_module_that_did_it_is_named(
    tmp_path, monkeypatch
):
    def least():
        return component_lib.score("least()", lambda acts: acts.logits.min(-1))

    monkeypatch.setattr(factories, "_REGISTERED", {"least": least})
    model, variables = testing.ToyNet(), testing.toy_variables()
    detector = jood.Detector("bundle(a=least(), b=msp())", model, variables)
    detector.save(tmp_path / "own")
    loaded = jood.Detector.load(tmp_path / "own", model)
    assert loaded.component.spec == "bundle(a=least(), b=msp())"
    monkeypatch.setattr(factories, "_REGISTERED", {})
    with pytest.raises(ValueError, match=f"made with least of module {__name__}"):
        jood.Detector.load(tmp_path / "own", model)


def resealed(saved, change_arrays=None, change=None):
    """Rewrites a saved detector as a program would that knows its checksums."""
    arrays = safetensors_numpy.load((saved / ARRAYS_NAME).read_bytes())
    if change_arrays:
        change_arrays(arrays)
    blob = safetensors_numpy.save(arrays)
    content = json.loads((saved / JSON_NAME).read_text())
    del content["sha256"], content["format"], content["version"]
    content["arrays"]["sha256"] = hashlib.sha256(blob).hexdigest()
    if change:
        change(content)
    (saved / ARRAYS_NAME).write_bytes(blob)
    checked_json.write(saved / JSON_NAME, saving.FORMAT, saving.VERSION, content)


def putting(value, *keys):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def nested(depth):
    value = {"array": "fitted/0/0"}
    for _ in range(depth):
        value = {"tuple": [value]}
    return value


def test_a_resealed_detector_that_says_the_same_is_the_same(saved):
    resealed(saved)
    np.testing.assert_array_equal(
        jood.Detector.load(saved)(PIXELS)["a"], pixel_detector()(PIXELS)["a"]
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (putting(2, "calibration", "tpr"), r"tpr must be a fraction .*got 2"),
        (putting("x", "calibration", "tpr"), r"tpr must be a fraction .*got 'x'"),
        (putting(0.5, "calibration", "tpr"), "threshold of a must be"),
        (putting(9, "calibration", "images", "a"), r"calibration/a must be float32"),
        (putting(1, "calibration", "images", "z"), "calibration/z is missing"),
        (putting([10**9, 10**9, 3], "image_shape"), r"image_shape must be three int"),
        (putting([16, 16], "image_shape"), "image_shape must be three integers"),
        (putting(1e9, "model", "epsilon"), r"epsilon must be a number in \[0, 1\]"),
        (putting("ResNet", "model"), "model must be an object"),
        (putting({}, "preprocessing"), "preprocessing must be an object with mean"),
        (putting(3, "preprocessing", "strange"), "not describe a detector.*strange"),
        (putting([1, 2], "class_names"), "class_names must be a list of texts"),
        (putting({"C4": 4}, "stages"), "stages must be an object of texts"),
        (putting(["head"], "head"), "head must be a text or null"),
        (putting({"tuple": []}, "fitted"), r"learns in 1 pass.*0 fitted"),
        (putting({"array": "none"}, "fitted"), "does not describe a detector.*none"),
        (putting(nested(400), "fitted"), "fitted must be tuples of arrays, at most"),
        (putting({"set": []}, "fitted"), "fitted must be tuples of arrays"),
        (lambda content: content.pop("spec"), "spec is missing"),
        (lambda content: content["arrays"].pop("bfloat16"), "bfloat16 is missing"),
    ],
)
def test_a_resealed_description_is_checked(saved, change, match):
    resealed(saved, change=change)
    with pytest.raises(ValueError, match=match):
        jood.Detector.load(saved)


@pytest.mark.parametrize(
    ("name", "alter", "match"),
    [
        ("fitted/0/0", np.float16, "fitted/0/0 must be of type float32, got float16"),
        ("fitted/0/0", np.int32, "must be of type float32, got int32"),
        ("fitted/0/0", lambda x: x * np.float32(np.nan), "fitted/0/0 holds NaN"),
        ("calibration/b", np.float64, "calibration/b must be float32"),
        ("calibration/b", lambda x: x[::-1].copy(), "calibration/b must be sorted"),
        ("calibration/b", lambda x: x * np.float32("nan"), "calibration/b holds NaN"),
        ("variables/params/head/bias", lambda x: x / 0, "head/bias holds NaN or inf"),
        ("variables/params/head/bias", np.complex64, "head/bias must be real"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_resealed_arrays_are_checked(saved, name, alter, match):
    def change(arrays):
        arrays[name] = np.asarray(alter(arrays[name]))

    resealed(saved, change_arrays=change)
    with pytest.raises(ValueError, match=match):
        jood.Detector.load(saved)


def test_all_problems_come_in_one_message(saved):
    def change(content):
        content["calibration"]["tpr"] = 2
        content["image_shape"] = None
        content["head"] = 3

    resealed(saved, change=change)
    with pytest.raises(ValueError, match=r"head must be .*tpr must be"):
        jood.Detector.load(saved)


def test_json_that_is_nested_too_deeply_is_refused(saved):
    (saved / JSON_NAME).write_text('{"a": ' + "[" * 100_000)
    with pytest.raises(ValueError, match=f"{JSON_NAME} is truncated or no detector"):
        jood.Detector.load(saved)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_fitted_values_of_a_type_that_jood_does_not_fit_are_read_again(tmp_path, dtype):
    mean = stats.moments(lambda acts: acts.penultimate)
    own = component_lib.build(
        "own()",
        "score",
        lambda fitted, acts: (acts.penultimate * fitted[0].astype("f")[None]).sum(-1),
        (lambda _: mean._replace(finalize=lambda s: np.asarray(s["mean"], dtype)),),
    )
    detector = toy(own).fit(TRAIN)
    detector.save(tmp_path / "own")
    loaded = jood.Detector.load(tmp_path / "own", testing.ToyNet(), own)
    np.testing.assert_array_equal(loaded(INSIDE), detector(INSIDE))
