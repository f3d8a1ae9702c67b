"""Every method by name: jood's own and registered ones.

A method is a factory, a function that returns a `Component`. `component.row` beside it
says which row of a table is usually its own; without it the row has its name.
"""

from collections.abc import Callable, Mapping
import operator
import re

from jood.core.component import Component
from jood.methods import scores
from jood.methods import transforms

Factory = Callable[..., Component]

_REGISTERED: dict[str, Factory] = {}


def every() -> dict[str, Factory]:
    """Returns all factories by name."""
    folders = (transforms, scores)
    own = {name: getattr(folder, name) for folder in folders for name in folder.__all__}
    return {**own, **_REGISTERED}


def register(factory: Factory) -> None:
    """Makes a factory known to texts, flags and tables by its name.

    Args:
      factory: a function that can be called without arguments.

    Raises:
      ValueError: another method has that name.
    """
    name = factory.__name__
    origin = operator.attrgetter("__module__", "__qualname__")
    known = every().get(name, factory)
    if origin(known) != origin(factory):
        raise ValueError(
            f"there is a method {name!r} already, in {known.__module__}. Rename yours."
        )
    _REGISTERED[name] = factory  # anew where a notebook's cell is run again


def plugins(text: str) -> dict[str, str]:
    """Returns the modules of the registered methods that a text names, by method."""
    words = set(re.findall(r"\w+", text))
    return {n: f.__module__ for n, f in _REGISTERED.items() if n in words}


def rows(name: str, factory: Factory) -> Mapping[str, str]:
    """Returns the texts of a method's usual rows by title, templates of a preset.

    A transform without a row of its own is followed by Energy.
    """
    usual: Mapping[str, str] = getattr(factory, "rows", {})
    if usual:
        return usual
    scores_by_itself = factory().slot in ("score", "bundle")
    return {name: f"{name}()" if scores_by_itself else f"{name}()|energy()"}
