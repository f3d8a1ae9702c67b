"""The stored calibration scores: whole, readable, and those of the original network."""

import os

import numpy as np
import pytest

from jood.deploy.demo import imagenet_network
from jood.deploy.demo import judging
from jood.deploy.demo import reference
from jood.methods import detector_text

KNOWN = reference.read()


def test_five_detectors_and_a_thousand_scores_each():
    assert len(KNOWN.detectors) == 5
    assert KNOWN.calibration.scores.keys() == KNOWN.detectors.keys()
    for name, text in KNOWN.detectors.items():
        component = detector_text.parse(text)
        assert component.slot == "score"
        assert not component.passes, name
        scores = KNOWN.calibration.scores[name]
        assert scores.shape == (1000,)
        assert (np.diff(scores) >= 0).all()
    assert KNOWN.calibration.promises()["MSP"].images == 1000
    assert {"FS", "FS+TA"} <= KNOWN.detectors.keys()  # of the heatmaps


def test_scores_are_those_of_the_original_code(golden_imagenet_dir):
    golden = np.load(golden_imagenet_dir / "efficientnet_lite0_scores.npz")
    for name in ("MSP", "Energy"):
        expected = np.sort(golden[f"{name.lower()}_jpeg256"])
        scores = KNOWN.calibration.scores[name]
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)
    right = golden["argmax_jpeg256"] == np.arange(1000)
    assert KNOWN.about["accuracy"] == right.mean() == 0.873


def test_a_reference_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "calibration.json"
    reference.write(path, KNOWN)
    again = reference.read(path)
    assert again._replace(calibration=None) == KNOWN._replace(calibration=None)
    for name, scores in KNOWN.calibration.scores.items():
        np.testing.assert_array_equal(again.calibration.scores[name], scores)
    path.write_text(path.read_text().replace("msp()", "energy()"))
    with pytest.raises(ValueError, match="changed by hand"):
        reference.read(path)


def test_there_is_a_name_for_each_class(golden_imagenet_dir):
    golden = np.load(golden_imagenet_dir / "efficientnet_lite0_scores.npz")
    names = imagenet_network.class_names()
    assert len(set(names)) == 1000
    for file, name in zip(golden["files"], names, strict=True):
        plain = str(file).partition("_")[2].removesuffix(".JPEG").replace("_", " ")
        assert name.startswith(plain)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(imagenet_network, "_PACKAGE", "no_such_package")
    with pytest.raises(ValueError, match=r"pip install 'jood\[demo\]'"):
        imagenet_network.open()


@pytest.mark.slow
def test_photographs_get_the_original_networks_scores(data_dir, golden_imagenet_dir):
    """A part of them, since all take minutes; JOOD_ALL_NETWORKS=1 takes all."""
    from helpers import demo_network

    network = demo_network.open_or_skip()
    golden = np.load(golden_imagenet_dir / "efficientnet_lite0_scores.npz")
    whole = "JOOD_ALL_NETWORKS" in os.environ
    some, textures = (
        slice(0, None, 1 if whole else 25),
        slice(0, None, 1 if whole else 6),
    )
    count = len(golden["files"][some])
    root = data_dir / "images"
    paths = [root / "imagenet1000" / str(file) for file in golden["files"][some]]
    paths += [
        root / "textures" / str(file) for file in golden["texture_files"][textures]
    ]
    judged = judging.judge(
        judging.detector(network, KNOWN),
        judging.open_photographs(list(map(str, paths)), network),
    )
    assert judged.scored.readable.all()
    prediction = judged.scored.prediction
    np.testing.assert_array_equal(prediction[:count], golden["argmax_jpeg256"][some])
    np.testing.assert_array_equal(
        prediction[count:], golden["argmax_textures"][textures]
    )
    for name in ("MSP", "Energy"):
        scores = judged.scored.scores[name]
        inside, outside = f"{name.lower()}_jpeg256", f"{name.lower()}_textures"
        expected = np.concatenate([golden[inside][some], golden[outside][textures]])
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)
    # The shipped scores are of these photographs.
    for name, scores in judged.scored.scores.items():
        known = KNOWN.calibration.scores[name]
        nearest = np.abs(known[:, None] - scores[None, :count]).min(0)
        np.testing.assert_allclose(nearest, 0, atol=2e-4, err_msg=name)
        assert scores[:count].mean() > scores[count:].mean()
