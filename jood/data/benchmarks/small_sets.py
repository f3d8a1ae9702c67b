"""The sets of the CIFAR benchmarks.

The six OOD sets are those of ODIN and of the DICE, KNN-OOD and NPOS repositories, in
their folders: svhn, LSUN, LSUN_resize, iSUN, dtd/images, places365. Beside them stand
small real sets that come with jood's own measurements (`ood32/*.npz`).

SHA-256 of archives are those that TFDS checks, MD5 those that pytorch-ood checks.
"""

from jood.data.benchmarks.set_spec import Archive
from jood.data.benchmarks.set_spec import KnownFile
from jood.data.benchmarks.set_spec import Place
from jood.data.benchmarks.set_spec import SetSpec
from jood.data.benchmarks.set_spec import folders

_DIGESTS = {
    "10_train": "3549d5888f8269bd72d023ed73ebd36bec48b3a70d7eaa7fa4a6c7123a459e58",
    "10_test": "8ede39583cf9ccb0dfee2d350139d3b3ea8d1c1199551fcc8c8487930a940a69",
    "100_train": "48894a6a3bb8a7db0e8b4b971ec1803d3af0c95369ff2f4ad53f49f0e473809b",
    "100_test": "1572642a16d6414fb385f070f07a9aaa72d84fc2d9717c86cfae84250dafc0b0",
    "tin_resize": "bca74550c9b2d6f9bbdc599b7c9bc10342bcff981a06ca30d028ccb191e9d467",
    "tin_crop": "109d7882c8e40205f03ec2435325dca5e998a96e7d05af92f535236d5e183170",
    "dtd10": "c1c59769edd1520376c5fd41d1ec3255df785745d1ac3136d093ba0961a69175",
    "gtsrb": "ff8e1b46e2af73d46edc5fcb88e73ae062cdd0e4a164e8dfa62d034506cdf788",
    "chars74k": "7d9b776b660659b4ff3fc667906c1520088c7d00aa9baac73403a7b7bb2ebddc",
    "scene15_gray": "3554fdcb17a16b4028a0156d61946431c4268df5743415b540ffee204a67e6b7",
    "mnist": "089a65c18b92375da0eb146def4cf0216843ece082bed1ebaf6be706d4f35a3a",
}


_PUBLISHED = {10: "cifar-10-batches-py", 100: "cifar-100-python"}


def _cifar(classes: int, split: str, size: int, note: str = "") -> SetSpec:
    name = f"cifar{classes}"
    file = f"{name}-{split}.array_record-00000-of-00001"
    return SetSpec(
        name=f"{name}_{split}",
        title=f"CIFAR-{classes} {split}",
        size=size,
        # TFDS's own data folder has no folder tfds/ above its data sets. Then what the
        # authors publish, and OpenOOD's PNG files with its lists.
        places=[
            Place("tfds", f"tfds/{name}", split),
            Place("tfds", name, split),
            Place("cifar_batches", _PUBLISHED[classes], split),
            Place(
                "image_list",
                f"benchmark_imglist/{name}/{split}_{name}.txt",
                "images_classic",
            ),
        ],
        url="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated by its authors; cite their report (Krizhevsky, 2009)",
        tfds=name,
        known=[KnownFile(file, _DIGESTS[f"{classes}_{split}"], note)],
    )


_CIFAR10_PART = "a part: 25,000 of 50,000, 2,500 of each class"
CIFAR10_TRAIN = _cifar(10, "train", 50_000, _CIFAR10_PART)
CIFAR10_TEST = _cifar(10, "test", 10_000)
CIFAR100_TRAIN = _cifar(
    100, "train", 50_000, "a part: 5,000 of 50,000, 50 of each class"
)
CIFAR100_TEST = _cifar(100, "test", 10_000, "a part: 5,000 of 10,000, 50 of each class")

