r"""Compares detectors on a benchmark, with a trained network.

    python launch/evaluate.py --checkpoint=runs/a --output=runs/a_results \
        --detectors="msp, fs_ta, mine=ta(k=0.1)|react(q=0.9)|energy()"
    python launch/evaluate.py --checkpoint=networks/densenet --benchmark=cifar10 \
        --data_dir=data --output=runs/densenet

The network runs once per image, however many detectors are asked.
"""

from absl import flags

from jood import cli
from jood._utils import atomic_files
from jood.data import benchmarks
from jood.data.sources.absent import Absent
from jood.evaluation import benchmark_run
from jood.evaluation import paper_grids
from jood.evaluation import preflight
from jood.methods import detector_text
from jood.report.benchmark import results
from jood.report.benchmark.benchmark_results import BenchmarkResults
from jood.weights import checkpoint

_CHECKPOINT = cli.define_checkpoint(required=True)
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
    "Also choose TA's k and stage, λ, and HIMPLoS's mask and clip, on Gaussian noise "
    "against ID images held out from the training set; adds rows and the curves.",
)
_EXAMINE = flags.DEFINE_string(
    "examine",
    None,
    "Row whose worst mistakes the report shows; else that with the best mean AUROC.",
)
_DETECTORS = cli.define_detectors()
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Loads a network, scores the benchmark and writes the results."""
    del argv
    atomic_files.check_new(_OUTPUT.value)
    network = checkpoint.open(_CHECKPOINT.value, _WHICH.value)
    benchmark = _open_benchmark(network)
    preflight.check_classes(network.model, network.class_names, benchmark)
    detectors, texts = cli.detectors(_DETECTORS.value, benchmark.name, network.name)
    if _DETECTORS.value in cli.GROUPS:
        detectors, out = preflight.possible(
            detectors, network.model, network.variables, benchmark.id_train
        )
        for reason in sorted(set(out.values())):
            names = [name for name, why in out.items() if why == reason]
            print(f"left out, since {reason}: {', '.join(names)}")
    preflight.check_training(detectors, benchmark.id_train)
    if _SELECT.value and isinstance(benchmark.id_train, Absent):
        raise FileNotFoundError(f"--select holds out of {benchmark.id_train.why}")
    preflight.check(detectors, network.model, benchmark.image_size, network.variables)
    rows = [*detectors, *(paper_grids.NAMES if _SELECT.value else ())]
    if _EXAMINE.value not in (None, *rows):
        raise ValueError(
            f"--examine={_EXAMINE.value} is no row; rows: {', '.join(rows)}."
        )
    if _DRY_RUN.value:
        sets = {"fit on": benchmark.id_train, "ID": benchmark.id_test, **benchmark.ood}
        cli.would(
            f"score {network.name} of {_CHECKPOINT.value} on {benchmark.name}: "
            + ", ".join(f"{name} {len(source):,}" for name, source in sets.items()),
            f"compare {len(rows)} detectors: {', '.join(rows)}",
            f"write {_OUTPUT.value}",
        )
        return
    network_of = (benchmark, network.model, network.variables, network.name)
    curves = {}
    if _SELECT.value:
        detector = benchmark_run.make_detector(detectors, *network_of)
        curves = paper_grids.run(detector, benchmark, _BATCH_SIZE.value)
        chosen = {name: curve.best.spec for name, curve in curves.items()}
        detectors |= detector_text.parse_each(chosen, benchmark.name, network.name)
        texts |= chosen
    fitted, result = benchmark_run.evaluate(
        benchmark_run.make_detector(detectors, *network_of),
        benchmark,
        batch_size=_BATCH_SIZE.value,
        workers=_WORKERS.value,
        cache=_CACHE.value,
    )
    printed = results.write(
        _OUTPUT.value,
        BenchmarkResults(
            evaluations=[result],
            detector=fitted,
            benchmark=benchmark,
            detectors={name: texts[name] for name in detectors},
            configuration=cli.evaluation_configuration(benchmark, network),
            curves=curves,
            examine=_EXAMINE.value,
        ),
    )
    for name, curve in curves.items():
        print(f"\n{name}: {curve.method}, on noise\n{curve.text()}")
    for name, images in result.skipped.items():
        print(f"\nskipped in {name}:\n  " + "\n  ".join(images.values()))
    print(f"\n{printed}\nwaited for data {result.waiting:.1%} of the time")
    print(f"written to {_OUTPUT.value}")


def _open_benchmark(network: checkpoint.TrainedNetwork) -> benchmarks.Benchmark:
    """The benchmark that is asked for, with the network's own preprocessing."""
    return benchmarks.get(
        cli.benchmark_name(_BENCHMARK.value, network.source, _CHECKPOINT.value),
        data_dir=_DATA_DIR.value,
        image_size=network.image_size,
        preprocessing=network.preprocessing,
        ood=_OOD.value,
        ood_zoom=_OOD_ZOOM.value,
        skip_corrupt=_CORRUPT.value == "skip",
    )


if __name__ == "__main__":
    cli.run(main)
