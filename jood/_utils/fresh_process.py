"""A Python process to be timed, which finds nothing compiled."""

import os
import subprocess
import sys


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments, without a folder of compiled programs.

    Raises:
      ValueError: it failed; the message is what it printed.
    """
    environment = {k: v for k, v in os.environ.items() if "COMPILATION_CACHE" not in k}
    line = [sys.executable, *arguments]
    completed = subprocess.run(line, capture_output=True, text=True, env=environment)
    if completed.returncode:
        raise ValueError(f"a process failed:\n{completed.stderr or completed.stdout}")
    return completed
