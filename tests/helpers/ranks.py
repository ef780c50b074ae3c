"""Runs snippets of Python over MPI ranks, for tests: each in processes of its own, with a time limit."""

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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from paths import environment

__all__ = ["Ran", "mpiexec", "needs_mpi", "ranks_environment", "run_ranks", "running_ranks"]

#: Before every snippet: each rank prints to a file of its own, for mpiexec mixes the ranks' lines, and
#: an assertion that fails on one rank ends the others.
_PRELUDE = """\
import os, sys
sys.stdout = open(f"{sys.argv.pop()}/stdout-{os.environ['PMI_RANK']}", "w", buffering=1)
def abort(*error):
    sys.__excepthook__(*error)
    if "mpi4py.MPI" in sys.modules:
        sys.modules["mpi4py.MPI"].COMM_WORLD.Abort(99)
sys.excepthook = abort
"""


def mpiexec() -> str | None:
    """The launcher that belongs to this Python's MPI, or the one on the path."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or mpiexec() is None,
    reason="needs mpi4py and mpiexec: pip install 'mergesketch[mpi]'",
)


@dataclass(frozen=True)
class Ran:
    """How a run ended: mpiexec's exit code, each rank's standard output, and all of the standard error."""

    returncode: int
    stdout: list[str]
    stderr: str
    seconds: float


def ranks_environment() -> dict[str, str]:
    """The environment of ranks: one thread each, and the tests' own modules can be imported."""
    return environment(MERGESKETCH_NUM_THREADS="1")


@contextmanager
def running_ranks(n_ranks: int, code: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A started run, and the folder of its ranks' outputs; what still runs at the end is killed."""
    launcher = mpiexec()
    assert launcher is not None
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "snippet.py"
        script.write_text(_PRELUDE + textwrap.dedent(code))
        process = subprocess.Popen(
            [launcher, "-n", str(n_ranks), sys.executable, str(script), *arguments, folder],
            env=ranks_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process, Path(folder)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def run_ranks(n_ranks: int, code: str, *arguments: str, timeout: float = 120.0) -> Ran:
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
