"""The papers' benchmarks: which sets, at which size, normalised how.

Preprocessing is the benchmark's; a converted network that was trained with another
mean and standard deviation brings its own. Where papers on one benchmark resize
differently, each has its name: `benchmarks.get('imagenet', preprocessing='himplos')`.
"""

from collections.abc import Sequence
import dataclasses

from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks import cifar_classes
from jood.data.benchmarks import large_sets
from jood.data.benchmarks import small_sets
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.benchmarks.spec import BenchmarkSpec

_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SQUARE_224 = Preprocessing(_MEAN, _STD, resize=(224, 224))
_SQUARE_256 = Preprocessing(_MEAN, _STD, resize=(256, 256), crop=224)
_FITTED = "Detectors are fitted on ID training images only."

# HIMPLoS, Sec. V-A: all images are resized to 32 x 32, as in KNN-OOD's code. SSOD,
# App. A.3: to 224 x 224.
_CIFAR_PREPROCESSING = {
    "himplos": Preprocessing(_CIFAR_MEAN, _CIFAR_STD, resize=(32, 32)),
    "ssod": Preprocessing(_CIFAR_MEAN, _CIFAR_STD, resize=(224, 224)),
}
# The first is how torchvision's networks are evaluated, and the code of MOS, KNN-OOD,
# DICE and ReAct. The text of HIMPLoS has 256 x 256, that of Feature Sim 224 x 224.
_IMAGENET_PREPROCESSING = {
    "torchvision": Preprocessing(_MEAN, _STD, resize=256, crop=224),
    "himplos": _SQUARE_256,
    "feature_sim": _SQUARE_224,
}
_MOS_OOD = (*large_sets.MOS, small_sets.TEXTURES)
# The classes of ILSVRC 2012, as TFDS lists them.
_WORDNET_1000 = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"
# MCM's list, data/ImageNet100/class_list.txt.
_WORDNET_100 = "03614d17127166823c69de1557967383bcf9fbabe3132f70540373919ecd5764"


def _cifar(
    names: Sequence[str], train: SetSpec, test: SetSpec, other: SetSpec
) -> BenchmarkSpec:
    cifar = f"CIFAR-{len(names)}"
    return BenchmarkSpec(
        name=f"cifar{len(names)}",
        title=f"{cifar} against six far OOD sets, and further sets that are at hand",
        id_train=train,
        id_test=test,
        ood=small_sets.FAR,
        extra=(other, *small_sets.SMALL),
        near=(other.name,),
        class_names=tuple(names),
        num_classes=len(names),
        preprocessing=_CIFAR_PREPROCESSING,
        image_size=32,
        protocol=f"{cifar}. {_FITTED}",
        paper=(
            "HIMPLoS, Table I; LFF, Table I. Feature Sim, Table 9, and SSOD, Table 2, "
            "leave LSUN-R out"
        ),
    )


def _against_near(spec: BenchmarkSpec, title: str, near: SetSpec) -> BenchmarkSpec:
    return dataclasses.replace(
        spec,
        name=f"{spec.name}_near",
        title=title,
        ood=(near,),
        extra=(),
        near=(near.name,),
        paper="Feature Sim, Table 14",
    )


def _backbone(
    name: str, title: str, train: SetSpec, test: SetSpec, protocol: str
) -> BenchmarkSpec:
    return BenchmarkSpec(
        name=name,
        title=f"{title} against MOS's four OOD sets",
        id_train=train,
        id_test=test,
        ood=_MOS_OOD,
        near=(),
        class_names=(),
        labelled=False,
        preprocessing={"feature_sim": _SQUARE_224},
        image_size=224,
        protocol=f"{protocol} backbone. {_FITTED}",
        paper="Feature Sim, Table 11; it gives no size: 224 x 224 as in its Sec. 6.1",
    )


_CIFAR10 = _cifar(
    cifar_classes.CIFAR10,
    small_sets.CIFAR10_TRAIN,
    small_sets.CIFAR10_TEST,
    small_sets.CIFAR100_TEST,
)
_CIFAR100 = _cifar(
    cifar_classes.CIFAR100,
    small_sets.CIFAR100_TRAIN,
    small_sets.CIFAR100_TEST,
    small_sets.CIFAR10_TEST,
)
_IMAGENET = BenchmarkSpec(
    name="imagenet",
    title="ImageNet-1k against MOS's four OOD sets, and near sets that are at hand",
    id_train=large_sets.IMAGENET_TRAIN,
    id_test=large_sets.IMAGENET_VAL,
    ood=_MOS_OOD,
    extra=(large_sets.SSB_HARD, large_sets.NINCO),
    near=("ssb_hard", "ninco"),
    class_names=(),
    num_classes=1000,
    classes_sha256=_WORDNET_1000,
    preprocessing=_IMAGENET_PREPROCESSING,
    image_size=224,
    protocol=f"ImageNet-1k. {_FITTED}",
    paper="Feature Sim, Table 1; HIMPLoS, Table II; SSOD, Table 1",
)
SPECS = (
    _CIFAR10,
    _CIFAR100,
    _against_near(_CIFAR10, "CIFAR-10 against CIFAR-100", small_sets.CIFAR100_TEST),
    _against_near(_CIFAR100, "CIFAR-100 against CIFAR-10", small_sets.CIFAR10_TEST),
    _IMAGENET,
    _against_near(_IMAGENET, "ImageNet-1k against SSB-hard", large_sets.SSB_HARD),
    dataclasses.replace(
        _IMAGENET,
        name="imagenet_hard",
        title="ImageNet-1k against ImageNet-O, OpenImage-O and two near sets",
        ood=large_sets.HARD,
        extra=(),
        paper="SSOD, Table 3 (the mean of the far sets); Feature Sim, Table 14",
    ),
    dataclasses.replace(
        _IMAGENET,
        name="imagenet100",
        title="ImageNet-100 against MOS's four OOD sets",
        id_train=large_sets.IMAGENET100_TRAIN,
        id_test=large_sets.IMAGENET100_VAL,
        num_classes=100,
        classes_sha256=_WORDNET_100,
        extra=(),
        near=(),
        protocol=f"ImageNet-100. {_FITTED}",
        paper="LFF, Table III",
    ),
    BenchmarkSpec(
        name="waterbirds",
        title="Waterbirds (r = 0.9) against spurious and non-spurious OOD sets",
        id_train=large_sets.WATERBIRDS_TRAIN,
        id_test=large_sets.WATERBIRDS_TEST,
        ood=(
            small_sets.SVHN,
            small_sets.LSUN_R,
            small_sets.ISUN,
            large_sets.SPURIOUS_PLACES,
        ),
        near=("spurious_places",),
        class_names=("landbird", "waterbird"),
        num_classes=2,
        preprocessing={"spurious_ood": _SQUARE_256},
        image_size=224,
        protocol=(
            f"Waterbirds, r = 0.9. {_FITTED} The mean of the far sets is that of the "
            "non-spurious OOD."
        ),
        paper="Feature Sim, Tables 5 and 10, after Ming et al. (2022)",
    ),
    _backbone(
        "coco_detection",
        "a detector's backbone: COCO",
        large_sets.COCO_TRAIN,
        large_sets.COCO_VAL,
        "COCO 2017, whole images, the detector's",
    ),
    _backbone(
        "ade20k_segmentation",
        "a segmentation backbone: ADE20K",
        large_sets.ADE20K_TRAIN,
        large_sets.ADE20K_VAL,
        "ADE20K, whole images, the segmenter's",
    ),
)
