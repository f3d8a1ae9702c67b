"""The sets of the ImageNet-sized benchmarks.

iNaturalist, SUN and Places are the selections of MOS, free of ImageNet's classes;
Textures is `small_sets.TEXTURES`. The hard sets are those of ViM, SSB and NINCO in
their own folders or in OpenOOD's. Digests as in `small_sets`.
"""

import functools

from jood.data.benchmarks.set_spec import Archive
from jood.data.benchmarks.set_spec import Place
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.benchmarks.set_spec import folders

CLASS_LIST = "ImageNet100/class_list.txt"
_OWNERS = "the images belong to their owners"
_RESEARCH = f"research and education; {_OWNERS}"
_MOS = "http://pages.cs.wisc.edu/~huangrui/imagenet_ood_dataset"
_IMAGENET_O_TAR = "https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar"
_NINCO_URL = "https://zenodo.org/record/8013288"
_NINCO_TAR = f"{_NINCO_URL}/files/NINCO_all.tar.gz"
_COCO = "http://images.cocodataset.org/zips"
_SPURIOUS_URL = "https://github.com/deeplearning-wisc/Spurious_OOD"
_WATERBIRDS = "waterbird_complete90_forest2water2"

_ilsvrc = functools.partial(
    SetSpec,
    url="https://www.image-net.org/challenges/LSVRC/2012/",
    licence="non-commercial research and education, by agreement",
)


def _imagenet(folder: str, split: str, size: int) -> SetSpec:
    bases = ("imagenet", "ILSVRC-2012", "images_largescale/imagenet_1k")
    records = ("tfds/imagenet2012", "imagenet2012")
    return _ilsvrc(
        name=f"imagenet_{folder}",
        title=f"ImageNet-1k {split}",
        size=size,
        places=[
            *folders(*(f"{base}/{folder}" for base in bases)),
            *(Place("tfds", record, split) for record in records),
        ],
        how=(
            "register, and unpack into one folder per WordNet id; class names are "
            "these ids, or what imagenet/LOC_synset_mapping.txt calls them where that "
            "file is"
        ),
    )


def _imagenet100(split: str, size: int | None) -> SetSpec:
    return _ilsvrc(
        name=f"imagenet100_{split}",
        title=f"ImageNet-100 {split}",
        size=size,
        places=[
            *folders(f"ImageNet100/{split}"),
            *folders(f"imagenet/{split}", f"ILSVRC-2012/{split}", classes=CLASS_LIST),
        ],
        how=(
            f"folders of the 100 classes, or ImageNet-1k and {CLASS_LIST}, one WordNet "
            "id a line. LFF takes NPOS's ImageNet-100; NPOS's repository has no list, "
            "MCM's, of the same group, has: https://github.com/deeplearning-wisc/MCM, "
            "data/ImageNet100/class_list.txt. What counts is what your network was "
            "trained on"
        ),
    )


def _mos(name: str, licence: str, *other: str) -> SetSpec:
    return SetSpec(
        name=name.lower(),
        title=f"{name}, MOS's selection",
        size=10_000,
        places=folders(name, *other),
        url=f"{_MOS}/{name}.tar.gz",
        licence=licence,
        how="unpack below the data root",
    )


def _waterbirds(split: str, size: int) -> SetSpec:
    return SetSpec(
        name=f"waterbirds_{split}",
        title=f"Waterbirds {split}, r = 0.9",
        size=size,
        places=[Place("waterbirds", _WATERBIRDS, split)],
        url=_SPURIOUS_URL,
        licence="CUB: non-commercial research; Places: research and education",
        how=(
            "run datasets/generate_waterbird.py of that repository with CUB-200-2011 "
            "and Places365, correlation r = 0.9"
        ),
    )


def _coco(split: str, size: int, sha256: str, archive_size: int) -> SetSpec:
    url = f"{_COCO}/{split}2017.zip"
    return SetSpec(
        name=f"coco_{split}",
        title=f"COCO {split}2017",
        size=size,
        places=folders(f"coco/{split}2017"),
        url="https://cocodataset.org",
        licence="images: Flickr's terms, each its own",
        archives=[Archive(url, f"sha256:{sha256}", "coco", archive_size)],
    )


