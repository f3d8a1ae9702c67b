"""Measures a network's convolutions and matrix products, each as a program of its own.

    jood measure_products --model=resnet56 --image_size=32 --batch_size=128

Whatever else a program for this network does, these it must compute, so with this XLA
it takes at least their sum. Each runs as often as in the network, on as many images at
a time, and waits for the one before. What the network takes beyond them is batch
normalisation, activation functions, pooling, softmax and the like.
"""

from collections.abc import Callable, Iterator
import functools
from typing import Any

from absl import flags
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

import jood
from jood import cli
from jood._utils import compiling
from jood._utils import measuring
from jood._utils import turns
from jood.core.backbones import observing

_MODEL = cli.define_model("resnet50", "The network.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images per batch.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Side in pixels.", 8)
_CLASSES = flags.DEFINE_integer("classes", 1000, "Classes of the network.", 2)
_RUNS = flags.DEFINE_integer("runs", 9, "Runs of each, in turn.", lower_bound=1)
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)

_PRODUCTS = ("conv_general_dilated", "dot_general")


def main(argv: list[str]) -> None:
    """Finds the products, times each and the network, and prints shares."""
    del argv
    side, batch = _IMAGE_SIZE.value, _BATCH_SIZE.value
    model = jood.models.create(_MODEL.value, _CLASSES.value)
    shape = (batch, side, side, 3)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    variables = compiling.run_once(model.init, jax.random.key(0), images[:1])
    variables, images = jax.device_put((variables, images))

    def network(variables: Any, images: Any) -> jax.Array:
        return observing.observe_in_chunks(model, variables, images).logits

    equations: dict[str, Any] = {}
    times: dict[str, int] = {}
    for equation, repeated in _products(jax.make_jaxpr(network)(variables, images)):
        name = _name(equation)
        equations[name] = equation
        times[name] = times.get(name, 0) + repeated
    programs: dict[str, Callable[[], Any]] = {
        "network": functools.partial(compiling.jit(network), variables, images)
    }
    programs |= {name: _program(equations[name], times[name]) for name in equations}
    seconds = turns.medians(programs, _RUNS.value)
    whole = seconds.pop("network")
    operations = {name: _operations(equations[name], times[name]) for name in equations}
    summed = {"network": whole, "its products": sum(seconds.values())}
    everything = dict.fromkeys(summed, sum(operations.values()))
    longest = dict(sorted(seconds.items(), key=lambda item: -item[1]))
    rows = [
        {
            "what": name,
            "times": times.get(name),
            "ms": 1000 * own,
            "x network": own / whole,
            "GFLOP/s": (everything | operations)[name] / own / 1e9,
        }
        for name, own in (summed | longest).items()
    ]
    what = (
        f"convolutions and products of {_MODEL.value} at {side} px, batch {batch}, "
        f"each by itself, median of {_RUNS.value} runs"
    )
    measuring.report(what, rows, _OUTPUT.value)


def _products(jaxpr: Any, times: int = 1) -> Iterator[tuple[Any, int]]:
    """Yields equations of a program and how often each of them runs."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name in _PRODUCTS:
            yield equation, times
        repeated = times * equation.params.get("length", 1)  # of a loop over chunks
        for inner in equation.params.values():
            if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                yield from _products(inner, repeated)


def _name(equation: Any) -> str:
    """Shapes, stride and groups, which tell one product from another."""
    left, right = (variable.aval.str_short() for variable in equation.invars)
    result = equation.outvars[0].aval.str_short()
    parameters = equation.params
    if equation.primitive.name == "dot_general":
        (contracted, _), (batched, _) = parameters["dimension_numbers"]
        return f"product {left} {right} -> {result}, over {contracted}, for {batched}"
    groups = parameters["feature_group_count"]
    text = f"convolution {left} {right} -> {result}"
    return text + (f", {groups} groups" if groups > 1 else "")


def _program(equation: Any, times: int) -> Callable[[], Any]:
    """Runs one product `times` times, each after the one before."""
    arguments = [_values(variable.aval) for variable in equation.invars]

    def once(_: int, carried: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        given, _ = lax.optimization_barrier(carried)
        result = equation.primitive.bind(*given, **equation.params)
        return given, result.ravel()[0]

    def run(given: list[jax.Array]) -> jax.Array:
        start = jnp.zeros((), equation.outvars[0].aval.dtype)
        return lax.fori_loop(0, times, once, (given, start))[1]

    return functools.partial(compiling.jit(run), arguments)


def _values(aval: Any) -> jax.Array:
    return jax.random.normal(jax.random.key(0), aval.shape, aval.dtype)


def _operations(equation: Any, times: int) -> float:
    """Floating-point operations of all its runs."""
    bound = functools.partial(equation.primitive.bind, **equation.params)
    lowered = jax.jit(bound).lower(*(variable.aval for variable in equation.invars))
    return times * (lowered.cost_analysis() or {}).get("flops", 0.0)


if __name__ == "__main__":
    cli.run(main)
