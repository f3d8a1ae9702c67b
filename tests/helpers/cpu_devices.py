"""The environment of a process with several CPU devices."""

from importlib import metadata

# By default a process ends itself when a device is 40 s late: busy is not a failure.
_PATIENCE = "--xla_cpu_collective_call_terminate_timeout_seconds=300"
# Most of the tests' time is compilation. The emitters of fusions build an MLIR context
# for each program, a third of its compilation. Later versions of XLA have no flag for
# them, and an unknown flag ends the process.
_COMPILER = "--xla_backend_optimization_level=1"
if metadata.version("jaxlib").startswith("0.10."):
    _COMPILER += " --xla_cpu_use_fusion_emitters=false"


def flags(devices: int) -> str:
    """Returns what XLA_FLAGS must hold before JAX starts."""
    count = f"--xla_force_host_platform_device_count={devices}"
    return f"{count} {_PATIENCE} {_COMPILER}"


def environment(devices: int) -> dict[str, str]:
    """Returns the variables for a process that trains on so many devices.

    Devices share XLA's pools, which have as many threads as there are cores. With two,
    training on two devices hung on a busy machine in 3 of 6 trials; with eight in none
    of 11.
    """
    several = {"PJRT_NPROC": "8"} if devices > 1 else {}
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags(devices), **several}
