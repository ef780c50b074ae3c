"""Test winner-take-all: codes against a plain reference, collisions, densification, bad input."""

from __future__ import annotations

import itertools
import math
from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mergesketch.lsh import WinnerTakeAll
from mergesketch.lsh.families.order_agreement import agreement_at
from naive import winner_take_all as naive
from scipy.stats import kendalltau

quickly = settings(max_examples=60, deadline=None)
#: Few values, so that rows have ties, zeros of both signs and negative numbers.
tied = st.sampled_from([0.0, -0.0, -2.0, -1.0, 1.0, 2.0, 3.0])
numbers = tied | st.floats(-(2.0**99), 2.0**99, width=32)


def expected_codes(family: WinnerTakeAll, rows: np.ndarray) -> list[list[int]]:
    n = family.power * family._n_rounds
    permutations = [family._permutation(number).tolist() for number in range(n)]
    assert all(sorted(order) == list(range(family.n_features)) for order in permutations)
    keys = None if family.n_buckets == family.group_size**family.power else family._keys.tolist()
    arguments = (family.power, family.group_size, family._donor_keys.tolist(), keys)
    return [
        naive.winner_codes(row, permutations, *arguments, family.n_hashes, family.n_buckets)
        for row in rows.tolist()
    ]


# -- codes ----------------------------------------------------------------------------------------


@pytest.mark.slow
@quickly
@given(data=st.data())
def test_codes_are_those_of_the_winners(data: st.DataObject) -> None:
    d = data.draw(st.integers(2, 40))
    shape = data.draw(st.integers(0, 5)), d
    X = data.draw(hnp.arrays(np.float32, shape, elements=numbers, fill=st.just(0.0)))
    family = WinnerTakeAll(
        d,
        data.draw(st.integers(1, 30)),
        group_size=data.draw(st.integers(2, min(d, 9))),
        power=data.draw(st.integers(1, 3)),
        n_buckets=data.draw(st.none() | st.integers(2, 2**32)),
        seed=data.draw(st.integers(0, 2**64 - 1)),
    )
    codes = family.hash(X)
    assert codes.tolist() == expected_codes(family, X)
    np.testing.assert_array_equal(family.hash(scipy.sparse.csr_array(X)), codes)
    np.testing.assert_array_equal(family.hash(X.astype(np.float64)), codes)


@pytest.mark.slow
@pytest.mark.parametrize("density", [0.01, 0.1, 0.9, 1.0])
def test_codes_of_wider_rows(density: float) -> None:
    """Dense rows fill several blocks; empty bins of sparse rows search as well as walk."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((130, 300)) * (rng.random((130, 300)) < density)
    X[70] = 0
    for n_buckets in (None, 2**30):
        family = WinnerTakeAll(300, 90, group_size=4, power=2, n_buckets=n_buckets, seed=1)
        codes = family.hash(X)
        np.testing.assert_array_equal(family.hash(scipy.sparse.csr_array(X)), codes)
        some = [0, 63, 64, 70, 129]
        assert codes[some].tolist() == expected_codes(family, X[some])


def test_long_concatenations_are_mixed() -> None:
    family = WinnerTakeAll(20, 5, group_size=3, power=40, seed=3)
    assert family.n_buckets == 2**32
    assert family.chance_collision == 2**-32
    X = np.random.default_rng(0).standard_normal((3, 20))
    assert family.hash(X).tolist() == expected_codes(family, X)
    assert WinnerTakeAll(20, 5, group_size=3, power=20).n_buckets == 3**20
    assert WinnerTakeAll(20, 5, group_size=2, power=32).chance_collision == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("n_buckets", [None, 2**30])
def test_wide_rows_are_transposed_in_parts(n_buckets: int | None) -> None:
    """Rows have no zeros, some, or only zeros; groups have more features than a part."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((70, 5001))
    X[1] *= rng.random(5001) < 0.03
    X[2] = 0
    for n_hashes, group_size, power in ((300, 30, 1), (7, 700, 2), (3, 5000, 1)):
        family = WinnerTakeAll(5001, n_hashes, group_size=group_size, power=power, n_buckets=n_buckets)
        hashes, columns = family._dense_groups[:2]
        assert hashes.size > 2
        assert columns.size > 5001
        codes = family.hash(X)
        np.testing.assert_array_equal(family.hash(scipy.sparse.csr_array(X)), codes)
        if group_size < 5000:
            assert codes[:4].tolist() == expected_codes(family, X[:4])


