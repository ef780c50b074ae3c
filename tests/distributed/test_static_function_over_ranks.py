"""Test static functions built over MPI ranks: the file of one process, or one message on every rank."""

import mergesketch
import numpy as np
import pytest
from mergesketch import StaticFunction, StaticFunctionBuilder
from mergesketch.distributed import build_static_function
from night import NUMBERS_OF_RANKS
from ranks import Ranks, needs_mpi

IDENTICAL = """
import os, tempfile
import numpy as np
from mergesketch import StaticFunction, StaticFunctionBuilder
from mergesketch.distributed import build_static_function, communicator
from mergesketch.distributed.ranks import exchange
from mergesketch.sketches.coding import value_counts
from mergesketch.sketches.static import records

comm = communicator()
assert comm.size == int(sys.argv[1])
rng = np.random.default_rng(1)

def check(keys, values, **options):
    expected = StaticFunction(keys, values, **options).to_bytes()
    n = len(keys)
    rows = rng.permutation(np.concatenate([np.arange(n), rng.integers(0, n, n // 4)]))
    # Parts are uneven: if there are several ranks, the last one has nothing.
    cuts = np.sort(rng.integers(0, rows.size + 1, max(0, comm.size - 2)))
    parts = [*np.split(rows, cuts), rows[:0]] if comm.size > 1 else [rows]
    with tempfile.TemporaryDirectory() as folder:
        for spill in (None, folder, folder if comm.rank == 0 else None):
            builder = StaticFunctionBuilder(spill=spill, **options)
            for part in np.array_split(parts[comm.rank], 3):
                if part.size:
                    builder.update(keys[part], values[part])
            for _ in range(2):
                function = build_static_function(builder)
                assert (function is None) == (comm.rank > 0)
                if function is not None:
                    assert function.to_bytes() == expected, (len(keys), spill, options)
            builder.close()
            comm.barrier()
            assert os.listdir(folder) == []

def text(n):
    return np.array([f"key {i}" for i in range(n)])

check(np.arange(20), np.arange(20) % 3)
check(text(1000), rng.integers(0, 50, 1000), key_check_bits=7)
check(np.arange(1000), np.array([f"v{i}" for i in rng.integers(0, 90, 1000)], dtype=object))
check(np.arange(500), rng.standard_normal(500), precision=0.5, seed=9)
# Three ranks have a part of each of two shards; some of four shards straddle ranks.
check(np.arange(250_000), rng.geometric(0.4, 250_000))
# Exchanges of many rounds; values beyond what is counted.
exchange.ROUND_BYTES = 50_000
records._PENDING = 3000
value_counts._MERGED, value_counts._SAMPLE, value_counts.MOST_VALUES = 256, 16, 100
check(np.arange(20_000), 4 * rng.geometric(0.003, 20_000))
check(np.arange(20_000), rng.integers(0, 2**64, 20_000, dtype=np.uint64))
print("done")
"""

MANY_DUPLICATES = """
import numpy as np
from mergesketch import StaticFunction, StaticFunctionBuilder
from mergesketch.distributed import build_static_function, communicator
from mergesketch.sketches.static import shards

comm = communicator()
shards._SHARD_KEYS = 100
for n in (1, 90, 700, 3000, 40_000):
    keys = np.arange(n)
    builder = StaticFunctionBuilder().update(keys, keys % 5)
    function = build_static_function(builder, comm)
    if comm.rank == 0:
        assert function.to_bytes() == StaticFunction(keys, keys % 5).to_bytes()
print("done")
"""

REFUSED = """
import numpy as np
import pytest
from mergesketch import StaticFunctionBuilder
from mergesketch.distributed import build_static_function, communicator
from mergesketch.errors import DistributedError, IncompatibleSketchError
from mergesketch.distributed import static_function

comm = communicator()
last = comm.size - 1
key = np.array([-77])
builder = StaticFunctionBuilder()
builder.update(np.arange(100), np.arange(100))
if comm.rank in (0, last):
    builder.update(key, [comm.rank])
message = f"keys must have one value each, got -77 with (0 and {last}|{last} and 0)"
with pytest.raises(DistributedError, match=message):
    build_static_function(builder)
texts = StaticFunctionBuilder().update(["k"], [f"value {comm.rank == last}"])
with pytest.raises(DistributedError, match="choose another seed"):
    build_static_function(texts)
with pytest.raises(IncompatibleSketchError, match="differ in seed: 0 here, 5 there"):
    build_static_function(StaticFunctionBuilder(seed=5 if comm.rank == last else 0))
with pytest.raises(DistributedError, match="values must be of one kind, got bool"):
    build_static_function(StaticFunctionBuilder().update([1], [True] if comm.rank == last else [1]))
with pytest.raises(DistributedError, match=f"rank {last} failed: TypeError: builder must be"):
    build_static_function(3 if comm.rank == last else builder)

def fail(*arguments, **named):
    raise MemoryError("no room")

# Wherever one rank fails, all stop.
good = StaticFunctionBuilder().update(np.arange(100), np.array(["a", "b"])[np.arange(100) % 2])
for failing in (0, last):
    for module, name in (
        (static_function.Blueprint, "__init__"),
        (static_function.Gathered, "order"),
        (static_function.Dictionary, "export"),
        (static_function, "count_words"),
        (static_function.Blueprint, "solve_groups"),
        (static_function.ValueCounts, "total"),
        (static_function.OrderedRecords, "between"),
    ):
        kept = getattr(module, name)
        if comm.rank == failing:
            setattr(module, name, fail)
        with pytest.raises(DistributedError, match=f"rank {failing} failed: MemoryError: no room"):
            build_static_function(good)
        setattr(module, name, kept)
function = build_static_function(good)
assert function is None or function[3] == "b"
print("done")
"""


def test_one_rank_needs_no_mpi() -> None:
    builder = StaticFunctionBuilder().update([1, 2], ["a", "b"])
    assert build_static_function(builder) == StaticFunction([1, 2], ["a", "b"])
    with pytest.raises(TypeError, match="builder must be a StaticFunctionBuilder, got CountMinSketch"):
        build_static_function(mergesketch.CountMinSketch(2, 8))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("n_shards", [1, 2, 4, 64, 4096])
def test_every_shard_has_one_rank(size: int, n_shards: int) -> None:
    from mergesketch.distributed.static_function import _first_hash, _own_shards, _owners

    ranges = [_own_shards(rank, size, n_shards) for rank in range(size)]
    assert [shard for shards in ranges for shard in shards] == list(range(n_shards))
    for rank in range(size):
        first = _first_hash(rank, size)
        assert _owners(np.array([first], dtype=np.uint64), size) == [rank]
        if rank:
            assert _owners(np.array([first - 1], dtype=np.uint64), size) == [rank - 1]
        for shard in ranges[rank]:
            start = np.array([shard * (2**64 // n_shards)], dtype=np.uint64)
            assert _owners(start, size) == [rank]


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", NUMBERS_OF_RANKS)
def test_ranks_give_the_file_of_one_process(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, IDENTICAL, str(n_ranks))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * n_ranks


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [3, 5])
def test_shards_that_duplicates_make_straddle_ranks(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, MANY_DUPLICATES)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * n_ranks


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_a_failing_rank_stops_all(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, REFUSED)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * n_ranks
