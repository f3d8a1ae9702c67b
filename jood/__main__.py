"""The command `jood`: what to cite.

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


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command; a name that nobody knows ends it with a message, code 1."""
    parser = argparse.ArgumentParser(
        prog="jood", description="Out-of-distribution detection in JAX."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    cite = commands.add_parser(
        "cite", help="Prints BibTeX of methods, presets, rows and training objectives."
    )
    cite.add_argument("names", nargs="*", help="What to cite; without any, all names.")
    cite.add_argument(
        "--plugins", default="", help="Modules or .py files to import first."
    )
    arguments = parser.parse_args(argv)
    try:
        extensions.load([name for name in arguments.plugins.split(",") if name])
        print(cited(arguments.names) if arguments.names else listed())
    except ValueError as error:
        sys.exit(f"error: {error}")


def cited(names: Iterable[str]) -> str:
    """Returns the BibTeX of what methods, presets, rows, texts, objectives are from.

    An entry stands once, jood's own last; what has none is named in a comment.

    Raises:
      ValueError: nobody knows a name; the near ones are listed.
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


if __name__ == "__main__":
    main()
