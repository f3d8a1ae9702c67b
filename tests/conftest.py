"""Two CPU devices, strict shapes, and the paths of data that is not in the project.

Most of the suite's time is compilation, of many small programs: about 30 ms and 1.5 MB
each. The settings here make each cheaper; tests make fewer of them by calling what they
check under `jit` and by sharing shapes.
"""

import atexit
import gc
import os
import shutil
import tempfile

from helpers import cpu_devices

# Before JAX starts: tests of sharding need more than one device.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {cpu_devices.flags(2)}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# A core for each worker: OpenBLAS's threads wait for each other by spinning, which made
# an eigendecomposition on a busy machine five times as expensive.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# One compilation for the jobs and training runs that several tests start, in this
# process and in others; .ci/run names a folder that its stages share.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # workers use their parent's
    _CACHE = tempfile.mkdtemp(prefix="jood_compiled_")
    atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

import pathlib

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def as_users_compile():
    """XLA optimises: it need not for tests that run a program a few times."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


def pytest_collection_finish() -> None:
    """Keeps the collector away from what lives as long as the process."""
    gc.collect()
    gc.freeze()


class _Programs:
    """How many programs this worker has compiled since its caches were cleared."""

    MOST = 1500  # of about 1.5 MB each
    count = 0


def _count_programs(event: str, *_: object, **__: object) -> None:
    _Programs.count += event == "/jax/core/compile/backend_compile_duration"


jax.monitoring.register_event_duration_secs_listener(_count_programs)


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_end_when_there_are_many():
    """Modules share small programs; with all of them a worker grows to 5 GB."""
    yield
    if _Programs.count > _Programs.MOST:
        jax.clear_caches()
        _Programs.count = 0


def _data_folder() -> pathlib.Path:
    if "JOOD_DATA_DIR" not in os.environ:
        pytest.skip("JOOD_DATA_DIR is not set; it names the folder of real data")
    folder = pathlib.Path(os.environ["JOOD_DATA_DIR"])
    assert folder.is_dir(), f"JOOD_DATA_DIR={folder} is not a folder"
    return folder


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """The folder of real images and pretrained networks."""
    return _data_folder()


def _golden_folder(variable: str, beside_the_data: str) -> pathlib.Path:
    """The folder that a variable names; otherwise one beside the data, or a skip."""
    if variable in os.environ:
        folder = pathlib.Path(os.environ[variable])
        assert folder.is_dir(), f"{variable}={folder} is not a folder"
        return folder
    if "JOOD_DATA_DIR" not in os.environ:
        pytest.skip(f"neither {variable} nor JOOD_DATA_DIR is set")
    folder = _data_folder().parent / beside_the_data
    if not folder.is_dir():
        pytest.skip(f"{variable} is not set and there is no {folder}")
    return folder


@pytest.fixture(scope="session")
def golden_dir() -> pathlib.Path:
    """Scores that independent PyTorch code gave on fixed inputs."""
    return _golden_folder("JOOD_GOLDEN", "golden")


@pytest.fixture(scope="session")
def golden_training_dir() -> pathlib.Path:
    """Losses and gradients that independent PyTorch code gave on fixed inputs."""
    return _golden_folder("JOOD_GOLDEN_TRAINING", "golden_training")


@pytest.fixture(scope="session")
def golden_clip_dir() -> pathlib.Path:
    """Features and scores that independent CLIP code gave on fixed inputs."""
    return _golden_folder("JOOD_GOLDEN_CLIP", "golden_clip")


@pytest.fixture(scope="session")
def golden_imagenet_dir() -> pathlib.Path:
    """Logits and scores of an ImageNet network, which its original code gave."""
    return _golden_folder("JOOD_GOLDEN_IMAGENET", "golden_imagenet")


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
