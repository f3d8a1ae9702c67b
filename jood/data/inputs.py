"""Images to score, wherever they lie: a folder, a list, an archive, tar files.

One that cannot be read does not stop the others: it keeps its place, with zeros for
pixels and the reason in 'skipped'.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data import sources
from jood.data.sources import decoding
from jood.data.sources import kinds
from jood.data.sources import source_kind


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """Images of one size, in order, each with a name."""

    source: sources.Source  # an example that cannot be read has 'skipped'
    names: Sequence[str]  # each image's path, or its place in an archive
    fingerprint: str  # a text that other images do not have
    # Reasons, by path, for what could not be opened at all.
    broken: Mapping[str, str] = dataclasses.field(default_factory=dict)


def open_inputs(where: str, preprocessing: Preprocessing) -> Inputs:
    """Opens images.

    Args:
      where: A folder, read to any depth; an image; a text file (`.txt`) that names
        one image per line, relative to the file's folder (a label after a space is not
        read); a `.npz` archive with the key `images`, uint8 [N, H, W, C]; or tar
        files, by a pattern such as 'shards/*.tar'.
      preprocessing: A preprocessing that brings every image to one size.

    Raises:
      OSError: There is no such file or folder, or it cannot be read.
      ValueError: There is no image, it is none of these, or the preprocessing leaves
        images at their own size.
    """
    size = preprocessing.fixed_size
    if size is None:
        raise ValueError(
            "images of any size need a preprocessing that makes them equal, but this "
            f"one has neither a crop nor resize=(height, width): {preprocessing}. "
            "Fit the detector with jood fit, which gives it one."
        )
    source, names = find(where, preprocessing)
    fingerprint, broken = sources.fingerprint(source), getattr(source, "broken", {})
    if not isinstance(source, sources.ArraySource):
        blank = np.zeros((*size, len(preprocessing.mean)), np.uint8)
        source = Tolerant(source, names, blank)
    return Inputs(source, names, fingerprint, broken)


def find(where: str, preprocessing: Preprocessing) -> source_kind.NamedImages:
    """Returns images as they are, of which one that cannot be read raises, and names.

    The arguments and errors are those of `open_inputs`.
    """
    path = pathlib.Path(where).expanduser()
    known = [kind for kind in kinds.known() if kind.inputs is not None]
    inputs = next((kind.inputs for kind in known if kind.takes(path)), None)
    if inputs is None:
        *titles, last = [kind.title for kind in known]
        expected = f"{', '.join(titles)} or {last}"
        if not path.exists():
            raise FileNotFoundError(
                f"there is no file or folder {path}. Expected {expected}."
            )
        raise ValueError(f"{path} is none of what can be scored: {expected}.")
    return inputs(path, preprocessing)


@dataclasses.dataclass(frozen=True, eq=False)
class Tolerant:
    """A source whose unreadable images keep their place, whatever is wrong with them.

    Unlike `jood.data.sources.Skipping` it also accepts files that are missing or may
    not be read, and sources without any readable image.
    """

    source: sources.Source
    names: Sequence[str]
    blank: np.ndarray  # uint8 [H, W, C], in the place of an unreadable image

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Mapping[str, Any]:
        try:
            return self.source[index]
        except decoding.ImageError as error:
            reason = error.reason
        except OSError as error:
            reason = error.strerror or str(error)
        return {"image": self.blank, "name": self.names[index], "skipped": reason}
