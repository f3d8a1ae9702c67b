"""`import jood` has no side effect: no device, no flag, nothing heavy."""

import subprocess
import sys

CODE = """
import sys
import jax
import flax.linen
from absl import flags
import jood
from jax._src import xla_bridge
assert not xla_bridge._backends, "importing jood started a backend"
defined = [m for m in flags.FLAGS.flags_by_module_dict() if m.startswith("jood")]
assert not defined, defined
assert not flags.FLAGS.is_parsed()
heavy = {"sklearn", "matplotlib", "grain", "orbax.checkpoint", "tensorflow_datasets"}
loaded = sorted(heavy & set(sys.modules))
assert loaded == BEFORE, loaded
"""


def test_importing_jood_touches_no_device_and_defines_no_flag():
    listing = "import sys, jax, flax.linen; print([m for m in %r if m in sys.modules])"
    heavy = sorted(
        {"sklearn", "matplotlib", "grain", "orbax.checkpoint", "tensorflow_datasets"}
    )
    before = subprocess.run(
        [sys.executable, "-c", listing % heavy],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("BEFORE", before)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
