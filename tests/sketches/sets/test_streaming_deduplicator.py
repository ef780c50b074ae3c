"""Test streaming de-duplication: against slow filters and exact sets, its rates against theory."""

from __future__ import annotations

import math
import sysconfig
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import StreamingDeduplicator
from mergesketch.distributed import deduplicate
from mergesketch.errors import IncompatibleSketchError, SaturationWarning
from mergesketch.lsh import MinHash, shingle
from mergesketch.sketches.sets import band_filters, document_bands
from mergesketch.sketches.sets.bloom_theory import error_rate
from naive import streaming_deduplicator as naive
from naive.minhash import jaccard

WORDS = ["tea", "cake", "straße", "日本", "", "?"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=20)


@pytest.fixture
def threads() -> Any:
    before = mergesketch.get_num_threads()
    yield mergesketch.set_num_threads
    mergesketch.set_num_threads(before)


def fresh(rng: np.random.Generator, n: int, n_words: int = 60) -> list[str]:
    """Return documents that share no shingle with any other."""
    return [" ".join(map(str, words)) for words in rng.integers(0, 2**40, (n, n_words)).tolist()]


def keys_of(sketch: StreamingDeduplicator, documents: list[str]) -> list[list[int] | None]:
    """Return the slow keys of each document; None for one without shingles."""
    shingles = shingle(documents, unit=sketch.unit, size=sketch.size, seed=sketch.seed)
    signatures = sketch.family.signatures((shingles.tokens, shingles.offsets)).tolist()
    return [
        None if status == 1 else naive.band_keys(signature, sketch.bands, sketch.rows, sketch.seed)
        for signature, status in zip(signatures, shingles.status, strict=True)
    ]


def with_empty(keys: list[list[int] | None], answers: list[bool]) -> list[bool]:
    """Return the answers for documents with shingles, and True for the others."""
    given = iter(answers)
    return [True if k is None else next(given) for k in keys]


# -- a life story ---------------------------------------------------------------------------------


def test_the_life_of_a_deduplicator(tmp_path: Path) -> None:
    seen = StreamingDeduplicator(0.7, 1000, 1e-3, seed=7)
    assert (seen.bands, seen.rows) == (20, 6)
    rng = np.random.default_rng(0)
    monday, tuesday = fresh(rng, 100), fresh(rng, 100)
    first, second = seen.empty_like(), seen.empty_like()
    assert first.admit(monday).all() and second.update(tuesday) is second
    assert first.contains(monday).all() and not first.contains(tuesday).any()
    assert not first.admit([monday[3].replace(" ", ", ")]).any()
    week = first | second
    assert week.contains(monday + tuesday).all() and not week.contains(fresh(rng, 100)).any()
    assert week.query(monday[:2]).tolist() == [True, True]
    assert week.n_updates == 201
    week.save(tmp_path / "week.sketch")
    loaded = mergesketch.load(tmp_path / "week.sketch")
    assert loaded == week and isinstance(loaded, StreamingDeduplicator)
    assert loaded.contains(tuesday).all()
    assert "201 updates" in repr(loaded) and "% of bits set" in repr(loaded)
    with pytest.raises(IncompatibleSketchError, match="differ in seed: 7 here, 8 there"):
        week.merge(StreamingDeduplicator(0.7, 1000, 1e-3, seed=8))


# -- against the slow twin ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**64 - 1))
def test_bits_and_answers_equal_the_slow_ones(
    first: list[str], second: list[str], n_blocks: int, n_bits: int, seed: int
) -> None:
    sketch = StreamingDeduplicator(
        0.6, 100_000, n_hashes=12, size=2, seed=seed, n_blocks=n_blocks, n_bits=n_bits
    )
    keys = keys_of(sketch, first + second)
    answers, filters = naive.admit([k for k in keys if k], sketch.bands, n_blocks, n_bits)
    expected = with_empty(keys, answers)
    assert sketch.admit(first).tolist() + sketch.admit(second).tolist() == expected
    blocks = sketch.state["filters"].array
    bits = np.unpackbits(blocks.astype("<u8").view(np.uint8), axis=2, bitorder="little")
    assert [set(zip(*map(np.ndarray.tolist, np.nonzero(b)), strict=True)) for b in bits] == filters
    assert sketch.contains(first + second).tolist() == [k is not None for k in keys]


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(0, 2**64 - 1))
def test_roomy_filters_answer_as_sets_of_keys(documents: list[str], seed: int) -> None:
    sketch = StreamingDeduplicator(0.6, 1000, 1e-9, n_hashes=24, size=2, seed=seed)
    keys = keys_of(sketch, documents)
    expected = with_empty(keys, naive.admit_exactly([k for k in keys if k], sketch.bands))
    assert sketch.admit(documents).tolist() == expected


