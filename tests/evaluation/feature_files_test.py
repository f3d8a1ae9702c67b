"""Features that another program wrote: what is read, compared and refused."""

from helpers import toy_features
from helpers.jobs import ROOT
import numpy as np
import pytest

import jood
from jood import testing
from jood.evaluation import feature_files
from jood.methods import detector_list

TEXTS = "msp, energy, knn(k=5), react(q=0.9)|energy(), mahalanobis()"


@pytest.fixture
def folder(tmp_path):
    return toy_features.write(tmp_path / "features")


def parts(texts=TEXTS):
    rows = detector_list.read_each(detector_list.split(texts))
    return {name: row.component for name, row in rows.items()}


@pytest.mark.slow
def test_scores_are_those_of_the_network(folder, monkeypatch):
    monkeypatch.setattr(feature_files, "BATCH", 16)  # the last batches are filled up
    found = feature_files.compare(parts(), feature_files.read(folder))
    detector = jood.Detector("msp", testing.ToyNet(), testing.toy_variables())
    (train, labels), new = testing.toy_images(50, 0), testing.toy_images(25, 2, True)[0]
    expected = jood.compare(
        TEXTS, detector, [(train, labels)], [testing.toy_images(30, 1)], {"new": [new]}
    )
    assert found.evaluation.accuracy == expected.evaluation.accuracy
    for name, scores in expected.evaluation.ood_scores["new"].items():
        ours = found.evaluation.ood_scores["new"][name]
        np.testing.assert_allclose(ours, scores, rtol=1e-3, atol=1e-4)
        assert ours.shape == (25,)
    assert "new" in found.text()


def test_an_npy_is_mapped_and_not_read_as_a_whole(folder):
    given = feature_files.read(folder)
    assert isinstance(given.train.penultimate, np.memmap)
    assert given.ood["new"].labels is None


def test_without_training_features_what_learns_is_refused_by_name(folder):
    (folder / "train.npy").unlink()
    given = feature_files.read(folder)
    with pytest.raises(ValueError, match=r"knn\(k=5\) \(it learns.*train.npy is mis"):
        feature_files.compare(parts(), given)
    assert feature_files.compare(parts("msp, energy"), given).best in ("msp", "energy")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ta(k=0.2)|energy()", "rewrites a map"),
        ("odin()", "runs the network again"),
        ("feature_sim()", "reads the maps"),
        ("ood_factor()", "reads a head of training"),
    ],
)
def test_what_needs_more_than_features_is_refused(folder, text, why):
    with pytest.raises(ValueError, match=rf"features alone cannot serve .*{why}"):
        feature_files.compare({"mine": jood.parse(text)}, feature_files.read(folder))


@pytest.mark.parametrize(
    ("file", "arrays", "error", "message"),
    [
        ("head.npz", None, FileNotFoundError, r"head\.npz is missing \(kernel"),
        ("test.npz", None, FileNotFoundError, r"lacks test\.npy or test\.npz"),
        ("ood/new.npy", None, FileNotFoundError, "holds no OOD set"),
        ("head.npz", {"weight": np.ones((4, 32))}, ValueError, "the array 'kernel'"),
        ("test.npz", {"features": np.ones(3)}, ValueError, "the array 'penultimate'"),
        ("test.npz", {"penultimate": np.ones((3, 4))}, ValueError, "D = 32.*Transpose"),
        (
            "test.npz",
            {"penultimate": np.ones((3, 32)), "labels": np.full(3, 9)},
            ValueError,
            r"labels must lie in \[0, 4\)",
        ),
    ],
)
def test_what_a_folder_lacks_is_told(folder, file, arrays, error, message):
    (folder / file).unlink()
    if arrays is not None:
        np.savez(folder / file, **arrays)
    with pytest.raises(error, match=message):
        feature_files.read(folder)


def test_the_page_shows_the_files():
    page = (ROOT / "docs" / "backbones.md").read_text()
    for name in ("head.npz", "train.npy", "test.npy", "ood/NAME.npy", "_labels.npy"):
        assert name in page
