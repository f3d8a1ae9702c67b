"""Calls written as text: literal arguments, and errors that give the signature."""

import ast
from collections.abc import Callable, Mapping, Sequence
import inspect
import types
from typing import Any

import jax

_TRACED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
)


def literal(
    node: ast.expr, variables: Mapping[str, Any] = types.MappingProxyType({})
) -> Any:
    """Returns the value of a literal, tuple or variable, or raises ValueError."""
    if isinstance(node, ast.Name) and node.id in variables:
        return variables[node.id]
    if isinstance(node, ast.Tuple):
        return tuple(literal(part, variables) for part in node.elts)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        text = ast.unparse(node)
        raise ValueError(
            f"arguments must be literals (a number, a string, a tuple), got {text!r}."
        ) from None


def literals(node: ast.expr) -> tuple[list[Any], dict[str, Any]]:
    """Returns the positional and the named literals of a call; a name has none."""
    if not isinstance(node, ast.Call):
        return [], {}
    named = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError(f"** cannot be read in {ast.unparse(node)!r}.")
        named[keyword.arg] = literal(keyword.value)
    return [literal(argument) for argument in node.args], named


def bind(
    name: str,
    factory: Callable[..., Any],
    positional: Sequence[Any],
    named: Mapping[str, Any],
) -> None:
    """Raises ValueError, with the signature, if a factory does not take arguments."""
    try:
        inspect.signature(factory).bind(*positional, **named)
    except TypeError as error:
        raise ValueError(
            f"{error} in {name}(...). Its signature: {signature(name, factory)}"
        ) from None


def build(
    name: str,
    factory: Callable[..., Any],
    positional: Sequence[Any],
    named: Mapping[str, Any],
) -> Any:
    """Returns factory(*positional, **named); its ValueErrors give the signature."""
    bind(name, factory, positional, named)
    try:
        return factory(*positional, **named)
    except _TRACED:
        raise  # `jood.evaluation.vectorised` handles it
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error} Signature: {signature(name, factory)}") from None


def signature(name: str, factory: Callable[..., Any]) -> str:
    """Returns the text 'name(parameter=default, ...)'."""
    parameters = inspect.signature(factory).parameters.values()
    texts = (str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters)
    return f"{name}({', '.join(texts)})"
