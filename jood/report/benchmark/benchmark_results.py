"""The content of a results folder: numbers, the network behind them, what was run."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

from jood.data.benchmarks.spec import Benchmark
from jood.detector import Detector
from jood.evaluation.benchmark_run import Evaluation
from jood.evaluation.choice import Selection
from jood.methods import presets
from jood.report.benchmark import heatmaps
from jood.report.benchmark import mistakes
from jood.report.benchmark import samples
from jood.report.benchmark import tables
from jood.report.benchmark.mistakes import Mistake
from jood.report.benchmark.network_view import Viewer
from jood.report.benchmark.samples import Sample
from jood.report.benchmark.tables import Table

PANELS = 9  # rows that are drawn without a choice: three lines of three panels


@dataclasses.dataclass(frozen=True, eq=False)
class BenchmarkResults:
    """Detectors on a benchmark; what is derived is computed once, when it is read.

    Attributes:
      evaluations: one per seed; pictures show the first.
      detector: the fitted detector of the first seed; pictures look at its network.
      benchmark: the benchmark that was scored.
      detectors: full texts (`Component.spec`) by row name, in the order of the rows.
      configuration: settings to run this again with, JSON values.
      curves: selections whose best candidates are rows of the table.
      examine: the row whose mistakes are shown; None for that of the best mean AUROC.
      draws: Draws of the bootstrap that gives cells an interval; 0 for no intervals.
      seed: seed of these draws.
      sources: origins of a row's values, by row; see `jood.methods.value_sources`.
    """

    evaluations: Sequence[Evaluation]
    detector: Detector
    benchmark: Benchmark
    detectors: Mapping[str, str]
    configuration: Mapping[str, Any]
    curves: Mapping[str, Selection] = dataclasses.field(default_factory=dict)
    examine: str | None = None
    draws: int = 0
    seed: int = 0
    sources: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def first(self) -> Evaluation:
        """The evaluation that the pictures show."""
        return self.evaluations[0]

    @functools.cached_property
    def table(self) -> Table:
        """The numbers of all seeds."""
        names, drawn = list(self.detectors), (self.draws, self.seed)
        return tables.build(self.evaluations, names, self.benchmark, *drawn)

    @property
    def examined(self) -> str:
        """The row that is looked at closely."""
        return self.examine or tables.leader(self.table)

    @functools.cached_property
    def shown(self) -> list[str]:
        """The rows that pictures of several show, in the order of the table.

        They are all, or, if there are many, the user's own and those of the best mean
        AUROC.
        """
        if len(self.detectors) <= PANELS:
            return list(self.detectors)
        known = presets.everything(self.benchmark.name)
        own = [name for name in self.detectors if name not in known]
        best = [name for name in tables.best_first(self.table) if name not in own]
        kept = {*own, self.examined, *best[: max(PANELS - len(own), 0)]}
        return [name for name in self.detectors if name in kept]

    @property
    def shown_text(self) -> str:
        """What captions say of the rows that pictures show; '' if they are all."""
        if len(self.shown) == len(self.detectors):
            return ""
        return (
            f" Shown are {len(self.shown)} of {len(self.detectors)} rows: those with "
            "the highest mean AUROC, and all that are not in jood's own table."
        )

    @functools.cached_property
    def viewer(self) -> Viewer:
        """What looks at the network, with a k of TA that suits its map."""
        images, _ = heatmaps.first_of_classes(self.benchmark.id_test, heatmaps.ID_SHOWN)
        return Viewer.of(self.detector, self.benchmark.image_size).suited(images)

    @functools.cached_property
    def samples(self) -> dict[str, Sample]:
        """Features of some images of each test set."""
        return samples.take(self.benchmark, self.viewer)

    @functools.cached_property
    def mistakes(self) -> dict[str, list[Mistake]]:
        """What the examined row gets wrong, by set."""
        return mistakes.find(self.first, self.examined, self.benchmark, self.viewer)
