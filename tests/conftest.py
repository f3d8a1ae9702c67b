"""Two CPU devices, strict shapes, and the paths of data that is not in the project."""

import atexit
import os
import shutil
import tempfile

from helpers import cpu_devices

# Before JAX starts: tests of sharding need more than one device, and most of their
# time is compilation.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + f" {cpu_devices.flags(2)} --xla_backend_optimization_level=1"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# One compilation for the jobs and training runs that several tests start, in this
# process and in others.
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers use their parent's
    _CACHE = tempfile.mkdtemp(prefix="jood_compiled_")
    atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

import pathlib

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


def _data_folder() -> pathlib.Path:
    if "JOOD_DATA_DIR" not in os.environ:
        pytest.skip("JOOD_DATA_DIR is not set; it names the folder of real data")
    folder = pathlib.Path(os.environ["JOOD_DATA_DIR"])
    assert folder.is_dir(), f"JOOD_DATA_DIR={folder} is no folder"
    return folder


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """The folder of real images and pretrained networks."""
    return _data_folder()


@pytest.fixture(scope="session")
def golden_dir() -> pathlib.Path:
    """Scores that independent PyTorch code gave on fixed inputs."""
    folder = _data_folder().parent / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden scores in {folder}")
    return folder


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium that Playwright drives."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="Playwright, which drives a browser, is missing"
    )
    found = [shutil.which(name) for name in ("chromium", "chromium-browser")]
    path = next((name for name in found if name), None)
    if path is None:
        pytest.skip("no browser: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path)
        yield opened
        opened.close()
