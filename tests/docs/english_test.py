"""Docstrings, help texts and pages avoid phrases that a native reader stumbles over."""

import re

from helpers.jobs import ROOT

PYTHON = [
    p for folder in ("jood", "launch") for p in sorted(ROOT.glob(f"{folder}/**/*.py"))
]
PAGES = [
    path
    for pattern in ("*.md", "docs/**/*.md", "colabs/*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "CHANGELOG.md"  # whose entries stay as they were written
]
# What it looks like, and what to write instead.
PHRASES = {
    r"\bbut for\b": "except",
    r"\brightly\b": "correctly",
    r"\bhas not[.,;]": "lacks",
    r"\bthat wish(es)?\b": "that need",
    r"\bif they tell\b": "None without ...",
    r"\bOf all that\b": "a noun",
    r"(?<!here )\bis no (?!longer|more|need|one\b|other|such|way)\w": "is not a",
    r"\bmade (images|ones)\b": "synthetic images",
    r"\bthe (network|model) answers\b": "the network predicts",
    r"\b(goes|go) on (from|there|with)\b": "resumes, continues",
    r"\bput aside\b": "set aside",
    r"\bone a line\b": "one per line",
    r"\ba (class|template|path) a line\b": "one ... per line",
    r"\bolder joods?\b": "an older version",
    r"\bsurer\b": "more certain",
    r"\b(are|is) told (from|apart)\b": "separated from",
    r"\bnobody (knows|misses)\b": "unknown, not needed",
    r"\bwhat is there of\b": "which ... are on disk",
    r"\bin whichever way\b": "in whatever way",
    r"\bmay be left out\b": "optional",
}
# An entry of Args, Returns or Attributes: a name, a colon, a phrase.
BARE_OF = re.compile(r"^\s+[\w*, ]+: [Oo]f ", re.MULTILINE)
HELP_OF = re.compile(r"""f?["']Of (?!\{detector)""")


def _stumbles(text):
    """The phrases of a text that are not English, with what to write instead."""
    text = re.sub(r"\s*\n\s*#?\s*", " ", text)
    return {p: better for p, better in PHRASES.items() if re.search(p, text)}


def _by_file(paths, check):
    """What a check finds in files' texts, by the files in which it finds anything."""
    found = {str(path.relative_to(ROOT)): check(path.read_text()) for path in paths}
    return {name: problems for name, problems in found.items() if problems}


def test_phrases_that_are_not_english():
    found = _by_file([*PYTHON, *PAGES], _stumbles)
    assert not found, f"write as on the right: {found}"


def test_entries_and_help_texts_begin_with_their_noun():
    found = _by_file(PYTHON, lambda text: BARE_OF.findall(text) + HELP_OF.findall(text))
    assert not found, f"begins with 'of': {found}"


def test_what_the_checks_notice():
    assert _stumbles("It is no\n    # folder.")
    assert not _stumbles("There is no\n    folder; it is no longer here.")
    assert BARE_OF.search('    """Mixes.\n\n      runs: Of each program.\n')
