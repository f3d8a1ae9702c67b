"""Ctrl-C and SIGTERM: a job unwinds once, says so, and ends with 128 + the signal.

The first of them raises KeyboardInterrupt in the main thread, so that what is half-done
is cleaned up. Two things then go wrong in a process that computes with XLA:

- Python calls some code from places that cannot raise, such as callbacks of the garbage
  collector, of which JAX has one. What is raised there is printed and forgotten, and
  the job would run on. Here it is raised again, a moment later.
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
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
CLEANER = "jood cleans up"  # name of threads that `leave` waits for
_AGAIN = 0.05  # seconds after which a lost interrupt is raised again
_PATIENCE = 5.0  # seconds


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Ends the process when its block unwinds, after SIGINT or SIGTERM.

    The first signal raises KeyboardInterrupt, a second one ends the process at once.
    Signals that the process ignores, as in the background of some shells, stay ignored.
    What the block raises, if it gives KeyboardInterrupt a text, is the message.
    """
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number in SIGNALS if before[number] != signal.SIG_IGN]
    hook = sys.unraisablehook

    def interrupt(number: int, _: Any = None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        for each in taken:  # even where the main thread does not come back to Python
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt

    def again(number: int, _: Any = None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    def unraisable(lost: Any) -> None:
        if not received or not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)
            return
        signal.signal(received[0], again)
        timer = threading.Timer(_AGAIN, _thread.interrupt_main, [received[0]])
        timer.daemon = True
        timer.start()

    for number in taken:
        signal.signal(number, interrupt)
    sys.unraisablehook = unraisable
    try:
        yield
    except BaseException as error:
        if not received and not isinstance(error, KeyboardInterrupt):
            raise
        leave(_message(error, received), *received or [signal.SIGINT])
    finally:
        sys.unraisablehook = hook
        for number in taken:
            signal.signal(number, before[number])


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
