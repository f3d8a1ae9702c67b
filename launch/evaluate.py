r"""Compares detectors on a benchmark or on own folders, with a trained network.

    jood evaluate --checkpoint=runs/a --output=runs/a_results \
        --detectors="msp, fs_ta, mine=ta(k=0.1)|react(q=0.9)|energy()"
    jood evaluate --checkpoint=networks/densenet --benchmark=cifar10 \
        --data_dir=data --bootstrap=1000 --output=runs/densenet
    jood evaluate --checkpoint=runs/seed0,runs/seed1,runs/seed2 \
        --output=runs/seeds
    jood evaluate --checkpoint=networks/mine --images=data/train \
        --validation=data/val --ood=other=data/other,blank=data/blank \
        --output=runs/mine
    jood evaluate --checkpoint=networks/clip_b16 --prompts=words.txt --output=runs/b16

The network runs once per image, however many detectors are asked. Several checkpoints
of one network, such as seeds, give mean ± standard deviation.
"""

import dataclasses

from absl import flags

from jood import cli
from jood._utils import atomic_files
from jood.data import benchmarks
from jood.data import id_splits
from jood.data import own_folders
from jood.data.sources.absent import Absent
from jood.detector import Detector
from jood.evaluation import benchmark_run
from jood.evaluation import feature_files
from jood.evaluation import paper_grids
from jood.evaluation import preflight
from jood.evaluation import synthetic_outliers
from jood.methods import presets
from jood.report.benchmark import feature_results
from jood.report.benchmark import results
from jood.report.benchmark.benchmark_results import BenchmarkResults
from jood.weights import checkpoint
from jood.weights import text_tower

