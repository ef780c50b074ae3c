"""Test CrossPolytope: codes, probes and probabilities against plain ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LSHIndex
from mergesketch.lsh import CrossPolytope
from mergesketch.lsh.tables.cross_polytope import collision_of_angle, collision_of_rotation
from mergesketch.lsh.tables.make_cross_polytope import collision_probabilities
from naive import cross_polytope as naive
from naive.projection import rounded_hadamard_products


def rotated(family: CrossPolytope, X: np.ndarray) -> np.ndarray:
    """Return the float32 rotations of rows, scaled and rounded as the kernels do."""
    rows = []
    for row in X.astype(np.float64):
        largest = np.abs(row).max(initial=0.0)
        scale = 2.0 ** -math.frexp(largest)[1] if largest else 1.0
        rows.append(rounded_hadamard_products(family._masks, (row * scale).astype(np.float32)))
    return np.array(rows)


@settings(max_examples=25, deadline=None)
@given(
    n_features=st.integers(1, 300),
    n_hashes=st.integers(1, 5),
    power=st.integers(1, 3),
    log2_dimension=st.integers(1, 8),
    seed=st.integers(0, 2**64 - 1),
)
def test_codes_are_the_plain_ones(
    n_features: int, n_hashes: int, power: int, log2_dimension: int, seed: int
) -> None:
    family = CrossPolytope(n_features, n_hashes, power=power, dimension=1 << log2_dimension, seed=seed)
    X = np.random.default_rng(seed).standard_normal((5, n_features)) * 3.0
    X[1] = 0.0
    X[2, 1:] = 0.0
    values = naive.cross_polytope_values(rotated(family, X), n_hashes * power, family.dimension)
    base = 2 * family.dimension
    codes = [
        [
            sum(v * base ** (power - 1 - k) for k, v in enumerate(row[h * power : (h + 1) * power]))
            for h in range(n_hashes)
        ]
        for row in values
    ]
    assert family.n_buckets == base**power
    for rows in (X, X.astype(np.float64), scipy.sparse.csr_array(X)):
        assert family.hash(rows).tolist() == codes
    assert (family.hash(np.zeros((1, n_features))) == 0).all()


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    power=st.integers(1, 3),
    n_probes=st.integers(1, 20),
    rehash=st.booleans(),
    wide=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_probes_are_the_likeliest_cells(
    power: int, n_probes: int, rehash: bool, wide: bool, seed: int
) -> None:
    dimension = 64 if wide else 4
    power = min(power, 2) if wide else power
    base = 2 * dimension
    family = CrossPolytope(20, 3, power=power, dimension=dimension, seed=seed)
    X = np.random.default_rng(seed).standard_normal((4, 20))
    n_probes = min(n_probes, dimension**power)
    probes = family.probe(X, n_probes)
    assert probes.shape == (4, 3, n_probes)
    np.testing.assert_array_equal(probes[:, :, 0], family.hash_query(X))
    for i, row in enumerate(rotated(family, X).reshape(4, -1, dimension)):
        for h in range(3):
            coordinates = [[float(v) for v in row[h * power + k]] for k in range(power)]
            cells = naive.cross_polytope_cells(coordinates)
            costs = {
                sum(d * base ** (power - 1 - k) for k, d in enumerate(cell)): cost for cost, cell in cells
            }
            found = [costs[code] for code in probes[i, h].tolist()]
            assert len(set(probes[i, h].tolist())) == n_probes
            np.testing.assert_allclose(found, [cost for cost, _ in cells[:n_probes]], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(family.probe(scipy.sparse.csr_array(X), n_probes), probes)
    if rehash:
        mixed = CrossPolytope(20, 3, power=power, dimension=dimension, n_buckets=1000, seed=seed)
        np.testing.assert_array_equal(mixed.probe(X, n_probes)[:, :, 0], mixed.hash(X))


def test_the_table_is_the_integral() -> None:
    """It is compared at table angles and halfway between them, where interpolation errs most."""
    step = math.pi / 256
    for angle in (step, 0.5 * step, 20.5 * step, 64.5 * step, 128.0 * step, 128.5 * step, 150.5 * step):
        exact = collision_probabilities(angle)
        for log2_dimension in (1, 2, 5, 7, 10, 16):
            ours = float(collision_of_angle(np.array(angle), log2_dimension))
            assert abs(ours - exact[log2_dimension - 1]) < 2e-5 * exact[log2_dimension - 1] + 2e-6
    # For two coordinates it has a closed form: two signs of projections, turned by 45 degrees.
    angles = np.linspace(0.0, math.pi, 10_000)
    np.testing.assert_allclose(collision_of_angle(angles, 1), (1 - angles / math.pi) ** 2, atol=2e-6)
    # Unrelated rows have each of the 2 m values with the same probability.
    for log2_dimension in range(1, 17):
        assert float(collision_of_angle(np.array(math.pi / 2), log2_dimension)) == pytest.approx(
            0.5 ** (log2_dimension + 1)
        )


@pytest.mark.slow
@pytest.mark.parametrize("log2_dimension", [1, 4, 8])
@pytest.mark.parametrize("together", [1, 2, 4])
def test_orthogonal_rotations_on_average_over_angles_are_gaussian_ones(
    log2_dimension: int, together: int
) -> None:
    """Lengths of Gaussian vectors are independent of the part of one vector along the other."""
    rng, size, n = np.random.default_rng(0), 256, 400_000
    along, length, across = rng.standard_normal(n), *np.sqrt(rng.chisquare([[size], [size - 1]], (2, n)))
    for angle in (0.3, 1.0, math.pi / 2):
        seen = np.arctan2(math.sin(angle) * across, math.cos(angle) * length + math.sin(angle) * along)
        rotated = collision_of_rotation(seen, log2_dimension, size, together)
        gaussian = float(collision_of_angle(np.array(angle), log2_dimension)) ** together
        # Terms of second order are left out; they are the square of the first one's share.
        first = 1.0 - float(collision_of_rotation(np.array(angle), log2_dimension, size, together)) / gaussian
        assert abs(rotated.mean() / gaussian - 1.0) < first**2 + 6 * rotated.std() / gaussian / math.sqrt(n)


@pytest.mark.slow
@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize(("dimension", "power"), [(256, 1), (16, 2)])
def test_right_angles_collide_less_under_orthogonal_rotations(
    dimension: int, power: int, structured: bool
) -> None:
    """The rate is 0.0017 for 256 axes of 256 coordinates; Gaussian rotations have 0.0020."""
    rates, rng, n, n_seeds = [], np.random.default_rng(5), 200, 100
    for seed in range(n_seeds):
        if structured:
            chosen = np.array([rng.choice(256, 2, replace=False) for _ in range(n)])
            X, Y = np.eye(256)[chosen[:, 0]], np.eye(256)[chosen[:, 1]]
        else:
            X, Y = rng.standard_normal((2, n, 256))
            Y -= (X * Y).sum(axis=1, keepdims=True) / (X * X).sum(axis=1, keepdims=True) * X
        family = CrossPolytope(256, 64, dimension=dimension, power=power, seed=seed)
        rates.append((family.hash(X) == family.hash(Y)).mean())
    error = np.std(rates) / math.sqrt(n_seeds)
    expected = float(family.collision_probability(math.pi / 2))
    gaussian = (0.5 / dimension) ** power
    assert abs(np.mean(rates) - expected) < 4 * error
    assert abs(np.mean(rates) - gaussian) > 4 * error
    assert np.abs(family.kernel(X[:1], Y[:1]) - expected) < 1e-6


def test_hashes_that_straddle_rotations() -> None:
    family = CrossPolytope(256, 5, dimension=64, power=3)  # four to a rotation
    assert family._splits == {(3,): 0.6, (2, 1): 0.4}
    angle = np.array([0.4, 1.2])
    one, two, three = (collision_of_rotation(angle, 6, 256, k) for k in (1, 2, 3))
    np.testing.assert_allclose(family.collision_probability(angle), 0.6 * three + 0.4 * two * one)


def test_sharper_than_signs_of_projections() -> None:
    """At equal rates for far rows, near rows collide more often; that is the family's purpose."""
    family = CrossPolytope(128, 1)
    near, far = family.collision_probability([0.5, 1.4])
    bits = math.log(far) / math.log(1 - 1.4 / math.pi)
    assert near > 1.15 * (1 - 0.5 / math.pi) ** bits


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [16, 128])
def test_rotations_of_256_collide_nearly_as_gaussian_ones(dimension: int) -> None:
    """Rows of one or two non-zeros are the hardest to mix; even their deviation is below 0.002."""
    x, y = np.zeros((2, 4, 128))
    x[:3, 0] = 1.0
    y[0, :2] = 1.0, 0.5
    y[1, :2] = 1.0, 1.0
    x[2, 1], y[2, :2] = 0.7, (1.0, -0.3)
    x[3], y[3] = np.random.default_rng(5).standard_normal((2, 128))
    y[3] = x[3] + 0.7 * y[3]
    rates = []
    for seed in range(20):
        family = CrossPolytope(128, (1 << 14) * 256 // dimension, dimension=dimension, seed=seed)
        rates.append((family.hash(x) == family.hash(y)).mean(axis=1))
    # Hashes of one rotation depend on each other, so the spread is taken over seeds.
    spread = np.std(rates, axis=0, ddof=1) / math.sqrt(20)
    assert (spread < 1e-3).all()
    p = np.diag(family.kernel(x, y))
    assert (np.abs(np.mean(rates, axis=0) - p) < 6 * spread + 0.002).all()


@pytest.mark.parametrize("dimension", [2, 64, 256])
def test_rows_with_ties_collide_with_their_multiples_within_what_the_notes_say(dimension: int) -> None:
    X, n_seeds, rates = np.zeros((4, 100)), 20, []
    for row, n in zip(X, (1, 2, 4, 8), strict=True):
        row[:n] = 1.0
    other = np.random.default_rng(1).standard_normal((1, 100))
    for seed in range(n_seeds):
        family = CrossPolytope(100, 2000, dimension=dimension, seed=seed)
        assert (family.hash(X) == family.hash(0.5 * X)).all()
        assert (family.hash(other) != family.hash(3.3 * other)).mean() < 2e-3
        rates.append((family.hash(X) != family.hash(3.3 * X)).mean(axis=1))
    spread = np.std(rates, axis=0, ddof=1) / math.sqrt(n_seeds)
    assert (np.mean(rates, axis=0) < 0.025 + 6 * spread).all()
    assert (spread < 2e-3).all()


def test_several_probes_find_more_neighbours() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 64))
    Q = X[:300] + 0.6 * rng.standard_normal((300, 64))
    family = CrossPolytope(64, 8, power=2, dimension=32, n_buckets=4096, seed=1)
    index = LSHIndex(family, capacity=32).add(X)
    found = []
    for n_probes in (1, 4, 16):
        counts = np.zeros(300)
        probes = family.probe(Q, n_probes)
        for r in range(n_probes):
            near = index.query_codes(np.ascontiguousarray(probes[:, :, r]), 2000)
            counts += ((near.ids == np.arange(300)[:, None]) * near.counts).sum(axis=1)
        found.append((counts > 0).mean())
    assert found[0] + 0.05 < found[1] < found[2]


