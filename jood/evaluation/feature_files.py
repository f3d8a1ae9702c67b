"""Detectors compared on features that another program wrote: no network, no image.

    FOLDER/
      head.npz            kernel [D, K] and bias [K] of the classifier (bias: optional)
      train.npy           penultimate features [N, D] to fit on (optional)
      train_labels.npy    integers [N] (optional)
      test.npy            features of ID test images; test_labels.npy as above
      ood/NAME.npy        features of each OOD set

Instead of NAME.npy and NAME_labels.npy there may be a NAME.npz with the arrays
'penultimate' and 'labels'. Arrays are floating and of one width D. A .npy is mapped
into memory and read batch by batch, so it may be larger than memory; a .npz is read
whole.
"""

from collections.abc import Iterator, Mapping
import math
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from jood.core import activations
from jood.core import added_heads
from jood.core import compose
from jood.core import ood_head
from jood.core.activations import Activations
from jood.core.backbones import blocks
from jood.core.component import Component
from jood.core.fitting import fit
from jood.evaluation.benchmark_run import Evaluation
from jood.evaluation.comparison import Comparison

BATCH = 4096  # rows at a time


class FeatureSet(NamedTuple):
    """Penultimate features [N, D] of a set, and labels [N] or None."""

    penultimate: np.ndarray
    labels: np.ndarray | None


class FeatureFolder(NamedTuple):
    """What a folder of features holds; `train` may be None."""

    kernel: np.ndarray
    bias: np.ndarray | None
    train: FeatureSet | None
    test: FeatureSet
    ood: dict[str, FeatureSet]


class FeatureBatches:
    """Records and masks of a set, batch by batch; can be iterated again.

    All have the same number of rows: the last is filled with copies of its first row,
    whose mask is 0.
    """

    def __init__(self, given: FeatureSet, kernel: Any, bias: Any):
        self._given, self._head = given, (kernel, bias)
        self._size = min(BATCH, len(given.penultimate))

    def __iter__(self) -> Iterator[tuple[Activations, np.ndarray]]:
        for start in range(0, len(self._given.penultimate), self._size):
            rows = slice(start, start + self._size)
            features = np.asarray(self._given.penultimate[rows])
            labels = self._given.labels
            missing = self._size - len(features)
            index = np.r_[np.arange(len(features)), np.zeros(missing, int)]
            record = Activations.of(
                features[index],
                *self._head,
                labels=None if labels is None else labels[rows][index],
            )
            yield record, (np.arange(self._size) < len(features)).astype(np.float32)


def read(folder: str | os.PathLike[str]) -> FeatureFolder:
    """Opens a folder of features; see the module for its files.

    Raises:
      FileNotFoundError: a file that must be there is missing.
      ValueError: an array has the wrong rank or type, or sizes that do not fit.
    """
    folder = pathlib.Path(folder)
    if not (folder / "head.npz").is_file():
        raise FileNotFoundError(
            f"{folder} holds no features: head.npz is missing (kernel [D, K], "
            "PyTorch's fc.weight transposed, and bias [K])."
        )
    with np.load(folder / "head.npz") as head:
        if "kernel" not in head:
            raise ValueError(f"{folder / 'head.npz'} must have the array 'kernel'.")
        kernel, bias = head["kernel"], head.get("bias")
    if kernel.ndim != 2:
        raise ValueError(f"the kernel of {folder} must be [D, K], got {kernel.shape}.")
    test = _set(folder, "test", kernel)
    if test is None:
        raise FileNotFoundError(
            f"{folder} lacks test.npy or test.npz, the ID test set."
        )
    names = sorted({p.stem for p in (folder / "ood").glob("*.np[yz]")})
    names = [name for name in names if not name.endswith("_labels")]
    if not names:
        raise FileNotFoundError(f"{folder / 'ood'} holds no OOD set, NAME.npy or .npz.")
    sets = {name: _set(folder / "ood", name, kernel) for name in names}
    return FeatureFolder(
        kernel,
        bias,
        _set(folder, "train", kernel),
        test,
        {name: given for name, given in sets.items() if given is not None},
    )


