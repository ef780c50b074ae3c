"""Test bit sampling: codes against a plain reference, collisions against theory, probes, bad input."""

from __future__ import annotations

from typing import Any

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.lsh import BitSampling
from naive import bit_sampling as naive

quickly = settings(max_examples=40, deadline=None)


def bits(seed: int, n: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n, width)) < 0.5


def expected_codes(family: BitSampling, rows: np.ndarray) -> list[list[int]]:
    plain = family.n_buckets == 1 << family.power
    return [
        [
            naive.sampled_code(row, places, None if plain else key, family.n_buckets)
            for places, key in zip(family._bits.tolist(), family._keys.tolist(), strict=True)
        ]
        for row in rows.tolist()
    ]


# -- codes ----------------------------------------------------------------------------------------


@quickly
@given(
    n=st.integers(0, 5) | st.integers(63, 66),
    n_bits=st.integers(1, 70),
    n_hashes=st.integers(1, 40),
    power=st.integers(1, 33) | st.sampled_from([64, 65]),
    n_buckets=st.none() | st.integers(2, 2**32),
    seed=st.integers(0, 2**64 - 1),
)
def test_codes_are_the_sampled_bits(
    n: int, n_bits: int, n_hashes: int, power: int, n_buckets: int | None, seed: int
) -> None:
    family = BitSampling(n_bits, n_hashes, power=power, n_buckets=n_buckets, seed=seed)
    rows = bits(seed % 1000, n, n_bits)
    codes = family.hash(np.packbits(rows, axis=1))
    assert codes.tolist() == expected_codes(family, rows)
    np.testing.assert_array_equal(family.hash(rows), codes)
    np.testing.assert_array_equal(family.hash_query(rows), codes)


def test_wide_rows_are_gathered_in_chunks() -> None:
    """Rows have a million bits, and more bytes are sampled than fit a chunk."""
    family = BitSampling(1_000_003, 500, power=20, n_buckets=2**30, seed=4)
    assert len(family._chunks) > 1
    rows = bits(0, 3, 1_000_003)
    assert family.hash(np.packbits(rows, axis=1)).tolist() == expected_codes(family, rows)


def test_bits_are_sampled_evenly_and_with_replacement() -> None:
    family = BitSampling(10, 20_000, power=3, seed=2)
    counts = np.bincount(family._bits.reshape(-1), minlength=10)
    assert np.abs(counts - 6000).max() < 6 * np.sqrt(6000 * 0.9)
    first, second, third = family._bits.T
    for same in (first == second, first == third, second == third, first[1:] == first[:-1]):
        assert abs(same.mean() - 0.1) < 6 * np.sqrt(0.09 / 19_999)


@pytest.mark.parametrize("n_bits", [1, 7, 8, 13, 63, 65])
def test_padding_is_never_looked_at(n_bits: int) -> None:
    rows = bits(1, 40, n_bits)
    clean = np.packbits(rows, axis=1)
    dirty = clean.copy()
    if n_bits % 8:
        dirty[:, -1] |= np.uint8(0xFF >> n_bits % 8)
    family = BitSampling(n_bits, 50, power=2, n_buckets=100, seed=1)
    np.testing.assert_array_equal(family.hash(dirty), family.hash(clean))
    np.testing.assert_array_equal(family.kernel(dirty, rows), family.kernel(rows, clean))


@pytest.mark.parametrize("n_probes", [1, 3])
def test_codes_do_not_depend_on_how_rows_come(n_probes: int) -> None:
    n, n_bits = 5000, 100
    family = BitSampling(n_bits, 60, power=6, n_buckets=1000, seed=3)
    rows = bits(2, n, n_bits)
    X = np.packbits(rows, axis=1)
    codes = family.probe(X, n_probes)
    wide = np.zeros((n, 2 * X.shape[1]), np.uint8)
    wide[:, ::2] = X
    for other in (
        np.asfortranarray(X),
        wide[:, ::2],
        X[::-1].copy()[::-1],
        rows,
        rows.copy("F"),
        rows.tolist(),
    ):
        np.testing.assert_array_equal(family.probe(other, n_probes), codes)
    order = np.random.default_rng(1).permutation(n)[:777]
    np.testing.assert_array_equal(family.probe(X[order], n_probes), codes[order])
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 3):
            mergesketch.set_num_threads(threads)
            np.testing.assert_array_equal(family.probe(X, n_probes), codes)
    finally:
        mergesketch.set_num_threads(before)


