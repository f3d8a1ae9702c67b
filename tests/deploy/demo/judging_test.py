"""The demo on a tiny network: what it says, shows and writes of any photograph."""

import csv
import re

from helpers import tiny_network
import numpy as np
from PIL import Image
import pytest

import jood
from jood.core.preprocessing import Preprocessing
from jood.deploy.demo import judging
from jood.deploy.demo import page as page_lib
from jood.deploy.demo import results
from jood.deploy.demo import verdicts
from jood.deploy.demo.reference import Reference
from jood.detector.calibration import Calibration
from jood.weights import checkpoint

CLASSES = ("ant", "bee", "cat")
TEXTS = {
    "MSP": "msp()",
    "FS": "feature_sim()",
    "FS+TA": "ta(k=0.2)|feature_sim()",
}
PREPROCESSING = Preprocessing((0.5,) * 3, (0.25,) * 3, resize=18, crop=16)
NETWORK = checkpoint.TrainedNetwork(
    model=tiny_network.MODEL,
    variables=tiny_network.VARIABLES,
    name="resnet_small",
    class_names=CLASSES,
    preprocessing=PREPROCESSING,
    image_size=16,
    source={"sha256": "abc"},
)


def reference(texts=TEXTS, **changes):
    scores = {name: np.linspace(0, 1, 19, dtype=np.float32) for name in texts}
    known = Reference(texts, Calibration(0.9, scores), "abc", 5.0, {"images": "Toys."})
    return known._replace(**changes)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Photographs of every kind, and files that are none."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (40, 30, 3), np.uint8)
    alpha = np.dstack([colours, rng.integers(0, 256, (40, 30), np.uint8)])
    Image.fromarray(colours).save(root / "1 colour <b>.png")
    Image.fromarray(colours[..., 0]).save(root / "2gray.png")
    Image.fromarray(alpha).save(root / "3rgba.png")
    Image.fromarray(colours[..., 0].astype(np.uint16) * 257).save(root / "4deep.png")
    Image.fromarray(colours[:1, :1]).save(root / "5tiny.png")
    Image.fromarray(colours[:2]).save(root / "6flat.png")
    (root / "7text.jpg").write_text("no photograph")
    (root / "8empty.jpg").write_bytes(b"")
    (root / "notes.md").write_text("not looked at")
    return root


@pytest.fixture(scope="module")
def judged(photographs):
    asked = judging.detector(NETWORK, reference())
    opened = judging.open_photographs(
        [str(photographs), str(photographs / "2gray.png")], NETWORK
    )
    return judging.judge(asked, opened)


def test_scores_are_the_detectors_own_and_bad_files_keep_their_place(
    photographs, judged
):
    names = [name.rpartition("/")[2] for name in judged.names]
    assert names[1:] == [
        *("2gray.png", "3rgba.png", "4deep.png", "5tiny.png", "6flat.png"),
        *("7text.jpg", "8empty.jpg", "2gray.png"),
    ]
    assert judged.scored.readable.tolist() == [True] * 6 + [False] * 2 + [True]
    detector = jood.Detector("feature_sim()", *tiny(), PREPROCESSING)
    pixels = np.asarray(Image.open(photographs / "2gray.png").convert("RGB"))
    expected = detector.run([pixels])
    for place in (1, 8):
        score = judged.scored.scores["FS"][place]
        assert score == pytest.approx(float(expected.scores[0]), rel=1e-4)
        assert judged.scored.prediction[place] == expected.prediction[0]
    # 16 bits are scaled to the same gray.
    assert judged.scored.scores["FS"][3] == judged.scored.scores["FS"][1]


def tiny():
    return tiny_network.MODEL, tiny_network.VARIABLES


def test_maps_are_those_that_the_two_scores_are_of(judged):
    assert judged.shown.tolist() == [0, 1, 2, 3, 4, 5, 8]
    assert judged.images.shape == (7, 16, 16, 3)
    plain, edited = judged.maps
    assert plain.shape == edited.shape == (7, *plain.shape[1:])
    assert np.abs(plain - edited).max() > 1e-3
    for name, maps in (("FS", plain), ("FS+TA", edited)):
        score = judged.scored.scores[name][judged.shown]
        # Of a map of one pixel nothing deviates; these have several.
        assert (score > 0).all()
        assert np.corrcoef(score, maps.std((1, 2)))[0, 1] > 0.3


