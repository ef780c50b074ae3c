"""The command ``mergesketch``, also ``python -m mergesketch.distributed``, alone or under ``mpiexec``."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from types import FrameType

from ..errors import DistributedError, MergesketchError
from .cli import run_command
from .comm import Communicator, communicator

__all__ = ["main"]

#: Seconds that rank 0 has to tell what all ranks would tell.
PATIENCE = 1.0
#: Seconds that mpiexec has to pass on what was told.
FORWARDING = 0.2

#: What a user can set right. Anything else is a fault of ours and shows where it happened.
_EXPECTED = (MergesketchError, OSError, ValueError, OverflowError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for an error, 130 when interrupted.

    An error is one message on stderr, whatever the number of ranks, and no rank outlives another.
    Without `arguments` those of the process are taken.
    """
    if arguments is None:
        # A process of its own. A scheduler's or mpiexec's SIGTERM then ends it as Ctrl-C does, so that
        # temporary files are cleared away; and no file's name is beyond what can be printed.
        signal.signal(signal.SIGTERM, _interrupt)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    comm = Communicator(None)
    try:
        comm = communicator()
        code = run_command(arguments, comm)
        sys.stdout.flush()
        return code
    except DistributedError as error:
        # Every rank has it. The rank where it began holds the error itself, without "rank 0 failed".
        if comm.rank == 0:
            _tell(error.__cause__ or error)
        return 2
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` does. Nothing more may be flushed there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _end(comm, 1)
    except KeyboardInterrupt:
        _let_rank_0_end(comm)
        print("mergesketch: interrupted", file=sys.stderr)
        return _end(comm, 130)
    except _EXPECTED as error:
        _let_rank_0_end(comm)
        _tell(error)
        return _end(comm, 2)
    except Exception:
        _let_rank_0_end(comm)
        traceback.print_exc()
        return _end(comm, 1)


def _tell(error: BaseException) -> None:
    message = "out of memory" if isinstance(error, MemoryError) and not str(error) else str(error)
    print(f"mergesketch: error: {message or type(error).__name__}", file=sys.stderr, flush=True)


def _let_rank_0_end(comm: Communicator) -> None:
    """Wait a moment on other ranks: if rank 0 fails as well, it clears up, tells why and ends us."""
    if comm.rank > 0:
        time.sleep(PATIENCE)


def _end(comm: Communicator, code: int) -> int:
    """The exit code, after ending the other ranks, which may wait for this one."""
    if comm.size > 1:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        time.sleep(FORWARDING)  # mpiexec drops what it has not passed on when it ends the ranks
        comm.mpi.Abort(code)
    return code


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
