"""The inputs of the golden scores, as records that components read."""

import functools

import numpy as np

import jood


@functools.cache
def load(path):
    with np.load(path) as arrays:
        return dict(arrays)


@functools.cache
def records(folder, case, first=None):
    """The training and the test record of a case; ID rows first, then OOD rows."""
    if case == "cnn":
        tensors = load(folder / "cnn_tensors.npz")
        inputs = load(folder / "cnn_images.npz")
        train, test = tensors["train_feat"], tensors["test_feat"]
        weight, bias = tensors["head_W"], tensors["head_b"]
        fmap = tensors["test_fmap"].transpose(0, 2, 3, 1)
        stages = {"C5": fmap}
    else:
        inputs = load(folder / "featB_inputs.npz")
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
