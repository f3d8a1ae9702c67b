"""What to cite: every method and objective, as BibTeX that a tool reads."""

import pathlib
import re

from helpers.jobs import ROOT
import pytest

import jood
from jood import citation
from jood.methods import factories
from jood.methods import presets
from jood.methods import references
from jood.training import objectives

NAMES = [*factories.every(), *objectives.names()]


@pytest.mark.parametrize("name", NAMES)
def test_every_method_and_objective_has_a_paper_or_says_why_not(name):
    assert bool(references.of(name)) != bool(references.own().get(name))
    assert set(references.of(name)) <= set(references.papers())


def test_nothing_is_cited_that_jood_has_not():
    listed = references._data()
    assert {*listed["methods"], *listed["objectives"], *listed["own"]} == set(NAMES)
    used = {key for name in NAMES for key in references.of(name)}
    assert used | {references.JOOD} == set(references.papers())


@pytest.mark.parametrize("key", references.papers())
def test_an_entry_is_whole(key):
    paper = references.papers()[key]
    assert {"name", "author", "title"} <= set(paper)
    assert paper.keys() & {"booktitle", "journal", "eprint", "note"}
    entry = references.bibtex(key)
    assert re.match(r"@(inproceedings|article|misc)\{\w+,\n", entry)
    assert entry.count("{") == entry.count("}")
    assert not set(entry) & set("&%#$")  # TeX would read them
    if key != references.JOOD:
        assert str(paper["year"]) in key  # the key says the year


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_names_the_same_author(name):
    """The References of a docstring and the BibTeX are of one paper."""
    keys = references.of(name)
    first = references.papers()[keys[0]]["author"] if keys else "Anonymous"
    if first == "Anonymous":
        return
    factory = factories.every().get(name) or getattr(objectives, name)
    cited = factory.__doc__.partition("References:")[2]
    titles = ("LFF",)  # where the docstring gives the title alone
    assert first.partition(",")[0] in cited or any(t in cited for t in titles)


def test_a_preset_cites_its_parts_once_and_jood():
    shown = citation.cited(["himplos", "HIMPLoS", "react"])
    keys = re.findall(r"@\w+\{(\w+),", shown)
    assert keys == ["sun2023himplos", "sun2021react", "liu2020energy", "jood"]


@pytest.mark.parametrize("name", [*presets.PRESETS, *presets.templates()])
def test_every_preset_and_row_can_be_cited(name):
    assert citation.cited([name.upper()]).count("@") >= 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lff(mu=2)", "ye2025lff"),
        ("ta(k=0.2)|knn()", "sun2022knn"),
        ("cross_entropy", "% cross_entropy: the usual training"),
        ("jood", "@misc{jood,"),
    ],
)
def test_objectives_texts_and_jood_are_cited(name, expected):
    assert expected in citation.cited([name])


def test_a_registered_method_is_said_to_have_none(monkeypatch):
    def least():
        return jood.component.score("least()", lambda acts: acts.logits.min(-1))

    monkeypatch.setattr(factories, "_REGISTERED", {"least": least})
    assert f"% least: registered by {__name__}" in citation.cited(["least"])


def test_the_command_prints_lists_and_names_the_near_ones(capsys):
    citation.main(["knn"])
    assert "Deep Nearest Neighbors" in capsys.readouterr().out
    citation.main([])
    shown = capsys.readouterr().out
    assert all(name in shown for name in [*NAMES, "himplos", "FS+TA (median)"])
    for name, near in {"himplo": "himplos", "lf": "lff", "ASH-X": "ASH-S"}.items():
        with pytest.raises(SystemExit, match=f"error: unknown .*near: .*{near}"):
            citation.main([name])


def test_the_citation_file_has_what_its_format_asks_for():
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the notebooks' tools")
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(about)
    paper = references.papers()[references.JOOD]
    assert about["title"] == re.sub("[{}]", "", paper["title"])
    assert about["authors"][0]["name"] == paper["author"].strip("{}")
    assert (ROOT / "LICENSE").is_file()
    assert pathlib.Path(references.__file__).with_name("references.toml").is_file()
