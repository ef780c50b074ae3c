"""Read from the environment whether an MPI launcher started this process, and as which rank.

A process that a rank starts inherits the rank's environment variables, but is no rank itself. MPICH's
launcher keeps a connection with each of its ranks, and a child process does not inherit that connection.
"""

from __future__ import annotations

import os
import stat
import sys

__all__ = [
    "has_launcher_connection",
    "launched_alone",
    "launched_by_mpi",
    "launched_rank",
    "others_wait_for_start",
]

#: Pairs of environment variables in which launchers give a process its rank and the number of ranks.
_LAUNCHERS = (
    ("PMI_RANK", "PMI_SIZE"),
    ("PMIX_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_ID", "PMI_SIZE"),
)


def launched_by_mpi() -> bool:
    """Return True if an MPI launcher started this process, or if mpi4py is in use already."""
    has_rank = any(rank in os.environ for rank, _ in _LAUNCHERS)
    return (has_rank and has_launcher_connection() is not False) or "mpi4py.MPI" in sys.modules


def launched_rank() -> int:
    """Return the rank that a launcher gave this process, which is known before MPI starts; 0 without one."""
    if not launched_by_mpi():
        return 0
    values = [os.environ[rank] for rank, _ in _LAUNCHERS if rank in os.environ]
    return int(values[0]) if values and values[0].isdecimal() else 0


def launched_alone() -> bool:
    """Return True if a launcher started this process as its only rank."""
    return {os.environ.get(size) for rank, size in _LAUNCHERS if rank in os.environ} == {"1"}


def has_launcher_connection() -> bool | None:
    """Return True if MPICH's launcher has a connection with this process, None if it started no rank here.

    The environment of a rank names the descriptor of the connection. False means that this process was
    started by a rank: it has the variable, but not the connection.
    """
    launcher = os.environ.get("PMI_FD", "")
    if not launcher.isdecimal():
        return None
    try:
        mode = os.fstat(int(launcher)).st_mode
    except (OSError, OverflowError):
        return False
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)


def others_wait_for_start() -> bool:
    """Return True if MPICH's launcher started this process with others, and MPI has not started here yet."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and (mpi.Is_initialized() or mpi.Is_finalized()):
        return False
    size = os.environ.get("PMI_SIZE", "")
    return size.isdecimal() and int(size) > 1 and has_launcher_connection() is True
