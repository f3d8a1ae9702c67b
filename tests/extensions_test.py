"""What a user registers is known as jood's own is."""

import sys

import pytest

import jood
from jood import extensions
from jood.methods import factories
from jood.methods import presets


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(factories, "_REGISTERED", {})


def smallest_logit():
    return jood.component.score("smallest_logit()", lambda acts: acts.logits.min(-1))


@jood.component.row("Halved", "halved()|msp()")
def halved():
    def half(acts):
        return acts.with_logits(acts.logits / 2)

    return jood.component.stateless("halved()", "logit", half)


def test_a_registered_method_is_read_and_has_a_row():
    assert jood.register(smallest_logit) is smallest_logit
    jood.register(halved)
    assert jood.parse("react(q=0.9)|smallest_logit").slot == "score"
    rows = presets.everything("digits")
    assert rows["smallest_logit"] == "smallest_logit()"
    assert rows["Halved"] == "halved()|msp()"
    jood.register(smallest_logit)  # a notebook's cell that is run again


def test_a_transform_without_a_row_is_followed_by_energy():
    def unnamed():
        return halved()

    assert factories.rows("unnamed", unnamed) == {"unnamed": "unnamed()|energy()"}


def test_a_name_that_is_taken_is_refused():
    def knn():
        return smallest_logit()

    with pytest.raises(ValueError, match=r"method 'knn' already, in jood\.methods"):
        jood.register(knn)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (3, "cannot register a builtins.int; expected one of Component, Objective"),
        (lambda: 3, "cannot register a builtins.int"),
        (lambda k: halved(), "can be called without arguments"),
    ],
)
def test_what_cannot_be_registered_is_named(thing, message):
    with pytest.raises(TypeError, match=message):
        jood.register(thing)


PLUGIN = """
import jood

@jood.register
def from_a_file():
    return jood.component.score("from_a_file()", lambda acts: acts.logits.max(-1))
"""


@pytest.mark.parametrize("folder", ["", "elsewhere"])
def test_modules_and_files_are_loaded(tmp_path, monkeypatch, folder):
    (tmp_path / "plugin_a.py").write_text(PLUGIN)
    (tmp_path / "plugin_b.py").write_text(PLUGIN.replace("from_a_file", "by_name"))
    if folder == "":
        monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    extensions.load(["plugin_a.py", "plugin_b"], folder and str(tmp_path))
    assert jood.parse("from_a_file()").slot == jood.parse("by_name()").slot == "score"


@pytest.mark.parametrize("name", ["no_such_module", "no/such/file.py"])
def test_what_cannot_be_loaded_is_named(name):
    with pytest.raises(ValueError, match=f"there is no (module|file) .*{name}"):
        extensions.load([name])


def test_a_file_named_like_a_loaded_module_is_refused(tmp_path):
    (tmp_path / "json.py").write_text(PLUGIN)
    with pytest.raises(ValueError, match="name of the loaded module 'json'; rename it"):
        extensions.load([str(tmp_path / "json.py")])
