"""SSD against its authors' code."""

from helpers import compiled
from helpers import golden_training as golden
import numpy as np
import pytest

import jood
from jood.methods import detector_text


def test_the_scores_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "ssd"):
        width, classes = given["train"].shape[1], int(given["train_labels"].max()) + 1
        head = np.ones((width, classes), np.float32)
        clusters = "classes" if group.startswith("classes") else "one"
        part = detector_text.parse(f"ssd(clusters={clusters!r})")
        labels = np.asarray(given["train_labels"])
        train = jood.Activations.of(given["train"], head, labels=labels)
        fitted = jood.fit(part, [train])
        for name in ("test", "ood"):
            score = compiled.apply(part, fitted, jood.Activations.of(given[name], head))
            golden.close(score, given[f"score_{name}"], f"{name} of {group}")
            golden.close(-score, given[f"dist_{name}"], f"{name} of {group}")


def test_bad_clusters_are_named():
    with pytest.raises(ValueError, match="clusters must be 'one' or 'classes', got 3"):
        jood.scores.ssd(clusters=3)
