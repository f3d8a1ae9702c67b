"""Every public name is documented, and the reference has a page of it."""

import importlib.util
import pkgutil
import types

from helpers.jobs import ROOT
import pytest

import jood

MODULES = [found.name for found in pkgutil.walk_packages(jood.__path__, "jood.")]


def test_all_lists_what_jood_offers():
    offered = {
        name
        for name, value in vars(jood).items()
        if not name.startswith("_")
        # A submodule that somebody imported is an attribute too; those are re-exported.
        and (not isinstance(value, types.ModuleType) or name in jood.__all__)
    }
    assert offered == {*jood.__all__, "VERSION"}
    assert list(jood.__all__) == sorted(jood.__all__)


@pytest.mark.parametrize("name", jood.__all__)
def test_every_public_name_is_documented(name):
    # Ruff sees to the docstrings of whatever is defined in a file.
    written = getattr(jood, name).__doc__ or ""
    assert len(written.split()) > 3
    generated = f"{name}("  # by dataclass and NamedTuple
    assert not written.startswith(generated)


@pytest.mark.slow
def test_the_reference_is_built_without_a_warning(tmp_path):
    pytest.importorskip("pdoc", reason="the extra docs is not installed")
    where = ROOT / "docs" / "make_api.py"
    found = importlib.util.spec_from_file_location("make_api", where)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert module.make(tmp_path) > len(MODULES)  # and the index
    page = (tmp_path / "jood.html").read_text()
    for name in jood.__all__:
        if isinstance(getattr(jood, name), types.ModuleType):
            where = getattr(jood, name).__name__.replace(".", "/")
            assert (tmp_path / f"{where}.html").exists()
        else:
            assert f'id="{name}"' in page, f"{name} is not on jood's page"
