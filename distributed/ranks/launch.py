"""How a program over many ranks ends: with one message and one exit code, and without a rank left over.

What MPICH's ``mpiexec`` (hydra) does, found by experiment with 5.0:

- Every rank returns from ``MPI_Finalize`` and exits: `mpiexec` prints nothing and returns the bitwise
  or of their codes. So an error that all ranks know of ends this way.
- A rank exits while others wait for it: ``MPI_Finalize`` of the one waits for the others, forever. So
  an error that one rank alone knows of must abort.
- ``MPI_Abort(code)``: all ranks are killed, `mpiexec` prints one line ("Abort(2) on node ...") and
  returns the code.
- A rank is killed by a signal: the others are killed within a fraction of a second, `mpiexec` prints
  its BAD TERMINATION banner and returns the signal's number.
- SIGINT and SIGTERM to `mpiexec` are passed on to every rank. A rank that is inside an MPI call sees
  them only after it: Python runs no handler meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from ...errors import DistributedError, MergesketchError
from .comm import Communicator, communicator, launched_by_mpi, launched_rank
from .leaving import AbandonedError, abort, is_told_here

__all__ = ["run_main"]

#: What the user can set right; it needs no traceback.
_EXPECTED = (MergesketchError, OSError, ValueError, OverflowError, MemoryError)
#: Seconds that an interrupted rank leaves the others to clear their temporary files away.
GRACE = 0.5


def run_main(function: Callable[[Communicator], int | None], *, name: str = "mergesketch") -> int:
    """Run a program on every rank, or on one without MPI, and give the exit code for ``sys.exit``.

    Parameters
    ----------
    function : callable
        Called with the communicator of all ranks; returns the exit code, None for 0.
    name : str
        Put in front of messages.

    Returns
    -------
    int
        What `function` returned. 2 after an error that the user can set right (a `MergesketchError`,
        ValueError, OSError, OverflowError or MemoryError), 1 after any other exception, 130 after SIGINT
        and 143 after SIGTERM. These are also what ``mpiexec`` returns.

    Notes
    -----
    `DistributedError` is raised by all ranks together: rank 0 alone prints it, and all ranks return.
    Any other exception may have come to one rank alone, for which the others would wait forever. That
    rank prints its message, with a traceback if it is a fault of the program, and aborts all of them:
    put what can fail into ``with comm.agree():``. Everything is printed to the standard error.

    Signals are handled only when called from the main thread, and while `function` runs.

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
    signals = _Signals()
    try:
        comm = communicator()
        signals.stop_from_now_on()
        code = function(comm) or 0
        sys.stdout.flush()
        return code
    except AbandonedError as error:
        return _fail(name, comm, error, 2)
    except DistributedError as error:
        if comm.rank == 0 and launched_rank() == 0:
            # The rank where it began holds the error itself, without "rank 0 failed".
            _tell(name, comm, error.__cause__ or error, everywhere=True)
        return 2
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` has. Nothing more may be flushed there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _end(1)
    except KeyboardInterrupt as error:
        if comm.rank == 0:
            print(f"{name}: interrupted", file=sys.stderr, flush=True)
        if launched_by_mpi():
            time.sleep(GRACE)
        return _end(error.code if isinstance(error, _Stopped) else 130)
    except _EXPECTED as error:
        return _fail(name, comm, error, 2)
    except Exception as error:
        return _fail(name, comm, error, 1)
    finally:
        signals.restore()


def _fail(name: str, comm: Communicator, error: Exception, code: int) -> int:
    """Tell an error that others may not know of, with a traceback if it is a fault of the program."""
    if is_told_here(error):
        if code == 1:
            traceback.print_exc()
        _tell(name, comm, error)
    return _end(code)


def _tell(name: str, comm: Communicator, error: BaseException, *, everywhere: bool = False) -> None:
    text = str(error) or ("out of memory" if isinstance(error, MemoryError) else type(error).__name__)
    where = "" if everywhere or comm.size == 1 else f"rank {comm.rank} failed: "
    print(f"{name}: error: {where}{text}", file=sys.stderr, flush=True)


def _end(code: int) -> int:
    """The exit code, after ending the other ranks, which may wait for this one."""
    abort(code)
    return code


# -- signals --------------------------------------------------------------------------------------

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class _Stopped(KeyboardInterrupt):
    """A signal that ends the program; raised where the program is, as Ctrl-C is."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.code = 128 + signal_number


class _Signals:
    """SIGINT and SIGTERM while a program runs: `_Stopped` where it is, once MPI has started.

    Until then they are only noted: a rank that left before ``MPI_Init`` would leave the others in it.

    While a rank waits inside MPI no handler of Python's runs. But its low-level one writes the signal's
    number to a pipe at once, which a thread reads; it ends the ranks if the main thread does not.
    """

    def __init__(self) -> None:
        self._noted: int | None = None
        self._thread: threading.Thread | None = None
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _STOPPING}

    def _note(self, number: int, frame: Any) -> None:
        self._noted = number

    def _stop(self, number: int, frame: Any) -> None:
        # A second signal must not interrupt the clearing up after the first.
        for each in _STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped(number)

    def stop_from_now_on(self) -> None:
        """Raise `_Stopped` at the next signal, or now after one that was noted."""
        if not self._before:
            return
        if launched_by_mpi():
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, name="mergesketch-signals", daemon=True)
            self._thread.start()
        for number in _STOPPING:
            signal.signal(number, self._stop)
        if self._noted is not None:
            self._stop(self._noted, None)

    def _watch(self) -> None:
        while number := os.read(self._read, 1)[0]:
            if number in _STOPPING:
                # A main thread that is not inside MPI has unwound and ended the ranks by then.
                time.sleep(4 * GRACE)
                os._exit(_end(128 + number))

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        if self._thread is not None:
            signal.set_wakeup_fd(self._wakeup)
            os.write(self._write, b"\0")
            self._thread.join()
            os.close(self._read)
            os.close(self._write)
        for number, handler in self._before.items():
            signal.signal(number, handler)
