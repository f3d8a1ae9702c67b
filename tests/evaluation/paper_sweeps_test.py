"""The papers' sweeps: readable, around the presets' values, or of the user's own."""

import numpy as np
import pytest

from jood.evaluation import paper_sweeps
from jood.methods import detector_text


@pytest.mark.parametrize(
    ("benchmark", "mask"), [("digits", 0.2), ("cifar100", 0.6), ("imagenet", 0.3)]
)
def test_every_sweep_is_readable_around_the_presets_values(benchmark, mask):
    found = paper_sweeps.sweeps(benchmark, "resnet50")
    assert tuple(found) == paper_sweeps.NAMES
    for one in found.values():
        for text in one.methods.values():
            for value in one.values:
                assert (
                    detector_text.parse(text, variables={"value": value}).slot
                    == "score"
                )
        assert one.usual is None or min(one.values) <= one.usual <= max(one.values)
    assert found["mask"].usual == mask
    assert found["k"].values == pytest.approx(np.linspace(0, 0.5, 26))  # Table 7


def test_the_values_around_which_is_swept_say_where_they_come_from():
    usual = paper_sweeps.usual_values("cifar10", "resnet32")
    assert usual["ta(k=0.2)"] == "Feature Sim, Sec. 6.2"
    assert usual["feature_mask(q=0.6)"] == "HIMPLoS, Sec. V-F"
    assert usual["fuse(weights=(1, 0.016))"] == "Feature Sim, App. A.1"
    assert usual["react(q=0.9)"].endswith("no published value for resnet32")


def test_values_of_the_user_s_own_take_the_grid_s_place():
    k = paper_sweeps.sweeps("digits")["k"]
    assert paper_sweeps.with_values(k, [0.3, 0.0]).values == (0.0, 0.3)
    with pytest.raises(
        ValueError, match=r"k = -1 is not a valid value for FS\+TA: .*>= 0"
    ):
        paper_sweeps.with_values(k, [0.1, -1.0])
    with pytest.raises(ValueError, match="each once"):
        paper_sweeps.with_values(k, [0.1, 0.1])