def test_cuts_and_threads_change_nothing(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    documents = fresh(rng, 3000, 12)
    documents += [documents[i] + " end" for i in rng.integers(0, 3000, 2000).tolist()]
    documents = [documents[i] for i in rng.permutation(5000).tolist()]
    documents[::97] = [""] * len(documents[::97])
    threads(1)
    plain = StreamingDeduplicator(0.7, 4000, 0.01, seed=3)
    is_new = plain.admit(documents)
    assert 1000 < np.count_nonzero(~is_new) < 2000
    monkeypatch.setattr(band_filters, "_KEYS_BLOCK", 1)
    for n_threads, n_bytes in ((1, 1), (2, 5000), (4, 1 << 24)):
        threads(n_threads)
        monkeypatch.setattr(document_bands, "_BYTES", n_bytes)
        again = plain.empty_like()
        parts = [again.admit(documents[a:b]) for a, b in pairwise([0, 1, 700, 700, 3000, 5000])]
        np.testing.assert_array_equal(np.concatenate(parts), is_new)
        assert again == plain
        assert again.contains(documents).sum() == 5000 - len(documents[::97])


def test_inner_keys_are_added_band_by_band() -> None:
    rng = np.random.default_rng(2)
    documents = fresh(rng, 50, 8) * 2 + [""]
    whole = StreamingDeduplicator(0.7, 200)
    is_new = whole.admit(documents)
    parts = whole.empty_like()
    bands = parts.band_keys(documents)
    assert bands.keys.shape == (20, 100) and bands.status.tolist() == [0] * 100 + [1]
    found = [parts.admit_keys(bands.keys[a:b], a) for a, b in ((0, 7), (7, 8), (8, 20))]
    np.testing.assert_array_equal(~bands.spread(np.concatenate(found)), is_new)
    np.testing.assert_array_equal(parts.state["filters"].array, whole.state["filters"].array)
    for keys, first in ((bands.keys[:2], 19), (bands.keys[0], 0), (bands.keys.astype(np.int64), 0)):
        with pytest.raises(ValueError, match=r"^keys must be a uint64 matrix of at most"):
            parts.admit_keys(keys, first)
    with pytest.raises(ValueError, match=r"^first_band must be"):
        parts.admit_keys(bands.keys, 20)


# -- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [0.2, 0.01])
def test_unseen_documents_pass_at_the_stated_rate(error: float) -> None:
    """The filters are filled to their capacity, with random keys as those of unrelated documents are."""
    capacity, n = 4000, 60_000
    sketch = StreamingDeduplicator(0.7, capacity, error, seed=1)
    rng = np.random.default_rng(3)
    sketch.admit_keys(rng.integers(0, 2**64, (20, capacity), dtype=np.uint64))
    expected, now = sketch.expected_false_positive_rate(capacity), sketch.false_positive_rate()
    assert error / 2 < expected <= error
    assert now == pytest.approx(expected, rel=0.15)
    probe = rng.integers(0, 2**64, (20, n), dtype=np.uint64)
    # Keys that are added together see each other, so each band is asked by a copy of the filter in parts.
    found = np.concatenate([sketch.copy().admit_keys(probe[:, i : i + 20]) for i in range(0, n, 20)], axis=1)
    measured = found.any(axis=0).mean()
    assert abs(measured - now) < 6 * math.sqrt(now / n) + 0.01 * now


def test_the_size_is_the_smallest() -> None:
    sketch = StreamingDeduplicator(0.7, 10_000, 1e-4)
    per_band = -math.expm1(math.log1p(-1e-4) / 20)
    assert error_rate(10_000, sketch.n_blocks, sketch.n_bits) <= per_band
    assert all(error_rate(10_000, sketch.n_blocks - 1, n_bits) > per_band for n_bits in range(1, 30))
    assert StreamingDeduplicator.for_error(10_000) == sketch
    assert sketch.expected_false_positive_rate(10_000) <= 1e-4
    assert StreamingDeduplicator().nbytes <= 90 * 1_000_000


def similar_pair(rng: np.random.Generator, similarity: float, n: int) -> tuple[str, str]:
    """Return two documents whose sets of words have the Jaccard similarity, of n words together."""
    words = [f"w{i}" for i in rng.choice(2**40, n, replace=False).tolist()]
    both = round(similarity * n)
    own = (n - both) // 2
    return " ".join(words[: both + own]), " ".join(words[:both] + words[both + own :])


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 0.8, 0.9])
def test_pairs_are_found_with_the_stated_probability(similarity: float) -> None:
    n_pairs, n_words = 1500, 400
    rng = np.random.default_rng(int(100 * similarity))
    pairs = [similar_pair(rng, similarity, n_words) for _ in range(n_pairs)]
    sketch = StreamingDeduplicator(0.7, 2 * n_pairs, 1e-5, size=1, seed=5)
    assert sketch.admit([a for a, _ in pairs]).all()
    found = float(sketch.contains([b for _, b in pairs]).mean())
    stated = float(sketch.removal_probability(similarity))
    # Values of fast similarity sketches agree a little less often than independent ones: see MinHash.
    less = 0.03 if similarity < 0.8 else 0.01
    noise = 6 * math.sqrt(stated * (1 - stated) / n_pairs)
    assert stated - noise - less < found < stated + noise + 1e-3


