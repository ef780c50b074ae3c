"""Test law 4 over MPI: the same data over any number of ranks gives the same state; and refusals."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from entries import Entry
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mergesketch import CountMinSketch
from mergesketch.distributed import merge_over_ranks
from mergesketch.lsh.support.install import how_to_install
from ranks import Ranks, needs_mpi
from registry import ENTRIES

MERGE = """
import functools
import operator
import pickle
import numpy as np
import mergesketch
from mergesketch import MergeableSketch, RaceWindow
from mergesketch.distributed import communicator, merge_over_ranks
from entries import take
from registry import ENTRIES
from toy_family import ToyFamily
from toy_sketches import Everything, Largest

comm = communicator()
assert comm.size == int(sys.argv[1])

def check(empty, batches, join, law=None):
    # Every n-th batch goes to this rank; a rank may have none.
    whole = take(empty.empty_like(), *join(batches))
    ours = empty.empty_like()
    for batch in batches[comm.rank :: comm.size]:
        take(ours, *batch)
    merged = merge_over_ranks(ours)
    assert merged is ours
    if law is None:
        assert merged == whole, (merged, whole)
    else:
        law(whole, merged, batches)
    assert merged.n_updates == whole.n_updates
    assert len(set(comm.allgather(merged.to_bytes()))) == 1, "ranks differ"
    # A merged sketch can be used, and merged again, because its bounds are right.
    merge_over_ranks(merged)
    assert merged.n_updates == comm.size * whole.n_updates

rng = np.random.default_rng(0)
keys = [(rng.integers(0, 10**6, n),) for n in (1000, 0, 3, 70_000, 1, 500)]
join = lambda batches: (np.concatenate([b[0] for b in batches]),)
for empty in (Everything(), Everything(width=1), Largest(), Largest(size=3)):
    if isinstance(empty, Everything):
        whole = empty.empty_like()
        for batch in keys:
            whole.update(*batch)
        ours = empty.empty_like()
        for batch in keys[comm.rank :: comm.size]:
            ours.update(*batch)
        merge_over_ranks(ours)
        for name, state in whole.state.items():
            # Eighths add up exactly in any order.
            np.testing.assert_array_equal(ours.state[name].array, state.array, err_msg=name)
        assert len(set(comm.allgather(ours.to_bytes()))) == 1, "ranks differ"
    else:
        check(empty, keys, join)

# What a rank has derived from its own arrays is derived anew from the merged ones.
rows = np.arange(20).reshape(10, 2) % 3
windows = [RaceWindow(ToyFamily(2, 3), n_panes=2) for _ in range(comm.size)]
for number, window in enumerate(windows):
    window.update(rows[number:], pane=number % 2).query(rows)
whole = functools.reduce(operator.or_, windows).query(rows)
np.testing.assert_array_equal(merge_over_ranks(windows[comm.rank]).query(rows), whole)

with open(sys.argv[2], "rb") as file:
    examples = pickle.load(file)
for name, empty, batches in examples:
    check(empty, batches, ENTRIES[name].join, ENTRIES[name].weaker_law)
print(len(examples))
"""


def draw_examples(entry: Entry, n: int) -> list[tuple[Any, list[tuple]]]:
    """Draw an empty sketch and five batches, `n` times, and one more example with large batches."""
    examples: list[tuple[Any, list[tuple]]] = []

    @settings(
        max_examples=n,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def draw(data: st.DataObject) -> None:
        empty = data.draw(entry.sketches)
        examples.append((empty, [data.draw(entry.batches(empty)) for _ in range(5)]))

    draw()
    if entry.weaker_law is not None:
        return examples  # The weaker law is checked key by key, in quadratic time.
    empty, rng = examples[-1][0], np.random.default_rng(0)
    return [*examples, (empty, [entry.large(rng, empty) for _ in range(3)])]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    drawn = [(name, *example) for name, entry in ENTRIES.items() for example in draw_examples(entry, 8)]
    path = tmp_path_factory.mktemp("examples") / "examples.pickle"
    path.write_bytes(pickle.dumps(drawn))
    return path, len(drawn)


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4])
def test_the_same_data_over_ranks_gives_the_same_state(
    ranks: Ranks, n_ranks: int, examples: tuple[Path, int]
) -> None:
    path, n_examples = examples
    ran = ranks.run(n_ranks, MERGE, str(n_ranks), str(path))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == [f"{n_examples}\n"] * n_ranks


REFUSE = """
import numpy as np
import pytest
from mergesketch import CountMinSketch, CountSketch, LSHIndex
from toy_family import ToyFamily
from mergesketch.errors import DistributedError, IncompatibleSketchError
from mergesketch.distributed import communicator, merge_over_ranks
from toy_sketches import Everything, Largest

comm = communicator()
rank, size = comm.rank, comm.size

def refuses(sketch, error, match):
    before = sketch.to_bytes() if hasattr(sketch, "to_bytes") else None
    with pytest.raises(error, match=match) as caught:
        merge_over_ranks(sketch)
    assert len(set(comm.allgather(str(caught.value)))) == 1, "ranks got different messages"
    if before is not None:
        assert sketch.to_bytes() == before, "changed"

# One rank differs in its configuration, in its class, or has no sketch at all.
for odd in range(size):
    match = "CountMinSketch sketches of ranks 0 .* differ in seed: "
    refuses(CountMinSketch(4, 99, seed=int(rank == odd)).update([1]), IncompatibleSketchError, match)
    cls = CountSketch if rank == odd else CountMinSketch
    refuses(cls(4, 99).update([1]), IncompatibleSketchError, "CountSketch")
    stranger = "sketch" if rank == odd else CountMinSketch(4, 99)
    match = f"rank {odd} failed: TypeError: sketch must be a MergeableSketch, got str"
    refuses(stranger, DistributedError, match)

