"""Test the cache of important tokens: the naive twin, cuts, merges, and what a budget keeps."""

from __future__ import annotations

import functools
import itertools
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import ImportanceCache, sparse_attention
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from naive import importance_cache as naive
from numpy.typing import NDArray

D, M = 5, 3
FOREVER = 1 << 62
KINDS = ("normal", "one-hot", "grid", "repeats", "constant", "few entries")
SETTINGS: Any = {"max_examples": max(5, settings.default.max_examples // 5), "deadline": None}
CACHES = st.tuples(
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 9),
    st.sampled_from([1, 4, FOREVER]),
    st.sampled_from([None, 4, 8]),
)


def structured(name: str, n: int, seed: int, d: int = D) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    rows = 2.0 * rng.standard_normal((n, d))
    if name == "one-hot":
        rows = np.eye(d)[rng.integers(0, d, n)]
    if name == "grid":
        rows = rng.integers(-1, 2, (n, d)).astype(np.float64)
    if name == "repeats":
        rows = rows[rng.integers(0, min(n, 3), n)] if n else rows
    if name == "constant":
        rows = np.ones((n, d))
    if name == "few entries":
        rows = rows * (rng.random((n, d)) < 0.3)
    return rows.astype(np.float32)


def made(
    drawn: tuple[int, int, int, int, int, int | None], measure: str
) -> tuple[ImportanceCache, naive.Cache]:
    sinks, window, drop, more, history, bits = drawn
    budget = sinks + window + drop + more
    cache = ImportanceCache(
        D, M, budget, sinks=sinks, window=window, drop=drop, measure=measure, history=history, bits=bits
    )
    return cache, naive.Cache(budget, sinks, window, drop, history, measure == "weight")


def assert_same(cache: ImportanceCache, tokens: list[naive.Token]) -> None:
    assert cache.positions.tolist() == [token.position for token in tokens]
    np.testing.assert_array_equal(cache.keys, np.reshape([token.key for token in tokens], (-1, D)))
    np.testing.assert_array_equal(cache.values, np.reshape([token.value for token in tokens], (-1, M)))
    importances = [token.importance for token in tokens]
    np.testing.assert_allclose(cache.importances, importances, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("measure", ["count", "weight"])
@settings(**SETTINGS)
@given(CACHES, st.sampled_from(KINDS), st.integers(0, 30), st.integers(0, 3), st.integers(0, 99))
def test_it_is_its_naive_twin(measure: str, drawn: Any, kind: str, n: int, n_queries: int, seed: int) -> None:
    cache, twin = made(drawn, measure)
    # Without a number of queries, there is one for each token.
    grouped = (n, n_queries) if n_queries else (n,)
    Q = structured(kind, n * max(n_queries, 1), seed).reshape(*grouped, D)
    K = structured(kind, n, seed + 1)
    V = structured("normal", n, seed + 2, M)
    half, added = n // 2, []
    outputs, masses = cache.causal(Q[:half], K[:half], V[:half])
    # Then come tokens without queries, in any order, some of them twice.
    positions = np.random.default_rng(seed).integers(0, 2 * n + 1, n - half) + half
    positions = np.where(np.isin(positions, positions[:3]), positions[0] if n else 0, positions)
    rows = np.array([half + np.flatnonzero(positions == p)[0] for p in positions], int)
    cache.update(K[rows], V[rows], positions)
    if cache.bits is not None:
        K, V = ([naive.rounded(row, cache.bits) for row in rows.tolist()] for rows in (K, V))
        K, V = np.array(K, np.float32).reshape(n, D), np.array(V, np.float32).reshape(n, M)
    for i in range(half):
        added += twin.add(naive.Token(i, K[i].tolist(), V[i].tolist()), Q[i].reshape(-1, D).tolist())
    for i, position in zip(rows, positions.tolist(), strict=True):
        twin.add(naive.Token(position, K[i].tolist(), V[i].tolist()))
    assert_same(cache, twin.tokens)
    assert len(cache) <= cache.budget and cache.n_updates == n
    assert outputs.shape == (half, *grouped[1:], M) and masses.shape == (half, *grouped[1:])
    if half:
        expected = [
            np.array([found[k] for found in added]).reshape(found.shape)
            for k, found in enumerate((outputs, masses))
        ]
        np.testing.assert_allclose(outputs, expected[0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(masses, expected[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("measure", ["count", "weight"])
@settings(**SETTINGS)
@given(
    CACHES,
    st.sampled_from(KINDS),
    st.integers(0, 40),
    st.integers(0, 99),
    st.lists(st.integers(0, 40), max_size=3),
)
def test_a_stream_may_be_cut_anywhere(
    measure: str, drawn: Any, kind: str, n: int, seed: int, cuts: list[int]
) -> None:
    whole, _ = made(drawn, measure)
    K, V = structured(kind, n, seed + 1), structured(kind, n, seed + 2, M)
    Q = structured(kind, n, seed) if seed % 2 else structured(kind, 2 * n, seed).reshape(n, 2, D)
    parts, without = whole.copy(), whole.copy()
    expected = whole.causal(Q, K, V)
    bounds = [0, *sorted(min(cut, n) for cut in cuts), n]
    found = [parts.causal(Q[a:b], K[a:b], V[a:b]) for a, b in itertools.pairwise(bounds)]
    assert parts == whole
    np.testing.assert_array_equal(np.concatenate([part.outputs for part in found]), expected.outputs)
    np.testing.assert_array_equal(np.concatenate([part.log_masses for part in found]), expected.log_masses)
    for a, b in itertools.pairwise(bounds):
        without.update(K[a:b], V[a:b])
    assert without == without.empty_like().update(K, V)


@settings(**SETTINGS)
@given(
    CACHES, st.sampled_from(KINDS), st.lists(st.integers(0, 14), min_size=3, max_size=3), st.integers(0, 9)
)
def test_merging_keeps_the_best_of_the_union(drawn: Any, kind: str, sizes: list[int], seed: int) -> None:
    empty, twin = made(drawn, "count")
    parts, twins, start = [], [], 0
    for i, n in enumerate(sizes):
        Q, K, V = (structured(kind, n, seed + 3 * i + j, (D, D, M)[j]) for j in range(3))
        # The parts are interleaved: part i has the positions i, i + 3, ... The third has two queries a token.
        part = empty.copy()
        part.causal(Q if i < 2 else np.stack([Q, K], axis=1), K, V, np.arange(n) * 3 + i)
        parts.append(part)
        tokens = zip(part.positions, part.keys, part.values, part.importances, strict=True)
        twins.append(naive.Cache(empty.budget, empty.sinks, empty.window, empty.drop, FOREVER, False))
        twins[-1].tokens = [naive.Token(int(p), k.tolist(), v.tolist(), float(c)) for p, k, v, c in tokens]
        start += n
    a, b, c = parts
    merged = a | b | c
    assert_same(merged, twin.merged(*twins))
    assert merged == a | (b | c) == c.copy().merge(a, b) == functools.reduce(operator.or_, [b, c, a])
    assert len(merged) <= empty.budget and merged.n_updates == sum(sizes)
    again = merged | a
    np.testing.assert_array_equal(again.positions, merged.positions)


def test_dropped_tokens_of_one_position_are_not_seen() -> None:
    """The class says that different tokens of one position are refused only where both are still kept."""

    def part(keys: list[float], positions: list[int]) -> ImportanceCache:
        empty = ImportanceCache(1, 1, 4, sinks=0, window=1, drop=1)
        return empty.update(np.array(keys)[:, None], np.ones((len(keys), 1)), positions)

    a, b, c = (
        part([1.0, 2.0, 3.0, 4.0], [0, 1, 2, 3]),
        part([5.0, 6.0, 7.0, 8.0], [4, 5, 6, 7]),
        part([9.0], [0]),
    )
    assert (a | b | c).positions.tolist() == [4, 5, 6, 7]
    with pytest.raises(IncompatibleSketchError, match="got 0 for two tokens"):
        a.merge(c)


@pytest.mark.parametrize("bits", [None, 4])
def test_zeros_have_no_sign(bits: int | None) -> None:
    one, other = (
        ImportanceCache(D, M, 20, bits=bits).update(zero * np.ones((1, D)), zero * np.ones((1, M)))
        for zero in (0.0, -0.0)
    )
    assert one.to_bytes() == other.to_bytes()
    assert (one | other).to_bytes() == (other | one).to_bytes()


def test_two_tokens_of_one_position_are_refused() -> None:
    one = ImportanceCache(D, M, 20).update(structured("normal", 4, 0), structured("normal", 4, 1, M))
    other = ImportanceCache(D, M, 20).update(structured("normal", 4, 2), structured("normal", 4, 3, M))
    before = one.to_bytes()
    with pytest.raises(IncompatibleSketchError, match="got 0 for two tokens"):
        one.merge(other)
    with pytest.raises(ValueError, match="got 3 for two tokens"):
        one.update(np.ones((2, D)), np.ones((2, M)), [9, 3])
    with pytest.raises(ValueError, match="positions must rise, and be above 3"):
        one.causal(np.ones((1, D)), np.ones((1, D)), np.ones((1, M)), [3])
    assert one.to_bytes() == before
    # The same token counts once, with its larger importance.
    twice = one.copy()
    twice.causal(one.keys[:1], one.keys[:1], one.values[:1])
    assert (one | twice).importances.tolist() == twice.importances.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_exact_within_the_budget(kind: str) -> None:
    Q, K, V = structured(kind, 40, 0, 33), structured(kind, 40, 1, 33), structured(kind, 40, 2, M)
    cache = ImportanceCache(33, M, 40, scale=0.7)
    outputs, masses = cache.causal(Q, K, V)
    for i in range(40):
        exact = sparse_attention(Q[i : i + 1], K[: i + 1], V[: i + 1], scale=0.7)
        np.testing.assert_allclose(outputs[i], exact.outputs[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(masses[i], exact.log_masses[0], rtol=1e-12)
    for found, exact in zip(cache.query(Q), sparse_attention(Q, K, V, scale=0.7), strict=True):
        np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("measure", ["count", "weight"])
def test_queries_that_share_keys_add_up(measure: str, kind: str) -> None:
    """While all tokens are kept, importances are the sums of those of a cache for each head of queries."""
    n, n_queries = 40, 3
    Q = structured(kind, n * n_queries, 0).reshape(n, n_queries, D)
    K, V = structured(kind, n, 1), structured(kind, n, 2, M)
    shared = ImportanceCache(D, M, n, measure=measure, history=9)
    outputs, masses = shared.causal(Q, K, V)
    heads = [shared.empty_like() for _ in range(n_queries)]
    alone = [head.causal(Q[:, h], K, V) for h, head in enumerate(heads)]
    np.testing.assert_array_equal(outputs, np.stack([found.outputs for found in alone], axis=1))
    np.testing.assert_array_equal(masses, np.stack([found.log_masses for found in alone], axis=1))
    np.testing.assert_allclose(shared.importances, sum(head.importances for head in heads), rtol=1e-12)
    for found, each in zip(shared.query(Q), zip(*(heads[0].query(q) for q in Q), strict=True), strict=True):
        np.testing.assert_array_equal(found, np.stack(each))
    # A group of one query is the same as no group.
    one = shared.empty_like()
    grouped, plain = one.causal(Q[:, :1], K, V), alone[0]
    assert one == heads[0]
    np.testing.assert_array_equal(grouped.outputs[:, 0], plain.outputs)


def test_a_token_that_one_of_the_heads_looks_at_is_kept() -> None:
    n = 300
    K = np.tile(np.eye(D)[0], (n, 1))
    K[50], K[60], K[70] = np.eye(D)[1], np.eye(D)[2], np.eye(D)[3]
    Q = np.tile(20.0 * np.eye(D)[1:3], (n, 1, 1))
    cache = ImportanceCache(D, D, 32)
    cache.causal(Q, K, K)
    assert {50, 60} <= set(cache.positions.tolist())
    # No head looks at token 70.
    assert 70 not in cache.positions


def test_equal_keys_leave_the_first_and_the_latest_tokens() -> None:
    K = np.ones((100, D))
    # Weights are equal, so none is above their mean, and no token is more important than another.
    cache = ImportanceCache(D, D, 20, sinks=3, window=5, drop=4, measure="count")
    cache.causal(K, K, K)
    assert (cache.importances == 0.0).all()
    n = len(cache)
    assert cache.positions.tolist() == [0, 1, 2, *range(100 - n + 3, 100)]
    assert (
        cache.positions.tolist()
        == ImportanceCache(D, D, 20, sinks=3, window=5, drop=4).update(K, K).positions.tolist()
    )


def test_a_token_that_queries_look_at_is_kept_and_one_that_they_do_not_is_lost() -> None:
    # One-hot keys: each query looks at the keys of its own feature.
    n = 300
    K = np.tile(np.eye(D)[0], (n, 1))
    K[50], K[60] = np.eye(D)[1], np.eye(D)[2]
    Q = np.tile(20.0 * np.eye(D)[1], (n, 1))
    for measure in ("count", "weight"):
        cache = ImportanceCache(D, D, 32, measure=measure)
        cache.causal(Q, K, K)
        assert 50 in cache.positions
        # No query has looked at token 60 yet. The one that does comes too late.
        assert 60 not in cache.positions
        assert cache.query(20.0 * np.eye(D)[2:3]).outputs[0, 2] == 0.0


def test_importance_fades_with_the_history() -> None:
    K = np.tile(np.eye(D)[0], (400, 1))
    K[10], K[200] = np.eye(D)[1], np.eye(D)[2]
    Q = np.repeat(20.0 * np.eye(D)[[1, 2]], 200, axis=0)
    arguments: Any = {"sinks": 0, "window": 1, "drop": 1, "measure": "count"}
    fading = ImportanceCache(D, D, 4, history=5, **arguments)
    lasting = ImportanceCache(D, D, 4, history=FOREVER, **arguments)
    for cache in (fading, lasting):
        cache.causal(Q, K, K)
        assert {10, 200} <= set(cache.positions.tolist())
    assert fading.importances[0] < 1e-9 < 4.9 < fading.importances[1] <= 5.0
    # Query 10 sees token 10 and looks at it, as do the 189 that follow.
    assert lasting.importances[:2].tolist() == [190.0, 200.0]


def test_an_append_only_copy_follows_by_positions() -> None:
    Q, K, V = structured("normal", 90, 0), structured("normal", 90, 1), structured("normal", 90, 2, M)
    cache = ImportanceCache(D, M, 20, window=4)
    held, rows = np.zeros(0, np.int64), np.zeros((0, D), np.float32)
    for i in range(90):
        cache.causal(Q[i : i + 1], K[i : i + 1], V[i : i + 1])
        held, rows = np.append(held, i), np.vstack([rows, K[i : i + 1]])
        if i % 10 == 9:
            stay = np.isin(held, cache.positions)
            held, rows = held[stay], rows[stay]
            np.testing.assert_array_equal(rows, cache.keys)
            assert len(held) <= 20


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_rounded_rows_are_near_the_rows(bits: int, width: int) -> None:
    rows = np.concatenate([structured(kind, 20, 1, width) for kind in KINDS])
    rows = np.concatenate([rows, 1e30 * rows, 1e-30 * rows, 1e-45 * rows, np.full((1, width), 0.1)])
    rows = np.concatenate([rows, np.where(np.arange(width) % 2, 1e38, -1e38)[None]]).astype(np.float32)
    cache = ImportanceCache(width, width, len(rows), sinks=0, window=1, drop=1, bits=bits)
    cache.update(rows, rows[::-1])
    steps = np.ptp(rows.astype(np.float64), axis=1, keepdims=True) / (2**bits - 1)
    # Below the smallest normal number, float32 has only multiples of 1.4e-45, and rows err by some of them.
    room = 0.5001 * steps + 1e-6 * np.abs(rows) + 2**bits * 1.5e-45
    assert (np.abs(cache.keys - rows.astype(np.float64)) <= room).all()
    np.testing.assert_array_equal(cache.values, cache.keys[::-1])
    expected = np.array([naive.rounded(row, bits) for row in rows.tolist()])
    np.testing.assert_array_equal(cache.keys, expected.astype(np.float32))


def test_bits_save_memory() -> None:
    whole = ImportanceCache(64, 64, 1000)
    assert whole.nbytes == 1000 * (4 * 128 + 16) + 8
    assert ImportanceCache(64, 64, 1000, bits=4).nbytes == 1000 * (64 + 32) + 8
    assert ImportanceCache(3, 5, 100, sinks=0, bits=4).nbytes == 100 * (2 + 3 + 32) + 8


def test_an_empty_cache_has_no_attention() -> None:
    cache = ImportanceCache(D, M, 8)
    outputs, masses = cache.query(np.ones((2, D)))
    assert np.isnan(outputs).all() and (masses == -np.inf).all()
    assert cache.causal(np.ones((0, D)), np.ones((0, D)), np.ones((0, M))).outputs.shape == (0, M)
    assert len(cache) == 0 and cache.keys.shape == (0, D)


def test_bad_arguments_are_refused() -> None:
    for arguments, message in (
        ({"budget": 5}, r"sinks \+ window \+ drop must be at most the budget of 5, got 4 \+ 1 \+ 1"),
        ({"budget": 1 << 31}, r"budget \* \(n_features \+ n_values\) must be at most"),
        ({"window": 0}, "window must be an integer from 1"),
        ({"drop": 0}, "drop must be an integer from 1"),
        ({"measure": "sum"}, "measure must be one of 'weight', 'count'"),
        ({"history": 0}, "history must be an integer from 1"),
        ({"bits": 3}, "bits must be one of 4, 8, got 3"),
        ({"scale": 0.0}, "scale must be a number in"),
        ({"scale": 1e100}, "scale must be a number in"),
    ):
        with pytest.raises(ValueError, match=message):
            ImportanceCache(**{"n_features": D, "n_values": M, "budget": 20, **arguments})
    cache, K, V = ImportanceCache(D, M, 8), np.ones((5, D)), np.ones((5, M))
    for call, message in (
        (lambda: cache.causal(K[:4], K, V), "Q must have 5 rows, one for each row of K, got 4"),
        (lambda: cache.causal(np.ones((4, 2, D)), K, V), "Q must have 5 rows, one for each row of K, got 4"),
        (lambda: cache.causal(np.ones((5, 0, D)), K, V), r"at least one query for each token, got .* \(5, 0"),
        (lambda: cache.causal(np.ones((5, 2, 1)), K, V), "Q must have 5 columns, got 1"),
        (lambda: cache.query(np.full((5, 2, D), np.nan)), "Q must be finite"),
        (
            lambda: cache.query(np.ones((1, 1, 1, D))),
            r"Q must have shape \(n, 5\) or \(n, n_queries, 5\), got 4-D",
        ),
        (lambda: cache.causal(K, K, V[:4]), "V must have 5 rows, one for each row of K, got 4"),
        (lambda: cache.causal(1e300 * K, K, V), r"Q must be at most 1e\+38 in magnitude, got 1e\+300"),
        (lambda: cache.causal(K, K, V, [0, 1, 3, 2, 4]), "positions must rise, and be above -1"),
        (lambda: cache.update(K, V, np.arange(5) + 2**62), "positions must be from 0 to"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="Q must hold real numbers, got dtype object"):
        cache.causal(None, K, V)
    # Places are those in the array that the caller has.
    Q = np.ones((5, 3, D))
    Q[2, 1, 4] = np.nan
    for call in (lambda: cache.causal(Q, K, V), lambda: cache.query(Q)):
        with pytest.raises(ValueError, match=r"Q must be finite, got nan at index \(2, 1, 4\)"):
            call()
    assert cache == cache.empty_like()


def test_files_with_impossible_tokens_are_refused() -> None:
    cache = ImportanceCache(D, M, 8, sinks=0)
    cache.causal(*(structured("normal", 6, i, (D, D, M)[i]) for i in range(3)))
    in_bits = ImportanceCache(D, M, 8, bits=4)
    in_bits.update(cache.keys, cache.values)
    for forged, name, place, value in (
        (in_bits, "keys_ranges", (0, 0), 3e38),
        (in_bits, "keys_ranges", (0, 1), -1.0),
        (in_bits, "values_ranges", (1, 1), 1e38),
        (in_bits, "values_ranges", (7, 0), 1.0),
        (in_bits, "keys", (7, 0), 1),
        (cache, "positions", 2, 1),
        (cache, "positions", 7, 9),
        (cache, "positions", 0, -1),
        (cache, "positions", 5, 1 << 62),
        (cache, "keys", (0, 0), np.nan),
        (cache, "values", (7, 0), 1.0),
        (cache, "importances", 1, -1.0),
        (cache, "importances", 7, 1.0),
        (cache, "n_updates", 0, 5),
    ):
        forged = forged.copy()
        forged._arrays[name][place] = value
        with pytest.raises(SketchFormatError, match=name):
            ImportanceCache.from_bytes(forged.to_bytes())
