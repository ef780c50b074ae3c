"""Test collective operations over ranks, and how runs end after an error on one of them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mergesketch.distributed import Communicator, communicator, run_main
from mergesketch.errors import DistributedError
from ranks import Ran, Ranks, needs_mpi, run_apart, running_ranks

COLLECTIVES = """
import threading
import numpy as np
import pytest
from mergesketch.distributed import Communicator, communicator
from mergesketch.distributed.ranks import buffers, exchange, objects
from mergesketch.errors import DistributedError

comm = communicator()
rank, size = comm.rank, comm.size
assert size == int(sys.argv[1])
assert communicator(comm) is comm
assert communicator(comm.mpi).size == size

# -- small objects
assert comm.allgather(rank * rank) == [r * r for r in range(size)]
assert comm.gather("r%d" % rank) == (["r%d" % r for r in range(size)] if rank == 0 else None)
assert comm.bcast({"rank": rank}, size - 1) == {"rank": size - 1}
assert comm.sum(rank + 1) == size * (size + 1) // 2
assert comm.exclusive_sum(10 + rank) == sum(10 + r for r in range(rank))
comm.check_same("k", 10)
if size > 1:
    with pytest.raises(DistributedError, match=f"agree on k: rank 0 has 3, rank {size - 1} has 4"):
        comm.check_same("k", 4 if rank == size - 1 else 3)

# -- agreement: whichever ranks fail, all raise, with the message of the first
with comm.agree():
    pass
for failing in [{0}, {size - 1}, set(range(size))]:
    with pytest.raises(DistributedError if size > 1 else OSError) as caught:
        with comm.agree():
            if rank in failing:
                raise OSError(f"disk {rank} is full")
    if size > 1:
        assert str(caught.value) == f"rank {min(failing)} failed: OSError: disk {min(failing)} is full"
        assert isinstance(caught.value.__cause__, OSError) == (rank in failing)

