"""End the other ranks when one fails or leaves: installed where ranks work together.

MPI has no answer to a rank that ends while others wait for it: they wait forever, and it waits for them in
``MPI_Finalize``. Two things are done about it, of which a program that ends well notices nothing.

- **A rank fails**: an exception that nobody catches goes through ``sys.excepthook``, and ends all ranks. Of
  several that fail together one tells its error.
- **A rank leaves**, by ``sys.exit`` or at the end of the script, which need not be wrong. It publishes how
  many of our collective calls it has entered, and a rank that waits in a later one looks what its left
  neighbour has published. That is enough: where some ranks of a ring have left and others wait, one of those
  that wait stands at the right of one that has left. What is published goes through the launcher (MPICH's),
  for a message that nobody receives upsets ``MPI_Finalize``.
"""

from __future__ import annotations

import atexit
import os
import signal
import stat
import sys
import time
import traceback
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar

import numpy as np

from ...errors import DistributedError

__all__ = ["AbandonedError", "abort", "install", "is_told_here", "wait_for_ranks"]

#: The tag of messages of ranks that fail.
_FAILED = 29_148
#: Seconds within which the errors of several ranks are taken for one, which one rank tells.
TOGETHER = 0.5
#: Seconds that mpiexec has to pass on what was told; it drops the rest when it ends the ranks.
FORWARDING = 0.2
#: Seconds after which a rank that fails before MPI has started ends without it.
STARTING = 5.0
#: Ranks up to which each one that fails tells every other; of more, those at distances of powers of two.
_ALL = 256
#: Seconds that a rank waits for others without a pause; then it pauses for a share of the time that it has
#: waited, at most for so long.
BUSY = 1e-3
_SHARE, _LONGEST_PAUSE = 0.05, 2e-3
#: Seconds after which it looks for the first time for a neighbour that has left, and the most between looks.
_FIRST_LOOK, _LONGEST_LOOK = 0.3, 4.0


class AbandonedError(DistributedError):
    """A rank has left the program, and this one waits for it; raised on some of those that wait."""


class _State:
    """The state of this process: set up once, and not taken over by a fork."""

    pid = 0
    #: Our collective calls on all ranks that this one has entered.
    entered = 0
    #: What a rank that fails is still sending.
    sent: ClassVar[list[Any]] = []
    excepthook: Any = None


def install() -> None:
    """Set up what this module is for; once is enough, and further calls do nothing."""
    if _State.pid == 0:
        _State.pid = os.getpid()
        _State.excepthook = sys.excepthook
        sys.excepthook = _fail
        atexit.register(_leave)


