"""Formulas of the site as MathML, which browsers draw without a script or a network."""

from typing import Any

from docutils import nodes
from latex2mathml import converter
from sphinx.util import logging

_LOG = logging.getLogger(__name__)


def mathml(formula: str, display: str) -> str:
    """Returns TeX as MathML.

    Args:
      formula: TeX without dollar signs.
      display: `inline` or `block`.

    Returns:
      One `<math>` element.

    Raises:
      ValueError: A command that the converter does not know.
    """
    text = converter.convert(formula, display=display)
    if "\\" in text:
        raise ValueError(f"expected commands that MathML has, got {formula=}")
    return text


def _write(self: Any, node: nodes.Element, display: str) -> None:
    try:
        text = mathml(node.astext(), display)
    except Exception as error:  # a warning says where, and ends the build
        _LOG.warning("formula %r: %s", node.astext(), error, location=node)
        text = ""
    around = "div" if display == "block" else "span"
    self.body.append(f'<{around} class="math">{text}</{around}>')
    raise nodes.SkipNode


def _write_inline(self: Any, node: nodes.Element) -> None:
    _write(self, node, "inline")


def _write_block(self: Any, node: nodes.Element) -> None:
    _write(self, node, "block")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(_write_inline, None),
        block_renderers=(_write_block, None),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
