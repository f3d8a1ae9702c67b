"""What a signal does to a job: it unwinds, says so, and ends with its number."""

import signal
import subprocess
import sys

from helpers.jobs import ROOT
import pytest

# The module alone, since jood's imports take seconds.
BEGIN = f"""
import atexit, gc, importlib.util, os, signal, sys, threading, time
path = "{ROOT}/jood/_utils/stop_signals.py"
spec = importlib.util.spec_from_file_location("stop_signals", path)
stop_signals = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stop_signals)
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(os.abort)  # stands for a crash in the interpreter's teardown

def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)

def wait():
    while True:
        time.sleep(0.01)
"""


def run(text, code):
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + text],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


UNWINDS = """
with stop_signals.ending():
    try:
        {}
    finally:
        print("cleaned up")
"""


@pytest.mark.parametrize(
    ("inside", "code", "says"),
    [
        ("send(); wait()", 130, "interrupted; nothing is half-written."),
        ("send(signal.SIGTERM); wait()", 143, "stopped by SIGTERM; nothing is half"),
        ("raise KeyboardInterrupt('12 are kept')", 130, "12 are kept"),
    ],
)
def test_a_job_unwinds_and_ends_without_a_teardown(inside, code, says):
    printed = run(UNWINDS.format(inside), code)
    assert "cleaned up" in printed
    assert says in printed


GARBAGE = """
gc.disable()
lost = []
def callback(*_):  # twice, before and after
    lost.append(1)
    send() if len(lost) == 1 else time.sleep(0.8)
gc.callbacks.append(callback)
with stop_signals.ending():
    gc.collect()
    wait()
"""
SWALLOWED = """
with stop_signals.ending():
    try:
        send()
        wait()
    except BaseException:
        pass
    threading.Event().wait()
"""


@pytest.mark.parametrize("text", [GARBAGE, SWALLOWED], ids=["garbage", "swallowed"])
def test_an_interrupt_that_is_lost_is_raised_again(text):
    """JAX has such a callback of the garbage collector."""
    assert run(text, 130) == "interrupted; nothing is half-written.\n"


def test_what_cleans_up_is_not_interrupted_again():
    printed = run(
        """
with stop_signals.ending():
    try:
        send()
        wait()
    finally:
        try:
            raise KeyError
        except KeyError:
            time.sleep(1.2)
        time.sleep(0.6)
        print("cleaned up")
""",
        130,
    )
    assert printed == "cleaned up\ninterrupted; nothing is half-written.\n"


def test_an_error_while_it_unwinds_is_told_and_changes_nothing():
    printed = run(
        """
with stop_signals.ending():
    try:
        send()
        wait()
    finally:
        raise OSError("disk full")
""",
        130,
    )
    assert printed == "interrupted (OSError: disk full).\n"


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
def test_a_second_signal_ends_the_process_at_once(second):
    run(
        f"""
with stop_signals.ending():
    try:
        send()
        wait()
    finally:
        send(signal.{second})
        wait()
""",
        -getattr(signal, second),
    )


def test_an_ignored_signal_stays_ignored_and_errors_pass():
    printed = run(
        """
signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    with stop_signals.ending():
        send()
        raise ValueError("as before")
except ValueError as error:
    print(error)
assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
atexit.unregister(os.abort)
""",
        0,
    )
    assert printed == "as before\n"
