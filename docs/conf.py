"""The site: guides, notebooks, results and the API reference, by Sphinx.

    pip install -e '.[docs]'
    python -m sphinx -W --keep-going -c docs . build/site    # build/site/index.html

The source folder is the clone, so that pages link to notebooks and to CONTRIBUTING.md
as they do on GitHub. A warning ends the build.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import matplotlib

from jood.version import VERSION

project, author = "jood", "The jood authors"
copyright = "2026, the jood authors"
release = VERSION
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/**.rst",
    "docs/results/**.md",
    "colabs/*.ipynb",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
extensions = [
    "formulas",  # docs/formulas.py
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
templates_path = [str(pathlib.Path(__file__).parent / "_templates")]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are committed with what they show
nb_merge_streams = True

autosummary_generate = True
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # xp=jnp, not the path of a module on this machine
autodoc_typehints = "none"  # shapes and types stand in Args
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# A name that jood offers stands on two pages: its own module's and jood's.
suppress_warnings = ["ref.python"]

html_math_renderer = "mathml"
html_theme = "sphinx_book_theme"
html_title = "jood"
html_static_path = [
    str(pathlib.Path(__file__).parent / "_static"),
    matplotlib.get_data_path() + "/fonts/ttf/DejaVuSerif.ttf",  # site.css: formulas
]
html_css_files = ["site.css"]
html_additional_pages = {"index": "redirect.html"}  # to root_doc
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_theme_options = {
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "collapse_navigation": True,  # else each page lists all modules: twice the time
}

# python -m sphinx -b linkcheck -c docs . build/links, where there is a network
linkcheck_ignore = [r"http://127\.0\.0\.1"]
linkcheck_anchors = False  # GitHub's are made by a script
linkcheck_timeout = 20
linkcheck_retries = 2

_CODE = re.compile(r"(`+)([^`]+)\1")
_PICTURE = re.compile(r'(<img\b[^>]*\bsrc="([^"]+)"[^>]*>)')
_SPECIAL = re.compile(r"(?<!\\)([*|])")


def _as_rst(app: object, what: str, name: str, thing: object, *rest: list) -> None:
    """Turns a docstring's Markdown into reStructuredText, in place.

    Code in single backticks becomes literal, and so does an indented block of a
    module's docstring. Stars and bars, as in |x|, stay what they are. Examples (>>>)
    are left alone.
    """
    *_, lines = rest
    written: list[str] = []
    for line in lines:
        block = what == "module" and line.startswith("    ")
        if block and not (written and written[-1].startswith(("    ", "::"))):
            written += ["::", ""]
        example = line.lstrip().startswith((">>>", "..."))
        written.append(line if block or example else _inline(line))
    lines[:] = written


def _inline(line: str) -> str:
    """One line of Markdown as reStructuredText."""
    parts = _CODE.split(line)  # text, ticks, code, text, ticks, code, ...
    text = [_SPECIAL.sub(r"\\\1", part) for part in parts[::3]]
    out = text[0]
    for code, after in zip(parts[2::3], text[1:], strict=True):
        joint = "\\ " if after[:1].isalnum() else ""  # `spec`s
        out += f"``{code}``{joint}{after}"
    return out


def _link_pictures(
    app: object, page: str, template: str, context: dict, tree: object
) -> None:
    """Makes each picture of a page a link to its file, at full size."""
    if body := context.get("body"):
        context["body"] = _PICTURE.sub(r'<a class="picture" href="\2">\1</a>', body)


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _as_rst, priority=900)
    app.connect("html-page-context", _link_pictures)