def word_sets(documents: list[str]) -> list[set[int]]:
    shingles = shingle(documents)
    return [set(shingles.tokens[a:b].tolist()) for a, b in pairwise(shingles.offsets.tolist())]


@pytest.mark.slow
def test_removals_of_real_sources_with_planted_copies() -> None:
    """At least 99 % of exact grouping's removals are found; false ones stay within the bound of the curve."""
    rng = np.random.default_rng(6)
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(folder.glob("*.py"))[:120] + sorted((folder / "encodings").glob("*.py"))[:60]
    documents = [path.read_text(errors="replace") for path in files]
    for i in rng.choice(len(documents), 90, replace=False).tolist():
        words = documents[i].split()
        for k in rng.integers(0, len(words), int(rng.uniform(0, 0.04) * len(words))).tolist():
            words[k] = f"changed{k}"
        documents.append(" ".join(words))
    documents = [documents[i] for i in rng.permutation(len(documents)).tolist()]
    exact = deduplicate(documents, threshold=0.7, n_hashes=256)
    removed = {int(i) for a, b in pairwise(exact.offsets.tolist()) for i in exact.members[a + 1 : b]}
    sketch = StreamingDeduplicator(0.7, 1000)
    found = set(np.flatnonzero(~sketch.admit(documents)).tolist())
    assert len(removed) >= 80 and len(found & removed) >= 0.99 * len(removed)
    # The probability of each false removal is at most the sum over the earlier documents.
    sets, bound, variance = word_sets(documents), 0.0, 0.0
    for i in sorted(set(range(len(documents))) - removed):
        stated = sketch.removal_probability([jaccard(sets[i], earlier) for earlier in sets[:i]] or [0.0])
        chance = min(1.0, float(stated.sum()))
        bound, variance = bound + chance, variance + chance * (1 - chance)
    assert len(found - removed) <= bound + 6 * math.sqrt(variance)


# -- unusual documents ----------------------------------------------------------------------------


def test_copies_and_one_template() -> None:
    sketch = StreamingDeduplicator(0.7, 1000)
    assert sketch.admit(["the same page of text again and again"] * 20_000).sum() == 1
    with warnings.catch_warnings():
        # Copies fill the filters no more than one document does.
        warnings.simplefilter("error")
        sketch.admit(["the same page of text again and again"] * 5000)
    assert sketch.false_positive_rate() < 1e-20
    template = " ".join(f"template{i}" for i in range(200))
    pages = [f"{template} own{i} page{i}" for i in range(500)]
    assert sketch.admit(pages).sum() <= 2


