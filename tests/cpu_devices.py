"""XLA's flags for several CPU devices in one process."""

# Devices share a pool of as many threads as there are cores, and block its threads when
# they wait for each other. On a busy machine with two cores, training on two devices
# hung in half of the runs; it never did without the pool, where each device computes
# in a thread of its own.
_NO_POOL = "--xla_cpu_multi_thread_eigen=false"
# By default a process ends itself when a device is 40 s late: busy is no failure.
_PATIENCE = "--xla_cpu_collective_call_terminate_timeout_seconds=300"


def flags(devices: int) -> str:
    """Returns what XLA_FLAGS must hold before JAX starts."""
    count = f"--xla_force_host_platform_device_count={devices}"
    return f"{count} {_NO_POOL} {_PATIENCE}"
