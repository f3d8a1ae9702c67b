"""OpenOOD's protocol: the highest AUROC against real OOD images, and what it saw."""

import dataclasses

from helpers import tiny_benchmark
from helpers.tiny_network import MODEL
import numpy as np
import pytest

from jood.data.benchmarks import openood
from jood.data.sources import ArraySource
from jood.detector import Detector
from jood.evaluation import choice
from jood.evaluation import paper_grids
from jood.evaluation import selection

IMAGES = tiny_benchmark.IMAGES
METHOD, GRID = "temperature(T=T)|energy()", {"T": (1.0, 10.0, 100.0)}


@pytest.fixture(scope="module")
def detector():
    variables, shown = tiny_benchmark.variables(), tiny_benchmark.PREPROCESSING
    return Detector("msp()", MODEL, variables, preprocessing=shown)


@pytest.mark.slow
def test_the_highest_auroc_is_chosen_on_the_images_that_are_given(detector):
    inside, outside = [IMAGES[20:36]], {"dark": [IMAGES[:9] // 4]}
    found = selection.select_against(
        METHOD, GRID, detector, [IMAGES[:8]], inside, outside
    )
    assert found.kinds == ("dark",)
    assert found.best.auroc == max(one.auroc for one in found.candidates)
    for one in found.candidates:
        fitted = dataclasses.replace(detector, component=one.spec).fit([IMAGES[:8]])
        scores = [np.asarray(fitted(images)) for images in (inside[0], IMAGES[:9] // 4)]
        expected = choice.contrast(*scores)
        np.testing.assert_allclose(one.auroc, expected.auroc, atol=1e-6)
    assert found.saw == "ID validation images and OOD images of dark"
    assert (
        "Saw ID validation images and OOD images of dark. Takes the highest AUROC."
        in (found.text())
    )


def test_joods_own_rule_says_that_it_saw_no_ood_image(detector):
    found = selection.select(METHOD, GRID, detector, [IMAGES[:8]], [IMAGES[20:36]])
    assert found.saw.endswith("no OOD image")
    assert "Gaussian noise" in found.saw
    assert found.rule is choice.SEPARATION


def test_the_rules_differ_where_the_widest_separation_is_not_the_highest_auroc():
    def candidate(auroc, separation):
        one = choice.Contrast(auroc, 0.5, separation, error=0.1)
        return choice.Candidate({"k": auroc}, "msp()", {"noise": one})

    every = (candidate(0.9, 3.0), candidate(0.95, 1.0))
    assert choice.Selection("", every).best is every[0]
    assert choice.Selection("", every, "", choice.HIGHEST_AUROC).best is every[1]


def test_no_ood_images_are_refused(detector):
    with pytest.raises(ValueError, match="give OOD images to choose on"):
        selection.select_against(METHOD, GRID, detector, [], [IMAGES[20:]], {})


def test_the_rows_of_both_protocols_stand_beside_each_other(monkeypatch):
    assert paper_grids.names(["noise"]) == paper_grids.NAMES
    assert paper_grids.names([paper_grids.OOD])[0] == "FS+TA (selected on OOD)"
    both = paper_grids.names(["noise", paper_grids.OOD])
    assert len(set(both)) == 6
    validation = tuple(ArraySource(IMAGES[i : i + 6]) for i in (20, 0))
    asked = {}

    def get(name, **options):
        asked.update(options, name=name)
        return validation

    monkeypatch.setattr(paper_grids.benchmarks, "get_validation", get)
    monkeypatch.setattr(paper_grids, "run_on_ood", lambda *given: {"row": given})
    monkeypatch.setattr(paper_grids, "run", lambda *given: {"made": given})
    spec = openood.SPECS[0]
    benchmark = dataclasses.replace(tiny_benchmark.BENCHMARK, name=spec.name)
    curves = paper_grids.run_on([paper_grids.OOD], None, benchmark, 4, data_dir="x")
    assert list(curves) == ["row"]
    assert curves["row"][3] is validation
    assert (asked["name"], asked["data_dir"]) == ("openood_cifar10", "x")
