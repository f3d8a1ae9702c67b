"""How tests start a job: launch/JOB.py in a process of its own.

With the environment as it is, in a fork of one that has imported what jobs import.
"""

import os
import pathlib
import subprocess
import sys

from helpers import cpu_devices
from helpers import forked

ROOT = pathlib.Path(__file__).resolve().parents[2]  # the clone that the tests run in
# A prefix of jobs that are interrupted: a shell that runs tests in the background makes
# them, and what they start, deaf to SIGINT.
_HEARS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
HEARS_SIGINT = (sys.executable, "-c", _HEARS)


# A job on tiny data runs its programs a few times: compiling them is what costs.
_QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
# Variables that come too late for a fork of a process that has imported JAX.
_READ_AT_IMPORT = ("JAX_", "OMP_", "OPENBLAS_", "PYTHON", "MPL")


def environment(devices=1, **variables):
    """Returns this process's environment for a job; a variable of None is removed."""
    changed = {**os.environ, **_QUICK, **cpu_devices.environment(devices), **variables}
    return {name: value for name, value in changed.items() if value is not None}


def command(job, *flags):
    """Returns the command line of a job."""
    return [sys.executable, str(ROOT / "launch" / f"{job}.py"), *map(str, flags)]


def run_job(
    job, *flags, ok=True, code=None, prefix=(), cwd=None, timeout=500, **variables
):
    """Runs a job to its end; returns what it printed, errors last.

    Args:
      job: Name of its file in launch/.
      *flags: What stands after it on the command line.
      ok: Whether it must end with exit code 0, or with another one.
      code: The exit code it must end with, instead of `ok`.
      prefix: What stands before the command line, such as a limit on resources.
      cwd: The folder that it runs in.
      timeout: Seconds after which it is ended.
      **variables: Environment variables; see `environment`.
    """
    done = start_job(job, *flags, prefix=prefix, cwd=cwd, **variables)
    try:
        printed, _ = done.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        done.kill()
        raise AssertionError(f"{job} ran on: {done.communicate()[0]}") from None
    expected = (done.returncode == 0) == ok if code is None else done.returncode == code
    assert expected, f"{job} ended with exit code {done.returncode}:\n{printed}"
    return printed


def start_job(job, *flags, prefix=(), cwd=None, **variables):
    """Starts a job; `communicate` of what it returns gives all that it printed."""
    line = [*map(str, prefix), *command(job, *flags)]
    if prefix or any(name.startswith(_READ_AT_IMPORT) for name in variables):
        return subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(**variables),
            cwd=cwd,
        )
    return forked.ForkedJob(line, environment(**variables), cwd)
