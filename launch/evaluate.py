r"""Compares detectors on a benchmark, with a trained network.

    python launch/evaluate.py --checkpoint=runs/a --output=runs/a_results \
        --detectors="msp, fs_ta, mine=ta(k=0.1)|react(q=0.9)|energy()"
    python launch/evaluate.py --checkpoint=networks/densenet --benchmark=cifar10 \
        --data_dir=data --bootstrap=1000 --output=runs/densenet
    python launch/evaluate.py --checkpoint=runs/seed0,runs/seed1,runs/seed2 \
        --output=runs/seeds

The network runs once per image, however many detectors are asked. Several checkpoints
of one network, such as seeds, give mean ± standard deviation.
"""

from collections.abc import Mapping

from absl import flags

from jood import cli
from jood._utils import atomic_files
from jood.core.component import Component
from jood.data import benchmarks
from jood.data.sources.absent import Absent
from jood.detector import Detector
from jood.evaluation import benchmark_run
from jood.evaluation import paper_grids
from jood.evaluation import preflight
from jood.evaluation import synthetic_outliers
from jood.methods import detector_list
from jood.report.benchmark import results
from jood.report.benchmark.benchmark_results import BenchmarkResults
from jood.weights import checkpoint

_CHECKPOINTS = flags.DEFINE_list(
    "checkpoint",
    None,
    "Folder of a network: --output of launch/convert.py, or --workdir of "
    "launch/train.py; or folders of several networks alike, separated by commas, for "
    "mean ± standard deviation.",
    required=True,
)
_WHICH = cli.define_which()
_OUTPUT = cli.define_output()
_BENCHMARK = cli.define_benchmark()
_DATA_DIR = cli.define_data_dir()
_OOD = cli.define_ood()
_OOD_ZOOM = flags.DEFINE_float(
    "ood_zoom",
    1.0,
    "How much OOD images are enlarged about their centre before they are resized "
    "(Feature Sim, Table 18).",
    lower_bound=1.0,
)
_CORRUPT = cli.define_corrupt()
_WORKERS = cli.define_workers()
_BATCH_SIZE = cli.define_batch_size()
_CACHE = cli.define_cache()
_SELECT = flags.DEFINE_bool(
    "select",
    False,
    "Also choose TA's k and stage, λ, and HIMPLoS's mask and clip on made images "
    "(--select_on) against ID images held out from the training set; adds rows and the "
    "curves.",
)
_SELECT_ON = flags.DEFINE_list(
    "select_on",
    [synthetic_outliers.NOISE],
    "What --select chooses on, one kind or several: "
    + "; ".join(f"{k}: {text}" for k, text in synthetic_outliers.MEANINGS.items())
    + ". docs/selection.md says how well each chooses.",
)
flags.register_validator(
    "select_on",
    lambda kinds: (
        0 < len(kinds) == len({*kinds}) and {*kinds} <= {*synthetic_outliers.KINDS}
    ),
    f"--select_on must be among {', '.join(synthetic_outliers.KINDS)}, each once.",
)
_EXAMINE = flags.DEFINE_string(
    "examine",
    None,
    "Row whose worst mistakes the report shows; else that with the best mean AUROC.",
)
_BOOTSTRAP = flags.DEFINE_integer(
    "bootstrap",
    0,
    "Draws of the bootstrap over ID and OOD images, such as 1000, which give cells a "
    "95 % interval; 0 gives none.",
    lower_bound=0,
)
_SEED = cli.define_seed(help="Seed of the bootstrap and of the images of --select_on.")
_DETECTORS = cli.define_detectors()
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Loads networks, scores the benchmark and writes the results."""
    del argv
    atomic_files.check_new(_OUTPUT.value)
    networks = {
        folder: checkpoint.open(folder, _WHICH.value) for folder in _CHECKPOINTS.value
    }
    if len(networks) < len(_CHECKPOINTS.value):
        raise ValueError("--checkpoint names a folder twice; give each network once.")
    preflight.check_alike(networks)
    network = next(iter(networks.values()))
    benchmark = _open_benchmark(network)
    preflight.check_classes(network.model, network.class_names, benchmark)
    named = cli.detectors(_DETECTORS.value, benchmark.name, network.name)
    detectors = {name: row.component for name, row in named.items()}
    for one in networks.values():
        if _DETECTORS.value in cli.GROUPS:
            detectors = _possible(detectors, one, benchmark)
        preflight.check(detectors, one.model, benchmark.image_size, one.variables)
    preflight.check_training(detectors, benchmark.id_train)
    if _SELECT.value and isinstance(benchmark.id_train, Absent):
        raise FileNotFoundError(f"--select holds out of {benchmark.id_train.why}")
    rows = [*detectors, *(paper_grids.NAMES if _SELECT.value else ())]
    if _EXAMINE.value not in (None, *rows):
        raise ValueError(
            f"--examine={_EXAMINE.value} is no row; rows: {', '.join(rows)}."
        )
    if _DRY_RUN.value:
        sets = {"fit on": benchmark.id_train, "ID": benchmark.id_test, **benchmark.ood}
        cli.would(
            f"score {network.name} of {', '.join(networks)} on {benchmark.name}: "
            + ", ".join(f"{name} {len(source):,}" for name, source in sets.items()),
            *cli.data_origin(benchmark.name, _DATA_DIR.value).values(),
            f"compare {len(rows)} detectors: {', '.join(rows)}",
            *cli.described({name: named[name] for name in detectors}),
            f"write {_OUTPUT.value}",
        )
        return
    curves = {}
    if _SELECT.value:
        if len(networks) > 1:
            print(f"selects on {next(iter(networks))} alone, for all checkpoints")
        curves = paper_grids.run(
            _detector(detectors, benchmark, network),
            benchmark,
            _BATCH_SIZE.value,
            _SELECT_ON.value,
            _SEED.value,
        )
        chosen = {name: curve.best.spec for name, curve in curves.items()}
        for name, row in detector_list.read_each(chosen).items():
            told = dict.fromkeys(row.sources, paper_grids.SOURCE)
            named[name] = row._replace(sources=told)
        detectors |= {name: named[name].component for name in chosen}
    first: Detector | None = None
    evaluations = []
    for folder, one in networks.items():
        if len(networks) > 1:
            print(f"scores {folder}", flush=True)
        fitted, result = benchmark_run.evaluate(
            _detector(detectors, benchmark, one),
            benchmark,
            batch_size=_BATCH_SIZE.value,
            workers=_WORKERS.value,
            cache=_CACHE.value,
        )
        first = first or fitted
        evaluations.append(result)
    assert first is not None
    found = BenchmarkResults(
        evaluations=evaluations,
        detector=first,
        benchmark=benchmark,
        detectors={name: part.spec for name, part in detectors.items()},
        sources={name: named[name].sources for name in detectors},
        configuration=cli.evaluation_configuration(benchmark, *networks.values()),
        curves=curves,
        examine=_EXAMINE.value,
        draws=_BOOTSTRAP.value,
        seed=_SEED.value,
    )
    printed = atomic_files.kept(lambda path: results.write(path, found), _OUTPUT.value)
    for name, curve in curves.items():
        kinds = " and ".join(curve.kinds)
        print(f"\n{name}: {curve.method}, on {kinds}\n{curve.text()}")
    for name, images in evaluations[0].skipped.items():
        print(f"\nskipped in {name}:\n  " + "\n  ".join(images.values()))
    waiting = sum(one.waiting for one in evaluations) / len(evaluations)
    print(f"\n{printed}\nwaited for data {waiting:.1%} of the time")
    print(f"written to {_OUTPUT.value}")


def _open_benchmark(network: checkpoint.TrainedNetwork) -> benchmarks.Benchmark:
    """The benchmark that is asked for, with the network's own preprocessing."""
    folder = _CHECKPOINTS.value[0]
    return benchmarks.get(
        cli.benchmark_name(_BENCHMARK.value, network.source, folder),
        data_dir=_DATA_DIR.value,
        image_size=network.image_size,
        preprocessing=network.preprocessing,
        ood=_OOD.value,
        ood_zoom=_OOD_ZOOM.value,
        skip_corrupt=_CORRUPT.value == "skip",
    )


def _possible(
    detectors: Mapping[str, Component],
    network: checkpoint.TrainedNetwork,
    benchmark: benchmarks.Benchmark,
) -> dict[str, Component]:
    """The detectors that a network can be asked; tells which are left out, and why."""
    left, out = preflight.possible(
        detectors, network.model, network.variables, benchmark.id_train
    )
    for reason in sorted(set(out.values())):
        names = [name for name, why in out.items() if why == reason]
        print(f"left out, since {reason}: {', '.join(names)}")
    return left


def _detector(
    detectors: Mapping[str, Component],
    benchmark: benchmarks.Benchmark,
    network: checkpoint.TrainedNetwork,
) -> Detector:
    """An unfitted detector that asks all of a network."""
    return benchmark_run.make_detector(
        detectors, benchmark, network.model, network.variables, network.name
    )


if __name__ == "__main__":
    cli.run(main)
