r"""Makes the notebooks: runs the texts beside this file and keeps what they draw.

    python colabs/build.py              # all
    python colabs/build.py quickstart   # one

NAME.md is what is written and reviewed; NAME.ipynb is made from it, with outputs.
"""

import base64
import io
import pathlib
import sys

import jupytext
import nbclient
import nbformat
from PIL import Image
from traitlets import config

FOLDER = pathlib.Path(__file__).resolve().parent
NAMES = tuple(sorted(p.stem for p in FOLDER.glob("*.md") if p.stem != "README"))
TIMEOUT_S = 900  # of a cell


def read(name: str) -> nbformat.NotebookNode:
    """Returns the notebook of a text, without outputs."""
    notebook = jupytext.read(FOLDER / f"{name}.md")
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    for index, cell in enumerate(notebook.cells):
        cell.id = f"{name}-{index}"  # the same at every build
        cell.metadata = {}
    return notebook


def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Runs a notebook; what it prints on stderr is not kept.

    Raises:
      nbclient.exceptions.CellExecutionError: a cell raised.
    """
    nbclient.NotebookClient(
        notebook,
        # Sockets in files: kernels that start at once could take each other's ports.
        config=config.Config(KernelManager={"transport": "ipc"}),
        timeout=TIMEOUT_S,
        record_timing=False,
        coalesce_streams=True,
    ).execute()
    del notebook.metadata["language_info"]  # versions of this machine's Python
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return notebook


def shrink(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Gives pictures 256 colours: a third of the bytes, and no eye sees it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = _smaller(data["image/png"])
    return notebook


def _smaller(picture: str) -> str:
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image = image.quantize(256, kmeans=3, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def main(names: list[str]) -> None:
    """Runs the named texts, or all, and writes their notebooks."""
    for name in names or NAMES:
        nbformat.write(shrink(run(read(name))), FOLDER / f"{name}.ipynb")
        print(FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    main(sys.argv[1:])
