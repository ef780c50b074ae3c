"""Test a rank that fails or leaves while others wait for it: all end soon, and print one message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mergesketch.distributed.ranks import leaving
from mergesketch.distributed.ranks.environment import others_wait_for_start
from ranks import Ran, needs_mpi, run_apart

#: A program over ranks like those of the tutorial and the guides.
PROGRAM = """
sys.excepthook = sys.__excepthook__  # the hook of the tests would end the ranks
import numpy as np
from mergesketch import CountMinSketch
from mergesketch.distributed import communicator, merge_over_ranks, run_main

mode = sys.argv[1]
if mode == "interrupted early" and os.environ["PMI_RANK"] == "1":
    raise KeyboardInterrupt

def main(comm):
    with comm.agree():
        if comm.rank == 1:
            sys.exit(3)
    comm.barrier()

if mode == "leaves inside agree":
    sys.exit(run_main(main))
comm = communicator()
sketch = CountMinSketch(4, 200 if mode == "differ" and comm.rank == 1 else 100)
if comm.rank == 1:
    if mode == "missing file":
        np.load("part-1.npy")
    if mode == "leaves":
        sys.exit(0)
merge_over_ranks(sketch.update([comm.rank]))
print("not reached")
"""


def run(mode: str) -> Ran:
    # The limit is ample for the imports on a busy machine; a program that hangs reaches it.
    return run_apart(2, PROGRAM, mode, timeout=60.0)


def lines_of_ours(ran: Ran, code: int) -> list[str]:
    """Return the lines before MPI's own last line, which mpiexec drops on a busy machine."""
    *lines, last = ran.stderr.splitlines()
    if last.startswith("Abort("):
        assert last.startswith(f"Abort({code})")
        return lines
    return [*lines, last]


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize(
    ("mode", "code", "error", "told_by"),
    [
        ("missing file", 1, "FileNotFoundError: [Errno 2] No such file or directory: 'part-1.npy'", 1),
        ("interrupted early", 130, "KeyboardInterrupt", 1),
        ("leaves", 1, "rank 1 has left the program, and rank 0 waits for it", 0),
        ("differ", 1, "CountMinSketch sketches of ranks 0 (here) and 1 (there) differ in n_buckets", 0),
    ],
)
def test_one_rank_ends_all_with_one_message(mode: str, code: int, error: str, told_by: int) -> None:
    ran = run(mode)
    assert ran.returncode == code, ran.stderr
    assert ran.stdout == ["", ""]
    assert ran.stderr.count("Traceback (most recent call last)") == 1
    *_, what, which = lines_of_ours(ran, code)
    assert error in what
    assert which == f"rank {told_by} failed: all 2 ranks end"


@pytest.mark.slow
@needs_mpi
def test_a_rank_that_leaves_run_main_ends_all_with_one_message() -> None:
    ran = run("leaves inside agree")
    assert ran.returncode == 2
    (told,) = lines_of_ours(ran, 2)
    assert told.startswith("mergesketch: error: rank 0 failed: rank 1 has left the program")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """Record the errors that the earlier hook receives, on a rank that would be one of several."""
    told: list[BaseException] = []
    monkeypatch.setattr(leaving._State, "excepthook", lambda kind, error, trace: told.append(error))
    monkeypatch.setattr(leaving, "_start_to_end", lambda error: pytest.fail("the ranks were ended"))
    monkeypatch.setattr(leaving, "_world", lambda: pytest.fail("the ranks were ended"))
    yield told


@pytest.mark.parametrize("mode", ["shown by hand", "in an interpreter"])
def test_errors_that_end_no_program_end_no_rank(
    seen: list[BaseException], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Programs pass errors that they catch to ``sys.excepthook``, and interpreters continue after one."""
    error = ValueError("caught")
    if mode == "in an interpreter":
        monkeypatch.setattr(sys, "last_value", error, raising=False)
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    leaving._fail(ValueError, error, None)
    assert seen == [error]


def test_processes_that_a_rank_starts_are_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """They inherit its environment, but have no connection with the launcher."""
    with open("/dev/null") as file:
        for descriptor in ("", "x", "1000000", str(file.fileno())):
            monkeypatch.setenv("PMI_FD", descriptor)
            monkeypatch.setenv("PMI_SIZE", "2")
            assert not others_wait_for_start()


@pytest.mark.parametrize(
    "command", [["-m", "mergesketch.distributed", "inspect"], ["-c", "from mergesketch import Race"]]
)
def test_an_interrupt_while_a_command_imports(tmp_path: Path, command: list[str]) -> None:
    """The command ends at once, without a traceback of the imports; other programs end as usual."""
    (tmp_path / "numpy.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\n"
    )
    paths = [str(tmp_path), *sys.path[1:], os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    ran = subprocess.run([sys.executable, *command], env=environment, capture_output=True, check=False)
    assert ran.returncode == -signal.SIGINT
    assert (b"KeyboardInterrupt" in ran.stderr) == (command[0] == "-c"), ran.stderr.decode()