# Ranks that all number their rows from 0 are refused; numbered consecutively, they make one index.
index = LSHIndex(ToyFamily(2, 3), capacity=50)
rows = np.arange(10 * size * 2).reshape(-1, 2) % 4
ours = rows[10 * rank : 10 * rank + 10]
refuses(index.copy().add(ours), IncompatibleSketchError, "from 0 to 9 by .*others have done so")
assert merge_over_ranks(index.copy().add(ours, first_id=10 * rank)) == index.copy().add(rows)

# Counters that widened on one rank widen everywhere.
sketch = CountMinSketch(2, 1)
sketch.update([7], [2**40 if rank == 1 else 1])
assert (sketch.state["counts"].array.dtype == np.int64) == (rank == 1)
merge_over_ranks(sketch)
assert sketch.state["counts"].array.dtype == np.int64
assert sketch.query([7]).tolist() == [2**40 + size - 1]

# Counters that fit each rank but not their sum widen before they are added.
sketch = CountMinSketch(2, 1).update([7], [2**31 - 1])
assert sketch.state["counts"].array.dtype == np.int32
merge_over_ranks(sketch)
assert sketch.query([7]).tolist() == [size * (2**31 - 1)]
# They do not widen because of a loose bound alone: subtracted weights do not count.
sketch = CountSketch(1, 1)
for _ in range(3):
    sketch.update([7], [2**30 - 1]).update([7], [1 - 2**30])
merge_over_ranks(sketch)
assert sketch.state["counts"].array.dtype == np.int32

# All ranks refuse sums that do not fit 64 bits, before anything changes.
sketch = CountMinSketch(2, 1).update([7], [2**62])
refuses(sketch, OverflowError, "CountMinSketch.(counts|total) cannot count beyond 9223372036854775807")
narrow = Everything(width=2)
for _ in range(127 // size + 1):
    narrow.update([1])
refuses(narrow, OverflowError, "Everything.narrow cannot count beyond 127; over all ranks it might reach")

# A reduction that fails on one rank fails on all, and no rank waits for it.
sketch = Largest(10, fails_on=100 + size - 1).update([100 + rank])
with pytest.raises(DistributedError, match=f"rank .* failed: RuntimeError: cannot merge {100 + size - 1}"):
    merge_over_ranks(sketch)

# The communicator of some of the ranks.
part = comm.mpi.Split(rank % 2)
sketch = merge_over_ranks(CountMinSketch(2, 9).update([rank]), part)
assert sketch.query(list(range(size))).tolist() == [int(r % 2 == rank % 2) for r in range(size)]
for wrong in (3, "world"):
    with pytest.raises(TypeError, match="comm must be an mpi4py intracommunicator"):
        merge_over_ranks(sketch, wrong)
print("done")
"""


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_what_cannot_be_merged_is_refused_on_every_rank(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, REFUSE)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * n_ranks


WARN = """
import warnings
import numpy as np
from mergesketch import BloomFilter
from mergesketch.distributed import communicator, merge_over_ranks
from mergesketch.errors import SaturationWarning

comm = communicator()
sketch = BloomFilter(1000).update(np.arange(800) + 800 * comm.rank)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    merge_over_ranks(sketch)
told = [str(w.message) for w in caught if w.category is SaturationWarning]
assert len(told) == (comm.rank == 0), told
assert all("more than its capacity of 1,000" in message for message in told)
assert sketch.capacity == 1000
print("done")
"""


@needs_mpi
def test_a_filter_that_all_ranks_overfill_warns_on_one(ranks: Ranks) -> None:
    ran = ranks.run(2, WARN)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * 2


@pytest.mark.slow
def test_one_rank_needs_no_mpi() -> None:
    code = """
import sys
sys.modules["mpi4py"] = None  # importing it fails
import mergesketch
from mergesketch.distributed import communicator, merge_over_ranks
sketch = mergesketch.CountMinSketch(4, 100).update([1, 2])
assert merge_over_ranks(sketch) is sketch
assert sketch.n_updates == 2
assert communicator().size == 1
try:
    merge_over_ranks(3)
except TypeError as error:
    assert "sketch must be a MergeableSketch, got int" in str(error)
else:
    raise AssertionError
print("done")
"""
    for launcher in ({}, {"PMI_RANK": "0", "PMI_SIZE": "1"}):
        ran = _python(code, **launcher)
        assert (ran.stdout, ran.returncode) == ("done\n", 0), ran.stderr
    several = _python(code, PMI_RANK="0", PMI_SIZE="2")
    assert several.returncode == 1
    assert "DistributedError: several ranks were started, but MPI cannot be used" in several.stderr
    assert how_to_install("mpi") in several.stderr


def test_importing_mergesketch_does_not_import_mpi4py() -> None:
    code = """
import sys
import mergesketch, mergesketch.distributed
mergesketch.distributed.communicator().barrier()
print([name for name in sys.modules if name.startswith("mpi4py")])
"""
    assert _python(code).stdout == "[]\n"


def test_an_empty_sketch_takes_part_like_any_other() -> None:
    sketch = CountMinSketch(4, 100)
    assert merge_over_ranks(sketch) == CountMinSketch(4, 100)


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
