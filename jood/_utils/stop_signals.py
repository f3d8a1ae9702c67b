"""Ctrl-C and SIGTERM: a job unwinds once, says so, and ends with 128 + the signal.

The first of them raises KeyboardInterrupt in the main thread, so that what is half-done
is cleaned up. Two things then go wrong in a process that computes with XLA:

- What is raised where Python cannot raise, as in JAX's callback of the garbage
  collector, is printed and forgotten; other code catches everything and goes on. So it
  is raised again and again until the main thread unwinds.
- XLA's threads still compute while the interpreter is torn down, and crash it. So
  `leave` ends the process without that.
"""

import _thread
from collections.abc import Iterator
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
CLEANER = "jood cleans up"  # name of threads that `leave` waits for
_AGAIN = 0.5  # seconds after which a lost interrupt is raised again
_REPEATS = signal.SIGURG  # does that: it is ignored where nobody handles it
_PATIENCE = 5.0  # seconds


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Ends the process when its block unwinds, after SIGINT or SIGTERM.

    The first signal raises KeyboardInterrupt, a second one ends the process at once.
    Signals that the process ignores, as in the background of some shells, stay ignored.
    What the block raises, if it gives KeyboardInterrupt a text, is the message.
    """
    received: list[int] = []
    before = {each: signal.getsignal(each) for each in (*SIGNALS, _REPEATS)}
    signals = [each for each in SIGNALS if before[each] != signal.SIG_IGN]
    hook = sys.unraisablehook

    def interrupt(number: int, _: Any) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        for each in signals:  # even where the main thread does not come back to Python
            signal.signal(each, signal.SIG_DFL)
        signal.signal(_REPEATS, _unless_unwinding)
        _thread.start_new_thread(_repeat, (threading.get_ident(),))
        raise KeyboardInterrupt

    def unraisable(lost: Any) -> None:
        if not received or not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)

    for each in signals:
        signal.signal(each, interrupt)
    sys.unraisablehook = unraisable
    try:
        yield
    except BaseException as error:
        if not received and not isinstance(error, KeyboardInterrupt):
            raise
        leave(_message(error, received), *received or [signal.SIGINT])
    finally:
        sys.unraisablehook = hook
        for each in (*signals, _REPEATS):
            signal.signal(each, before[each])


def _repeat(thread: int) -> None:
    """Reminds the main thread until the process ends; a blocking call is woken up."""
    while True:
        time.sleep(_AGAIN)
        signal.pthread_kill(thread, _REPEATS)


def _unless_unwinding(*_: Any) -> None:
    """Raises KeyboardInterrupt once more, but not in what cleans up after the first."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise KeyboardInterrupt


def _message(error: BaseException, received: list[int]) -> str:
    what = "stopped by SIGTERM" if signal.SIGTERM in received else "interrupted"
    if not isinstance(error, KeyboardInterrupt):
        return f"{what} ({type(error).__name__}: {error})."
    return str(error) or f"{what}; nothing is half-written."


def leave(message: str, number: int) -> NoReturn:
    """Ends the process with a message, after a signal, without Python's teardown."""
    with contextlib.suppress(OSError, ValueError):  # nobody may listen any more
        print(message, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    for thread in threading.enumerate():
        if thread.name == CLEANER:
            thread.join(_PATIENCE)
    for child in multiprocessing.active_children():
        child.terminate()
    os._exit(128 + number)
