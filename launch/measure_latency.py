"""Measures what one image costs beside the bare network.

    jood measure_latency --model=resnet20 --image_size=32

The rows of a detector take turns with the bare jitted network, as `jax.jit` compiles it
and with the options that detectors are compiled with; printed are medians. Weights are
random: time does not depend on them.
"""

from collections.abc import Callable
import pathlib
import tempfile
import time
from typing import Any

from absl import flags
import jax
import numpy as np

import jood
from jood import cli
from jood._utils import compiling
from jood._utils import measuring
from jood._utils import turns
from jood.core import compose
from jood.detector import export_loader

_TWELVE = (
    "msp()",
    "energy()",
    "max_logit()",
    "entropy()",
    "gen()",
    "doctor_alpha()",
    "react(q=0.9)|energy()",
    "ash_s(q=0.65)|energy()",
    "dice(q=0.7)|energy()",
    "feature_sim()",
    "ta(k=0.2)|feature_sim()",
    "mahalanobis()",
)
_DETECTORS: dict[str, Callable[[], Any]] = {
    "Energy": lambda: "energy()",
    "FS + TA + Energy": lambda: "fs_ta_energy",
    "12 detectors": lambda: compose.bundle(
        **{text: jood.parse(text) for text in _TWELVE}
    ),
}

_MODEL = cli.define_model("resnet50", "The network.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Side in pixels.", 8)
_CLASSES = flags.DEFINE_integer("classes", 10, "Classes of the network.", 2)
_COMPARED = flags.DEFINE_multi_enum(
    "detector", list(_DETECTORS), list(_DETECTORS), "Detectors; may be repeated."
)
_RUNS = flags.DEFINE_integer("runs", 100, "Runs of each row, in turns.", 1)
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)


def main(argv: list[str]) -> None:
    """Prints the table."""
    del argv
    side = _IMAGE_SIZE.value
    rng = np.random.default_rng(0)
    images = rng.standard_normal((4 * _CLASSES.value, side, side, 3), np.float32)
    model = jood.models.create(_MODEL.value, _CLASSES.value)
    variables = compiling.run_once(model.init, jax.random.key(0), images[:1])
    labels = np.arange(len(images)) % _CLASSES.value

    def fitted(component: Any) -> jood.Detector:
        detector = jood.Detector(component, model, variables).fit([(images, labels)])
        return detector.calibrate([images], tpr=0.5)

    size = f"{_MODEL.value}, {side} px"
    image = images[:1]
    rows: list[dict[str, Any]] = []
    for name in _COMPARED.value:
        rows += _rows(name, fitted(_DETECTORS[name]()), image)
    what = f"one image at a time, {size}, {_RUNS.value} runs of each in turns"
    measuring.report(what, rows, _OUTPUT.value)


def _rows(
    name: str, detector: jood.Detector, image: np.ndarray
) -> list[dict[str, Any]]:
    """The rows of a detector, the bare network among them."""
    usual, network = jax.jit(detector.model.apply), compiling.jit(detector.model.apply)
    variables = jax.device_put(detector.variables)
    function, params = detector.function()
    function = jax.jit(function)
    with tempfile.TemporaryDirectory() as folder:
        detector.export(pathlib.Path(folder) / "detector.zip")
        exported = export_loader.load(pathlib.Path(folder) / "detector.zip")
    start = time.perf_counter()
    detector.compile(image.shape[1:])
    compiled = time.perf_counter() - start
    programs: dict[str, Callable[[], Any]] = {
        "network, jax.jit": lambda: np.asarray(usual(variables, image)),
        "network": lambda: np.asarray(network(variables, image)),
        "detector(image)": lambda: detector(image),
        "detector.answer": lambda: detector.answer(image),
        "jitted function()": lambda: function(params, image),
        "exported file": lambda: exported.score(image),
    }
    times = turns.medians(programs, _RUNS.value)
    return [
        {
            "detector": name,
            "what": what,
            "ms": 1000 * seconds,
            "x network": seconds / times["network"],
            "x network, jax.jit": seconds / times["network, jax.jit"],
            "compile s": compiled if what == "detector(image)" else None,
        }
        for what, seconds in times.items()
    ]


if __name__ == "__main__":
    cli.run(main)
