"""An exported detector: one file that scores as the detector does, without jood."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import chex
from flax import linen as nn
from helpers.toy_detectors import IMAGES
from helpers.toy_detectors import INSIDE
from helpers.toy_detectors import LABELS
from helpers.toy_detectors import PIXELS
from helpers.toy_detectors import calibrated
from helpers.toy_detectors import fitted
from helpers.toy_detectors import pixel_detector
from helpers.toy_detectors import toy
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

import jood
from jood import testing
from jood.core import component
from jood.data.sources import decoding
from jood.detector import export_loader
from jood.detector import exporting
from jood.methods import detector_text

NEW = np.random.default_rng(1).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
# What the loader may import of Python's path; and nothing that jood is part of.
RUN = """
import sys
class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("jood", "flax"):
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, FOLDER)
import numpy as np
import load
about, score = load.load(ARCHIVE)
images = np.stack([load.read(name, about) for name in FILES])
np.savez(OUT, **score(images))
assert not {"jood", "flax"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "detector.zip"
    pixel_detector().export(path)
    return path


def expected_columns(detector, images):
    """What the loader should give, from the detector itself."""
    output, is_ood = detector.run(images), detector.is_ood(images)
    p_values, columns = detector.p_values(images), {"prediction": output.prediction}
    for name in output.scores:
        columns[f"score_{name}"] = output.scores[name]
        columns[f"is_ood_{name}"] = is_ood[name]
        columns[f"p_value_{name}"] = p_values[name]
    return columns


@pytest.mark.slow
def test_any_batch_size_gives_the_detectors_columns(exported):
    _, score = export_loader.load(exported)
    for size in (1, 7):
        expected = expected_columns(pixel_detector(), NEW[:size])
        columns = score(NEW[:size])
        assert columns.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(columns[name], values, rtol=1e-6, err_msg=name)
            assert columns[name].dtype == values.dtype, name


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7])
def test_the_files_answer_is_the_detectors(exported, size):
    found = export_loader.load(exported).answer(NEW[:size])
    expected = pixel_detector().answer(NEW[:size])
    assert type(found) is type(expected) is jood.Answer
    chex.assert_trees_all_close(found[:4], expected[:4], rtol=1e-6)
    assert list(found.class_name) == list(expected.class_name)
    assert found.error is None


@pytest.mark.slow
def test_the_file_says_what_it_is(exported):
    about, _ = export_loader.load(exported)
    summary, detector = about["summary"], pixel_detector()
    assert summary["spec"] == detector.component.spec
    assert tuple(summary["class_names"]) == detector.class_names
    assert summary["thresholds"] == detector.threshold
    assert summary["images"] == "uint8 [B, 16, 16, 3]"
    assert set(summary["platforms"]) == {"cpu", "cuda", "rocm", "tpu"}
    assert summary["written_by"] == {"jood": jood.__version__, "jax": jax.__version__}
    assert jood.Preprocessing(**about["preprocessing"]) == detector.preprocessing


@pytest.fixture(scope="module")
def resizing(tmp_path_factory):
    """A detector that resizes and crops, exported; and files of many kinds."""
    folder = tmp_path_factory.mktemp("resizing")
    how = jood.Preprocessing(
        (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), resize=20, crop=16, interpolation="bicubic"
    )
    other = pixel_detector()
    detector = jood.Detector(
        "react(q=0.9)|energy()", other.model, other.variables, preprocessing=how
    )
    detector = detector.fit([PIXELS]).calibrate([PIXELS], tpr=0.8)
    detector.export(folder / "detector.zip")
    rng = np.random.default_rng(0)

    def image(*shape, dtype=np.uint8):
        high = np.iinfo(dtype).max
        return Image.fromarray(rng.integers(0, high, shape, dtype=dtype, endpoint=True))

    exif = Image.Exif()
    exif[0x0112] = 6
    image(50, 33, 3).save(folder / "tall.png")
    image(21, 64, 3).save(folder / "wide.jpg", exif=exif)
    image(16, 16, 3).save(folder / "small.bmp")
    image(23, 31).save(folder / "gray.png")
    image(23, 31, dtype=np.uint16).save(folder / "deep.png")
    image(40, 30, 4).save(folder / "alpha.png")
    image(40, 30, 3).quantize(7).save(folder / "palette.png", transparency=3)
    files = sorted(str(path) for path in folder.iterdir() if path.suffix != ".zip")
    return detector, folder / "detector.zip", files


@pytest.mark.slow
def test_files_are_read_as_the_detector_reads_them(resizing):
    detector, path, files = resizing
    about, _ = export_loader.load(path)
    assert len(files) == 7
    for name in files:
        ours = decoding.decode(name, preprocessing=detector.preprocessing)
        np.testing.assert_array_equal(export_loader.read(name, about), ours, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("resize", "crop"), [(None, 9), (None, 40), ((12, 15), None), (15, 21), (33, 16)]
)
def test_every_resize_and_crop_is_the_preprocessings(resizing, resize, crop):
    *_, files = resizing
    how = jood.Preprocessing((0.5,) * 3, (0.2,) * 3, resize=resize, crop=crop)
    about = {"preprocessing": {**vars(how)}}
    about = json.loads(json.dumps(about))
    for name in files:
        ours = decoding.decode(name, preprocessing=how)
        np.testing.assert_array_equal(export_loader.read(name, about), ours, name)


