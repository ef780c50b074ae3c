"""Run snippets of Python over MPI ranks, with a time limit.

`Ranks.run` sends a snippet to ranks that are started once and run many; `run_apart` starts processes for
one snippet, for tests of how programs end.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener, wait
from pathlib import Path
from typing import Any, Self

import pytest
from paths import TESTS, environment

__all__ = ["Ran", "Ranks", "mpiexec", "needs_mpi", "run_apart", "running_ranks"]

#: The beginning of a snippet that has its own processes: each rank prints to its own file, because mpiexec
#: mixes the ranks' lines, and an assertion that fails on one rank ends the others.
_PRELUDE = """\
import os, sys
sys.stdout = open(f"{sys.argv.pop()}/stdout-{os.environ['PMI_RANK']}", "w", buffering=1)
def abort(*error):
    sys.__excepthook__(*error)
    if "mpi4py.MPI" in sys.modules:
        sys.modules["mpi4py.MPI"].COMM_WORLD.Abort(99)
sys.excepthook = abort
"""
#: A command line on ranks that run many snippets. The first rank's last line is the exit code, because ranks
#: that end with another code than 0 are not used again.
_COMMAND = """\
from mergesketch.distributed.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(code)
"""
#: Number of ranks that are kept for further snippets: those of servers with 1, 2, 3 and 4 ranks.
_MOST_RANKS = 10
#: Seconds in which ranks import the package on a busy machine, and in which they end.
_START_SECONDS, _END_SECONDS = 120.0, 10.0


def mpiexec() -> str | None:
    """Return the launcher that belongs to this Python's MPI, or the one on the path."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or mpiexec() is None,
    reason="needs mpi4py and mpiexec: the extra mpi",
)


@dataclass(frozen=True)
class Ran:
    """The end of a run: its exit code, each rank's standard output, and all of the standard error."""

    returncode: int
    stdout: list[str]
    stderr: str
    seconds: float


