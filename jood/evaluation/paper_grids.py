"""The selections that `--select` makes: TA's k and stage, λ, HIMPLoS's mask and clip.

Each grid is its paper's, and is chosen on Gaussian noise or on images made from ID
images (`synthetic_outliers`). ID validation images are held out from the training set;
no test set is read. `run_on_ood` is OpenOOD's protocol: on a benchmark's validation
sets, of which one is OOD.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jood._utils import progress
from jood.data import benchmarks
from jood.data.benchmarks.spec import Benchmark
from jood.data.pipeline import EvaluationBatches
from jood.data.sources import Source
from jood.data.sources.subset import Subset
from jood.data.sources.subset import hold_out
from jood.detector import Detector
from jood.evaluation import preflight
from jood.evaluation import selection
from jood.evaluation import synthetic_outliers
from jood.evaluation.choice import Selection
from jood.methods import detector_list
from jood.methods.detector_list import Row

# Feature Sim, Fig. 5 and Table 3: k around the 0.2 of the paper, each stage before
# the last.
K = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
# Feature Sim, Fig. 4: three orders of magnitude.
LAMBDA = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# HIMPLoS, Sec. V-F; the clip as a quantile, which fits any network.
MASK = tuple(q / 10 for q in range(1, 10))
CLIP = (0.7, 0.8, 0.85, 0.9, 0.95, 0.99)

# The rows of the table that the best candidates become.
NAMES = ("FS+TA (selected)", "Energy+TA+FS (selected)", "HIMPLoS (selected)")
OOD_NAMES = tuple(name.replace("(selected)", "(selected on OOD)") for name in NAMES)
OOD = "validation_ood"  # of --select_on: the benchmark's validation OOD set
TA = "ta(k=k, stage=stage)|feature_sim()"
FUSED = "fuse(feature_sim(), energy(), weights=(1, lam))"
SOURCE = "--select: chosen by its validation images, or held fixed there"  # of values
HIMPLOS = "feature_mask(q=q)|react(q=clip)|prototype_smoothing()|energy()"


Select = Callable[[str, Mapping[str, Any]], Selection]  # (method, grid) -> curve


# What --select_on takes, and what each kind is.
MEANINGS = {
    **synthetic_outliers.MEANINGS,
    OOD: "the benchmark's validation OOD set, as OpenOOD does, in rows of their own",
}


def names(kinds: Sequence[str]) -> tuple[str, ...]:
    """Returns the rows that `--select_on=kinds` adds."""
    synthetic = NAMES if {*kinds} - {OOD} else ()
    return (*synthetic, *(OOD_NAMES if OOD in kinds else ()))


def rows(curves: Mapping[str, Selection]) -> dict[str, Row]:
    """Returns the rows that the best candidates of curves become, by their names."""
    chosen = {name: curve.best.spec for name, curve in curves.items()}
    return {
        name: row._replace(sources=dict.fromkeys(row.sources, SOURCE))
        for name, row in detector_list.read_each(chosen).items()
    }


def run_on(
    kinds: Sequence[str],
    network: Detector,
    benchmark: Benchmark,
    batch_size: int,
    seed: int = 0,
    **reading: Any,
) -> dict[str, Selection]:
    """Makes every selection on each of `kinds`, keys of `MEANINGS`; curves by `names`.

    The further arguments are those of `run`; `reading` are options of
    `benchmarks.get_validation`, such as `data_dir`.
    """
    given = network, benchmark, batch_size
    curves: dict[str, Selection] = {}
    if synthetic := [kind for kind in kinds if kind != OOD]:
        curves |= run(*given, synthetic, seed)
    if OOD in kinds:
        shown = {"preprocessing": benchmark.preprocessing, **reading}
        validation = benchmarks.get_validation(benchmark.name, **shown)
        curves |= run_on_ood(*given, validation)
    return curves


def run(
    network: Detector,
    benchmark: Benchmark,
    batch_size: int,
    outliers: Sequence[str] = (synthetic_outliers.NOISE,),
    seed: int = 0,
) -> dict[str, Selection]:
    """Makes every selection on a split of the ID training set; curves by `NAMES`.

    `network` is any detector with the network and its preprocessing; `outliers` are
    kinds of synthetic images, and `seed` is that of what is random in them.
    """
    kept, held = split(benchmark, seed)

    def select(method: str, grid: Mapping[str, Any]) -> Selection:
        sources = {"fit": kept, "score held-out images": held}
        sets = _batches(sources, grid, batch_size).values()
        return selection.select(
            method, grid, network, *sets, outliers=outliers, seed=seed
        )

    return dict(zip(NAMES, _curves(select, network, benchmark), strict=True))


def run_on_ood(
    network: Detector,
    benchmark: Benchmark,
    batch_size: int,
    validation: tuple[Source, Source],
) -> dict[str, Selection]:
    """Makes every selection on ID and OOD validation images; curves by `OOD_NAMES`.

    `validation` are those that `jood.data.benchmarks.get_validation` returns.
    """
    name = f"the validation OOD set of {benchmark.name}"

    def select(method: str, grid: Mapping[str, Any]) -> Selection:
        sources = dict(zip(("score ID", "score OOD"), validation, strict=True))
        sets = _batches({"fit": benchmark.id_train, **sources}, grid, batch_size)
        train, inside, outside = sets.values()
        return selection.select_against(
            method, grid, network, train, inside, {name: outside}
        )

    return dict(zip(OOD_NAMES, _curves(select, network, benchmark), strict=True))


def _batches(
    sets: Mapping[str, Source], grid: Mapping[str, Any], batch_size: int
) -> dict[str, progress.Shown]:
    return {
        what: progress.Shown(
            EvaluationBatches(source, batch_size),
            batch_size,
            f"select {', '.join(grid)}, {what}",
            len(source),
        )
        for what, source in sets.items()
    }


def _curves(
    select: Select, network: Detector, benchmark: Benchmark
) -> tuple[Selection, Selection, Selection]:
    """The three curves: FS + TA, Energy + TA + FS with its edit, HIMPLoS."""
    ta = select(TA, {"k": K, "stage": stages(network, benchmark)})
    best = ta.best.values
    edit = f"ta(k={best['k']}, stage={best['stage']!r})"
    weighted = select(f"{edit}|{FUSED}", {"lam": LAMBDA})
    return ta, weighted, select(HIMPLOS, {"q": MASK, "clip": CLIP})


def split(benchmark: Benchmark, seed: int = 0) -> tuple[Subset, Subset]:
    """Returns ID training images to fit on, and others to validate on, in any order.

    Folders are sorted by class; neighbours that are mixed should be of any two.
    """
    kept, held = hold_out(benchmark.id_train)
    order = np.random.default_rng(seed).permutation(len(held))
    return kept, Subset(held.source, held.indices[order])


def stages(network: Detector, benchmark: Benchmark) -> tuple[str, ...]:
    """Returns the stages that TA can edit: each before the last."""
    return tuple(preflight.stage_shapes(network, benchmark.image_size))[:-1]
