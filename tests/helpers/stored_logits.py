"""Logits of torchvision's networks with seeded weights, for runs without PyTorch.

    python tests/stored_logits.py    # writes them anew; needs torch and torchvision

Weights are drawn by name, so that nothing but the logits is stored.
"""

import json
import pathlib
import zlib

import numpy as np

from jood import models
from jood import weights
from jood.weights import layout as layout_lib
from jood.weights import matching

FILE = pathlib.Path(__file__).parent / "stored_logits.json"
CLASSES, SIZE = 5, 64
NAMES = {  # ours -> torchvision's
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "densenet121": "densenet121",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3_large": "mobilenet_v3_large",
    "regnet_y_800mf": "regnet_y_800mf",
    "vit_b16": "vit_b_16",
    "swin_t": "swin_t",
}


def model_of(name):
    options = {"image_size": SIZE} if name.startswith("vit") else {}
    return models.create(name, CLASSES, **options)


def tensors(name):
    """Seeded tensors by torchvision's names, float32."""
    model = model_of(name)
    layout = weights.layouts(model)["torchvision"]
    shapes = matching.expected_shapes(model)
    found = {}
    for ours, theirs in layout_lib.torch_names(layout, model, shapes).items():
        shape = layout_lib.torch_shape(ours, shapes[ours])
        rng = np.random.default_rng(zlib.crc32(theirs.encode()))
        if len(shape) > 1:
            fan_in = int(np.prod(shape[1:]))
            value = rng.normal(0, (2 / fan_in) ** 0.5, shape)
        elif theirs.endswith(("running_var", "weight")):
            value = rng.uniform(0.5, 1.0, shape)
        else:
            value = rng.normal(0, 0.2, shape)
        found[theirs] = value.astype(np.float32)
    return found


def images():
    shape = (2, SIZE, SIZE, 3)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def main():
    import torch

    from helpers import torch_oracle

    library = torch_oracle.library("torchvision").models
    stored = {}
    for name, theirs in NAMES.items():
        options = {"image_size": SIZE} if name.startswith("vit") else {}
        network = library.get_model(theirs, num_classes=CLASSES, **options).eval()
        state = {n: torch.from_numpy(t) for n, t in tensors(name).items()}
        missing = network.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys
        buffers = ("num_batches_tracked", "relative_position_index")  # no weights
        assert all(key.endswith(buffers) for key in missing.missing_keys)
        logits = torch_oracle.logits(network, images())
        stored[name] = np.round(logits.astype(np.float64), 6).tolist()
        print(name, logits.std())
    FILE.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
