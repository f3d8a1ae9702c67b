r"""Measures how well synthetic images choose hyper-parameters (--select_on).

    jood measure_selection --checkpoint=networks/resnet56 \
        --benchmark=cifar10 --data_dir=data --output=runs/selection_resnet56

Every candidate of --select's grids is fitted on ID training images and scores images
held out from them, the images made of each kind, and a part of every test set. The
table says, for each kind: Spearman's rank correlation, over the candidates, of the
AUROC against synthetic images (and of the separation) with the mean AUROC on the test
sets; and how many points of that mean the chosen candidate loses to the best one.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import json
from typing import Any

from absl import flags
import numpy as np
from scipy import stats
import tabulate

from jood import cli
from jood import metrics
from jood._utils import atomic_files
from jood.core.fitting import Restartable
from jood.data import benchmarks
from jood.data.pipeline import EvaluationBatches
from jood.data.sources import Source
from jood.data.sources.subset import Subset
from jood.detector import Detector
from jood.evaluation import benchmark_run
from jood.evaluation import choice
from jood.evaluation import paper_grids
from jood.evaluation import preflight
from jood.evaluation import selection
from jood.evaluation import synthetic_outliers
from jood.methods import detector_text
from jood.methods import preset_values
from jood.weights import checkpoint

_CHECKPOINT = cli.define_checkpoint(required=True)
_WHICH = cli.define_which()
_BENCHMARK = cli.define_benchmark()
_DATA_DIR = cli.define_data_dir()
_OOD = cli.define_ood()
_OUTPUT = cli.define_output()
_IMAGES = flags.DEFINE_integer(
    "images",
    1000,
    "Images of each set, at even distances, also of each kind that is made; four times "
    "as many are fitted on.",
    lower_bound=10,
)
_BATCH_SIZE = cli.define_batch_size(help="Images per step.")
_SEED = cli.define_seed(help="Seed of the synthetic images.")


_THREE = ("blur", "jigsaw", "mixed")  # what --select advises


@dataclasses.dataclass(frozen=True)
class Measured:
    """One grid: its candidates, and what each gives on the test sets."""

    overall: choice.Selection  # against every kind
    tests: Sequence[Mapping[str, float]]  # AUROC by OOD set, a fraction
    usual: int | None  # the candidate nearest to the papers' values, if there is one

    @property
    def means(self) -> np.ndarray:
        """The mean AUROC over the test sets, float [candidates]."""
        return np.array([np.mean(list(one.values())) for one in self.tests])


def main(argv: list[str]) -> None:
    """Scores every candidate on everything, and compares the kinds."""
    del argv
    atomic_files.check_new(_OUTPUT.value)
    network = checkpoint.open(_CHECKPOINT.value, _WHICH.value)
    benchmark = benchmarks.get(
        cli.benchmark_name(_BENCHMARK.value, network.source, _CHECKPOINT.value),
        data_dir=_DATA_DIR.value,
        image_size=network.image_size,
        preprocessing=network.preprocessing,
        ood=_OOD.value,
    )
    preflight.check_classes(network.model, network.class_names, benchmark)
    benchmark = dataclasses.replace(
        benchmark,
        id_train=_some(benchmark.id_train, 5 * _IMAGES.value),
        id_test=_some(benchmark.id_test, _IMAGES.value),
        ood={name: _some(s, _IMAGES.value) for name, s in benchmark.ood.items()},
    )
    detector = benchmark_run.ask({"Energy": "energy()"}, benchmark, network)
    usual = preset_values.values(benchmark.name, network.name)
    k, stages = float(usual["k"]), paper_grids.stages(detector, benchmark)
    grids: dict[str, tuple[str, dict[str, Sequence[Any]], dict[str, Any]]] = {
        "FS+TA: k, stage": (
            paper_grids.TA,
            {"k": paper_grids.K, "stage": stages},
            {"k": k, "stage": stages[-1]},
        ),
        "Energy+TA+FS: λ": (
            f"ta(k={k})|{paper_grids.FUSED}",
            {"lam": paper_grids.LAMBDA},
            {"lam": 0.01},  # the nearest to the paper's 0.016
        ),
        "HIMPLoS: mask, clip": (
            paper_grids.HIMPLOS,
            {"q": paper_grids.MASK, "clip": paper_grids.CLIP},
            {"q": float(usual["mask"]), "clip": 0.9},
        ),
    }
    measured = {}
    for name, grid in grids.items():
        print(f"measures {name}", flush=True)
        measured[name] = _measured(*grid, detector, benchmark)
    rows = [row for name, one in measured.items() for row in _rows(name, one)]
    table = tabulate.tabulate(
        rows, "keys", "github", floatfmt=(*[""] * 2, *[".2f"] * 5)
    )
    title = f"{network.name} on {benchmark.name}, {_IMAGES.value:,} images per set"
    with atomic_files.atomic_folder(_OUTPUT.value) as partial:
        (partial / "selection.md").write_text(f"{title}\n\n{table}\n")
        content = {name: _as_json(one) for name, one in measured.items()}
        (partial / "candidates.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"\n{title}\n\n{table}\nwritten to {_OUTPUT.value}")


def _measured(
    method: str,
    grid: Mapping[str, Sequence[Any]],
    usual: Mapping[str, Any],
    detector: Detector,
    benchmark: benchmarks.Benchmark,
) -> Measured:
    """Fits and scores the candidates of a grid, all sets in one go."""

    def batches(source: Source) -> Restartable:
        return Restartable(
            EvaluationBatches(source, _BATCH_SIZE.value), detector.read_batch
        )

    points = [
        dict(zip(grid, v, strict=True)) for v in itertools.product(*grid.values())
    ]
    train, held = map(batches, paper_grids.split(benchmark, _SEED.value))
    outliers = [
        Restartable(synthetic_outliers.Outliers(kind, held, _SEED.value))
        for kind in synthetic_outliers.KINDS
    ]
    tests = map(batches, (benchmark.id_test, *benchmark.ood.values()))
    by_point = selection.candidates(
        method, points, detector, train, held, *outliers, *tests
    )
    candidates, aurocs = [], []
    for values, (scores, warned) in zip(points, by_point, strict=True):
        inside, rest = scores[0], scores[1:]
        against = {
            kind: choice.contrast(inside, other)
            for kind, other in zip(synthetic_outliers.KINDS, rest, strict=False)
        }
        spec = detector_text.parse(method, variables=values).spec
        reason = choice.degenerate(inside, warned)
        candidates.append(choice.Candidate(values, spec, against, reason))
        id_test, *outside = rest[len(against) :]
        aurocs.append(
            {
                name: metrics.auroc(id_test, other)
                for name, other in zip(benchmark.ood, outside, strict=True)
            }
        )
    place = points.index(dict(usual)) if dict(usual) in points else None
    return Measured(choice.Selection(method, tuple(candidates)), aurocs, place)


def _rows(name: str, measured: Measured) -> list[dict[str, Any]]:
    """A row per kind, one of all kinds together, and one of the usual values."""
    kinds = synthetic_outliers.KINDS
    whole = measured.overall
    sound = np.array([not one.degenerate for one in whole.candidates])
    tests, best = 100 * measured.means, 100 * measured.means.max()
    rows = []
    for chosen in (*((kind,) for kind in kinds), _THREE, kinds[1:], kinds):
        candidates = tuple(
            dataclasses.replace(c, against={kind: c.against[kind] for kind in chosen})
            for c in whole.candidates
        )
        subset = choice.Selection(whole.method, candidates)
        aurocs = np.array([c.auroc for c in candidates])
        wide = np.array([c.separation for c in candidates])
        first = max(np.flatnonzero(sound), key=lambda i: aurocs[i])
        rows.append(
            {
                "grid": name,
                "chosen on": " + ".join(chosen),
                "highest AUROC": 100 * aurocs.max(),
                "ρ of AUROC": _rank_correlation(aurocs[sound], tests[sound]),
                "ρ of separation": _rank_correlation(wide[sound], tests[sound]),
                "loss": best - tests[candidates.index(subset.best)],
                "loss by AUROC alone": best - tests[first],
            }
        )
    if measured.usual is not None:
        rows.append(
            {
                "grid": name,
                "chosen on": "nothing: usual values",
                "loss": best - tests[measured.usual],
            }
        )
    return rows


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    if min(len(np.unique(a)), len(np.unique(b))) < 2:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def _as_json(measured: Measured) -> list[dict[str, Any]]:
    return [
        {
            "values": dict(candidate.values),
            "degenerate": candidate.degenerate,
            "against": {k: c._asdict() for k, c in candidate.against.items()},
            "tests": dict(tests),
        }
        for candidate, tests in zip(
            measured.overall.candidates, measured.tests, strict=True
        )
    ]


def _some(source: Source, most: int) -> Source:
    if most >= len(source):
        return source
    return Subset(source, np.arange(most) * len(source) // most)


if __name__ == "__main__":
    cli.run(main)
