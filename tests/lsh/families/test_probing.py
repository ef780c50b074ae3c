"""Test multi-probe codes: order and completeness, success against theory, invariances."""

from __future__ import annotations

import itertools
import math

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch.lsh import MinHash, PStable, SignedRandomProjection
from mergesketch.lsh.kernels import probing
from mergesketch.lsh.kernels import probing as probing_kernels
from naive import probing as naive
from scipy.special import ndtr

FAMILIES = {
    "gaussian": lambda d, h, **k: SignedRandomProjection(d, h, **{"power": 6, **k}),
    "hadamard": lambda d, h, **k: SignedRandomProjection(d, h, projection="hadamard", **{"power": 6, **k}),
    "sparse": lambda d, h, **k: SignedRandomProjection(d, h, projection="sparse", **{"power": 6, **k}),
    "rehashed": lambda d, h, **k: SignedRandomProjection(d, h, n_buckets=1001, **{"power": 6, **k}),
    "l2": lambda d, h, **k: PStable(d, h, **{"power": 4, "width": 4.0, **k}),
    "l1": lambda d, h, **k: PStable(d, h, p=1, **{"power": 4, "width": 16.0, **k}),
}
every_family = pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES.keys())


def no_keys() -> np.ndarray:
    return np.empty(0, dtype=np.uint64)


# -- the order, against all there are ---------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    products=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 3)),
        # Small integers make ties, and 0 makes a bit that is set although nothing decides it.
        elements=st.integers(-3, 3).map(float) | st.floats(-100, 100, width=32),
    ),
    data=st.data(),
)
def test_bits_flip_in_the_order_of_their_squared_products(products: np.ndarray, data: st.DataObject) -> None:
    n, power, n_hashes = products.shape
    n_probes = data.draw(st.integers(1, 2**power))
    out = np.empty((n, n_hashes, n_probes), dtype=np.uint32)
    probing.probe_signs(products.reshape(n, -1), n_hashes, power, no_keys(), np.uint64(0), out)
    for i in range(n):
        for h in range(n_hashes):
            every = naive.probed_bits(products[i, :, h].astype(float).tolist())
            scores = {code: score for score, code in every}
            probes = out[i, h].tolist()
            assert len(set(probes)) == n_probes
            assert [scores[code] for code in probes] == pytest.approx([s for s, _ in every[:n_probes]])
            # Equal scores may come in any order, but the query's own bucket comes first.
            assert probes[0] == sum(1 << k for k in range(power) if products[i, k, h] >= 0)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    quarters=hnp.arrays(
        np.int64, st.tuples(st.integers(1, 4), st.integers(1, 3)), elements=st.integers(-30, 30)
    ),
    nudge=st.floats(0, 0.2),
    data=st.data(),
)
def test_steps_move_in_the_order_of_squared_distances(
    quarters: np.ndarray, nudge: float, data: st.DataObject
) -> None:
    power, n_hashes = quarters.shape
    # A nudge of 0 leaves ties and values on the very border of a cell.
    values = quarters / 4 + nudge * (1 + np.arange(power)[:, None]) / (power + 1)
    n_probes = data.draw(st.integers(1, 3**power))
    keys = np.arange(1, n_hashes + 1, dtype=np.uint64)
    steps = np.floor(values)
    out = np.empty((1, n_hashes, n_probes), dtype=np.uint32)
    flat = (1, power * n_hashes)
    probing.probe_steps(
        steps.astype(np.int64).reshape(flat), (values - steps).reshape(flat), keys, np.uint64(2**32), out
    )
    for h in range(n_hashes):
        every = naive.probed_steps(values[:, h].tolist())
        codes = {naive.step_code(list(cell), int(keys[h]), 2**32): score for score, cell in every}
        assert len(codes) == 3**power
        probes = out[0, h].tolist()
        assert len(set(probes)) == n_probes
        assert [codes[code] for code in probes] == pytest.approx([s for s, _ in every[:n_probes]])
        assert probes[0] == naive.step_code([math.floor(v) for v in values[:, h]], int(keys[h]), 2**32)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 3), max_size=7),
    n_sets=st.integers(1, 60),
    data=st.data(),
)
def test_sets_with_groups_of_any_size(groups: list[int], n_sets: int, data: st.DataObject) -> None:
    """Each group has at most one change. If there are fewer sets than asked for, all of them are given."""
    n = len(groups)
    scores = sorted(data.draw(st.lists(st.floats(0, 10), min_size=n, max_size=n)))
    every = naive.least_sets(scores, groups)
    order, totals = np.empty(n_sets, np.int64), np.empty(2 * n_sets)
    prefixes, lasts, heap = (np.empty(2 * n_sets, np.int64) for _ in range(3))
    found = probing_kernels.likeliest_sets(
        np.array(scores), np.array(groups, np.int64), n, n_sets, order, totals, prefixes, lasts, heap
    )
    assert found == min(n_sets, len(every))
    sets = []
    for node in order[:found]:
        members = []
        while node > 0:
            members.append(int(lasts[node]))
            node = prefixes[node]
        sets.append(tuple(reversed(members)))
    assert len(set(sets)) == found
    assert set(sets) <= {members for _, members in every}
    assert totals[order[:found]].tolist() == pytest.approx([score for score, _ in every[:found]])


