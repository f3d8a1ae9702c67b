"""Sources and images for the tests of batches."""

import os

import jax
import numpy as np
from PIL import Image

from jood.data.sources import ArraySource
from jood.data.sources import decoding


def numbered(count):
    images = np.zeros((count, 2, 2, 3), np.uint8)
    images += np.arange(count, dtype=np.uint8)[:, None, None, None]
    return ArraySource(images, np.arange(count))


class Plain:
    """Another source's examples, without the path that arrays in memory take."""

    def __init__(self, source, bad=()):
        self.source, self.bad = source, bad

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        if index in self.bad:
            raise decoding.ImageError(f"{index}.png", "it is cut")
        return self.source[index]


class Dying(Plain):
    """A source whose process ends when it is read."""

    def __getitem__(self, index):
        os._exit(7)


def same(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)


def photos(root, count, size=(8, 8), broken=()):
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = root / f"{'ab'[i % 2]}/{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((*size, 3), i, np.uint8)).save(path)
        if i in broken:
            path.write_bytes(path.read_bytes()[:30])
    return root
