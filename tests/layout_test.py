"""The rules of the house: floors, names and sizes of jood's modules."""

import ast
import collections
import pathlib

from helpers.jobs import ROOT

# From the bottom to the top; a module imports from its own floor and from below.
FLOORS = (
    "version", "_utils", "metrics", "core", "methods", "data", "models", "weights",
    "detector", "evaluation", "training", "report", "papers", "deploy", "testing",
    "extensions", "cli", "citation", "__main__",
)  # fmt: skip
# One method or objective a file: named after it, and imported through the folder.
ONE_A_FILE = ("methods.transforms", "methods.scores", "training.objectives")


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in (ROOT / "jood").rglob("*.py")}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def imports(name):
    """The modules of jood that one imports, at its top or inside functions."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "jood":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (name for name in names if name.split(".")[0] == "jood")


ARROWS = {name: set(imports(name)) - {name} for name in MODULES}


def floor(name):
    return FLOORS.index(name.split(".")[1])


def exported(tree):
    """The public functions and classes that a module defines."""
    kinds = ast.FunctionDef | ast.ClassDef
    names = [node.name for node in tree.body if isinstance(node, kinds)]
    return {name for name in names if not name.startswith("_")}


def test_every_import_goes_downwards():
    upward = [
        f"{name} imports {other}"
        for name, others in ARROWS.items()
        if name != "jood"
        for other in others
        if other == "jood" or floor(other) > floor(name)
    ]
    assert not upward, upward


def test_no_import_cycle():
    left = {name: set(others) for name, others in ARROWS.items()}
    while left:
        free = [name for name, others in left.items() if not others & left.keys()]
        assert free, f"among these modules imports run in a circle: {sorted(left)}"
        for name in free:
            del left[name]


def test_no_module_is_named_like_what_it_exports():
    clash = [
        name
        for name, tree in TREES.items()
        if name.rpartition(".")[2] in exported(tree)
        and not name.startswith(tuple(f"jood.{folder}." for folder in ONE_A_FILE))
    ]
    assert not clash, clash


def test_every_class_name_stands_once():
    classes = collections.Counter(
        name
        for module, tree in TREES.items()
        if not module.startswith("jood.models.")  # each family has its Block and Stage
        for name in exported(tree)
        if name[0].isupper()
    )
    twice = [name for name, count in classes.items() if count > 1]
    assert not twice, twice


def test_no_file_is_longer_than_300_lines():
    folders = ("jood", "launch")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    long = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in files}
    assert not {path: lines for path, lines in long.items() if lines > 300}


def test_the_package_is_the_houses_floors():
    found = {
        path.name.removesuffix(".py")
        for path in (ROOT / "jood").iterdir()
        if path.name not in ("__init__.py", "__pycache__", "py.typed")
    }
    assert found == set(FLOORS)


def test_tests_mirror_the_package():
    folders = {
        path.parent.relative_to(ROOT / "tests")
        for path in (ROOT / "tests").rglob("*_test.py")
    }
    own = {pathlib.Path(name) for name in (".", "docs", "fuzzing", "launch")}
    strangers = [
        folder for folder in folders - own if not (ROOT / "jood" / folder).is_dir()
    ]
    assert not strangers, strangers