@given(scores=st.lists(st.integers(0, 5), max_size=12), keep=st.integers(0, 12))
def test_least_changes_are_a_stable_sort(scores: list[int], keep: int) -> None:
    keep = min(keep, len(scores))
    changes, kept = np.empty(len(scores), np.int64), np.empty(len(scores))
    assert probing_kernels.least_changes(np.array(scores, float), len(scores), keep, changes, kept) == keep
    expected = np.argsort(np.array(scores), kind="stable")[:keep]
    np.testing.assert_array_equal(changes[:keep], expected)
    np.testing.assert_array_equal(kept[:keep], np.array(scores, float)[expected])


def test_all_buckets_of_signs_and_steps() -> None:
    rng = np.random.default_rng(0)
    Q = rng.standard_normal((9, 5))
    signs = SignedRandomProjection(5, 3, power=4).probe(Q, 16)
    np.testing.assert_array_equal(np.sort(signs, axis=2), np.broadcast_to(np.arange(16), signs.shape))
    steps = PStable(5, 3, power=2, n_buckets=2**32).probe(Q, 9)
    assert all(len(set(codes)) == 9 for row in steps.tolist() for codes in row)


# -- success against theory -------------------------------------------------------------------------


def check_ranks(found: np.ndarray) -> None:
    """Check that likelier probes come first: the first by far, then each range of ranks before the next."""
    share = found.mean(axis=(0, 1))
    ranges = [share[a:b].mean() for a, b in ((0, 1), (1, 3), (3, 6), (6, 12), (12, 24))]
    assert all(a > b for a, b in itertools.pairwise(ranges))
    assert share[:24].sum() > 2 * share[0]


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["gaussian", "hadamard", "sparse"])
def test_neighbours_in_probed_buckets_of_signs(projection: str) -> None:
    """Given products v of the unit query, a bit of a row at angle t flips with chance Phi(-|v| cot t)."""
    rng, (n, d, n_hashes, power, angle) = np.random.default_rng(1), (1500, 256, 40, 10, 0.5)
    family = SignedRandomProjection(d, n_hashes, power=power, projection=projection, seed=3)
    Q = rng.standard_normal((n, d))
    Q /= np.linalg.norm(Q, axis=1, keepdims=True)
    aside = rng.standard_normal((n, d))
    aside -= (aside * Q).sum(axis=1, keepdims=True) * Q
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    neighbours = (math.cos(angle) * Q + math.sin(angle) * aside).astype(np.float32)
    Q = Q.astype(np.float32)
    probes = family.probe(Q, 48)
    found = probes == family.hash(neighbours)[:, :, None]
    check_ranks(found)
    if projection != "gaussian":  # only its vectors are available
        return
    products = (Q @ family._sign_projection.vectors.matrix.T).reshape(n, power, n_hashes)
    flip = ndtr(-np.abs(products) / math.tan(angle))
    flipped = (probes ^ probes[:, :, :1])[:, :, None, :] >> np.arange(power, dtype=np.uint32)[:, None] & 1
    chance = flip.transpose(0, 2, 1)[..., None]
    probability = np.where(flipped == 1, chance, 1 - chance).prod(axis=2)
    # Every query has its own neighbours, so queries are independent; tables of one query nearly are.
    error = np.sqrt((probability * (1 - probability)).sum(axis=(0, 1))) / (n * n_hashes)
    assert (np.abs(found.mean(axis=(0, 1)) - probability.mean(axis=(0, 1))) < 6 * error + 1e-4).all()
    # Nearly all is found that the 48 likeliest buckets by the true probabilities would find.
    masks = np.arange(2**power)[:, None] >> np.arange(power) & 1
    some = chance[:40, :5, None, :, 0]
    best = np.sort(np.where(masks == 1, some, 1 - some).prod(axis=3), axis=2)[:, :, -48:].sum()
    assert probability[:40, :5].sum() > 0.97 * best


