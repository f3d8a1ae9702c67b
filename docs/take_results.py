"""Takes the table of a finished run into docs/results/data.

    jood evaluate --checkpoint=networks/densenet --benchmark=cifar10 \
        --data_dir=data --detectors=forward --output=runs/densenet
    python docs/take_results.py runs/densenet cifar10_densenet
    python docs/make_results.py

The first argument is the folder of the run's table.md, the second the name of the
JSON, as the pages' comments `<!-- table: NAME -->` give it.
"""

import json
import pathlib
import sys
from typing import Any

import make_results


def main(folder: str, name: str) -> None:
    """Writes NAME.json and prints what stands above the table, for the page."""
    text = pathlib.Path(folder, "table.md").read_text(encoding="utf-8")
    content = json.dumps(table(text), indent=2, ensure_ascii=False)
    path = make_results.DATA / f"{name}.json"
    path.write_text(f"{content}\n", encoding="utf-8")
    print(f"{text.partition('|')[0].strip()}\nwritten to {path}")


def table(text: str) -> dict[str, Any]:
    """Returns the first table of a Markdown text, whose columns have their best bold.

    Raises:
      ValueError: There is none.
    """
    lines = text.replace("**", "").splitlines()  # make_results marks the best itself
    lines = [line for line in lines if line.startswith("|")]
    if len(lines) < 3:
        raise ValueError(f"expected a table, got {text!r}.")
    columns, _, *rows = (
        [cell.strip() for cell in line[1:-1].split("|")] for line in lines
    )
    return {"columns": columns, "best": "column", "rows": rows}


if __name__ == "__main__":
    main(*sys.argv[1:])
