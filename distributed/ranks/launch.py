"""Run a program over many ranks so that it ends with one message, one exit code and no rank left over.

An error that all ranks know ends with an exit code on each rank. An error that one rank alone knows must
abort, because ``MPI_Finalize`` waits for the other ranks forever.
`docs/developers/decisions/failing-ranks.md` describes what MPICH's ``mpiexec`` does in each case.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable

from ...errors import DistributedError, MergesketchError
from .comm import Communicator, communicator
from .environment import launched_by_mpi, launched_rank
from .leaving import AbandonedError, abort, reports_error_here
from .signals import GRACE, SignalHandlers, Stopped

__all__ = ["run_main"]

#: Errors that the user can correct; they need no traceback.
_EXPECTED = (MergesketchError, OSError, ValueError, OverflowError, MemoryError)
#: Exit codes after a fault of the program, after an error that the user can correct, and after Ctrl-C.
_FAULT, _USER_ERROR, _INTERRUPTED = 1, 2, 130


def run_main(function: Callable[[Communicator], int | None], *, name: str = "mergesketch") -> int:
    """Run a program on every rank, or on one rank without MPI, and return the exit code for ``sys.exit``.

    Parameters
    ----------
    function : callable
        The program. It gets the communicator of all ranks and returns the exit code; None means 0.
    name : str
        The name of the program, which begins every message.

    Returns
    -------
    int
        The value that `function` returned; 2 after an error that the user can correct (a
        `MergesketchError`, ValueError, OSError, OverflowError or MemoryError); 1 after any other exception;
        130 after SIGINT; 143 after SIGTERM. ``mpiexec`` returns the same codes.

    Notes
    -----
    All ranks raise a `DistributedError` together: rank 0 alone prints it, and all ranks return. Any other
    exception may have been raised on one rank alone, and the others would wait for that rank forever. So
    that rank prints its message, with a traceback if the error is a fault of the program, and ends all
    ranks. Put code that can fail into ``with comm.agree():``. All messages go to the standard error.

    Signals are handled only when `run_main` is called from the main thread, and while `function` runs.

    Examples
    --------
    >>> from mergesketch.distributed.ranks.launch import run_main
    >>> def main(comm):
    ...     print(f"rank {comm.rank} of {comm.size}")
    >>> run_main(main)
    rank 0 of 1
    0
    """
    comm = Communicator(None)
    signals = SignalHandlers()
    try:
        comm = communicator()
        signals.stop_from_now_on()
        code = function(comm) or 0
        sys.stdout.flush()
        return code
    except AbandonedError as error:
        return _fail(name, comm, error, _USER_ERROR)
    except DistributedError as error:
        if isinstance(error.__cause__, BrokenPipeError):
            return _reader_has_gone()
        if comm.rank == 0 and launched_rank() == 0:
            # The rank where the error arose has the error itself, without "rank 0 failed".
            _print_error(name, error.__cause__ or error)
        return _USER_ERROR
    except BrokenPipeError:
        _reader_has_gone()
        return _end(_FAULT)
    except KeyboardInterrupt as error:
        if comm.rank == 0:
            print(f"{name}: interrupted", file=sys.stderr, flush=True)
        if launched_by_mpi():
            time.sleep(GRACE)
        return _end(error.code if isinstance(error, Stopped) else _INTERRUPTED)
    except _EXPECTED as error:
        return _fail(name, comm, error, _USER_ERROR)
    except Exception as error:
        return _fail(name, comm, error, _FAULT)
    finally:
        signals.restore()


def _reader_has_gone() -> int:
    """Close the standard output after its reader has gone, as `head` does, and return the exit code.

    Nothing more may be flushed there.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _FAULT


def _fail(name: str, comm: Communicator, error: Exception, code: int) -> int:
    """Print an error that other ranks may not know of, and end all ranks."""
    if reports_error_here(error):
        if code == _FAULT:
            traceback.print_exc()
        _print_error(name, error, "" if comm.size == 1 else f"rank {comm.rank} failed: ")
    return _end(code)


def _print_error(name: str, error: BaseException, where: str = "") -> None:
    text = str(error) or ("out of memory" if isinstance(error, MemoryError) else type(error).__name__)
    print(f"{name}: error: {where}{text}", file=sys.stderr, flush=True)


def _end(code: int) -> int:
    """Return the exit code, after ending the other ranks, which may wait for this one."""
    abort(code)
    return code
