"""Objectives of training, one file each; see `objective.py` for what one is.

A new one is a file here and a line below: `launch/train.py --objective` finds it
through `__all__`.
"""

import ast

from jood._utils import call_text
from jood._utils import unknown_name
from jood.training.objectives.cross_entropy import cross_entropy as cross_entropy
from jood.training.objectives.lff import lff as lff
from jood.training.objectives.objective import Objective as Objective
from jood.training.objectives.objective import Part as Part
from jood.training.objectives.ssod import ssod as ssod

__all__ = ("cross_entropy", "lff", "ssod")


def parse(text: str) -> Objective:
    """Returns the objective that a text describes.

    Args:
      text: a name, or a call with literal arguments: 'lff(delta=0.01, mu=2)'.

    Raises:
      ValueError: the text is no such call, the name is unknown, or arguments do not
        fit (the signature is given).

    Example:
      >>> parse('lff(mu=2)').spec
      'lff(delta=0.1, mu=2.0, lam=1.0)'
    """
    example = "'lff' or 'lff(delta=0.01, mu=2)'"
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(
            f"cannot read the objective {text!r}: {error.msg}. Expected {example}."
        ) from None
    name = node.func if isinstance(node, ast.Call) else node
    if not isinstance(name, ast.Name):
        raise ValueError(f"expected an objective such as {example}, got {text!r}.")
    if name.id not in __all__:
        raise unknown_name.unknown("objective", name.id, __all__)
    positional, named = call_text.literals(node)
    return call_text.build(name.id, globals()[name.id], positional, named)
