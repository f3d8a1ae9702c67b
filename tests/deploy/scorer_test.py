"""A scorer: one callable that any framework may pickle and feed with batches."""

import io
import pickle
import subprocess
import sys

from helpers import brightness
from helpers.pixel_scorers import NEW
from helpers.pixel_scorers import pixels_to
from helpers.pixel_scorers import single
from helpers.toy_detectors import INSIDE
from helpers.toy_detectors import OUTSIDE
from helpers.toy_detectors import PIXELS
from helpers.toy_detectors import calibrated
from helpers.toy_detectors import pixel_detector
import numpy as np
from PIL import Image
import pytest

import jood
from jood.data.inputs import open_inputs
from jood.deploy import scorer as scorer_lib


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A detector of one score, its folder and its export."""
    folder = tmp_path_factory.mktemp("saved")
    detector = single()
    detector.save(folder / "detector")
    detector.export(folder / "detector.zip")
    return detector, folder / "detector", folder / "detector.zip"


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def check(batch, detector, images):
    """The columns that were added are the detector's."""
    np.testing.assert_allclose(batch["score"], detector(images), rtol=1e-6)
    np.testing.assert_array_equal(batch["is_ood"], detector.is_ood(images))
    np.testing.assert_allclose(batch["p_value"], detector.p_values(images))
    np.testing.assert_array_equal(batch["prediction"], detector.run(images).prediction)
    assert list(batch["error"]) == [""] * len(images)


@pytest.mark.parametrize("which", [1, 2], ids=["saved", "exported"])
@pytest.mark.parametrize("batch_size", [4, 64])
def test_a_batch_gets_the_detectors_columns(saved, which, batch_size):
    detector = saved[0]
    scorer = jood.Scorer(saved[which], batch_size=batch_size)
    batch = {"image": NEW, "id": np.arange(7)}
    result = scorer(batch)
    assert list(result) == [
        "image", "id", "prediction", "score", "is_ood", "p_value", "error"
    ]  # fmt: skip
    assert result["image"] is NEW
    assert batch.keys() == {"image", "id"}
    check(result, detector, NEW)
    assert result["score"].dtype == np.float32
    assert result["is_ood"].dtype == bool
    assert result["p_value"].dtype == np.float64
    assert result["prediction"].dtype == np.int32


@pytest.mark.parametrize("which", [1, 2], ids=["saved", "exported"])
def test_an_answer_is_the_detectors_and_says_what_cannot_be_read(saved, which):
    detector, scorer = saved[0], jood.Scorer(saved[which])
    answer = scorer.answer([png(NEW[0]), b"no image", NEW[1]])
    assert isinstance(answer, jood.Answer)
    expected = detector.answer(NEW[:2])
    for name in ("score", "is_ood", "p_value", "prediction"):
        found = getattr(answer, name)[[0, 2]]
        np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-6)
    assert "none of the formats" in answer.error[1]
    assert answer.error[[0, 2]].tolist() == ["", ""]
    assert np.isnan(answer.score[1])
    assert answer.is_ood[1]
    names = detector.class_names
    if names is None:
        assert answer.class_name is None
    else:
        assert answer.class_name.tolist() == [
            "" if i < 0 else names[i] for i in answer.prediction
        ]


def test_small_batches_are_padded_to_few_sizes(saved, monkeypatch):
    """One image is not scored as 64; and a warm-up compiles for the same sizes."""
    scorer = jood.Scorer(saved[1], batch_size=6)
    opened = scorer._opened()
    sizes = []

    def score(images):
        sizes.append(len(images))
        return opened.score(images)

    fake = opened._replace(score=score)
    monkeypatch.setattr(jood.Scorer, "_opened", lambda self: fake)
    for count in (1, 2, 3, 5, 6, 7):
        check(scorer({"image": NEW[:count]}), saved[0], NEW[:count])
    assert sizes == [1, 2, 4, 6, 6, 6, 1]
    sizes.clear()
    scorer.warm_up((1, 3, 99))
    assert sizes == [1, 4, 6]
    with pytest.raises(ValueError, match="sizes must be an integer >= 1"):
        scorer.warm_up([0])


def test_images_come_as_paths_bytes_pillow_arrays_or_hugging_faces_dicts(
    saved, tmp_path
):
    detector, path, _ = saved
    for i, image in enumerate(NEW):
        (tmp_path / f"{i}.png").write_bytes(png(image))
    column = [
        str(tmp_path / "0.png"),
        tmp_path / "1.png",
        png(NEW[2]),
        bytearray(png(NEW[3])),
        Image.fromarray(NEW[4]),
        {"bytes": png(NEW[5]), "path": None},
        {"bytes": None, "path": str(tmp_path / "6.png")},
    ]
    check(jood.Scorer(path, "x", 4)({"x": column}), detector, NEW)


