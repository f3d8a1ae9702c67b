"""Writes docs/methods.md, the table of all methods, from the code itself.

    python docs/make_methods.py

The suite compares the page with what this prints, so it cannot drift.
"""

from collections.abc import Callable
import inspect
import pathlib
import re
import sys

from jood import presets
from jood.core.component import Component
from jood.methods import detector_text

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "methods.md"
sys.path.insert(0, str(ROOT / "tests"))  # golden_cases says what is checked
from helpers import golden_cases  # noqa: E402

_HEAD = """# Methods

Written by `docs/make_methods.py` from the code; do not edit.

- **slot**: what it rewrites (stage → feature → head → logit), or `score`. Parts are
  chained in that order: `ta(k=0.2)|react(q=0.9)|energy()`.
- **fits**: what it learns from the training data, and in how many sweeps; `–` learns
  nothing. The network runs in the first sweep; later ones read kept features, but for
  what reads maps or changed images.
- **cost**: what of the network it needs beyond the one plain pass that all methods
  share. Equal needs are run once, however many methods have them.
- **golden**: independent implementations whose scores it reproduces on fixed inputs (to
  1e-4 of their standard deviation, exceptions in `tests/helpers/golden_cases.py`).

| method | slot | what | fits | cost | paper | presets | golden |
|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """Returns the page's text."""
    rows = [
        row(name, factory)
        for name, factory in sorted(detector_text.factories().items())
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return _HEAD + "\n".join(lines) + "\n" + _presets()


def row(name: str, factory: Callable[..., Component]) -> list[str]:
    """Returns the cells of one method."""
    part = factory()
    document = inspect.getdoc(factory) or ""
    return [
        f"`{name}({_signature(factory)})`",
        part.slot,
        _escaped(document.split("\n")[0].rstrip(".")),
        _escaped(_fits(part, document)),
        _cost(part),
        _escaped(_paper(document)),
        ", ".join(f"`{p}`" for p, text in presets.PRESETS.items() if _uses(text, name))
        or "–",
        ", ".join(_golden(name)) or "–",
    ]


def _signature(factory: Callable[..., Component]) -> str:
    parameters = inspect.signature(factory).parameters.values()
    return ", ".join(f"{p.name}={p.default!r}" for p in parameters)


def _fits(part: Component, document: str) -> str:
    """What the docstring says that it fits, and the number of sweeps."""
    if not part.passes:
        return "–"
    words = " ".join(document.split())
    end = r",? in \w+ pass(?:es)?\b| unless |\. "
    found = re.search(rf"\bIt (?:also )?fits (.+?)(?:{end})", words)
    what = found[1] if found else "values"
    return f"{what} ({len(part.passes)})"


def _cost(part: Component) -> str:
    """The stage edits and the gradients that it asks of the network."""
    if part.needs_network:
        return "looks at changed images"
    stages = sorted({path[0].stage for path in part.edits})
    return " and ".join(f"layers after {stage}" for stage in stages) or "–"


def _paper(document: str) -> str:
    """The first reference of a docstring."""
    _, _, references = document.partition("References:\n")
    first = re.split(r";|\n\n|\. \(", references)[0]
    return " ".join(first.split()).rstrip(".")


def _uses(text: str, name: str) -> bool:
    """Whether a preset's template calls a method."""
    filled = text.replace("{himplos}", presets.HIMPLOS)
    return re.search(rf"\b{name}\(", filled) is not None


def _golden(name: str) -> list[str]:
    """The peers whose scores a test reproduces with this method."""
    compared = [*golden_cases.METHODS.values(), *golden_cases.WITH_NETWORK.values()]
    return sorted(
        {
            peer
            for text, peers in compared
            if text.startswith(f"{name}(")
            for peer in peers.split()
        }
    )


def _presets() -> str:
    lines = [
        f"| `{name}` | `{_escaped(presets.preset(name))}` |" for name in presets.PRESETS
    ]
    return (
        "\n## Presets\n\nWith ImageNet's values; "
        "`jood.parse(name, benchmark, backbone)` fills in those of another benchmark "
        "and network (`jood/methods/preset_values.py`).\n\n"
        "| preset | text |\n|---|---|\n" + "\n".join(lines) + "\n"
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"written to {PAGE}")
