"""Stopping when asked: SIGTERM, as schedulers send it before they take a machine."""

from collections.abc import Iterator
import contextlib
import dataclasses
import signal
import threading
from typing import Any


class StoppedError(Exception):
    """A run was asked to stop, and has saved where it is; the message says so."""


@dataclasses.dataclass
class Stop:
    """Whether a run was asked to stop; it saves and ends after the current step."""

    asked: bool = False


@contextlib.contextmanager
def on_sigterm() -> Iterator[Stop]:
    """Yields a `Stop` that the first SIGTERM sets; a second one ends the process.

    Signals reach the main thread only, so in another thread nothing sets it.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGTERM)

    def ask(*_: Any) -> None:
        stop.asked = True
        signal.signal(signal.SIGTERM, before)

    signal.signal(signal.SIGTERM, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
