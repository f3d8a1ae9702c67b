"""The names of jood's that pages mention exist."""

import dataclasses
import importlib
import re

from helpers import commands
from helpers.jobs import ROOT
import pytest

import jood
from jood.deploy import scorer
from jood.detector import export_loader

PAGES = [*commands.PAGES, *sorted(ROOT.glob("docs/api/*.rst"))]
NAME = re.compile(r"(?<![/.\w-])jood(?:\.[A-Za-z_]\w*)+")
IMPORT = re.compile(r"from (jood[\w.]*) import (\w+)")
# What pages call `detector` is one of jood's, an exported one or a scorer; not a file.
METHOD = re.compile(r"(?<![\w./\"=])detector\.(?!zip\b|json\b)([a-z_]\w*)")
DETECTORS = (jood.Detector, export_loader.Exported, scorer.Scorer)


def _exists(name):
    """Whether a dotted name is a module of jood, or what can be reached from one."""
    thing = None
    parts = name.split(".")
    for number, part in enumerate(parts, 1):
        try:  # first, since a function may have the name of its module
            thing = importlib.import_module(".".join(parts[:number]))
        except ModuleNotFoundError:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
    return True


def _gone(text):
    """The names, imports and methods of a page that do not exist."""
    names = {*NAME.findall(text)}
    names |= {f"{module}.{name}" for module, name in IMPORT.findall(text)}
    known = {name for kind in DETECTORS for name in dir(kind)}
    known |= {field.name for field in dataclasses.fields(jood.Detector)}
    gone = [name for name in sorted(names) if not _exists(name)]
    return gone + sorted({*METHOD.findall(text)} - known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_name_of_a_page_exists(page):
    assert not _gone(page.read_text())


def test_made_up_names_of_a_page_are_noticed():
    text = "from jood.deploy import drifts\ndetector.refit(x)\njood.compare_all(x)"
    assert _gone(text) == ["jood.compare_all", "jood.deploy.drifts", "refit"]
    assert not _gone("from jood.deploy import drift\ndetector.fit(x)\njood.compare(x)")


@pytest.mark.parametrize(
    ("name", "exists"),
    [
        ("jood.Detector.fit", True),
        ("jood.training.objectives.register", True),
        ("jood.training.objective", False),
        ("jood.Detector.refit", False),
        ("jood.methods.scores.gmm.fit_mixture", True),
        ("jood.scores.gmm.fit_mixture", False),
    ],
)
def test_a_name_that_is_gone_is_noticed(name, exists):
    assert _exists(name) == exists
