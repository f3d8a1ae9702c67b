"""A folder of compiled programs: another process takes them from there."""

import subprocess
import sys

import pytest

CODE = """
import sys
import jax
from jood._utils import compilation_cache, compiling

events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
jax.jit(lambda x: x - 1)(2.0)  # compiled before, in no folder
compilation_cache.keep_programs(sys.argv[1])
compilation_cache.keep_programs(sys.argv[1])
for jit in (jax.jit, compiling.jit):
    assert jit(lambda x: 2 * x + 1)(3.0) == 7.0
print(sum(name.endswith("cache_hits") for name in events))
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path):
    """Also not what compiles in milliseconds, or with options of ours."""
    command = [sys.executable, "-c", CODE, str(tmp_path / "kept")]
    hits = [
        int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    ]
    assert hits[0] == 0
    assert hits[1] >= 2
