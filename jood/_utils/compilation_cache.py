"""Compiled programs that a later process finds on disk, instead of compiling them.

`Detector.export` copies this module into its file.
"""

import os

import jax
from jax.experimental.compilation_cache import compilation_cache


def keep_programs(folder: str | os.PathLike[str]) -> None:
    """Has JAX keep compiled programs in a folder, from now on, and take them from it.

    JAX_COMPILATION_CACHE_DIR does the same, but by default leaves out what compiles
    within a second (JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS); here all is kept.
    Programs of the folder are trusted: nobody else should be able to write to it.
    """
    folder = os.path.abspath(folder)
    # JAX adds its options to the configuration when it runs.
    used = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if used != folder:
        compilation_cache.set_cache_dir(folder)
        compilation_cache.reset_cache()  # the first compilation has opened another
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
