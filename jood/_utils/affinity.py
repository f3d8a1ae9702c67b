"""The cores that this process may run on, which may be fewer than the machine has."""

import os


def cores() -> int:
    """Returns their number, as XLA counts them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
