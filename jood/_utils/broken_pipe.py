"""What a process does when the reader of its output, such as `head`, has stopped."""

import signal


def end_quietly() -> None:
    """Lets the next write end the process, as it ends others, without a traceback."""
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
