"""Test the sparse all-reduce: equal sums on every rank, its codes, its loads, and its failures."""

from __future__ import annotations

import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed import sparse_all_reduce
from mergesketch.distributed.kernels import sparse_all_reduce as kernels
from naive import sparse_all_reduce as naive
from ranks import Ranks, needs_mpi, run_apart

IDS = st.integers(0, 9) | st.integers(0, 3000) | st.integers(0, 2**63 - 1)


# -- one rank -----------------------------------------------------------------------------------------


@st.composite
def vectors(draw: st.DrawFn, n_ranks: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw a sparse vector for each rank; some have no ids, and some repeat theirs."""
    dtype = draw(st.sampled_from(["float32", "float64", "int64"]))
    shape = draw(st.sampled_from([(), (1,), (3,)]))
    ids = [draw(st.lists(IDS, max_size=15)) for _ in range(n_ranks)]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return [
        (np.array(each, np.int64), (rng.standard_normal((len(each), *shape)) * 1e3).astype(dtype))
        for each in ids
    ]


@settings(max_examples=settings.default.max_examples // 2)
@given(vectors(1))
def test_one_rank_adds_its_own_values(ranks: list[tuple[np.ndarray, np.ndarray]]) -> None:
    ids, values = ranks[0]
    expected = naive.add_up(ids.tolist(), values)
    found, sums = sparse_all_reduce(ids, values)
    assert found.tolist() == list(expected)
    assert sums.dtype == values.dtype and sums.shape == (len(expected), *values.shape[1:])
    if expected:
        np.testing.assert_array_equal(sums, np.array(list(expected.values())))


def test_what_it_refuses() -> None:
    refused: list[tuple[Any, Any, type[Exception], str]] = [
        ([1.5], [1.0], TypeError, "ids must be integers in one dimension, got float64"),
        ([True], [1.0], TypeError, "ids must be integers, got bool"),
        ([[1]], [1.0], TypeError, "ids must be integers in one dimension, got int64 of shape"),
        ([-1], [1.0], ValueError, "ids must lie from 0 to 2"),
        (np.array([2**63], np.uint64), [1.0], ValueError, "ids must lie from 0 to 2"),
        ([1, 2], [1.0], ValueError, "values must have 2 numbers"),
        ([1], [[[1.0]]], ValueError, "values must have 1 number"),
        ([1], np.zeros((1, 0)), ValueError, "values must have at least one column"),
        ([1], ["a"], TypeError, "values must hold real numbers"),
        ([1], [True], TypeError, "values must hold real numbers, got dtype bool"),
        ([1], np.array([2**63], np.uint64), ValueError, "values must lie from"),
        ([7, 1, 1], [5, 2**62, 2**62], OverflowError, r"sums of values must lie from .* that of id 1 leaves"),
        ([1, 1], [-(2**63), -1], OverflowError, "sums of values must lie from"),
        ([1, 1, 1], [2**63 - 1, 1, -1], OverflowError, "sums of values must lie from"),
        ([1, 1], [[0, 2**63 - 1], [0, 1]], OverflowError, "sums of values must lie from"),
    ]
    for ids, values, error, message in refused:
        with pytest.raises(error, match=message):
            sparse_all_reduce(ids, values)


def test_what_no_sum_needs_is_not_refused() -> None:
    _, sums = sparse_all_reduce([1, 2], [2**62, -(2**63)])
    assert sums.tolist() == [2**62, -(2**63)]
    _, sums = sparse_all_reduce([2, 1, 2, 2, 1], [-(2**62), 2**63 - 2, -(2**62), 2**63 - 1, 1])
    assert sums.tolist() == [2**63 - 1, -1]
    ids, sums = sparse_all_reduce([3, 1, 3], np.array([np.inf, np.nan, -np.inf], np.float16))
    assert ids.tolist() == [1, 3] and sums.dtype == np.float32 and np.isnan(sums).all()


def test_nulls_are_refused_in_values_and_ids() -> None:
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    for column in (pd.Series([1, None], dtype="Int64"), pl.Series([1, None]), pa.array([1.0, None])):
        with pytest.raises(ValueError, match=r"^values must have no nulls, got 1, the first in row 1; drop"):
            sparse_all_reduce([1, 2], column)
        with pytest.raises(ValueError, match=r"^ids must have no nulls, got 1, the first in row 1; drop or"):
            sparse_all_reduce(column, [1, 2])
    ids, sums = sparse_all_reduce(pl.Series([5, 2]), pd.Series([1, 2], dtype="Int64"))
    assert ids.tolist() == [2, 5] and sums.tolist() == [2, 1] and sums.dtype == np.int64


def test_without_ids_the_dtype_and_the_columns_do_not_count() -> None:
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    empty = [pd.Series([]), pa.array([]), [], np.zeros((0, 0)), np.zeros(0, "U1"), np.zeros((0, 3), bool)]
    for ids in ([], pd.Series([]), pa.array([])):
        for values in empty:
            found, sums = sparse_all_reduce(ids, values)
            assert found.shape == (0,) and found.dtype == np.int64
            assert len(sums) == 0 and sums.dtype == np.float64
    assert sparse_all_reduce([], np.zeros((0, 2), np.float32))[1].dtype == np.float32
    with pytest.raises(ValueError, match="values must have 0 numbers or rows"):
        sparse_all_reduce([], ["a"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_negative_zeros_are_negative_zero(dtype: str) -> None:
    values = np.array([-0.0, -0.0, 1.0, -0.0, 0.0, 1.0, -0.0], dtype)
    ids, sums = sparse_all_reduce([1, 2, 3, 2, 4, 3, 4], values)
    assert ids.tolist() == [1, 2, 3, 4] and sums.tolist() == [0, 0, 2, 0]
    assert np.signbit(sums).tolist() == [True, True, False, False]


# -- owners and codes ---------------------------------------------------------------------------------


def owners_of(ids: np.ndarray, n_ranks: int) -> np.ndarray:
    owners = np.empty(ids.size, np.uint16)
    ids = ids.astype(np.uint64)
    ids.flags.writeable = False
    kernels.find_owners(ids, n_ranks, 0, ids.size, owners)
    return owners


@given(st.lists(IDS, max_size=30), st.integers(1, 9) | st.just(600))
def test_owners_and_codes_equal_those_of_the_naive_twin(numbers: list[int], n_ranks: int) -> None:
    ids = np.unique(np.array(numbers, np.uint64))
    owners = owners_of(ids, n_ranks)
    assert owners.tolist() == [naive.owner(number, n_ranks) for number in ids.tolist()]
    ids = ids[np.argsort(owners, kind="stable")]
    groups = [number // n_ranks for number in numbers] or [0]
    first, n_bitmap = min(groups), (max(groups) - min(groups)) // 8 + 1
    starts = np.searchsorted(np.sort(owners), np.arange(n_ranks + 1))
    sizes = np.empty(n_ranks, np.int64)
    for array in (ids, starts):
        array.flags.writeable = False
    kernels.measure_codes(ids, starts, n_ranks, first, n_bitmap, sizes)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    begins, codes = ends[:-1].copy(), np.zeros(ends[-1], np.uint8)
    for array in (begins, sizes):
        array.flags.writeable = False
    kernels.write_codes(ids, starts, n_ranks, first, n_bitmap, begins, sizes, codes)
    for r in range(n_ranks):
        expected = naive.code(ids[starts[r] : starts[r + 1]].tolist(), n_ranks, first, n_bitmap)
        assert codes[ends[r] : ends[r + 1]].tobytes() == expected
    found, runs = np.empty_like(ids), np.arange(n_ranks)
    for array in (codes, runs):
        array.flags.writeable = False
    kernels.read_codes(codes, runs, begins, sizes, starts, n_ranks, first, n_bitmap, found)
    np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize("n_ranks", [2, 3, 16, 512])
def test_owners_have_even_loads(n_ranks: int) -> None:
    """Each of p consecutive ids has another owner, and owners of ids far apart are independent.

    So the ids of an owner have a variance of at most m / p, for any m ids that do not depend on the hash.
    """
    n = 100_000 // n_ranks * n_ranks
    rng = np.random.default_rng(n_ranks)
    dense_head = np.unique(np.concatenate([np.arange(n // 4), n // 4 + rng.zipf(1.2, n) % 2**40]))
    cases = {
        "Zipf": dense_head,
        "uniform": np.unique(rng.integers(0, 2**62, n)),
        "blocks": (rng.choice(2**40, n // 100)[:, None] * 1000 + np.arange(100)).ravel(),
        **{f"stride {step}": np.arange(n) * step for step in (2, 3, n_ranks, n_ranks + 1, 2**20)},
    }
    for name, ids in cases.items():
        loads = np.bincount(owners_of(ids, n_ranks), minlength=n_ranks)
        mean = ids.size / n_ranks
        assert np.abs(loads - mean).max() <= 6 * np.sqrt(mean), name
    loads = np.bincount(owners_of(np.arange(n), n_ranks), minlength=n_ranks)
    assert (loads == n // n_ranks).all(), "consecutive ids have exactly equal loads"


# -- many ranks ---------------------------------------------------------------------------------------

SUMS = """
import pickle
import numpy as np
from mergesketch.distributed import communicator, sparse_all_reduce
module = sys.modules["mergesketch.distributed.learning.sparse_all_reduce"]

comm = communicator()
with open(sys.argv[1], "rb") as file:
    examples = pickle.load(file)
for i, (vectors, expected) in enumerate(examples):
    # In a round, a rank sends one id, some ids, or all of them.
    module.ROUND_BYTES = 1 if i % 8 == 0 else 400 if i % 2 else 64 << 20
    ids, values = vectors[comm.rank]
    copies = ids.copy(), values.copy()
    for array in (ids, values):
        array.flags.writeable = False
    found, sums = sparse_all_reduce(ids, values)
    assert found.dtype == np.int64 and found.tolist() == list(expected), i
    kinds = {v.dtype for n, v in vectors if len(n)} or {values.dtype}
    assert {sums.dtype} == kinds and len(sums) == len(found)
    if expected:
        np.testing.assert_array_equal(sums, np.array(list(expected.values())))
    for array, copy in zip((ids, values), copies):
        np.testing.assert_array_equal(array, copy)
    assert len(set(comm.allgather((found.tobytes(), sums.tobytes(), sums.shape)))) == 1, "bits differ"

# All values are dense, and ids travel as bitmaps: far fewer bytes than numbers of 8 bytes.
module.ROUND_BYTES = 64 << 20
n, before = 80_000, comm.bytes_sent
ids, sums = sparse_all_reduce(np.arange(n), np.full(n, comm.rank + 1, np.float32))
assert ids.tolist() == list(range(n)) and (sums == comm.size * (comm.size + 1) / 2).all()
share = (comm.size - 1) / comm.size
assert comm.bytes_sent - before <= share * n * 2 * (4 + 1 / 8) + 1000
# Whatever ids it has, no rank gets more than a round's bytes at a time, and the heads of the blocks.
module.ROUND_BYTES, received, swap = 30_000, [], module.swap
def counting(comm, outgoing, incoming):
    received.append(sum(block.nbytes for block in incoming))
    swap(comm, outgoing, incoming)
module.swap = counting
ids, sums = sparse_all_reduce(np.arange(9000) * (1 + comm.rank), np.ones((9000, 3)))
assert len(received) > 9 and max(received) <= 30_000 + 32 * comm.size
assert sums.sum() == 27_000 * comm.size
print("done")
"""


def draw_examples(n_ranks: int) -> list[Any]:
    """Return vectors of ranks, with the sums of the naive twin."""
    examples: list[Any] = []

    @settings(max_examples=settings.default.max_examples // 5)
    @given(vectors(n_ranks))
    def draw(ranks: list[tuple[np.ndarray, np.ndarray]]) -> None:
        # A rank without ids may have another dtype.
        given = [(ids, values if len(ids) else np.zeros(0)) for ids, values in ranks]
        examples.append((given, naive.all_reduce([(ids.tolist(), values) for ids, values in ranks])))

    draw()
    return examples


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [2, 3, 4])
def test_all_ranks_have_the_sums_of_the_naive_twin(ranks: Ranks, tmp_path: Path, n_ranks: int) -> None:
    path = tmp_path / "examples"
    path.write_bytes(pickle.dumps(draw_examples(n_ranks)))
    ran = ranks.run(n_ranks, SUMS, str(path))
    assert ran.stdout == ["done\n"] * n_ranks, ran.stderr


FAILURES = """
import numpy as np
import pytest
from mergesketch.distributed import communicator, sparse_all_reduce
from mergesketch.errors import DistributedError
module = sys.modules["mergesketch.distributed.learning.sparse_all_reduce"]

comm = communicator()
rank, size = comm.rank, comm.size

def refuses(match, ids, values, error=DistributedError):
    with pytest.raises(error, match=match) as caught:
        sparse_all_reduce(ids, values)
    assert len(set(comm.allgather(str(caught.value)))) == 1, "ranks got different messages"

ones = np.ones(3, np.float32)
for odd in (0, size - 1):
    is_odd = rank == odd
    refuses(f"rank {odd} failed: ValueError: ids must lie", [0, 1, -is_odd], ones)
    refuses(f"rank {odd} failed: ValueError: values must have 3", [0, 1, 2], ones[is_odd:])
    refuses("agree on the dtype and the columns of values: rank 0 has float.. without columns, rank",
            [0, 1, 2], ones.astype(np.float64) if is_odd else ones)
    refuses("agree on the dtype and the columns of values: rank 0 has float32", [0, 1, 2],
            ones[:, None] if is_odd else ones)
    # Memory that runs out on one rank, at each step.
    for name in ("find_owners", "measure_codes", "write_codes", "read_codes"):
        kept = getattr(module.kernels, name)
        def fail(*arguments):
            raise MemoryError("none left")
        if is_odd:
            setattr(module.kernels, name, fail)
        refuses(f"rank {odd} failed: MemoryError: none left", [0, 1, 2], ones)
        setattr(module.kernels, name, kept)
refuses("failed: OverflowError: sums of values must lie from .* that of id 5 leaves", [5], [2**62])
for values in ([-2**63], [2**63 - 1]):
    # Neither one extreme value nor large values of different ids are too much.
    _, sums = sparse_all_reduce([0][rank:], values[rank:])
    assert sums.tolist() == values
    _, sums = sparse_all_reduce([rank], values)
    assert sums.tolist() == values * size
_, sums = sparse_all_reduce([7], [[2**62, -2**62, 0][rank]])
assert sums.tolist() == [0]
is_first = rank == 0
_, sums = sparse_all_reduce([1][is_first:], np.zeros((0, 0)) if is_first else np.ones((1, 2), "f4"))
assert sums.tolist() == [[size - 1] * 2] and sums.dtype == np.float32
_, sums = sparse_all_reduce([4, 6], [-0.0, rank])
assert np.signbit(sums).tolist() == [True, False]
ids, sums = sparse_all_reduce([rank], [1])
assert ids.tolist() == list(range(size)) and sums.dtype == np.int64
ids, sums = sparse_all_reduce(np.zeros(0, int), np.zeros((0, 2), np.float32))
assert ids.shape == (0,) and sums.shape == (0, 2) and sums.dtype == np.float32
print("done")
"""


@needs_mpi
def test_what_fails_on_one_rank_fails_on_all_with_one_message(ranks: Ranks) -> None:
    ran = ranks.run(3, FAILURES)
    assert ran.stdout == ["done\n"] * 3, ran.stderr


KILLED = """
import numpy as np
from mergesketch.distributed import communicator, sparse_all_reduce
module = sys.modules["mergesketch.distributed.learning.sparse_all_reduce"]
comm = communicator()
if comm.rank == 1:
    module.swap = lambda *arguments: os.kill(os.getpid(), 9)
print("started", flush=True)
comm.barrier()  # so that both have said that they started before one of them is ended
sparse_all_reduce([1, 2, 3], np.ones(3))
print("not reached")
"""


@pytest.mark.slow
@needs_mpi
def test_a_killed_rank_takes_the_others_with_it() -> None:
    ran = run_apart(2, KILLED, timeout=60.0)
    assert ran.returncode == signal.SIGKILL
    assert ran.stdout == ["started\n"] * 2
    assert ran.seconds < 30