def _start(n_ranks: int, script: Path, *arguments: str, stderr: Any) -> subprocess.Popen[str]:
    """Start a script on ranks of one thread each, which can import the tests' modules."""
    launcher = mpiexec()
    assert launcher is not None
    return subprocess.Popen(
        [launcher, "-n", str(n_ranks), sys.executable, str(script), *arguments],
        env=environment(MERGESKETCH_NUM_THREADS="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


# -- ranks that run many snippets ---------------------------------------------------------------------


class _Server:
    """A number of ranks that run snippets until one of these fails."""

    def __init__(self, n_ranks: int) -> None:
        self.n_ranks = n_ranks
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        #: The ranks write through one handle; the tests read through another, which has its own position.
        stderr = (folder / "stderr").open("a")
        self._stderr = (folder / "stderr").open()
        #: Connections and process ids of the ranks.
        self._ranks: list[Connection] = []
        self._pids: list[int] = []
        with Listener(str(folder / "tests"), family="AF_UNIX", backlog=n_ranks) as listener:
            script = TESTS / "helpers" / "rank_server.py"
            self._process = _start(n_ranks, script, str(folder / "tests"), stderr=stderr)
            stderr.close()
            self._connect(listener)

    def _connect(self, listener: Listener) -> None:
        """Wait until all ranks have imported the package."""
        found: dict[int, tuple[Connection, int]] = {}
        deadline = time.monotonic() + _START_SECONDS
        while len(found) < self.n_ranks:
            # `Listener.accept` itself cannot wait for a limited time.
            if wait([listener._listener._socket], 0.2):  # type: ignore[attr-defined]
                connection = listener.accept()
                rank, pid = connection.recv()
                found[rank] = connection, pid
            elif self._process.poll() is not None or time.monotonic() > deadline:
                stderr = self._new_stderr()
                self.close(kill=True)
                pytest.fail(f"{self.n_ranks} ranks did not start:\n{stderr}")
        self._ranks = [found[rank][0] for rank in range(self.n_ranks)]
        self._pids = [found[rank][1] for rank in range(self.n_ranks)]

    def _new_stderr(self) -> str:
        """Return what has been written to the processes' standard error since the last call."""
        return self._stderr.read()

    def run(self, code: str, arguments: tuple[str, ...], timeout: float) -> Ran:
        start = time.monotonic()
        for rank in self._ranks:
            rank.send((textwrap.dedent(code), list(arguments), os.getcwd()))
        results: dict[int, tuple[int, str, str]] = {}
        deadline = start + timeout
        while len(results) < self.n_ranks:
            pending = [rank for number, rank in enumerate(self._ranks) if number not in results]
            ready = wait(pending, max(0.0, deadline - time.monotonic()))
            if not ready:
                self._give_up(results, timeout)
            for connection in ready:
                number = self._ranks.index(connection)
                try:
                    results[number] = connection.recv()
                except (EOFError, ConnectionError):
                    results[number] = 99, "", f"rank {number} has died\n"
                if results[number][0]:
                    # The others may fail too, or wait for this rank.
                    deadline = min(deadline, time.monotonic() + 1.0)
        status, stdout, stderr = zip(*(results[number] for number in range(self.n_ranks)), strict=True)
        seconds = time.monotonic() - start
        return Ran(max(status), list(stdout), "".join(stderr) + self._new_stderr(), seconds)

    def _give_up(self, results: dict[int, tuple[int, str, str]], timeout: float) -> None:
        """Fail the test. If a rank has failed, only fill in a result for those that have not answered."""
        late = [number for number in range(self.n_ranks) if number not in results]
        if not any(status for status, _, _ in results.values()):
            for number in late:
                os.kill(self._pids[number], signal.SIGUSR1)
            stderr = self._stacks(len(late))
            self.close(kill=True)
            pytest.fail(
                f"ranks {late} of {self.n_ranks} did not end within {timeout} s; they are at\n{stderr}"
            )
        results.update(dict.fromkeys(late, (99, "", "")))

    def _stacks(self, n_ranks: int) -> str:
        """Return what ranks write after a signal that asks each of them for its stack."""
        stderr, deadline = "", time.monotonic() + _END_SECONDS
        while stderr.count("Current thread") < n_ranks and time.monotonic() < deadline:
            time.sleep(0.1)
            stderr += self._new_stderr()
        time.sleep(0.2)  # for the lines below the first one of a stack
        return stderr + self._new_stderr()

    def close(self, *, kill: bool = False) -> None:
        """End the ranks: without their connections they leave by themselves, unless they are busy."""
        for rank in self._ranks:
            rank.close()
        if not kill:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._stderr.close()
        self._folder.cleanup()


class Ranks:
    """Ranks in any number, started when first needed. Leaving the context ends them."""

    def __init__(self) -> None:
        self._servers: dict[int, _Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for n_ranks in list(self._servers):
            self._close(n_ranks)

    def run(self, n_ranks: int, code: str, *arguments: str, timeout: float = 120.0) -> Ran:
        """Run `code` on `n_ranks` ranks with ``sys.argv[1:] == arguments``.

        Fails the test if it does not end within `timeout` seconds.
        """
        server = self._servers.pop(n_ranks, None)
        if server is None:
            while self._servers and sum(self._servers) + n_ranks > _MOST_RANKS:
                self._close(next(iter(self._servers)))
            server = _Server(n_ranks)
        ran = server.run(code, arguments, timeout)
        if ran.returncode:
            server.close(kill=True)
        else:
            self._servers[n_ranks] = server  # the last one used is closed last
        return ran

    def command(self, n_ranks: int, *arguments: object, timeout: float = 120.0) -> Ran:
        """Run a command of ``mergesketch`` on `n_ranks` ranks, and return its code and what ranks print.

        Starting processes under ``mpiexec`` takes seconds; only tests of how they start and end need it.
        """
        ran = self.run(n_ranks, _COMMAND, *map(str, arguments), timeout=timeout)
        if ran.returncode:
            return ran
        printed = [out.removesuffix("\n").rpartition("\n") for out in ran.stdout]
        return Ran(
            max(int(code) for _, _, code in printed),
            [text + newline for text, newline, _ in printed],
            ran.stderr,
            ran.seconds,
        )

    def _close(self, n_ranks: int) -> None:
        self._servers.pop(n_ranks).close()


# -- processes of their own ---------------------------------------------------------------------------


@contextmanager
def running_ranks(n_ranks: int, code: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Yield a started run and the folder of its ranks' outputs; kill it at the end if it still runs."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "snippet.py"
        script.write_text(_PRELUDE + textwrap.dedent(code))
        process = _start(n_ranks, script, *arguments, folder, stderr=subprocess.PIPE)
        try:
            yield process, Path(folder)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def run_apart(n_ranks: int, code: str, *arguments: str, timeout: float = 120.0) -> Ran:
    """Run `code` under ``mpiexec -n n_ranks`` with ``sys.argv[1:] == arguments``.

    Fails the test if it does not end within `timeout` seconds.
    """
    start = time.monotonic()
    with running_ranks(n_ranks, code, *arguments) as (process, folder):
        try:
            _, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            _, stderr = process.communicate()
            pytest.fail(f"{n_ranks} ranks did not end within {timeout} s:\n{stderr}")
        outputs = [folder / f"stdout-{rank}" for rank in range(n_ranks)]
        stdout = [path.read_text() if path.exists() else "" for path in outputs]
    return Ran(process.returncode, stdout, stderr, time.monotonic() - start)
