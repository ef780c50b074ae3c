"""Test the distributed index: the number of ranks does not change answers, files and failures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mergesketch import LSHIndex
from mergesketch.distributed import DistributedIndex
from mergesketch.distributed.index.aggregate import tree_rounds
from mergesketch.distributed.kernels import top_cells
from mergesketch.errors import DistributedError, SketchFormatError
from mergesketch.lsh import SignedRandomProjection
from naive.distributed_index import top_by_collisions, vote
from naive.words import mix13
from night import NUMBERS_OF_RANKS
from ranks import Ranks, needs_mpi
from toy_family import ToyFamily

ANSWERS = """
import numpy as np
from mergesketch import LSHIndex
from mergesketch.distributed import DistributedIndex, communicator, merge_over_ranks
from mergesketch.distributed.index import distributed_index as module
from mergesketch.lsh import MinHash, SignedRandomProjection
from naive.distributed_index import top_by_collisions
from toy_family import ToyFamily

comm = communicator()
rank, size = comm.rank, comm.size
assert size == int(sys.argv[1])
rng = np.random.default_rng(0)

def sets(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return rng.integers(0, 60, int(offsets[-1])).astype(np.uint64), offsets.astype(np.int64)

def rows_of(X, rows):
    # Rows of a matrix, or of sets.
    if isinstance(X, np.ndarray):
        return X[rows]
    tokens, offsets = X
    parts = [tokens[offsets[i] : offsets[i + 1]] for i in rows]
    return np.concatenate([tokens[:0], *parts]), np.cumsum([0, *map(len, parts)])

n, n_queries = 500, 23
CASES = [
    (ToyFamily(n_features=6, n_hashes=7), rng.integers(0, 4, (n, 6)), rng.integers(0, 4, (n_queries, 6))),
    (SignedRandomProjection(16, 24, power=5, seed=1), rng.standard_normal((n, 16)),
     rng.standard_normal((n_queries, 16))),
    (MinHash(20, power=2, n_buckets=500), sets(rng.integers(0, 9, n)), sets(rng.integers(0, 9, n_queries))),
]
for family, X, Q in CASES:
    codes, query_codes = family.hash(X), family.hash_query(Q)
    for k in (1, 5, 300):
        expected = top_by_collisions(codes, np.arange(n), query_codes, k)
        # Rows in two calls, consecutive shares, default ids; one rank has none in the second.
        index = DistributedIndex(family, capacity=n, comm=comm)
        for start, stop in ((0, 200), (200, n)):
            takers = max(1, size - 1) if start else size
            shares = np.array_split(np.arange(start, stop), takers)
            assert index.add(rows_of(X, shares[rank]) if rank < takers else None) is index
        assert index.n_rows == n
        assert comm.sum(index.local.n_updates) == n
        # Rows dealt at random, in random order, with their ids.
        dealt = DistributedIndex(family, capacity=n)
        deal = np.random.default_rng(k).integers(0, size, n)
        mine = np.random.default_rng(rank).permutation(np.flatnonzero(deal == rank))
        dealt.add(rows_of(X, mine), ids=mine)
        # Queries in equal shares, all on rank 0, all on every rank, and in tiny rounds.
        every = np.arange(n_queries)
        for asked in (np.array_split(every, size)[rank], every if rank == 0 else None, every):
            # Rounds are the same for all k.
            for round_bytes in (1, 64 << 20) if k == 5 else (64 << 20,):
                module.ROUND_BYTES = round_bytes
                for one in (index, dealt):
                    ids, counts = one.query(None if asked is None else rows_of(Q, asked), k)
                    wanted = every[:0] if asked is None else asked
                    assert ids.dtype == np.int64 and counts.dtype == np.int32
                    np.testing.assert_array_equal(ids, expected[0][wanted])
                    np.testing.assert_array_equal(counts, expected[1][wanted])

# What a query sends: its codes to every other rank, and candidates over size - 1 edges.
before = comm.bytes_sent
index.query(rows_of(Q, np.arange(5 + rank)), 10)
others = sum(5 + r for r in range(size) if r != rank)
wire = 4 + (1 if 20 * n < 256 else 2)
assert index.comm.bytes_sent - before == (size - 1) * (5 + rank) * 20 * 4 + others * 10 * wire

# Votes: with few candidates no cell is shared in all rows, and the paper's sketch is exact.
family = SignedRandomProjection(16, 24, power=14, seed=1)
X = rng.standard_normal((n, 16))
Q = X[:40] + 0.1 * rng.standard_normal((40, 16))
sparse = DistributedIndex(family, capacity=50).add(np.array_split(X, size)[rank])
assert sparse.local.overflow == 0.0
for round_bytes in (1, 64 << 20):
    module.ROUND_BYTES = round_bytes
    exact, votes = sparse.query(Q, 7), sparse.query(Q, 7, aggregation="sketch")
    assert (exact.counts[:, 0] > 3).all()
    np.testing.assert_array_equal(votes.ids, exact.ids)
    np.testing.assert_array_equal(votes.counts, exact.counts)
# With many, its counts are lower bounds of true ones.
crowded = DistributedIndex(CASES[0][0], capacity=n).add(np.array_split(CASES[0][1], size)[rank])
all_ids, all_counts = crowded.query(CASES[0][2], n)
ids, counts = crowded.query(CASES[0][2], 50, aggregation="sketch")
for row in range(n_queries):
    truth = dict(zip(all_ids[row].tolist(), all_counts[row].tolist()))
    for found, count in zip(ids[row].tolist(), counts[row].tolist()):
        assert (found, count) == (-1, 0) or 0 < count <= truth[found]

# Buckets are full: more ranks keep no fewer ids, and merged they equal one index.
small = LSHIndex(CASES[0][0], capacity=5, seed=3).add(CASES[0][1])
parts = DistributedIndex(CASES[0][0], capacity=5, seed=3).add(np.array_split(CASES[0][1], size)[rank])
assert small.overflow > 0.5
assert merge_over_ranks(parts.local.copy()) == small
ids, counts = parts.query(CASES[0][2], n)
for row, (kept_ids, kept_counts) in enumerate(zip(*small.query(CASES[0][2], n))):
    found = dict(zip(ids[row].tolist(), counts[row].tolist()))
    assert all(found[i] >= c for i, c in zip(kept_ids.tolist(), kept_counts.tolist()) if i >= 0)

# Ids beyond 32 bits.
wide = DistributedIndex(CASES[0][0], capacity=n, wide_ids=True)
own = np.array_split(np.arange(n), size)[rank]
wide.add(CASES[0][1][own], ids=own + 2**60)
family, X, Q = CASES[0]
expected = top_by_collisions(family.hash(X), np.arange(n) + 2**60, family.hash_query(Q), 9)
np.testing.assert_array_equal(wide.query(Q, 9).ids, expected[0])
empty = DistributedIndex(CASES[0][0]).query(CASES[0][2], 3)
assert (empty.ids == -1).all() and (empty.counts == 0).all()
assert empty.ids.shape == (n_queries, 3)
print("done")
"""


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", NUMBERS_OF_RANKS)
def test_answers_over_ranks(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, ANSWERS, str(n_ranks))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * n_ranks


FAILURES = """
import numpy as np
import pytest
from mergesketch.distributed import DistributedIndex, communicator, merge_over_ranks
from mergesketch.errors import DistributedError, IncompatibleSketchError
from toy_family import ToyFamily

comm = communicator()
rank, size = comm.rank, comm.size
family = ToyFamily(n_features=6, n_hashes=7)
X = np.random.default_rng(rank).integers(0, 4, (30, 6))
index = DistributedIndex(family, capacity=50).add(X)

def refuses(call, match, error=DistributedError):
    before = index.local.to_bytes(), index.n_rows
    with pytest.raises(error, match=match) as caught:
        call()
    assert len(set(comm.allgather(str(caught.value)))) == 1, "ranks got different messages"
    assert (index.local.to_bytes(), index.n_rows) == before, "changed"

for odd in range(size):
    is_odd = rank == odd
    bad = np.full((2, 6), 9) if is_odd else X
    refuses(lambda: index.add(bad), f"rank {odd} failed: ValueError: X must lie in")
    refuses(lambda: index.query(bad), f"rank {odd} failed: ValueError: Q must lie in")
    refuses(lambda: index.add(X, ids=np.arange(30 - is_odd)), f"rank {odd} failed: ValueError: ids must have")
    refuses(lambda: index.add(X, ids=None if is_odd else np.arange(30)), "ids must be given on all ranks or")
    refuses(lambda: index.add(X, first_id=90 + is_odd), "ranks must agree on first_id: rank 0 has")
    refuses(lambda: index.add(X, np.arange(30), first_id=90 if is_odd else None), "first_id cannot both be")
    refuses(lambda: index.query(X, 3 + is_odd), "ranks must agree on k and aggregation: rank 0 has")
    refuses(lambda: index.query(X, 0 if is_odd else 3), f"rank {odd} failed: ValueError: k must be")
    way = "sketch" if is_odd else "exact"
    refuses(lambda: index.query(X, 3, aggregation=way), "ranks must agree on k and aggregation: rank 0 has")
    refuses(lambda: index.query(X, 3, aggregation="tree" if is_odd else "exact"),
            f"rank {odd} failed: ValueError: aggregation must be one of 'exact', 'sketch', got 'tree'")
    refuses(lambda: DistributedIndex(family, capacity=50 + is_odd), "differ in cap", IncompatibleSketchError)
    refuses(lambda: DistributedIndex(3 if is_odd else family), f"rank {odd} failed: TypeError: family must")
    # A fault in the middle of a query.
    if is_odd:
        sound = index.local.query_codes
        def faulty(codes, k):
            raise MemoryError("no room")
        index.local.__dict__["query_codes"] = faulty
    refuses(lambda: index.query(X, 3), f"rank {odd} failed: MemoryError: no room")
    index.local.__dict__.pop("query_codes", None)

full = DistributedIndex(family)
last = 2**32 - 1 - 30 * size
with pytest.raises(DistributedError, match="rank 0 failed: ValueError: ids must be at most 4294967294, got"):
    full.add(X, first_id=last + 1)
assert comm.sum(full.local.n_updates) == 0
full.add(X, first_id=last)
assert comm.sum(full.local.n_updates) == 30 * size

# Numbering continues from the largest id of all ranks, on whichever rank it is.
numbered = DistributedIndex(family, capacity=50).add(X[:5], ids=np.arange(5) + 1000 * rank)
for first, given in ((1000 * (size - 1) + 5, None), (9000, 9000), (9000 + 5 * size, None)):
    numbered.add(X[5:10], first_id=given)
    ids = set(numbered.local.query(X[5:10], 200).ids.ravel().tolist())
    assert set(range(first + 5 * rank, first + 5 * rank + 5)) <= ids
# Rows that were numbered by default merge over ranks, and not with others that were.
whole = merge_over_ranks(index.local.copy())
assert whole.n_updates == 30 * size and int(whole._arrays["largest_id"][0]) == 30 * size - 1
with pytest.raises(IncompatibleSketchError, match="parts must have different ids"):
    whole.merge(merge_over_ranks(DistributedIndex(family, capacity=50).add(X).local.copy()))
later = DistributedIndex(family, capacity=50).add(X, first_id=30 * size)
assert whole.merge(merge_over_ranks(later.local.copy())).n_updates == 60 * size
print("done")
"""


@pytest.mark.slow
@needs_mpi
def test_a_failure_on_one_rank_is_raised_on_all(ranks: Ranks) -> None:
    ran = ranks.run(3, FAILURES)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * 3


STORAGE = """
from pathlib import Path
import numpy as np
import pytest
from mpi4py import MPI
from mergesketch import LSHIndex
from mergesketch.distributed import DistributedIndex, communicator
from mergesketch.errors import DistributedError
from toy_family import ToyFamily

world = communicator()
folder = Path(sys.argv[1])
family = ToyFamily(n_features=6, n_hashes=7)
rng = np.random.default_rng(0)
X, Q = rng.integers(0, 4, (300, 6)), rng.integers(0, 4, (20, 6))
expected = LSHIndex(family, capacity=300).add(X).query(Q, 12)
small = LSHIndex(family, capacity=4, seed=9).add(X)

def group(n):
    return world.mpi.Split(0 if world.rank < n else MPI.UNDEFINED)

for n_saved in (1, 2, 3, 4):
    comm = group(n_saved)
    place = folder / str(n_saved)
    if comm != MPI.COMM_NULL:
        index = DistributedIndex(family, capacity=300, comm=comm)
        index.add(np.array_split(X, n_saved)[comm.rank])
        # Saving again replaces the parts of before.
        DistributedIndex(family, comm=comm).save(place / "index")
        index.save(place / "index")
        index.save(str(place / "index"))
        DistributedIndex(family, capacity=4, seed=9, comm=comm).add(
            np.array_split(X, n_saved)[comm.rank]).save(place / "small")
    world.barrier()
    names = sorted(path.name for path in (place / "index").iterdir())
    assert len(names) == n_saved + 1 and names[0] == "index.json", names
    for n_loaded in (1, 2, 3, 4):
        comm = group(n_loaded)
        if comm != MPI.COMM_NULL:
            index = DistributedIndex.load(place / "index", comm)
            assert index.n_rows == 300
            got = index.query(Q, 12)
            np.testing.assert_array_equal(got.ids, expected.ids)
            np.testing.assert_array_equal(got.counts, expected.counts)
            # The loaded index continues to number rows.
            index.add(X[:2] if comm.rank == 0 else None)
            both = index.query(X[:1], 300)
            assert {0, 300} <= set(both.ids[0].tolist()) and index.n_rows == 302
            if n_loaded == 1:
                assert DistributedIndex.load(place / "small", comm).local == small
    world.barrier()

# One damaged part, one that is missing, a folder that cannot be written: all ranks say so. Of four ranks
# the second reads the second part's configuration, the third its rows.
broken = folder / "2" / "index"
part = sorted(broken.glob("part-00001-*"))[0]
data = part.read_bytes()
world.barrier()
if world.rank == 0:
    part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
world.barrier()
with pytest.raises(DistributedError, match="rank 2 failed: SketchFormatError: .*checksum does not match"):
    DistributedIndex.load(broken)
world.barrier()
if world.rank == 0:
    part.unlink()
world.barrier()
with pytest.raises(DistributedError, match="rank 1 failed: FileNotFoundError"):
    DistributedIndex.load(broken)
with pytest.raises(DistributedError, match="rank 0 failed: FileNotFoundError"):
    DistributedIndex.load(folder / "absent")
with pytest.raises(DistributedError, match="ranks must agree on the folder to load"):
    DistributedIndex.load(folder / str(1 + world.rank % 2) / "index")
# A part that cannot be written leaves the folder as it was.
held = sorted(path.name for path in (folder / "4" / "index").iterdir())
index = DistributedIndex.load(folder / "4" / "index")
world.barrier()
if world.rank == 3:
    def full(path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")
    index.local.__dict__["save"] = full
with pytest.raises(DistributedError, match="rank 3 failed: OSError: .*No space left"):
    index.save(folder / "4" / "index")
world.barrier()
assert sorted(path.name for path in (folder / "4" / "index").iterdir()) == held
print("done")
"""


@pytest.mark.slow
@needs_mpi
def test_files_go_from_any_number_of_ranks_to_any_other(ranks: Ranks, tmp_path: Path) -> None:
    ran = ranks.run(4, STORAGE, str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * 4


# -- in one process -------------------------------------------------------------------------------


def test_one_process_is_an_index_with_another_face(tmp_path: Path) -> None:
    family = SignedRandomProjection(n_features=8, n_hashes=12, power=4)
    X = np.random.default_rng(0).standard_normal((100, 8))
    index = DistributedIndex(family, capacity=100, seed=5).add(X[:60]).add(X[60:])
    plain = LSHIndex(family, capacity=100, seed=5).add(X)
    assert index.local == plain
    assert (index.n_rows, index.nbytes, index.family) == (100, plain.nbytes, family)
    assert repr(index).startswith("<DistributedIndex over 1 rank: 100 rows, here <LSHIndex(")
    for k in (1, 7, 200):
        expected = top_by_collisions(family.hash(X), np.arange(100), family.hash(X[:9]), k)
        for answer in (index.query(X[:9], k), plain.query(X[:9], k)):
            np.testing.assert_array_equal(answer.ids, expected[0])
            np.testing.assert_array_equal(answer.counts, expected[1])
    assert index.query(None, 3).ids.shape == index.query(X[:0], 3, aggregation="sketch").ids.shape == (0, 3)
    index.save(tmp_path / "saved")
    assert DistributedIndex.load(tmp_path / "saved").local == plain


def test_one_process_raises_the_errors_themselves() -> None:
    index = DistributedIndex(ToyFamily(n_features=6, n_hashes=7))
    with pytest.raises(TypeError, match="family must be a HashFamily"):
        DistributedIndex(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="capacity must be"):
        DistributedIndex(index.family, capacity=0)
    with pytest.raises(ValueError, match="X must lie in"):
        index.add([[9] * 6])
    with pytest.raises(ValueError, match="ids must have shape"):
        index.add([[1] * 6], ids=[])
    with pytest.raises(TypeError, match="k must be an integer"):
        index.query([[1] * 6], 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="aggregation must be one of 'exact', 'sketch', got 'tree'"):
        index.query([[1] * 6], 1, aggregation="tree")
    assert index.n_rows == index.local.n_updates == 0
    assert not issubclass(DistributedError, ValueError)


def test_clearing_up_hides_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that becomes read-only refuses a part of the file, and then its removal."""
    index = DistributedIndex(ToyFamily(n_features=6, n_hashes=7)).add([[1] * 6])
    index.save(tmp_path)
    with monkeypatch.context() as patch:

        def refuse(*args: object, **options: object) -> None:
            raise OSError(30, "Read-only file system", str(args[0]))

        patch.setattr(Path, "unlink", refuse)
        index.save(tmp_path)  # what is left of the earlier index does no harm
        patch.setattr(LSHIndex, "save", lambda self, path: refuse("the part"))
        with pytest.raises(OSError, match="Read-only file system: 'the part'"):
            index.save(tmp_path)
    assert DistributedIndex.load(tmp_path).n_rows == 1


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    index = DistributedIndex(ToyFamily(n_features=6, n_hashes=7)).add([[1] * 6])
    index.save(tmp_path)
    path = tmp_path / "index.json"
    good = json.loads(path.read_text())
    assert DistributedIndex.load(tmp_path).n_rows == 1
    for change in (
        {"format": "other"},
        {"format_version": "2"},
        {"n_rows": -1},
        {"n_rows": "1"},
        {"n_rows": 2},
        {"parts": []},
        {"parts": "part-"},
        {"parts": ["../part-00000.sketch"]},
        {"parts": [3]},
        {"parts": good["parts"] * 2},
        {"parts": [""] * 1_000_000},
    ):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(SketchFormatError):
            DistributedIndex.load(tmp_path)
    for text in ("", "[]", "null", "{" * 10_000, "[" * 100_000, '{"format": "mergesketch-index"}', "\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(SketchFormatError, match="expected the list of a distributed index"):
            DistributedIndex.load(tmp_path)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13])
def test_every_candidate_list_reaches_its_owner_once(size: int) -> None:
    plans = [list(tree_rounds(rank, size)) for rank in range(size)]
    assert all(len(plan) == (size - 1).bit_length() for plan in plans)
    # held[rank][owner]: whose candidates for the queries of `owner` the rank has merged.
    held = [[{rank} for _ in range(size)] for rank in range(size)]
    for steps in zip(*plans, strict=True):
        moving = {}
        for rank, step in enumerate(steps):
            assert steps[step.destination].source == rank
            assert steps[step.destination].received == step.sent
            moving[step.destination] = [(owner, held[rank][owner]) for owner in step.sent]
            for owner in step.sent:
                held[rank][owner] = set()
        for rank, lists in moving.items():
            for owner, merged in lists:
                assert not held[rank][owner] & merged
                held[rank][owner] = held[rank][owner] | merged
    for rank in range(size):
        for owner in range(size):
            assert held[rank][owner] == (set(range(size)) if rank == owner else set())
    assert all(sum(len(step.sent) for step in plan) == size - 1 for plan in plans)


@pytest.mark.slow
def test_votes_in_cells_equal_the_slow_way() -> None:
    rng = np.random.default_rng(0)
    n_queries, n_tables, capacity, rows, width, k = 5, 6, 8, 3, 16, 10
    keys = rng.integers(0, 2**63, rows).astype(np.uint64)

    def fill(seed: int) -> tuple[np.ndarray, ...]:
        inner = np.random.default_rng(seed)
        slots = inner.integers(1, 40, (n_tables, 4, capacity)).astype(np.uint32)
        seen = inner.integers(0, 2 * capacity, (n_tables, 4)).astype(np.int32)
        codes = inner.integers(0, 4, (n_queries, n_tables)).astype(np.uint32)
        return slots, seen, codes

    def place(slot: int, row: int) -> int:
        return mix13(slot ^ int(keys[row])) % width

    pairs, slow_pairs = [], []
    for seed in (1, 2):
        slots, seen, codes = fill(seed)
        shape = (n_queries, rows, width)
        cells, votes = np.zeros(shape, np.uint32), np.zeros(shape, np.int32)
        top_cells.cells_of_buckets(slots, seen, codes, keys, 0, n_queries, cells, votes)
        pairs.append((cells, votes))
        slow: dict = {}
        for i in range(n_queries):
            for t in range(n_tables):
                for slot in slots[t, codes[i, t], : min(seen[t, codes[i, t]], capacity)].tolist():
                    for row in range(rows):
                        vote(slow, (i, row, place(slot, row)), slot, 1)
        slow_pairs.append(slow)
        assert_cells(cells, votes, slow)
    (cells, votes), (other_cells, other_votes) = pairs
    reverse = [array.copy() for array in (*pairs[1], *pairs[0])]
    top_cells.merge_cells(other_cells, other_votes, 0, n_queries, cells, votes)
    slow, other = slow_pairs
    for where, (slot, count) in other.items():
        vote(slow, where, slot, count)
    assert_cells(cells, votes, slow)
    top_cells.merge_cells(*reverse[2:], 0, n_queries, *reverse[:2])
    np.testing.assert_array_equal(reverse[1], votes)
    np.testing.assert_array_equal(reverse[0][votes > 0], cells[votes > 0])
    ids, counts = np.empty((n_queries, k), np.int64), np.empty((n_queries, k), np.int32)
    top_cells.top_of_cells(cells, votes, keys, 0, n_queries, ids, counts)
    for i in range(n_queries):
        best: dict[int, int] = {}
        for (query, _, _), (slot, count) in slow.items():
            if query == i and count > 0:
                best[slot] = max(best.get(slot, 0), count)
        ranked = sorted((-count, slot - 1) for slot, count in best.items())[:k]
        ranked += [(0, -1)] * (k - len(ranked))
        assert list(zip((-counts[i]).tolist(), ids[i].tolist(), strict=True)) == ranked


def assert_cells(cells: np.ndarray, votes: np.ndarray, slow: dict) -> None:
    expected = np.zeros_like(votes)
    for where, (slot, count) in slow.items():
        expected[where] = count
        assert count == 0 or cells[where] == slot
    np.testing.assert_array_equal(votes, expected)


def test_recall_of_the_sketch_is_that_of_counting_where_neighbours_stand_out() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((50, 32))
    X = (centres[:, None, :] + 0.3 * rng.standard_normal((50, 20, 32))).reshape(-1, 32)
    family = SignedRandomProjection(n_features=32, n_hashes=40, power=8)
    index = DistributedIndex(family, capacity=200).add(X)
    exact = index.query(centres, 10)
    votes = index.query(centres, 10, aggregation="sketch")
    shared = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(exact.ids, votes.ids, strict=True)]
    # There are far more cells than candidates, so only ties between equal counts differ.
    assert np.mean(shared) >= 9.5


