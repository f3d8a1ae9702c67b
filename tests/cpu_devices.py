"""XLA's flags for several CPU devices on a machine that may be busy."""

# By default a process ends itself when one of its devices is 40 s late for the others:
# a busy machine is no failure.
_PATIENCE = " --xla_cpu_collective_call_terminate_timeout_seconds=600"


def flags(devices: int) -> str:
    """Returns what XLA_FLAGS must hold before JAX starts."""
    return f"--xla_force_host_platform_device_count={devices}{_PATIENCE}"
