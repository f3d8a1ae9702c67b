"""The papers' values, per benchmark and network, that fill the presets' templates.

k        TA's threshold            mask   HIMPLoS's masking fraction
clip     HIMPLoS's clip            react  ReAct's clip, or its quantile
line     LINE's three values       dice   DICE's fraction
bats     BATS's λ                  knn    KNN's k
eps      ODIN's step                 actsub ActSub's fraction and exponent
msp, energy, fs_react, ash, odin, gradnorm: the weights of FS fused with that score

Each value says where it was published, or by which rule it stands in for one that was
not; results and dry runs print it (`jood.methods.value_sources`). What the papers set
for their own tables alone is in `paper_values`.
"""

from collections.abc import Mapping
import types
from typing import NamedTuple

from jood._utils import unknown_name
from jood.methods import paper_values
from jood.methods.published_value import Value
from jood.methods.published_value import published


class PresetValues(NamedTuple):
    """The values that a benchmark fills into the presets.

    Attributes:
      values: A `Value`, or its text alone, by the placeholder's name, as above; what
        is left out is that of `FALLBACK`.
      usual_network: The network that is meant where none is named.
      networks: Other values for a network, by the beginning of its name; the first
        that fits counts.
    """

    values: Mapping[str, str | Value]
    usual_network: str = ""
    networks: Mapping[str, Mapping[str, str | Value]] = types.MappingProxyType({})


def _stand_in(values: Mapping[str, Value], whose: str) -> dict[str, Value]:
    """The values of another benchmark, where none are published for this one."""
    return {
        name: value
        if value.source.startswith(("fallback", "ReAct's rule"))  # of any benchmark
        else Value(
            value.text,
            f"fallback: {whose}'s value ({value.source}), no published value for "
            "{benchmark}",
        )
        for name, value in values.items()
    }


_LAMBDA = published(
    "Feature Sim, App. A.1",
    msp="(1, 0.1)",
    energy="(1, 0.016)",
    fs_react="(1, 0.028)",
    odin="(1, 1300)",
    gradnorm="(1, 0.4)",
) | published(
    "fallback: fitted on ID training images, as Feature Sim, App. A.1, says in words; "
    "no published λ for ASH",
    ash="'scale'",
)
_SCALE = published(
    "fallback: fitted on ID training images (Feature Sim, App. A.1, in words), no "
    "published λ for {benchmark}",
    **dict.fromkeys(_LAMBDA, "'scale'"),
)
_COMMON = {
    **published("ReAct's rule: the 0.9-quantile of ID activations", react="q=0.9"),
    **published(
        "fallback: 0.9-quantile of ID activations, no published value for {network}",
        clip="q=0.9",
    ),
    **published("BATS's released code, for CIFAR's networks", bats="3.25"),
    **published(
        "fallback: ActSub's released code has it for ResNet-50 on ImageNet, no "
        "published value for {network} on {benchmark}",
        actsub="q=0.95, lam=2.0",
    ),
    **published(
        "fallback: ODIN's released code has it for DenseNet on CIFAR-10, no published "
        "value for {network} on {benchmark}",
        eps="0.0014",
    ),
}
# ODIN's score is 1/K + O(1 / (K T)). λ = 1300 fits ImageNet's K = 1000; on CIFAR-10's
# DenseNet it makes ODIN's spread 40 times that of FS, and FS counts nothing.
_LAMBDA_PER_CLASS = (
    "fallback: Feature Sim's λ = 1300 (App. A.1) times K / 1000, since ODIN's score "
    "varies as 1 / K"
)
_LINE_CIFAR10 = "q_a=0.9, q_w=0.9, clip=1.0"
_LINE_CIFAR100 = "q_a=0.1, q_w=0.9, clip=1.0"
_LINE_OF_DENSENET = (
    "fallback: LINE's values for DenseNet, no published value for {network}"
)
_IMAGENET = {
    **_COMMON,
    **_LAMBDA,
    **published("Feature Sim, Sec. 6.1", k="0.2"),
    **published("HIMPLoS, Sec. V-F", mask="0.3"),
    **published(
        "fallback: LINE's values for ResNet-50, no published value for {network}",
        line="q_a=0.1, q_w=0.1, clip=0.8",
    ),
    **published("DICE's paper; Feature Sim, App. A.2", dice="0.7"),
    **published(
        "KNN's paper; Feature Sim, App. A.2; a bank that keeps a part of the training "
        "images takes that part of k (39 for 50,000 of ImageNet's)",
        knn="1000",
    ),
    **published(
        "fallback: BATS's released code has it for CIFAR's networks, no published "
        "value for {network} on {benchmark}",
        bats="3.25",
    ),
}
_CIFAR10 = {
    **_COMMON,
    **_LAMBDA,
    **published(_LAMBDA_PER_CLASS, odin="(1, 13)"),
    **published("Feature Sim, Sec. 6.2", k="0.2"),
    **published("HIMPLoS, Sec. V-F", mask="0.6"),
    **published(_LINE_OF_DENSENET, line=_LINE_CIFAR10),
    **published("DICE's paper", dice="0.9"),
    **published("KNN's paper", knn="50"),
}
_CIFAR100 = {
    **_CIFAR10,
    **published(_LAMBDA_PER_CLASS, odin="(1, 130)"),
    **published(
        "Feature Sim, Sec. 6.2, which gives CIFAR100 twice, 0.2 and 0.15: the first "
        "is read as CIFAR-10",
        k="0.15",
    ),
    **published(_LINE_OF_DENSENET, line=_LINE_CIFAR100),
    **published("KNN's paper", knn="200"),
}
# The embedded benchmark's network has maps of another range than ResNet-50's, so λ is
# fitted. HIMPLoS's values are those that Gaussian noise chooses among q = 0.1 ... 0.9
# and clips at six quantiles (`launch/evaluate.py --select`).
_DIGITS = {
    **_stand_in(_CIFAR10, "CIFAR-10"),
    **_SCALE,
    **published(
        "jood: chosen on Gaussian noise, as HIMPLoS, Sec. V-F, does",
        mask="0.2",
        clip="q=0.8",
    ),
}

