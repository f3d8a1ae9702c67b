"""Stopping at SIGTERM, which schedulers send before they take a machine."""

from collections.abc import Iterator
import contextlib
import signal
import threading
from typing import Any


class StoppedError(Exception):
    """A run was asked to stop, and has saved where it is; the message says so."""


@contextlib.contextmanager
def on_sigterm() -> Iterator[threading.Event]:
    """Yields an event that the first SIGTERM sets; a second one ends the process."""
    asked, before = threading.Event(), signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield asked  # signals reach the main thread only
        return

    def ask(*_: Any) -> None:
        asked.set()
        signal.signal(signal.SIGTERM, before)

    signal.signal(signal.SIGTERM, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
