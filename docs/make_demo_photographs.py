"""Writes the six images of docs/demo.png, which jood's dependencies ship, to a folder.

python docs/make_demo_photographs.py build/photographs
python launch/demo.py build/photographs --output=build/demo
cp build/demo/heatmaps.png docs/demo.png
"""

import gzip
import pathlib
import shutil
import sys

import matplotlib
import numpy as np
from PIL import Image
import sklearn
from sklearn import datasets

SIDE = 256  # pixels of the images that are made


def main(folder: str) -> None:
    """Writes three photographs, a scan, a digit and a pattern."""
    target = pathlib.Path(folder)
    target.mkdir(parents=True)
    photographs = pathlib.Path(sklearn.__path__[0]) / "datasets" / "images"
    samples = pathlib.Path(matplotlib.get_data_path()) / "sample_data"
    for path in (
        photographs / "china.jpg",
        photographs / "flower.jpg",
        samples / "grace_hopper.jpg",
    ):
        shutil.copy(path, target)
    scan = gzip.decompress((samples / "s1045.ima.gz").read_bytes())
    gray(np.frombuffer(scan, ">u2").reshape(SIDE, SIDE)).save(target / "mri.png")
    digit = gray(16 - datasets.load_digits().images[13])
    digit.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(target / "digit.png")
    x = np.linspace(0, 8 * np.pi, SIDE)
    gray(1 + np.outer(np.sin(x), np.cos(x))).save(target / "waves.png")


def gray(values: np.ndarray) -> Image.Image:
    """Returns an image whose brightest pixel is white; 0 is black."""
    return Image.fromarray((255 * (values / values.max())).astype(np.uint8))


if __name__ == "__main__":
    main(sys.argv[1])
