"""Where each value of a detector comes from: typed, a preset's paper, or a default.

    of('react(q=0.8)|energy()')
    -> {'react(q=0.8)': 'as given', 'energy(T=1.0)': 'default'}

Results and dry runs print it beside the detector's text, so that a table says what was
run and whose values those were.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
import inspect

from jood._utils import call_text
from jood.methods import factories
from jood.methods import presets
from jood.methods import references

GIVEN, DEFAULT = "as given", "default"
# (where a value is written out, its method) -> where it comes from
_Source = Callable[[ast.AST, str], str]


def of(
    text: str, benchmark: str = presets.DEFAULT, backbone: str = "", paper: str = ""
) -> dict[str, str]:
    """Returns the source of each value by 'method(parameter=value)'.

    Args:
      text: a detector's text, which `jood.parse` reads; presets take the values of the
        benchmark and the network, and say where those were published.
      benchmark: one of `preset_values.BENCHMARKS`.
      backbone: the network's name.
      paper: paper whose table it is for, '' or one of `paper_values.PAPERS`.
    """

    def expanded(name: str) -> Iterator[tuple[str, str]]:
        filled = presets.fill(presets.PRESETS[name], benchmark, backbone, paper)
        return _values(_tree(filled.text), _spanned(filled, f"preset {name}"), expanded)

    return _joined(_values(_tree(text), lambda *_: GIVEN, expanded))


def of_template(
    row: str,
    template: str,
    benchmark: str = presets.DEFAULT,
    backbone: str = "",
    paper: str = "",
) -> dict[str, str]:
    """Returns what `of` does for a row of `presets.templates`."""
    filled = presets.fill(template, benchmark, backbone, paper)
    return _joined(_values(_tree(filled.text), _spanned(filled, f"row {row}")))


def written(sources: Mapping[str, str]) -> str:
    """Returns sources as one line: values of one source stand together."""
    groups: dict[str, list[str]] = {}
    for value, source in sources.items():
        groups.setdefault(source, []).append(value)
    return "; ".join(f"{', '.join(v)}: {source}" for source, v in groups.items())


def _tree(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


def _spanned(filled: presets.Filled, whose: str) -> _Source:
    """A value that was filled in has its own source, any other the template's."""

    def source(node: ast.AST, method: str) -> str:
        start = getattr(node, "col_offset", -1)
        inside = (why for a, b, why in filled.spans if a <= start < b)
        paper = references.short(method)
        return next(inside, f"{whose}, after {paper}" if paper else whose)

    return source


def _joined(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    sources: dict[str, list[str]] = {}
    for value, source in pairs:
        sources.setdefault(value, []).append(source)
    return {value: " or ".join(dict.fromkeys(s)) for value, s in sources.items()}


def _values(
    node: ast.expr,
    source: _Source,
    expanded: Callable[[str], Iterator[tuple[str, str]]] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yields ('method(parameter=value)', source) for each value of a detector."""
    if isinstance(node, ast.BinOp):
        parts = [node.right]
        while isinstance(node.left, ast.BinOp):  # a | b | c is (a | b) | c
            node = node.left
            parts.append(node.right)
        for part in (node.left, *reversed(parts)):
            yield from _values(part, source, expanded)
    elif isinstance(node, ast.Name) and node.id in presets.PRESETS and expanded:
        yield from expanded(node.id)
    elif isinstance(node, ast.Name):
        yield from _of_call(node.id, [], [], source)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        if name in factories.every():
            yield from _of_call(name, node.args, node.keywords, source)
            return
        for part in node.args:
            yield from _values(part, source, expanded)
        for keyword in node.keywords:
            if keyword.arg == "weights":
                text = f"{name}(weights={ast.unparse(keyword.value)})"
                yield text, source(keyword.value, name)
            elif isinstance(keyword.value, ast.Dict):  # bundle(**{...})
                for part in keyword.value.values:
                    yield from _values(part, source, expanded)
            else:
                yield from _values(keyword.value, source, expanded)


def _of_call(
    name: str, args: list[ast.expr], keywords: list[ast.keyword], source: _Source
) -> Iterator[tuple[str, str]]:
    factory = factories.every()[name]
    nodes = dict(zip(inspect.signature(factory).parameters, args, strict=False))
    nodes |= {word.arg: word.value for word in keywords if word.arg}
    given = {key: call_text.literal(node) for key, node in nodes.items()}
    # What is computed from the values stands in the component's own text only.
    whole = _tree(factory(**given).spec)
    used = whole.keywords if isinstance(whole, ast.Call) else []
    for keyword in used:
        text = f"{name}({keyword.arg}={ast.unparse(keyword.value)})"
        node = nodes.get(keyword.arg or "")
        yield text, DEFAULT if node is None else source(node, name)
