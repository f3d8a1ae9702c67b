"""What the papers set, per benchmark and per network: fills the presets' templates.

k        TA's threshold            mask   HIMPLoS's masking fraction
clip     HIMPLoS's clip            react  ReAct's clip, or its quantile
line     LINE's three values       dice   DICE's fraction
bats     BATS's λ (its code gives 3.25 for CIFAR's networks and 1.05 for ViT)
knn      KNN's k
msp, energy, fs_react, ash, odin, gradnorm: the weights of FS fused with that score
"""

from collections.abc import Mapping
import types
from typing import NamedTuple

from jood._utils import unknown_name

# Feature Map Matters in OOD Detection, App. A.1: λ of each score. For ASH none is
# given: 'scale' is the rule that the appendix states in words.
_LAMBDA = {
    "msp": "(1, 0.1)",
    "energy": "(1, 0.016)",
    "fs_react": "(1, 0.028)",
    "odin": "(1, 1300)",
    "gradnorm": "(1, 0.4)",
    "ash": "'scale'",
}
_SCALE = dict.fromkeys(_LAMBDA, "'scale'")
# A clip for a network without a published one: the 0.9-quantile of ID activations.
_COMMON = {"react": "q=0.9", "clip": "q=0.9"}
_IMAGENET = {
    **_COMMON,
    **_LAMBDA,
    "k": "0.2",
    "mask": "0.3",
    "line": "q_a=0.1, q_w=0.1, clip=0.8",
    "dice": "0.7",
    "bats": "3.25",
    "knn": "1000",
}
_CIFAR10 = {
    **_COMMON,
    **_LAMBDA,
    "k": "0.2",
    "mask": "0.6",
    "line": "q_a=0.9, q_w=0.9, clip=1.0",
    "dice": "0.9",
    "bats": "3.25",
    "knn": "50",
}
_CIFAR100 = {
    **_CIFAR10,
    # The text gives "CIFAR100" twice, 0.2 and 0.15; the first is read as CIFAR-10.
    "k": "0.15",
    "line": "q_a=0.1, q_w=0.9, clip=1.0",
    "knn": "200",
}
# The embedded benchmark's network has maps of another range than ResNet-50's, so λ is
# fitted. HIMPLoS's values are those that Gaussian noise chooses among q = 0.1 ... 0.9
# and clips at six quantiles (`launch/evaluate.py --select`).
_DIGITS = {**_CIFAR10, **_SCALE, "mask": "0.2", "clip": "q=0.8"}

# No paper gives values for Waterbirds beside TA's usual threshold ("We usually set
# k = 0.2", Feature Sim, Sec. 6.1), and none for a benchmark of your own. ImageNet's
# stand in; λ, which depends on the network's maps, is fitted; KNN's k, for few
# training images (4,795), is CIFAR-10's.
_UNPUBLISHED = {**_IMAGENET, **_SCALE, "knn": "50"}


class PresetValues(NamedTuple):
    """What a benchmark fills into the presets.

    Attributes:
      values: Texts by the placeholder's name, as above.
      usual_network: The network that is meant where none is named.
      networks: Other values for a network, by the beginning of its name; the first
        that fits counts.
    """

    values: Mapping[str, str]
    usual_network: str = ""
    networks: Mapping[str, Mapping[str, str]] = types.MappingProxyType({})


FALLBACK = PresetValues(_UNPUBLISHED)  # of a benchmark that brings no values

# What differs for a network: HIMPLoS, Sec. V-F; Feature Sim, App. A.2 (ReAct's clip);
# BATS for ViT.
_CIFAR_CLIPS = {"densenet": {"clip": "clip=1.6"}, "resnet18": {"clip": "clip=1.0"}}
_IMAGENET_NETWORKS: dict[str, dict[str, str]] = {
    "resnet50d": {},  # another stem and shortcut: no clip is published
    "resnet50": {"clip": "clip=0.8"},
    "mobilenet_v2": {"clip": "clip=0.2"},
    "densenet121": {"react": "clip=1.5"},
    "vit": {"bats": "1.05"},
}
_ON_IMAGENET = PresetValues(_IMAGENET, "resnet50", _IMAGENET_NETWORKS)
_ON_CIFAR10 = PresetValues(_CIFAR10, "resnet18", _CIFAR_CLIPS)
_ON_CIFAR100 = _ON_CIFAR10._replace(values=_CIFAR100)

BENCHMARKS: dict[str, PresetValues] = {
    "imagenet": _ON_IMAGENET,
    # Feature Sim, Table 14 (near), and SSOD, Table 3 (hard), score ImageNet's networks.
    "imagenet_near": _ON_IMAGENET,
    "imagenet_hard": _ON_IMAGENET._replace(usual_network="resnet50d"),
    # LFF; its networks are its own, so no published clip holds for them.
    "imagenet100": PresetValues(_IMAGENET, "resnet50"),
    "cifar10": _ON_CIFAR10,
    "cifar10_near": _ON_CIFAR10,
    "cifar100": _ON_CIFAR100,
    "cifar100_near": _ON_CIFAR100,
    "waterbirds": PresetValues(_UNPUBLISHED, "resnet18"),
    "coco_detection": PresetValues(_IMAGENET, "resnet50"),
    "ade20k_segmentation": PresetValues({**_IMAGENET, "k": "0.15"}, "resnet50"),
    "digits": PresetValues(_DIGITS),
    "digits_tiny": PresetValues(_DIGITS),
    "folders": FALLBACK,  # of the user's own: `jood.data.own_folders`
}


def register(benchmark: str, presets: PresetValues = FALLBACK) -> None:
    """Makes a benchmark known to the presets.

    Raises:
      ValueError: The name is taken.
    """
    unknown_name.check_new("benchmark of presets", benchmark, BENCHMARKS)
    BENCHMARKS[benchmark] = presets


def values(benchmark: str, backbone: str = "") -> dict[str, str]:
    """Returns what a benchmark and a network fill into the presets.

    Args:
      benchmark: One of `BENCHMARKS`.
      backbone: The name of the network; '' is the papers' usual one there.

    Raises:
      ValueError: The benchmark is not registered; the near ones are listed.
    """
    if benchmark not in BENCHMARKS:
        raise unknown_name.unknown("benchmark of presets", benchmark, BENCHMARKS)
    known = BENCHMARKS[benchmark]
    backbone = backbone or known.usual_network
    fits = (own for name, own in known.networks.items() if backbone.startswith(name))
    return {**known.values, **next(fits, {})}
