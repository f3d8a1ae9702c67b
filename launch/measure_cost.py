r"""Measures what all post-hoc detectors cost together, against the network alone.

    jood measure_cost
    jood measure_cost --model=densenet100_cifar --image_size=32 --batch_size=128 \
        --classes=10 --benchmark=cifar10

Prints the ratio of one bundle of all --detectors (by default all methods that need no
gradient of the network) to the forward passes that its distinct stage edits need, as
the median of interleaved runs in one process, and each method's own share; and the
memory that each program needs beside its arguments (weights, fitted values, images), as
XLA plans it. Weights and images are random: time does not depend on them.
"""

import functools
from typing import Any
import warnings

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

import jood
from jood import cli
from jood._utils import compiling
from jood._utils import measuring
from jood._utils import turns
from jood.core import backbones
from jood.core import ood_head
from jood.core.backbones import edited_runs
from jood.core.backbones import observing
from jood.core.backbones import protocol
from jood.detector import program
from jood.evaluation import preflight

_MODEL = cli.define_model("resnet50", "The network.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Side in pixels.", lower_bound=32)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images per batch.", lower_bound=1)
_CLASSES = flags.DEFINE_integer("classes", 1000, "K.", lower_bound=2)
_BANK = flags.DEFINE_integer("bank", 50_000, "Rows of KNN's bank.", lower_bound=1001)
_DETECTORS = cli.define_detectors("forward")
_BENCHMARK = cli.define_benchmark(
    "imagenet", "Benchmark whose values of the detectors are taken, such as KNN's k."
)
_RUNS = flags.DEFINE_integer("runs", 7, "Runs of which medians are taken.")
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)

_OPTIONS = "network, with the options that detectors are compiled with"
_ROWS_TO_FIT = 4096  # of random features: enough for a covariance of D = 2048


def main(argv: list[str]) -> None:
    """Builds, fits on random data, and measures."""
    del argv
    size, classes = _IMAGE_SIZE.value, _CLASSES.value
    model = jood.models.create(_MODEL.value, classes)
    images = jax.random.normal(jax.random.key(0), (_BATCH_SIZE.value, size, size, 3))
    variables = _with_ood_head(jax.jit(model.init)(jax.random.key(1), images[:1]))
    rows = cli.detectors(_DETECTORS.value, _BENCHMARK.value, _MODEL.value)
    parts = {name: row.component for name, row in rows.items()}
    preflight.check_forward(parts)
    parts, _ = preflight.possible(parts, model, variables)
    bundle = jood.bundle(**parts)
    in_chunks = functools.partial(observing.observe_in_chunks, model)  # as detectors
    observe = functools.partial(in_chunks, edits=bundle.edits)
    labels = jnp.arange(len(images)) % classes
    acts = jax.jit(observe)(variables, images, labels=labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random features make poor statistics
        fitted = {name: _fit(part, acts) for name, part in parts.items()}
        together = [
            tuple(f[j] if j < len(f) else () for f in fitted.values())
            for j in range(len(bundle.passes))
        ]
    together = jax.device_put(tuple(together))

    def forward(variables: Any, images: Any) -> Any:
        return edited_runs.every_logits(observe(variables, images))

    def bare(variables: Any, images: Any) -> Any:
        return in_chunks(variables, images).logits

    backbone = backbones.PreprocessedNetwork(model, None, protocol.Taps())
    programs = program.build(backbone, bundle)
    passes = {
        "network, one run": jax.jit(bare).lower(variables, images).compile(),
        "network": jax.jit(forward).lower(variables, images).compile(),
        _OPTIONS: compiling.jit(forward).lower(variables, images).compile(),
    }
    runs: dict[str, Any] = {
        name: functools.partial(run, variables, images) for name, run in passes.items()
    }
    runs["all detectors"] = lambda: programs(variables, together, images)
    seconds = turns.medians(runs, _RUNS.value)
    table: list[dict[str, Any]] = [
        {"what": name, "ms": 1000 * own, "x network": own / seconds["network"]}
        for name, own in (seconds | _alone(parts, fitted, acts)).items()
    ]
    memory = [_megabytes(own) for own in passes.values()]
    memory.append(_scoring_megabytes(programs, variables, together, images))
    for row, own in zip(table, memory, strict=False):  # of whole programs alone
        row |= {"MB": own, "memory x one run": own / memory[0]}
    what = (
        f"{len(parts)} detectors with {_BENCHMARK.value}'s values, {_MODEL.value} at "
        f"{size} px, batch {len(images)}, {classes} classes; network: the "
        f"{len(edited_runs.prefixes(bundle.edits))} runs that they need"
    )
    measuring.report(what, table, _OUTPUT.value)


def _megabytes(compiled: Any) -> float:
    """What a compiled program needs beside its arguments, as XLA plans it."""
    return compiled.memory_analysis().temp_size_in_bytes / 1e6


def _scoring_megabytes(programs: Any, *given: Any) -> float:
    """The same of a detector; if it is two programs, of the one that needs more."""
    if (single := programs.single(given[1])) is not None:
        return _megabytes(single.lower(*given).compile())
    look = programs.look.lower(*given)
    shapes = jax.eval_shape(programs.look, *given)
    halves = [look, programs.rest.lower(given[1], *shapes)]
    return max(_megabytes(half.compile()) for half in halves)


def _alone(parts: Any, fitted: Any, acts: Any) -> dict[str, float]:
    """Seconds of each method on a given record, the longest first."""
    seconds: dict[str, float] = {}
    for name, part in parts.items():
        one = functools.partial(jax.jit(part.apply), jax.device_put(fitted[name]))
        seconds |= turns.medians({name: functools.partial(one, acts)}, _RUNS.value)
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def _with_ood_head(variables: Any) -> Any:
    """Adds SSOD's second head, of zeros: two scores read it."""
    width = variables["params"]["head"]["kernel"].shape[-2]
    head = {"kernel": jnp.zeros((width, 1)), "bias": jnp.zeros(1)}
    return {**variables, ood_head.COLLECTION: head}


def _fit(part: jood.Component, acts: Any) -> tuple[Any, ...]:
    """Fits on random features if those suffice, else on the one record with maps."""
    if not part.passes:
        return ()
    rng = np.random.default_rng(0)
    rows = _BANK.value if "knn(" in part.spec or "nnguide(" in part.spec else 0
    rows = max(rows, _ROWS_TO_FIT)
    width, classes = acts.penultimate.shape[-1], min(100, _CLASSES.value)
    chunks = [
        jood.Activations.of(
            rng.gamma(0.5, 1.0, (min(_ROWS_TO_FIT, rows - start), width)),
            acts.kernel,
            acts.bias,
            labels=rng.integers(0, classes, min(_ROWS_TO_FIT, rows - start)),
        )
        for start in range(0, rows, _ROWS_TO_FIT)
    ]
    try:
        return jood.fit(part, chunks)
    except jood.MissingStageError:
        # As many images as features that count as others, for methods that split them.
        records = [acts.replace(original=acts.original + i) for i in range(8)]
        return jood.fit(part, records)


if __name__ == "__main__":
    cli.run(main)
