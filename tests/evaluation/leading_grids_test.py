"""The leading methods' grids: whole, and chosen from on noise by a small network."""

import numpy as np
import pytest

import jood
from jood import testing
from jood.evaluation import leading_grids
from jood.evaluation import selection
from jood.methods import detector_list
from jood.methods import detector_text

ROWS = tuple(leading_grids.GRIDS)
AUTHORS = {  # where a preset has other values than the method's defaults
    "ActSub": "actsub()",
    "CombOOD": "combood()",
}


@pytest.mark.parametrize("row", ROWS)
def test_a_grid_holds_the_methods_own_values_and_others(row):
    method, values = leading_grids.GRIDS[row]
    specs = [
        detector_text.parse(method, variables=point).spec
        for point in selection._points(method, values)
    ]
    assert len(set(specs)) == len(specs) == np.prod([len(v) for v in values.values()])
    own = AUTHORS.get(row) or detector_list.read_each({row: row})[row].component.spec
    assert jood.parse(own).spec in specs


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_values_are_chosen_on_noise(row):
    method, values = leading_grids.GRIDS[row]
    detector = jood.Detector("msp()", testing.ToyNet(), testing.toy_variables())
    train = [testing.toy_images(64, seed) for seed in (0, 5)]
    held = [testing.toy_images(32, 9)]
    ends = {name: (tried[0], tried[-1]) for name, tried in values.items()}
    found = selection.select(method, ends, detector, train, held)
    assert found.saw.endswith("no OOD image")
    assert found.best in found.sound
    assert all(np.isfinite(one.separation) for one in found.candidates)
    # On the toy's noise AdaSCALE's share is the same for all values.
    differ = len({one.separation for one in found.candidates}) > 1
    assert differ == (not row.startswith("AdaSCALE"))
