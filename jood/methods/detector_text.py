"""A detector as text, and back: `parse('ta(k=0.2)|feature_sim()')`.

The grammar is a small part of Python's: calls with literal arguments, `|` for
`chain`, and the names of presets. The text is read with `ast` and never evaluated,
so it is safe to take from a flag or a file. `component.spec` is the inverse.

    ta(k=0.2) | feature_sim()
    fuse(ta(k=0.2)|feature_sim(), ta(k=0.2)|energy(), weights=(1, 0.016))
    bundle(baseline=msp(), ours=fs_ta_energy)
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from jood._utils import call_text
from jood._utils import unknown_name
from jood.core import compose
from jood.core import p_values
from jood.core.component import Component
from jood.methods import presets
from jood.methods.factories import every as factories

MAX_LENGTH = 20_000  # characters; a bundle of fifty fused detectors is about 5,000
MAX_DEPTH = 200  # of nested calls, operators and parentheses

_COMBINATORS: dict[str, Callable[..., Component]] = {
    "bundle": compose.bundle,
    "chain": compose.chain,
    "combine": p_values.combine,
    "fuse": compose.fuse,
}
# Arguments of these that are not detectors.
_LITERALS = {"fuse": ("weights",), "combine": ("rule", "capacity")}


class _Context(NamedTuple):
    """The meaning of names in a text: whose presets' values, and free variables."""

    benchmark: str
    backbone: str
    variables: Mapping[str, Any]
    paper: str


def parse(
    text: str,
    benchmark: str = presets.DEFAULT,
    backbone: str = "",
    variables: Mapping[str, Any] | None = None,
    paper: str = "",
) -> Component:
    """Returns the component that a text describes.

    Args:
      text: see the module's docstring. A name without parentheses is a preset, or
        a factory called without arguments.
      benchmark: benchmark whose values a preset takes.
      backbone: the network whose values a preset takes, such as 'resnet18_cifar'.
      variables: values of free names in arguments: 'ta(k=k)' with {'k': 0.2}. They
        may be traced.
      paper: paper whose table a preset is for, one of `paper_values.PAPERS`:
        'feature_sim' takes KNN's k = 1000 everywhere. '' takes each method's own paper.

    Raises:
      ValueError: the text is no such expression, a name is unknown (the nearest
        ones are listed), or arguments do not fit (the signature is given).

    Example:
      >>> component = parse('react(q=0.9) | energy()')
      >>> component.spec
      'react(q=0.9)|energy(T=1.0)'
    """
    tree = _tree(text)
    try:
        return _component(tree, _Context(benchmark, backbone, variables or {}, paper))
    except (RecursionError, MemoryError):
        raise _too_deep(text) from None


def parse_each(
    texts: Mapping[str, str], benchmark: str = presets.DEFAULT, backbone: str = ""
) -> dict[str, Component]:
    """Returns the components of texts by name; see `parse`."""
    return {name: parse(text, benchmark, backbone) for name, text in texts.items()}


def free_names(text: str) -> set[str]:
    """Returns the names in a text that are neither a method's nor a preset's.

    Example:
      >>> free_names('ta(k=k)|energy()')
      {'k'}
    """
    names = {node.id for node in ast.walk(_tree(text)) if isinstance(node, ast.Name)}
    return names - {*_COMBINATORS, *factories(), *presets.PRESETS}


def called(text: str) -> list[str]:
    """Returns the names that a full text calls (methods and combinators), in order.

    Example:
      >>> called('ta(k=0.2)|fuse(msp(), energy(), weights=(1, 2))')
      ['ta', 'fuse', 'msp', 'energy']
    """
    calls = [node for node in ast.walk(_tree(text)) if isinstance(node, ast.Call)]
    names = [node.func for node in calls if isinstance(node.func, ast.Name)]
    names.sort(key=lambda name: (name.lineno, name.col_offset))
    return list(dict.fromkeys(name.id for name in names))


