"""Detectors of a network of random weights that takes uint8 images."""

import numpy as np

from helpers.tiny_network import MODEL
from helpers.tiny_network import VARIABLES
from helpers.toy_detectors import PIXELS
import jood

HOW = jood.Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
NEW = np.random.default_rng(1).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)


def pixels_to(component, preprocessing=HOW):
    """A detector of a network of random weights."""
    return jood.Detector(component, MODEL, VARIABLES, preprocessing)


def single():
    return pixels_to("energy()").calibrate([PIXELS], tpr=0.8)
