"""A detector on disk: everything survives, nothing damaged is read."""

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

import jood
from jood import testing
from jood.core import component as component_lib
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
        r"made with my_score, which is no method here.*--plugins=.*component=\.\.\."
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
    with pytest.raises(ValueError, match="made with my score, 2nd try, which is no"):
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
