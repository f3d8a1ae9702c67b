r"""Compares detectors on a benchmark or on own folders, with a trained network.

    python launch/evaluate.py --checkpoint=runs/a --output=runs/a_results \
        --detectors="msp, fs_ta, mine=ta(k=0.1)|react(q=0.9)|energy()"
    python launch/evaluate.py --checkpoint=networks/densenet --benchmark=cifar10 \
        --data_dir=data --output=runs/densenet
    python launch/evaluate.py --checkpoint=networks/mine --images=data/train \
        --validation=data/val --ood=other=data/other,blank=data/blank \
        --output=runs/mine

The network runs once per image, however many detectors are asked.
"""

from collections.abc import Mapping, Sequence
import dataclasses

from absl import flags

from jood import cli
from jood._utils import atomic_files
from jood.data import benchmarks
from jood.data import id_splits
from jood.data import own_folders
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
_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "Instead of a benchmark: folder of your own ID images to fit detectors on; else, "
    "with --validation, what the network was trained on, or half of --validation.",
)
_VALIDATION = flags.DEFINE_string(
    "validation",
    None,
    "Folder of other ID images, to score; else a random fifth of --images.",
)
_OOD = cli.define_ood(
    help="OOD sets to score: names of the benchmark's, or your own images as "
    "name=folder, with commas; else all of the benchmark's that are present.",
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
        detectors, out = preflight.possible(detectors, network.model, network.variables)
        for reason in sorted(set(out.values())):
            names = [name for name, why in out.items() if why == reason]
            print(f"left out, since {reason}: {', '.join(names)}")
    preflight.check(
        detectors,
        network.model,
        benchmark.image_size,
        network.variables,
        len(benchmark.preprocessing.mean),
    )
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
    names, own = own_folders.split_ood(_OOD.value)
    trained = network.source if _BENCHMARK.value is None else {}
    images = _IMAGES.value or trained.get("images")
    validation = _VALIDATION.value or trained.get("validation")
    skip = _CORRUPT.value == "skip"
    if images or validation:
        return _of_folders(network, images, validation, names, own)
    name = cli.benchmark_name(_BENCHMARK.value, network.source, _CHECKPOINT.value)
    options = {
        "data_dir": _DATA_DIR.value,
        "image_size": network.image_size,
        "preprocessing": network.preprocessing,
        "skip_corrupt": skip,
    }
    if not own:
        return benchmarks.get(name, ood=_OOD.value, **options)
    if names:
        benchmark = benchmarks.get(name, ood=names, **options)
    else:
        benchmark = benchmarks.get_id_sets(name, **options)
    fit = id_splits.sized(benchmark.preprocessing, benchmark.image_size)
    opened = own_folders.ood_sets(own, fit, skip_corrupt=skip)
    # The mean is that of all sets, no longer of the paper's.
    return dataclasses.replace(benchmark, ood={**benchmark.ood, **opened}, paper=())


def _of_folders(
    network: checkpoint.TrainedNetwork,
    images: str | None,
    validation: str | None,
    names: Sequence[str],
    own: Mapping[str, str],
) -> benchmarks.Benchmark:
    """A benchmark of the user's own images."""
    if _BENCHMARK.value is not None or _DATA_DIR.value is not None:
        raise ValueError(
            "--images and --validation are your own images, in the place of a "
            "benchmark's: leave --benchmark and --data_dir out."
        )
    if names or not own:
        given = f"NAME={names[0]}" if names else "other=data/other"
        raise ValueError(
            "say which images of no class the detectors shall tell from your own, each "
            f"set with a name: --ood={given}."
        )
    splits = id_splits.of_folders(
        images or validation or "",
        validation if images else None,
        network.preprocessing,
        network.image_size,
        class_names=network.class_names,
        num_classes=getattr(network.model, "num_classes", 0),
        share=0.2 if images else 0.5,
        skip_corrupt=_CORRUPT.value == "skip",
        flag="--validation" if images else "",
    )
    if not images:
        print(f"detectors are fitted on a half of {validation}, for want of --images.")
    for remark in splits.remarks:
        print(remark)
    return own_folders.benchmark(
        splits, own, network.image_size, skip_corrupt=_CORRUPT.value == "skip"
    )


if __name__ == "__main__":
    cli.run(main)