# No paper gives values for Waterbirds beside TA's usual threshold, and none for a
# benchmark of your own. ImageNet's stand in; λ, which depends on the network's maps, is
# fitted; KNN's k, for few training images (4,795), is CIFAR-10's.
_USUAL_K = published("Feature Sim, Sec. 6.1: 'We usually set k = 0.2'", k="0.2")
_UNPUBLISHED = {
    **_stand_in(_IMAGENET, "ImageNet"),
    **_SCALE,
    **_USUAL_K,
    "knn": _stand_in(_CIFAR10, "CIFAR-10")["knn"],
}
FALLBACK = PresetValues(_UNPUBLISHED)  # of a benchmark that brings no values

# What differs for a network.
_CIFAR_CLIPS = {
    "densenet": published("HIMPLoS, Sec. V-F, for DenseNet", clip="clip=1.6"),
    "resnet18": published("HIMPLoS, Sec. V-F, for ResNet-18", clip="clip=1.0"),
}
_CIFAR10_NETWORKS = {
    **_CIFAR_CLIPS,
    "densenet": {
        **_CIFAR_CLIPS["densenet"],
        **published("LINE's paper, for DenseNet", line=_LINE_CIFAR10),
        **published("ODIN's released code, for DenseNet", eps="0.0014"),
    },
}
_CIFAR100_NETWORKS = {
    **_CIFAR_CLIPS,
    "densenet": {
        **_CIFAR_CLIPS["densenet"],
        **published("LINE's paper, for DenseNet", line=_LINE_CIFAR100),
    },
}
_IMAGENET_NETWORKS: dict[str, dict[str, Value]] = {
    "resnet50d": {},  # another stem and shortcut: no clip is published
    "resnet50": {
        **published("HIMPLoS, Sec. V-F, for ResNet-50", clip="clip=0.8"),
        **published("LINE's paper, for ResNet-50", line="q_a=0.1, q_w=0.1, clip=0.8"),
        **published("ActSub's released code, for ResNet-50", actsub="q=0.95, lam=2.0"),
    },
    "mobilenet_v2": {
        **published("HIMPLoS, Sec. V-F, for MobileNet", clip="clip=0.2"),
        **published(
            "fallback: LINE's fractions for ResNet-50 with HIMPLoS's clip for "
            "MobileNet (Sec. V-F; Fig. 6 clips both methods alike)",
            line="q_a=0.1, q_w=0.1, clip=0.2",
        ),
    },
    "densenet121": published("Feature Sim, App. A.2", react="clip=1.5"),
    "vit": {
        **published("BATS's released code, for ViT", bats="1.05"),
        **published("ActSub's released code, for ViT", actsub="q=0.975, lam=1.0"),
    },
}
_ON_IMAGENET = PresetValues(_IMAGENET, "resnet50", _IMAGENET_NETWORKS)
_ON_CIFAR10 = PresetValues(_CIFAR10, "resnet18", _CIFAR10_NETWORKS)
_ON_CIFAR100 = PresetValues(_CIFAR100, "resnet18", _CIFAR100_NETWORKS)
_LIKE_IMAGENET = _stand_in(_IMAGENET, "ImageNet")