def test_neighbours_in_probed_buckets_of_steps() -> None:
    """Given the query's place in its cells, a row at distance c moves by normal noise of deviation c."""
    rng = np.random.default_rng(2)
    n, d, n_hashes, power, width, distance = 1500, 32, 40, 6, 4.0, 1.6
    family = PStable(d, n_hashes, width=width, power=power, n_buckets=2**32, seed=4)
    Q = rng.standard_normal((n, d))
    aside = rng.standard_normal((n, d))
    neighbours = Q + distance * aside / np.linalg.norm(aside, axis=1, keepdims=True)
    probes = family.probe(Q, 48)
    found = probes == family.hash(neighbours)[:, :, None]
    values = ((Q @ family._vectors.matrix.T + family._offsets) / width).reshape(n, power, n_hashes)
    above = values - np.floor(values)
    s = width / distance
    down, up = ndtr(-above * s), ndtr(-(1 - above) * s)
    share = found.mean(axis=(0, 1))
    stay = (1 - down - up).prod(axis=1).mean()
    assert abs(share[0] - stay) < 6 * math.sqrt(stay / (n * n_hashes)) + 1e-4
    nearest = np.minimum(above, 1 - above)
    first = nearest.argmin(axis=1)
    moved = np.take_along_axis(np.maximum(down, up) / (1 - down - up), first[:, None], axis=1)[:, 0]
    second = ((1 - down - up).prod(axis=1) * moved).mean()
    assert abs(share[1] - second) < 6 * math.sqrt(second / (n * n_hashes)) + 1e-4
    check_ranks(found)


# -- what probes depend on --------------------------------------------------------------------------


@pytest.mark.slow
@every_family
def test_the_first_probe_is_the_code(make) -> None:
    rng = np.random.default_rng(3)
    Q = (rng.standard_normal((60, 30)) * (rng.random((60, 30)) < 0.5)).astype(np.float32)
    Q[7] = 0.0
    family = make(30, 17, seed=5)
    codes = family.hash_query(Q)
    for n_probes in (1, 2, 3, 40):
        probes = family.probe(Q, n_probes)
        assert probes.shape == (60, 17, n_probes)
        assert probes.dtype == np.uint32
        assert probes.max() < family.n_buckets
        np.testing.assert_array_equal(probes[:, :, 0], codes)
    # Asking for fewer probes gives the first ones of a longer list.
    np.testing.assert_array_equal(family.probe(Q, 40)[:, :, :8], family.probe(Q, 8))


@pytest.mark.slow
@every_family
@pytest.mark.parametrize("d", [1, 30, 1200])
def test_probes_depend_on_the_row_alone(make, d: int) -> None:
    rng = np.random.default_rng(6)
    Q = (rng.standard_normal((70, d)) * (rng.random((70, d)) < 0.3)).astype(np.float32)
    Q[3] = 0.0
    family = make(d, 9, seed=8)
    expected = family.probe(Q, 12)
    order = rng.permutation(70)
    np.testing.assert_array_equal(family.probe(Q[order], 12), expected[order])
    wide = np.zeros((140, 2 * d), dtype=np.float32)
    wide[::2, ::2] = Q
    for same in (
        Q.astype(np.float64),
        np.asfortranarray(Q),
        wide[::2, ::2],
        scipy.sparse.csr_array(Q),
        scipy.sparse.csr_array(Q.astype(np.float64)),
        scipy.sparse.csc_array(Q),
    ):
        np.testing.assert_array_equal(family.probe(same, 12), expected)
    np.testing.assert_array_equal(np.concatenate([family.probe(row[None], 12) for row in Q]), expected)
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 3):
            mergesketch.set_num_threads(threads)
            np.testing.assert_array_equal(family.probe(np.tile(Q, (8, 1)), 12), np.tile(expected, (8, 1, 1)))
    finally:
        mergesketch.set_num_threads(before)


