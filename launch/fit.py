r"""Makes a calibrated detector from a trained network and ID images.

    jood fit --checkpoint=networks/mine --images=data/train \
        --calibration=data/validation --ood=other=data/other --output=detectors/mine
    jood fit --checkpoint=runs/a --benchmark=cifar10 --method=himplos \
        --output=detectors/a

The network's folder comes from jood convert or jood train. The detector is
fitted on some images and calibrated on others; jood score takes its folder. Its
method is the best of several on your images, or the one that --method names.
"""

from typing import Any

from absl import flags

from jood import cli
from jood._utils import atomic_files
from jood.data import id_splits
from jood.data import own_folders
from jood.deploy import fit_job
from jood.deploy import method_choice
from jood.detector import Detector
from jood.detector.calibration import images_needed
from jood.evaluation import preflight
from jood.methods import value_sources
from jood.weights import checkpoint

_CHECKPOINT = cli.define_checkpoint(help="Folder of the network.", required=True)
_WHICH = cli.define_which()
_OUTPUT = cli.define_output(help="New folder for the detector.")
_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "Folder of ID images to fit on: a folder per class, named as the network's "
    "classes, or any folders: then without labels, and methods that need them say so.",
)
_CALIBRATION = flags.DEFINE_string(
    "calibration",
    None,
    "Folder of ID images to calibrate on, which the network was not trained on; else a "
    "random part of --images.",
)
_BENCHMARK = cli.define_benchmark(
    help="Instead of folders: fit on its training set, calibrate on a part of its test "
    "set, check on the rest.",
)
_DATA_DIR = cli.define_data_dir()
_METHOD = flags.DEFINE_string(
    "method",
    method_choice.AUTO,
    "Detector: a text such as 'react(q=0.9)|energy()', a preset such as himplos, a row "
    "of the README's table such as KNN, or 'bundle(a=..., b=...)' of several that are "
    "all kept. Several with commas, or auto, are compared: the one that separates "
    f"held-out ID images best from --ood is taken; "
    f"auto: {', '.join(method_choice.CANDIDATES)}.",
)
_PAPER = cli.define_paper()
_OOD = cli.define_ood(
    help="Images of no class to choose the method by: name=folder, with commas; else "
    "images that are made of ID images.",
)
_TPR = flags.DEFINE_float("tpr", 0.95, "Share of ID images to keep, in (0, 1).")
_THRESHOLDS: flags.FlagHolder[Any] = flags.DEFINE_enum(
    "thresholds",
    "one",
    ["one", "per_class"],
    "One threshold for all images; or one for each class that the network predicts, so "
    "that --tpr holds in every class: each then needs its own calibration images.",
)
_HOLD_OUT = flags.DEFINE_float(
    "hold_out",
    None,
    "Share of images to calibrate on: of --images (0.2) or of the test set (0.5).",
)
_SEED = cli.define_seed()
_CORRUPT = cli.define_corrupt()
_WORKERS = cli.define_workers()
_BATCH_SIZE = cli.define_batch_size()
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Opens the network and the images, fits, calibrates and saves."""
    del argv
    atomic_files.check_new(_OUTPUT.value)
    images_needed(_TPR.value)
    if (_IMAGES.value is None) == (_BENCHMARK.value is None):
        raise ValueError("say what to fit on: either --images=FOLDER or --benchmark.")
    if _CALIBRATION.value and (_BENCHMARK.value or _HOLD_OUT.value):
        raise ValueError(
            "--calibration gives the images to calibrate on, so there is nothing to "
            "hold out: it goes with --images, without --hold_out."
        )
    names, own = own_folders.split_ood(_OOD.value)
    if names:
        raise ValueError(
            f"--ood={names[0]} has no folder: give --ood={names[0]}=FOLDER of images "
            "of no class. (The OOD sets of benchmarks are for jood evaluate.)"
        )
    values = _BENCHMARK.value or own_folders.NAME
    method_choice.rows(_METHOD.value, values)  # before the network is read
    network = checkpoint.open(_CHECKPOINT.value, _WHICH.value)
    splits = _open_splits(network)
    rows = method_choice.rows(_METHOD.value, values, network.name, _PAPER.value)
    methods = {name: row.component for name, row in rows.items()}
    if _METHOD.value == method_choice.AUTO:
        methods = method_choice.possible(methods, network, splits.fit)
    preflight.check_training(methods, splits.fit)
    compares = bool(own) or len(methods) > 1
    if compares:
        classes = getattr(network.model, "num_classes", None)
        parts = fit_job.parts(_THRESHOLDS.value, classes)
        fit_job.check_enough(splits, _TPR.value, parts)
        splits, apart = method_choice.held_apart(
            splits, parts * images_needed(_TPR.value), _SEED.value
        )
        others = own_folders.ood_sets(
            own,
            splits.preprocessing,
            splits.files,
            skip_corrupt=_CORRUPT.value == "skip",
        )
    detector = Detector(
        next(iter(methods.values())),
        network.model,
        network.variables,
        preprocessing=splits.preprocessing,
        class_names=network.class_names or splits.class_names or None,
        head=preflight.head(network.model),
    )
    for remark in splits.remarks:
        print(remark)
    if _DRY_RUN.value:
        tried = f"the best of {', '.join(methods)}"
        cli.would(
            f"fit {tried if compares else detector.component.spec} of {network.name} "
            f"on {len(splits.fit):,} images, calibrate it on "
            f"{len(splits.calibration):,} at a TPR of {_TPR.value:g}"
            f"{'' if _THRESHOLDS.value == 'one' else ' per class'}",
            *cli.described({name: rows[name] for name in methods}),
            f"write {_OUTPUT.value}",
        )
        return
    reading = {"batch_size": _BATCH_SIZE.value, "workers": _WORKERS.value}
    choice = None
    if compares:
        choice = method_choice.choose(
            detector, methods, splits.fit, apart, others, **reading
        )
        detector = choice.detector
    fit_result = fit_job.make(
        detector,
        splits,
        _TPR.value,
        thresholds=_THRESHOLDS.value,
        choice=choice,
        **reading,
    )
    method = next(iter(methods)) if choice is None else choice.method
    sources = rows[method].sources
    configuration = cli.flag_values() | {"values": sources}
    if _BENCHMARK.value is not None:
        configuration |= cli.data_origin(_BENCHMARK.value, _DATA_DIR.value)
    atomic_files.kept(
        lambda path: fit_job.write(path, fit_result, configuration), _OUTPUT.value
    )
    named = "" if method == detector.component.spec else f"{method}: "
    print(f"{named}{detector.component.spec} on {network.name}")
    if sources:
        print(f"values: {value_sources.written(sources)}")
    print(f"images are {splits.preprocessing.sizing}")
    print(fit_result.text())
    print(f"written to {_OUTPUT.value}; score images with it:")
    print(f"jood score --detector={_OUTPUT.value} --images=... --output=...")


def _open_splits(network: checkpoint.TrainedNetwork) -> id_splits.IdSplits:
    skip = _CORRUPT.value == "skip"
    if _IMAGES.value is not None:
        return id_splits.of_folders(
            _IMAGES.value,
            _CALIBRATION.value,
            network.preprocessing,
            network.image_size,
            class_names=network.class_names,
            num_classes=getattr(network.model, "num_classes", 0),
            share=0.2 if _HOLD_OUT.value is None else _HOLD_OUT.value,
            seed=_SEED.value,
            skip_corrupt=skip,
        )
    assert _BENCHMARK.value is not None  # main has checked it
    splits = id_splits.of_benchmark(
        _BENCHMARK.value,
        network.preprocessing,
        network.image_size,
        data_dir=_DATA_DIR.value,
        share=0.5 if _HOLD_OUT.value is None else _HOLD_OUT.value,
        seed=_SEED.value,
        skip_corrupt=skip,
    )
    preflight.check_classes(network.model, network.class_names, splits)
    return splits


if __name__ == "__main__":
    cli.run(main)
