"""Measures how long one image takes: the network, a detector, a scorer, a service.

    jood measure_serving --model=resnet20 --image_size=32

One image at a time, as traffic comes. The four take turns, so that what else the
machine does hits all of them; the time of all cores hardly depends on that, and its
ratio to the bare network's says what they add. The scorer and the service are given a
JPEG file of that size, which they decode. Time does not depend on the weights, which
are random unless --weights names a file.
"""

from collections.abc import Callable, Iterator
import contextlib
import http.client
import io
import pathlib
import tempfile
import time
from typing import Any

from absl import flags
import jax
import numpy as np
from PIL import Image

import jood
from jood import cli
from jood._utils import compiling
from jood._utils import measuring
from jood._utils import turns
from jood.core.preprocessing import Preprocessing
from jood.deploy import web_service

_MODEL = cli.define_model("resnet50", "The network.")
_WEIGHTS = flags.DEFINE_string(
    "weights", None, "File of the network's weights; else they are random."
)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Side in pixels.", 1)
_CLASSES = flags.DEFINE_integer("classes", 10, "Classes of the network.", 1)
_METHOD = flags.DEFINE_string("method", "fs_ta_energy", "Detector that scores.")
_REQUESTS = flags.DEFINE_integer(
    "requests", 200, "Requests to each of them, in turn.", 1
)
_COMPILATION_CACHE = cli.define_compilation_cache()
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)


def main(argv: list[str]) -> None:
    """Times the network, `answer` of detector and scorer, and requests."""
    del argv
    side = _IMAGE_SIZE.value
    pixels = np.random.default_rng(0).integers(0, 256, (9, side, side, 3), np.uint8)
    detector = _detector(pixels)
    image, jpeg = pixels[:1], _jpeg(pixels[0])
    network = compiling.jit(detector.model.apply)
    assert detector.preprocessing is not None  # _detector gave it one
    inputs = jax.jit(detector.preprocessing)(image)
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        detector.save(folder / "detector")
        scorer = jood.Scorer(
            folder / "detector", compilation_cache=_COMPILATION_CACHE.value
        )
        start = time.perf_counter()
        scorer.warm_up()
        warm = time.perf_counter() - start
        post = stack.enter_context(_posts(scorer))
        contenders: dict[str, Callable[[], Any]] = {
            "network": lambda: network(detector.variables, inputs),
            "Detector.answer": lambda: detector.answer(image),
            "Scorer.answer": lambda: scorer.answer([jpeg]),
            "POST /answer": lambda: post(jpeg),
        }
        times = turns.measured(contenders, _REQUESTS.value, turns.both_seconds)
    cores = {name: float(np.median(runs[:, 1])) for name, runs in times.items()}
    rows = [
        {
            "what": name,
            "p50 ms": 1000 * float(np.median(runs[:, 0])),
            "p95 ms": 1000 * float(np.quantile(runs[:, 0], 0.95)),
            "core ms": 1000 * cores[name],
            "core time x network": cores[name] / cores["network"],
        }
        for name, runs in times.items()
    ]
    what = (
        f"one image at a time, {_MODEL.value}, {side} px, {_METHOD.value}, "
        f"{_REQUESTS.value} of each; reading the detector and compiling took "
        f"{warm:.1f} s"
    )
    measuring.report(what, rows, _OUTPUT.value)


def _detector(pixels: np.ndarray) -> jood.Detector:
    """A detector that was fitted on noise."""
    side = _IMAGE_SIZE.value
    model = jood.models.create(_MODEL.value, _CLASSES.value)
    if _WEIGHTS.value is None:
        variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, side, side, 3)))
    else:
        variables = jood.weights.load(_WEIGHTS.value, model)
    how = Preprocessing(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), resize=side, crop=side
    )
    detector = jood.Detector(jood.parse(_METHOD.value), model, variables, how)
    labels = np.arange(len(pixels)) % _CLASSES.value
    return detector.fit([(pixels, labels)]).calibrate([pixels], tpr=0.8)


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg")
    return buffer.getvalue()


@contextlib.contextmanager
def _posts(scorer: jood.Scorer) -> Iterator[Callable[[bytes], None]]:
    """Runs the web service; yields a function that posts a file over one connection."""
    with web_service.in_background(web_service.build(scorer)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def post(content: bytes) -> None:
            connection.request("POST", "/answer", content)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise ValueError(f"the service answered {response.status}: {answer!r}")

        yield post
        connection.close()


if __name__ == "__main__":
    cli.run(main)
