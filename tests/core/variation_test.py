"""Features that do not differ: what is learned from them tells no images apart."""

import warnings

import numpy as np
import pytest

from jood.core.activations import Activations
from jood.core.fitting import fit
from jood.methods import detector_text

KERNEL = np.random.default_rng(9).normal(size=(5, 3)).astype(np.float32)
EQUAL = Activations.of(np.ones((4, 5), np.float32), KERNEL)
OTHER = Activations.of(np.full((4, 5), 2, np.float32), KERNEL)


@pytest.mark.parametrize(
    "text", ["react(q=0.9)|energy()", "knn(k=2)", "vim(dim=2)", "dice(q=0.5)|energy()"]
)
def test_equal_features_are_warned_of_while_fitting(text):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(detector_text.parse(text), [EQUAL, EQUAL])
    found = [str(one.message) for one in caught if "8 images" in str(one.message)]
    assert len(found) == 1
    assert "same penultimate feature" in found[0]


def test_batches_that_differ_from_each_other_only_are_fine():
    fit(detector_text.parse("knn(k=2)"), [EQUAL, OTHER])


def test_padding_does_not_hide_it_and_one_image_is_no_sign_of_it():
    mask = np.array([1, 1, 0, 0], np.float32)
    rows = np.array([1, 1, 2, 2], np.float32)
    mixed = Activations.of(np.repeat(rows[:, None], 5, axis=1), KERNEL)
    component = detector_text.parse("knn(k=1)")
    with pytest.warns(UserWarning, match="2 images that all have the same"):
        fit(component, [(mixed, mask)])
    fit(component, [(mixed, np.array([1, 0, 0, 0], np.float32))])
