r"""Answers for images over HTTP: score, is_ood, p-value, class.

    pip install 'jood[serve]'
    jood serve --detector=detectors/mine --port=8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/answer

--detector is a folder of jood fit or a file of jood export. docs/serving.md
shows the answers, the refusals and the times of the service.
"""

import contextlib

from absl import flags

from jood import cli
from jood.deploy import web_service
from jood.deploy.scorer import Scorer

_DETECTOR = flags.DEFINE_string(
    "detector", None, "Folder of a detector, or its exported file.", required=True
)
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all of this machine."
)
_PORT = flags.DEFINE_integer("port", 8000, "Port to listen on.", 0, 65535)
_MEGABYTES = flags.DEFINE_float(
    "max_megabytes", 10, "Size of an image file from which it is refused.", 0
)
_THREADS = flags.DEFINE_integer(
    "threads", 2, "Images that are decoded and scored at a time.", 1
)
_WAITING = flags.DEFINE_integer(
    "max_waiting", 64, "Requests at a time from which others get status 503.", 1
)
_COMPILATION_CACHE = cli.define_compilation_cache()
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Opens the detector, compiles and listens."""
    del argv
    try:
        import fastapi  # noqa: F401  (which the service imports when it is built)
        import uvicorn
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'jood[serve]'.") from None
    scorer = Scorer(_DETECTOR.value, compilation_cache=_COMPILATION_CACHE.value)
    scorer.warm_up([])  # opens the detector: what is wrong with it is said now
    address = f"http://{_HOST.value}:{_PORT.value}/answer"
    if _DRY_RUN.value:
        cli.would(f"answer with {_DETECTOR.value} at {address}")
        return
    app = web_service.build(scorer, round(1e6 * _MEGABYTES.value), _THREADS.value)
    print(f"listens soon; try: curl --data-binary @photo.jpg {address}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(
            app,
            host=_HOST.value,
            port=_PORT.value,
            limit_concurrency=_WAITING.value,
        )


if __name__ == "__main__":
    cli.run(main)