def not_known(text: str) -> list[str]:
    """Returns the names that a full text calls and that no method here has.

    A text that cannot be read, of a component made by hand, is such a name itself.
    """
    known = {*_COMBINATORS, *factories()}
    try:
        return [name for name in called(text) if name not in known]
    except ValueError:
        return [text]


def _tree(text: str) -> ast.expr:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"expected the text of a detector, got {text!r}.")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a spec has at most {MAX_LENGTH} characters.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(
            f"cannot read {text!r}: {error.msg} at character {error.offset}. "
            "Expected e.g. 'react(q=0.9)|energy()'."
        ) from None
    except (RecursionError, MemoryError):
        raise _too_deep(text) from None
    level: list[ast.AST] = [tree]
    depth = 0  # what Python itself refuses differs with its version
    while level:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
    if depth > MAX_DEPTH:
        raise _too_deep(text)
    return tree


def _too_deep(text: str) -> ValueError:
    return ValueError(
        f"cannot read a spec that is nested this deeply: {text[:40]!r}.... Write it "
        "with fewer parentheses, or compose it in Python (jood.chain, jood.fuse)."
    )


def _component(node: ast.expr, context: _Context) -> Component:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return compose.chain(*(_component(n, context) for n in _piped(node)))
    if isinstance(node, ast.Name):
        if node.id in presets.PRESETS:
            return parse(_preset(node.id, context), *context)
        return _call(node.id, [], [], context)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in presets.PRESETS:
            raise ValueError(
                f"{node.func.id} is a preset and takes no arguments; write it without "
                f"parentheses, or its text {_preset(node.func.id, context)!r}."
            )
        return _call(node.func.id, node.args, node.keywords, context)
    text = ast.unparse(node)
    if isinstance(node, ast.Tuple):  # as jood.compare and --detectors take them
        raise ValueError(
            f"expected one detector, got several: {text}. bundle(a=msp(), b=energy()) "
            "asks them in one pass; jood.compare takes them separated by commas."
        )
    raise ValueError(f"expected a detector such as 'react()|energy()', got {text!r}.")


def _piped(node: ast.expr) -> list[ast.expr]:
    """A | b | c parses as (a | b) | c; returns [a, b, c] without recursion."""
    parts: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        parts.append(node.right)
        node = node.left
    return [node, *reversed(parts)]


def _call(
    name: str, args: list[ast.expr], keywords: list[ast.keyword], context: _Context
) -> Component:
    combines = name in _COMBINATORS
    known = {**_COMBINATORS, **factories()}
    if name not in known:
        names = sorted([*known, *presets.PRESETS])
        near = " or ".join(unknown_name.nearest(name, names, most=4, cutoff=0.5))
        hint = f"Did you mean {near}? " if near else ""
        raise ValueError(f"unknown method {name!r}. {hint}Known: {', '.join(names)}.")

    def value(node: ast.expr, key: str | None) -> Any:
        if combines and key not in _LITERALS.get(name, ()):
            return _component(node, context)
        return call_text.literal(node, context.variables)

    positional = [value(node, None) for node in args]
    named: dict[str, Any] = {}
    for keyword in keywords:
        for key, node in _named(name, keyword):
            if key in named:
                raise ValueError(f"{name}(...) names {key!r} twice.")
            named[key] = value(node, key)
    if not combines:
        return call_text.build(name, known[name], positional, named)
    call_text.bind(name, known[name], positional, named)
    return known[name](*positional, **named)


def _named(name: str, keyword: ast.keyword) -> Iterator[tuple[str, ast.expr]]:
    """Yields the arguments of key=value, or of ** with a dict in a bundle."""
    if keyword.arg is not None:
        yield keyword.arg, keyword.value
    elif name == "bundle" and isinstance(keyword.value, ast.Dict):
        for key, node in zip(keyword.value.keys, keyword.value.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                raise ValueError("names in bundle(**{...}) must be strings.")
            yield key.value, node
    else:
        raise ValueError(f"** is read only in bundle(**{{...}}), not in {name}().")


def _preset(name: str, context: _Context) -> str:
    return presets.preset(name, context.benchmark, context.backbone, context.paper)
