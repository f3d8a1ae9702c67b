"""The selections that `--select` makes: TA's k and stage, λ, HIMPLoS's mask and clip.

Each grid is its paper's, and is chosen on Gaussian noise or on images made of ID images
(`synthetic_outliers`). ID validation images are held out from the training set; no test
set is read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jood._utils import progress
from jood.data.benchmarks.spec import Benchmark
from jood.data.pipeline import EvaluationBatches
from jood.data.sources.subset import Subset
from jood.data.sources.subset import hold_out
from jood.detector import Detector
from jood.evaluation import preflight
from jood.evaluation import selection
from jood.evaluation import synthetic_outliers
from jood.evaluation.choice import Selection

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
TA = "ta(k=k, stage=stage)|feature_sim()"
FUSED = "fuse(feature_sim(), energy(), weights=(1, lam))"
SOURCE = "--select: chosen by its validation images, or held fixed there"  # of values
HIMPLOS = "feature_mask(q=q)|react(q=clip)|prototype_smoothing()|energy()"


def run(
    network: Detector,
    benchmark: Benchmark,
    batch_size: int,
    outliers: Sequence[str] = (synthetic_outliers.NOISE,),
    seed: int = 0,
) -> dict[str, Selection]:
    """Makes every selection on a split of the ID training set; curves by `NAMES`.

    `network` is any detector with the network and its preprocessing; `outliers` are
    kinds of made images, and `seed` is that of what is random in them.
    """
    kept, held = split(benchmark, seed)

    def select(method: str, grid: Mapping[str, Any]) -> Selection:
        sets = [
            progress.Shown(
                EvaluationBatches(source, batch_size),
                batch_size,
                f"select {', '.join(grid)}, {what}",
                len(source),
            )
            for what, source in (("fit", kept), ("score held-out images", held))
        ]
        return selection.select(
            method, grid, network, *sets, outliers=outliers, seed=seed
        )

    ta = select(TA, {"k": K, "stage": stages(network, benchmark)})
    best = ta.best.values
    edit = f"ta(k={best['k']}, stage={best['stage']!r})"
    weighted = select(f"{edit}|{FUSED}", {"lam": LAMBDA})
    himplos = select(HIMPLOS, {"q": MASK, "clip": CLIP})
    return dict(zip(NAMES, (ta, weighted, himplos), strict=True))


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
