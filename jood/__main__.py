"""The command `jood`: jobs, recipes, and what to cite.

    jood                            lists the jobs
    jood evaluate --help            explains one
    jood evaluate --checkpoint=...  runs it
    jood recipes                    lists the flag files of the papers' training runs
    jood train --flagfile=recipe:lff_cifar10_resnet34 --workdir=runs/a
    jood cite himplos knn           prints BibTeX

A job is a file of launch/, which a wheel has as jood/launch/; in a clone `python
launch/evaluate.py` runs the same one. Flags are global, so that only the job that runs
may be imported, and it is imported as Python's main module: what it defines can be
pickled for other processes.
"""

import ast
from collections.abc import Sequence
import os
import pathlib
import re
import runpy
import signal
import sys
from typing import NoReturn

from jood._utils import broken_pipe
from jood._utils import unknown_name
from jood.version import VERSION

_PACKAGE = pathlib.Path(__file__).parent
_INSTALLED = _PACKAGE / "launch"
JOBS = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "launch"
RECIPES = JOBS / "recipes"
_RECIPE = re.compile(r"(?P<flag>(--?flagfile=)?)recipe:(?P<name>.*)")
_OTHERS = {
    "recipes": "Lists the flag files of the papers' training runs.",
    "cite": "Prints BibTeX of methods, presets, rows and training objectives.",
}


def main() -> None:
    """Runs the command; an unknown name ends it with a message, code 1."""
    # Until a job handles signals itself nothing is written, so an interrupt ends the
    # process at once, without a traceback from the middle of an import.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    command, *rest = sys.argv[1:] or ["--help"]
    if command in jobs():
        run(command, [with_recipe(one) for one in rest])
        return
    broken_pipe.end_quietly()
    if command in ("--help", "-h"):
        print(help_text())
    elif command == "--version":
        print(f"jood {VERSION}")
    elif command == "recipes":
        print(recipes_text())
    elif command == "cite":
        from jood import citation  # it imports all methods

        citation.main(rest)
    else:
        stop(unknown_name.unknown("command", command, [*jobs(), *_OTHERS]))


def _end(number: int, _: object) -> None:
    """Ends the process with a line, as the signal ends others."""
    os.write(sys.stderr.fileno(), b"interrupted\n")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def jobs() -> dict[str, str]:
    """Returns the first line of each job's docstring, without importing it."""
    trees = {path.stem: ast.parse(path.read_bytes()) for path in JOBS.glob("*.py")}
    return {
        name: (ast.get_docstring(tree) or "").partition("\n")[0]
        for name, tree in sorted(trees.items())
        if any(isinstance(node, ast.If) and _is_main(node.test) for node in tree.body)
    }


def _is_main(test: ast.expr) -> bool:
    """Whether a file is a job, which tests if it is the main module; others help."""
    return ast.unparse(test) == "__name__ == '__main__'"


def run(job: str, arguments: Sequence[str]) -> None:
    """Runs a job as `python launch/JOB.py` would."""
    path = str(JOBS / f"{job}.py")
    sys.argv = [path, *arguments]
    sys.path.insert(0, str(JOBS))  # so that jobs can import each other
    runpy.run_path(path, run_name="__main__")


def with_recipe(argument: str) -> str:
    """Returns `--flagfile=recipe:NAME` with the recipe's path, others as they are."""
    match = _RECIPE.fullmatch(argument)
    if match is None:
        return argument
    paths = {path.stem: path for path in sorted(RECIPES.glob("*.cfg"))}
    if match["name"] not in paths:
        stop(unknown_name.unknown("recipe", match["name"], paths))
    return f"{match['flag']}{paths[match['name']]}"


def stop(error: ValueError) -> NoReturn:
    """Ends the command with a message, code 1."""
    sys.exit(f"error: {error}")


def help_text() -> str:
    """Returns what `jood --help` prints."""
    described = {**jobs(), **_OTHERS}
    width = max(map(len, described))
    lines = [f"  {name:{width}}  {line}" for name, line in described.items()]
    head = "Out-of-distribution detection in JAX."
    use = "jood COMMAND [flags]; jood COMMAND --help explains the flags:"
    return "\n".join([head, "", use, "", *lines])


def recipes_text() -> str:
    """Returns the names of the recipes, each with its first line, and their folder."""
    paths = sorted(RECIPES.glob("*.cfg"))
    width = max(len(path.stem) for path in paths)
    lines = []
    for path in paths:
        with path.open(encoding="utf-8") as file:
            lines.append(f"{path.stem:{width}}  {file.readline()[2:].rstrip()}")
    use = f"jood train --flagfile=recipe:NAME --workdir=RUN; their files: {RECIPES}"
    return "\n".join([*lines, "", use])


if __name__ == "__main__":
    main()
