"""The selections that `--select` makes: TA's k and stage, λ, HIMPLoS's mask and clip.

Each grid is its paper's, and is chosen on Gaussian noise. ID validation images are held
out from the training set; no test set is read.
"""

from collections.abc import Mapping
from typing import Any

from jood.data.benchmarks.spec import Benchmark
from jood.data.pipeline import EvaluationBatches
from jood.data.sources.subset import hold_out
from jood.detector import Detector
from jood.evaluation import preflight
from jood.evaluation import selection
from jood.evaluation.selection import Selection

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
SOURCE = "--select: chosen on Gaussian noise, or held fixed there"  # of their values
HIMPLOS = "feature_mask(q=q)|react(q=clip)|prototype_smoothing()|energy()"


def run(
    network: Detector, benchmark: Benchmark, batch_size: int, seed: int = 0
) -> dict[str, Selection]:
    """Makes every selection on a split of the ID training set; curves by `NAMES`.

    `network` is any detector with the network and its preprocessing; `seed` is that of
    the noise.
    """
    kept, held = hold_out(benchmark.id_train)
    sets = (EvaluationBatches(kept, batch_size), EvaluationBatches(held, batch_size))

    def select(method: str, grid: Mapping[str, Any]) -> Selection:
        return selection.select(method, grid, network, *sets, seed=seed)

    stages = tuple(preflight.stage_shapes(network, benchmark.image_size))[:-1]
    ta = select("ta(k=k, stage=stage)|feature_sim()", {"k": K, "stage": stages})
    best = ta.best.values
    edit = f"ta(k={best['k']}, stage={best['stage']!r})"
    fused = f"{edit}|fuse(feature_sim(), energy(), weights=(1, lam))"
    weighted = select(fused, {"lam": LAMBDA})
    himplos = select(HIMPLOS, {"q": MASK, "clip": CLIP})
    return dict(zip(NAMES, (ta, weighted, himplos), strict=True))
