"""A folder of the toy's features, as another program would write them."""

import numpy as np

import jood
from jood import testing


def features(count, seed, ood=False):
    """Penultimate features [N, D] and labels [N]."""
    images, labels = testing.toy_images(count, seed, ood)
    acts = testing.toy_activations(jood.parse("energy()"), images)
    return np.asarray(acts.penultimate), labels


def write(folder):
    """Writes 50 features to fit on, 30 to score, and one OOD set of 25."""
    (folder / "ood").mkdir(parents=True)
    np.savez(folder / "head.npz", **testing.toy_variables()["params"]["head"])
    train, labels = features(50, 0)
    np.save(folder / "train.npy", train)
    np.save(folder / "train_labels.npy", labels)
    test, labels = features(30, 1)
    np.savez(folder / "test.npz", penultimate=test, labels=labels)
    np.save(folder / "ood" / "new.npy", features(25, 2, ood=True)[0])
    return folder
