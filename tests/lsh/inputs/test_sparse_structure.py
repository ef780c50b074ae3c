"""Test that inconsistent sparse matrices are refused by name, before SciPy or a kernel uses them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from mergesketch import BloomSignatures, LSHIndex, Race, suggest
from mergesketch.lsh import MinHash, PStable, SignedRandomProjection, WeightedMinHash
from mergesketch.lsh.inputs.sparse_structure import csr_parts
from mergesketch.lsh.kernels.checks import count_falls
from mergesketch.lsh.support.backend import read_only

N = 60


def plain() -> scipy.sparse.csr_array:
    """Return a matrix of 60 rows and columns, all full of small positive numbers."""
    return scipy.sparse.csr_array(1.0 + np.arange(N * N).reshape(N, N) % 7)


def put(value: int) -> Callable[[Any], Any]:
    """Return a function that puts one wrong number into a part."""

    def change(part: Any) -> Any:
        part = part.copy()
        part[len(part) // 2] = value
        return part

    return change


def shorter(part: Any) -> Any:
    return part[:1].copy()


def in_every_row(change: Callable[[int], Any]) -> Callable[[Any], Any]:
    """Return a function that changes the lists of a LIL matrix."""

    def changed(part: Any) -> Any:
        rows = part.copy()
        for i, row in enumerate(part):
            rows[i] = list(map(change, row))
        return rows

    return changed


LIES: list[tuple[str, str, Callable[[Any], Any]]] = [
    *((form, "data", shorter) for form in ("csr", "csc", "bsr", "coo")),
    *((form, "indices", shorter) for form in ("csr", "csc", "bsr")),
    *((form, "indptr", shorter) for form in ("csr", "csc", "bsr")),
    *((form, "indices", put(v)) for form in ("csr", "csc", "bsr") for v in (-1, N, 2**30)),
    *((form, "indptr", put(v)) for form in ("csr", "csc", "bsr") for v in (-(2**30), 2**30, 0)),
    *((form, "indptr", lambda part: part + 1) for form in ("csr", "csc", "bsr")),
    *((form, "indptr", lambda part: part * 1000) for form in ("csr", "csc", "bsr")),
    ("csr", "indices", lambda part: part.astype(float)),
    ("csr", "indices", lambda part: part.reshape(1, -1)),
    ("coo", "row", put(N)),
    ("coo", "row", put(-1)),
    ("coo", "row", shorter),
    ("coo", "col", put(2**30)),
    ("coo", "col", shorter),
    ("dia", "offsets", lambda part: np.append(part, part + N)),
    ("dia", "offsets", lambda part: part * 0),
    ("lil", "rows", put([])),  # type: ignore[arg-type]
    ("lil", "data", put([1.0] * 100_000)),  # type: ignore[arg-type]
    *(("lil", "rows", in_every_row(change)) for change in (str, (1 << 40).__add__, (-N).__add__)),
    ("dok", "_dict", lambda part: {**part, (2**30, 2): 1.0}),
]


#: Parts that SciPy does not check either.
LISTS = [(form, part, list) for form in ("csr", "csc", "bsr") for part in ("data", "indices", "indptr")]


def lying(form: str, part: str, change: Callable[[Any], Any]) -> Any:
    matrix = plain().asformat(form)
    if part in ("row", "col"):
        coords = {"row": matrix.row, "col": matrix.col}
        coords[part] = change(coords[part])
        matrix.coords = tuple(coords.values())
    else:
        setattr(matrix, part, change(getattr(matrix, part)))
    return matrix


ANGLES = SignedRandomProjection(N, 2, power=2)
DISTANCES = PStable(N, 2, width=1.0, n_buckets=8)
SETS = MinHash(2, n_buckets=8)
POINTS = np.ones((3, N))
#: Every call that takes a sparse matrix, with the name of the argument.
DOORS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "projection": ("X", ANGLES.hash),
    "projection without a width": ("X", SignedRandomProjection(None, 2, projection="sparse").hash),
    "probes": ("Q", lambda X: ANGLES.probe(X, 2)),
    "sets": ("X", SETS.hash),
    "signatures": ("sets", SETS.signatures),
    "weights": ("X", WeightedMinHash(2).hash),
    "kernel of angles": ("Y", lambda X: ANGLES.kernel(POINTS, X)),
    "kernel of distances": ("Y", lambda X: DISTANCES.kernel(POINTS, X)),
    "kernel of sets": ("Y", lambda X: SETS.kernel([[1]], X)),
    "sketch": ("X", lambda X: Race(DISTANCES).update(X)),
    "sketch of sets": ("X", lambda X: Race(SETS).update(X)),
    "queries": ("Q", Race(DISTANCES).query),
    "index": ("X", lambda X: LSHIndex(ANGLES).add(X)),
    "ranked queries": ("Q", lambda X: LSHIndex(DISTANCES).add(POINTS).search(X, POINTS, 1)),
    "ranked sets": ("rows", lambda X: LSHIndex(SETS).add([[1]] * N).search([[1]], X, 1)),
    "sample": ("sample", lambda X: suggest("angle", near=0.2, n_rows=1000, sample=X)),
    "edges": ("edges", lambda X: BloomSignatures(N, 64).update(X)),
}


@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
@pytest.mark.parametrize("door", DOORS)
def test_every_way_in_refuses_every_lie_by_name(door: str) -> None:
    name, call = DOORS[door]
    call(plain())
    for lie in LIES + LISTS:
        with pytest.raises((TypeError, ValueError), match=rf"^{name}\b"):
            call(lying(*lie))


def test_room_behind_the_last_entry_and_odd_parts_are_taken() -> None:
    expected = plain()[:5]
    for change in (
        {"indices": np.append(expected.indices, 10**9), "data": np.append(expected.data, np.nan)},
        {"indices": expected.indices.astype(np.uint16), "indptr": expected.indptr.astype(np.uint64)},
        {"indices": expected.indices.astype(">i8"), "data": expected.data.astype(">f8")},
        {"indices": np.repeat(expected.indices, 2)[::2], "data": np.repeat(expected.data, 2)[::2]},
    ):
        matrix = expected.copy()
        for part, value in change.items():
            setattr(matrix, part, value)
        np.testing.assert_array_equal(ANGLES.hash(matrix), ANGLES.hash(expected))
        np.testing.assert_array_equal(SETS.hash(matrix), SETS.hash(expected))
        assert Race(ANGLES).update(matrix) == Race(ANGLES).update(expected)
        for part, value in change.items():
            assert getattr(matrix, part) is value
    assert csr_parts(expected, "X").matrix is expected


def test_a_flag_that_lies_is_not_believed() -> None:
    matrix = scipy.sparse.csr_array((np.ones(4), np.array([3, 1, 1, 0]), np.array([0, 3, 4])), shape=(2, N))
    dense = matrix.toarray()
    matrix.has_canonical_format = matrix.has_sorted_indices = True
    np.testing.assert_array_equal(ANGLES.hash(matrix), ANGLES.hash(dense))
    assert matrix.indices.tolist() == [3, 1, 1, 0]


def test_entries_that_add_up_to_nothing_are_no_tokens() -> None:
    columns, offsets = np.array([5, 2, 5, 7]), np.array([0, 3, 4])
    matrix = scipy.sparse.csr_array((np.array([1, 1, -1, 1]), columns, offsets), shape=(2, 9))
    np.testing.assert_array_equal(SETS.hash(matrix), SETS.hash([[2], [7]]))
    assert columns.tolist() == [5, 2, 5, 7]


def naive_falls(indptr: list[int], indices: list[int], n_columns: int) -> int:
    if not all(0 <= a <= b <= len(indices) for a, b in pairwise(indptr)):
        return -1
    rows = [indices[a:b] for a, b in pairwise(indptr)]
    if not all(0 <= index < n_columns for row in rows for index in row):
        return -1
    return sum(b <= a for row in rows for a, b in pairwise(row))


@st.composite
def compressed_rows(draw: Any) -> tuple[list[int], list[int]]:
    indices = draw(st.lists(st.integers(0, 4) | st.integers(-1, 6), max_size=12))
    inner = draw(st.lists(st.integers(0, len(indices)), min_size=1, max_size=6).map(sorted))
    if draw(st.booleans()):
        inner = draw(st.permutations(inner))
    return inner + draw(st.sampled_from([[], [len(indices) + 1], [2**62]])), indices


@given(compressed_rows(), st.sampled_from([np.int32, np.int64]))
def test_falls_are_counted_and_contradictions_found(rows: tuple[list[int], list[int]], dtype: Any) -> None:
    indptr, indices = rows
    parts = read_only(np.array(indptr)), read_only(np.array(indices, dtype))
    found = count_falls(*parts, 5, 0, len(indptr) - 1)
    assert found == naive_falls(indptr, indices, 5)


def test_offsets_of_strings_and_sets_that_lie() -> None:
    pa = pytest.importorskip("pyarrow")
    from mergesketch.lsh import hash_keys, shingle

    def array(offsets: list[int]) -> Any:
        buffers = [None, pa.py_buffer(np.array(offsets, np.int32)), pa.py_buffer(b"abcdef")]
        return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)

    assert hash_keys(array([0, 2, 6])).tolist() == hash_keys(["ab", "cdef"]).tolist()
    for offsets in ([0, 2**30, 2, 6], [0, 5, 2, 6], [0, -4, 0, 6]):
        for call in (hash_keys, shingle):
            with pytest.raises(ValueError, match="must have offsets that do not fall and lie in"):
                call(array(offsets))
        with pytest.raises(ValueError, match=r"^X offsets must rise from 0 to 6"):
            SETS.hash((np.arange(6), np.array(offsets)))


@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
def test_every_format_is_taken_where_it_tells_the_truth() -> None:
    for form in {form for form, *_ in LIES}:
        np.testing.assert_array_equal(ANGLES.hash(plain().asformat(form)), ANGLES.hash(plain()))


def test_files_of_matrices_that_lie_are_refused(tmp_path: Any) -> None:
    from mergesketch.distributed.cli.row_files import read_matrix

    path, refused = str(tmp_path / "rows.npz"), 0

    def write(matrix: Any) -> None:
        parts = {"indices": matrix.indices, "indptr": matrix.indptr, "data": matrix.data}
        np.savez(path, format=b"csr", shape=matrix.shape, **parts)

    for form, part, change in LIES:
        # SciPy converts indices that are no integers.
        if form == "csr" and (matrix := lying(form, part, change)).indices.dtype.kind == "i":
            write(matrix)
            with pytest.raises(ValueError, match=r"cannot read .*: it is not a SciPy sparse matrix"):
                read_matrix(path, 0)
            refused += 1
    assert refused > 8
    write(plain() * 1j)
    with pytest.raises(ValueError, match=r"cannot read .*: it is not a SciPy sparse matrix of numbers"):
        read_matrix(path, 0)
    write(plain())
    np.testing.assert_array_equal(read_matrix(path, 0).toarray(), plain().toarray())