def test_a_border_in_doubt_is_that_of_the_code() -> None:
    """Rows are orthogonal to vectors except for rounding; float32 products alone would have other signs."""
    family = SignedRandomProjection(40, 50, power=4, seed=2)
    rng = np.random.default_rng(9)
    rows = []
    for vector in family._sign_projection.vectors.matrix.astype(np.float64):
        row = rng.standard_normal(40)
        rows.append(row - vector * (row @ vector) / (vector @ vector))
    Q = np.array(rows)
    probes = family.probe(Q, 2)
    np.testing.assert_array_equal(probes[:, :, 0], family.hash(Q))
    # The bit with the smallest margin is the first to flip.
    for place in range(200):
        k, h = divmod(place, 50)
        assert probes[place, h, 0] ^ probes[place, h, 1] == 1 << k


@every_family
def test_extreme_rows(make) -> None:
    family = make(3, 20)
    Q = np.array([[1e300, -1e300, 1.0], [1e-310, 0.0, -1e-310], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(family.probe(Q, 5)[:, :, 0], family.hash(Q))


@every_family
def test_no_rows(make) -> None:
    assert make(3, 4).probe(np.empty((0, 3)), 5).shape == (0, 4, 5)
    assert make(3, 4).probe(scipy.sparse.csr_array((0, 3)), 5).shape == (0, 4, 5)
    assert make(3, 4).probe([[1.0, 2.0, 3.0]], 5).shape == (1, 4, 5)


# -- bad input --------------------------------------------------------------------------------------


@every_family
def test_bad_queries_are_refused_by_name(make) -> None:
    family = make(4, 3)
    for n_probes in (1, 4):
        with pytest.raises(ValueError, match="Q must have 4 columns, got 5"):
            family.probe(np.ones((2, 5)), n_probes)
        with pytest.raises(ValueError, match="Q must be finite, got nan"):
            family.probe(np.full((2, 4), np.nan), n_probes)
        with pytest.raises(ValueError, match="Q must be a matrix"):
            family.probe(3.0, n_probes)


def test_bad_numbers_of_probes() -> None:
    signs, steps = SignedRandomProjection(4, 3, power=3), PStable(4, 3, power=2)
    Q = np.ones((2, 4))
    assert signs.probe(Q, 8).shape == (2, 3, 8)
    with pytest.raises(ValueError, match="n_probes must be at most 8, the ways to change 3 bits, got 9"):
        signs.probe(Q, 9)
    assert steps.probe(Q, 9).shape == (2, 3, 9)
    with pytest.raises(ValueError, match="n_probes must be at most 9, the ways to change 2 steps, got 10"):
        steps.probe(Q, 10)
    for n_probes in (0, -1):
        with pytest.raises(ValueError, match="n_probes must be an integer of at least 1, got"):
            signs.probe(Q, n_probes)
    for value in (1.5, True, "2", None):
        with pytest.raises(TypeError, match="n_probes must be an integer of at least 1, got"):
            steps.probe(Q, value)


def test_families_without_neighbouring_buckets() -> None:
    family = MinHash(8)
    sets = [np.array([1, 2, 3]), np.array([4])]
    np.testing.assert_array_equal(family.probe(sets, 1), family.hash(sets)[:, :, None])
    with pytest.raises(TypeError, match="MinHash has no multi-probe querying: n_probes must be 1, got 2"):
        family.probe(sets, 2)
    with pytest.raises(ValueError, match="n_probes must be an integer of at least 1, got 0"):
        family.probe(sets, 0)
