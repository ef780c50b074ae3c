"""End the other ranks when one rank fails or leaves; `install` sets this up where ranks work together.

MPI has no answer to a rank that ends while others wait for it. This module does two things about it, and a
program that ends well notices neither. An exception that nobody catches ends all ranks. A rank that leaves
publishes how many of this library's collective calls it has entered, and a rank that waits in a later call
looks at what its left neighbour has published. `docs/developers/decisions/failing-ranks.md` has the reasons.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar

import numpy as np

from ...errors import DistributedError
from .environment import others_wait_for_start

__all__ = ["AbandonedError", "abort", "install", "reports_error_here", "wait_for_ranks"]

#: The tag of the messages that failing ranks send.
_FAILED = 29_148
#: Seconds within which errors of several ranks count as one, which one rank prints.
TOGETHER = 0.5
#: Seconds that mpiexec gets to pass on printed text. It drops the rest when it ends the ranks.
FORWARDING = 0.5
#: Seconds after which a rank that fails before MPI has started ends without starting it.
STARTING = 5.0
#: Number of ranks up to which a failing rank informs all others. In larger programs it informs the ranks
#: whose distance is a power of two.
_INFORM_ALL = 256
#: Seconds that a rank waits for others without a pause. Later pauses last a share of the time it has waited.
BUSY = 1e-3
_SHARE, _LONGEST_PAUSE = 0.05, 2e-3
#: Seconds until a rank first looks for a neighbour that has left, and the longest time between two looks.
_FIRST_LOOK, _LONGEST_LOOK = 0.3, 4.0


class AbandonedError(DistributedError):
    """A rank has left the program while this rank waits for it. Not every rank that waits raises this."""


class _State:
    """The state of this process. It is set up once, and a forked child does not use it."""

    #: The process that called `install`; 0 before the first call.
    pid = 0
    #: The number of collective calls on all ranks that this rank has entered.
    entered = 0
    #: Messages that a failing rank is still sending.
    sent: ClassVar[list[Any]] = []
    #: The hook that was installed before this module's own.
    excepthook: Any = None


def install() -> None:
    """Install the hooks of this module in this process; further calls do nothing."""
    if _State.pid == 0:
        _State.pid = os.getpid()
        _State.excepthook = sys.excepthook
        sys.excepthook = _fail
        atexit.register(_leave)


def _world() -> Any:
    """Return the communicator of all ranks while MPI runs and there are several ranks, otherwise None."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or _State.pid not in (0, os.getpid()) or not mpi.Is_initialized() or mpi.Is_finalized():
        return None
    return mpi.COMM_WORLD if mpi.COMM_WORLD.size > 1 else None


# -- waiting --------------------------------------------------------------------------------------


def wait_for_ranks(comm: Any, request: Any) -> None:
    """Wait for a non-blocking collective call to complete.

    Every collective call of this library begins with a small one, and waits for it here. Unlike a wait
    inside MPI, this wait sleeps, can be interrupted, and notices a rank that has left.

    Parameters
    ----------
    comm : mpi4py communicator
    request : mpi4py request
        The request of the call on `comm`.

    Raises
    ------
    AbandonedError
        On some of the ranks that wait, if `comm` is all ranks and one of them has left the program.
    """
    is_world = comm == sys.modules["mpi4py.MPI"].COMM_WORLD
    _State.entered += is_world
    next_look = _FIRST_LOOK
    start = time.perf_counter()
    while not request.Test():
        waited = time.perf_counter() - start
        if waited < BUSY:
            os.sched_yield()  # to a rank on the same core
            continue
        if is_world and waited > next_look:
            _check_neighbour(comm)
            next_look = min(2 * waited, waited + _LONGEST_LOOK)
        time.sleep(min(_SHARE * waited, _LONGEST_PAUSE))


def _check_neighbour(world: Any) -> None:
    if not _can_publish(world):
        return
    mpi, left = sys.modules["mpi4py.MPI"], (world.rank - 1) % world.size
    try:
        entered = int(mpi.Lookup_name(_published_name(left)))
    except mpi.Exception:
        return  # The neighbour has not left.
    # A neighbour that has entered this call may have left after it. The call then completes as soon as all
    # other ranks have entered it.
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
            mpi.Publish_name(_published_name(world.rank), str(_State.entered))


