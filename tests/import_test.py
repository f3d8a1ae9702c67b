"""`import jood` has no side effect: no device, no flag, nothing heavy, no JAX."""

import subprocess
import sys

CODE = """
import sys
import jood
assert "jax" not in sys.modules
try:
    jood.nothing
except AttributeError as error:
    assert "'nothing'" in str(error)
import jax
import flax.linen
heavy = {
    "sklearn", "matplotlib", "grain", "orbax.checkpoint", "tensorstore",
    "tensorflow_datasets", "pyarrow",
}
before = heavy & set(sys.modules)  # what JAX and Flax load by themselves
from absl import flags
assert set(jood.__all__) <= set(dir(jood))
for name in jood.__all__:
    getattr(jood, name)
from jax._src import xla_bridge
assert not xla_bridge._backends, "importing jood started a backend"
defined = [m for m in flags.FLAGS.flags_by_module_dict() if m.startswith("jood")]
assert not defined, defined
assert not flags.FLAGS.is_parsed()
assert heavy & set(sys.modules) == before, heavy & set(sys.modules) - before
"""


def test_importing_jood_touches_no_device_and_defines_no_flag():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