# -- a call on rank 0 alone, whose result or failure all ranks get
calls = []
assert comm.call_on_first(lambda name: calls.append(name) or (name, size), "list") == ("list", size)
assert calls == (["list"] if rank == 0 else [])
with pytest.raises(DistributedError if size > 1 else ZeroDivisionError) as caught:
    comm.call_on_first(lambda: 1 // rank)
if size > 1:
    assert str(caught.value).startswith("rank 0 failed: ZeroDivisionError: ")

# -- objects that cannot be pickled, or not unpickled: all ranks raise, and go on together
class Unreadable:
    def __reduce__(self):
        return int, ("x",)
last, lock = size - 1, threading.Lock()
if size > 1:
    for exchange_objects, failing, error in [
        (lambda: comm.call_on_first(threading.Lock), 0, TypeError),
        (lambda: comm.call_on_first(Unreadable), 1, ValueError),
        (lambda: comm.bcast(lock if rank == last else None, last), last, TypeError),
        (lambda: comm.bcast(Unreadable(), last), 0, ValueError),
        (lambda: comm.gather(lock if rank == last else None), last, TypeError),
        (lambda: comm.gather(Unreadable() if rank == last else None, last), last, ValueError),
        (lambda: comm.allgather(lock if rank else None), 1, TypeError),
        (lambda: comm.allgather(Unreadable() if rank == last else None), 0, ValueError),
        (lambda: comm.check_same("k", lock), 0, TypeError),
    ]:
        with pytest.raises(DistributedError, match=f"^rank {failing} failed: {error.__name__}: "):
            exchange_objects()
        assert comm.sum(1) == size

# -- reductions, of more than one piece and at its edges
for piece in (64, 1 << 20):
    buffers.PIECE_BYTES = piece
    for n in (0, 1, 7, 8, 9, 64, 65, 1000):
        rng = np.random.default_rng(n)
        for dtype in ("int8", "uint16", "int32", "int64", "uint64", "float32", "float64", "bool"):
            every = rng.integers(0, 2 if dtype == "bool" else 30, (size, n, 2)).astype(dtype)
            cases = {"max": every.max(0), "min": every.min(0)} if n else {}
            if dtype != "bool":
                cases["sum"] = every.sum(0, dtype=dtype)
            if every.dtype.kind in "iub":
                cases["or"] = np.bitwise_or.reduce(every, 0)
            for reduction, expected in cases.items():
                ours = every[rank].copy()
                comm.allreduce(ours, reduction)
                np.testing.assert_array_equal(ours, expected)
        ours = every[rank].copy()
        comm.broadcast(ours, size - 1)
        np.testing.assert_array_equal(ours, every[size - 1])
        if size > 1 and rank < 2:
            (comm.send if rank else comm.receive)(ours := every[rank].copy(), 1 - rank)
            np.testing.assert_array_equal(ours, every[1])

# -- the binary tree: every rank's value arrives at rank 0 exactly once
total, rounds = np.array([1 << (8 * rank)]), 0
for other, receives in comm.tree_rounds():
    rounds += 1
    if receives:
        theirs = np.empty_like(total)
        comm.receive(theirs, other)
        total += theirs
    else:
        comm.send(total, other)
assert rounds <= (size - 1).bit_length()
if rank == 0:
    assert total[0] == sum(1 << (8 * r) for r in range(size))

# -- gathering rows of unequal numbers
for shape in ((), (3,), (2, 2), (0,)):
    for lengths in (range(size), [5] * size, [0] * size):
        every = [np.full((n, *shape), r + n, dtype="<u8") for r, n in enumerate(lengths)]
        out = comm.allgather_rows(every[rank])
        assert out.dtype == np.uint64
        np.testing.assert_array_equal(out, np.concatenate(every))
assert comm.allgather_rows(np.array([b"ab", b"c"])).tolist() == [b"ab", b"c"] * size

# -- exchange: every row arrives where it should, once, in the order of its rank; rounds stay small
def rows_of(r, n, skew):
    rng = np.random.default_rng(100 * r + n)
    key = np.arange(n, dtype=np.int64) * size + r
    wide = np.stack([key, key + 1, key * 2], axis=1).astype(np.float32)
    to = np.zeros(n, dtype=np.int32) if skew else rng.integers(0, size, n)
    return key, wide, np.array([b"k%d" % k for k in key], dtype="S12"), to

for round_bytes in (1, 200, 64 << 20):
    exchange.ROUND_BYTES = round_bytes
    for skew in (False, True):
        for lengths in ([300] * size, [40 * r for r in range(size)], [0] * size):
            parts = [rows_of(r, n, skew) for r, n in enumerate(lengths)]
            *columns, to = parts[rank]
            mine = [[p[i][p[3] == rank] for p in parts] for i in range(3)]
            before = comm.bytes_sent
            got = comm.exchange(columns, to)
            assert [c.dtype for c in got] == [c.dtype for c in columns]
            sent = sum(int((to != rank).sum()) * c[:1].nbytes for c in columns if len(c))
            assert comm.bytes_sent - before == sent
            for column in got:
                assert len(column) == sum(len(part) for part in mine[0])
            for r in range(size):
                of_r = got[0] % size == r
                for column, expected in zip(got, mine):
                    np.testing.assert_array_equal(column[of_r], expected[r])
            # The same, taken round by round.
            batches = []
            empty = comm.exchange(columns, to, lambda *batch: batches.append(batch))
            assert [len(c) for c in empty] == [0, 0, 0]
            for batch in batches:
                if size > 1:
                    assert sum(c.nbytes for c in batch) <= max(round_bytes, size * (8 + 12 + 12))
            for i, column in enumerate(got):
                if batches:
                    np.testing.assert_array_equal(np.concatenate([b[i] for b in batches]), column)

if size > 1:
    exchange.ROUND_BYTES = 200
    key = np.arange(100)
    with pytest.raises(DistributedError, match=f"rank {size - 1} failed: ValueError: destination must lie"):
        comm.exchange([key], np.full(100, size if rank == size - 1 else 0))
    with pytest.raises(DistributedError, match="rank 0 failed: ValueError: columns must have 100 rows"):
        comm.exchange([key[: 99 + (rank > 0)]], key * 0)
    with pytest.raises(DistributedError, match="rank 0 failed: TypeError: columns must have a fixed-size"):
        comm.exchange([key.astype(object) if rank == 0 else key], key * 0)
    with pytest.raises(DistributedError, match="ranks must agree on the columns of an exchange"):
        comm.exchange([key.astype(np.int32) if rank == 0 else key], key * 0)
    # A receiver that fails in some round, the last among them, stops every rank.
    for bad in (0, 3, -1):
        taken = []
        def receive(batch):
            taken.append(batch)
            if rank == 1 and (bad >= 0 and len(taken) > bad or 99 in batch):
                raise OSError("disk full")
        with pytest.raises(DistributedError, match="rank 1 failed: OSError: disk full"):
            comm.exchange([key], np.ones(100, dtype=np.int64), receive)

    # Different versions on ranks are noticed at the first agreement.
    if rank == 1:
        objects.__version__, objects._VERSION = "0.0.1", objects._VERSION + 1
    with pytest.raises(DistributedError, match="ranks must agree on the version of mergesketch: .*'0.0.1'"):
        with comm.agree():
            pass
print("done")
"""


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4])
def test_collectives(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, COLLECTIVES, str(n_ranks))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * n_ranks


@pytest.fixture
def without_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the MPI that another test may have started in this process."""
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)


