"""Writes docs/results/speed.md: measured speeds beside what they aim at.

    jood measure_knn --output=docs/results/data/speed_knn.json
    python docs/make_results.py

A measuring job's file docs/results/data/speed_NAME.json becomes a section of the page.
speed_aims.toml, beside this script, lists the rows of the table at the top: the work,
the aim, and the file, row and column of the number. A dash stands where there is no
such file. The suite compares the page with what this gives.
"""

from collections.abc import Mapping
import pathlib
import tomllib
from typing import Any

import speed_files

from jood._utils import measuring

ROOT = pathlib.Path(__file__).resolve().parent
AIMS = ROOT / "speed_aims.toml"
PAGE = ROOT / "results" / "speed.md"

_HEAD = """# Speed

```bash
jood measure_knn --output=docs/results/data/speed_knn.json
python docs/make_results.py
```

The first command measures and writes its numbers, the second writes this page. Programs that are compared take turns in one
process, so that what slows one slows all, and medians are shown: trust the ratios more than the times. A dash stands where
nothing was measured, and *before* says what an earlier version reached. [What follows for a million images and for many
devices](../scaling.md) is computed from the same numbers.

**Where XLA is the limit.** `jood measure_products` times every convolution and matrix product of a network as a program of XLA by
itself. Of ResNet-20 and ResNet-56, which miss their aim, these alone take seven eighths of the time or more: if all else were free,
both would still miss it. It takes faster convolutions of few channels than XLA's. KNN's search takes as long as XLA's bare product.
Nearly half of the quickstart is its training. [ONNX Runtime](../deployment.md) was measured, too.

**Measurements differ.** Machines of this kind differ in how fast they run one library or the other: ViT-B/16 came to 0.96 times the
speed of `torch.compile` in one measurement and to the table's ratio in another, ResNet-20 to the same 0.62 in both.

**Fewer products.** In a batch that is cut into chunks, a 3x3 convolution of 64 channels or more takes 16 products for each tile of
2x2 outputs in place of 36 (Winograd's), in any Linen network that has it as `nn.Conv`. So WideResNet-28-10 is faster than plain
convolutions at the processor's peak. Narrow networks, as ResNet-20, and maps with an odd side, as the last of ResNet-50, stay as
they were. Logits agree with PyTorch's as before (the last column below). Detectors take as long as before, so their share of
ResNet-50's shorter time is larger.

**Where the time of an evaluation goes.** On DenseNet-100 all forward detectors take 1.5 times as long as the runs of the network
that they need, if both are compiled with the same options (*cost densenet100 cifar* below), so a whole `jood evaluate` cannot come
to 1.15 times those runs. The rest is imports, compilation, tables and pictures, which do not grow with the images.
"""  # noqa: E501  # lines of a page


def page() -> str:
    """Returns the whole page."""
    files = speed_files.read()
    rows = [
        {
            "work": aim["work"],
            "before": aim.get("before", "–"),
            "measured": _measured(aim, files),
            "aim": aim["aim"],
            "machine": _machine(files.get(aim["file"])),
        }
        for aim in aims()
    ]
    parts = [_HEAD, measuring.table(rows, "github"), ""]
    parts += [_section(name, content) for name, content in files.items()]
    return "\n".join(parts)


def aims() -> list[dict[str, Any]]:
    """Returns what speed_aims.toml lists."""
    return tomllib.loads(AIMS.read_text(encoding="utf-8"))["aim"]


def _measured(aim: Mapping[str, Any], files: speed_files.Files) -> str:
    """The number that an aim names, with its unit; a dash without its file."""
    number = speed_files.number(files, aim["file"], aim["where"], aim["column"])
    return "–" if number is None else f"{measuring.cell(number)}{aim['unit']}"


def _machine(content: Mapping[str, Any] | None) -> str:
    return "–" if content is None else measuring.described(content["machine"])


def _section(name: str, content: Mapping[str, Any]) -> str:
    title = name.removeprefix("speed_").replace("_", " ")
    caption = f"{content['what']}. {_machine(content)}, {content['date']}."
    command = f"```bash\n{content['command']}\n```"
    table = measuring.table(content["rows"], "github")
    return "\n\n".join([f"## Measured: {title}", caption, command, f"{table}\n"])
