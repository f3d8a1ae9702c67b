"""What to cite for methods, presets, rows, detectors and objectives: `jood cite`.

jood cite himplos knn           BibTeX of what they are from, and of jood
jood cite "ta(k=0.2)|msp()"     also rows, presets and texts of detectors
jood cite                       lists the names
"""

import argparse
from collections.abc import Iterable, Sequence
import sys

from jood import extensions
from jood._utils import unknown_name
from jood.methods import detector_list
from jood.methods import detector_text
from jood.methods import factories
from jood.methods import presets
from jood.methods import references
from jood.training import objectives


def main(arguments: Sequence[str]) -> None:
    """Prints what to cite; an unknown name ends it with a message, code 1."""
    parser = argparse.ArgumentParser(
        prog="jood cite",
        description="Prints BibTeX of methods, presets, rows and training objectives.",
    )
    parser.add_argument(
        "names", nargs="*", help="Names to cite; without any, all are listed."
    )
    parser.add_argument(
        "--plugins", default="", help="Modules or .py files to import first."
    )
    given = parser.parse_args(arguments)
    try:
        extensions.load([name for name in given.plugins.split(",") if name])
        print(cited(given.names) if given.names else listed())
    except ValueError as error:
        sys.exit(f"error: {error}")


def cited(names: Iterable[str]) -> str:
    """Returns the BibTeX of methods, presets, rows, texts and objectives.

    Each entry stands once, jood's own last; a name without one stands in a comment.

    Raises:
      ValueError: a name is unknown; the nearest ones are listed.
    """
    keys: dict[str, None] = {}
    remarks: dict[str, None] = {}
    for name in names:
        for part in _parts(name):
            if module := factories.plugins(part).get(part):
                remarks[
                    f"% {part}: registered by {module}, which says what to cite"
                ] = None
            elif why := references.own().get(part):
                remarks[f"% {part}: {why}"] = None
            elif part != references.JOOD:
                keys |= dict.fromkeys(references.of(part))
    keys[references.JOOD] = None
    return "\n\n".join([*remarks, *map(references.bibtex, keys)])


def listed() -> str:
    """Returns all names that can be cited."""
    groups: dict[str, Iterable[str]] = {
        "methods": factories.every(),
        "presets": presets.PRESETS,
        "rows of tables": presets.templates(),
        "training objectives": objectives.names(),
        "this library": [references.JOOD],
    }
    lines = [f"{title}:\n  {', '.join(names)}" for title, names in groups.items()]
    return "\n".join([*lines, "jood cite NAME ... prints BibTeX."])


def _parts(name: str) -> list[str]:
    """The methods of which a detector consists, or an objective's name."""
    plain = name.strip()
    trained = (*objectives.names(), references.JOOD)
    start = plain.partition("(")[0].casefold()
    for one in trained:
        if one.casefold() == start:
            return [one]
    if plain in factories.every():
        return [plain]
    known = {*factories.every(), *presets.PRESETS, *presets.templates(), *trained}
    if plain.isidentifier() and start not in {one.casefold() for one in known}:
        near = ", ".join(unknown_name.nearest(plain, known)) or "none"
        raise ValueError(
            f"unknown name to cite {plain!r}; near: {near}. `jood cite` lists all; "
            "--plugins=my_module adds your own."
        )
    called = detector_text.called(detector_list.read(plain).component.spec)
    return [part for part in called if part in factories.every()]
