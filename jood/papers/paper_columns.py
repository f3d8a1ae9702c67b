"""Which sets of a benchmark the columns of a paper's table are."""

from collections.abc import Collection
from typing import NamedTuple

from jood.data import benchmarks
from jood.papers.transcription import ACCURACY
from jood.papers.transcription import AVERAGE
from jood.papers.transcription import BEHIND
from jood.papers.transcription import TablePart

# What papers call a set, and what benchmarks do; the first that a benchmark has.
_NAMES = {
    "SVHN": ("svhn",),
    "LSUN": ("lsun_c", "lsun_r"),  # CIFAR's, and Waterbirds'
    "LSUN-C": ("lsun_c",),
    "LSUN-R": ("lsun_r",),
    "iSUN": ("isun",),
    "Texture": ("textures",),
    "Textures": ("textures",),
    "Places": ("places", "places365"),
    "Places365": ("places365",),
    "iNaturalist": ("inaturalist",),
    "SUN": ("sun",),
    "CIFAR-10": ("cifar10_test",),
    "CIFAR-100": ("cifar100_test",),
    "SSB-hard": ("ssb_hard",),
    "ImageNet-O": ("imagenet_o",),
    "OpenImage-O": ("openimage_o",),
    "Spurious OOD": ("spurious_places",),
}
_AVERAGES = (AVERAGE, "Non-spurious OOD")
# A part of a set, which is scored where the whole is absent.
PARTS = {"textures": ("dtd10", "10 of 47 classes")}


class ColumnSets(NamedTuple):
    """What a column is made of.

    Attributes:
      sets: names of a benchmark's OOD sets; their mean if there are several.
      lacking: sets of the paper that are absent.
      remark: parts of sets that stand in for the paper's sets, in words; '' for none.
    """

    sets: tuple[str, ...]
    lacking: tuple[str, ...]
    remark: str

    @property
    def is_whole(self) -> bool:
        """Whether it is the paper's column, and no part of it."""
        return not (self.lacking or self.remark)


def wanted(part: TablePart) -> dict[str, tuple[str, ...]]:
    """Returns the paper's sets of each column, none for the ID accuracy."""
    known = benchmarks.describe(part.benchmark).sets
    single = {
        column: (next(name for name in _NAMES[column] if name in known),)
        for column in part.columns
        if column in _NAMES
    }
    every = tuple(name for names in single.values() for name in names)
    usual = tuple(spec.name for spec in benchmarks.describe(part.benchmark).ood)
    averaged = part.averaged or every or usual
    means = {column: averaged for column in part.columns if column in _AVERAGES}
    return single | means | {ACCURACY: (), BEHIND: ()}


def sets(part: TablePart) -> list[str]:
    """Returns the names of all OOD sets that a part is about."""
    every = (name for names in wanted(part).values() for name in names)
    return list(dict.fromkeys(every))


def of_part(part: TablePart, present: Collection[str]) -> dict[str, ColumnSets]:
    """Returns what each column can be made of, of the sets that are present."""
    return {column: _made_of(names, present) for column, names in wanted(part).items()}


def of_benchmark(present: Collection[str]) -> dict[str, ColumnSets]:
    """Returns a column for each set of a benchmark that is not the paper's own."""
    single = {name: ColumnSets((name,), (), "") for name in present}
    average = ColumnSets(tuple(present), (), "")
    return {**single, AVERAGE: average, ACCURACY: _NONE, BEHIND: _NONE}


_NONE = ColumnSets((), (), "")


def _made_of(names: tuple[str, ...], present: Collection[str]) -> ColumnSets:
    at_hand, lacking, remarks = [], [], []
    for name in names:
        part, how_much = PARTS.get(name, ("", ""))
        if name in present:
            at_hand.append(name)
        elif part in present:
            at_hand.append(part)
            remarks.append(f"{name}: {how_much}")
        else:
            lacking.append(name)
    return ColumnSets(tuple(at_hand), tuple(lacking), "; ".join(remarks))
