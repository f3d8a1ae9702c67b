"""Files that jood 0.1 wrote before its modules moved are read by today's code.

`stored/` holds a saved detector and its export, a converted network and the run of an
SSOD training, all tiny, with what they gave in `expected.json`.
"""

import json
import pathlib
import shutil

from helpers.toy_detectors import PIXELS
import numpy as np
import pytest

import jood
from jood import models
from jood.weights import checkpoint

STORED = pathlib.Path(__file__).parent / "stored"
EXPECTED = json.loads((STORED / "expected.json").read_text())
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # another processor rounds otherwise


def logits(model, variables):
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("f")
    own = {name: variables[name] for name in ("params", "batch_stats")}
    return model.apply(own, images)


def test_a_saved_detector():
    detector = jood.Detector.load(STORED / "detector")
    assert detector.component.spec == EXPECTED["spec"]
    output = detector.run(PIXELS)
    for name, scores in EXPECTED["scores"].items():
        np.testing.assert_allclose(output.scores[name], scores, **CLOSE)
    assert output.prediction.tolist() == EXPECTED["prediction"]


def test_an_export():
    scored = jood.Scorer(STORED / "detector.zip", batch_size=8)({"image": PIXELS})
    for name, scores in EXPECTED["scores"].items():
        np.testing.assert_allclose(scored[f"score_{name}"], scores, **CLOSE)
        p_values = scored[f"p_value_{name}"]
        # Calibrated on these very images: rounding may move an image by one rank of 9.
        np.testing.assert_allclose(p_values, EXPECTED["p_values"][name], atol=0.12)
    assert scored["prediction"].tolist() == EXPECTED["prediction"]


def test_a_converted_network():
    network = checkpoint.open(STORED / "network")
    assert network.class_names == ("ant", "bee", "cat")
    found = logits(network.model, network.variables)
    np.testing.assert_allclose(found, EXPECTED["network"], **CLOSE)


@pytest.mark.slow
def test_a_training_run(tmp_path):
    shutil.copytree(STORED / "run", tmp_path / "run")  # Orbax may touch what it reads
    network = checkpoint.open(tmp_path / "run")
    assert "ood_head" in network.variables
    assert type(network.model) is type(models.create("resnet_small", 8))
    found = logits(network.model, network.variables)
    np.testing.assert_allclose(found, EXPECTED["run"], **CLOSE)