# -- theory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_bits", [5, 64, 200, 1000])
def test_kernel_counts_differing_bits(n_bits: int) -> None:
    X, Y = bits(3, 7, n_bits), bits(4, 300, n_bits)
    Y[0] = X[0]
    family = BitSampling(n_bits, 1, power=3)
    differ = (X[:, None, :] != Y[None, :, :]).sum(axis=2)
    np.testing.assert_array_equal(family.kernel(np.packbits(X, axis=1), Y), (1 - differ / n_bits) ** 3)
    np.testing.assert_array_equal(family.kernel(X, Y), family.collision_probability(differ))
    assert family.kernel(X[:0], Y).shape == (0, 300)
    assert family.kernel(X, Y[:0]).shape == (7, 0)


@pytest.mark.parametrize(("power", "n_buckets"), [(1, None), (4, None), (40, None), (5, 7)])
def test_collisions_have_the_probability_of_theory(power: int, n_buckets: int | None) -> None:
    n_bits, n = 90, 40
    for distance in (0, 1, 9, 30, 90):
        rng = np.random.default_rng(distance)
        X = rng.random((n, n_bits)) < 0.5
        Y = X ^ rng.permuted(np.tile(np.arange(n_bits) < distance, (n, 1)), axis=1)
        family = BitSampling(n_bits, 3000, power=power, n_buckets=n_buckets, seed=5)
        k = float(family.collision_probability(distance))
        expected = k + (1 - k) * family.chance_collision
        rate = (family.hash(X) == family.hash(Y)).mean()
        # Pairs share the hash functions, so only functions count as independent.
        assert abs(rate - expected) <= 6 * np.sqrt(expected * (1 - expected) / 3000)


# -- multi-probe ----------------------------------------------------------------------------------


@quickly
@given(
    n_bits=st.integers(1, 9),
    power=st.integers(1, 6),
    n_buckets=st.none() | st.just(1000),
    seed=st.integers(0, 1000),
)
def test_probes_flip_ever_more_of_the_sampled_bits(
    n_bits: int, power: int, n_buckets: int | None, seed: int
) -> None:
    family = BitSampling(n_bits, 4, power=power, n_buckets=n_buckets, seed=seed)
    n_probes = 2 ** min(len(set(places)) for places in family._bits.tolist())
    rows = bits(seed, 3, n_bits)
    probes = family.probe(rows, n_probes)
    assert probes.shape == (3, 4, n_probes)
    assert probes.dtype == np.uint32
    for row, of_row in zip(rows.tolist(), probes, strict=True):
        for h, places in enumerate(family._bits.tolist()):
            flipped = np.array(naive.probed_rows(row, places)[:n_probes])
            assert of_row[h].tolist() == [codes[h] for codes in expected_codes(family, flipped)]
    np.testing.assert_array_equal(probes[:, :, 0], family.hash_query(rows))
    np.testing.assert_array_equal(family.probe(rows, 1), probes[:, :, :1])
    if n_buckets is None:
        assert (np.diff(np.sort(probes, axis=2), axis=2) > 0).all()
    with pytest.raises(ValueError, match="n_probes must be at most"):
        family.probe(rows, n_probes + 1)


def test_probes_of_long_hashes_flip_bits_of_every_word() -> None:
    family = BitSampling(1000, 3, power=70, seed=1)
    row = bits(0, 1, 1000)
    probes = family.probe(row, 75)
    for h, places in enumerate(family._bits.tolist()):
        distinct = list(dict.fromkeys(places))
        rows = [row[0] ^ np.isin(np.arange(1000), chosen) for chosen in ([], *[[b] for b in distinct])]
        expected = [codes[h] for codes in expected_codes(family, np.array(rows))]
        assert probes[0, h, : len(expected)].tolist() == expected


