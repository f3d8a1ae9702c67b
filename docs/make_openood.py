"""Writes docs/results/openood.md: OpenOOD's leaderboard, and jood's numbers beside it.

    python docs/make_openood.py

Ours are read from docs/results/openood/<file> of the same name, in the form that
`jood evaluate` writes (leaderboard_ood.csv, leaderboard_fsood.csv); a dash stands
where there is none. The suite compares the page with what this prints.
"""

import csv
import pathlib

from jood.papers import openood_boards
from jood.papers.openood_boards import Board

PAGE = pathlib.Path(__file__).resolve().parent / "results" / "openood.md"
OURS = PAGE.with_suffix("")

_HEAD = """# OpenOOD v1.5: its leaderboard, and jood's numbers

```bash
jood evaluate --checkpoint=networks/s0,networks/s1,networks/s2 --benchmark=openood_cifar10 \\
    --data_dir=data --detectors=all --output=runs/openood
```

The command writes `leaderboard_ood.csv`, and on ImageNet `leaderboard_fsood.csv`, in the columns of OpenOOD's own files.
[from_openood.md](../from_openood.md) says how to get the networks and the data.

Cells: AUROC in %, the mean over the near or the far sets; over several networks mean ± standard deviation. *theirs* are
the rows of networks trained with cross-entropy alone in [OpenOOD's results]({source}), read on {read}.
*ours* is a dash where the checkpoints or the images were not at hand when jood was developed. *row* is jood's row of
the same method, with its own paper's values, not those that OpenOOD searches for on its validation set
(`--select_on=validation_ood`); a dash where jood has no such row.
"""  # noqa: E501  # lines of a page


def page() -> str:
    """Returns the whole page."""
    source, read = openood_boards.origin()
    parts = [_HEAD.format(source=source, read=read)]
    parts += [_section(board) for board in openood_boards.boards()]
    return "\n".join(parts)


def _section(board: Board) -> str:
    kind = ", full spectrum" if board.is_full else ""
    ours = _ours(board)
    lines = [
        f"## {board.benchmark}, {board.network}{kind}",
        "",
        f"ID accuracy: theirs {board.accuracy} %. Source: `{board.file}`, commit "
        f"`{board.commit[:12]}`.",
        "",
        "| method | row | near: theirs | ours | far: theirs | ours |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in board.rows:
        near, far = ours.get(row.text, ("–", "–"))
        text = row.text.replace("|", r"\|") or "–"
        cells = (row.name, text, row.near, near, row.far, far)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _ours(board: Board) -> dict[str, tuple[str, str]]:
    """Our near and far AUROC by row."""
    path = OURS / f"{board.network.replace('/', '_')}_{board.file}"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            row["Postprocessor"]: (row["Near-OOD_AUROC"], row["Far-OOD_AUROC"])
            for row in csv.DictReader(file)
        }


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
