"""Docstrings, help texts, pages and names avoid what a native reader stumbles over."""

import ast
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
# Names that say that something was done, and not what came of it.
PARTICIPLES = re.compile("_*(begun|found|gone|got|looked|made|said|seen|told)_*", re.I)


def _stumbles(text):
    """The phrases of a text that are not English, with what to write instead."""
    text = re.sub(r"\s*\n\s*#?\s*", " ", text)
    return {p: better for p, better in PHRASES.items() if re.search(p, text)}


def _by_file(paths, check):
    """What a check finds in files' texts, by the files in which it finds anything."""
    by_file = {str(path.relative_to(ROOT)): check(path.read_text()) for path in paths}
    return {name: problems for name, problems in by_file.items() if problems}


def _participles(text):
    """Python's variables, parameters, functions and classes that are named by one."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case (
                ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(attr=name, ctx=ast.Store())
                | ast.arg(arg=name)
                | ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
            ) if PARTICIPLES.fullmatch(name):
                lines.append(f"{node.lineno}: {name}")
    return lines


def test_phrases_that_are_not_english():
    problems = _by_file([*PYTHON, *PAGES], _stumbles)
    assert not problems, f"write as on the right: {problems}"


def test_entries_and_help_texts_begin_with_their_noun():
    problems = _by_file(
        PYTHON, lambda text: BARE_OF.findall(text) + HELP_OF.findall(text)
    )
    assert not problems, f"begins with 'of': {problems}"


def test_names_are_no_bare_participles():
    problems = _by_file(PYTHON, _participles)
    assert not problems, f"name what it holds, such as `scores`: {problems}"


def test_what_the_checks_notice():
    assert _stumbles("It is no\n    # folder.")
    assert not _stumbles("There is no\n    folder; it is no longer here.")
    assert BARE_OF.search('    """Mixes.\n\n      runs: Of each program.\n')
    code = "def _told(seen):\n  self.found, names_found = made\n  [got for got in x]\n"
    assert sorted(_participles(code)) == ["1: _told", "1: seen", "2: found", "3: got"]
