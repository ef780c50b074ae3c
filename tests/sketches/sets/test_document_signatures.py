"""Test states of documents: a union by name, one file for equal documents, and forged files."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any
from zlib import crc32

import mergesketch
import numpy as np
import pytest
from forged_files import assert_refused, header_of
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import CountMinSketch, DocumentSignatures, MinHash
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from mergesketch.sketches.sets.document_rows import DocumentRows

EMPTY = DocumentSignatures(MinHash(3), unit="character", size=2)
Document = tuple[bytes, int, int, float]


def state_of(
    documents: list[Document], content: Callable[[bytes, int], int] = lambda *name: 0
) -> DocumentSignatures:
    """Return a state of documents (path, record, size, score), whose name decides about the content."""
    paths = sorted({path for path, *_ in documents})
    keys = np.array([crc32(path) + n + content(path, n) for path, n, *_ in documents], dtype=np.uint64)
    rows = DocumentRows(
        paths,
        np.array([paths.index(path) for path, *_ in documents], dtype=np.int64),
        np.array([n for _, n, *_ in documents], dtype=np.uint64),
        keys,
        np.array([size for *_, size, _ in documents], dtype=np.int64),
        np.array([score for *_, score in documents], dtype=np.float64),
        (keys[:, None] + np.arange(3, dtype=np.uint64)).astype(np.uint32).reshape(-1, 3),
    )
    return EMPTY.with_rows(rows)[0]


documents = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"ab", b"a/b", b"\xff\n", b"", b"z"]),
        st.integers(0, 3) | st.just(2**36 - 1),
        st.integers(0, 9),
        st.sampled_from([-np.inf, 0.0, 1.5]),
    ),
    max_size=8,
)


@given(a=documents, b=documents, c=documents)
@settings(max_examples=100, deadline=None)
def test_merging_is_a_union(a: list[Document], b: list[Document], c: list[Document]) -> None:
    one, two, three = map(state_of, (a, b, c))
    every = state_of(a + b + c)
    assert ((one | two) | three) == (one | (two | three)) == (three | two | one) == every
    assert sum([one, two, three]) == reduce(or_, [three, one, two]) == EMPTY.copy().merge(one, [two, three])
    assert (every | every).to_bytes() == (every | two).to_bytes() == every.to_bytes()
    assert (one | EMPTY) == (EMPTY | one) == one and one == state_of(a)
    for twin in (
        DocumentSignatures.from_bytes(every.to_bytes()),
        pickle.loads(pickle.dumps(every)),
        copy.copy(every),
        copy.deepcopy(every),
    ):
        assert twin == every and twin.to_bytes() == every.to_bytes()
        assert all(
            not np.shares_memory(x, every.arrays[name]) or not x.size for name, x in twin.arrays.items()
        )
    # The naive union: the largest size and score of each name, in the order of names.
    naive: dict[tuple[bytes, int], tuple[int, float]] = {}
    for path, record, size, score in a + b + c:
        old = naive.get((path, record), (0, -np.inf))
        naive[path, record] = max(size, old[0]), max(score, old[1])
    names = sorted(naive)
    assert [
        (p.encode(errors="surrogateescape"), n or 0) for p, n in every.name_of(range(len(every)))
    ] == names
    assert every.arrays["sizes"].tolist() == [naive[name][0] for name in names]
    assert every.arrays["scores"].tolist() == [naive[name][1] for name in names]
    assert (len(every), every.n_paths) == (len(names), len({path for path, _ in names}))


def test_a_name_with_another_content_is_refused_by_name() -> None:
    one = state_of([(b"a.jsonl", 7, 3, 0.0), (b"b", 0, 3, 0.0)])
    before = one.to_bytes()
    for other, name in (((b"a.jsonl", 7, 3, 0.0), "a.jsonl:7"), ((b"b", 0, 3, 0.0), "b")):
        changed = state_of([(b"0", 0, 1, 0.0), other], lambda path, n: 1)
        with pytest.raises(IncompatibleSketchError, match=f"^{name} was read before with another text"):
            one.merge(changed)
    with pytest.raises(IncompatibleSketchError, match=r"a\?\[2J:1 was|a\\x1b\[2J:1 was"):
        state_of([(b"a\x1b[2J", 1, 1, 0.0)]).merge(state_of([(b"a\x1b[2J", 1, 1, 0.0)], lambda *_: 1))
    assert one.to_bytes() == before


def test_what_is_refused() -> None:
    one = state_of([(b"a", 1, 3, 0.0)])
    for other, named in (
        (DocumentSignatures(MinHash(4), unit="character", size=2), "family.n_hashes: 3 here, 4 there"),
        (DocumentSignatures(MinHash(3, seed=9), unit="character", size=2), "family.seed: 0 here, 9 there"),
        (DocumentSignatures(MinHash(3), size=2), "unit: 'character' here, 'word' there"),
        (DocumentSignatures(MinHash(3), unit="character", size=3), "size: 2 here, 3 there"),
        (CountMinSketch(2, 8), "expected a DocumentSignatures to merge, got CountMinSketch"),
        (3, "got int"),
    ):
        with pytest.raises(IncompatibleSketchError, match=named):
            one.merge(other)
    with pytest.raises(TypeError):
        one | 3
    for wrong, error, match in (
        ({"family": 3}, TypeError, "family must be a MinHash, got int"),
        ({"family": MinHash(1 << 17)}, ValueError, "at most 65536 values in a signature, got 131072"),
        ({"unit": "line"}, ValueError, "unit must be"),
        ({"size": 0}, ValueError, "size must be"),
    ):
        with pytest.raises(error, match=match):
            DocumentSignatures(**wrong)
    for documents in ([1], [-1], [2**63 + 1], np.array([5], np.uint64)):
        with pytest.raises(ValueError, match="documents must be rows from 0 to 0, got"):
            one.name_of(documents)
    with pytest.raises(TypeError, match="documents must be integers, got float64"):
        one.name_of([0.5])
    with pytest.raises(ValueError, match="one dimension"):
        one.name_of([[0]])
    assert one.name_of([]) == [] and one.name_of(np.array([2**63], np.uint64)) == [("a", 1)]
    with pytest.raises(NotImplementedError):
        one._moved("gpu")


def test_saving_inspecting_and_showing(tmp_path: Path) -> None:
    state, path = (
        state_of([(b"a", 1, 3, 0.0), (b"b", 0, 3, 0.0), (b"a", 2, 5, -np.inf)]),
        tmp_path / "a.state",
    )
    state.save(path)
    for mmap in (False, True):
        assert DocumentSignatures.load(path, mmap=mmap) == state == mergesketch.load(path, mmap=mmap)
    found = mergesketch.inspect(path)
    assert found["class"] == "DocumentSignatures" and found["config"] == state.config() and found["intact"]
    assert found["arrays"]["signatures"] == "uint32[3, 3]" and found["arrays"]["path_offsets"] == "int64[3]"
    assert state.nbytes == 3 * (4 * 3 + 32) + 2 * (1 + 16) + 16
    assert repr(state).endswith(": 3 documents of 2 files, 182 bytes>")
    assert len(EMPTY) == 0 and bool(EMPTY) and EMPTY.empty_like() == EMPTY
    header = header_of(state.to_bytes())
    assert set(header) - {"__metadata__"} == set(state.arrays)


def test_forged_states_are_refused(tmp_path: Path) -> None:
    state = state_of([(b"a", 1, 3, 0.0), (b"a", 2, 5, 0.0), (b"b", 0, 3, 0.0), (b"c", 4, 3, 0.0)])

    def refused(match: str, **changes: Any) -> None:
        twin = state.copy()
        twin._set_arrays({**twin._arrays, **changes})
        assert_refused(twin.to_bytes(), tmp_path / "a", f"no state of .*: .*({match})", DocumentSignatures)
        with pytest.raises(SketchFormatError, match=match):
            mergesketch.load(tmp_path / "a", mmap=True)

    offsets = state.arrays["path_offsets"]
    for wrong in ([0, 1, 2], [1, 1, 2, 3], [0, 2, 1, 3], [0, -(2**62), 2, 3], [0, 1, 2, 2**62], []):
        refused("path_offsets|first_documents", path_offsets=np.array(wrong, dtype=offsets.dtype))
    for wrong in ([0, 2, 3], [0, 2, 2, 4], [0, 2**62, 3, 4], [0, 3, 2, 4], [1, 2, 3, 4], [0, 2, 3, 5], []):
        refused("path_offsets|first_documents", first_documents=np.array(wrong, dtype=offsets.dtype))
    refused("paths must rise", paths=np.frombuffer(b"aac", np.uint8))
    refused("paths must rise", paths=np.frombuffer(b"bac", np.uint8))
    refused("records of a path must rise", records=np.array([2, 1, 0, 4], np.uint64))
    refused("records of a path must rise", records=np.array([1, 1, 0, 4], np.uint64))
    refused(r"records must be below 2\*\*36", records=np.array([1, 2, 0, 2**36], np.uint64))
    refused("sizes must be at least 0, got -1", sizes=np.array([1, 2, -1, 3]))
    refused("scores must not be NaN", scores=np.array([1, 2, np.nan, 3]))
    refused("keys must have an entry for each", keys=np.zeros(3, np.uint64))
    refused("signatures must have shape", signatures=np.zeros((4, 2), np.uint32))
    refused("signatures must have shape", signatures=np.zeros((3, 3), np.uint32))
