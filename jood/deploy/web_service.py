"""A small web service in front of a detector: image in, JSON answer out.

    app = web_service.build(jood.Scorer("detectors/mine"))
    uvicorn.run(app)                        # launch/serve.py does

    curl --data-binary @photo.jpg http://127.0.0.1:8000/answer
    {"score":4.1,"is_ood":false,"p_value":0.63,"prediction":3,"class_name":"cat"}

The body is the image file itself, so that its length is limited as it comes. FastAPI
and uvicorn come with the extra `serve`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING, Any

from jood.deploy.scorer import Scorer

if TYPE_CHECKING:  # the extra is imported where it is used
    from fastapi import FastAPI

MOST_BYTES = 10 * 2**20


class RefusedError(ValueError):
    """An image gets no answer, but an HTTP status (4xx) and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def build(scorer: Scorer, most_bytes: int = MOST_BYTES, threads: int = 2) -> "FastAPI":
    """Returns the service, an ASGI application.

    Args:
      scorer: The scorer that answers. It is warmed up when the service starts.
      most_bytes: Largest length of an image's file; longer ones are refused.
      threads: Images that are decoded and scored at a time; others wait.
    """
    import fastapi

    pool = futures.ThreadPoolExecutor(threads)

    async def off_the_loop(work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    @contextlib.asynccontextmanager
    async def lifespan(_: fastapi.FastAPI) -> AsyncIterator[None]:
        await off_the_loop(scorer.warm_up)
        yield
        pool.shutdown()

    app = fastapi.FastAPI(title="jood", lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Answers when the detector is loaded and compiled."""
        return {"status": "ok"}

    @app.post("/answer")
    async def answer(request: fastapi.Request) -> dict[str, Any]:
        """The answer for the image that is the request's body."""
        try:
            content = await _content(request, most_bytes)
            return await off_the_loop(lambda: answer_of(scorer, content))
        except RefusedError as refused:
            raise fastapi.HTTPException(refused.status, str(refused)) from refused

    return app


@contextlib.contextmanager
def in_background(app: "FastAPI") -> Iterator[int]:
    """Runs a service in a thread, at a free port of this machine, which is yielded."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the service did not start; its log says why.")
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


async def _content(request: Any, most: int) -> bytes:
    """The body of a request, refused as soon as it is too long."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise RefusedError(
            415,
            "send the image file itself as the body, not a form: "
            "curl --data-binary @photo.jpg",
        )
    claimed = request.headers.get("content-length", "0")
    content = bytearray()
    if not claimed.isdecimal() or int(claimed) <= most:
        async for part in request.stream():
            content += part
            if len(content) > most:
                break
        else:
            return bytes(content)
    raise RefusedError(413, f"the image has more than the {most} bytes allowed")


def answer_of(scorer: Scorer, content: bytes) -> dict[str, Any]:
    """Returns the answer for an image file's content, as JSON values.

    Raises:
      RefusedError: The image cannot be read or scored.
    """
    try:
        answer = scorer.answer([content])
    except ValueError as error:  # NaN among the features
        raise RefusedError(422, str(error)) from error
    assert answer.error is not None  # a scorer's answers have one
    reason = answer.error[0]
    fields = {
        name: _first(values)
        for name, values in answer._asdict().items()
        if name != "error"
    }
    scores = fields["score"]
    every = scores.values() if isinstance(scores, dict) else [scores]
    if not reason and not all(map(math.isfinite, every)):
        reason = "its features or scores are NaN or infinite"
    if reason:
        raise RefusedError(422, f"the image cannot be scored: {reason}")
    return fields


def _first(values: Any) -> Any:
    """The first image's value, of an array [B], a dict of them, or None."""
    if isinstance(values, dict):
        return {name: _first(each) for name, each in values.items()}
    return None if values is None else values.tolist()[0]
