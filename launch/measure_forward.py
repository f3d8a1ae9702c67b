"""Measures forward passes: jood, and the same torchvision model, eager and compiled.

    pip install torch torchvision    # to compare; without them those rows are left out
    python launch/measure_forward.py --models=resnet50,densenet121

The weights are random ones of torchvision, carried over with `jood.weights`, so that
the logits can be compared too. Runs take turns in one process, one at a time, so that
what slows one slows all; torch runs channels-last on as many threads as XLA.
`torch.compile` needs a C++ compiler.
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
from jood._utils import compiling
from jood._utils import turns

_MODELS = flags.DEFINE_list(
    "models",
    ["resnet50", "densenet121"],
    "Names that jood.models and torchvision know.",
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images a batch.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Side in pixels.", lower_bound=32)
_RUNS = flags.DEFINE_integer("runs", 9, "Runs of each, in turn.", lower_bound=1)
_COMPILE = flags.DEFINE_bool("compile", True, "Whether torch.compile runs, too.")

_CLASSES = 1000
_THEIR_NAMES = {"vit_b16": "vit_b_16"}

Run = Callable[[], np.ndarray]  # a batch through the network -> logits, on the host


def main(argv: list[str]) -> None:
    """Measures one model after the other."""
    del argv
    torchvision = _torchvision()
    print(
        f"images/s, median of {_RUNS.value} runs; batch {_BATCH_SIZE.value}, "
        f"{_IMAGE_SIZE.value} px, float32, {_threads()} threads, "
        f"{jax.devices()[0].device_kind}"
    )
    for name in _MODELS.value:
        model = jood.models.create(name, _CLASSES)
        theirs = _THEIR_NAMES.get(name, name)
        known = torchvision is not None and theirs in torchvision.models.list_models()
        network = torchvision.models.get_model(theirs).eval() if known else None
        if torchvision is not None and not known:
            print(f"torchvision has no {theirs}: jood alone")
        _measure(name, _runs(model, network))


def _torchvision() -> Any:
    """torchvision, or None and a line that says why not."""
    try:
        import torch
        import torchvision
    except (ImportError, RuntimeError) as error:  # or built for another torch
        print(f"torchvision cannot be imported ({error}): jood alone")
        return None
    torch.set_num_threads(_threads())
    return torchvision


def _runs(model: nn.Module, network: Any) -> dict[str, Run]:
    """What is measured, by name; of a network that is None, jood alone."""
    shape = (_BATCH_SIZE.value, _IMAGE_SIZE.value, _IMAGE_SIZE.value, 3)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    if network is None:
        variables = jax.jit(model.init)(jax.random.key(0), images[:1])
        return _jood(model, variables, images)
    import torch

    generator = torch.Generator().manual_seed(0)
    for tensor in network.parameters():
        if not tensor.any():  # a ViT starts with a classifier of zeros
            torch.nn.init.normal_(tensor, 0, 0.02, generator=generator)
    tensors = {name: t.detach().numpy() for name, t in network.state_dict().items()}
    variables = weights.from_torch_names(tensors, model, "torchvision")
    network = network.to(memory_format=torch.channels_last)
    runs = {
        **_jood(model, variables, images),
        "torch, eager": _torch(network, images),
    }
    if _COMPILE.value:
        runs["torch, compiled"] = _torch(torch.compile(network), images)
    return runs


def _jood(model: nn.Module, variables: Any, images: np.ndarray) -> dict[str, Run]:
    """With the options of `jood._utils.compiling`, as detectors run it, and without."""
    variables, batch = jax.device_put((variables, images))

    def run(program: Callable[..., Any]) -> Run:
        return lambda: np.asarray(program(variables, batch))

    return {
        "jood": run(compiling.jit(model.apply)),
        "jood, jax.jit": run(jax.jit(model.apply)),
    }


def _torch(network: Callable[..., Any], images: np.ndarray) -> Run:
    import torch

    batch = torch.from_numpy(images.transpose(0, 3, 1, 2))  # channels-last in memory

    def run() -> np.ndarray:
        with torch.inference_mode():
            return network(batch).numpy()

    return run


def _measure(name: str, runs: dict[str, Run]) -> None:
    """Prints images/s, the ratio to eager, and how far the logits are from eager's."""
    logits = {row: run() for row, run in runs.items()}  # compiles, too
    medians = turns.medians(runs, _RUNS.value)
    print(name)
    eager = medians.get("torch, eager")
    for row, median in medians.items():
        line = f"  {row:16} {_BATCH_SIZE.value / median:8.1f}"
        if eager is not None:
            line += f"   {eager / median:5.2f} x eager"
            if row != "torch, eager":
                expected = logits["torch, eager"]
                difference = np.abs(logits[row] - expected).max()
                largest = np.abs(expected).max()
                line += f", logits within {difference:.1e} (largest {largest:.1e})"
        print(line)


def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    cli.run(main)
