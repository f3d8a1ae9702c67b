"""Writes docs/scaling.md: what measured numbers mean for more images and devices.

    python docs/make_scaling.py

The numbers come from docs/results/data/speed_scoring.json, speed_traffic.json and
speed_knn.json, which measuring jobs write, and from scaling_assumptions.toml beside
this script, which has earlier measurements for those files that are not there. The
suite compares the page with what this gives.
"""

from collections.abc import Iterator, Mapping
import itertools
import pathlib
import tomllib
from typing import Any

import speed_files
from speed_files import Files

from jood._utils import measuring

ROOT = pathlib.Path(__file__).resolve().parent
PAGE = ROOT / "scaling.md"

_HEAD = """# Scaling

```bash
python docs/make_scaling.py
```

writes this page from [measured numbers](results/speed.md) and from `docs/scaling_assumptions.toml`. Measured are two CPU cores
and a training step on one H200; no cluster was at hand, so that rows of more devices are computed, not measured. Put your own
measurements and prices in and run the command again.
"""  # noqa: E501  # lines of a page


def page() -> str:
    """Returns the whole page."""
    given = tomllib.loads((ROOT / "scaling_assumptions.toml").read_text("utf-8"))
    files = speed_files.read()
    sections = [section(given, files) for section in (_scoring, _training, _neighbours)]
    return "\n".join([_HEAD, *itertools.chain(*sections)])


def scoring_hours(images: float, core_seconds: float, cores: int) -> float:
    """Hours to score images on cores that share nothing: N s / n / 3600."""
    return images * core_seconds / cores / 3600


def step_seconds(alone: float, gradient: float, link: float, devices: int) -> float:
    """Seconds of a data-parallel step whose all-reduce hides behind nothing.

    t(n) = t(1) + 2 (n - 1) / n · G / W, with G bytes of gradient in a ring of links W.
    """
    return alone + 2 * (devices - 1) / devices * gradient / link


def _number(
    files: Files, name: str, where: Mapping[str, Any], column: str, earlier: float
) -> float:
    """The number of a measuring job's file, `earlier` without the file."""
    number = speed_files.number(files, f"speed_{name}", where, column)
    return earlier if number is None else number


def _source(files: Files, name: str, earlier: str) -> str:
    """Says where the numbers stand: in a section of the speeds, or in `earlier`."""
    if f"speed_{name}" not in files:
        return f"Measured numbers: {earlier}."
    return f"Measured numbers: [speed](results/speed.md#measured-{name})."


def _scoring(given: Mapping[str, Any], files: Files) -> Iterator[str]:
    earlier, column = given["scoring"], "core-ms per image"
    one, decode = (
        _number(files, "scoring", {"what": what}, column, earlier[name]) / 1000
        for what, name in (("decode and score", "both"), ("decode", "decode"))
    )
    rows = []
    for images in given["images"]:
        core_hours = scoring_hours(images, one, 1)
        for machines in given["devices"]:
            rows.append(
                {
                    "images": images,
                    "machines of two cores": machines,
                    "hours": scoring_hours(images, one, 2 * machines),
                    "core hours": core_hours,
                    "$": core_hours * given["price_per_core_hour"],
                    "GB read": images * given["bytes_per_image"] / 1e9,
                    "GB of scores": images * 4 / 1e9,
                }
            )
    yield "## Scoring\n"
    yield (
        f"{_source(files, 'scoring', '[deployment](deployment.md)')} "
        f"An image takes s = {1000 * one:.0f} ms of a core, of which "
        f"decoding is {1000 * decode:.1f} ms. Shards share nothing "
        "([deployment](deployment.md)), so N images take N s / n on n cores: hours "
        "fall with the machines, money does not. Files of "
        f"{given['bytes_per_image'] / 1000:.0f} kB and "
        f"{given['price_per_core_hour']} $ for a core and hour are assumed; a score is "
        "a float32.\n"
    )
    yield measuring.table(rows, "github")
    yield (
        f"\nA core decodes {1 / decode:.0f} images/s, so a GPU that scores R images/s "
        f"needs R / {1 / decode:.0f} cores beside it. R was not measured here.\n"
    )


def _training(given: Mapping[str, Any], files: Files) -> Iterator[str]:
    known = given["training"]
    batch, alone = known["batch"], known["step"]
    where = {"objective": "cross_entropy"}
    gradient = 1e6 * _number(
        files, "traffic", where, "all-reduce MB", known["gradient"]
    )
    rows = []
    for devices in given["devices"]:
        step = step_seconds(alone, gradient, given["link"], devices)
        speed = devices * batch / step
        row = {
            "devices": devices,
            "step ms": 1000 * step,
            "images/s": speed,
            "efficiency": alone / step,
            "MB sent by a device": 2 * (devices - 1) / devices * gradient / 1e6,
        }
        for images in given["images"]:
            hours = images / speed / 3600
            row[f"hours, {images:.0e} images"] = hours
            row[f"$, {images:.0e} images"] = (
                hours * devices * given["price_per_gpu_hour"]
            )
        rows.append(row)
    yield "## Training\n"
    yield (
        f"{_source(files, 'traffic', '[training](training.md)')} "
        f"The compiled step all-reduces G = {gradient / 1e6:.1f} MB, "
        "whatever the batch. One H200 takes t(1) = "
        f"{1000 * alone:.1f} ms for a step of ResNet-34 on {batch} images of 32 px in "
        "bfloat16 ([training](training.md)). With the same batch on each of n devices "
        "in a ring of links of W = "
        f"{given['link'] / 1e9:.0f} GB/s,\n"
    )
    yield "$$t(n) = t(1) + 2\\,\\frac{n - 1}{n}\\,\\frac{G}{W},$$\n"
    yield (
        "which is an upper bound: no transfer is taken to overlap with the backward "
        f"pass. {given['price_per_gpu_hour']:.0f} $ for a device and hour are assumed. "
        "Images count each time that they are seen.\n"
    )
    yield measuring.table(rows, "github") + "\n"


def _neighbours(given: Mapping[str, Any], files: Files) -> Iterator[str]:
    ms = _number(files, "knn", {"search": "jood"}, "ms", given["knn"]["ms"])
    bank, width, queries = 50_000, 512, 1000
    rows = [
        {
            "rows": count,
            "GB": count * width * 4 / 1e9,
            "ms per query": ms / queries * count / bank,
        }
        for count in (bank, *given["images"])
    ]
    yield "## KNN's bank\n"
    yield (
        f"{_source(files, 'knn', '`docs/scaling_assumptions.toml`')} "
        f"The search is a product of {width} columns with every row, so memory "
        "(4 bytes an entry) and time grow with the rows. This is why `knn` "
        "keeps at most `capacity` rows, and adapts k to the share that it keeps.\n"
    )
    yield measuring.table(rows, "github") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
