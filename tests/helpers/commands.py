"""The commands of pages, docstrings and recipes that start a job of jood."""

import ast
import re
import shlex

from helpers.jobs import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("docs/results/*.md")),
    *sorted(ROOT.glob("colabs/*.md")),
]
# What stands before a job's flags.
_START = re.compile(
    r"(?:python3? launch/(?P<file>\w+)\.py|\bjood (?P<name>\w+))(?=\s|$)"
)
_LOOP = re.compile(r"^for (\w+) in (.*?); do\n(.*?)^done$", re.DOTALL | re.MULTILINE)
# A page's blocks, and what stands in its prose as one command with flags.
_PARTS = re.compile(
    r"^```(?P<kind>\w*)\n(?P<block>.*?)^```|`(?P<prose>jood \w+ [^`]*)`",
    re.DOTALL | re.M,
)
_END = {"&&", "||", "|", ";", "&", ">", "done"}


def of_page(text):
    """Yields (job, arguments) of a page's blocks of commands."""
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
        yield from of_lines(block)


def of_guide(text):
    """Yields (job, arguments) of a page's blocks and of its prose, in their order."""
    for part in _PARTS.finditer(text):
        if part["kind"] == "bash":
            yield from of_lines(part["block"])
        elif part["prose"]:
            yield from of_lines(part["prose"])


def other_lines(text):
    """Yields lines of a page's blocks of commands that start no job."""
    for part in _PARTS.finditer(text):
        if part["kind"] == "bash":
            for line in re.sub(r"\\\n\s*", " ", part["block"]).splitlines():
                if line.strip() and not _START.search(line):
                    yield line


def of_job(text):
    """Yields those of a job's docstring, whose commands are indented."""
    lines = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    return of_lines("\n".join(line for line in lines if line.startswith("    ")))


def of_recipe(text):
    """Yields those of a flag file's comments, whose commands are indented."""
    return of_lines("\n".join(re.findall(r"^#   (.*)$", text, flags=re.MULTILINE)))


def of_lines(text):
    """Yields (job, arguments) of the lines of a shell; '\\' joins lines."""
    for line in re.sub(r"\\\n\s*", " ", _LOOP.sub(_repeated, text)).splitlines():
        for found in _START.finditer(line):
            rest = line[found.end() :]
            if line[: found.start()].count('"') % 2:  # ssh HOST --command="jood ..."
                rest = rest.rpartition('"')[0]
            words = shlex.split(rest, comments=True)
            ends = [words.index(end) for end in _END if end in words]
            yield found["file"] or found["name"], words[: min(ends, default=None)]


def _repeated(loop):
    """The lines of a loop, once for each of its words."""
    name, words, lines = loop.groups()
    return "".join(lines.replace(f"${name}", word) for word in words.split())
