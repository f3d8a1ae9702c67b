"""Compares detectors on a benchmark, with a trained network.

    python launch/evaluate.py --checkpoint=runs/a --output=runs/a_results \
        --detectors="msp, fs_ta, mine=ta(k=0.1)|react(q=0.9)|energy()"

The network runs once per image, however many detectors are asked.
"""

from absl import flags

from jood import cli
from jood import evaluation
from jood import folders
from jood import models
from jood import presets
from jood.data import benchmarks
from jood.report import heatmaps
from jood.report import tables
from jood.report import writing
from jood.training import checkpoints

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "Folder of a training run (--workdir of launch/train.py).",
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "New folder for the results.", required=True
)
_BENCHMARK = flags.DEFINE_enum(
    "benchmark", "digits", benchmarks.names(), "Whose sets to score."
)
_MODEL = flags.DEFINE_enum("model", "resnet_small", models.names(), "The network.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 128, "Images per step, all devices.", lower_bound=1
)
_DETECTORS = cli.define_detectors()


def main(argv: list[str]) -> None:
    """Loads a checkpoint, scores the benchmark and writes the results."""
    del argv
    benchmark = benchmarks.get(_BENCHMARK.value)
    folders.check_new(_OUTPUT.value)
    model = models.create(_MODEL.value, len(benchmark.class_names))
    shape = benchmark.id_train[0]["image"].shape
    variables = checkpoints.load_variables(_CHECKPOINT.value, model, shape)
    detectors = cli.detectors(_DETECTORS.value, benchmark.name)
    detector = evaluation.make_detector(detectors, benchmark, model, variables)
    _, result = evaluation.evaluate(detector, benchmark, batch_size=_BATCH_SIZE.value)
    table = tables.build([result], list(detectors), benchmark.near)
    k = float(presets.values(benchmark.name)["k"])
    printed = writing.write(
        _OUTPUT.value,
        table,
        specs=detectors,
        configuration={
            "benchmark": benchmark.name,
            "model": _MODEL.value,
            "checkpoint": _CHECKPOINT.value,
            "detectors": _DETECTORS.value,
        },
        evaluation=result,
        shown=[n for n in presets.SHOWN if n in detectors] or list(detectors)[:6],
        figures={"heatmaps": heatmaps.draw(benchmark, model, variables, k)},
    )
    print(f"\n{printed}\nwritten to {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(main)