_CHECKPOINTS = flags.DEFINE_list(
    "checkpoint",
    [],
    "Folder of a network: --output of jood convert, or --workdir of "
    "jood train; or folders of networks that differ in the seed, with commas, for "
    "mean ± standard deviation.",
)
_FEATURES = flags.DEFINE_string(
    "features", None, "Instead of a network: folder of features (docs/backbones.md)."
)
flags.register_multi_flags_validator(
    ["checkpoint", "features"],
    lambda given: bool(given["checkpoint"]) != bool(given["features"]),
    "give --checkpoint=FOLDER of a network or --features=FOLDER, one of them.",
)
_WHICH = cli.define_which()
_PROMPTS = flags.DEFINE_string(
    "prompts", None, "Other words for the classes of a CLIP, as for jood convert."
)
_TEMPLATES = flags.DEFINE_string(
    "templates", None, "Other templates for them, as for jood convert."
)
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
_OOD_ZOOM = flags.DEFINE_float(
    "ood_zoom",
    1.0,
    "Factor by which OOD images are enlarged about their centre before they are "
    "resized (Feature Sim, Table 18).",
    lower_bound=1.0,
)
_CORRUPT = cli.define_corrupt()
_WORKERS = cli.define_workers()
_BATCH_SIZE = cli.define_batch_size()
_CACHE = cli.define_cache()
_SELECT = flags.DEFINE_bool(
    "select",
    False,
    "Also choose TA's k and stage, λ, and HIMPLoS's mask and clip on synthetic images "
    "(--select_on) and held-out ID training images; adds rows and curves.",
)
_SELECT_ON = flags.DEFINE_list(
    "select_on",
    [synthetic_outliers.NOISE],
    "Images that --select chooses on, one kind or several: "
    + "; ".join(f"{k}: {text}" for k, text in paper_grids.MEANINGS.items())
    + ". docs/selection.md says how well each chooses.",
)
flags.register_validator(
    "select_on",
    lambda kinds: 0 < len(kinds) == len({*kinds} & {*paper_grids.MEANINGS}),
    f"--select_on must be among {', '.join(paper_grids.MEANINGS)}, each once.",
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
_PAPER = cli.define_paper()
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Loads networks, scores the benchmark and writes the results."""
    del argv
    atomic_files.check_new(_OUTPUT.value)
    if _FEATURES.value:
        _compare_features(_FEATURES.value)
        return
    networks = {folder: _open_network(folder) for folder in _CHECKPOINTS.value}
    if len(networks) < len(_CHECKPOINTS.value):
        raise ValueError("--checkpoint names a folder twice; give each network once.")
    preflight.check_alike(networks)
    network = next(iter(networks.values()))
    benchmark = _open_benchmark(network)
    preflight.check_classes(network.model, network.class_names, benchmark)
    named = cli.detectors(_DETECTORS.value, benchmark.name, network.name, _PAPER.value)
    detectors = {name: row.component for name, row in named.items()}
    for one in networks.values():
        if _DETECTORS.value in cli.GROUPS:
            parts = one.model, one.variables, benchmark.id_train
            detectors, out = preflight.possible(detectors, *parts)
            for line in preflight.reasons(out):
                print(line)
        size, channels = benchmark.image_size, len(benchmark.preprocessing.mean)
        preflight.check(detectors, one.model, size, one.variables, channels)
    preflight.check_training(detectors, benchmark.id_train)
    if _SELECT.value and isinstance(benchmark.id_train, Absent):
        raise FileNotFoundError(f"--select holds out of {benchmark.id_train.why}")
    rows = [*detectors, *(paper_grids.names(_SELECT_ON.value) if _SELECT.value else ())]
    if _EXAMINE.value not in (None, *rows):
        raise ValueError(
            f"--examine={_EXAMINE.value} is not a row; rows: {', '.join(rows)}."
        )
    if _DRY_RUN.value:
        sets = {"fit on": benchmark.id_train, "ID": benchmark.id_test}
        sets |= {**benchmark.shifted, **benchmark.ood}
        origin = cli.data_origin(benchmark.name, _DATA_DIR.value)
        cli.would(
            f"score {network.name} of {', '.join(networks)} on {benchmark.name}: "
            + ", ".join(f"{name} {len(source):,}" for name, source in sets.items()),
            *(f"{name}: {value}" for name, value in origin.items()),
            f"compare {len(rows)} detectors: {', '.join(rows)}",
            *cli.described({name: named[name] for name in detectors}),
            f"write {_OUTPUT.value}",
        )
        return
    curves = {}
    if _SELECT.value:
        if len(networks) > 1:
            print(f"selects on {next(iter(networks))} alone, for all checkpoints")
        curves = paper_grids.run_on(
            _SELECT_ON.value,
            benchmark_run.ask(detectors, benchmark, network),
            benchmark,
            _BATCH_SIZE.value,
            _SEED.value,
            data_dir=_DATA_DIR.value,
            skip_corrupt=_CORRUPT.value == "skip",
        )
        named |= paper_grids.rows(curves)
        detectors |= {name: named[name].component for name in curves}
    first: Detector | None = None
    evaluations = []
    for folder, one in networks.items():
        if len(networks) > 1:
            print(f"scores {folder}", flush=True)
        fitted, result = benchmark_run.evaluate(
            benchmark_run.ask(detectors, benchmark, one),
            benchmark,
            batch_size=_BATCH_SIZE.value,
            workers=_WORKERS.value,
            cache=_CACHE.value,
        )
        first = first or fitted
        evaluations.append(result)
    assert first is not None
    summary = BenchmarkResults(
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
    printed = atomic_files.kept(lambda to: results.write(to, summary), _OUTPUT.value)
    for name, curve in curves.items():
        kinds = " and ".join(curve.kinds)
        print(f"\n{name}: {curve.method}, on {kinds}\n{curve.text()}")
    for name, images in evaluations[0].skipped.items():
        print(f"\nskipped in {name}:\n  " + "\n  ".join(images.values()))
    waiting = sum(one.waiting for one in evaluations) / len(evaluations)
    print(f"\n{printed}\nwaited for data {waiting:.1%} of the time")
    print(f"written to {_OUTPUT.value}")


def _open_network(folder: str) -> checkpoint.TrainedNetwork:
    """The network of a folder, with the texts that are asked for."""
    network, texts = checkpoint.open(folder, _WHICH.value), (_PROMPTS, _TEMPLATES)
    if not any(flag.value for flag in texts):
        return network
    return text_tower.with_texts(folder, network, *(flag.value for flag in texts))


def _open_benchmark(network: checkpoint.TrainedNetwork) -> benchmarks.Benchmark:
    """The benchmark that is asked for, with the network's own preprocessing."""
    names, own = own_folders.split_ood(_OOD.value)
    trained = network.source if _BENCHMARK.value is None else {}
    images = _IMAGES.value or trained.get("images")
    validation = _VALIDATION.value or trained.get("validation")
    skip = _CORRUPT.value == "skip"
    if images or validation:
        if _BENCHMARK.value is not None or _DATA_DIR.value is not None:
            raise ValueError(
                "--images and --validation are your own images, in the place of a "
                "benchmark's: leave --benchmark and --data_dir out."
            )
        benchmark, remarks = own_folders.to_evaluate(
            images,
            validation,
            names,
            own,
            network.preprocessing,
            network.image_size,
            class_names=network.class_names,
            num_classes=getattr(network.model, "num_classes", 0),
            skip_corrupt=skip,
        )
        for remark in remarks:
            print(remark)
        return benchmark
    name = cli.benchmark_name(_BENCHMARK.value, network.source, _CHECKPOINTS.value[0])
    options = {
        "data_dir": _DATA_DIR.value,
        "image_size": network.image_size,
        "preprocessing": network.preprocessing,
        "ood_zoom": _OOD_ZOOM.value,
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


def _compare_features(folder: str) -> None:
    """Compares detectors on features that another program wrote."""
    given = feature_files.read(folder)
    rows = cli.detectors(_DETECTORS.value, _BENCHMARK.value or presets.DEFAULT)
    if _DETECTORS.value in cli.GROUPS:
        rows, out = feature_results.possible(rows, given)
        for line in preflight.reasons(out):
            print(line)
    if _DRY_RUN.value:
        cli.would(f"compare {', '.join(rows)} on {folder}", f"write {_OUTPUT.value}")
        return
    parts = {name: row.component for name, row in rows.items()}
    comparison = feature_files.compare(parts, given)
    print(feature_results.write(_OUTPUT.value, comparison, rows, folder))
    print(f"written to {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(main)