@pytest.mark.usefixtures("without_mpi")
def test_one_process() -> None:
    comm = communicator()
    assert (comm.rank, comm.size, comm.mpi) == (0, 1, None)
    assert comm.gather(3) == comm.allgather(3) == [3]
    assert (comm.bcast(3), comm.sum(3), comm.exclusive_sum(3)) == (3, 3, 0)
    assert list(comm.tree_rounds()) == []
    array = np.arange(5)
    comm.allreduce(array, "sum")
    comm.broadcast(array)
    assert comm.allgather_rows(array) is array
    assert array.tolist() == [0, 1, 2, 3, 4]
    (kept,) = comm.exchange([array], np.zeros(5, dtype=np.int64))
    assert kept.tolist() == [0, 1, 2, 3, 4]
    batches: list[Any] = []
    (nothing,) = comm.exchange([array], np.zeros(5, dtype=np.int64), batches.append)
    assert nothing.size == 0
    assert [b.tolist() for b in batches] == [[0, 1, 2, 3, 4]]
    with pytest.raises(ValueError, match=r"destination must lie in \[0, 1\), got 0 to 1"):
        comm.exchange([array], np.array([0, 0, 0, 0, 1]))
    with pytest.raises(TypeError, match="destination must be a 1-D array of ranks, got 1-D float64"):
        comm.exchange([array], np.zeros(5))
    assert comm.bytes_sent == 0


def test_communicator_refuses_what_is_none() -> None:
    for wrong in (3, "world", object()):
        with pytest.raises(TypeError, match="comm must be an mpi4py intracommunicator"):
            communicator(wrong)


# -- how programs end -----------------------------------------------------------------------------

MAIN = """
import time
from mergesketch.distributed import run_main

def main(comm):
    mode = sys.argv[1]
    print("started", flush=True)
    if mode == "agree":
        with comm.agree():
            if comm.rank == 1:
                raise ValueError("k must be positive")
    if mode == "differ":
        comm.check_same("k", comm.rank // 2)
    if mode == "all":
        raise ValueError("no such thing")
    if mode == "one" and comm.rank == 1:
        raise FileNotFoundError(2, "No such file", "words.txt")
    if mode == "fault" and comm.rank == 1:
        {}["absent"]
    if mode == "code":
        return 5 if comm.rank == 1 else 3
    if mode in ("sleep", "stuck"):
        # Some ranks sleep and others wait inside MPI, or all wait there, as after a fault in an algorithm.
        if comm.rank == 0:
            comm.mpi.recv(source=1) if mode == "stuck" else time.sleep(60)
    if mode == "killed":
        comm.barrier()  # so that the others have said that they started before they are ended
        if comm.rank == 1:
            os.kill(os.getpid(), 9)
    comm.barrier()

sys.exit(run_main(main))
"""
#: Seconds in which three processes import everything even on a busy machine; a hang takes far longer.
TIMEOUT = 60.0


def run(mode: str) -> Ran:
    return run_apart(3, MAIN, mode, timeout=TIMEOUT)