def test_codes_do_not_depend_on_how_rows_come() -> None:
    rng = np.random.default_rng(1)
    n, d = 2000, 50
    X = (rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.6)).astype(np.float32)
    X[7] = 0
    family = WinnerTakeAll(d, 33, group_size=4, seed=2)
    codes = family.hash(X)
    wide = np.zeros((n, 2 * d), np.float32)
    wide[:, ::2] = X
    explicit = scipy.sparse.csr_array(np.ones_like(X))
    explicit.data[:] = X.reshape(-1)
    halves = scipy.sparse.csr_array(X)
    indices, data = np.repeat(halves.indices, 2), np.repeat(halves.data / 2, 2)
    twice = scipy.sparse.csr_array((data, indices, 2 * halves.indptr), shape=X.shape)
    forms = {
        "Fortran order": np.asfortranarray(X),
        "a view": wide[:, ::2],
        "negative zeros": np.where(X == 0, np.float32(-0.0), X),
        "explicit zeros": explicit,
        "repeated entries": twice,
        "CSC": scipy.sparse.csc_matrix(X),
        "64-bit indices": scipy.sparse.csr_array(
            (halves.data, halves.indices.astype(np.int64), halves.indptr), shape=X.shape
        ),
    }
    for name, other in forms.items():
        np.testing.assert_array_equal(family.hash(other), codes, err_msg=name)
    order = rng.permutation(n)[:300]
    np.testing.assert_array_equal(family.hash(X[order]), codes[order])
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 3):
            mergesketch.set_num_threads(threads)
            np.testing.assert_array_equal(family.hash(X), codes)
            np.testing.assert_array_equal(family.hash(scipy.sparse.csr_array(X)), codes)
    finally:
        mergesketch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, bool, np.float16])
def test_other_dtypes_have_the_codes_of_their_values(dtype: type) -> None:
    X: np.ndarray = np.random.default_rng(2).integers(0, 3, (50, 21)).astype(dtype)
    family = WinnerTakeAll(21, 20, group_size=5)
    np.testing.assert_array_equal(family.hash(X), family.hash(X.astype(np.float64)))
    np.testing.assert_array_equal(family.hash(scipy.sparse.csr_array(X.astype(np.float64))), family.hash(X))


@quickly
@given(
    X=hnp.arrays(np.float64, (4, 17), elements=st.integers(-50, 50).map(float)),
    seed=st.integers(0, 99),
    n_buckets=st.sampled_from([None, 2**20]),
)
def test_codes_depend_on_the_order_alone(X: np.ndarray, seed: int, n_buckets: int | None) -> None:
    """Rising functions that keep zeros change no code; without zeros, every rising function changes none."""
    family = WinnerTakeAll(17, 40, group_size=4, n_buckets=n_buckets, seed=seed)
    np.testing.assert_array_equal(family.hash(X**3), family.hash(X))
    np.testing.assert_array_equal(family.hash(np.sinh(X) * 1e-9), family.hash(X))
    shifted = X + 51
    codes = family.hash(shifted)
    np.testing.assert_array_equal(family.hash(np.log(shifted) - 1e3), codes)
    np.testing.assert_array_equal(family.hash(-1.0 / shifted), codes)


