"""The sets of the ImageNet-sized benchmarks.

iNaturalist, SUN and Places are the selections of MOS, free of ImageNet's classes;
Textures is `small_sets.TEXTURES`. The hard sets are those of ViM, SSB and NINCO in
their own folders or in OpenOOD's. Digests as in `small_sets`.
"""

from jood.data.benchmarks.set_spec import Archive
from jood.data.benchmarks.set_spec import Place
from jood.data.benchmarks.set_spec import SetSpec

_IMAGENET_TERMS = "non-commercial research and education, by agreement"
_IMAGENET_URL = "https://www.image-net.org/challenges/LSVRC/2012/"
_IMAGENET_HOW = (
    "register, and unpack into one folder per WordNet id; class names are these ids, "
    "or what imagenet/LOC_synset_mapping.txt calls them where that file is"
)
IMAGENET_TRAIN = SetSpec(
    name="imagenet_train",
    title="ImageNet-1k train",
    size=1_281_167,
    places=[
        Place("folder", "imagenet/train"),
        Place("folder", "ILSVRC-2012/train"),
        Place("folder", "images_largescale/imagenet_1k/train"),
        Place("tfds", "tfds/imagenet2012", "train"),
        Place("tfds", "imagenet2012", "train"),
    ],
    url=_IMAGENET_URL,
    licence=_IMAGENET_TERMS,
    how=_IMAGENET_HOW,
)
IMAGENET_VAL = SetSpec(
    name="imagenet_val",
    title="ImageNet-1k validation",
    size=50_000,
    places=[
        Place("folder", "imagenet/val"),
        Place("folder", "ILSVRC-2012/val"),
        Place("folder", "images_largescale/imagenet_1k/val"),
        Place("tfds", "tfds/imagenet2012", "validation"),
        Place("tfds", "imagenet2012", "validation"),
    ],
    url=_IMAGENET_URL,
    licence=_IMAGENET_TERMS,
    how=_IMAGENET_HOW,
)
CLASS_LIST = "ImageNet100/class_list.txt"
_100_HOW = (
    f"folders of the 100 classes, or ImageNet-1k and {CLASS_LIST}, one WordNet id a "
    "line. LFF takes NPOS's ImageNet-100; NPOS's repository has no list, MCM's, of the "
    "same group, has: https://github.com/deeplearning-wisc/MCM, data/ImageNet100/"
    "class_list.txt. What counts is what your network was trained on"
)


def _imagenet100(split: str, size: int | None) -> SetSpec:
    return SetSpec(
        name=f"imagenet100_{split}",
        title=f"ImageNet-100 {split}",
        size=size,
        places=[
            Place("folder", f"ImageNet100/{split}"),
            Place("folder", f"imagenet/{split}", classes=CLASS_LIST),
            Place("folder", f"ILSVRC-2012/{split}", classes=CLASS_LIST),
        ],
        url=_IMAGENET_URL,
        licence=_IMAGENET_TERMS,
        how=_100_HOW,
    )


IMAGENET100_TRAIN = _imagenet100("train", None)
IMAGENET100_VAL = _imagenet100("val", 5_000)

_MOS = "http://pages.cs.wisc.edu/~huangrui/imagenet_ood_dataset"


def _mos(name: str, folder: str, licence: str, other: str = "") -> SetSpec:
    places = [Place("folder", folder)]
    return SetSpec(
        name=name,
        title=f"{folder}, MOS's selection",
        size=10_000,
        places=[*places, Place("folder", other)] if other else places,
        url=f"{_MOS}/{folder}.tar.gz",
        licence=licence,
        how="unpack below the data root",
    )


INATURALIST = _mos(
    "inaturalist",
    "iNaturalist",
    "non-commercial research; each photograph has its own",
    "images_largescale/inaturalist",
)
SUN = _mos("sun", "SUN", "none stated; the images belong to their owners")
PLACES = _mos(
    "places", "Places", "research and education; the images belong to their owners"
)

