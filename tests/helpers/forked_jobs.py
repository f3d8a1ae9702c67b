"""Runs a job several times in processes that share its imports, which take seconds.

    python forked_jobs.py launch/train.py < lists_of_flags.json

A process that has imported the job, and started nothing, forks for each list. Printed
is a JSON list of [exit code, what it printed].
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from helpers import jobs
from jood import cli


def run(job, *lists_of_flags, timeout=500, **variables):
    """Returns (exit code, what it printed) of launch/JOB.py with each list of flags."""
    path = jobs.ROOT / "launch" / f"{job}.py"
    done = subprocess.run(
        [sys.executable, "-m", "helpers.forked_jobs", str(path)],
        input=json.dumps([list(map(str, flags)) for flags in lists_of_flags]),
        capture_output=True,
        text=True,
        cwd=jobs.ROOT / "tests",
        env=jobs.environment(**variables),
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [tuple(pair) for pair in json.loads(done.stdout)]


def _main():
    path = pathlib.Path(sys.argv[1])
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    job = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = job
    spec.loader.exec_module(job)
    found = []
    for flags in json.load(sys.stdin):
        with tempfile.TemporaryFile("w+", errors="replace") as printed:
            if not (child := os.fork()):
                os.dup2(printed.fileno(), 1)
                os.dup2(printed.fileno(), 2)
                sys.argv = [str(path), *flags]
                cli.run(job.main)
                sys.exit()
            _, status = os.waitpid(child, 0)
            printed.seek(0)
            found.append([os.waitstatus_to_exitcode(status), printed.read()])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    _main()