BENCHMARKS: dict[str, PresetValues] = {
    "imagenet": _ON_IMAGENET,
    # Feature Sim, Table 14 (near), and SSOD, Table 3 (hard), score ImageNet's networks.
    "imagenet_near": _ON_IMAGENET,
    "imagenet_hard": _ON_IMAGENET._replace(usual_network="resnet50d"),
    # LFF; its networks are its own, so no published clip holds for them.
    "imagenet100": PresetValues(_LIKE_IMAGENET, "resnet50"),
    "cifar10": _ON_CIFAR10,
    "cifar10_near": _ON_CIFAR10,
    "cifar100": _ON_CIFAR100,
    "cifar100_near": _ON_CIFAR100,
    # OpenOOD chooses values on its validation sets; these are the methods' own papers'.
    "openood_cifar10": _ON_CIFAR10,
    "openood_cifar100": _ON_CIFAR100,
    "openood_imagenet200": PresetValues(_LIKE_IMAGENET, "resnet18"),
    "openood_imagenet": _ON_IMAGENET,
    "waterbirds": PresetValues(_UNPUBLISHED, "resnet18"),
    "coco_detection": PresetValues(
        {
            **_LIKE_IMAGENET,
            **published("Feature Sim, App. A.1, Faster R-CNN", k="0.2"),
        },
        "resnet50",
    ),
    "ade20k_segmentation": PresetValues(
        {**_LIKE_IMAGENET, **published("Feature Sim, A.1, for FCN", k="0.15")},
        "resnet50",
    ),
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


def resolve(benchmark: str, backbone: str = "", paper: str = "") -> dict[str, Value]:
    """Returns the values that a benchmark and a network give presets, with sources.

    Args:
      benchmark: One of `BENCHMARKS`.
      backbone: The name of the network; '' is the papers' usual one there.
      paper: Paper whose table it is for, one of `paper_values.PAPERS`: its values of
        the methods that it compares with win; '' is each method's own paper.

    Raises:
      ValueError: The benchmark is not registered, or the paper is unknown; the near
        ones are listed.
    """
    if benchmark not in BENCHMARKS:
        raise unknown_name.unknown("benchmark of presets", benchmark, BENCHMARKS)
    known = BENCHMARKS[benchmark]
    network = backbone or known.usual_network
    fits = (own for name, own in known.networks.items() if network.startswith(name))
    chosen = {
        **FALLBACK.values,
        **known.values,
        **next(fits, {}),
        **paper_values.of(paper, benchmark),
    }
    wanted = {"{network}": network or "this network", "{benchmark}": benchmark}

    def with_source(value: str | Value) -> Value:
        if isinstance(value, str):
            return Value(value, f"the values of benchmark {benchmark}")
        source = value.source
        for name, text in wanted.items():
            source = source.replace(name, text)
        return Value(value.text, source)

    return {name: with_source(value) for name, value in chosen.items()}


def values(benchmark: str, backbone: str = "", paper: str = "") -> dict[str, str]:
    """Returns the texts of `resolve` alone."""
    resolved = resolve(benchmark, backbone, paper)
    return {name: value.text for name, value in resolved.items()}
