r"""Draws AUROC and ID accuracy against the papers' values: k, λ, mask and clip.

    jood sweep --checkpoint=runs/a --output=runs/a_sweeps
    jood sweep --checkpoint=networks/densenet --benchmark=cifar10 \
        --data_dir=data --sweeps=k,mask --images=1000 --output=runs/sweeps
    jood sweep --checkpoint=runs/a --sweeps=k --values=0,0.1,0.2,0.3 \
        --output=runs/a_k

Writes sweeps.csv, a picture per value and report.html. The curves are of the test
sets, so nothing may be chosen on them; jood evaluate --select chooses on noise.
"""

from collections.abc import Mapping

from absl import flags

from jood import cli
from jood._utils import atomic_files
from jood.data import benchmarks
from jood.evaluation import benchmark_run
from jood.evaluation import hyperparameter_curves
from jood.evaluation import paper_sweeps
from jood.evaluation import preflight
from jood.evaluation.paper_sweeps import Sweep
from jood.evaluation.paper_sweeps import value_text
from jood.report.hyperparameters import results
from jood.weights import checkpoint

_CHECKPOINT = cli.define_checkpoint(required=True)
_WHICH = cli.define_which()
_OUTPUT = cli.define_output()
_BENCHMARK = cli.define_benchmark()
_DATA_DIR = cli.define_data_dir()
_OOD = cli.define_ood()
_SWEEPS = flags.DEFINE_list(
    "sweeps",
    list(paper_sweeps.NAMES),
    f"Values to sweep, some of {', '.join(paper_sweeps.NAMES)}.",
)
flags.register_validator(
    "sweeps",
    lambda names: bool(names) and set(names) <= set(paper_sweeps.NAMES),
    f"--sweeps must be among {', '.join(paper_sweeps.NAMES)}.",
)
_VALUES = flags.DEFINE_list(
    "values",
    None,
    "Numbers with commas, in place of the papers' grid; --sweeps then names one sweep.",
)
_IMAGES = flags.DEFINE_integer(
    "images", None, "Test images per set, at even distances; else all.", lower_bound=2
)
_BATCH_SIZE = cli.define_batch_size(help="Images per step.")
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Loads a network, makes the sweeps and writes the results."""
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
    sweeps = paper_sweeps.sweeps(benchmark.name, network.name)
    # For its network: the sweeps bring their own detectors.
    detector = benchmark_run.ask({"Energy": "energy()"}, benchmark, network)
    chosen = _with_values({name: sweeps[name] for name in _SWEEPS.value})
    usual = paper_sweeps.usual_values(benchmark.name, network.name)
    if _DRY_RUN.value:
        origin = cli.data_origin(benchmark.name, _DATA_DIR.value)
        cli.would(
            *(
                f"sweep {name}: {row} = {text}"
                for name, sweep in chosen.items()
                for row, text in sweep.methods.items()
            ),
            *(
                f"{name} = {', '.join(map(value_text, sweep.values))}"
                for name, sweep in chosen.items()
            ),
            *(f"around {value}: {source}" for value, source in usual.items()),
            *(f"{name}: {value}" for name, value in origin.items()),
            f"on {benchmark.name} with {', '.join(benchmark.ood)}",
            f"write {_OUTPUT.value}",
        )
        return
    curves = []
    for name, sweep in chosen.items():
        print(f"sweeps {name}: {', '.join(sweep.methods)}")
        curves.append(
            hyperparameter_curves.run(
                sweep,
                detector,
                benchmark,
                batch_size=_BATCH_SIZE.value,
                most=_IMAGES.value,
            )
        )
    configuration = cli.evaluation_configuration(benchmark, network)
    configuration["values"] = usual
    part = f" {_IMAGES.value:,} images of each set." if _IMAGES.value else ""
    atomic_files.kept(
        lambda path: results.write(
            path,
            curves,
            name=benchmark.name,
            protocol=benchmark.protocol + part,
            configuration=configuration,
        ),
        _OUTPUT.value,
    )
    print(f"written to {_OUTPUT.value}")


def _with_values(sweeps: Mapping[str, Sweep]) -> Mapping[str, Sweep]:
    """The sweeps, of the values that were asked for."""
    if _VALUES.value is None:
        return sweeps
    if len(sweeps) > 1:
        raise ValueError(
            "--values are those of one sweep: say which with --sweeps, one of "
            f"{', '.join(sweeps)}."
        )
    ((name, sweep),) = sweeps.items()
    try:
        values = [float(text) for text in _VALUES.value]
    except ValueError as error:
        given = ",".join(_VALUES.value)
        raise ValueError(f"--values must be numbers with commas: {given}.") from error
    return {name: paper_sweeps.with_values(sweep, values)}


if __name__ == "__main__":
    cli.run(main)