def _ade20k(split: str, size: int) -> SetSpec:
    bases = ("ADEChallengeData2016", "ade20k")
    return SetSpec(
        name=f"ade20k_{split}",
        title=f"ADE20K (SceneParse150) {split}",
        size=size,
        places=folders(*(f"{base}/images/{split}" for base in bases)),
        url="http://sceneparsing.csail.mit.edu",
        licence="non-commercial research and education",
        archives=[_ADE20K_ARCHIVE],
    )


IMAGENET_TRAIN = _imagenet("train", "train", 1_281_167)
IMAGENET_VAL = _imagenet("val", "validation", 50_000)
IMAGENET100_TRAIN = _imagenet100("train", None)
IMAGENET100_VAL = _imagenet100("val", 5_000)
INATURALIST = _mos(
    "iNaturalist",
    "non-commercial research; each photograph has its own",
    "images_largescale/inaturalist",
)
SUN = _mos("SUN", f"none stated; {_OWNERS}")
PLACES = _mos("Places", _RESEARCH)
MOS = (INATURALIST, SUN, PLACES)
IMAGENET_O = SetSpec(
    name="imagenet_o",
    title="ImageNet-O",
    size=2_000,
    places=folders("imagenet-o", "imagenet_o", "images_largescale/imagenet_o"),
    url="https://github.com/hendrycks/natural-adv-examples",
    licence="images: ImageNet's terms",
    archives=[Archive(_IMAGENET_O_TAR, "md5:86bd7a50c1c4074fb18fc5f219d6d50b")],
)
OPENIMAGE_O = SetSpec(
    name="openimage_o",
    title="OpenImage-O",
    size=17_632,
    places=folders("openimage_o", "images_largescale/openimage_o"),
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
    places=folders("ssb_hard", "images_largescale/ssb_hard"),
    url="https://github.com/sgvaze/SSB",
    licence="images: ImageNet's terms",
    how="OpenOOD's scripts/download has a copy",
)
NINCO = SetSpec(
    name="ninco",
    title="NINCO, 64 classes",
    size=5_879,
    places=folders(
        "NINCO/NINCO_OOD_classes", "NINCO_OOD_classes", "images_largescale/ninco"
    ),
    url=_NINCO_URL,
    licence="see there: it differs by source",
    archives=[Archive(_NINCO_TAR, "md5:b9ffae324363cd900a81ce3c367cd834")],
)
HARD = (IMAGENET_O, OPENIMAGE_O, SSB_HARD, NINCO)
# 11,788 birds of CUB; a fifth of its training images, 1,199, validate.
WATERBIRDS_TRAIN = _waterbirds("train", 4_795)
WATERBIRDS_TEST = _waterbirds("test", 5_794)
SPURIOUS_PLACES = SetSpec(
    name="spurious_places",
    title="the birds' backgrounds without birds",
    size=None,
    places=folders("placesbg"),
    url=_SPURIOUS_URL,
    licence=_RESEARCH,
    how=(
        "run datasets/generate_placebg.py of that repository with Places365; its "
        "evaluation draws 5,000 at random"
    ),
)
_COCO_TRAIN = "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"
_COCO_VAL = "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"
COCO_TRAIN = _coco("train", 118_287, _COCO_TRAIN, 19_336_861_798)
COCO_VAL = _coco("val", 5_000, _COCO_VAL, 815_585_330)
_ADE20K_ARCHIVE = Archive(
    "http://sceneparsing.csail.mit.edu/data/ChallengeData2017/images.tar",
    "sha256:0fb87b26bc41ea1dcf6735f34fdbbd79587a01dc92614830b16b6d787f52cbc7",
    into="ade20k",
    size=892_088_320,
)
ADE20K_TRAIN = _ade20k("training", 20_210)
ADE20K_VAL = _ade20k("validation", 2_000)
