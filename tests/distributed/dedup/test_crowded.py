"""Test that crowded buckets lose no pair, that stars are stars, and which documents are kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.distributed import Deduplication, deduplicate
from mergesketch.distributed.dedup import banding, crowded, exact, grouping
from mergesketch.distributed.dedup.comparing import FetchedSets, FetchedSignatures
from mergesketch.lsh import MinHash, shingle
from naive import dedup as naive
from naive.dedup import contained
from naive.minhash import jaccard
from night import NUMBERS_OF_RANKS
from ranks import Ranks, needs_mpi


def templated(n: int, n_planted: int, *, own: int = 42, shared: int = 9) -> list[str]:
    """Return pages of one template, the last of which share further words with the first ones."""
    rng = np.random.default_rng(n)
    template = [f"t{i}" for i in range(160)]
    own_words = [[f"w{x}" for x in rng.integers(0, 10**9, own)] for _ in range(n - n_planted)]
    for first in range(n_planted):
        further = [f"w{x}" for x in rng.integers(0, 10**9, own - shared)]
        own_words.append(own_words[first][:shared] + further)
    return [" ".join(template + words) for words in own_words]


def sets_of(texts: list[str], size: int = 5) -> list[set[int]]:
    shingles = shingle(texts, size=size)
    return [set(shingles.tokens[a:b].tolist()) for a, b in pairwise(shingles.offsets.tolist())]


def pairs_of(result: Deduplication) -> set[tuple[int, int]]:
    return set(map(tuple, result.pairs.tolist()))


@pytest.fixture
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make buckets crowded, blocks full and rounds short with a few documents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(banding, "BUCKET_LIMIT", 2)
        patch.setattr(crowded, "BUCKET_LIMIT", 2)
        for module in (crowded, grouping):
            patch.setattr(module, "BLOCK", 3)
            patch.setattr(module, "ROUND_WORDS", 40)
        patch.setattr(exact, "ROUND_SHINGLES", 30)
        yield


def naive_result(texts: list[str], **options: Any) -> dict[str, Any]:
    """Return what `deduplicate` must find, from signatures of distinct sets and comparisons of all sets."""
    threshold, n_hashes, verify = options["threshold"], options["n_hashes"], options["verify"]
    shingles = shingle(texts, size=1)
    values = MinHash(n_hashes, expected_set_size=500).signatures((shingles.tokens, shingles.offsets))
    bags = [tuple(sorted(shingles.tokens[a:b])) for a, b in pairwise(shingles.offsets.tolist())]
    original = [bags.index(bag) for bag in bags]
    alone = [i for i in range(len(texts)) if original[i] == i and bags[i]]
    weight = 0.5 if verify == "none" else 0.98
    bands, rows = banding.band_parameters(threshold, n_hashes, false_negative_weight=weight)

    def similarity(i: int, j: int) -> float:
        if original[i] == original[j]:
            return 1.0
        if verify == "exact":
            return jaccard(set(bags[i]), set(bags[j]))
        return float("nan") if verify == "none" else float(np.float32((values[i] == values[j]).mean()))

    shared = naive.candidates(values[alone].tolist(), bands, rows)
    near = {(alone[i], alone[j]): similarity(alone[i], alone[j]) for i, j in shared}
    limit = np.float32(threshold) if verify == "signature" else threshold
    near = {pair: s for pair, s in near.items() if not s < limit}
    copies = [(original[i], i) for i in range(len(texts)) if original[i] != i and bags[i]]
    roots = naive.components([*near, *copies])
    scores = options["scores"]
    order = sorted(range(len(texts)), key=lambda i: (-scores[i], -i if options["last"] else i))
    kept = {}
    for root in set(roots.values()):
        group = [i for i in order if roots.get(i, i) == root]
        if options["grouping"] == "star":
            kept |= naive.stars(group, lambda c, i: similarity(c, i) >= limit)
        else:
            kept |= dict.fromkeys(group, group[0])
    duplicate_of = [kept.get(i, i) for i in range(len(texts))]
    return {
        "pairs": set(near),
        "duplicate_of": duplicate_of,
        "similarity": [1.0 if i == k else similarity(k, i) for i, k in enumerate(duplicate_of)],
        "is_copy": [i != k and original[i] == original[k] for i, k in enumerate(duplicate_of)],
    }


documents = st.lists(
    st.one_of(
        st.text("abcdefgh ", max_size=12).map(" ".join),
        st.sampled_from(["a b c d e f g", "a b c d e f h", "a b c d x y z", "q r s t"]),
        # A template with some words of its own.
        st.text("stuvwxyz", max_size=3).map(lambda own: "a b c d e f g h i j k l " + " ".join(own)),
    ),
    max_size=30,
)


@pytest.mark.usefixtures("small_buckets")
@settings(max_examples=150, deadline=None)
@given(
    texts=documents,
    threshold=st.sampled_from([0.3, 0.5, 0.75, 1.0]),
    verify=st.sampled_from(["exact", "signature", "none"]),
    star=st.booleans(),
    keep=st.sampled_from(["first", "last", "longest", "scores"]),
    every=st.booleans(),
    data=st.data(),
)
def test_against_brute_force(
    texts: list[str], threshold: float, verify: str, star: bool, keep: str, every: bool, data: st.DataObject
) -> None:
    kind = "star" if star and verify != "none" else "connected"
    scores: list[float] = [0.0] * len(texts)
    if keep == "longest":
        scores = [len(text) for text in texts]
    elif keep == "scores":
        scores = [data.draw(st.sampled_from([-1.0, 0.5, 3.0])) for _ in texts]
    expected = naive_result(
        texts,
        threshold=threshold,
        n_hashes=16,
        verify=verify,
        grouping=kind,
        scores=scores,
        last=keep == "last",
    )
    result = deduplicate(
        texts,
        threshold=threshold,
        n_hashes=16,
        size=1,
        verify=verify,
        grouping=kind,
        pairs="all" if every else "groups",
        keep=scores if keep == "scores" else keep,
    )
    if every:
        assert pairs_of(result) == expected["pairs"] and len(result.pairs) == len(expected["pairs"])
    else:
        assert pairs_of(result) <= expected["pairs"]
    assert result.duplicate_of.tolist() == expected["duplicate_of"]
    np.testing.assert_array_equal(result.similarity, np.float32(expected["similarity"]))
    assert result.is_copy.tolist() == expected["is_copy"]
    check_consistent(result, len(texts))


def check_consistent(result: Deduplication, n: int) -> None:
    """The views of one result agree: groups, kept documents and marks."""
    assert result.ids.tolist() == list(range(n))
    assert (result.keep == (result.duplicate_of == result.ids)).all()
    assert result.n_duplicates == (~result.keep).sum()
    members = [result.members[a:b].tolist() for a, b in pairwise(result.offsets.tolist())]
    assert len(members) == result.n_groups == len(result.kept)
    at = 0
    for group, kept in zip(members, result.kept.tolist(), strict=True):
        assert group == sorted(group) and len(group) > 1 and kept in group
        assert group == np.flatnonzero(result.duplicate_of == kept).tolist()
        part = result.member_similarity[at : at + len(group)]
        np.testing.assert_array_equal(part, result.similarity[group])
        at += len(group)
    assert [group[0] for group in members] == sorted(group[0] for group in members)
    # Everything that is in no group is kept, and is its own.
    assert sum(map(len, members)) == n - (result.keep.sum() - result.n_groups)


@pytest.mark.slow
@pytest.mark.parametrize("verify", ["exact", "signature"])
def test_pages_of_one_template(verify: str) -> None:
    """The candidate curve holds: unrelated pages at 0.65, planted pairs just above 0.7."""
    n, n_planted = 600, 200
    texts = templated(n, n_planted)
    sets = sets_of(texts)
    planted = [(i, n - n_planted + i) for i in range(n_planted)]
    s = jaccard(sets[0], sets[n - n_planted])
    assert jaccard(sets[1], sets[2]) < 0.66 and 0.7 <= s < 0.72
    result = deduplicate(texts, verify=verify, pairs="all")
    probability = float(banding.candidate_probability(np.array([s]), result.bands, result.rows)[0])
    found = len(pairs_of(result) & set(planted))
    if verify == "exact":
        assert found >= n_planted * probability - 6 * np.sqrt(n_planted * probability * (1 - probability))
        # Nothing is missed among the pairs that share a band, and nothing else is there.
        shingles = shingle(texts)
        values = MinHash(128, expected_set_size=500).signatures((shingles.tokens, shingles.offsets))
        shared = naive.candidates(values.tolist(), result.bands, result.rows)
        assert pairs_of(result) == {p for p in shared if jaccard(sets[p[0]], sets[p[1]]) >= 0.7}
    of_groups = deduplicate(texts, verify=verify)
    assert of_groups.duplicate_of.tolist() == result.duplicate_of.tolist()
    assert result.n_uncompared == of_groups.n_uncompared == 0


def test_a_budget_counts_what_it_leaves_out() -> None:
    texts = templated(300, 0)
    sizes = []
    with pytest.MonkeyPatch.context() as patch:
        compare = crowded._compare_all
        patch.setattr(crowded, "_compare_all", lambda *a: sizes.append(a[1]) or compare(*a))
        with pytest.warns(UserWarning, match="in large buckets were not compared"):
            result = deduplicate(texts, threshold=0.6, pairs="all", max_comparisons=0)
    assert result.n_uncompared == sum(n * (n - 1) // 2 for n in sizes) > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        every = deduplicate(texts, threshold=0.6, pairs="all")
    # This is enough to compare the first 64 documents of any bucket with all others.
    budget = 64 * (max(sizes) - 1) - 64 * 63 // 2
    assert budget < max(sizes) * (max(sizes) - 1) // 2
    with pytest.warns(UserWarning, match="max_comparisons"):
        some = deduplicate(texts, threshold=0.6, pairs="all", max_comparisons=budget)
    assert 0 < some.n_uncompared < result.n_uncompared
    assert pairs_of(result) < pairs_of(some) < pairs_of(every)


def test_a_chain_does_not_swallow_a_corpus() -> None:
    """Each text shares most words with the next one; the ends have none in common."""
    words = [f"w{i}" for i in range(400)]
    texts = [" ".join(words[i : i + 40]) for i in range(0, 360, 4)]
    chained = deduplicate(texts, threshold=0.5)
    assert chained.n_groups == 1 and chained.n_duplicates == len(texts) - 1
    assert chained.similarity.min() == 0.0
    for keep in ("first", "last"):
        stars = deduplicate(texts, threshold=0.5, grouping="star", keep=keep)
        assert stars.n_groups > 10 and stars.similarity.min() >= 0.5
        sets = sets_of(texts)
        kept = np.flatnonzero(stars.keep).tolist()
        assert all(jaccard(sets[a], sets[b]) < 0.5 for a, b in combinations(kept, 2))


@settings(max_examples=100, deadline=None)
@given(
    sets=st.lists(
        st.one_of(
            st.sets(st.integers(0, 30), min_size=1),
            st.sets(st.integers(0, 4), max_size=4).map(lambda own: set(range(100, 130)) | own),
        ),
        min_size=1,
        max_size=70,
    ),
    threshold=st.sampled_from([0.1, 0.5, 2 / 3, 0.9, 1.0]),
    of_smaller=st.booleans(),
    data=st.data(),
)
def test_blocks_find_the_similar_sets(
    sets: list[set[int]], threshold: float, of_smaller: bool, data: st.DataObject
) -> None:
    """Bounds refuse no pair that is similar, with groups and without."""
    n = len(sets)
    # Hashes are spread over 64 bits, and their order is not that of the elements.
    hashed = [np.sort(np.array(list(s), np.uint64) * np.uint64(0x9E3779B97F4A7C15)) for s in sets]
    sizes = np.array(list(map(len, sets)))
    documents = FetchedSets(np.concatenate(hashed), sizes, of_smaller=of_smaller)
    similar = contained if of_smaller else jaccard
    chosen = np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=64)), dtype=np.int64)
    groups = np.array(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)), dtype=np.int64)
    rows, every = np.arange(n), np.arange(n)
    hits = documents.block(rows, threshold).hits(chosen, every, rows)
    grouped = documents.block(rows, threshold).hits(chosen, groups, rows)
    for j in range(n):
        near = [b for b, i in enumerate(chosen) if i != j and similar(sets[i], sets[j]) >= threshold]
        assert [b for b in range(len(chosen)) if int(hits[j]) >> b & 1] == near
        first = {}
        for b in near:
            if groups[chosen[b]] != groups[j]:
                first.setdefault(int(groups[chosen[b]]), b)
        assert [b for b in range(len(chosen)) if int(grouped[j]) >> b & 1] == sorted(first.values())
    left, right = np.divmod(np.arange(n * n), n)
    expected = [similar(sets[i], sets[j]) for i, j in zip(left, right, strict=True)]
    np.testing.assert_array_equal(documents.compare(left, right), expected)


def test_blocks_of_long_sets_and_of_signatures() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**64, 30_000, dtype=np.uint64)
    sets = [
        np.unique(np.append(base[: 20_000 + 500 * i], rng.integers(0, 2**64, 900 * i, np.uint64)))
        for i in range(12)
    ]
    documents = FetchedSets(np.concatenate(sets), np.array(list(map(len, sets))))
    rows = np.arange(12)
    pairs = np.array(list(combinations(range(12), 2)))
    similarity = documents.compare(pairs[:, 0], pairs[:, 1])
    expected = [jaccard(set(sets[a].tolist()), set(sets[b].tolist())) for a, b in pairs]
    np.testing.assert_array_equal(similarity, expected)
    for threshold in sorted(similarity)[::13]:
        hits = documents.block(rows, threshold).hits(rows, rows, rows)
        found = [bool(int(hits[b]) >> int(a) & 1) for a, b in pairs]
        assert found == [s >= threshold for s in expected]
    values = rng.integers(0, 3, (40, 10), dtype=np.uint32)
    fetched = FetchedSignatures(values)
    rows = np.arange(40)
    for threshold in (0.1, 0.3, 0.7):
        hits = fetched.block(rows, threshold).hits(rows, rows, rows)
        for a, b in combinations(range(40), 2):
            estimate = np.float32((values[a] == values[b]).mean())
            assert bool(int(hits[b]) >> a & 1) == (estimate >= np.float32(threshold))
            assert fetched.compare(rows[[a]], rows[[b]])[0] == estimate


RANKS = """
import numpy as np
from mergesketch.distributed import communicator, deduplicate
from mergesketch.distributed.dedup import banding, crowded, grouping

