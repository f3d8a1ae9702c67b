"""The page of disagreements is what its script gives."""

import importlib.util
import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def script():
    spec = importlib.util.spec_from_file_location("make_peers", DOCS / "make_peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_gives(golden_dir):
    peers, page = script(), (DOCS / "peers.md").read_text(encoding="utf-8")
    arrays = re.search(r"<!-- arrays: (\w+) -->", page)[1]
    try:
        given = peers.fingerprint(golden_dir)
    except FileNotFoundError as error:
        pytest.skip(f"{golden_dir} holds other cases than the page: {error}")
    if given != arrays:
        pytest.skip(f"{golden_dir} holds other arrays than the page was made from")
    assert peers.page(golden_dir) == page


def test_each_section_says_why_and_has_its_rows():
    page = (DOCS / "peers.md").read_text(encoding="utf-8")
    for one in script().listed():
        if one.why:
            assert f"### {one.title}\n\n{one.why}\n" in page
        assert f"`{one.mine}` | `{one.other}`" in page