def _published_name(rank: int) -> str:
    return f"mergesketch-left-{rank}"


def _can_publish(world: Any) -> bool:
    """Return True for MPICH, if looking up a name that was not published is no fatal error.

    Other MPI libraries need a server to publish names.
    """
    mpi = sys.modules["mpi4py.MPI"]
    handlers = (comm.Get_errhandler() for comm in (world, mpi.COMM_SELF))
    return mpi.get_vendor()[0] == "MPICH" and all(handler == mpi.ERRORS_RETURN for handler in handlers)


# -- failing --------------------------------------------------------------------------------------


def reports_error_here(error: BaseException) -> bool:
    """Return True if this rank prints its error; of ranks that fail together, one rank prints.

    That is the least rank among those where an error arose. A rank that only repeats the error of another
    rank does not count.
    """
    world = _world()
    if world is None:
        return True
    is_repeated = isinstance(error, DistributedError) and error.__cause__ is None
    ours, theirs = np.array([is_repeated, world.rank]), np.empty(2, dtype=np.int64)
    for other in {(world.rank + distance) % world.size for distance in _distances(world.size)} - {world.rank}:
        _State.sent.append((ours, world.Isend(ours, other, _FAILED)))
    any_source = sys.modules["mpi4py.MPI"].ANY_SOURCE
    end = time.monotonic() + TOGETHER
    while time.monotonic() < end:
        while world.Iprobe(any_source, _FAILED):
            world.Recv(theirs, any_source, _FAILED)
            if tuple(theirs) < tuple(ours):
                # That rank will end this one. If it does not, its message is lost, but no rank is left over.
                time.sleep(6 * TOGETHER)
                return False
        time.sleep(TOGETHER / 100)
    return True


def _distances(size: int) -> Iterable[int]:
    """Return the distances from a failing rank to the ranks that it informs."""
    if size <= _INFORM_ALL:
        return range(1, size)
    return [distance for k in range(size.bit_length()) for distance in (1 << k, -(1 << k))]


def abort(code: int) -> None:
    """End all ranks with an exit code, if there are several."""
    world = _world()
    if world is not None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        time.sleep(FORWARDING)
        world.Abort(code)


def _fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print, as ``sys.excepthook``, an error that nobody has caught, and end all ranks."""
    # The hook is also called by interpreters, which continue, and by programs that report an error with it.
    ends_program = getattr(sys, "last_value", None) is error and not (
        hasattr(sys, "ps1") or sys.flags.interactive or sys.flags.inspect
    )
    if ends_program:
        _start_to_end(error)
    world = _world() if ends_program else None
    if world is None:
        _State.excepthook(kind, error, trace)
        return
    if reports_error_here(error):
        _State.excepthook(kind, error, trace)
        print(f"rank {world.rank} failed: all {world.size} ranks end", file=sys.stderr)
    abort(130 if issubclass(kind, KeyboardInterrupt) else 1)


def _start_to_end(error: BaseException) -> None:
    """Start MPI if the other ranks wait for this one to start it, so that this rank can end them.

    MPICH does not notice that a rank ends before MPI has started. The other ranks may also start MPI late or
    never, and no Python thread of this process runs while it waits in the start of MPI. So a child process
    watches the time, prints the error and kills this process: the end of a rank by a signal ends all ranks.
    """
    if _State.pid != os.getpid() or not others_wait_for_start():
        return
    text = "".join(traceback.format_exception(error)).encode(errors="backslashreplace")
    parent = os.getpid()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            time.sleep(STARTING)
            os.write(2, text)
            os.kill(parent, signal.SIGKILL)
        finally:
            os._exit(0)
    try:
        from mpi4py import MPI

        if not MPI.Is_initialized():
            MPI.Init()
    except (ImportError, RuntimeError):
        pass  # The other ranks have no MPI to wait in either.
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
