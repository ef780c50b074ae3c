"""Test searches by vector codes over ranks: answers are those of one process, ties and failures included."""

from __future__ import annotations

import numpy as np
import pytest
from mergesketch import LSHIndex, VectorCodes
from mergesketch.distributed import DistributedIndex, search_over_ranks
from mergesketch.lsh import SignedRandomProjection
from ranks import Ranks, needs_mpi

ANSWERS = """
import sys
import numpy as np
import pytest
from mergesketch import LSHIndex, VectorCodes
from mergesketch.distributed import DistributedIndex, communicator, search_over_ranks
from mergesketch.errors import DistributedError, IncompatibleSketchError
from mergesketch.lsh import PStable, SignedRandomProjection
module = sys.modules["mergesketch.distributed.index.search_over_ranks"]

comm = communicator()
rank, size = comm.rank, comm.size
rng = np.random.default_rng(0)
n, n_queries = 300, 11
# Rows repeat, so that estimates are equal.
rows = rng.standard_normal((n, 16))[rng.integers(0, n // 2, n)]
Q = rng.standard_normal((n_queries, 16))
every, deal = np.arange(n_queries), rng.integers(0, size, n)
mine, share = np.flatnonzero(deal == rank), np.array_split(np.arange(n), size)[rank]
asked = [np.array_split(every, size)[rank], every if rank == 0 else None, every]

def queries(numbers):
    return None if numbers is None else Q[numbers]

def check(found, want, numbers):
    at = every[:0] if numbers is None else numbers
    np.testing.assert_array_equal(found.ids, want.ids[at])
    np.testing.assert_array_equal(found.distances, want.distances[at])

whole = VectorCodes(16, 2, seed=1).update(rows)
dealt = VectorCodes(16, 2, seed=1).update(rows[mine], mine)
consecutive = VectorCodes(16, 2, seed=1).update(rows[share])
only_last = VectorCodes(16, 2, seed=1).update(rows if rank == size - 1 else rows[:0])
for k, metric in ((1, "cosine"), (7, "sqeuclidean"), (n + 9, "inner_product")):
    want = whole.search(Q, k, metric=metric)
    for round_bytes in (1, 64 << 20):
        module.ROUND_BYTES = round_bytes
        for numbers in asked if round_bytes == 1 else asked[:1]:
            for codes in (dealt, consecutive, only_last):
                check(search_over_ranks(codes, queries(numbers), k, metric=metric), want, numbers)

FAMILIES = SignedRandomProjection(16, 3, power=3, seed=1), PStable(16, 3, width=4.0, n_buckets=8, seed=1)
for family in FAMILIES:
    index = LSHIndex(family, capacity=n).update(rows)
    spread = DistributedIndex(family, capacity=n).update(rows[mine], ids=mine)
    for k in (3, n):
        want = index.search(Q, whole, k, n_probes=2)
        for numbers in asked:
            check(spread.search(queries(numbers), dealt, k, n_probes=2), want, numbers)
        few = spread.search(Q, dealt, k, n_candidates=20)
        assert (few.distances <= index.search(Q, whole, k, n_candidates=20).distances).all()

def refuses(call, match, error=DistributedError):
    with pytest.raises(error, match=match) as caught:
        call()
    assert len(set(comm.allgather(str(caught.value)))) == 1, "ranks got different messages"

for odd in (0, size - 1):
    is_odd = rank == odd
    one = VectorCodes(16, 2, seed=2 if is_odd else 1).update(rows[mine], mine)
    refuses(lambda: search_over_ranks(one, Q), "differ in seed", IncompatibleSketchError)
    refuses(lambda: spread.search(Q, one), "differ in seed", IncompatibleSketchError)
    one = VectorCodes(16, 2, seed=1, center=np.ones(16) if is_odd else None)
    refuses(lambda: search_over_ranks(one, Q), "differ in center", IncompatibleSketchError)
    one = None if is_odd else dealt
    refuses(lambda: search_over_ranks(one, Q), f"rank {odd} failed: TypeError: codes must be VectorCodes")
    refuses(lambda: spread.search(Q, one), f"rank {odd} failed: TypeError: codes must be VectorCodes")
    narrow = Q[:, :9] if is_odd else Q
    refuses(lambda: search_over_ranks(dealt, narrow), f"rank {odd} failed: ValueError: Q must have")
    refuses(lambda: spread.search(narrow, dealt), f"rank {odd} failed: ValueError: Q must have")
    refuses(lambda: search_over_ranks(dealt, Q, 2 + is_odd), "agree on k, metric and query_bits")
    refuses(lambda: spread.search(Q, dealt, 2 + is_odd), "agree on k, n_candidates and n_probes")
    metric = "angle" if is_odd else "cosine"
    refuses(lambda: search_over_ranks(dealt, Q, metric=metric), f"rank {odd} failed: ValueError: metric")
    one = consecutive if is_odd else dealt
    refuses(lambda: search_over_ranks(one, Q), "codes must have ids on all ranks or on none, got both")
    refuses(lambda: spread.search(Q, one), f"rank {odd} failed: ValueError: codes must have the ids")
    one = dealt.empty_like() if is_odd else dealt
    refuses(lambda: spread.search(Q, one), f"rank {odd} failed: ValueError: rows must have a row")
print("done")
"""


@pytest.mark.slow
@needs_mpi
def test_answers_over_ranks(ranks: Ranks) -> None:
    ran = ranks.run(3, ANSWERS)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * 3


def test_one_process_searches_as_codes_and_indexes_do() -> None:
    rng = np.random.default_rng(1)
    rows, Q = rng.standard_normal((200, 16)), rng.standard_normal((5, 16))
    codes = VectorCodes(16, 2, seed=1).update(rows)
    for metric in ("inner_product", "cosine", "sqeuclidean"):
        found, want = search_over_ranks(codes, Q, 3, metric=metric), codes.search(Q, 3, metric=metric)
        np.testing.assert_array_equal(found.ids, want.ids)
        np.testing.assert_array_equal(found.distances, want.distances)
    assert search_over_ranks(codes, None).ids.shape == (0, 10)
    family = SignedRandomProjection(16, 3, power=3, seed=1)
    found = DistributedIndex(family).update(rows).search(Q, codes, 3, n_candidates=50, n_probes=2)
    want = LSHIndex(family).update(rows).search(Q, codes, 3, n_candidates=50, n_probes=2)
    np.testing.assert_array_equal(found.ids, want.ids)
    np.testing.assert_array_equal(found.distances, want.distances)
    with pytest.raises(TypeError, match="codes must be VectorCodes, got ndarray"):
        DistributedIndex(family).search(Q, rows)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="query_bits must be one of"):
        search_over_ranks(codes, Q, query_bits=5)
