"""What a user adds from outside: texts, flags and tables know it as jood's own.

    @jood.register
    def smallest_logit():
        read = lambda acts: acts.logits.min(-1)
        return jood.component.score("smallest_logit()", read)

    jood.parse("react(q=0.9)|smallest_logit()")

or in a module named on the command line: `--plugins=my_detectors`, `--plugins=mine.py`.
Nothing in jood has to be edited; CONTRIBUTING.md has a paragraph for each kind.
"""

import argparse
from collections.abc import Callable, Sequence
import importlib
import importlib.util
import pathlib
import sys
from typing import Any, TypeVar

T = TypeVar("T")

# By the type of what is registered: the module whose `register` takes it. Imported
# when it is needed, since `import jood` loads neither training nor reports.
_REGISTRIES = {
    "jood.core.component.Component": "jood.methods.factories",
    "jood.training.objectives.objective.Objective": "jood.training.objectives",
    "jood.data.benchmarks.spec.BenchmarkSpec": "jood.data.benchmarks",
    "jood.data.sources.source_kind.SourceKind": "jood.data.sources.kinds",
    "jood.models.family.Family": "jood.weights",
    "jood.metrics.Column": "jood.metrics",
    "jood.report.pictures.Picture": "jood.report.benchmark.pictures",
}


def register(thing: T) -> T:
    """Makes a thing known by its name; also used as a decorator of a function.

    Args:
      thing: a function that returns a `Component` (a method) or an `Objective` and can
        be called without arguments; or a record: `BenchmarkSpec`, `SourceKind`,
        `Family` (of models), `Column` (of tables) or `Picture` (of reports).

    Returns:
      The thing itself.

    Raises:
      TypeError: it is none of these.
      ValueError: its name is taken.
    """
    product = (
        _product_of(thing)
        if callable(thing) and not isinstance(thing, tuple)
        else thing
    )
    kind = f"{type(product).__module__}.{type(product).__qualname__}"
    if kind not in _REGISTRIES:
        known = ", ".join(name.rpartition(".")[2] for name in _REGISTRIES)
        raise TypeError(f"cannot register a {kind}; expected one of {known}.")
    importlib.import_module(_REGISTRIES[kind]).register(thing)
    return thing


def _product_of(factory: Callable[[], Any]) -> Any:
    try:
        return factory()
    except TypeError as error:
        name = getattr(factory, "__name__", factory)
        raise TypeError(
            f"{name} must be a function that can be called without arguments; {error}."
        ) from None


def load(names: Sequence[str], folder: str = "") -> None:
    """Imports modules that register things.

    Args:
      names: modules as `import` names them, also of `folder`; or paths of `.py` files.
      folder: folder that paths are relative to; '' is the working directory.

    Raises:
      ValueError: there is no such module or file.
    """
    for name in names:
        if name.endswith(".py"):
            _load_file(pathlib.Path(folder, name))
            continue
        if folder not in sys.path:  # it holds the job's own folder, not the user's
            sys.path.append(folder)
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            raise ValueError(
                f"there is no module {name!r}; name one that Python can import here, "
                "or the path of a .py file."
            )
        importlib.import_module(name)


def _load_file(path: pathlib.Path) -> None:
    if not path.is_file():
        raise ValueError(f"there is no file {path}.")
    name = path.stem
    if name in sys.modules:
        loaded = getattr(sys.modules[name], "__file__", None)
        if loaded and pathlib.Path(loaded).resolve() == path.resolve():
            return
        raise ValueError(
            f"{path} has the name of the loaded module {name!r}; rename it."
        )
    # A file always has a spec with a loader; its type allows for none.
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[name] = module  # pickles of what it defines name the module
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    except BaseException:
        del sys.modules[name]
        raise


def load_named(arguments: Sequence[str]) -> None:
    """Loads what --plugins names among a job's arguments, before they are parsed.

    Other flags may be names that a plug-in registers, and are checked when they are
    parsed.

    Raises:
      ValueError, OSError: see `load`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--plugins", "-plugins", default="")
    names = parser.parse_known_args(list(arguments))[0].plugins
    if names:
        load(names.split(","))