@pytest.mark.slow
def test_a_network_of_one_channel_reads_the_same_gray_files(resizing):
    _, _, files = resizing
    how = jood.Preprocessing((0.5,), (0.2,), resize=20, crop=16)
    for name in files:
        found = export_loader.read(name, {"preprocessing": dataclasses.asdict(how)})
        ours = decoding.decode(name, preprocessing=how)
        np.testing.assert_array_equal(found, ours, err_msg=name)
        assert found.shape == (16, 16, 1)


@pytest.mark.slow
def test_it_runs_where_jood_cannot_be_imported(resizing, tmp_path):
    detector, path, files = resizing
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path, [n for n in file.namelist() if n.endswith(".py")])
    code = RUN.replace("ARCHIVE", repr(str(path))).replace("FILES", repr(files))
    code = code.replace("FOLDER", repr(str(tmp_path)))
    code = code.replace("OUT", repr(str(tmp_path / "out.npz")))
    run_elsewhere("-c", code, cwd=tmp_path)
    images = [decoding.decode(name) for name in files]
    found = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(found["score"], detector(images), rtol=1e-6)
    np.testing.assert_array_equal(found["is_ood"], detector.is_ood(images))
    np.testing.assert_allclose(found["p_value"], detector.p_values(images))
    np.testing.assert_array_equal(found["prediction"], detector.run(images).prediction)


@pytest.mark.slow
def test_the_file_runs_itself(resizing, tmp_path):
    detector, path, files = resizing
    printed = run_elsewhere(path, files[0], cwd=tmp_path)
    assert printed.startswith(str(files[0]))
    (predicted,) = detector.run([decoding.decode(files[0])]).prediction
    assert f"prediction={(detector.class_names or range(99))[predicted]} " in printed
    told = run_elsewhere(path, cwd=tmp_path)
    assert detector.component.spec in told
    assert "usage: python" in told
    broken = tmp_path / "broken.png"
    broken.write_bytes(pathlib.Path(files[0]).read_bytes()[:200])
    both = run_elsewhere(path, broken, "nope.png", files[0], cwd=tmp_path, code=2)
    lines = both.splitlines()
    assert lines[0].startswith(f"{broken} error=")
    assert lines[1].startswith("nope.png error=")
    assert lines[2] == printed.strip()
    score = float(printed.split("score=")[1].split()[0])
    assert score == pytest.approx(float(detector([decoding.decode(files[0])])[0]))


def run_elsewhere(*arguments, cwd, code=0):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment | {"XLA_FLAGS": ""},
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_the_loader_and_its_modules_import_nothing_of_jood(exported):
    with zipfile.ZipFile(exported) as file:
        texts = {n: file.read(n).decode() for n in file.namelist() if n.endswith(".py")}
    assert {"load.py", "__main__.py", "export_archive.py", "answers.py"} <= texts.keys()
    for name, text in texts.items():
        assert "from jood" not in text, name
        assert "import jood" not in text, name


def test_compiler_options_that_another_xla_does_not_know_are_left_out():
    run = export_loader._jit(lambda x: 2 * x, {"xla_no_such_option": ""})
    assert run(3.0) == 6.0


def test_floating_images_without_preprocessing_or_calibration(tmp_path):
    detector = fitted()
    detector.export(tmp_path / "toy.zip")
    about, score = export_loader.load(tmp_path / "toy.zip")
    columns = score(INSIDE)
    assert columns.keys() == {"score", "prediction"}
    np.testing.assert_allclose(columns["score"], detector(INSIDE), rtol=1e-6)
    assert about["preprocessing"] is None


class _Flat(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="head")(x.reshape(len(x), -1))


def test_a_network_that_asks_how_long_a_batch_is_gets_the_remedy(tmp_path):
    head = {"kernel": np.ones((48, 3), "f"), "bias": np.zeros(3, "f")}
    detector = jood.Detector("msp", _Flat(), {"params": {"head": head}})
    with pytest.raises(ValueError, match=r"write x\.shape\[0\] where you wrote len"):
        detector.export(tmp_path / "flat.zip", image_shape=(4, 4, 3))


def test_what_the_detector_refuses_is_never_in_distribution(tmp_path):
    detector = calibrated()
    detector.export(tmp_path / "toy.zip")
    _, score = export_loader.load(tmp_path / "toy.zip")
    images = np.array(INSIDE[:3])
    images[1, 0, 0, 0] = np.nan
    columns = score(images)
    assert np.isnan(columns["score"]).tolist() == [False, True, False]
    assert np.isnan(columns["p_value"]).tolist() == [False, True, False]
    assert columns["is_ood"][1]


