"""Test page bounds: the naive twin, the bound, batches, merges, and the selection of tokens with them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mergesketch import PageBounds, sparse_attention, top_tokens
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from naive import page_bounds as naive
from numpy.typing import NDArray

FEW = settings(max_examples=20)
LARGEST = float(np.finfo(np.float32).max)


def numbers(largest: float = 1e30) -> st.SearchStrategy[float]:
    """Return numbers of float64 whose products are normal, and simple ones, which are often equal."""
    sizes = st.floats(1e-30, largest)
    return st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1]) | sizes | sizes.map(lambda x: -x)


@st.composite
def contexts(draw: st.DrawFn) -> tuple[PageBounds, NDArray[np.float64]]:
    d, n = draw(st.sampled_from([1, 2, 3, 33])), draw(st.integers(0, 11))
    K = draw(arrays(np.float64, (n, d), elements=numbers(), fill=st.sampled_from([0.0, -1.0])))
    return PageBounds(d, draw(st.integers(1, 5))), K


@FEW
@given(contexts(), st.data())
def test_it_is_its_naive_twin_and_bounds_every_product(
    context: tuple[PageBounds, NDArray[np.float64]], data: st.DataObject
) -> None:
    bounds, K = context
    d = bounds.n_features
    Q = data.draw(arrays(np.float64, (2, d), elements=numbers(), fill=st.sampled_from([0.0, 1.0])))
    bounds.update(K)
    pages = naive.pages(K.tolist(), bounds.page_size)[: bounds.n_pages]
    assert bounds.n_pages == -(-len(K) // bounds.page_size) and len(bounds) == bounds.n_updates == len(K)
    scores = bounds.page_scores(Q)
    for p, page in enumerate(pages):
        low, high = naive.bounds(page)
        ours = [bounds._arrays[name][p].astype(np.float64) for name in ("lows", "highs")]
        # Bounds are rounded away from the inside, by one step of float32 at the most.
        assert (ours[0] <= low).all() and (ours[1] >= high).all()
        for found, exact, outwards in ((ours[0], low, -np.inf), (ours[1], high, np.inf)):
            near = np.array(exact).astype(np.float32)
            assert ((found == near) | (found == np.nextafter(near, np.float32(outwards)))).all()
        for i, q in enumerate(Q):
            score = Fraction(float(scores[i, p]))
            assert all(score >= naive.product(q.tolist(), row) for row in page)
            assert all(scores[i, p] >= q @ np.array(row) for row in page)
            # Nor is it above the bound of the twin by more than roundings.
            size = sum(abs(Fraction(float(x))) * Fraction(float(max(map(abs, y)))) for x, y in
                       zip(q, zip(*ours, strict=True), strict=True))  # fmt: skip
            twin = naive.bound(q.tolist(), *(side.tolist() for side in ours))
            assert 0 <= score - twin <= (2 * d + 8) * size * Fraction(2) ** -52
    assert bounds.scores(Q).tolist() == [
        [row[t // bounds.page_size] for t in range(len(K))] for row in scores
    ]


@FEW
@given(contexts(), st.data())
def test_batches_and_merges_give_the_state_of_the_whole(
    context: tuple[PageBounds, NDArray[np.float64]], data: st.DataObject
) -> None:
    empty, K = context
    size, whole = empty.page_size, empty.copy().update(K)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(K)), max_size=4)))
    parts = empty.copy()
    for rows in np.split(K, cuts):
        before = parts.copy()
        parts.update(rows)
        assert before == empty.copy().update(K[: len(before)])
    assert parts == whole and parts.to_bytes() == whole.to_bytes()
    assert mergesketch.from_bytes(whole.to_bytes()).update(K) == parts.update(K)
    at = [size * (cut // size) for cut in cuts]
    found = sum(empty.copy().update(rows) for rows in np.split(K, at))
    assert found == whole and found.to_bytes() == whole.to_bytes()
    # A context can be merged with itself, and goes on where the last page ends.
    pages = K[: len(K) // size * size]
    twice = empty.copy().update(pages)
    twice.merge(twice, empty).update(K)
    assert twice == empty.copy().update(np.concatenate([pages, pages, K]))


def test_only_contexts_of_whole_pages_are_followed_by_others() -> None:
    K = np.random.default_rng(0).standard_normal((20, 3))
    empty = PageBounds(3, 8)
    whole, part = empty.copy().update(K[:16]), empty.copy().update(K[16:])
    assert whole | part == empty.copy().update(K)
    assert part | empty == part == empty | part
    for first, others in ((part, [whole]), (whole, [part, whole]), (empty.copy(), [part, part])):
        before = first.copy()
        with pytest.raises(IncompatibleSketchError, match="a context of 4 keys ends with 4 in a page of 8"):
            first.merge(*others)
        assert first == before
    for other in (PageBounds(3), PageBounds(4, 8), mergesketch.VectorCodes(3)):
        with pytest.raises(IncompatibleSketchError, match=r"page_size|n_features|expected a PageBounds"):
            whole.merge(other)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", ["one-hot", "constant", "repeats", "few entries"])
def test_bounds_hold_and_are_reached_on_structured_keys(rows: str) -> None:
    rng, n, d = np.random.default_rng(1), 100, 40
    K = {
        "one-hot": np.eye(d)[rng.integers(0, d, n)],
        "constant": np.full((n, d), 0.1),
        "repeats": np.repeat(rng.standard_normal((20, d)), 5, axis=0),
        "few entries": rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.1),
    }[rows]
    bounds, Q = PageBounds(d, 5).update(K), rng.standard_normal((9, d))
    assert (bounds.scores(Q) >= Q @ K.T).all()
    np.testing.assert_array_equal(
        PageBounds(d, 5).update(scipy.sparse.csr_array(K)).scores(Q), bounds.scores(Q)
    )
    if rows in ("constant", "repeats"):
        np.testing.assert_allclose(bounds.scores(Q), Q @ K.T, rtol=1e-5, atol=1e-5)
    if rows == "one-hot":
        largest = np.maximum(Q @ K.T, 0.0).reshape(9, 20, 5)
        assert (bounds.page_scores(Q) >= largest.max(axis=2)).all()


def test_results_do_not_depend_on_threads() -> None:
    rng = np.random.default_rng(2)
    K, Q = rng.standard_normal((3000, 33)), rng.standard_normal((7, 33))
    bounds = PageBounds(33, 1).update(K)
    before = mergesketch.get_num_threads()
    found = []
    try:
        for n in (1, 2):
            mergesketch.set_num_threads(n)
            found.append(bounds.page_scores(Q))
    finally:
        mergesketch.set_num_threads(before)
    np.testing.assert_array_equal(*found)
    # A page of one key is its product, but for float32 and the rounding.
    np.testing.assert_allclose(found[0], Q @ K.T, rtol=1e-5, atol=1e-5)


@FEW
@given(st.lists(st.integers(-1, 3), max_size=5), st.integers(16, 20))
def test_tokens_of_pages(pages: list[int], n: int) -> None:
    bounds = PageBounds(1, 5).update(np.ones((n, 1)))
    expected = naive.tokens(pages, 5, n)
    assert bounds.tokens(np.array(pages, np.int32)).tolist() == expected
    assert bounds.tokens(np.array([pages, pages], np.int64)).tolist() == [expected, expected]
    assert bounds.tokens(np.empty((0, len(pages)), np.int64)).shape == (0, 5 * len(pages))


def test_no_queries_have_no_tokens() -> None:
    K, Q = np.ones((9, 4)), np.zeros((0, 4))
    bounds = PageBounds(4, 4).update(K)
    tokens = bounds.tokens(top_tokens(bounds.page_scores(Q), 2))
    assert tokens.shape == (0, 8) and sparse_attention(Q, K, K, tokens).outputs.shape == (0, 4)


def test_steps_of_decoding_select_what_the_whole_context_selects() -> None:
    rng, d = np.random.default_rng(3), 8
    K, V = rng.standard_normal((2, 70, d))
    Q, bounds = K + 0.1, PageBounds(d, 4).update(K[:37])
    for t in range(37, 70):
        bounds.update(K[t : t + 1])
        pages = top_tokens(bounds.page_scores(Q[t : t + 1]), 6, sinks=1, window=2)
        tokens = bounds.tokens(pages)
        assert t in tokens and set(tokens[tokens >= 0].tolist()) <= set(range(t + 1))
        if (t + 1) % 4 == 0:
            # Scores of tokens select the same pages, if all are whole.
            few = top_tokens(bounds.page_scores(Q[t : t + 1]), 5)
            assert (bounds.tokens(few) == top_tokens(bounds.scores(Q[t : t + 1]), 20)).all()
        found = sparse_attention(Q[t : t + 1], K, V, tokens)
        chosen = tokens[tokens >= 0]
        expected = sparse_attention(Q[t : t + 1], K[chosen], V[chosen])
        np.testing.assert_allclose(found.outputs, expected.outputs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: b.update([[1.0, np.nan]]), "K must be finite"),
        (lambda b: b.update([[1.0]]), "K must have 2 columns, got 1"),
        (lambda b: b.update([[1.0, -1e39]]), "K must lie within the range of float32, up to 3.4"),
        (lambda b: b.update([["a", "b"]]), "K must hold real numbers"),
        (lambda b: b.page_scores([[1.0, np.inf]]), "Q must be finite"),
        (lambda b: b.scores([[1.0, 1e39]]), "Q must lie within the range of float32, got 1e"),
        (lambda b: b.scores([1.0, 2.0]), "Q must be a matrix"),
        (lambda b: b.tokens([2]), "pages must be from -1 to 1, got 2 to 2"),
        (lambda b: b.tokens([-2]), "pages must be from -1 to 1"),
        (lambda b: b.tokens([0.0]), "pages must be integers"),
        (lambda b: b.tokens([True]), "pages must be integers"),
        (lambda b: b.tokens(0), "pages must have one or two dimensions"),
        (lambda b: PageBounds(0), "n_features must"),
        (lambda b: PageBounds(2, 0), "page_size must"),
        (lambda b: PageBounds(2, 1 << 17), "page_size must"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(call: Any, message: str) -> None:
    bounds = PageBounds(2, 2).update([[1.0, 2.0], [0.0, LARGEST], [-LARGEST, 0.0]])
    before = bounds.to_bytes()
    with pytest.raises((TypeError, ValueError), match=message):
        call(bounds)
    assert bounds.to_bytes() == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_keys": np.array([9])}, "lows and highs must have the shape"),
        ({"n_keys": np.array([-1])}, "n_keys"),
        ({"n_keys": np.array([4, 4])}, "n_keys"),
        ({"lows": np.full((2, 2), 9.0, np.float32)}, "no low above its high"),
        ({"highs": np.full((2, 2), np.inf, np.float32)}, "must be finite"),
        ({"highs": np.ones((3, 2), np.float32)}, "must have the shape"),
    ],
)
def test_forged_files_are_refused(changed: dict[str, NDArray[Any]], message: str) -> None:
    bounds = PageBounds(2, 2).update(np.ones((4, 2)))
    bounds._set_arrays({**bounds._arrays, **changed})
    with pytest.raises(SketchFormatError, match=message):
        PageBounds.from_bytes(bounds.to_bytes())
