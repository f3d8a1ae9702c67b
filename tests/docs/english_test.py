"""Docstrings, help texts and pages avoid phrases that a native reader stumbles over."""

import re

from helpers.jobs import ROOT
import pytest

PYTHON = [
    p for folder in ("jood", "launch") for p in sorted(ROOT.glob(f"{folder}/**/*.py"))
]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
# What it looks like, and what to write instead.
PHRASES = {
    r"\bbut for\b": "except",
    r"\brightly\b": "correctly",
    r"\bhas not[.,;]": "lacks",
    r"\bthat wish(es)?\b": "that need",
    r"\bif they tell\b": "None without ...",
    r"\bOf all that\b": "a noun",
}
# An entry of Args, Returns or Attributes: a name, a colon, a phrase.
BARE_OF = re.compile(r"^\s+[\w*, ]+: of ", re.MULTILINE)
HELP_OF = re.compile(r"""f?["']Of (?!\{detector)""")


@pytest.mark.parametrize("path", [*PYTHON, *PAGES], ids=lambda path: path.name)
def test_phrases_that_are_not_english(path):
    text = re.sub(r"\s*\n\s*#?\s*", " ", path.read_text())
    found = {p: better for p, better in PHRASES.items() if re.search(p, text)}
    assert not found, f"{path.relative_to(ROOT)}: write as on the right: {found}"


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.name)
def test_entries_and_help_texts_begin_with_their_noun(path):
    text = path.read_text()
    found = [*BARE_OF.findall(text), *HELP_OF.findall(text)]
    assert not found, f"{path.relative_to(ROOT)}: begins with 'of': {found}"