def test_images_of_any_size_are_fitted(tmp_path):
    how = jood.Preprocessing((0.5,) * 3, (0.2,) * 3, resize=18, crop=16)
    detector = pixels_to("msp()", how)
    detector.save(tmp_path / "d")
    rng = np.random.default_rng(0)
    sizes = [(30, 40), (16, 16), (90, 20)]
    images = [rng.integers(0, 256, (*s, 3), dtype=np.uint8) for s in sizes]
    result = jood.Scorer(tmp_path / "d")({"image": images})
    np.testing.assert_allclose(result["score"], detector(images), rtol=1e-6)
    assert result.keys() == {"image", "score", "prediction", "error"}  # no threshold


@pytest.mark.slow
def test_a_bundles_scores_have_names(tmp_path):
    detector = pixel_detector()
    detector.save(tmp_path / "d")
    detector.export(tmp_path / "d.zip")
    for path in (tmp_path / "d", tmp_path / "d.zip"):
        result = jood.Scorer(path, batch_size=8)({"image": NEW})
        for name, values in detector.p_values(NEW).items():
            np.testing.assert_allclose(result[f"p_value_{name}"], values)
            np.testing.assert_allclose(
                result[f"score_{name}"], detector(NEW)[name], rtol=1e-6
            )


def test_what_cannot_be_read_keeps_its_row_and_says_why(saved, tmp_path):
    detector, path, exported = saved
    column = [png(NEW[0]), b"no image", str(tmp_path / "gone.png"), NEW[1], NEW[2, 0]]
    column += [None, NEW[3, :8], png(NEW[4])[:-40], NEW[5]]
    for which in (path, exported):
        result = jood.Scorer(which, batch_size=4)({"image": column})
        good = [0, 3, 8]
        check({k: np.asarray(v)[good] for k, v in result.items() if k != "image"},
              detector, NEW[[0, 1, 5]])  # fmt: skip
        bad = [1, 2, 4, 5, 6, 7]
        assert np.isnan(result["score"][bad]).all()
        assert np.isnan(result["p_value"][bad]).all()
        assert result["is_ood"][bad].all()
        assert (result["prediction"][bad] == -1).all()
        errors = result["error"]
        assert "none of the formats" in errors[1]
        assert "gone.png" in errors[2]
        assert "[H, W, C]" in errors[4] or "its shape is (16, 3)" in errors[4]
        assert errors[5]
        assert errors[6] == "its shape is (8, 16, 3), the detector takes (16, 16, 3)"
        assert "truncated" in errors[7]


@pytest.mark.slow
def test_floating_images_and_nan(tmp_path):
    detector = calibrated()
    detector.export(tmp_path / "toy.zip")  # the network is not of jood.models
    scorer = jood.Scorer(tmp_path / "toy.zip", batch_size=16)
    images = np.concatenate([INSIDE[:5], OUTSIDE[:5]])
    check(scorer({"image": images}), detector, images)
    images[3, 0, 0, 0] = np.nan
    result = scorer({"image": images})
    assert result["error"][3] == "row 3 has NaN or infinite pixels"
    assert np.flatnonzero(np.isnan(result["score"])).tolist() == [3]
    with pytest.raises(ValueError, match="uint8, but the detector has no prep"):
        scorer({"image": np.zeros((2, *images.shape[1:]), np.uint8)})


@pytest.mark.parametrize("column", [[], np.zeros((0, 16, 16, 3), np.uint8)])
def test_an_empty_batch_gets_the_columns_too(saved, column):
    path = saved[1]
    result = jood.Scorer(path)({"image": column})
    full = jood.Scorer(path)({"image": NEW})
    assert result.keys() == full.keys()
    for name in full.keys() - {"image"}:
        assert result[name].shape == (0,)
        assert result[name].dtype == full[name].dtype


def test_pickling_takes_the_path_along_and_not_the_network(saved):
    detector, path, _ = saved
    scorer = jood.Scorer(path)
    scorer({"image": NEW})
    blob = pickle.dumps(scorer)
    assert len(blob) < 1000
    again = pickle.loads(blob)
    assert again == scorer
    check(again({"image": NEW}), detector, NEW)