# -- rows that are removed and replaced -----------------------------------------------------------

CHANGES = """
import shutil, tempfile
import numpy as np
from mergesketch import LSHIndex
from mergesketch.distributed import DistributedIndex, communicator, merge_over_ranks
from mergesketch.errors import DistributedError
from mergesketch.lsh import SignedRandomProjection
from toy_family import ToyFamily

comm = communicator()
rank, size = comm.rank, comm.size
family = ToyFamily(n_features=4, n_hashes=5)
X = np.random.default_rng(0).integers(0, 4, (200, 4))
share = np.array_split(np.arange(200), size)[rank]
index = DistributedIndex(family, capacity=200).update(X[share][:20]).update(X[share][20:])
# The index of all rows on one rank, in the order in which they were numbered.
shares = np.array_split(np.arange(200), size)
order = np.concatenate([part[:20] for part in shares] + [part[20:] for part in shares])
plain = LSHIndex(family, capacity=200).update(X[order])
assert merge_over_ranks(index.local.copy()) == plain

def same():
    assert index.n_rows == plain.n_updates
    assert merge_over_ranks(index.local.copy()) == plain
    for one, other in zip(index.query(X[:9], 30), plain.query(X[:9], 30)):
        np.testing.assert_array_equal(one, other)

# Every rank removes ids of rows that are on other ranks; one passes none.
gone = np.random.default_rng(1).permutation(200)[:60]
mine = np.array_split(gone, size)[rank]
assert index.remove(mine if rank or size == 1 else None) is index
plain.remove(gone if size == 1 else np.concatenate(np.array_split(gone, size)[1:]))
same()
# Rows move to the rank that passes them, also those that rank 0 has numbered from 0.
left = np.setdiff1d(np.arange(200), gone)[:40]
theirs = np.array_split(left, size)[rank - 1]
index.replace(theirs, X[theirs] * 0 + 1)
plain.replace(left, X[left] * 0 + 1)
same()
index.replace([500 + rank], X[:1], missing="add")
plain.update(np.repeat(X[:1], size, axis=0), np.arange(500, 500 + size))
same()
index.remove([500 + rank, 900 + rank], missing="ignore")
plain.remove(np.arange(500, 500 + size))
same()
error = DistributedError if size > 1 else ValueError
chosen = int(left[-1])
for wrong in (
    lambda: index.remove([10_000] if rank == 0 else None),
    lambda: index.remove([chosen, chosen] if rank == 0 else None),
    lambda: index.remove([chosen], missing="ignore" if rank else "raise") if size > 1 else index.remove([-1]),
    lambda: index.replace(None if rank else [chosen], X[:2]),
    lambda: index.replace([10_000 + rank], X[:1]),
    # Ids of rows that the index has numbered itself, which are on any rank.
    lambda: index.update(X[:1], ids=[chosen if rank == size - 1 else 700 + rank]),
    lambda: index.update(X[:1], first_id=chosen - size + 1),
):
    try:
        wrong()
    except error:
        pass
    else:
        raise AssertionError(wrong)
same()
# Rows that are numbered afterwards get ids that nobody has had.
index.update(X[:1])
plain.update(np.repeat(X[:1], size, axis=0), first_id=500 + size)
same()
if size > 1:
    from mpi4py import MPI
    folder = comm.bcast(tempfile.mkdtemp())
    index.save(folder)
    one = DistributedIndex.load(folder, MPI.COMM_SELF)
    assert one.local == plain
    comm.allgather(rank)
    if rank == 0:
        shutil.rmtree(folder)
# Ids that rank 0 has numbered, and that its full buckets have dropped, are free for other ranks.
few = DistributedIndex(family, capacity=1).update(X[[0] * 9])
lost = comm.bcast([i for i in range(9) if not few.local.ids_there(np.array([i], np.uint32)).size])
last, nothing = rank == size - 1, (None, None)
few.replace(*(([lost[0]], X[:1]) if last else nothing), missing="add")
few.update(*((X[:1], [lost[1]]) if last else nothing))
merged = merge_over_ranks(few.local.copy())
assert merged.n_updates == few.n_rows == 9 * size + 2
unknown = DistributedIndex(SignedRandomProjection(n_hashes=3, power=2))
unknown.replace([rank], np.ones((1, 3)), missing="add")
assert unknown.family.n_features == 3 and unknown.n_rows == size
print("done")
"""


@needs_mpi
def test_rows_are_removed_and_replaced_on_any_rank(ranks: Ranks) -> None:
    ran = ranks.run(3, CHANGES)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * 3


def test_one_process_removes_and_replaces_as_an_index_does() -> None:
    exec(compile(CHANGES, "changes", "exec"), {})
