"""XLA's flags for several CPU devices in one process."""

# By default a process ends itself when a device is 40 s late: busy is no failure.
_PATIENCE = "--xla_cpu_collective_call_terminate_timeout_seconds=300"


def flags(devices: int) -> str:
    """Returns what XLA_FLAGS must hold before JAX starts."""
    return f"--xla_force_host_platform_device_count={devices} {_PATIENCE}"
