"""Data roots laid out as the papers' repositories do, with tiny images."""

import csv

import numpy as np
from PIL import Image
from scipy import io

FOLDERS = {
    "lsun_r": "LSUN_resize/LSUN_resize",
    "isun": "iSUN/iSUN_patches",
    "textures": "dtd/images/banded",
    "inaturalist": "iNaturalist/images",
    "spurious_places": "placesbg/water",
}


def image(path, value=100, size=(9, 12)):
    """Writes a one-coloured image of (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def ood_folder(root, name, count=2, prefix=""):
    """Writes an OOD set of image files."""
    for index in range(count):
        image(root / prefix / FOLDERS[name] / f"{index}.png", 10 * index)


def svhn(root, digits, name="test_32x32.mat"):
    """Writes SVHN's file; image i is of colour i."""
    colours = np.arange(len(digits), dtype=np.uint8)
    images = np.ascontiguousarray(np.broadcast_to(colours, (32, 32, 3, len(digits))))
    (root / "svhn").mkdir(parents=True, exist_ok=True)
    labels = np.array(digits, np.uint8)[:, None]
    io.savemat(root / "svhn" / name, {"X": images, "y": labels})


def waterbirds(root, rows=((0, 0), (1, 0), (0, 1), (1, 2), (0, 2), (0, 2))):
    """Writes Waterbirds with images of (y, split)."""
    folder = root / "waterbird_complete90_forest2water2"
    folder.mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["img_id", "img_filename", "y", "split", "place"])
        for index, (y, split) in enumerate(rows):
            name = f"{index:03}.Bird/{index}.png"
            image(folder / name, 10 * index)
            writer.writerow([index, name, y, split, 0])
    return folder


def class_folders(folder, names, count=1):
    """Writes images in one folder per class; those of class i are of colour i."""
    for value, name in enumerate(names):
        for index in range(count):
            image(folder / name / f"{index}.png", value, size=(4, 4))


def openood_list(root, name, paths, labels=None, images="images_classic"):
    """Writes a list of OpenOOD and the images that it names; image i is of colour i."""
    path = root / "benchmark_imglist" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [-1] * len(paths) if labels is None else labels
    lines = [f"{one} {label}\n" for one, label in zip(paths, labels, strict=True)]
    path.write_text("".join(lines))
    for value, one in enumerate(paths):
        image(root / images / one, value)


def openood_cifar10(root, ood=("cifar100", "tin", "mnist", "svhn", "texture")):
    """Writes OpenOOD's CIFAR-10 with three images per set, also those to validate on.

    Places365 has its list, but no images.
    """
    for split in ("train", "val", "test"):
        paths = [f"cifar10/{split}/{c}/0.png" for c in ("airplane", "bird", "truck")]
        openood_list(root, f"cifar10/{split}_cifar10", paths, [0, 2, 9])
    for name in ood:
        paths = [f"{name}/test/{i}.png" for i in range(3)]
        openood_list(root, f"cifar10/test_{name}", paths)
    openood_list(root, "cifar10/val_tin", [f"tin/val/{i}.png" for i in range(3)])
    places = root / "benchmark_imglist/cifar10/test_places365.txt"
    places.write_text("places365/abbey/Places365_val_00000001.jpg -1\n")
