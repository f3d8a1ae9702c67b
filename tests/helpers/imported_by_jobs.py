"""All that jobs import, so that a process which forks for each imports it once."""

import importlib
import pkgutil

import jood

# Which jood's own modules import when they are called, and which take seconds.
_LATER = (
    "flax.nnx", "jinja2", "matplotlib.backends.backend_agg", "orbax.checkpoint",
    "PIL.Image", "pyarrow", "sklearn.datasets", "sklearn.manifold", "tensorboardX",
    "tensorstore",
)  # fmt: skip
_EXTRAS = ("jood.testing", "jood.launch")  # they need what a user may lack, or are jobs

for module in pkgutil.walk_packages(jood.__path__, "jood."):
    if not module.name.startswith(_EXTRAS) and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in _LATER:
    importlib.import_module(name)