def test_documents_without_shingles_are_never_duplicates() -> None:
    sketch = StreamingDeduplicator(0.7, 1000)
    odd: list[Any] = [b"", b"\n", b" \t ", b""]
    assert sketch.admit(odd).all() and sketch.admit(odd).all() and not sketch.contains(odd).any()
    assert not sketch.state["filters"].array.any() and sketch.n_updates == 8
    assert sketch.admit(["tea", "tea", "Tea!", "cake"]).tolist() == [True, False, False, True]
    # Symbols are words where there are no others, and bad bytes separate words.
    assert sketch.admit([b"?!", b"\xff tea cups", b"?!", b"tea\xfe cups"]).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert sketch.admit([]).shape == (0,) and sketch.contains([]).shape == (0,)


def test_documents_in_every_form() -> None:
    pa, pd = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    texts = ["tea with milk", "cake", "straße", "tea with milk"]
    joined = [text.encode() for text in texts]
    buffer = np.frombuffer(b"".join(joined), np.uint8), np.cumsum([0, *map(len, joined)])
    for form in (texts, tuple(texts), joined, np.array(texts), pa.array(texts), pd.Series(texts), buffer):
        assert StreamingDeduplicator(0.7, 10).admit(form).tolist() == [True, True, True, False]
    for bad in (["a", None], ["a", 1], "text", 3):
        sketch = StreamingDeduplicator(0.7, 10)
        for call in (sketch.admit, sketch.update, sketch.contains, sketch.band_keys):
            with pytest.raises((TypeError, ValueError), match=r"^documents"):
                call(bad)
        assert sketch.n_updates == 0


def test_signatures_are_those_of_the_family() -> None:
    assert MinHash(128, expected_set_size=500).scheme == StreamingDeduplicator().family.scheme


# -- the limits -----------------------------------------------------------------------------------


def test_more_documents_than_the_capacity_warn() -> None:
    rng = np.random.default_rng(8)
    sketch = StreamingDeduplicator(0.7, 400, 0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sketch.update(fresh(rng, 400, 8))
        sketch.contains(fresh(rng, 4000, 8))
    with pytest.warns(
        SaturationWarning, match="had 1,200 documents, more than its capacity of 400"
    ) as caught:
        sketch.update(fresh(rng, 800, 8))
    assert caught[0].filename == __file__
    with pytest.warns(SaturationWarning, match="had 1,600 documents"):
        sketch.merge(sketch.empty_like().update(fresh(rng, 400, 8)))
    full = StreamingDeduplicator(0.7, 10, n_blocks=1, n_bits=1)
    full.admit_keys(rng.integers(0, 2**64, (20, 20_000), dtype=np.uint64))
    assert full.false_positive_rate() == 1.0 and full.contains(["anything"]).all()
    assert full.expected_false_positive_rate(10**9) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0.0}, "^threshold must be above 0"),
        ({"threshold": 1.5}, "^threshold must be a number in"),
        ({"capacity": 0}, "^capacity must be an integer from 1"),
        ({"error_rate": 0.0}, "^error_rate must be"),
        ({"error_rate": 1e-16}, "^error_rate must be at least"),
        ({"capacity": 1 << 40}, "^capacity 1,099,511,627,776 at error_rate 0.0001 needs"),
        ({"n_hashes": 0}, "^n_hashes must be"),
        ({"unit": "line"}, "^unit must be"),
        ({"size": 0}, "^size must be"),
        ({"seed": -1}, "^seed must be"),
        ({"bands": 3}, "takes both bands and rows"),
        ({"n_bits": 3}, "both n_blocks and n_bits"),
        ({"bands": 20, "rows": 7}, "^rows must be an integer from 1 to 6"),
        ({"n_blocks": 1, "n_bits": 64}, "^n_bits must be"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        StreamingDeduplicator(**arguments)


def test_bad_questions_are_named() -> None:
    sketch = StreamingDeduplicator(0.7, 10)
    for similarity in (1.5, [-0.1], [float("nan")], ["a"]):
        with pytest.raises((TypeError, ValueError), match=r"^similarity must"):
            sketch.removal_probability(similarity)
    with pytest.raises(ValueError, match=r"^n_documents must be"):
        sketch.expected_false_positive_rate(-1)
    with pytest.raises(ValueError, match=r"^n_documents must be"):
        StreamingDeduplicator.for_error(0)
