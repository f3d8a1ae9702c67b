"""A job in a fork of a process that has imported what jobs import, which takes seconds.

It is otherwise as a process of its own: its environment, folder, exit code and signals.
"""

import atexit
import functools
import multiprocessing
from multiprocessing import forkserver
import os
import pathlib
import runpy
import shutil
import subprocess
import sys
import tempfile
from unittest import mock
import weakref


class ForkedJob:
    """A running job, with what tests use of `subprocess.Popen`."""

    def __init__(self, command, environment, cwd=None):
        """Starts [Python, path, *flags], which prints to files, in `cwd`."""
        folder = tempfile.mkdtemp(prefix="jood_job_")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._printed = [pathlib.Path(folder, name) for name in ("out", "err")]
        arguments = (command[1:], environment, cwd or os.getcwd(), self._printed)
        self._process = _context(environment).Process(target=_run, args=arguments)
        self._process.start()
        self.args = command

    def poll(self):
        return self._process.exitcode

    returncode = property(poll)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self._process.pid, number)

    terminate = functools.partialmethod(send_signal, 15)
    kill = functools.partialmethod(send_signal, 9)

    def communicate(self, timeout=None):
        """Waits for its end; returns what it printed, errors last, and None."""
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return "".join(p.read_text(errors="replace") for p in self._printed), None


def _context(environment):
    """Starts the process that forks, with the environment of the first job.

    Of a job's own environment what JAX reads as it is imported comes too late: such
    jobs need a process of their own.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.imported_by_jobs"])
    variables = {**environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    with mock.patch.dict(os.environ, variables):
        forkserver.ensure_running()
    return context


def _run(command, environment, cwd, printed):
    """Becomes the job; ends as Python does."""
    for number, path in enumerate(printed, start=1):
        with path.open("w") as file:
            os.dup2(file.fileno(), number)
    multiprocessing.set_start_method(None, force=True)  # it has that of its parent
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    tempfile.tempdir = None  # the parent's; the job's is that of its environment
    sys.argv = command
    sys.path.insert(0, str(pathlib.Path(command[0]).parent))
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # a process of multiprocessing leaves them out