@pytest.mark.slow
@needs_mpi
def test_a_good_end() -> None:
    ran = run("good")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == ["started\n"] * 3


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("agree", "mergesketch: error: rank 1 failed: ValueError: k must be positive\n"),
        ("differ", "mergesketch: error: ranks must agree on k: rank 0 has 0, rank 2 has 1\n"),
    ],
)
def test_an_error_that_all_ranks_know_is_told_once(mode: str, message: str) -> None:
    """The run ends with one message and code 2; mpiexec prints nothing."""
    ran = run(mode)
    assert (ran.returncode, ran.stderr) == (2, message)


@pytest.mark.slow
@needs_mpi
def test_an_error_on_one_rank_alone_ends_all() -> None:
    ran = run("one")
    assert ran.returncode == 2
    first, *others = ran.stderr.splitlines()
    assert first == "mergesketch: error: rank 1 failed: [Errno 2] No such file: 'words.txt'"
    assert all("Abort(2)" in line for line in others)
    ran = run("fault")
    assert ran.returncode == 1
    assert "KeyError: 'absent'" in ran.stderr
    assert ran.stderr.count("Traceback") == 1


@pytest.mark.slow
@needs_mpi
def test_exit_codes_of_the_program_go_through() -> None:
    ran = run("code")
    assert (ran.returncode, ran.stderr) == (5 | 3, ""), "mpiexec returns the bitwise or"


@pytest.mark.slow
@needs_mpi
def test_a_killed_rank_takes_the_others_with_it() -> None:
    ran = run("killed")
    assert ran.returncode == signal.SIGKILL
    assert ran.stdout == ["started\n"] * 3
    assert ran.seconds < TIMEOUT / 2


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("mode", ["sleep", "stuck"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_every_rank(mode: str, number: signal.Signals) -> None:
    with running_ranks(3, MAIN, mode) as (process, folder):
        _wait_for(lambda: sum(_size(folder / f"stdout-{rank}") for rank in range(3)) == 3 * len("started\n"))
        process.send_signal(number)
        _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 128 + number
    assert stderr.count("mergesketch: interrupted") == (mode == "sleep")
    assert "Traceback" not in stderr


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _wait_for(condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_run_main_in_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: BaseException) -> Any:
        def main(comm: Communicator) -> None:
            raise error

        return main

    assert run_main(lambda comm: None) == 0
    assert run_main(lambda comm: comm.size + 3) == 4
    assert capsys.readouterr().err == ""
    for error, code, message in [
        (ValueError("k must be positive"), 2, "mergesketch: error: k must be positive\n"),
        (OverflowError("full"), 2, "mergesketch: error: full\n"),
        (MemoryError(), 2, "mergesketch: error: out of memory\n"),
        (DistributedError("ranks differ"), 2, "mergesketch: error: ranks differ\n"),
        (KeyboardInterrupt(), 130, "mergesketch: interrupted\n"),
    ]:
        assert run_main(raising(error)) == code
        assert capsys.readouterr().err == message
    assert run_main(raising(ValueError("odd")), name="mine") == 2
    assert capsys.readouterr().err == "mine: error: odd\n"
    assert run_main(raising(RuntimeError("a fault"))) == 1
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_main(raising(SystemExit(3)))


@pytest.mark.usefixtures("without_mpi")
def test_run_main_handles_signals_and_puts_the_handlers_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):

        def main(comm: Communicator, number: signal.Signals = number) -> None:
            os.kill(os.getpid(), number)
            time.sleep(TIMEOUT)

        assert run_main(main) == code
        assert capsys.readouterr().err == "mergesketch: interrupted\n"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.slow
@needs_mpi
def test_processes_that_a_rank_starts_are_alone():
    """They inherit its environment, but not its connection with the launcher; MPI would end them."""
    code = """
        import subprocess
        from mergesketch.distributed import communicator
        comm = communicator()
        if comm.rank == 1:
            child = "from mergesketch.distributed import communicator; print(communicator().size)"
            print(subprocess.check_output([sys.executable, "-c", child], text=True))
        comm.barrier()
    """
    ran = run_apart(2, code)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == ["", "1\n\n"]
