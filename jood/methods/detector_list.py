"""A table's detectors by name, as a user names them: what `--detectors` takes.

    MSP, ash-s, FS+TA (median), himplos, mine=ta(k=0.1)|msp(), ASH-S 80=ash_s(q=0.8)|msp

An entry is the row of a table, a preset or a method, in any letter case, or the text of
a detector; a name of its own and '=' may come first. Names may hold anything except a
comma or a '=' outside brackets.
"""

import collections
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jood._utils import unknown_name
from jood.core.component import Component
from jood.methods import detector_text
from jood.methods import factories
from jood.methods import presets
from jood.methods import value_sources

_BRACKETS = {"(": ")", "[": "]", "{": "}"}


class Row(NamedTuple):
    """A detector of a table.

    Attributes:
      component: component that scores; its `spec` holds every value.
      sources: origin of each value; see `value_sources`.
    """

    component: Component
    sources: dict[str, str]


def read(
    entry: str | Component,
    benchmark: str = presets.DEFAULT,
    backbone: str = "",
    paper: str = "",
) -> Row:
    """Returns the detector that a user names.

    Args:
      entry: a row's or preset's name in any letter case, the text of a detector, or a
        component. A row wins over a method of its name: 'knn' and 'KNN' are both the
        row, with the benchmark's k, and 'knn()' is the method with its own.
      benchmark: benchmark whose values rows and presets take.
      backbone: the network whose values they take.
      paper: paper whose table it is for, '' or one of `paper_values.PAPERS`.

    Raises:
      ValueError: the entry cannot be read; the names near it are listed.
    """
    if isinstance(entry, Component):
        return Row(entry, {})
    name = entry.strip()
    templates = presets.templates()
    row = _known(name, templates)
    if row is not None:
        return of_template(row, templates[row], benchmark, backbone, paper)
    short = _known(name, presets.PRESETS) or _known(name, factories.every())
    if short is None and _is_a_name(name, templates):
        known = {*templates, *presets.PRESETS, *factories.every()}
        raise unknown_name.unknown("detector", name, sorted(known))
    text = short or name
    component = detector_text.parse(text, benchmark, backbone, paper=paper)
    return Row(component, value_sources.of(text, benchmark, backbone, paper))


def of_template(
    name: str,
    template: str,
    benchmark: str = presets.DEFAULT,
    backbone: str = "",
    paper: str = "",
) -> Row:
    """Returns the detector of a row's template, filled in as `read` fills rows in."""
    values = (benchmark, backbone, paper)
    text = presets.fill(template, *values).text
    return Row(
        detector_text.parse(text), value_sources.of_template(name, template, *values)
    )


def read_each(
    entries: Mapping[str, str | Component],
    benchmark: str = presets.DEFAULT,
    backbone: str = "",
    paper: str = "",
) -> dict[str, Row]:
    """Returns the detectors of a table by name; see `read`."""
    values = (benchmark, backbone, paper)
    return {name: read(entry, *values) for name, entry in entries.items()}


def split(text: str) -> dict[str, str]:
    """Splits a list of detectors into its entries by name.

    Args:
      text: detectors separated by commas; one without a name is named by its text.

    Raises:
      ValueError: the list is empty, has an empty entry or an open bracket, or has a
        name twice.

    Example:
      >>> split('msp, mine=react(q=0.9)|energy()')
      {'msp': 'msp', 'mine': 'react(q=0.9)|energy()'}
    """
    if not text.strip():
        raise ValueError(f"expected detectors separated by commas, got {text!r}.")
    rows = presets.templates()
    pairs = []
    for entry in _pieces(text, ","):
        first, *rest = _pieces(entry, "=")
        if _known(entry.strip(), rows) or not rest:
            name = value = entry.strip()
        else:
            name, value = first.strip(), entry[len(first) + 1 :].strip()
        if not name or not value:
            raise ValueError(
                f"an entry of the list of detectors is empty: {entry!r} in {text!r}. "
                "Write NAME=DETECTOR, or DETECTOR, between commas."
            )
        pairs.append((name, value))
    counts = collections.Counter(name for name, _ in pairs)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise ValueError(
            f"the list of detectors has {', '.join(twice)} twice; name one otherwise: "
            f"other={twice[0]}."
        )
    return dict(pairs)


def _known(name: str, names: Mapping[str, object]) -> str | None:
    """The one of `names` that is meant, whatever the letter case."""
    if name in names:
        return name
    return {one.casefold(): one for one in names}.get(name.casefold())


def _is_a_name(text: str, rows: Mapping[str, str]) -> bool:
    """Whether a text that is not a known name was meant as one: ASH-X, FS+TA (sd)."""
    if not any(sign in text for sign in "(|"):
        return True
    start = text.partition("(")[0]
    return start.endswith(" ") and any(row.startswith(start) for row in rows)


def _pieces(text: str, sign: str) -> Iterator[str]:
    """Splits a text at a sign outside of brackets and quotes."""
    start, quote = 0, ""
    open_at: list[int] = []
    for i, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[i - 1] != "\\" else quote
        elif letter in "'\"" and open_at:  # names outside of calls may hold one
            quote = letter
        elif letter in _BRACKETS:
            open_at.append(i)
        elif letter in _BRACKETS.values():
            if not open_at or _BRACKETS[text[open_at.pop()]] != letter:
                raise ValueError(
                    f"the list of detectors has a {letter!r} at character {i + 1} that "
                    f"closes nothing: {text!r}."
                )
        elif letter == sign and not open_at:
            yield text[start:i]
            start = i + 1
    if open_at:
        raise ValueError(
            f"the list of detectors has a {text[open_at[-1]]!r} at character "
            f"{open_at[-1] + 1} that is never closed: {text!r}."
        )
    yield text[start:]