IMAGENET_O = SetSpec(
    name="imagenet_o",
    title="ImageNet-O",
    size=2_000,
    places=[
        Place("folder", "imagenet-o"),
        Place("folder", "imagenet_o"),
        Place("folder", "images_largescale/imagenet_o"),
    ],
    url="https://github.com/hendrycks/natural-adv-examples",
    licence="images: ImageNet's terms",
    archives=[
        Archive(
            "https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar",
            "md5:86bd7a50c1c4074fb18fc5f219d6d50b",
        )
    ],
)
OPENIMAGE_O = SetSpec(
    name="openimage_o",
    title="OpenImage-O",
    size=17_632,
    places=[
        Place("folder", "openimage_o"),
        Place("folder", "images_largescale/openimage_o"),
    ],
    url="https://github.com/haoqiwang/vim",
    licence="images listed as CC BY 2.0 (Open Images)",
    how=(
        "the images that ViM's datalists/openimage_o.txt names, or OpenOOD's copy "
        "(15,869 of its test list and 1,763 of its validation list)"
    ),
)
SSB_HARD = SetSpec(
    name="ssb_hard",
    title="SSB-hard, classes of ImageNet-21k",
    size=49_000,
    places=[
        Place("folder", "ssb_hard"),
        Place("folder", "images_largescale/ssb_hard"),
    ],
    url="https://github.com/sgvaze/SSB",
    licence="images: ImageNet's terms",
    how="OpenOOD's scripts/download has a copy",
)
NINCO = SetSpec(
    name="ninco",
    title="NINCO, 64 classes",
    size=5_879,
    places=[
        Place("folder", "NINCO/NINCO_OOD_classes"),
        Place("folder", "NINCO_OOD_classes"),
        Place("folder", "images_largescale/ninco"),
    ],
    url="https://zenodo.org/record/8013288",
    licence="see there: it differs by source",
    archives=[
        Archive(
            "https://zenodo.org/record/8013288/files/NINCO_all.tar.gz",
            "md5:b9ffae324363cd900a81ce3c367cd834",
        )
    ],
)

_WATERBIRDS_HOW = (
    "run datasets/generate_waterbird.py of that repository with CUB-200-2011 and "
    "Places365, correlation r = 0.9"
)


def _waterbirds(split: str, size: int) -> SetSpec:
    folder = "waterbird_complete90_forest2water2"
    return SetSpec(
        name=f"waterbirds_{split}",
        title=f"Waterbirds {split}, r = 0.9",
        size=size,
        places=[Place("waterbirds", folder, split)],
        url="https://github.com/deeplearning-wisc/Spurious_OOD",
        licence="CUB: non-commercial research; Places: research and education",
        how=_WATERBIRDS_HOW,
    )


# 11,788 birds of CUB; a fifth of its training images, 1,199, validate.
WATERBIRDS_TRAIN = _waterbirds("train", 4_795)
WATERBIRDS_TEST = _waterbirds("test", 5_794)
SPURIOUS_PLACES = SetSpec(
    name="spurious_places",
    title="the birds' backgrounds without birds",
    size=None,
    places=[Place("folder", "placesbg")],
    url="https://github.com/deeplearning-wisc/Spurious_OOD",
    licence="research and education; the images belong to their owners",
    how=(
        "run datasets/generate_placebg.py of that repository with Places365; its "
        "evaluation draws 5,000 at random"
    ),
)

_COCO = "http://images.cocodataset.org/zips"
_COCO_TERMS = "images: Flickr's terms, each its own"
COCO_TRAIN = SetSpec(
    name="coco_train",
    title="COCO train2017",
    size=118_287,
    places=[Place("folder", "coco/train2017")],
    url="https://cocodataset.org",
    licence=_COCO_TERMS,
    archives=[
        Archive(
            f"{_COCO}/train2017.zip",
            "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
            into="coco",
            size=19_336_861_798,
        )
    ],
)
COCO_VAL = SetSpec(
    name="coco_val",
    title="COCO val2017",
    size=5_000,
    places=[Place("folder", "coco/val2017")],
    url="https://cocodataset.org",
    licence=_COCO_TERMS,
    archives=[
        Archive(
            f"{_COCO}/val2017.zip",
            "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            into="coco",
            size=815_585_330,
        )
    ],
)


def _ade20k(split: str, size: int) -> SetSpec:
    return SetSpec(
        name=f"ade20k_{split}",
        title=f"ADE20K (SceneParse150) {split}",
        size=size,
        places=[
            Place("folder", f"ADEChallengeData2016/images/{split}"),
            Place("folder", f"ade20k/images/{split}"),
        ],
        url="http://sceneparsing.csail.mit.edu",
        licence="non-commercial research and education",
        archives=[
            Archive(
                "http://sceneparsing.csail.mit.edu/data/ChallengeData2017/images.tar",
                "sha256:"
                "0fb87b26bc41ea1dcf6735f34fdbbd79587a01dc92614830b16b6d787f52cbc7",
                into="ade20k",
                size=892_088_320,
            )
        ],
    )


ADE20K_TRAIN = _ade20k("training", 20_210)
ADE20K_VAL = _ade20k("validation", 2_000)
