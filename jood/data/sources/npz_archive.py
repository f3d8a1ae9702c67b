"""The kind of a `.npz` archive: uint8 [N, H, W, C] under the key `images`."""

import pathlib

from jood.core.preprocessing import Preprocessing
from jood.data import sources
from jood.data.sources import resized
from jood.data.sources import source_kind
from jood.data.sources.source_kind import NamedImages


def _inputs(path: pathlib.Path, preprocessing: Preprocessing) -> NamedImages:
    arrays = sources.npz(path)
    channels = arrays.images.shape[-1]
    if channels != len(preprocessing.mean):
        raise ValueError(
            f"{path} holds images of {channels} channel(s), but the detector takes "
            f"{len(preprocessing.mean)}."
        )
    if not len(arrays):
        raise ValueError(f"there is no image in {path}.")
    names = [f"{path}[{index}]" for index in range(len(arrays))]
    return resized.fitted(arrays, preprocessing), names


KIND = source_kind.SourceKind(
    "npz",
    open=lambda path, how: resized.fitted(sources.npz(path), how.preprocessing),
    takes=source_kind.ending_in([".npz"]),
    inputs=_inputs,
    title="a .npz archive",
)