_SVHN_URL = "http://ufldl.stanford.edu/housenumbers/test_32x32.mat"
_SVHN_DIGEST = "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"
SVHN = SetSpec(
    name="svhn",
    title="SVHN test, the first 1,000 of each digit",
    size=10_000,
    places=[Place("svhn", "svhn")],
    url=_SVHN_URL,
    licence="non-commercial use only",
    how=(
        "put test_32x32.mat, or the selected_test_32x32.mat that the repositories "
        "make of it, into the folder; the first 1,000 images of each digit are read"
    ),
    archives=[Archive(_SVHN_URL, f"sha256:{_SVHN_DIGEST}", "svhn", 64_275_384)],
    known=[KnownFile("test_32x32.mat", _SVHN_DIGEST)],
)


def _odin(
    name: str, folder: str, title: str, size: int, key: str, md5: str = ""
) -> SetSpec:
    path = f"{key}/{folder}.tar.gz"
    raw = f"https://www.dropbox.com/s/raw/{path}"
    return SetSpec(
        name=name,
        title=title,
        size=size,
        places=folders(folder),
        url=f"https://www.dropbox.com/s/{path}",
        licence="none stated",
        how="ODIN's selection, https://github.com/facebookresearch/odin",
        archives=[Archive(raw, f"md5:{md5}")] if md5 else [],
    )


_LSUN_C = ("fhtsw1m3qxlwj6h", "458a0a0ab8e5f1cb4516d7400568e460")
_LSUN_R = ("moqh2wh8696c3yl", "278b7b31c8cb7e804a1465a8ce03a2dc")
LSUN_C = _odin("lsun_c", "LSUN", "LSUN test, cropped to 32 px", 10_000, *_LSUN_C)
LSUN_R = _odin("lsun_r", "LSUN_resize", "LSUN test, resized to 32 px", 10_000, *_LSUN_R)
ISUN = _odin("isun", "iSUN", "iSUN, resized to 32 px", 8_925, "ssz7qxfqae0cca5")
_DTD_ARCHIVE = Archive(
    "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    "sha256:e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
    size=625_239_812,
)
TEXTURES = SetSpec(
    name="textures",
    title="Describable Textures, all splits",
    size=5_640,
    places=folders("dtd/images", "images_classic/texture"),
    url="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    licence="for research",
    archives=[_DTD_ARCHIVE],
)
PLACES365 = SetSpec(
    name="places365",
    title="Places365 test, 10,000 of 328,500",
    size=10_000,
    places=folders("places365"),
    url="http://data.csail.mit.edu/places/places365/test_256.tar",
    licence="research and education; the images belong to their owners",
    how=(
        "the papers drew 10,000 images at random and published no list: draw your "
        "own into places365/test_subset, and say so beside the number"
    ),
)


FAR = (SVHN, LSUN_C, LSUN_R, ISUN, TEXTURES, PLACES365)


def _small(name: str, title: str, origin: str, size: int = 1_000) -> SetSpec:
    return SetSpec(
        name=name,
        title=title,
        size=size,
        places=[Place("npz", f"ood32/{name}.npz")],
        url=f"https://github.com/{origin}",
        licence="its source's terms; research use",
        how="images [N, 32, 32, 3] in one file, made for jood's own measurements",
        known=[KnownFile(f"{name}.npz", _DIGESTS[name])],
    )


SMALL = (
    _small("tin_resize", "TinyImageNet, resized to 32 px", "seshuad/IMagenet"),
    _small("tin_crop", "TinyImageNet, cropped to 32 px", "seshuad/IMagenet"),
    _small(
        "dtd10", "Describable Textures, 10 of 47 classes", "pan8915/DeepTexture", 1_200
    ),
    _small("gtsrb", "traffic signs (GTSRB)", "hergerr/traffic-sign-recognition"),
    _small("chars74k", "street characters (Chars74K)", "zchen36/IdentifyCharacter"),
    _small("scene15_gray", "15 scenes, gray", "ZS-nus/Scene-Recognition-CNN"),
    _small("mnist", "MNIST digits", "rasbt/mnist-pngs"),
)
