"""The inputs of the papers' figures: networks, sets, the user's own images."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools

import numpy as np

from jood.data import id_splits
from jood.data.benchmarks.spec import Benchmark
from jood.data.sources.files import Files
from jood.detector import Detector
from jood.evaluation import benchmark_run
from jood.evaluation import preflight
from jood.evaluation.benchmark_run import Evaluation
from jood.methods import detector_text
from jood.methods import preset_values
from jood.report.benchmark import heatmaps
from jood.report.benchmark.network_view import Viewer
from jood.weights.checkpoint import TrainedNetwork


@dataclasses.dataclass(frozen=True, eq=False)
class FigureInputs:
    """The inputs that a figure may ask for; sets are opened on first use.

    Attributes:
      networks: Networks by label; most figures show the first.
      benchmark_name: Name of the benchmark.
      open: Opens the benchmark for a network.
      named: Files of images that the user names, by set ('ID', 'OOD').
      batch_size: Images per step.
      workers: Processes that read images; 0 reads with threads.
    """

    networks: Mapping[str, TrainedNetwork]
    benchmark_name: str
    open: Callable[[TrainedNetwork], Benchmark]
    named: Mapping[str, Sequence[str]]
    batch_size: int = 128
    workers: int = 0

    @property
    def network(self) -> TrainedNetwork:
        """The first network."""
        return next(iter(self.networks.values()))

    @functools.cached_property
    def benchmark(self) -> Benchmark:
        """The benchmark, opened for the first network."""
        return self.open(self.network)

    def detector(self, label: str | None = None) -> Detector:
        """Returns a detector for its network, the first or that of a label."""
        network = self.network if label is None else self.networks[label]
        head = preflight.head(network.model)
        return Detector(
            detector_text.parse("feature_sim()" if head is None else "msp()"),
            network.model,
            network.variables,
            preprocessing=network.preprocessing,
            class_names=network.class_names,
            head=head,
        )

    @property
    def detectors(self) -> dict[str, Detector]:
        """A detector of each network, by label."""
        return {label: self.detector(label) for label in self.networks}

    @property
    def viewer(self) -> Viewer:
        """What looks at the first network, with the benchmark's k."""
        network = self.network
        k = preset_values.values(self.benchmark_name, network.name)["k"]
        return Viewer.of(self.detector(), network.image_size, float(k))

    def shown(self) -> dict[str, np.ndarray]:
        """Returns the images that the user names, else some of the benchmark's.

        They are uint8 [n, H, W, C] by set, at the network's size.
        """
        if not any(self.named.values()):
            return heatmaps.images_shown(self.benchmark)
        network = self.network
        fit = id_splits.sized(network.preprocessing, network.image_size)
        return {
            name: np.stack([example["image"] for example in _all(Files(paths, fit))])
            for name, paths in self.named.items()
            if paths
        }

    def evaluate(self, texts: Mapping[str, str]) -> dict[str, Evaluation]:
        """Returns what detectors give on the benchmark, by label of the network."""
        evaluations = {}
        for label, network in self.networks.items():
            asked = benchmark_run.ask(texts, self.benchmark, network)
            _, evaluations[label] = benchmark_run.evaluate(
                asked, self.benchmark, batch_size=self.batch_size, workers=self.workers
            )
        return evaluations


def _all(files: Files) -> list[dict[str, np.ndarray]]:
    return [files[index] for index in range(len(files))]
