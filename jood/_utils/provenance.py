"""What a result depends on besides its configuration: versions, and the commit."""

import importlib.metadata
import pathlib
import platform
import subprocess

from jood import version

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain")


def versions() -> dict[str, str]:
    """Returns the versions that a result depends on, by name.

    'git' is the commit of jood's clone, with a '+' after edits; '' for a package.
    """
    return {
        "jood": version.VERSION,
        "git": _commit(pathlib.Path(__file__).parents[2]),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _commit(folder: pathlib.Path) -> str:
    if not (folder / ".git").exists():  # git would find a repository further up
        return ""
    command = ("git", "describe", "--always", "--abbrev=12", "--dirty=+")
    try:
        completed = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return completed.stdout.strip() if completed.returncode == 0 else ""
