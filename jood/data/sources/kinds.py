"""The kinds of sources by name: a new one is a record in its file and a line here."""

from jood._utils import unknown_name
from jood.data.sources import cifar_batches
from jood.data.sources import files
from jood.data.sources import image_folder
from jood.data.sources import npz_archive
from jood.data.sources import svhn
from jood.data.sources import tar_shards
from jood.data.sources import tfds
from jood.data.sources import waterbirds
from jood.data.sources.source_kind import SourceKind

_KINDS = {
    kind.name: kind
    for kind in (
        tfds.KIND,
        cifar_batches.KIND,
        image_folder.KIND,
        image_folder.LISTED,
        files.LIST,
        files.IMAGE,
        npz_archive.KIND,
        svhn.KIND,
        waterbirds.KIND,
        tar_shards.KIND,
    )
}


def register(kind: SourceKind) -> None:
    """Makes a kind of a new name known to benchmarks and to `inputs.open_inputs`."""
    unknown_name.check_new("kind of source", kind.name, _KINDS)
    _KINDS[kind.name] = kind


def known() -> tuple[SourceKind, ...]:
    """Returns all kinds, in the order in which they are asked."""
    return tuple(_KINDS.values())


def get(name: str) -> SourceKind:
    """Returns a kind that benchmarks can open; ValueError for another name."""
    usable = tuple(kind.name for kind in known() if kind.open)
    if name not in usable:
        raise ValueError(f"kind must be one of {usable}, got {name!r}.")
    return _KINDS[name]
