"""The inputs of the golden scores, as records that components read."""

import functools

import numpy as np

import jood


@functools.cache
def load(path):
    with np.load(path) as arrays:
        return dict(arrays)


def cases(folder):
    """The cases whose scores and inputs a folder holds, as 'cnn' and 'featB'."""
    names = [p.stem.removeprefix("scores_") for p in folder.glob("scores_*.npz")]
    inputs = ("tensors", "inputs")
    return sorted(
        name
        for name in names
        if any((folder / f"{name}_{kind}.npz").is_file() for kind in inputs)
    )


SECOND_SET = ("dice_react_p",)  # what is compared of it: beginnings of keys


@functools.cache
def scores(folder, case):
    """Golden arrays by key, as the peers returned them."""
    first = load(folder / f"scores_{case}.npz")
    second = folder / f"scores_post_{case}.npz"
    more = load(second) if second.is_file() else {}
    return first | {key: v for key, v in more.items() if key.startswith(SECOND_SET)}


@functools.cache
def records(folder, case, first=None):
    """The training and the test record of a case; ID rows first, then OOD rows."""
    if (folder / f"{case}_tensors.npz").is_file():
        tensors = load(folder / f"{case}_tensors.npz")
        inputs = load(folder / f"{case}_images.npz")
        train, test = tensors["train_feat"], tensors["test_feat"]
        weight, bias = tensors["head_W"], tensors["head_b"]
        fmap = tensors["test_fmap"].transpose(0, 2, 3, 1)
        stages = {"C5": fmap}
    else:
        inputs = load(folder / f"{case}_inputs.npz")
        scale = inputs["dim_scale"]
        train = inputs["train_features"].astype("f") * scale
        test = np.concatenate([inputs["id_features"], inputs["ood_features"]])
        test, stages = test.astype("f") * scale, None
        weight, bias = inputs["head_W"], inputs["head_b"]
    labels = inputs["train_labels"].astype(np.int32)
    return (
        jood.Activations.of(train[:first], weight.T, bias, labels=labels[:first]),
        jood.Activations.of(test, weight.T, bias, stages=stages),
    )