def test_a_process_reads_the_detector_once(saved, monkeypatch):
    scorer_lib._open.cache_clear()
    reads = []
    load = jood.Detector.load
    monkeypatch.setattr(
        jood.Detector, "load", lambda path: reads.append(path) or load(path)
    )
    scorer = jood.Scorer(saved[1])
    assert not reads  # and not before the first batch
    for _ in range(2):
        pickle.loads(pickle.dumps(scorer))({"image": NEW})
    assert reads == [str(saved[1])]


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:msp\(\) gives each")  # it saturates there
def test_another_detector_under_the_same_path_is_another(tmp_path):
    single().save(tmp_path / "d")
    jood.Scorer(tmp_path / "d")({"image": NEW})
    (tmp_path / "d").rename(tmp_path / "old")
    detector = pixels_to("msp()").calibrate([PIXELS], tpr=0.8)
    detector.save(tmp_path / "d")
    check(jood.Scorer(tmp_path / "d")({"image": NEW}), detector, NEW)


@pytest.mark.slow
def test_another_process_scores_alike(saved, tmp_path):
    """What Spark, Beam and Ray do: unpickle it elsewhere, hand over a batch."""
    detector, path, _ = saved
    work = pickle.dumps((jood.Scorer(path), {"image": NEW}))
    (tmp_path / "work").write_bytes(work)
    code = (
        "import pickle, sys; scorer, batch = pickle.load(open(sys.argv[1], 'rb'));"
        "pickle.dump(scorer(batch), open(sys.argv[2], 'wb'))"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "work", tmp_path / "out"], check=True
    )
    check(pickle.loads((tmp_path / "out").read_bytes()), detector, NEW)


def test_pandas_frames_as_spark_passes_them(saved):
    pandas = pytest.importorskip("pandas")
    detector, path, _ = saved
    frame = pandas.DataFrame({"content": [png(i) for i in NEW], "id": range(7)})
    frame.index = range(100, 107)  # rows are found by place, not by label
    scorer = jood.Scorer(path, "content")
    first, second = scorer.frames(iter([frame[:3], frame[3:]]))
    assert list(first["id"]) == [0, 1, 2]
    whole = pandas.concat([first, second])
    assert list(whole.index) == list(range(100, 107))
    check({n: whole[n].to_numpy() for n in whole.columns}, detector, NEW)


def test_hugging_face_datasets_map(saved):
    datasets = pytest.importorskip("datasets")
    detector, path, _ = saved
    images = [Image.fromarray(image) for image in NEW]
    dataset = datasets.Dataset.from_dict(
        {"image": images, "id": list(range(7))},
        datasets.Features({"image": datasets.Image(), "id": datasets.Value("int64")}),
    )
    result = dataset.map(jood.Scorer(path), batched=True, batch_size=4)
    columns = result.remove_columns("image").with_format("numpy")
    check({name: columns[:][name] for name in columns.column_names}, detector, NEW)


def test_wrong_use_is_said(saved, tmp_path):
    path = saved[1]
    with pytest.raises(ValueError, match="no column 'image', only \\['img'\\]"):
        jood.Scorer(path)({"img": NEW})
    with pytest.raises(ValueError, match="columns \\['score'\\] already"):
        jood.Scorer(path)({"image": NEW, "score": np.zeros(7)})
    with pytest.raises(ValueError, match="batch_size"):
        jood.Scorer(path, batch_size=0)
    with pytest.raises(FileNotFoundError, match="not a saved detector"):
        jood.Scorer(tmp_path / "nowhere")({"image": NEW})
    detector = pixels_to("msp()")
    detector.save(tmp_path / "d")
    with pytest.raises(ValueError, match="does not say how large its images are"):
        jood.Scorer(tmp_path / "d")({"image": NEW})


def test_a_network_of_one_channel_scores_files_of_any_kind(tmp_path):
    gray = jood.Preprocessing((0.0,), (1.0,), resize=(brightness.SIZE,) * 2)
    detector = brightness.detector(preprocessing=gray)
    detector.export(tmp_path / "gray.zip")
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8))
    colour.save(tmp_path / "colour.png")
    colour.convert("L").save(tmp_path / "gray.png")
    images = [str(tmp_path / "colour.png"), str(tmp_path / "gray.png"), colour]
    found = jood.Scorer(tmp_path / "gray.zip", batch_size=4)({"image": images})
    assert list(found["error"]) == [""] * 3
    pixels = gray.fit_image(np.asarray(colour.convert("L"))[..., None])
    expected = np.repeat(detector(pixels[None]), 3)
    np.testing.assert_allclose(found["score"], expected, rtol=1e-6)
    inputs = open_inputs(str(tmp_path / "*.png").replace("*", "gray"), gray)
    np.testing.assert_array_equal(inputs.source[0]["image"], pixels)