def test_every_bin_of_a_permutation_is_used() -> None:
    """Features after the last bin of full size count too: a row of one of these gets its code from it."""
    d, K = 11, 4
    family = WinnerTakeAll(d, 6, group_size=K, n_buckets=2**32, seed=5)
    assert family._n_own == 2
    assert family._n_bins == 3
    codes = family.hash(np.eye(d))
    # With one entry there is one winner in every bin, whichever it was copied from.
    for h in range(6):
        assert np.unique(codes[:, h]).size == d
    assert (family.hash(np.zeros((1, d))) != codes).all()


# -- theory ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_kernel_is_the_share_of_groups_that_agree(data: st.DataObject) -> None:
    d = data.draw(st.integers(2, 7))
    K = data.draw(st.integers(2, min(4, d)))
    rows: st.SearchStrategy[np.ndarray] = hnp.arrays(np.float64, (2, d), elements=numbers)
    X, Y = data.draw(rows), data.draw(rows)
    for n_buckets in (None, 2**20):
        family = WinnerTakeAll(d, 1, group_size=K, power=2, n_buckets=n_buckets)
        expected = [
            [naive.winner_agreement(x, y, K, by_place=n_buckets is None) ** 2 for y in Y.tolist()]
            for x in X.tolist()
        ]
        np.testing.assert_allclose(family.kernel(X, Y), expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(
            family.kernel(scipy.sparse.csr_array(X), scipy.sparse.csc_array(Y)),
            expected,
            rtol=1e-12,
            atol=1e-15,
        )


def test_kernel_of_pairs_is_kendalls_tau() -> None:
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((3, 200)), rng.standard_normal((4, 200))
    Y[0] = X[0] + 0.3 * rng.standard_normal(200)
    expected = [[(1 + kendalltau(x, y).statistic) / 2 for y in Y] for x in X]
    np.testing.assert_allclose(WinnerTakeAll(200, 1, group_size=2).kernel(X, Y), expected, rtol=1e-10)


def test_kernel_of_whole_rows_is_whether_the_largest_agree() -> None:
    X = np.random.default_rng(4).standard_normal((30, 3))
    same = X.argmax(axis=1)[:, None] == X.argmax(axis=1)[None, :]
    np.testing.assert_array_equal(WinnerTakeAll(3, 1, group_size=3).kernel(X, X), same)


@pytest.mark.parametrize("K", [2, 5])
def test_kernel_of_a_million_features(K: int) -> None:
    """Sparse rows are compared with their share of common features, in the memory of their entries."""
    rng = np.random.default_rng(5)
    columns = [np.sort(rng.choice(10**6, 300, replace=False)) for _ in range(2)]
    columns[1][:200] = columns[0][:200]
    matrices = [
        scipy.sparse.csr_array((np.ones(300), np.sort(c), [0, 300]), shape=(1, 10**6)) for c in columns
    ]
    union = np.union1d(*columns).size
    kernel = WinnerTakeAll(10**6, 1, group_size=K, n_buckets=2**32).kernel(*matrices)
    # A group has two of these features with probability below K * union / d.
    assert abs(kernel[0, 0] - (600 - union) / union) < 2 * K * union / 10**6


def agreement_rates(
    x: np.ndarray, y: np.ndarray, n_seeds: int, **arguments: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return collision rates of rows of x with those of y over seeds, and their standard errors."""
    shares = []
    for seed in range(n_seeds):
        family = WinnerTakeAll(x.shape[1], seed=seed, **arguments)
        shares.append((family.hash(x)[:, None] == family.hash(y)[None]).mean(axis=2))
    return np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1) / np.sqrt(n_seeds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("d", "K", "power", "n_buckets"), [(30, 2, 1, None), (30, 4, 2, None), (50, 8, 1, None), (29, 3, 2, 50)]
)
def test_rows_without_zeros_collide_as_the_kernel_says(
    d: int, K: int, power: int, n_buckets: int | None
) -> None:
    rng = np.random.default_rng(6)
    x = np.round(rng.standard_normal((2, d)), 1) + 20.0  # with ties
    y = x + rng.standard_normal((2, d)) * [[0.3], [2.0]]
    arguments: dict[str, Any] = {"n_hashes": 40, "group_size": K, "power": power, "n_buckets": n_buckets}
    rates, errors = agreement_rates(x, y, 400, **arguments)
    family = WinnerTakeAll(d, **arguments)
    k = family.kernel(x, y)
    expected = k + (1 - k) * family.chance_collision
    assert (np.abs(rates - expected) <= 6 * errors + 1e-12).all()


@pytest.mark.slow
@pytest.mark.parametrize("density", [0.03, 0.2, 0.6])
@pytest.mark.parametrize("n_buckets", [None, 2**32])
def test_rows_with_zeros_collide_as_the_kernel_says(density: float, n_buckets: int | None) -> None:
    """The difference is at most one over the number of bins that are not empty, as the notes say."""
    rng = np.random.default_rng(7)
    d, K = 400, 4
    x = rng.standard_normal((3, d)) * (rng.random((3, d)) < density)
    y = x + 0.5 * rng.standard_normal((3, d)) * (x != 0)
    y[:, ::5] = 0
    arguments: dict[str, Any] = {"n_hashes": 40, "group_size": K, "n_buckets": n_buckets}
    rates, errors = agreement_rates(x, y, 300, **arguments)
    expected = WinnerTakeAll(d, **arguments).kernel(x, y)
    full = (d // K) * (1 - (1 - density) ** K)
    assert (np.abs(rates - expected) <= 6 * errors + 0.2 / full).all()
    assert expected.max() > 0.5 > 0.3 > expected.min()


def test_donors_are_independent_of_each_other() -> None:
    """Empty bins that looked for donors in one order would collide together; the spread of rates shows it."""
    d, K, n_hashes = 2000, 4, 100
    x, y = np.zeros((2, 1, d))
    x[0, :60], y[0, 30:90] = 1.0, 1.0  # a Jaccard similarity of 1/3
    shares = np.array(
        [
            (family.hash(x) == family.hash(y)).mean()
            for family in (
                WinnerTakeAll(d, n_hashes, group_size=K, n_buckets=2**32, seed=s) for s in range(400)
            )
        ]
    )
    expected = WinnerTakeAll(d, 1, group_size=K, n_buckets=2**32).kernel(x, y)[0, 0]
    assert abs(shares.mean() - expected) < 6 * shares.std(ddof=1) / 20 + 0.003
    # The variance is that of independent hashes; 400 rates measure it to 7 %.
    assert shares.var(ddof=1) < 1.45 * expected * (1 - expected) / n_hashes


# -- the normal copula ----------------------------------------------------------------------------


def test_two_agree_by_the_arcsine() -> None:
    rho = np.array([-1.0, -0.9, -0.3, 0.0, 0.5, 0.99, 1.0])
    family = WinnerTakeAll(5, 1, group_size=2, power=3)
    expected = (0.5 + np.arcsin(rho) / np.pi) ** 3
    np.testing.assert_allclose(family.collision_probability(1 - rho), expected, rtol=0, atol=1e-12)


def test_three_agree_by_the_orthants() -> None:
    """The largest of three is one pair: four differences of normal numbers are positive (David 1953)."""
    rho = np.array([-0.7, 0.0, 0.4, 0.8])
    # Differences of X correlate by 1/2, as do those of Y; between X and Y by rho and rho / 2.
    a, b = np.arcsin(rho), np.arcsin(rho / 2)
    orthant = 1 / 9 + (a + b) / (4 * np.pi) + (a**2 - b**2) / (4 * np.pi**2)
    np.testing.assert_allclose(
        WinnerTakeAll(5, 1, group_size=3).collision_probability(1 - rho), 3 * orthant, rtol=1e-10
    )


@pytest.mark.slow
@pytest.mark.parametrize("K", [2, 3, 8, 64, 300, 65536])
def test_ends_and_middle_of_the_copula(K: int) -> None:
    family = WinnerTakeAll(65536, 1, group_size=K)
    np.testing.assert_allclose(family.collision_probability([0.0, 1.0, 2.0]), [1.0, 1 / K, 0.0], atol=1e-9)
    rho = np.linspace(-0.95, 0.999, 30)
    probabilities = family.collision_probability(1 - rho)
    assert (np.diff(probabilities) > -1e-9).all()
    np.testing.assert_allclose(probabilities, agreement_at(np.arcsin(rho), K), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("K", "rho"), [(2, 0.3), (4, 0.8), (8, -0.5), (16, 0.95)])
def test_the_copula_is_what_such_data_show(K: int, rho: float) -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((4000, 32))
    y = rho * x + math.sqrt(1 - rho * rho) * rng.standard_normal((4000, 32))
    family = WinnerTakeAll(32, 2, group_size=K, seed=9)
    # Pairs are independent. So are two bins of one permutation, which have no feature in common.
    rate = (family.hash(np.exp(x)) == family.hash(y**3)).mean()
    expected = float(family.collision_probability(1 - rho))
    assert abs(rate - expected) < 6 * math.sqrt(expected * (1 - expected) / 8000)
    kernels = [family.kernel(x[i : i + 1], y[i : i + 1])[0, 0] for i in range(400)]
    assert abs(np.mean(kernels) - expected) < 6 * np.std(kernels) / 20


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "error"),
    [
        (np.full((1, 9), np.nan), ValueError),
        (np.full((1, 9), -np.inf), ValueError),
        (np.zeros((2, 8)), ValueError),
        (np.zeros(9), ValueError),
        (np.zeros((2, 9), complex), TypeError),
        ([["a"] * 9], TypeError),
        (None, TypeError),
        (scipy.sparse.csr_array(np.ones((2, 8))), ValueError),
        (scipy.sparse.csr_array(np.full((2, 9), np.nan)), ValueError),
    ],
)
def test_bad_rows_are_refused_by_name(X: object, error: type[Exception]) -> None:
    family = WinnerTakeAll(9, 2, group_size=3)
    with pytest.raises(error, match=r"^X"):
        family.hash(X)
    with pytest.raises(error, match=r"^Y"):
        family.kernel(np.ones((1, 9)), X)


@pytest.mark.parametrize(
    ("arguments", "name", "error"),
    [
        ({"n_features": 0}, "n_features", ValueError),
        ({"n_features": 7}, "group_size must be at most n_features", ValueError),
        ({"n_features": "6"}, "n_features", TypeError),
        ({"n_features": 2**31}, "n_features", ValueError),
        ({"n_hashes": 0}, "n_hashes", ValueError),
        ({"n_hashes": 2**20, "power": 2}, "n_hashes", ValueError),
        ({"group_size": 1}, "group_size", ValueError),
        ({"group_size": 2.0}, "group_size", TypeError),
        ({"power": 0}, "power", ValueError),
        ({"n_buckets": 1}, "n_buckets", ValueError),
        ({"seed": 2**64}, "seed", ValueError),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: dict, name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        WinnerTakeAll(**{"n_features": 20, "n_hashes": 2, **arguments})


@pytest.mark.parametrize("distance", [-0.1, 2.1, np.nan, [0, 3]])
def test_distances_lie_between_none_and_two(distance: Any) -> None:
    with pytest.raises(ValueError, match="distance"):
        WinnerTakeAll(9, 2).collision_probability(distance)


def test_a_configuration_allocates_nothing() -> None:
    """A configuration may come from a file, so only hashing draws the permutations."""
    family = WinnerTakeAll(2**31 - 1, 2**20, group_size=65536)
    assert family.config()["n_features"] == 2**31 - 1
    assert not {"_layout", "_keys", "_donor_keys"} & set(family.__dict__)


def test_the_groups_of_one_permutation_are_apart() -> None:
    family = WinnerTakeAll(40, 12, group_size=8, power=2, seed=1)
    groups = family._layout[2]
    for part, first in itertools.product(range(2), (0, 5)):
        assert np.unique(groups[first : first + 5, part]).size == 40
