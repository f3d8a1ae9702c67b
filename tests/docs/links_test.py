"""Links between pages lead to a file, and to a heading where they name one."""

import re

from helpers.jobs import ROOT
import pytest

PAGES = [
    path
    for pattern in ("*.md", "docs/*.md", "docs/results/**/*.md", "colabs/*.md")
    for path in sorted(ROOT.glob(pattern))
]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def _anchors(text):
    """The anchors that a page's headings have on GitHub."""
    heads = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", head.lower()) for head in heads)
    return {head.strip().replace(" ", "-") for head in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_what_is_there(page):
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}, which is not there"
        if anchor and path.suffix == ".md":
            assert anchor in _anchors(path.read_text()), f"{page.name}: {target}"
