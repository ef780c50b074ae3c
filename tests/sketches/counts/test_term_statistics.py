"""Statistics of terms: the naive twin, the bound beyond the list, weights, and forms of documents."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Any, get_args

import numpy as np
import pytest
from batches import KEY_TYPES
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import CountMinSketch, StaticFunction, TermStatistics
from mergesketch.errors import SketchFormatError
from mergesketch.sketches.counts import term_statistics
from mergesketch.sketches.counts.term_statistics import Method
from naive import term_statistics as naive
from ranks import Ranks, needs_mpi

METHODS = get_args(Method)
DOCUMENTS = st.sampled_from(["int", "str"]).flatmap(
    lambda kind: st.lists(st.lists(KEY_TYPES[kind], max_size=6), max_size=6)
)
few = settings(max_examples=settings.default.max_examples // 5, deadline=None)
TEXTS = [["tea", "and", "cake"], ["tea", "tea", "and", "jam"], [], ["cake", "and", "milk"]]


def canonical(documents: list[list[Any]]) -> list[list[Any]]:
    """Return documents whose integers are modulo 2**64, as they are hashed."""
    return [[t % 2**64 if isinstance(t, int) else t for t in document] for document in documents]


@few
@given(DOCUMENTS, st.integers(0, 6))
def test_a_list_equals_its_naive_twin(documents: list[list[Any]], cut: int) -> None:
    found = TermStatistics(2, 64, seed=3).update(documents[:cut]).update(documents[cut:])
    expected = naive.document_frequencies(canonical(documents))
    assert found.is_exact and found.error() == 0
    assert found.n_documents == len(documents)
    assert found.n_tokens == sum(map(len, documents))
    assert found.n_postings == sum(expected.values())
    assert found.mean_length == (found.n_tokens / len(documents) if documents else 0.0)
    terms = list(expected)
    if terms:
        assert found.query(terms).tolist() == list(expected.values())
        for method in METHODS:
            weights = [naive.weight(n, len(documents), method) for n in expected.values()]
            np.testing.assert_allclose(found.weights(terms, method), weights, rtol=1e-14)
        shares = [n / len(documents) for n in expected.values()]
        assert found.keep(terms, 0.25, 0.75).tolist() == [0.25 <= share <= 0.75 for share in shares]


@few
@given(DOCUMENTS)
def test_many_terms_are_counted_as_count_min_counts_them(documents: list[list[Any]]) -> None:
    found = TermStatistics(2, 3, seed=5).update(documents)
    expected = naive.document_frequencies(canonical(documents))
    assert found.is_exact == (len(expected) <= found.capacity == 3)
    if found.is_exact:
        return
    terms, counts = list(expected), list(expected.values())
    table = CountMinSketch(2, 3, seed=5).update(terms, counts)
    estimates = np.minimum(table.query(terms), len(documents))
    assert found.query(terms).tolist() == estimates.tolist()
    assert (found.query(terms) >= counts).all()
    np.testing.assert_array_equal(
        found.state["counts"].array, table.state["counts"].array.reshape(-1).astype(np.int64)
    )


@pytest.mark.parametrize("layout", ["Zipf", "one term each", "equal documents"])
def test_the_error_covers_the_truth(layout: str) -> None:
    rng, n, confidence = np.random.default_rng(0), 400, 0.9
    rows = {
        "Zipf": rng.zipf(1.2, (n, 20)) % 5000,
        "one term each": np.arange(n)[:, None],
        "equal documents": np.tile(np.arange(300), (n, 1)),
    }[layout]
    expected = naive.document_frequencies(rows.tolist())
    terms, truth = np.array(list(expected)), np.array(list(expected.values()))
    outside = []
    for seed in range(30):
        found = TermStatistics(2, 128, seed=seed).update(list(rows))
        # Markov's inequality for a row: P(excess >= t) <= n_postings / (128 t), and two rows square it.
        bound = math.floor(found.n_postings / (128 * math.sqrt(1.0 - confidence)))
        assert not found.is_exact and found.error(confidence) == min(bound, n) > 0
        excess = found.query(terms) - truth
        assert excess.min() >= 0
        outside.append((excess > found.error(confidence)).mean())
    # The share of terms outside is at most 1 - confidence on average over the seeds.
    assert np.mean(outside) <= 1.0 - confidence + 6 * math.sqrt(np.var(outside) / len(outside))


def test_merged_lists_become_a_table_as_one_pass_does() -> None:
    documents = [[f"term {i}", f"term {i + 1}", "all"] for i in range(40)]
    parts = [TermStatistics(2, 32).update(documents[i::4]) for i in range(4)]
    whole = TermStatistics(2, 32).update(documents)
    assert all(part.is_exact for part in parts) and not whole.is_exact
    assert parts[0].merge(parts[1:]) == whole


def test_a_term_counts_once_a_document_and_an_empty_document_counts() -> None:
    found = TermStatistics().update(TEXTS)
    assert found.query(["tea", "and", "cake", "salt"]).tolist() == [2, 3, 2, 0]
    assert (found.n_documents, found.n_tokens, found.mean_length) == (4, 10, 2.5)
    assert found.query("tea") == found.document_frequency("tea") == 2
    assert type(found.weights("tea")) is float and found.weights("salt", "atire") == 0.0
    assert found.keep("and", high=0.75) is True and found.keep("and", high=0.74) is False
    empty = TermStatistics()
    assert (empty.query("tea"), empty.weights("tea"), empty.keep("tea"), empty.mean_length) == (
        0,
        0,
        False,
        0,
    )


def test_all_forms_of_documents_give_one_state() -> None:
    expected = TermStatistics().update(TEXTS)
    flat = [term for document in TEXTS for term in document]
    offsets = [0, 3, 7, 7, 10]
    forms: list[Any] = [
        tuple(TEXTS),
        [tuple(document) for document in TEXTS],
        [np.array(document, dtype=object) for document in TEXTS],
        [np.array(document, dtype="U4") for document in TEXTS],
        (flat, offsets),
        (np.array(flat), np.array(offsets, np.int32)),
    ]
    assert all(TermStatistics().update(form) == expected for form in forms)
    sets = [{"tea", "and", "cake"}, frozenset(["tea", "and", "jam"]), set(), {"cake", "and", "milk"}]
    assert TermStatistics().update(sets).n_tokens == 9
    assert TermStatistics().update(sets).query(flat).tolist() == expected.query(flat).tolist()


def test_documents_of_several_dtypes_keep_their_integers() -> None:
    large = 2**63 + 1
    documents = [np.array([1, -1]), np.array([large], np.uint64), [large, 1]]
    found = TermStatistics().update(documents)
    assert found.query(np.array([1, large - 1, large], np.uint64)).tolist() == [2, 0, 2]
    with pytest.raises(TypeError, match="documents must be all"):
        TermStatistics().update([np.array([1]), np.array(["1"])])


def test_documents_are_refused_by_name() -> None:
    found = TermStatistics().update(TEXTS)
    before = found.copy()
    refused: list[tuple[Any, str]] = [
        ("tea and cake", r"documents must be a list of lists of terms, or a pair .*got str"),
        ([["tea"], "and cake"], r"documents\[1\] must be a list of terms, got str; split texts"),
        ([[17]], "documents must be strings or bytes as before, got integers"),
        ((["tea"], [0, 2]), "documents offsets must end at the number of terms, 1, got 2"),
        ((["tea"], [1]), "documents offsets must rise from 0"),
    ]
    for documents, message in refused:
        with pytest.raises((TypeError, ValueError), match=message):
            found.update(documents)
    with pytest.raises(TypeError, match="terms must be strings or bytes as before, got integers"):
        found.query([17])
    with pytest.raises(ValueError, match=r"low must be at most high, 0\.1, got 0\.2"):
        found.keep(["tea"], 0.2, 0.1)
    with pytest.raises(ValueError, match="method must be"):
        found.weights(["tea"], "bm26")  # type: ignore[call-overload]
    assert found == before


def test_a_file_of_few_terms_is_short() -> None:
    found = TermStatistics().update(TEXTS)
    data = found.to_bytes()
    assert len(data) < 2000 < found.nbytes
    loaded = TermStatistics.from_bytes(data)
    assert loaded == found and loaded.update(TEXTS) == found.update(TEXTS)


def test_document_frequencies_are_frozen_for_serving() -> None:
    found = TermStatistics().update(TEXTS)
    terms = sorted({term for document in TEXTS for term in document})
    frozen = StaticFunction(terms, found.query(terms))
    assert dict(zip(terms, frozen.lookup(terms).tolist(), strict=True)) == dict(
        Counter(term for document in TEXTS for term in set(document))
    )


def test_a_file_of_a_large_table_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term_statistics, "_MOST_LEFT_OUT", 100)
    data = TermStatistics(2, 64).update(TEXTS).to_bytes()
    assert len(data) > 8 * 2 * 64
    assert TermStatistics.from_bytes(data) == TermStatistics(2, 64).update(TEXTS)


def test_columns_and_other_sequences_are_documents() -> None:
    expected = TermStatistics().update([["a", "b"], ["b"]])
    assert TermStatistics().update([deque(["a", "b"]), {"b": 1}.keys()]) == expected
    assert TermStatistics().update([deque(["a", "b"]), np.array(["b"])]) == expected
    numbers = TermStatistics().update([[0, 1, 2], [0, 1, 1]])
    assert TermStatistics().update(np.array([[0, 1, 2], [0, 1, 1]])) == numbers
    assert TermStatistics().update([range(3), np.array([0, 1, 1])]) == numbers
    lists = np.empty(2, object)
    lists[:] = [["a", "b"], ["b"]]
    assert TermStatistics().update(lists) == expected
    for wrong in ({"a"}, np.array(3), np.int64(3), {"a": ["b"]}, np.array(["a b", "b"]), np.zeros((2, 2))):
        with pytest.raises(TypeError, match="documents must be a list of lists of terms"):
            TermStatistics().update(wrong)
    with pytest.raises(TypeError, match=r"documents\[0\] must be a list of terms, got str; split texts"):
        TermStatistics().update(deque(["a b", "b"]))


@pytest.mark.parametrize(
    ("library", "column"),
    [
        ("pandas", lambda pandas, values: pandas.Series(values)),
        ("polars", lambda polars, values: polars.Series(values)),
        ("pyarrow", lambda pyarrow, values: pyarrow.array(values)),
        ("pyarrow", lambda pyarrow, values: pyarrow.chunked_array([values])),
        ("torch", lambda torch, values: torch.tensor(values)),
    ],
)
def test_columns_of_other_libraries_are_documents(library: str, column: Any) -> None:
    module, documents = pytest.importorskip(library), [[7, 9], [9]]
    expected = TermStatistics().update(documents)
    assert TermStatistics().update([column(module, document) for document in documents]) == expected
    if library == "torch":
        return
    assert TermStatistics().update(column(module, documents)) == expected
    with pytest.raises(TypeError, match=r"documents\[1\] must be a list of terms, got NoneType"):
        TermStatistics().update(column(module, [[7], None]))


def test_a_pair_of_words_is_asked_for_in_a_list() -> None:
    found = TermStatistics().update([[("new", "york")]])
    assert found.query([("new", "york")]).tolist() == [1]


def test_documents_on_a_gpu_are_refused() -> None:
    array = type("ndarray", (), {"__module__": "cupy"})()
    for documents in ([array], (array, [0, 1]), (["a"], array)):
        with pytest.raises(NotImplementedError, match="has no GPU kernels"):
            TermStatistics().update(documents)
    with pytest.raises(NotImplementedError, match="TermStatistics has no GPU kernels"):
        TermStatistics().to("gpu")
    with pytest.raises(TypeError, match="documents offsets must be integers, got dtype float64"):
        TermStatistics().update((["a"], [0.0, 1.0]))


def test_hostile_states() -> None:
    listed, table = (TermStatistics(2, n).update([["a", "b", "c"], ["a"]]) for n in (4, 2))
    assert listed.is_exact and not table.is_exact

    def refused(given: TermStatistics, name: str, place: Any, value: Any, match: str) -> None:
        twin = given.copy()
        twin._arrays[name][place] = value
        with pytest.raises(SketchFormatError, match=match):
            TermStatistics.from_bytes(twin.to_bytes())

    assert TermStatistics.from_bytes(listed.to_bytes()) == listed
    refused(listed, "is_dense", 0, 2, "is_dense must be 0 or 1")
    refused(listed, "counts", 1, 3, "counts of terms must be from 1 to n_updates, 2")
    refused(listed, "counts", 1, -2, "counts of terms must be from 1")
    refused(listed, "counts", 0, -1, "counts must have the terms by rising hashes")
    refused(listed, "n_postings", 0, 3, "counts of a row must have the sum n_postings, 3")
    refused(listed, "n_postings", 0, 5, "n_postings must be from 0 to n_tokens, 4")
    refused(listed, "n_updates", 0, 0, "n_tokens must be 0 without documents")
    refused(table, "counts", 0, -1, "counts must be at least 0")
    refused(table, "counts", 0, 2**62, "counts of a row must have the sum n_postings, 4")


@pytest.mark.parametrize("method", METHODS)
def test_weights_and_corrected_shards_are_those_of_bm25s(method: Method) -> None:
    bm25s = pytest.importorskip("bm25s")
    rng, k1, b = np.random.default_rng(0), 1.5, 0.75
    # The documents of a shard are longer than those of the others.
    documents = [[f"t{t}" for t in rng.zipf(1.5, 8 + 9 * (i < 20)) % 30] for i in range(60)]
    whole = TermStatistics().update(documents)

    def index_of(documents: list[list[str]], **parameters: float) -> Any:
        index = bm25s.BM25(method=method, **parameters)
        index.index(documents, show_progress=False)
        return index

    scoring = pytest.importorskip("bm25s.scoring")._select_idf_scorer(method)
    terms = sorted({term for document in documents for term in document})
    expected = [scoring(int(n), N=60) for n in whole.query(terms)]
    np.testing.assert_allclose(whole.weights(terms, method), expected, rtol=1e-12)
    if method != "lucene":
        return
    found = np.zeros(60)
    for start in range(0, 60, 20):
        part = documents[start : start + 20]
        shard = TermStatistics().update(part)
        stretch = 1 - b + b * shard.mean_length / whole.mean_length
        index = index_of(part, k1=k1 * stretch, b=1 - (1 - b) / stretch)
        known = [term for term in index.vocab_dict if term]
        factors = np.ones(len(index.scores["indptr"]) - 1)
        factors[[index.vocab_dict[term] for term in known]] = whole.weights(known) / shard.weights(known)
        index.scores["data"] *= np.repeat(factors, np.diff(index.scores["indptr"])).astype(np.float32)
        found[start : start + 20] = index.get_scores([t for t in ("t1", "t2", "t9") if t in known])
    scores = index_of(documents, k1=k1, b=b).get_scores(["t1", "t2", "t9"])
    np.testing.assert_allclose(found, scores, rtol=1e-5)


OVER_RANKS = """
from mpi4py import MPI
from mergesketch import TermStatistics
from mergesketch.distributed import merge_over_ranks

rank, size = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
documents = [[f"term {i}", f"term {i + 1}", f"term {i % 3}"] for i in range(30)]
for n_buckets in (8, 64):  # a table, and a list
    whole = TermStatistics(2, n_buckets).update(documents)
    assert whole.is_exact == (n_buckets == 64)
    assert merge_over_ranks(TermStatistics(2, n_buckets).update(documents[rank::size])) == whole
print("done")
"""


@pytest.mark.slow
@needs_mpi
def test_ranks_merge_their_documents(ranks: Ranks) -> None:
    ran = ranks.run(3, OVER_RANKS)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ["done\n"] * 3
