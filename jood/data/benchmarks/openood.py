"""OpenOOD v1.5: CIFAR-10, CIFAR-100, ImageNet-200 and ImageNet-1k against near and far.

The sets are what its image lists name (`openood_sets`). Near and far OOD sets have an
average each; on ImageNet further averages count the covariate-shifted sets as ID (the
full spectrum). ID test images are nine tenths of the usual ones: the rest validates,
against OOD images that are in no test set.

Sizes are the numbers of lines of its lists; None where no source gives the number.

References:
  Zhang et al., OpenOOD v1.5, 2023, arXiv:2306.09301; Jingkang50/OpenOOD:
  configs/datasets, openood/evaluation_api, scripts/download.
"""

from collections.abc import Mapping, Sequence

from jood.core.preprocessing import Preprocessing
from jood.data.benchmarks import cifar_classes
from jood.data.benchmarks import large_sets
from jood.data.benchmarks import openood_sets
from jood.data.benchmarks import small_sets
from jood.data.benchmarks import wordnet_ids
from jood.data.benchmarks.openood_sets import CLASSIC
from jood.data.benchmarks.openood_sets import LARGE
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.benchmarks.spec import BenchmarkSpec
from jood.data.benchmarks.spec import ValidationSets

_IMAGENET_TERMS = large_sets.IMAGENET_VAL.licence
# openood/evaluation_api/preprocessor.py. CIFAR's images have 32 pixels, others are
# resized: the shorter side, then a crop.
_STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def _spec(
    name: str,
    title: str,
    classes: Sequence[str],
    id_sets: Mapping[str, SetSpec],
    near: Sequence[SetSpec],
    far: Sequence[SetSpec],
    validation_ood: SetSpec,
    preprocessing: Preprocessing,
    shifted: Sequence[SetSpec] = (),
) -> BenchmarkSpec:
    groups = {"near": near, "far": far}
    size = preprocessing.fixed_size
    assert size is not None, "OpenOOD shows networks images of one size"
    return BenchmarkSpec(
        name=f"openood_{name}",
        title=f"{title}, near and far OOD sets of OpenOOD v1.5",
        id_train=id_sets["train"],
        id_test=id_sets["test"],
        ood=(*near, *far),
        near=tuple(one.name for one in near),
        groups={key: tuple(one.name for one in sets) for key, sets in groups.items()},
        shifted=shifted,
        validation=ValidationSets(id_sets["val"], validation_ood),
        class_names=tuple(classes),
        num_classes=len(classes),
        preprocessing={"openood": preprocessing},
        image_size=size[0],
        protocol=(
            f"OpenOOD v1.5, {title}. Detectors are fitted on ID training images only."
        ),
        paper="OpenOOD v1.5 (Zhang et al., 2023), Table 1; its leaderboard",
    )


def _cifar(
    name: str,
    title: str,
    classes: Sequence[str],
    other: SetSpec,
    tiny_imagenet: int,
    places365: int,
) -> BenchmarkSpec:
    mean, std = _STATISTICS[name]

    def ood(
        folder: str,
        title: str,
        size: int,
        like: SetSpec | None = None,
        column: str = "",
    ) -> SetSpec:
        path = f"{name}/test_{folder}"
        return openood_sets.listed(
            path, folder, CLASSIC, title, size, like, name=column
        )

    return _spec(
        name,
        title,
        classes,
        openood_sets.id_sets(
            name,
            title,
            name,
            CLASSIC,
            {"train": 50_000, "val": 1_000, "test": 9_000},
            small_sets.CIFAR10_TEST.licence,
        ),
        near=(
            other,
            ood(
                "tin",
                f"TinyImageNet validation, without what {title} has",
                tiny_imagenet,
            ),
        ),
        far=(
            ood("mnist", "MNIST, train and test", 70_000),
            ood("svhn", "SVHN test", 26_032, small_sets.SVHN),
            ood("texture", "Textures", 5_640, small_sets.TEXTURES, "textures"),
            ood(
                "places365",
                f"Places365 validation, without what {title} has",
                places365,
                small_sets.PLACES365,
            ),
        ),
        validation_ood=openood_sets.listed(
            f"{name}/val_tin",
            "tin",
            CLASSIC,
            "other images of TinyImageNet",
            1_000,
            name="tin_val",
        ),
        preprocessing=Preprocessing(mean, std, resize=32, crop=32),
    )


def _imagenet(
    name: str,
    title: str,
    classes: Sequence[str],
    sizes: Mapping[str, int],
    shifted: Sequence[SetSpec],
) -> BenchmarkSpec:
    # The evaluator of ImageNet-200 has its own copies of the lists; the configurations
    # name ImageNet-1k's.
    folders = dict.fromkeys((name, "imagenet"))

    def ood(split: str, folder: str, root: str, size: int, like: SetSpec) -> SetSpec:
        own = "textures" if folder == "texture" else folder
        which = "validation" if split == "val" else "test"
        return openood_sets.listed(
            [f"{place}/{split}_{own}" for place in folders],
            folder,
            root,
            f"{like.title.partition(',')[0]}, OpenOOD's {which} list",
            size,
            like,
            name=own if split == "test" else f"{own}_val",
        )

    return _spec(
        name,
        title,
        classes,
        openood_sets.id_sets(name, title, "imagenet_1k", LARGE, sizes, _IMAGENET_TERMS),
        near=(
            ood("test", "ssb_hard", LARGE, 49_000, large_sets.SSB_HARD),
            ood("test", "ninco", LARGE, 5_879, large_sets.NINCO),
        ),
        far=(
            ood("test", "inaturalist", LARGE, 10_000, large_sets.INATURALIST),
            ood("test", "texture", CLASSIC, 5_160, small_sets.TEXTURES),
            ood("test", "openimage_o", LARGE, 15_869, large_sets.OPENIMAGE_O),
        ),
        validation_ood=ood("val", "openimage_o", LARGE, 1_763, large_sets.OPENIMAGE_O),
        preprocessing=Preprocessing(*_STATISTICS["imagenet"], resize=256, crop=224),
        shifted=shifted,
    )


def _other_cifar(
    name: str, other: str, title: str, size: int, like: SetSpec
) -> SetSpec:
    return openood_sets.listed(
        f"{name}/test_{other}", other, CLASSIC, title, size, like
    )


SPECS = (
    _cifar(
        "cifar10",
        "CIFAR-10",
        cifar_classes.CIFAR10,
        _other_cifar(
            "cifar10", "cifar100", "CIFAR-100 test", 9_000, small_sets.CIFAR100_TEST
        ),
        tiny_imagenet=7_793,
        places365=35_195,
    ),
    _cifar(
        "cifar100",
        "CIFAR-100",
        cifar_classes.CIFAR100,
        _other_cifar(
            "cifar100", "cifar10", "CIFAR-10 test", 10_000, small_sets.CIFAR10_TEST
        ),
        tiny_imagenet=6_526,
        places365=33_773,
    ),
    _imagenet(
        "imagenet200",
        "ImageNet-200",
        wordnet_ids.IMAGENET_200,
        {"train": 258_951, "val": 1_000, "test": 9_000},
        openood_sets.shifted("imagenet200/test_imagenet200", 2_000),
    ),
    _imagenet(
        "imagenet",
        "ImageNet-1k",
        wordnet_ids.IMAGENET_1K,
        {"train": 1_281_167, "val": 5_000, "test": 45_000},
        openood_sets.shifted("imagenet/test_imagenet", 10_000),
    ),
)