def _set(folder: pathlib.Path, name: str, kernel: np.ndarray) -> FeatureSet | None:
    """A set by name; None if the folder lacks it."""
    path, archive = folder / f"{name}.npy", folder / f"{name}.npz"
    labels = None
    if path.is_file():
        features = np.load(path, mmap_mode="r")
        beside = folder / f"{name}_labels.npy"
        labels = np.load(beside) if beside.is_file() else None
    elif archive.is_file():
        with np.load(archive) as arrays:
            if "penultimate" not in arrays:
                raise ValueError(f"{archive} must have the array 'penultimate' [N, D].")
            features = arrays["penultimate"]
            labels = arrays.get("labels")
        path = archive
    else:
        return None
    width = kernel.shape[0]
    if features.ndim != 2 or features.shape[1] != width or not len(features):
        hint = " Transpose the kernel." * (features.shape[-1] == kernel.shape[1])
        raise ValueError(
            f"{path} must hold features [N, D], N >= 1, with D = {width} as the "
            f"kernel's first axis, got {features.shape}.{hint}"
        )
    if labels is not None:
        activations.check_labels(labels, len(features), kernel.shape[1])
    return FeatureSet(features, labels)


def lacks(component: Component, trained: bool) -> str:
    """Returns what a detector needs that a folder of features lacks, or ''."""
    if component.edits:
        return "it rewrites a map in mid-network"
    if component.needs_network:
        return "it runs the network again"
    stages = {*activations.STAGES, activations.DECODED, "stage", blocks.READS}
    if stages & set(component.reads):
        return "it reads the maps of stages"
    if any(added_heads.is_added(name) for name in component.reads):
        return f"it reads a head of training, {ood_head.COLLECTION} or the like"
    if component.passes and not trained:
        return "it learns from training features, and train.npy is missing"
    return ""


def compare(detectors: Mapping[str, Component], given: FeatureFolder) -> Comparison:
    """Fits detectors on training features and scores all sets, batch by batch.

    Args:
      detectors: components by the name of their row.
      given: the features that `read` returned.

    Returns:
      Scores and metrics, which print themselves as a table.

    Raises:
      ValueError: a detector needs what features lack (the message names each), or a
        feature is NaN or infinite.
    """
    trained = given.train is not None
    why = {name: lacks(part, trained) for name, part in detectors.items()}
    if refused := [f"{name} ({text})" for name, text in why.items() if text]:
        raise ValueError(
            f"features alone cannot serve {'; '.join(refused)}. Leave these detectors "
            "out, or evaluate with the network."
        )
    rows = compose.bundle(**detectors)
    rows = rows.ranking or rows
    head = given.kernel, given.bias
    train = () if given.train is None else FeatureBatches(given.train, *head)
    fitted = fit(rows, train)

    @jax.jit
    def score(fitted: Any, record: Activations) -> Any:
        return rows.apply(fitted, record), record.prediction

    def scores(one: FeatureSet) -> tuple[dict[str, np.ndarray], np.ndarray]:
        batches = []
        for record, mask in FeatureBatches(one, *head):
            keep = mask > 0
            results = jax.device_get(score(fitted, record.replace(labels=None)))
            batches.append(jax.tree.map(lambda x, keep=keep: x[keep], results))
        whole = jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
        return whole[0], whole[1]

    inside, prediction = scores(given.test)
    labels = given.test.labels
    accuracy = math.nan if labels is None else float((prediction == labels).mean())
    outside = {name: scores(one)[0] for name, one in given.ood.items()}
    specs = {name: part.spec for name, part in detectors.items()}
    return Comparison(Evaluation(accuracy, inside, outside), specs)
