"""Test sketches on GPUs over MPI ranks: through main memory, and as if MPI accepted GPU memory."""

from __future__ import annotations

from collections.abc import Iterator

import fake_cupy
import pytest
from ranks import Ranks, needs_mpi

cupy = fake_cupy.install()

pytestmark = [pytest.mark.gpu, needs_mpi]


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    """Give this file its own ranks, because the stand-in for CuPy stays in them."""
    with Ranks() as started:
        yield started


MERGE = """
import fake_cupy
cupy = fake_cupy.install()
import numpy as np
import mergesketch
from mergesketch.distributed import communicator, merge_over_ranks
from mergesketch.lsh import MinHash, SignedRandomProjection

comm = communicator()
family = SignedRandomProjection(12, n_hashes=20, power=3, seed=1)
rng = np.random.default_rng(0)
X, keys = rng.standard_normal((90, 12)).astype(np.float32), rng.zipf(1.5, 90)
cases = [
    (mergesketch.Race(family), (X, rng.integers(-3, 4, 90))),
    (mergesketch.CountMinSketch(3, 50), (keys,)),
    (mergesketch.HeavyHitters(0.05), (keys,)),
    (mergesketch.BloomFilter(100, 0.01), (keys,)),
    (mergesketch.MinHashSketch(1, 30), (keys,)),
    (mergesketch.LSHIndex(family, capacity=4), (X, np.arange(90))),
    (mergesketch.DensitySketch(12, 2.0, n_buckets=300, max_bins=20), (X,)),
]
for empty, batch in cases:
    whole = empty.empty_like().update(*batch)
    # Rank 0 counts on the CPU, all others on their GPUs.
    place = cupy.asarray if comm.rank else np.asarray
    ours = empty.empty_like().update(*(place(a[comm.rank :: comm.size].copy()) for a in batch))
    device = ours.device
    merged = merge_over_ranks(ours, cuda_aware=CUDA_AWARE)
    assert merged is ours and merged.device == device == ("gpu" if comm.rank else "cpu")
    assert merged == whole, (merged, whole)
    assert merged.n_updates == whole.n_updates
    # It stays on its device and can be updated.
    merged.update(*(place(a) for a in batch))
    assert merged.n_updates == 2 * whole.n_updates
print("done")
"""


INDEX = """
import fake_cupy
cupy = fake_cupy.install()
import numpy as np, pytest, tempfile
from mergesketch import LSHIndex
from mergesketch.distributed import DistributedIndex, communicator
from mergesketch.errors import DistributedError
from mergesketch.lsh import SignedRandomProjection

comm = communicator()
family = SignedRandomProjection(12, n_hashes=9, power=5, seed=1)
X = np.random.default_rng(0).standard_normal((300, 12)).astype(np.float32)
whole = LSHIndex(family, capacity=100).add(X)
# Rank 0 indexes on the CPU, all others on their GPUs.
place = cupy.asarray if comm.rank else np.asarray
ours = np.array_split(np.arange(300), comm.size)[comm.rank]
for ids in (None, place(ours)):
    index = DistributedIndex(family, capacity=100).add(place(X[ours]), ids)
    assert index.local.device == ("gpu" if comm.rank else "cpu")
    expected = whole.query(X[ours] + 0.1, 5)
    found = index.query(place(X[ours] + 0.1), 5)
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(place(ours))
        np.testing.assert_array_equal(one.get() if comm.rank else one, other)
    assert len(index.query(None, 5).ids) == 0
if comm.size > 1:
    with pytest.raises((DistributedError, NotImplementedError), match="has no GPU kernels"):
        index.query(place(X[ours]), 5, aggregation="sketch")
    with pytest.raises((DistributedError, TypeError), match="lies in main memory"):
        index.add(X[ours])
    assert index.n_rows == 300
print("done")
"""


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_an_index_over_cpus_and_gpus(ranks: Ranks, n_ranks: int) -> None:
    ran = ranks.run(n_ranks, INDEX)
    assert ran.returncode == 0, ran.stderr
    assert [out.strip() for out in ran.stdout] == ["done"] * n_ranks


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
@pytest.mark.parametrize("cuda_aware", [None, False, True])
def test_ranks_on_cpus_and_gpus_merge(ranks: Ranks, n_ranks: int, cuda_aware: bool | None) -> None:
    if cuda_aware and not getattr(cupy, "IS_STAND_IN", False):
        pytest.skip("whether MPI takes a GPU's memory is the library's to say")
    ran = ranks.run(n_ranks, MERGE.replace("CUDA_AWARE", repr(cuda_aware)))
    assert ran.returncode == 0, ran.stderr
    assert [out.strip() for out in ran.stdout] == ["done"] * n_ranks