comm = communicator()
rng = np.random.default_rng(5)
template = [f"t{i}" for i in range(30)]
own = [[f"w{x}" for x in rng.integers(0, 40, 4)] for _ in range(120)]
texts = [" ".join(template[: rng.integers(5, 30)] + words) for words in own]
texts += ["", "one text"] + texts[:15]
bounds = [len(texts) * i // comm.size for i in range(comm.size + 1)]
mine = texts[bounds[comm.rank] : bounds[comm.rank + 1]]
scores = np.array([len(text) % 7 for text in mine])
for limit in (2, 64):
    banding.BUCKET_LIMIT = crowded.BUCKET_LIMIT = limit
    grouping.BLOCK = crowded.BLOCK = 5 if limit == 2 else 64
    crowded.ROUND_WORDS = grouping.ROUND_WORDS = 100 if limit == 2 else 1 << 21
    for verify, kind, pairs, keep in (
        ("exact", "connected", "groups", "last"),
        ("exact", "star", "all", scores),
        ("signature", "star", "groups", "first"),
        ("signature", "connected", "all", "longest"),
    ):
        result = deduplicate(mine, threshold=0.4, size=2, n_hashes=32, verify=verify, grouping=kind,
                             pairs=pairs, keep=keep)
        names = ("ids", "keep", "duplicate_of", "similarity", "is_copy")
        columns = [sum(comm.allgather(getattr(result, name).tolist()), []) for name in names]
        found = sorted(sum(comm.allgather(result.pairs.tolist()), [])) if pairs == "all" else 0
        if comm.rank == 0:
            print(limit, columns, result.members.tolist(), result.offsets.tolist(),
                  result.kept.tolist(), result.member_similarity.tolist(), found)
"""


@pytest.mark.slow
@needs_mpi
def test_any_number_of_ranks_keeps_the_same(ranks: Ranks) -> None:
    expected = None
    for n_ranks in NUMBERS_OF_RANKS:
        ran = ranks.run(n_ranks, RANKS)
        assert ran.returncode == 0, ran.stderr
        expected = expected or ran.stdout[0]
        assert ran.stdout[0] == expected
    lines = [line.split(" ", 1)[1] for line in expected.splitlines()]
    # The size of buckets that are listed changes nothing.
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grouping": "chain"}, "grouping must be one of 'connected', 'star', got 'chain'"),
        ({"grouping": "star", "verify": "none"}, 'verify must be "exact" or "signature"'),
        ({"pairs": "some"}, "pairs must be one of 'groups', 'all', got 'some'"),
        ({"max_comparisons": -1}, "max_comparisons must be an integer of at least 0, got -1"),
        ({"keep": "any"}, "keep must be one of 'first', 'last', 'longest', 'best', got 'any'"),
        ({"keep": [1.0]}, r"keep must be a number for each of the 2 documents, got shape \(1,\)"),
        ({"keep": ["a", "b"]}, "keep must hold real numbers"),
        ({"keep": "best"}, "needs a source whose batches have scores"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        deduplicate(["a b c", "d e f"], **arguments)
