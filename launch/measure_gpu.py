"""Measures one GPU or TPU: all of docs/results/speed.md that matters there.

    JOOD_DATA_DIR=... jood measure_gpu --output=measured
    python docs/make_results.py    # once the files lie in docs/results/data/

Runs other measuring jobs one after the other, each in a process of its own: images a
second and the share of the bfloat16 peak, all detectors over the forward passes,
nearest neighbours, training steps, scoring from JPEG files. Each table is printed and
is a JSON file of the output folder. They take about eight minutes.
"""

import pathlib
import subprocess
import sys

from absl import flags

from jood import cli
from jood._utils import affinity
from jood._utils import unknown_name

_MODEL = cli.define_model("resnet50", "The network of all parts but training.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 512, "Images per batch.", lower_bound=1
)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Side in pixels.", lower_bound=32)
_RUNS = flags.DEFINE_integer("runs", 9, "Runs of each, in turn.", lower_bound=1)
_BANK = flags.DEFINE_integer("bank", 50_000, "Rows of KNN's bank.", lower_bound=1001)
_PARTS = flags.DEFINE_list("parts", [], "Those to measure, with commas; else all.")
_ANY_DEVICE = flags.DEFINE_bool(
    "any_device", False, "Also measure without a GPU or TPU."
)
_OUTPUT = cli.define_output(help="New folder for the JSON files.")


def main(argv: list[str]) -> None:
    """Checks that there is a device, then runs part after part."""
    del argv
    commands = _commands()
    for name in _PARTS.value:
        if name not in commands:
            raise unknown_name.unknown("part", name, commands)
    if _device() == "cpu" and not _ANY_DEVICE.value:
        raise ValueError(
            "JAX sees no GPU or TPU here. Install JAX for it, pip install "
            "'jax[cuda13]' for example, or measure this processor with --any_device."
        )
    folder = pathlib.Path(_OUTPUT.value)
    folder.mkdir(parents=True)
    failed = [
        name
        for name in _PARTS.value or commands
        if subprocess.run(_line(name, commands[name], folder)).returncode
    ]
    if failed:
        raise ValueError(
            f"no numbers of {', '.join(failed)}: see what is printed above."
        )


def _commands() -> dict[str, list[str]]:
    """Jobs and their flags, by the name of the file that each writes."""
    sizes = [f"--batch_size={_BATCH_SIZE.value}", f"--image_size={_IMAGE_SIZE.value}"]
    runs, model = f"--runs={_RUNS.value}", f"--model={_MODEL.value}"
    bank = _BANK.value
    forward = [
        "measure_forward",
        f"--models={_MODEL.value}",
        "--nocompile",
        runs,
        *sizes,
    ]
    small = f"--batch_size={max(1, _BATCH_SIZE.value // 4)}"
    return {
        "speed_gpu_forward": [*forward, "--dtype=bfloat16"],
        "speed_gpu_forward_float32": forward,
        "speed_gpu_cost": ["measure_cost", model, runs, f"--bank={bank}", *sizes],
        "speed_gpu_knn": ["measure_knn", f"--rows={bank}", runs],
        "speed_gpu_training": ["measure_training", "--dtype=bfloat16", small,
                               "--objectives=lff(reference='current'),ssod"],
        "speed_gpu_scoring": ["measure_scoring", model, "--runs=3", small,
                              f"--threads={affinity.cores()}"],
    }  # fmt: skip


def _line(name: str, command: list[str], folder: pathlib.Path) -> list[str]:
    """The command line of a part."""
    job = pathlib.Path(__file__).with_name(f"{command[0]}.py")
    output = f"--output={folder / name}.json"
    return [sys.executable, str(job), *command[1:], output]


def _device() -> str:
    """JAX's platform, asked in another process: this one would keep the memory."""
    code = "import jax; print(jax.default_backend())"
    line = [sys.executable, "-c", code]
    completed = subprocess.run(line, capture_output=True, text=True, check=True)
    return completed.stdout.split()[-1]


if __name__ == "__main__":
    cli.run(main)