def test_more_photographs_than_are_shown(judged, photographs, monkeypatch):
    monkeypatch.setattr(judging, "SHOWN", 3)
    asked = judging.detector(NETWORK, reference())
    opened = judging.open_photographs([str(photographs)] * 3, NETWORK)
    many = judging.judge(asked, opened)
    assert many.shown.tolist() == [0, 1, 2]
    assert len(many.scored.scores["MSP"]) == 24
    again = np.tile(judged.scored.scores["FS"][:6], 3)
    np.testing.assert_allclose(
        many.scored.scores["FS"][many.scored.readable], again, rtol=1e-5
    )


def test_verdicts_are_those_of_the_calibration(judged):
    known = reference()
    found = verdicts.of(judged, known.calibration, CLASSES)
    assert [one.place for one in found] == judged.shown.tolist()
    p_values = known.calibration.p_values(judged.scored.scores)
    thresholds = known.calibration.thresholds()
    for one in found:
        for name, opinion in one.opinions.items():
            assert opinion.p_value == p_values[name][one.place]
            assert opinion.is_ood == (opinion.score < thresholds[name])
            assert opinion.p_text.endswith("*") == opinion.is_ood
        assert one.predicted in CLASSES
    table = verdicts.table(found)
    assert len(table.splitlines()) == 2 + len(found)
    assert "photograph" in table
    long = found[0]._replace(name="x" * 100 + ".jpg")
    assert max(map(len, verdicts.table([long]).splitlines())) < 100


@pytest.mark.slow
def test_the_folder_has_page_pictures_and_table(judged, tmp_path):
    known = reference()
    found = verdicts.of(judged, known.calibration, CLASSES)
    out = tmp_path / "out"
    results.write(out, judged, found, known, CLASSES, {"photographs": ["x"]})
    assert {path.name for path in out.iterdir()} == {
        *("report.html", "scores.csv"),
        *(
            f"{name}.{kind}"
            for name in ("heatmaps", "scores")
            for kind in ("png", "pdf")
        ),
    }
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert len(rows) == 9
    assert [row["error"] != "" for row in rows] == [False] * 6 + [True] * 2 + [False]
    assert {"path", "class", "score_FS+TA", "p_value_MSP"} <= rows[0].keys()
    html = (out / "report.html").read_text()
    assert "1 colour &lt;b&gt;.png" in html
    assert "<b>.png" not in html
    assert "2 could not be read" in html
    assert "the file is empty" in html
    assert "Toys." in html
    assert len(re.findall("<figcaption>with TA</figcaption>", html)) == 7
    with pytest.raises(FileExistsError, match="exists already"):
        results.write(out, judged, found, known, CLASSES, {})


def test_a_page_of_one_photograph(photographs):
    known = reference()
    one = [str(photographs / "2gray.png")]
    asked = judging.detector(NETWORK, known)
    judged = judging.judge(asked, judging.open_photographs(one, NETWORK))
    found = verdicts.of(judged, known.calibration, CLASSES)
    pictures = {
        "heatmaps": page_lib.heatmaps(judged, found, results.HEATMAPS_OF, 5.0),
        "scores": page_lib.histograms(judged, known),
    }
    assert len(pictures["heatmaps"].axes) == 3
    assert found[0].predicted in CLASSES


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"SHA-256 abd, but these have abc.*jood\[demo"
    ):
        judging.detector(NETWORK, reference(weights="abd"))
    with pytest.raises(ValueError, match=r"learns from data: .*knn"):
        judging.detector(NETWORK, reference({"KNN": "knn(k=1)"}))


def test_folders_without_photographs_and_other_files_are_named(tmp_path, photographs):
    (tmp_path / "empty").mkdir()
    for where, message in (
        (tmp_path / "empty", "there is no image in"),
        (tmp_path / "nowhere.jpg", r"no file or folder .*nowhere\.jpg"),
        (photographs / "notes.md", r"notes\.md is none of what can be scored"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            judging.open_photographs([str(where)], NETWORK)
