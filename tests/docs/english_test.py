"""Docstrings, help texts, pages and names avoid what a native reader stumbles over."""

import ast
import re

from helpers.jobs import ROOT
import pytest

PYTHON = [
    path
    for folder in ("jood", "launch", "docs")
    for path in sorted(ROOT.glob(f"{folder}/**/*.py"))
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
# Words with which a phrase begins that leaves its noun to the reader.
NOT_A_NOUN = "(?:of|what|how|which|whose|where|when|why)"
# In a docstring without its indent: an entry of Args, Attributes or Raises, which is a
# name, a colon and a phrase; or the first line of Returns.
ENTRY_WITHOUT_NOUN = re.compile(
    rf"^(?:  [\w*][\w*, ]*: |Returns:\n  ){NOT_A_NOUN}\b", re.MULTILINE | re.IGNORECASE
)
# In source: a literal; and the functions whose arguments are help texts.
TEXT_WITHOUT_NOUN = re.compile(rf"""f?["']{NOT_A_NOUN}[ ,.:;]""", re.IGNORECASE)
DEFINES_A_FLAG = re.compile(
    r"_?(add_argument|define|enum|integer|shared|string)", re.IGNORECASE
)
# Names that say that something was done, and not what came of it.
PARTICIPLES = re.compile("_*(begun|found|gone|got|looked|made|said|seen|told)_*", re.I)


def _stumbles(text):
    """The phrases of a text that are not English, with what to write instead."""
    text = re.sub(r"\s*\n\s*#?\s*", " ", text)
    return {p: better for p, better in PHRASES.items() if re.search(p, text)}


def _without_noun(source):
    """Entries of docstrings, and help texts of flags, that begin with no noun."""
    entries, helps = [], []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Module):
            entries += ENTRY_WITHOUT_NOUN.findall(ast.get_docstring(node) or "")
        elif isinstance(node, ast.arguments):
            helps += [*node.defaults, *filter(None, node.kw_defaults)]
        elif isinstance(node, ast.Call) and DEFINES_A_FLAG.match(_name(node.func)):
            helps += [*node.args, *(keyword.value for keyword in node.keywords)]
    return [*entries, *filter(TEXT_WITHOUT_NOUN.match, map(ast.unparse, helps))]


def _name(function):
    """The last part of a called function's name; '' for other expressions."""
    return getattr(function, "attr", getattr(function, "id", ""))


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
    problems = _by_file(PYTHON, _without_noun)
    assert not problems, f"write the noun first, 'number of', 'stage whose': {problems}"


def test_names_are_no_bare_participles():
    problems = _by_file(PYTHON, _participles)
    assert not problems, f"name what it holds, such as `scores`: {problems}"


def test_what_the_check_of_phrases_notices():
    assert _stumbles("It is no\n    # folder.")
    assert not _stumbles("There is no\n    folder; it is no longer here.")


def test_what_the_check_of_names_notices():
    code = "def _told(seen):\n  self.found, names_found = made\n  [got for got in x]\n"
    assert sorted(_participles(code)) == ["1: _told", "1: seen", "2: found", "3: got"]


DOCUMENTED = '''
class Mixer:
    """Mixes.

    Attributes:
      *parts: {part}
    """

    def mix(self, runs):
        """Mixes.

        Returns:
          {part}
        """
'''


@pytest.mark.parametrize(
    "part",
    [
        "Of each program.",
        "what is mixed.",
        "How many.",
        "which, counted from 1",
        "Whose values.",
        "where they lie.",
        "when it ends.",
        "Why not.",
    ],
)
def test_the_check_of_nouns_notices_entries_and_help_texts(part):
    assert len(_without_noun(DOCUMENTED.format(part=part))) == 2
    define = 'flags.DEFINE_string("mix", None, f"{}" + " perhaps {{names}}")'
    assert _without_noun(define.format(f"{part} "))
    assert _without_noun(f"def define_mix(help='{part} '): pass")


def test_the_check_of_nouns_lets_other_texts_pass():
    entry = "Whether to mix; what is left is\n            where: of the whole."
    assert not _without_noun(DOCUMENTED.format(part=entry))
    assert not _without_noun(
        "x = {'mix': 'what is mixed'}  # parts: of the whole\n"
        "page.Section('What was mixed', how)\n"
        "define_which = _enum('which', 'Number of parts.')"
    )
