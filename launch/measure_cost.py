"""Measures what all post-hoc detectors cost together, against the network alone.

    python launch/measure_cost.py

Prints the ratio of one bundle of all methods (those that need the network's gradient
aside) to the forward passes that its distinct stage edits need, as the median of
interleaved runs in one process, and each method's own share. Weights and images are
random: time does not depend on them.
"""

import functools
from typing import Any
import warnings

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np
import tabulate

import jood
from jood import cli
from jood._utils import turns
from jood.core import ood_head
from jood.evaluation import preflight

_MODEL = cli.define_model("resnet50", "The network.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Side in pixels.", lower_bound=32)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images a batch.", lower_bound=1)
_CLASSES = flags.DEFINE_integer("classes", 1000, "K.", lower_bound=2)
_BANK = flags.DEFINE_integer("bank", 50_000, "Rows of KNN's bank.", lower_bound=1001)
_RUNS = flags.DEFINE_integer("runs", 7, "Runs of which medians are taken.")

_ROWS_TO_FIT = 4096  # of random features: enough for a covariance of D = 2048


def main(argv: list[str]) -> None:
    """Builds, fits on random data, and measures."""
    del argv
    size, classes = _IMAGE_SIZE.value, _CLASSES.value
    model = jood.models.create(_MODEL.value, classes)
    images = jax.random.normal(jax.random.key(0), (_BATCH_SIZE.value, size, size, 3))
    variables = _with_ood_head(jax.jit(model.init)(jax.random.key(1), images[:1]))
    rows = cli.detectors("forward", "imagenet", _MODEL.value)
    parts = {name: row.component for name, row in rows.items()}
    parts, _ = preflight.possible(parts, model, variables)
    bundle = jood.bundle(**parts)
    observe = jax.jit(
        lambda v, x, y: jood.observe(model, v, x, edits=bundle.edits, labels=y)
    )
    acts = observe(variables, images, jnp.arange(len(images)) % classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random features make poor statistics
        fitted = {name: _fit(part, acts) for name, part in parts.items()}
        together = [
            tuple(f[j] if j < len(f) else () for f in fitted.values())
            for j in range(len(bundle.passes))
        ]
    together = jax.device_put(tuple(together))

    def forward(variables: Any, images: Any) -> Any:
        acts = jood.observe(model, variables, images, edits=bundle.edits)
        return _logits(acts)

    def scored(variables: Any, fitted: Any, images: Any) -> Any:
        acts = jood.observe(model, variables, images, edits=bundle.edits)
        return bundle.apply(fitted, acts)

    alone, all_of_them = jax.jit(forward), jax.jit(scored)
    seconds = turns.medians(
        {
            "network": lambda: alone(variables, images),
            "scores": lambda: all_of_them(variables, together, images),
        },
        _RUNS.value,
    )
    network, scores = seconds["network"], seconds["scores"]
    shares = []
    for name, part in parts.items():
        one = functools.partial(jax.jit(part.apply), jax.device_put(fitted[name]))
        own = turns.medians({name: functools.partial(one, acts)}, _RUNS.value)[name]
        shares.append((name, 1000 * own, 100 * own / network))
    shares.sort(key=lambda row: -row[1])
    headers = ("method, on a given record", "ms", "% of the passes")
    print(tabulate.tabulate(shares, headers=headers, floatfmt=".2f"))
    runs = 1 + len(bundle.edits)
    print(
        f"\n{len(parts)} detectors, {_MODEL.value} at {size} px, batch "
        f"{len(images)}, {classes} classes, {jax.devices()[0].device_kind}\n"
        f"the {runs} runs of the network alone: {1000 * network:.0f} ms a batch\n"
        f"with all scores: {1000 * scores:.0f} ms, {scores / network:.3f} times"
    )


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
    width, seen = acts.penultimate.shape[-1], min(100, _CLASSES.value)
    chunks = [
        jood.Activations.of(
            rng.gamma(0.5, 1.0, (min(_ROWS_TO_FIT, rows - start), width)),
            acts.kernel,
            acts.bias,
            labels=rng.integers(0, seen, min(_ROWS_TO_FIT, rows - start)),
        )
        for start in range(0, rows, _ROWS_TO_FIT)
    ]
    try:
        return jood.fit(part, chunks)
    except jood.MissingStageError:
        return jood.fit(part, [acts])


def _logits(acts: Any) -> list[Any]:
    """The logits of the plain run and of all edited ones, nested ones too."""
    found = [acts.logits]
    for record in acts.edited.values():
        found += _logits(record)
    return found


if __name__ == "__main__":
    cli.run(main)
