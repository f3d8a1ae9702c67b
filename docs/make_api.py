r"""Makes the API reference: a page per module of jood, from its docstrings.

    python docs/make_api.py build/api    # open build/api/index.html

It needs the extra `docs`. A warning of pdoc ends it, and nothing is written.
"""

import pathlib
import pkgutil
import sys
import warnings

import pdoc
from pdoc import render

import jood

_HARMLESS = (
    # Types that name themselves, which pdoc cannot look up.
    r"Error parsing type annotation .* Import of (ArrayTree|Component) failed",
    # Modules that pdoc also finds by itself.
    r"The module specification 'jood\..*' adds a module named",
)


def make(folder: pathlib.Path) -> int:
    """Writes the pages into a folder, over older ones; returns how many.

    Raises:
      UserWarning: a module cannot be imported, or a docstring or type not be read.
    """
    # By name: of a package with __all__, pdoc documents what is listed there only.
    modules = [found.name for found in pkgutil.walk_packages(jood.__path__, "jood.")]
    render.configure(docformat="google")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="pdoc")
        for message in _HARMLESS:
            warnings.filterwarnings("ignore", message)
        pdoc.pdoc("jood", *modules, output_directory=folder)
    return len(list(folder.rglob("*.html")))


def main(arguments: list[str]) -> None:
    """Reads the folder from the command line."""
    if len(arguments) != 1:
        sys.exit(f"expected one argument, the folder to write to, got {arguments}.")
    folder = pathlib.Path(arguments[0])
    print(f"{make(folder)} pages in {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
