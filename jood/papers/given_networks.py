"""Which of the networks that a user gives makes which rows of a table."""

from collections.abc import Mapping, Sequence
import os
from typing import NamedTuple

from jood._utils import unknown_name
from jood.data import benchmarks
from jood.papers.transcription import PaperTable
from jood.papers.transcription import TablePart
from jood.weights import checkpoint
from jood.weights.checkpoint import TrainedNetwork


class Given(NamedTuple):
    """A network, and the name under which it was given; '' leaves the choice to us."""

    name: str
    network: TrainedNetwork
    folder: str


class Maker(NamedTuple):
    """The network of some rows: `is_named_one` if it is of the paper's architecture."""

    given: Given
    is_named_one: bool


def keys(table: PaperTable) -> list[str]:
    """Returns the names under which a table asks for networks.

    'cifar10/resnet18_cifar' makes the rows of that part; with '+lff' those of a network
    that was trained so. The benchmark is optional where that is unique.
    """
    names = [key(part, row.trained) for part in table.parts for row in part.rows]
    return list(dict.fromkeys(names))


def key(part: TablePart, trained: str = "") -> str:
    """Returns the full name of the network behind a part's rows."""
    plain = f"{part.benchmark}/{part.network}"
    return f"{plain}+{trained}" if trained else plain


def open_all(texts: Sequence[str], table: PaperTable, which: str) -> list[Given]:
    """Opens 'FOLDER' or 'NAME=FOLDER' entries.

    Raises:
      ValueError: A name is none of the table's; near ones are listed.
      FileNotFoundError: A folder holds no network.
    """
    known = keys(table)
    short = {name.split("/")[1]: name for name in known}
    given = []
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or os.path.exists(text):
            name, folder = "", text
        elif name not in known and name not in short:
            raise unknown_name.unknown("network of the table", name, [*known, *short])
        given.append(Given(name, checkpoint.open(folder, which), folder))
    return given


def labelled(texts: Sequence[str], which: str) -> dict[str, TrainedNetwork]:
    """Opens 'FOLDER' or 'LABEL=FOLDER' entries; returns networks by label.

    Raises:
      ValueError: There is none, or two have one label.
      FileNotFoundError: A folder holds no network.
    """
    networks: dict[str, TrainedNetwork] = {}
    for text in texts:
        label, equals, folder = text.partition("=")
        if not equals or os.path.exists(text):
            label, folder = os.path.basename(os.path.normpath(text)), text
        if label in networks:
            raise ValueError(f"two networks are called {label!r}; write LABEL=FOLDER.")
        networks[label] = checkpoint.open(folder, which)
    if not networks:
        raise ValueError("give --checkpoint, the folder of a network.")
    return networks


def benchmark_of(networks: Mapping[str, TrainedNetwork], known: Sequence[str]) -> str:
    """Returns the first benchmark with the classes of all networks.

    Raises:
      ValueError: None of them has.
    """
    for name in known:
        if all(_has_classes(network, name) for network in networks.values()):
            return name
    labels = ", ".join(networks)
    raise ValueError(
        f"{labels} has the classes of none of {', '.join(known)}; name a --benchmark."
    )


def makers(
    table: PaperTable, given: Sequence[Given], benchmark: str | None = None
) -> dict[str, Maker]:
    """Returns which network makes the rows of each of `keys(table)`, where one does.

    A network makes the rows that it was named for, else those of its architecture, else
    those of the first part with its classes, which are then marked. `benchmark` is
    that on which the table is run in place of its own.
    """
    same: dict[str, Maker] = {}
    other: dict[str, Maker] = {}
    wanted = {key(p, r.trained): (p, r.trained) for p in table.parts for r in p.rows}
    for one in given:
        name = one.network.name
        fits = [
            k
            for k, (part, trained) in wanted.items()
            if _has_classes(one.network, benchmark or part.benchmark)
            and (one.name in (k, k.split("/")[1]) if one.name else True)
            and (bool(one.name) or trained == _objective(one.network))
        ]
        own = [k for k in fits if wanted[k][0].network == name]
        for k in own:
            same.setdefault(k, Maker(one, is_named_one=True))
        if fits and not own:
            other.setdefault(fits[0], Maker(one, is_named_one=False))
    return {k: same.get(k) or other[k] for k in wanted if k in same or k in other}


def _has_classes(network: TrainedNetwork, benchmark: str) -> bool:
    classes = getattr(network.model, "num_classes", 0)
    spec = benchmarks.describe(benchmark)
    if not spec.labelled:
        return True
    return classes == (spec.num_classes or len(spec.class_names))


def _objective(network: TrainedNetwork) -> str:
    """How a network was trained beyond cross-entropy: 'lff', 'ssod'; '' if unknown."""
    source: Mapping[str, object] = network.source
    text = str(source.get("objective", "")).partition("(")[0]
    return "" if text == "cross_entropy" else text
