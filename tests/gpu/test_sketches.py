"""Test sketches of CuPy arrays: their states are the CPU's, wherever the rows lie."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import fake_cupy
import mergesketch
import numpy as np
import pytest
from entries import GpuEntry
from gpu_batches import gpu_signs
from mergesketch.lsh import MinHash, PStable
from mergesketch.lsh.support.backend import sum_rows
from mergesketch.sketches.core import hashed_rows
from registry import GPU_ENTRIES
from scipy import sparse
from sketch_classes import sketch_classes

cupy = fake_cupy.install()

from mergesketch.gpu import launch  # noqa: E402 - once there is a CuPy

# Tables of densities are too small here, so that devices have errors to agree on.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:the (table|integral)")]

Arrays = tuple[Any, ...]


def to_gpu(arrays: Arrays) -> Arrays:
    return tuple(to_gpu(a) if isinstance(a, tuple) else cupy.asarray(a) for a in arrays)


@pytest.fixture(params=sorted(GPU_ENTRIES))
def entry(request: pytest.FixtureRequest) -> GpuEntry:
    return GPU_ENTRIES[request.param]


@pytest.fixture
def batches(entry: GpuEntry) -> list[Arrays]:
    rng = np.random.default_rng(8)
    return [entry.batch(rng, n) for n in (150, 1, 0, 90)]


def test_state_and_answers_are_the_cpus(entry: GpuEntry, batches: list[Arrays]) -> None:
    here, there = entry.make(), entry.make()
    for batch in batches:
        here.update(*batch)
        assert there.update(*to_gpu(batch)) is there
    assert (here.device, there.device) == ("cpu", "gpu")
    assert there == here
    assert there.n_updates == here.n_updates
    assert there.to_bytes() == here.to_bytes()
    for ask in entry.asks:
        expected, found = ask(here, batches[0]), ask(there, to_gpu(batches[0]))
        assert isinstance(found, cupy.ndarray)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.get(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "empty",
    [
        mergesketch.BloomFilter(100),
        mergesketch.CountMinSketch(3, 64),
        mergesketch.CountSketch(3, 64),
        mergesketch.HeavyHitters(0.1),
        mergesketch.MinHashSketch(),
    ],
    ids=lambda empty: type(empty).__name__,
)
@pytest.mark.parametrize("key", ["tea", b"tea", 7, np.int16(-7)])
def test_one_key_of_python_goes_where_the_sketch_is(empty: Any, key: Any) -> None:
    here, there = empty.copy().update(key), empty.to("gpu").update(key)
    assert there.device == "gpu" and there == here
    if hasattr(here, "query"):
        found = there.query(key)
        assert type(found) is type(here.query(key)) and found == here.query(key)
    if isinstance(here, mergesketch.CountMinSketch):
        assert there.update(key, 4).query(key) == 5 == there.upper_bound(key)
        here.update(key, 4)
    if isinstance(key, int):
        assert there.update(cupy.asarray(np.array(key))) == here.update(np.array(key))


def test_halves_on_both_devices_merge(entry: GpuEntry, batches: list[Arrays]) -> None:
    whole, here, there = entry.make(), entry.make(), entry.make()
    for batch in batches:
        whole.update(*batch)
    for i, batch in enumerate(batches):
        if i % 2:
            here.update(*batch)
        else:
            there.update(*to_gpu(batch))
    exact = batches[0][-1].dtype != np.float64
    for merged, device in ((here | there, "cpu"), (there | here, "gpu"), (there.copy().merge(here), "gpu")):
        assert merged.device == device
        if exact:
            assert merged == whole
        else:
            for name, array in merged.to("cpu")._arrays.items():
                error = 1e-5 if array.dtype == np.float32 else 1e-9
                np.testing.assert_allclose(array, whole._arrays[name], rtol=error, atol=error)
    assert (here.device, there.device) == ("cpu", "gpu")


def test_moves_and_comes_back(entry: GpuEntry, batches: list[Arrays]) -> None:
    here = entry.make().update(*batches[0])
    there = here.to("gpu")
    assert there.device == "gpu" and here.device == "cpu" and there == here
    assert there.to("cpu").to_bytes() == here.to_bytes()
    again = there.to("gpu")
    again.update(*to_gpu(batches[3]))
    assert again != there and there == here, "copies share memory"
    for copied in (pickle.loads(pickle.dumps(there)), type(here).from_bytes(there.to_bytes())):
        assert copied.device == "cpu" and copied == here
    assert there.copy().device == "gpu" and there.copy() == here
    assert there.empty_like().n_updates == 0
    # An empty sketch moves to the device of its first rows, or to one that is named.
    assert entry.make().to("gpu").update(*to_gpu(batches[0])) == here
    with pytest.raises(ValueError, match='device must be "cpu" or "gpu"'):
        here.to("tpu")


def test_other_devices_rows_are_refused(entry: GpuEntry, batches: list[Arrays]) -> None:
    here, there = entry.make().update(*batches[0]), entry.make().update(*to_gpu(batches[0]))
    before = here.to_bytes()
    for sketch, batch in ((here, to_gpu(batches[0])), (there, batches[0])):
        with pytest.raises(TypeError, match=r"lies .*, but the .*: copy the rows there, or move the sketch"):
            sketch.update(*batch)
        with pytest.raises(TypeError, match=r"lies .*, but the .*: copy the rows there, or move the sketch"):
            entry.asks[0](sketch, batch)
        assert sketch.to_bytes() == before


def test_a_refused_first_batch_leaves_nothing_there(entry: GpuEntry, batches: list[Arrays]) -> None:
    sketch = entry.make()
    refused = [(cupy.zeros((2, 2, 2, 2)), *to_gpu(batches[0])[1:])]
    if len(batches[0]) > 1:
        refused.append((*to_gpu(batches[0])[:-1], cupy.zeros((2, 2, 2, 2))))
    for batch in refused:
        with pytest.raises((TypeError, ValueError)):
            sketch.update(*batch)
        assert sketch.device == "cpu" and not sketch._state.is_allocated
    assert sketch.update(*batches[0]) == entry.make().update(*to_gpu(batches[0]))
    # A refused batch does not move a sketch whose device was named.
    there = entry.make().to("gpu")
    with pytest.raises((TypeError, ValueError)):
        there.update(*refused[0])
    assert there.device == "gpu"


def test_arguments_on_two_devices_are_refused(entry: GpuEntry, batches: list[Arrays]) -> None:
    here, there = batches[0], to_gpu(batches[0])
    for i in range(len(here) if len(here) > 1 else 0):
        for one, other in ((here, there), (there, here)):
            mixed = (*one[:i], other[i], *one[i + 1 :])
            for sketch in (entry.make(), entry.make().update(*one)):
                before = sketch.copy()
                with pytest.raises(TypeError, match=r"lies (on the|in main)|must lie where"):
                    sketch.update(*mixed)
                assert sketch == before and sketch.device == before.device


@pytest.mark.skipif(not getattr(cupy, "IS_STAND_IN", False), reason="counts the stand-in's copies")
def test_copies_nothing_but_numbers(entry: GpuEntry) -> None:
    # An array of any answer, or of any column of the batch, takes more than the bound.
    n = 400 if entry.make().config().get("family") else 2000
    batch = to_gpu(entry.batch(np.random.default_rng(1), n))
    sketch = entry.make().update(*batch)
    for ask in entry.asks:
        ask(sketch, batch)
    cupy.copies.to_host = cupy.copies.to_device = 0
    sketch.update(*batch)
    for ask in entry.asks:
        ask(sketch, batch)
    assert cupy.copies.to_host < 1500
    assert cupy.copies.to_device < 1500


def test_every_class_is_here_or_says_that_it_has_no_kernels() -> None:
    # Documents are text, and `shingle` has no GPU kernels.
    on_cpu = {"KLLSketch", "PrivateFourier", "PrivateRace", "ReleasedClassifier", "ReleasedRegressor"}
    on_cpu |= {"FrequentDirections", "ImportanceCache", "SecondMoments", "StreamingDeduplicator", "TopK"}
    on_cpu |= {"TermStatistics"}
    library = {n: c for n, c in sketch_classes().items() if c.__module__.partition(".")[0] == "mergesketch"}
    assert {name for name, cls in library.items() if not cls._gpu} == on_cpu
    assert {type(entry.make()).__name__ for entry in GPU_ENTRIES.values()} == set(library) - on_cpu


@pytest.mark.parametrize("weights", [None, "given"])
def test_a_bad_row_of_a_later_block_changes_nothing(
    weights: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashed_rows, "_GPU_CODES", 1)  # the fewest rows that a block can have, 256
    rng = np.random.default_rng(2)
    X = rng.standard_normal((600, 12)).astype(np.float32)
    given = None if weights is None else cupy.asarray(rng.integers(-5, 6, 600))
    for dtype in ("int", "float"):
        sketch = mergesketch.Race(gpu_signs(), dtype=dtype).update(cupy.asarray(X), given)
        before = sketch.to_bytes()
        assert (
            mergesketch.Race(gpu_signs(), dtype=dtype).update(X, given if given is None else given.get())
            == sketch
        )
        bad = X.copy()
        bad[599, 3] = np.nan
        with pytest.raises(ValueError, match="X must be finite, got nan"):
            sketch.update(cupy.asarray(bad), given)
        assert sketch.to_bytes() == before


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_sums_are_the_same_on_every_device(n: int) -> None:
    values = np.random.default_rng(n).standard_normal((n, 3)) * 10.0 ** np.arange(3)
    for rows in (values, values[:, 0].copy(), values.astype(np.int64)):
        given, expected = rows.copy(), sum_rows(rows)
        np.testing.assert_array_equal(rows, given)
        np.testing.assert_allclose(expected, rows.sum(axis=0), rtol=1e-12, atol=1e-9)
        np.testing.assert_array_equal(sum_rows(cupy.asarray(rows)).get(), expected)


def test_streams_have_copies_of_their_own() -> None:
    parameters = np.arange(5.0)
    copies = []
    for stream in (cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)):
        with stream:
            first, again = launch.constant(parameters), launch.constant(parameters)
            assert first is again
            copies.append((stream, first))
    (_, one), (_, other) = copies
    assert one is not other
    np.testing.assert_array_equal(one.get(), other.get())


def test_bad_rows_change_nothing() -> None:
    sketch = mergesketch.Race(gpu_signs()).update(cupy.ones((3, 12), np.float32))
    before = sketch.to_bytes()
    for X, error in (
        (cupy.full((2, 12), np.nan, np.float32), "X must be finite, got nan at index"),
        (cupy.ones((2, 11), np.float32), "X must have 12 columns, got 11"),
        (cupy.ones(12, np.float32), "X must be a matrix"),
    ):
        with pytest.raises(ValueError, match=error):
            sketch.update(X)
        assert sketch.to_bytes() == before
    with pytest.raises(TypeError, match=r"keys on a GPU must be a 1-D array of integers.* got dtype float32"):
        mergesketch.CountMinSketch(2, 8).update(cupy.ones(3, np.float32))


def test_arrays_of_other_libraries_come_by_dlpack() -> None:
    class Tensor:
        """Imitate arrays of PyTorch and JAX: they have a device, and hand over their memory."""

        def __init__(self, array: Any) -> None:
            self.array = array
            self.shape, self.ndim = array.shape, array.ndim

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __dlpack__(self, **_: Any) -> Any:
            return (
                self.array._array.__dlpack__() if hasattr(self.array, "_array") else self.array.__dlpack__()
            )

    X = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32)
    expected = mergesketch.Race(gpu_signs()).update(X)
    found = mergesketch.Race(gpu_signs()).update(Tensor(cupy.asarray(X)))
    assert found.device == "gpu" and found == expected


def test_sparse_rows() -> None:
    from cupyx.scipy.sparse import csr_matrix

    rng = np.random.default_rng(4)
    dense = np.where(rng.random((60, 12)) < 0.3, rng.standard_normal((60, 12)), 0.0)
    # Duplicate and unsorted entries, and zeros that are stored.
    tangled = sparse.csr_matrix(
        (np.array([1.0, 2.0, 0.0, 4.0]), np.array([5, 1, 5, 5]), np.array([0, 3, 4])), shape=(2, 12)
    )
    for matrix in (sparse.csr_matrix(dense), tangled):
        for make in (
            lambda: mergesketch.Race(gpu_signs()),
            lambda: mergesketch.Race(PStable(12, n_hashes=20, width=2.0, n_buckets=64)),
            lambda: mergesketch.Race(MinHash(20, n_buckets=64)),
        ):
            expected = make().update(matrix)
            found = make().update(csr_matrix(matrix))
            assert found.device == "gpu" and found == expected
            there = csr_matrix(matrix[:2])
            np.testing.assert_allclose(found.query(there).get(), expected.query(matrix[:2]), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.bool_, np.float32])
def test_sets_leave_out_zeros_that_are_stored(dtype: Any) -> None:
    from cupyx.scipy.sparse import csr_matrix

    data = np.random.default_rng(5).integers(0, 2, 40).astype(dtype)
    indptr = np.array([0, 0, 10, 40, 40])
    matrix = sparse.csr_matrix((data, np.tile(np.arange(10), 4), indptr), shape=(4, 12))
    family = MinHash(20, seed=1)
    np.testing.assert_array_equal(family.hash(csr_matrix(matrix)).get(), family.hash(matrix))


def test_a_sparse_matrix_that_lies_is_refused_by_name() -> None:
    from cupyx.scipy.sparse import csr_matrix

    matrix = sparse.csr_matrix(np.ones((4, 12), np.float32))
    for part, lie, message in (
        ("data", matrix.data[:1], r"X.data must have shape \(48,\)"),
        ("indptr", np.array([0, 12, 10, 40, 48]), "X.indptr must not fall"),
        ("indptr", np.array([0, 12, 2**30, 40, 48]), r"X.indptr must not fall and lie in \[0, 48\]"),
        ("indices", np.where(np.arange(48) == 30, 12, matrix.indices), r"X.indices must lie in \[0, 12\)"),
    ):
        there = csr_matrix(matrix)
        setattr(there, part, cupy.asarray(lie.astype(getattr(matrix, part).dtype)))
        for call in (gpu_signs().hash, MinHash(20).hash, mergesketch.Race(gpu_signs()).update):
            with pytest.raises(ValueError, match=f"^{message}"):
                call(there)
    roomy = csr_matrix(matrix)
    roomy.data = cupy.asarray(np.append(matrix.data, np.nan).astype(np.float32))
    roomy.indices = cupy.asarray(np.append(matrix.indices, 99).astype(np.int32))
    np.testing.assert_array_equal(gpu_signs().hash(roomy).get(), gpu_signs().hash(matrix))


def test_sparse_rows_of_the_host_stay_there() -> None:
    X = sparse.csr_array(np.eye(12, dtype=np.float32))
    assert mergesketch.Race(gpu_signs()).update(X).device == "cpu"


@pytest.mark.parametrize("rotate", [False, True])
def test_samples_are_uniform_in_cells_drawn_by_their_counts(rotate: bool) -> None:
    X = 1.5 * np.random.default_rng(0).standard_normal((400, 2))
    here = mergesketch.DensitySketch(2, 1.0, n_repetitions=1, rotate=rotate, seed=8).update(X)
    there = here.to("gpu")
    n = 20_000
    drawn = there.sample(n, random_state=1)
    assert isinstance(drawn, cupy.ndarray) and drawn.shape == (n, 2)
    np.testing.assert_array_equal(drawn.get(), there.sample(n, random_state=1).get())
    assert (drawn.get() != there.sample(n, random_state=2).get()).all()
    assert there.sample(0).shape == (0, 2)
    frame = here._grids.rotations[0] if rotate else np.eye(2)

    def cells(rows: np.ndarray) -> tuple[dict[bytes, int], np.ndarray]:
        places = rows @ frame.T + here._grids.shifts[0]
        found, counts = np.unique(np.floor(places), axis=0, return_counts=True)
        return {cell.tobytes(): int(count) for cell, count in zip(found, counts, strict=True)}, places % 1.0

    (wanted, _), (got, inside) = cells(X), cells(drawn.get())
    assert set(got) <= set(wanted)
    for cell, count in wanted.items():
        p = count / 400
        assert abs(got.get(cell, 0) - n * p) < 6 * np.sqrt(n * p * (1 - p))
    assert (np.abs(inside.mean(axis=0) - 0.5) < 6 * np.sqrt(1 / 12 / n)).all()
    assert (np.abs(inside.var(axis=0) - 1 / 12) < 6 * np.sqrt(1 / 180 / n)).all()


def test_what_runs_on_the_cpu_says_so() -> None:
    X = cupy.ones((3, 12), np.float32)
    for call in (lambda: mergesketch.Race(gpu_signs()).update(X).release(1.0),):
        with pytest.raises(NotImplementedError, match=r'CPU.*\.to\("cpu"\)'):
            call()


def test_heavy_hitters_come_back_by_name() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.int64, np.uint64, np.int16, np.uint8):
        stream = rng.integers(0, 2**63, 20, dtype=np.uint64).astype(dtype)[rng.zipf(1.5, 3000) % 20]
        here, there = (mergesketch.HeavyHitters(0.02, seed=1) for _ in "ab")
        for part in np.split(stream, 3):
            here.update(part)
            there.update(cupy.asarray(part))
        assert there.device == "gpu" and there == here and here == there
        assert there.top() == here.top() and len(there.top()) > 3
        assert (there | here).top() == (here | here).top()
        assert there.to("cpu").to_bytes() == here.to_bytes()
        with pytest.raises(TypeError, match="keys lies in main memory, but the HeavyHitters on the GPU"):
            there.update(["a"])
        with pytest.raises(ValueError, match="counts must be at least 0, got -1"):
            there.update(cupy.asarray(stream[:1]), cupy.asarray(np.array([-1])))


def test_distinct_counts_are_the_cpus() -> None:
    rng, make = np.random.default_rng(0), partial(mergesketch.HyperLogLog, 7, seed=3)
    keys, others = rng.zipf(1.3, 3000), rng.zipf(1.3, 3000) + 20
    here, there = make(), make()
    for part in np.split(keys, 3):
        here.update(part)
        there.update(cupy.asarray(part))
    assert there.device == "gpu" and there == here and there.to_bytes() == here.to_bytes()
    more, more_there = make().update(others), make().update(cupy.asarray(others))
    assert (there | more_there) == (here | more) == (there | more) == (here | more_there)
    for other in (more, more_there):
        for ask in ("union_cardinality", "jaccard", "intersection_cardinality"):
            assert getattr(there, ask)(other) == getattr(here, ask)(more)
    assert there.intersection_cardinality(more_there, return_std=True) == here.intersection_cardinality(
        more, return_std=True
    )
    assert (there.cardinality(), there.bounds(0.9)) == (here.cardinality(), here.bounds(0.9))
    assert there.downsize(4) == here.downsize(4) and there.downsize(4).device == "gpu"
    assert there.to("cpu") == here
    with pytest.raises(TypeError, match="keys lies in main memory, but the HyperLogLog on the GPU"):
        there.update(["a"])


def test_classes_without_kernels_say_so() -> None:
    sketch = mergesketch.CountMinSketch(3, 50, conservative=True)
    with pytest.raises(NotImplementedError, match="count_min_add_conservative"):
        sketch.update(cupy.arange(5))
