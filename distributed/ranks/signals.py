"""Turn SIGINT and SIGTERM into exceptions while a program runs over ranks."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from .environment import launched_by_mpi
from .leaving import abort

__all__ = ["GRACE", "SignalHandlers", "Stopped"]

#: Seconds that an interrupted rank gives the others to remove their temporary files.
GRACE = 0.5
_STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal that ends the program. It is raised where the program is, as Ctrl-C is."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.code = 128 + signal_number


class SignalHandlers:
    """Handlers of SIGINT and SIGTERM for the time in which a program runs.

    They raise `Stopped` once MPI has started. Until then they only record the signal, because a rank that
    leaves before ``MPI_Init`` makes the others wait in it.

    Python runs no handler while a rank waits inside MPI. But Python's low-level handler writes the signal's
    number to a pipe at once. A thread reads the pipe, and ends the ranks if the main thread does not.
    """

    def __init__(self) -> None:
        self._recorded: int | None = None
        self._thread: threading.Thread | None = None
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._record) for number in _STOPPING}

    def _record(self, number: int, frame: Any) -> None:
        self._recorded = number

    def _stop(self, number: int, frame: Any) -> None:
        # A second signal must not interrupt the removal of temporary files.
        for each in _STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    def stop_from_now_on(self) -> None:
        """Raise `Stopped` at the next signal, or at once if a signal was recorded."""
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
        if self._recorded is not None:
            self._stop(self._recorded, None)

    def _watch(self) -> None:
        while number := os.read(self._read, 1)[0]:
            if number in _STOPPING:
                # By then, a main thread that is not inside MPI has raised `Stopped` and ended the ranks.
                time.sleep(4 * GRACE)
                abort(128 + number)
                os._exit(128 + number)

    def restore(self) -> None:
        """Restore the handlers that were there before."""
        if self._thread is not None:
            signal.set_wakeup_fd(self._wakeup)
            os.write(self._write, b"\0")
            self._thread.join()
            os.close(self._read)
            os.close(self._write)
        for number, handler in self._before.items():
            signal.signal(number, handler)
