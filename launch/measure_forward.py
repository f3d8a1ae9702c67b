"""Measures forward passes: jood, and the same network in PyTorch, eager and compiled.

    pip install torch torchvision timm    # to compare with; without them, no comparison
    jood measure_forward --models=resnet50,densenet121
    jood measure_forward --models=resnet20,wrn_28_10 --batch_size=128

The weights are PyTorch's random ones, carried over with `jood.weights`, so that the
logits can be compared too. Images have 224 pixels a side, for CIFAR's networks 32. Runs
take turns in one process, one at a time, so that what slows one slows all; torch runs
channels-last on as many threads as XLA. `torch.compile` needs a C++ compiler. Another
--dtype is jood's alone. Where the processor's peak is known (`jood._utils.peak_rates`),
so is the share of it that the multiplications take.
"""

from collections.abc import Callable
import os
from typing import Any

from absl import flags
from flax import linen as nn
import jax
import numpy as np

import jood
from jood import cli
from jood import weights
from jood._utils import affinity
from jood._utils import compiling
from jood._utils import measuring
from jood._utils import peak_rates
from jood._utils import turns
from jood.core.backbones import observing
from jood.training import config

_MODELS = flags.DEFINE_list(
    "models",
    ["resnet50", "densenet121", "mobilenet_v2", "efficientnet_lite0", "vit_b16"],
    "Names that jood.models knows.",
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images per batch.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Side in pixels; by default PyTorch's or 224.", lower_bound=32
)
_RUNS = flags.DEFINE_integer("runs", 9, "Runs of each, in turn.", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", "float32", config.DTYPES, "Compute type of jood's.")
_COMPILE = flags.DEFINE_bool("compile", True, "Whether torch.compile runs, too.")
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)

Run = Callable[[], np.ndarray]  # a batch through the network -> logits, on the host


def main(argv: list[str]) -> None:
    """Measures one model after the other."""
    del argv
    rows: list[dict[str, Any]] = []
    for name in _MODELS.value:
        rows += _rows(name, *_runs(name, _theirs(name)))
    size = f"{_IMAGE_SIZE.value} px, " if _IMAGE_SIZE.value else ""
    what = (
        f"forward passes, batch {_BATCH_SIZE.value}, {size}{_DTYPE.value}, "
        f"median of {_RUNS.value} runs"
    )
    measuring.report(what, rows, _OUTPUT.value)


def _theirs(name: str) -> Any:
    """PyTorch's network, or None and a line that says why there is none."""
    if _DTYPE.value != "float32":
        return None
    # Else torch's threads wait by spinning, beside the program whose turn is next.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch

        from jood.testing import torch_networks

        torch.set_num_threads(affinity.cores())
        torch.manual_seed(0)
        return torch_networks.create(name)
    except (ImportError, RuntimeError, ValueError) as error:  # or for another torch
        print(f"{name}: jood alone ({error})")
        return None


def _runs(name: str, theirs: Any) -> tuple[dict[str, Run], float | None]:
    """The programs to measure, by name, and the floating-point operations of a run.

    Without a PyTorch network they are jood's alone.
    """
    side = _IMAGE_SIZE.value or (theirs.side if theirs else 224)
    shape = (_BATCH_SIZE.value, side, side, 3)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    if theirs is None:
        model = jood.models.create(name, 1000, dtype=_DTYPE.value)
        return _jood(model, jax.jit(model.init)(jax.random.key(0), images[:1]), images)
    import torch

    from jood.testing import torch_networks

    model = jood.models.create(name, theirs.classes)
    tensors = torch_networks.same_weights(theirs)
    variables = weights.from_torch_names(tensors, model, theirs.layout)
    network = theirs.module.to(memory_format=torch.channels_last)
    runs, operations = _jood(model, variables, images)
    runs["torch, eager"] = _torch(network, images)
    if _COMPILE.value:
        runs["torch, compiled"] = _torch(torch.compile(network), images)
    return runs, operations


def _jood(
    model: nn.Module, variables: Any, images: np.ndarray
) -> tuple[dict[str, Run], float | None]:
    """As detectors run it, in chunks; as a whole; that without compiler options."""
    variables, batch = jax.device_put((variables, images))

    def run(program: Callable[..., Any]) -> Run:
        return lambda: np.asarray(program(variables, batch))

    def in_chunks(variables: Any, batch: jax.Array) -> jax.Array:
        return observing.observe_in_chunks(model, variables, batch).logits

    plain = jax.jit(model.apply)
    runs = {
        "jood": run(compiling.jit(in_chunks)),
        "jood, whole batch": run(compiling.jit(model.apply)),
        "jood, jax.jit": run(plain),
    }
    costs = plain.lower(variables, batch).cost_analysis() or {}
    return runs, costs.get("flops")


def _torch(network: Callable[..., Any], images: np.ndarray) -> Run:
    import torch

    batch = torch.from_numpy(images.transpose(0, 3, 1, 2))  # channels-last in memory

    def run() -> np.ndarray:
        with torch.inference_mode():
            return network(batch).numpy()

    return run


def _rows(
    name: str, runs: dict[str, Run], operations: float | None
) -> list[dict[str, Any]]:
    """Images/s, ratios to torch, and how far the logits are from eager's."""
    peak = peak_rates.of(jax.devices()[0].device_kind, _DTYPE.value)
    logits = {row: run() for row, run in runs.items()}
    medians = turns.medians(runs, _RUNS.value)
    theirs = [row for row in runs if row.startswith("torch")]
    rows = []
    for program, median in medians.items():
        row: dict[str, Any] = {"network": name, "program": program}
        row["images/s"] = _BATCH_SIZE.value / median
        if operations:
            row["TFLOP/s"] = operations / median / 1e12
            row |= {"of peak": row["TFLOP/s"] / peak} if peak else {}
        row |= {f"x {other}": medians[other] / median for other in theirs}
        if theirs:
            expected = logits[theirs[0]]
            difference = np.abs(logits[program] - expected).max()
            row["logits differ by"] = float(difference / np.abs(expected).max())
        rows.append(row)
    return rows


if __name__ == "__main__":
    cli.run(main)
