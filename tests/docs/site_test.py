"""The built site in a real browser, from its files or a server of this machine.

JOOD_SITE names the folder that Sphinx wrote; .ci/run sets it after it has built one.
"""

import functools
import http.server
import importlib
import os
import pathlib
import re
import threading

import pytest

PAGES = (
    "docs/index",
    "docs/methods",
    "docs/scaling",  # a formula
    "docs/results/cifar",  # wide tables
    "docs/results/finetuning",  # pictures
    "docs/results/speed",
    "docs/api/modules/jood.weights.checkpoint",
    "colabs/feature_maps",  # pictures and formulas of a notebook
)
WIDTHS = (1400, 390)  # a desktop's and a phone's
FORMULAS = {"docs/scaling": 1, "colabs/feature_maps": 5}
# What stands outside the window and cannot be scrolled into it.
OUTSIDE = """
() => [...document.querySelectorAll("article *")].filter(one => {
  if (one.getBoundingClientRect().right <= window.innerWidth + 1) return false;
  for (let at = one; at.tagName != "ARTICLE"; at = at.parentElement)
    if (getComputedStyle(at).overflowX != "visible") return false;
  return true;
}).map(one => one.outerHTML.slice(0, 200))
"""
BROKEN = """
() => [...document.images].filter(one => !(one.complete && one.naturalWidth))
  .map(one => one.src)
"""


@pytest.fixture(scope="module")
def site():
    if "JOOD_SITE" not in os.environ:
        pytest.skip("JOOD_SITE is not set; it names the folder of the built site")
    folder = pathlib.Path(os.environ["JOOD_SITE"]).resolve()
    assert (folder / "docs" / "index.html").is_file(), f"{folder} is not a built site"
    return folder


@pytest.fixture(scope="module")
def served(site):
    """The address of the site on a server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _text(message):
    return f"{message.text} {message.location['url']}"


@pytest.fixture
def open_page(request, site):
    """Opens a page; at the end, no message, no failure, and no file but the site's."""
    browser = request.getfixturevalue("browser")
    contexts, told, asked = [], [], []

    def opened(name, width=1400, home=None):
        home = home or site.as_uri()
        context = browser.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda one: one.type == "log" or told.append(_text(one)))
        shown.on("pageerror", lambda error: told.append(str(error)))
        shown.on("requestfailed", lambda one: told.append(f"{one.url}: {one.failure}"))
        shown.on("request", lambda one: asked.append((one.url, home)))
        shown.goto(f"{home}/{name}")
        return shown

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in told if "favicon" not in text] == []  # no page names one
    assert not [url for url, home in asked if not url.startswith((home, "data:"))]


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_the_screen_and_shows_its_pictures(open_page, name, width):
    shown = open_page(f"{name}.html", width)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(OUTSIDE) == []
    assert shown.evaluate(BROKEN) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_drawn_without_a_script(open_page, name):
    shown = open_page(f"{name}.html")
    formulas = shown.locator("article math")
    assert formulas.count() >= FORMULAS[name]
    for formula in formulas.all():
        box = formula.bounding_box()
        assert box["width"] > 5
        assert box["height"] > 5
        assert "\\" not in formula.text_content()
    assert "$$" not in shown.locator("article").inner_text()


def test_a_formula_with_an_unknown_command_is_refused():
    pytest.importorskip("latex2mathml", reason="needs the extra jood[docs]")
    formulas = importlib.import_module("formulas")
    assert "<mfrac>" in formulas.mathml(r"\frac{1}{n}", "inline")
    with pytest.raises(ValueError, match="expected commands that MathML has"):
        formulas.mathml(r"\nosuch{n}", "block")


@pytest.mark.slow
def test_a_picture_opens_at_its_full_size(open_page):
    shown = open_page("docs/results/finetuning.html")
    picture = shown.locator("article img").first
    wide = picture.evaluate("one => one.naturalWidth")
    assert picture.bounding_box()["width"] < wide
    picture.click()
    shown.wait_for_url("**/_images/*.png")
    assert shown.locator("img").evaluate("one => one.naturalWidth") == wide


FOUND = ("jood.methods.transforms.react", "Coming from OpenOOD")


@pytest.mark.slow
def test_search_finds_pages_and_shows_their_lines(open_page, served):
    shown = open_page("search.html?q=ReAct", home=served)
    for name in FOUND:
        shown.get_by_role("link", name=name, exact=True).first.wait_for()
    shown.wait_for_load_state("networkidle")
    assert shown.locator("#search-results p.context").count() >= len(FOUND)


@pytest.mark.slow
def test_search_finds_pages_in_files(browser, site):
    """Browsers let no page read another file: titles are found, without lines."""
    shown = browser.new_page()
    shown.goto(f"{site.as_uri()}/search.html?q=ReAct")
    for name in FOUND:
        shown.get_by_role("link", name=name, exact=True).first.wait_for()
    shown.close()


@pytest.mark.slow
def test_no_page_asks_another_host_for_a_file(site):
    loads = re.compile(
        r'<(?:script|img|link|iframe)\b[^>]*(?:src|href)="(?:https?:)?//'
    )
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 100
    asking = [
        page.relative_to(site)
        for page in pages
        if loads.search(page.read_text(encoding="utf-8"))
    ]
    assert asking == []
