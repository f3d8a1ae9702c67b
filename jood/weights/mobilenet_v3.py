"""Names of MobileNetV3's tensors: torchvision's.

timm's are not here, because its network computes something else: its BatchNorm has
epsilon 1e-5 instead of 1e-3.
"""

from jood.models import mobilenet_v3
from jood.weights import layout
from jood.weights import mobilenet_v2


def _torchvision(model: mobilenet_v3.MobileNetV3) -> layout.Pairs:
    last = (f"features.{len(model.rows)}.{i}" for i in (0, 1))
    yield from mobilenet_v2.ends(model, "features.0.0", "features.0.1", *last)
    yield from (("hidden", "classifier.0"), ("head", "classifier.3"))
    for ours, number in mobilenet_v2.blocks(model):
        theirs = f"features.{number}.block"
        i = int(number > 1)  # the first block has no expansion
        j = i + 1 + model.rows[number - 1].gated
        names = ("0.0", "0.1", f"{i}.0", f"{i}.1", f"{j}.0", f"{j}.1")
        yield from layout.below(ours, theirs, mobilenet_v2.PARTS, names)
        yield from layout.below(f"{ours}/gate", f"{theirs}.{i + 1}", ("fc1", "fc2"))


MODEL = mobilenet_v3.MobileNetV3
LAYOUTS = {"torchvision": layout.Layout(_torchvision)}
