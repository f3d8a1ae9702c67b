"""The notebooks run as committed, and are those that their texts make."""

import importlib.util
import os
import pathlib

from helpers import torch_oracle
import nbformat
import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "colabs"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
# They train for minutes; launch/finetune.py and the figures have tests of their own.
LONG = {"finetune", "feature_maps"}
TORCH = {"your_network"}
RUN = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name in LONG and "JOOD_ALL_NOTEBOOKS" not in os.environ,
            reason="takes minutes: set JOOD_ALL_NOTEBOOKS=1",
        ),
    )
    for name in NOTEBOOKS
]
LARGEST = 400_000  # bytes: pictures are small, and every build adds to the history


def builder():
    found = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


BUILD = builder()


def committed(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def shown(cell):
    """What a cell displays, by kind: pictures, tables, values."""
    return [sorted(o.data) for o in cell.get("outputs", ()) if "data" in o]


def test_every_text_has_a_notebook_and_a_line_in_the_readme():
    assert list(BUILD.NAMES) == NOTEBOOKS
    readme = (FOLDER / "README.md").read_text()
    for name in NOTEBOOKS:
        assert f"({name}.ipynb)" in readme


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_made_from_its_text_and_was_run_to_the_end(name):
    notebook = committed(name)
    nbformat.validate(notebook)
    text = BUILD.read(name)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in text.cells
    ], f"run python colabs/build.py {name}"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_a_notebook_runs_and_shows_what_it_showed(name, tmp_path, monkeypatch):
    if name in TORCH:
        torch_oracle.torch_or_skip()
    for folder in ("here", "temporary"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.delenv("XLA_FLAGS")  # as a reader runs it, but for
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # values are not compared
    fresh = BUILD.run(committed(name))
    for old, new in zip(committed(name).cells, fresh.cells, strict=True):
        assert shown(new) == shown(old), new.source
    assert not list((tmp_path / "here").iterdir()), "a notebook leaves files behind"