def _world() -> Any:
    """All ranks, while MPI runs and there are several; else None."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or _State.pid not in (0, os.getpid()) or not mpi.Is_initialized() or mpi.Is_finalized():
        return None
    return mpi.COMM_WORLD if mpi.COMM_WORLD.size > 1 else None


# -- waiting --------------------------------------------------------------------------------------


def wait_for_ranks(comm: Any, request: Any) -> None:
    """Wait for a collective call that was begun: our collective calls begin with a small one, to wait here.

    Unlike a wait inside MPI it sleeps, can be interrupted, and sees a rank that has left.

    Parameters
    ----------
    comm : mpi4py communicator
    request : mpi4py request
        Of the call on `comm`.

    Raises
    ------
    AbandonedError
        On some of the ranks that wait, if `comm` is all ranks and one of them has left the program.
    """
    of_all = comm == sys.modules["mpi4py.MPI"].COMM_WORLD
    _State.entered += of_all
    next_look = _FIRST_LOOK
    start = time.perf_counter()
    while not request.Test():
        waited = time.perf_counter() - start
        if waited < BUSY:
            os.sched_yield()  # to a rank on the same core
            continue
        if of_all and waited > next_look:
            _check_neighbour(comm)
            next_look = min(2 * waited, waited + _LONGEST_LOOK)
        time.sleep(min(_SHARE * waited, _LONGEST_PAUSE))


def _check_neighbour(world: Any) -> None:
    if not _can_publish(world):
        return
    mpi, left = sys.modules["mpi4py.MPI"], (world.rank - 1) % world.size
    try:
        entered = int(mpi.Lookup_name(_name(left)))
    except mpi.Exception:
        return  # It has not left.
    # It may have left after this call, which then ends as soon as all others have come.
    if entered < _State.entered:
        raise AbandonedError(
            f"rank {left} has left the program, and rank {world.rank} waits for it: all ranks must make the "
            "same collective calls"
        )


def _leave() -> None:
    """Publish that this rank leaves."""
    world = _world()
    if world is not None and _can_publish(world):
        mpi = sys.modules["mpi4py.MPI"]
        with suppress(mpi.Exception):
            mpi.Publish_name(_name(world.rank), str(_State.entered))


def _name(rank: int) -> str:
    return f"mergesketch-left-{rank}"


def _can_publish(world: Any) -> bool:
    """Other libraries want a server for it; and what is not found must be no fatal error."""
    mpi = sys.modules["mpi4py.MPI"]
    handlers = (comm.Get_errhandler() for comm in (world, mpi.COMM_SELF))
    return mpi.get_vendor()[0] == "MPICH" and all(handler == mpi.ERRORS_RETURN for handler in handlers)


# -- failing --------------------------------------------------------------------------------------


def is_told_here(error: BaseException) -> bool:
    """Decide whether this rank tells its error; if others fail together with it, one of them may.

    That is the least rank of those where the error arose, and not the echo of another rank's.
    """
    world = _world()
    if world is None:
        return True
    is_echo = isinstance(error, DistributedError) and error.__cause__ is None
    ours, theirs = np.array([is_echo, world.rank]), np.empty(2, dtype=np.int64)
    n, rank = world.size, world.rank
    distances = range(1, n) if n <= _ALL else [d for k in range(n.bit_length()) for d in (1 << k, -(1 << k))]
    for other in {(rank + distance) % n for distance in distances} - {rank}:
        _State.sent.append((ours, world.Isend(ours, other, _FAILED)))
    any_source = sys.modules["mpi4py.MPI"].ANY_SOURCE
    end = time.monotonic() + TOGETHER
    while time.monotonic() < end:
        while world.Iprobe(any_source, _FAILED):
            world.Recv(theirs, any_source, _FAILED)
            if tuple(theirs) < tuple(ours):
                # That rank will end us; if it does not, its message is lost, but no rank is left.
                time.sleep(6 * TOGETHER)
                return False
        time.sleep(TOGETHER / 100)
    return True


def abort(code: int) -> None:
    """End all ranks, if there are several."""
    world = _world()
    if world is not None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        time.sleep(FORWARDING)
        world.Abort(code)


def _fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell, as ``sys.excepthook``, the error that nobody has caught, and end all ranks."""
    # An interpreter that goes on, and programs that have their errors told by this hook, go on as ever.
    is_end = getattr(sys, "last_value", None) is error and not (
        hasattr(sys, "ps1") or sys.flags.interactive or sys.flags.inspect
    )
    if is_end:
        _start_to_end(error)
    world = _world() if is_end else None
    if world is None:
        _State.excepthook(kind, error, trace)
        return
    if is_told_here(error):
        _State.excepthook(kind, error, trace)
        print(f"rank {world.rank} failed: all {world.size} ranks end", file=sys.stderr)
    abort(130 if issubclass(kind, KeyboardInterrupt) else 1)


def _start_to_end(error: BaseException) -> None:
    """Start MPI, for the others wait for this rank in the start of it; for MPICH, which does not see it end.

    They may also come there late or never. No thread of Python's runs meanwhile, so a child of this process
    looks at the clock; the end of a rank by a signal ends all others.
    """
    if _State.pid != os.getpid() or not _waits_for_start():
        return
    told = "".join(traceback.format_exception(error)).encode(errors="backslashreplace")
    parent = os.getpid()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            time.sleep(STARTING)
            os.write(2, told)
            os.kill(parent, signal.SIGKILL)
        finally:
            os._exit(0)
    try:
        from mpi4py import MPI

        if not MPI.Is_initialized():
            MPI.Init()
    except (ImportError, RuntimeError):
        pass  # Then the others have no MPI to wait in either.
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _waits_for_start() -> bool:
    """Tell whether MPICH's launcher started this very process, with others, and MPI has not begun here."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and (mpi.Is_initialized() or mpi.Is_finalized()):
        return False
    size = os.environ.get("PMI_SIZE", "")
    return size.isdecimal() and int(size) > 1 and has_launcher_connection() is True


def has_launcher_connection() -> bool | None:
    """Tell whether MPICH's launcher holds a connection with this process; None if it is no rank's.

    Processes that a rank has started inherit its environment, but not its connection.
    """
    launcher = os.environ.get("PMI_FD", "")
    if not launcher.isdecimal():
        return None
    try:
        mode = os.fstat(int(launcher)).st_mode
    except (OSError, OverflowError):
        return False
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)
