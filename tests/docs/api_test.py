"""Every public name is documented."""

import ast
import importlib.util
import pathlib

import pytest

import jood


def test_what_is_offered_is_what_type_checkers_see():
    tree = ast.parse(pathlib.Path(jood.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {}
    for line in block.body:
        (alias,) = line.names
        assert alias.asname == alias.name
        name = f"{line.module}.{alias.name}"
        is_module = importlib.util.find_spec(line.module).submodule_search_locations
        is_module = is_module and importlib.util.find_spec(name) is not None
        seen[alias.name] = (name if is_module else line.module).removeprefix("jood.")
    assert seen == jood._HOMES
    assert list(jood.__all__) == sorted(jood.__all__)


@pytest.mark.parametrize("name", jood.__all__)
def test_every_public_name_is_documented(name):
    # Ruff sees to the docstrings of whatever is defined in a file.
    written = getattr(jood, name).__doc__ or ""
    assert len(written.split()) > 3
    generated = f"{name}("  # by dataclass and NamedTuple
    assert not written.startswith(generated)