def test_probing_finds_more_neighbours() -> None:
    """The gain is the probability that at most one of the sampled bits differs."""
    family = BitSampling(256, 2000, power=12, seed=6)
    X = bits(7, 30, 256)
    Y = X ^ np.random.default_rng(8).permuted(np.tile(np.arange(256) < 20, (30, 1)), axis=1)
    tables = [h for h, places in enumerate(family._bits.tolist()) if len(set(places)) == 12]
    probes = BitSampling(256, 2000, power=12, seed=6).probe(Y, 8)
    found = (probes == family.hash(X)[:, :, None]).any(axis=2)[:, tables].mean()
    p = 20 / 256
    expected = (1 - p) ** 12 + 7 * p * (1 - p) ** 11
    assert abs(found - expected) < 6 * np.sqrt(expected * (1 - expected) / len(tables)) + 0.01


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "error"),
    [
        (np.zeros((2, 2), np.uint8), ValueError),
        (np.zeros((2, 4), np.uint8), ValueError),
        (np.zeros((2, 20), np.uint8), ValueError),
        (np.zeros((2, 3), bool), ValueError),
        (np.zeros((2, 24), bool), ValueError),
        (np.zeros((2, 19), bool), ValueError),
        (np.zeros(3, np.uint8), ValueError),
        (np.zeros((1, 2, 3), np.uint8), ValueError),
        (np.zeros((2, 3), np.int8), TypeError),
        (np.zeros((2, 20), np.int64), TypeError),
        (np.zeros((2, 3), np.uint16), TypeError),
        (np.zeros((2, 20)), TypeError),
        ([[0.5] * 20], TypeError),
        ([["a"] * 20], TypeError),
        (None, TypeError),
        (scipy.sparse.csr_array(np.zeros((2, 20), bool)), TypeError),
    ],
)
def test_rows_of_another_width_or_dtype_are_refused(X: object, error: type[Exception]) -> None:
    family = BitSampling(20, 4)
    for method in (family.hash, family.hash_query, lambda rows: family.probe(rows, 1)):
        with pytest.raises(error, match=r"^[XQ] must"):
            method(X)
    with pytest.raises(error, match=r"^Y must"):
        family.kernel(np.zeros((1, 20), bool), X)


@pytest.mark.parametrize(
    ("arguments", "name", "error"),
    [
        ({"n_bits": 0}, "n_bits", ValueError),
        ({"n_bits": 2.0}, "n_bits", TypeError),
        ({"n_hashes": 0}, "n_hashes", ValueError),
        ({"n_hashes": 2**25}, "n_hashes", ValueError),
        ({"power": 0}, "power", ValueError),
        ({"power": 5000}, "power", ValueError),
        ({"n_buckets": 1}, "n_buckets", ValueError),
        ({"n_buckets": 2**33}, "n_buckets", ValueError),
        ({"seed": -1}, "seed", ValueError),
        ({"seed": True}, "seed", TypeError),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: dict, name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        BitSampling(**{"n_bits": 8, "n_hashes": 2, **arguments})


@pytest.mark.parametrize("distance", [-1, 9, np.nan, np.inf, [1, -2]])
def test_distances_lie_between_none_and_all_bits(distance: Any) -> None:
    with pytest.raises(ValueError, match="distance"):
        BitSampling(8, 1).collision_probability(distance)


@pytest.mark.parametrize("n_probes", [0, -1])
def test_a_number_of_probes_is_positive(n_probes: int) -> None:
    with pytest.raises(ValueError, match="n_probes"):
        BitSampling(8, 1).probe(np.zeros((1, 1), np.uint8), n_probes)
    with pytest.raises(TypeError, match="n_probes"):
        BitSampling(8, 1).probe(np.zeros((1, 1), np.uint8), 1.0)  # type: ignore[arg-type]