def wide_rows(rng: np.random.Generator, n: int, n_features: int) -> scipy.sparse.csr_array:
    indices = np.sort([rng.choice(n_features, 30, replace=False) for _ in range(n)], axis=1)
    entries = rng.standard_normal(30 * n)
    return scipy.sparse.csr_array(
        (entries, indices.reshape(-1), np.arange(0, 30 * n + 1, 30)), shape=(n, n_features)
    )


def test_wide_rows_are_scattered_first() -> None:
    """Each rotation scatters them anew; dense, sparse and plain codes are the same."""
    family = CrossPolytope(20_000, 8, power=2, dimension=1024, seed=1)
    assert family._masks.shape == (2, 3 * 8192 // 16)
    X = wide_rows(np.random.default_rng(1), 20, 20_000)
    codes, probes = family.hash(X), family.probe(X, 5)
    np.testing.assert_array_equal(family.hash(X.toarray()), codes)
    np.testing.assert_array_equal(family.probe(X.toarray(), 5), probes)
    np.testing.assert_array_equal(probes[:, :, 0], codes)
    for i, row in enumerate(X.toarray()[:2]):
        row = (row * 2.0 ** -math.frexp(np.abs(row).max())[1]).astype(np.float32)
        values: list[int] = []
        for turn, key in enumerate(family._scatter_keys.tolist()):
            source = naive.scattered(row, key, 8192)
            products = rounded_hadamard_products(family._masks[turn : turn + 1], source)
            values += naive.cross_polytope_values(products[None], 8, 1024)[0]
        assert [values[2 * h] * 2048 + values[2 * h + 1] for h in range(8)] == codes[i].tolist()
    assert (family.hash(scipy.sparse.csr_array((1, 20_000))) == 0).all()


def test_wide_rows_collide_as_the_theory_says() -> None:
    """Rows have any number of features. Scattering and rotations err by about 1 / 8,192 each, below 1e-3."""
    rng = np.random.default_rng(2)
    X = wide_rows(rng, 2, 1 << 40)
    X.indices[:] = np.tile(X.indices[:30], 2)
    X.data[30:] = X.data[:30] + 0.5 * rng.standard_normal(30)
    rates = []
    for seed in range(40):
        codes = CrossPolytope(1 << 40, 1 << 14, dimension=64, seed=seed).hash(X)
        rates.append((codes[0] == codes[1]).mean())
    p = CrossPolytope(1 << 40, 1, dimension=64).kernel(X[:1], X[1:])[0, 0]
    spread = np.std(rates, ddof=1) / math.sqrt(40)
    assert abs(np.mean(rates) - p) < 6 * spread + 1e-3
    assert spread < 1e-3


def test_many_probes_of_many_equal_coordinates() -> None:
    """All axes are tied, and more cells exist than counting sorts; all differ, the hash's own is first."""
    family = CrossPolytope(128, 2, power=3, dimension=128, seed=1)
    X = np.zeros((3, 128))
    X[1, 3] = 1.0
    X[2] = np.random.default_rng(0).standard_normal(128)
    few, many = family.probe(X, 7), family.probe(X, 3000)
    for i in range(3):
        for h in range(2):
            assert len(set(many[i, h].tolist())) == 3000
    np.testing.assert_array_equal(many[:, :, 0], family.hash(X))
    np.testing.assert_array_equal(many[2, :, :7], few[2])


def test_huge_dimensions() -> None:
    """Rotations do not fit the first cache, and each hash has its own."""
    family = CrossPolytope(40_000, 2, seed=3)
    assert family.dimension == 65_536
    X = wide_rows(np.random.default_rng(4), 3, 40_000)
    np.testing.assert_array_equal(family.hash(X), family.hash(X.toarray()))
    products = rotated(family, X.toarray())
    values = naive.cross_polytope_values(products, 2, 65_536)
    assert family.hash(X).tolist() == values


def test_bad_arguments() -> None:
    for bad in (3, 48):
        with pytest.raises(ValueError, match=f"dimension must be a power of two, got {bad}"):
            CrossPolytope(10, 2, dimension=bad)
    for bad in (1, 512):
        with pytest.raises(ValueError, match="dimension must be an integer from 2 to 256"):
            CrossPolytope(10, 2, dimension=bad)
    with pytest.raises(ValueError, match="n_features must be an integer of at least 1"):
        CrossPolytope(0, 2)
    with pytest.raises(ValueError, match="n_buckets must be an integer from 2"):
        CrossPolytope(10, 2, n_buckets=1)
    with pytest.raises(ValueError, match=r"n_hashes \* power must be at most"):
        CrossPolytope(10, 1 << 24, power=2)
    family = CrossPolytope(10, 2, dimension=4)
    assert CrossPolytope(10, 2, power=8).n_buckets == 2**32
    for bad in (np.full((1, 10), np.nan), np.zeros((2, 9)), np.zeros(10)):
        with pytest.raises(ValueError, match=r"X must"):
            family.hash(bad)
        with pytest.raises(ValueError, match=r"Q must"):
            family.probe(bad, 2)
    with pytest.raises(TypeError, match="X must hold real numbers"):
        family.hash([["a"] * 10])
    with pytest.raises(ValueError, match=r"n_probes must be at most dimension\*\*power = 4, got 5"):
        family.probe(np.zeros((1, 10)), 5)
    with pytest.raises(ValueError, match=r"distance must lie in \[0, 3.14"):
        family.collision_probability(3.5)
