"""Every public name is documented."""

import types

import pytest

import jood


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
