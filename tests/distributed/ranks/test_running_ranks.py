"""Test the ranks that run snippets: a snippet sees nothing of earlier ones, and failures are reported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ranks import Ranks, needs_mpi

pytestmark = needs_mpi


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    """Give this file its own ranks, because some of its tests kill them."""
    with Ranks() as started:
        yield started


PIECE = "from mergesketch.distributed.ranks import buffers\nprint(buffers.PIECE_BYTES)\n"


@pytest.mark.slow
def test_snippets_start_anew(ranks: Ranks) -> None:
    first = ranks.run(2, PIECE)
    assert (first.returncode, first.stderr) == (0, "")
    changes = "import sys\nleft = 1\nbuffers.PIECE_BYTES = 7\nprint(sys.argv[1:], file=sys.stderr)\n"
    assert ranks.run(2, PIECE + changes, "a", "b").stderr == "['a', 'b']\n" * 2
    again = ranks.run(2, PIECE + "assert 'left' not in globals()")
    assert (again.returncode, again.stdout) == (0, first.stdout)


@pytest.mark.slow
def test_a_failure_on_one_rank_ends_the_run_and_new_ranks_follow(ranks: Ranks) -> None:
    code = """
        from mergesketch.distributed import communicator
        comm = communicator()
        if comm.rank == 1:
            raise ValueError("no such thing")
        comm.mpi.Barrier()
    """
    ran = ranks.run(2, code)
    assert ran.returncode != 0
    assert 'File "<snippet>", line 5' in ran.stderr and "ValueError: no such thing" in ran.stderr
    assert ranks.run(2, "print('here')").stdout == ["here\n"] * 2


@pytest.mark.slow
def test_a_rank_that_dies_is_noticed(ranks: Ranks) -> None:
    ran = ranks.run(2, "if os.environ['PMI_RANK'] == '0': os.kill(os.getpid(), 9)")
    assert ran.returncode == 99 and "rank 0 has died" in ran.stderr
    assert ranks.run(2, "sys.exit(0)").returncode == 0


@pytest.mark.slow
def test_ranks_that_do_not_end_fail_the_test_and_say_where_they_are(ranks: Ranks) -> None:
    code = "import time\nif os.environ['PMI_RANK'] == '1': time.sleep(100)\n"
    with pytest.raises(pytest.fail.Exception, match=r"ranks \[1\] of 2 did not end within 0.5 s") as caught:
        ranks.run(2, code, timeout=0.5)
    assert 'File "<snippet>", line 2' in str(caught.value)
    assert ranks.run(2, "print('here')").stdout == ["here\n"] * 2
