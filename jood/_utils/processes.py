"""Several processes, one run: who writes, who waits, and what all of them know.

Every process runs the same program on its share of each batch. `begin` joins them;
it comes before anything else that asks JAX for devices. With a single process all of
this does nothing.
"""

from collections.abc import Callable
import os
import sys
from typing import NoReturn

import jax
from jax.experimental import multihost_utils
import numpy as np
import orbax.checkpoint as ocp


def begin(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    *,
    cluster: bool = False,
) -> None:
    """Joins the processes of a run.

    Args:
      coordinator: host:port of process 0, which all processes can reach; None for a
        single process, or where the cluster says.
      count: number of processes.
      index: index of this process.
      cluster: whether to read all that from the environment, of SLURM, a TPU pod,
        Kubernetes, Open MPI and whatever else `jax.distributed.initialize` knows.

    Raises:
      ValueError: the arguments contradict each other, the coordinator is not host:port,
        or JAX does not know the environment.
      OSError: the processes did not find each other.
    """
    given = [value is not None for value in (coordinator, count, index)]
    if any(given) and (cluster or not all(given)):
        raise ValueError(
            "processes are joined by coordinator, count and index together, or by the "
            f"cluster; got {coordinator=}, {count=}, {index=}, {cluster=}."
        )
    if not cluster and not any(given):
        return
    if coordinator is not None and not coordinator.rpartition(":")[2].isdigit():
        raise ValueError(
            f"the coordinator must be host:port of process 0, got {coordinator!r}."
        )
    # JAX would take SIGTERM for itself; here it saves (jood.training.preemption).
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(coordinator, count, index)
    except ValueError as error:
        raise ValueError(
            f"JAX cannot tell from the environment who the processes are ({error}) Is "
            "this a task of SLURM, a TPU pod, Kubernetes or Open MPI? Else name them: "
            "--coordinator, --processes and --process_index."
        ) from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise OSError(f"the processes did not find each other: {reason}") from error


def is_first() -> bool:
    """Whether this process writes what is written once."""
    return jax.process_index() == 0


def first_does(what: Callable[[], None]) -> None:
    """Calls something in the first process; all wait for it, and fail if it does."""
    failed: Exception | None = None
    try:
        if is_first():
            what()
    except Exception as error:
        failed = error
    if any_agree(failed is not None):
        raise failed or OSError("the first process cannot continue; it says why.")


def leave(message: str) -> NoReturn:
    """Ends this process with a message and code 1, without waiting for the others.

    JAX's coordinator ends those, which may wait for this one in a collective.
    """
    if jax.process_count() == 1:
        sys.exit(message)
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def wait(what: str) -> None:
    """Returns when every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def any_agree(flag: bool) -> bool:
    """Whether the flag is set in any process; the same answer in all."""
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


def all_agree(flag: bool) -> bool:
    """Whether the flag is set in every process; the same answer in all."""
    return bool(multihost_utils.process_allgather(np.array(flag)).all())


def alone() -> ocp.options.MultiprocessingOptions:
    """Returns Orbax's options for a process that reads for itself, not with others."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index,
        active_processes={index},
        barrier_sync_key_prefix=f"process{index}",
    )