@pytest.mark.parametrize(
    "images",
    [NEW[:0], NEW[0], NEW[:2, :8], NEW[:2].astype(np.float32), NEW[:2, ..., :1]],
)
def test_images_that_it_was_not_exported_for_are_refused(exported, images):
    with pytest.raises(
        ValueError, match=r"must be uint8 \[B, 16, 16, 3\].* got .*read"
    ):
        export_loader.load(exported).score(images)


@pytest.mark.slow
def test_bfloat16_weights_survive(tmp_path):
    model = jood.models.create("resnet_small_8x8", 4, width=4, param_dtype="bfloat16")
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    variables = jax.tree.map(lambda x: jnp.full(x.shape, 0.3, x.dtype), variables)
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    detector = jood.Detector("energy()", model, variables)
    detector.export(tmp_path / "d.zip", image_shape=(8, 8, 3))
    _, score = export_loader.load(tmp_path / "d.zip")
    np.testing.assert_allclose(score(images)["score"], detector(images), rtol=1e-6)


@pytest.mark.slow
def test_every_method_can_be_exported(tmp_path):
    """In one bundle, so that the network is compiled once."""
    methods = {
        n: testing.scoring(make()) for n, make in detector_text.factories().items()
    }
    detector = toy(jood.bundle(**methods)).fit([(IMAGES, LABELS), (IMAGES, LABELS)])
    detector.export(tmp_path / "d.zip")
    _, score = export_loader.load(tmp_path / "d.zip")
    images, _ = testing.toy_images(5, seed=3)
    found, expected = score(images), detector(images)
    for name in methods:
        np.testing.assert_allclose(
            found[f"score_{name}"], expected[name], rtol=1e-6, atol=1e-6, err_msg=name
        )


@pytest.mark.slow
def test_a_real_network_on_real_photographs(data_dir, tmp_path):
    name = "akamaster_resnet20-12fca82f.npz"
    model = jood.models.create("resnet20", 10)
    variables = jood.weights.load(data_dir / "weights" / name, model)
    how = jood.Preprocessing(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), resize=36, crop=32
    )
    methods = jood.parse("bundle(fs=fs_ta_energy, himplos=himplos, knn=knn(k=5))")
    detector = jood.Detector(methods, model, variables, how)
    with np.load(data_dir / "reference" / name) as known:
        images, labels = known["images"], known["labels"]
    detector = detector.fit([(images[:64], labels[:64])]).calibrate([images[64:]])
    detector.export(tmp_path / "d.zip")
    about, score = export_loader.load(tmp_path / "d.zip")
    files = sorted((data_dir / "images" / "imagenet_sample").iterdir())[:20]
    columns = score(np.stack([export_loader.read(f, about) for f in files]))
    expected = detector([decoding.decode(f) for f in files])
    for name, values in expected.items():
        np.testing.assert_allclose(columns[f"score_{name}"], values, rtol=1e-6)
        assert len(set(values.tolist())) == 20


def test_a_method_that_calls_back_to_python_is_refused(tmp_path):
    def call_back(acts):
        shape = jax.ShapeDtypeStruct(acts.logits.shape[:1], jnp.float32)
        return jax.pure_callback(lambda x: x.min(-1), shape, acts.logits)

    own = toy(component.score("my_score()", call_back))
    with pytest.raises(ValueError, match=r"my_score\(\) cannot be exported.*Python"):
        own.export(tmp_path / "d.zip", image_shape=IMAGES.shape[1:])
    assert not list(tmp_path.iterdir())


def test_the_images_size_has_to_be_known(tmp_path):
    detector = toy("msp()")
    with pytest.raises(ValueError, match="image_shape=\\(H, W, C\\)"):
        detector.export(tmp_path / "d.zip")
    with pytest.raises(ValueError, match="must be \\(H, W, C\\), got"):
        detector.export(tmp_path / "d.zip", image_shape=(8, 8))
    with pytest.raises(jood.NotFittedError, match="call detector"):
        toy().export(tmp_path / "d.zip", image_shape=(8, 8, 3))
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_or_half_written(exported, tmp_path, monkeypatch):
    before = exported.read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        fitted().export(exported)
    assert exported.read_bytes() == before

    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="disk full"):
        fitted().export(tmp_path / "d.zip")
    assert not list(tmp_path.iterdir())


def test_a_file_that_scores_otherwise_is_not_written(tmp_path, monkeypatch):
    plain = exporting._of_stored

    def wrong(*arguments):
        run = plain(*arguments)
        return lambda *args: jax.tree.map(lambda x: x + 1, run(*args))

    monkeypatch.setattr(exporting, "_of_stored", wrong)
    with pytest.raises(RuntimeError, match="nothing was written"):
        fitted().export(tmp_path / "d.zip")
    assert not list(tmp_path.iterdir())
