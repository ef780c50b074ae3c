"""Test MinHash: the kernels against their naive twins, the laws of a family, collisions against theory."""

import math
import pickle
import subprocess
import sys

import mergesketch
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch.errors import IncompatibleSketchError
from mergesketch.lsh import MinHash, family_from_config
from mergesketch.lsh.families.minhash_schemes import choose_scheme
from mergesketch.lsh.kernels import minhash
from naive import minhash as naive
from naive.words import concatenate, mix13

EMPTY = 0xFFFFFFFF
SCHEMES = ["permutations", "one-permutation", "fast-similarity"]
TOKENS = st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1), st.just(2**64 - 1))
SETS = st.lists(st.lists(TOKENS, max_size=40), max_size=5)


def rows(sets):
    return [np.array(list(s), dtype=np.uint64) for s in sets]


def flat(matrix):
    """Return rows of equal length as (tokens, offsets)."""
    return matrix.reshape(-1), np.arange(0, matrix.size + 1, matrix.shape[1])


def naive_signature(family, tokens):
    drawn = {name: values.tolist() for name, values in family.random_parameters.items()}
    key, walk_key, rank_key = drawn["keys"]
    if family.scheme == "permutations":
        return naive.minhash_permutations(tokens, key, drawn["a"], drawn["b"])
    if family.scheme == "one-permutation":
        multiplier = drawn["multipliers"][0]
        return naive.minhash_one_permutation(tokens, key, multiplier, walk_key, rank_key, family.n_values)
    return naive.minhash_fast_similarity(tokens, key, drawn["multipliers"], drawn["a"], drawn["b"])


# -- against the naive twins ------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=60, deadline=None)
@given(sets=SETS, n_hashes=st.integers(1, 70), seed=st.integers(0, 2**64 - 1))
def test_signatures_are_the_naive_ones(scheme, sets, n_hashes, seed):
    family = MinHash(n_hashes, scheme=scheme, seed=seed)
    expected = [naive_signature(family, s) for s in sets]
    assert family.signatures(rows(sets)).tolist() == expected


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("size", "n_hashes"), [(1, 130), (2, 64), (100, 128), (200, 300), (9000, 33)])
def test_sets_of_every_length_are_the_naive_ones(scheme, size, n_hashes):
    """Few bins are full, few are empty, or none; sets have more tokens than the kernels take at once."""
    tokens = np.random.default_rng(size).integers(0, 2**64, size, dtype=np.uint64)
    family = MinHash(n_hashes, scheme=scheme, seed=9)
    assert family.signatures([tokens])[0].tolist() == naive_signature(family, tokens.tolist())


@pytest.mark.parametrize(("size", "n_hashes"), [(4100, 5000), (4100, 30_000)])
def test_bins_of_long_sets_that_stay_empty_are_the_naive_ones(size, n_hashes):
    """No round fills few or most of the bins, in sets of more tokens than the kernels take at once."""
    tokens = np.random.default_rng(size).integers(0, 2**64, size, dtype=np.uint64)
    family = MinHash(n_hashes, scheme="fast-similarity", seed=9)
    signature = family.signatures([tokens])[0]
    unfilled = np.flatnonzero(signature >= 0b111 << 29)
    assert len(unfilled) > 200
    bins = [*unfilled[:10].tolist(), *range(10), n_hashes - 1]
    drawn = {name: values.tolist() for name, values in family.random_parameters.items()}
    expected = naive.minhash_fast_similarity(
        tokens.tolist(), drawn["keys"][0], drawn["multipliers"], drawn["a"], drawn["b"], bins
    )
    assert signature[bins].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    sets=SETS,
    n_hashes=st.integers(1, 9),
    power=st.integers(1, 5),
    n_buckets=st.one_of(st.integers(2, 1000), st.integers(2, 2**32)),
    seed=st.integers(0, 2**64 - 1),
)
def test_codes_are_the_naive_ones(sets, n_hashes, power, n_buckets, seed):
    family = MinHash(n_hashes, power=power, n_buckets=n_buckets, seed=seed)
    signatures = family.signatures(rows(sets)).reshape(-1, n_hashes, power).tolist()
    keys = family.random_parameters["codes"].tolist()
    expected = signatures
    if power == 1 and n_buckets == 2**32:
        expected = [[values[0] for values in signature] for signature in signatures]
    else:
        expected = [[concatenate(v, k, n_buckets) for v, k in zip(s, keys, strict=True)] for s in signatures]
    codes = family.hash(rows(sets))
    assert codes.dtype == np.uint32
    assert codes.shape == (len(sets), n_hashes)
    assert codes.tolist() == expected


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(x=SETS, y=SETS, power=st.integers(1, 3))
def test_kernel_is_the_jaccard_similarity(x, y, power):
    family = MinHash(4, power=power)
    expected = [[naive.jaccard(a, b) ** power for b in y] for a in x]
    np.testing.assert_allclose(family.kernel(rows(x), rows(y)), np.reshape(expected, (len(x), len(y))))


# -- the laws of the family -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=40, deadline=None)
@given(sets=SETS, data=st.data())
def test_order_and_repetition_do_not_matter(scheme, sets, data):
    family = MinHash(40, scheme=scheme, seed=1)
    order = data.draw(st.permutations(range(len(sets))))
    shuffled = [data.draw(st.permutations(s + data.draw(st.permutations(s))[:3])) for s in sets]
    expected = family.signatures(rows(sets))[order]
    np.testing.assert_array_equal(family.signatures(rows(shuffled[i] for i in order)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_threads_do_not_matter(scheme):
    rng = np.random.default_rng(2)
    offsets = np.append(0, np.cumsum(rng.integers(0, 120, 30_000)))
    sets = rng.integers(0, 2**63, offsets[-1]), offsets
    families = MinHash(48, scheme=scheme, seed=5), MinHash(6, power=8, n_buckets=999, scheme=scheme, seed=5)
    results = []
    before = mergesketch.get_num_threads()
    try:
        for n in (1, 2, 4):
            mergesketch.set_num_threads(n)
            signatures = families[0].signatures(sets)
            similarity = families[0].estimate_jaccard(signatures[:-1], signatures[1:])
            results.append((signatures, families[1].hash(sets), similarity))
    finally:
        mergesketch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(results[0][2], (results[0][0][:-1] == results[0][0][1:]).mean(axis=1))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_forms_of_input_do_not_matter(scheme):
    """Every integer dtype, read-only and strided tokens, lists, pairs and CSR give one signature."""
    family = MinHash(20, scheme=scheme, seed=3)
    dense = np.random.default_rng(4).integers(0, 2, (30, 100), dtype=np.int8)
    dense[7] = 0
    sparse = scipy.sparse.csr_array(dense)
    expected = family.signatures([np.flatnonzero(row) for row in dense])
    tokens, offsets = sparse.indices, sparse.indptr
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
        np.testing.assert_array_equal(family.signatures((tokens.astype(dtype), offsets)), expected)
    read_only = tokens.astype(np.uint64)
    read_only.flags.writeable = False
    np.testing.assert_array_equal(family.signatures((read_only, offsets.astype(np.uint32))), expected)
    np.testing.assert_array_equal(family.signatures((np.repeat(tokens, 2)[::2], offsets)), expected)
    np.testing.assert_array_equal(family.signatures((tokens.astype(">i4"), offsets)), expected)
    for matrix in (sparse, sparse.astype(np.float64), sparse.tocoo(), scipy.sparse.csc_matrix(dense)):
        np.testing.assert_array_equal(family.signatures(matrix), expected)
    wide = scipy.sparse.csr_array(
        (sparse.data, tokens.astype(np.int64), offsets.astype(np.int64)), (30, 2**40)
    )
    np.testing.assert_array_equal(family.signatures(wide), expected)


def test_explicit_zeros_are_not_tokens():
    family = MinHash(16, seed=3)
    data, columns = np.array([1.0, 0.0, 2.0, 0.0]), np.array([4, 5, 1, 0])
    matrix = scipy.sparse.csr_array((data, columns, [0, 3, 4]), shape=(2, 9))
    kept = matrix.copy()
    np.testing.assert_array_equal(family.signatures(matrix), family.signatures([[1, 4], []]))
    np.testing.assert_array_equal(matrix.data, kept.data)
    np.testing.assert_array_equal(matrix.indices, kept.indices)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_negative_tokens_are_taken_modulo_2_64(scheme):
    family = MinHash(16, scheme=scheme)
    expected = family.signatures([np.array([2**64 - 1, 2**64 - 2**31, 7], dtype=np.uint64)])
    for dtype in (np.int32, np.int64):
        np.testing.assert_array_equal(family.signatures([np.array([-1, -(2**31), 7], dtype)]), expected)
        tokens = np.array([-1, -(2**31), 7], dtype), np.array([0, 3])
        np.testing.assert_array_equal(family.signatures(tokens), expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_empty_sets(scheme):
    family = MinHash(12, power=2, scheme=scheme, n_buckets=2**20)
    signatures = family.signatures([[], [1], [], list(range(200))])
    assert (signatures[[0, 2]] == EMPTY).all()
    assert (signatures[[1, 3]] != EMPTY).all()
    assert family.estimate_jaccard(signatures[[0, 0, 1]], signatures[[2, 1, 1]]).tolist() == [1, 0, 1]
    codes = family.hash([[], [1], []])
    assert (codes[0] == codes[2]).all()
    assert (codes[0] != codes[1]).any()
    assert family.kernel([[], [1]], [[], [1, 2]]).tolist() == [[1, 0], [0, 0.25]]
    for nothing in ([], (np.empty(0, np.uint64), np.zeros(1, np.int64)), scipy.sparse.csr_array((0, 5))):
        assert family.signatures(nothing).shape == (0, 24)
        assert family.hash(nothing).shape == (0, 12)
        assert family.kernel(nothing, [[1]]).shape == (0, 1)
    assert family.estimate_jaccard(signatures[:0], signatures[:0]).shape == (0,)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_token_has_its_own_signature(scheme):
    family = MinHash(64, scheme=scheme)
    tokens = np.array([0, 1, 2**32, 2**63, 2**64 - 1], dtype=np.uint64)
    signatures = family.signatures((tokens, np.arange(6)))
    for i in range(5):
        for j in range(i):
            assert not (signatures[i] == signatures[j]).any()


def test_value_of_the_empty_set_is_never_reached():
    """A token whose affine value is 2**32 - 1 in a hash function is lowered by one there."""

    n = 4096  # every hash function x -> x + (y ^ b) with b such that this token's value is 2**32 - 1
    token = np.array([12345], np.uint64)
    h = mix13(12345)
    b = np.full(n, (2**32 - 1 - h % 2**32) % 2**32 ^ h >> 32, np.uint32)
    out = np.empty((1, n), np.uint32)
    a, offsets = np.ones(n, np.uint32), np.array([0, 1])
    minhash.minhash_permutations(token, offsets, np.uint64(0), a, b, out)
    assert (out == EMPTY - 1).all()
    minhash.minhash_fast_similarity(token, offsets, np.uint64(0), np.ones(2, np.uint64), a, b, out)
    assert out.max() == EMPTY - 1


def test_configuration_round_trips():
    family = MinHash(10, power=3, n_buckets=500, expected_set_size=5000, seed=2**64 - 1)
    assert family.config() == {
        "family": "MinHash",
        "n_hashes": 10,
        "power": 3,
        "n_buckets": 500,
        "scheme": "fast-similarity",
        "seed": 2**64 - 1,
    }
    for other in (family_from_config(family.config()), pickle.loads(pickle.dumps(family))):
        assert other == family
        np.testing.assert_array_equal(other.hash([[1, 2, 3]]), family.hash([[1, 2, 3]]))
    assert MinHash(10, seed=1) != MinHash(10, seed=2)
    assert (MinHash(10, seed=1).hash([[1, 2]]) != MinHash(10, seed=2).hash([[1, 2]])).all()
    assert MinHash(10).chance_collision == 0.0
    assert MinHash(10, power=2).chance_collision == 2.0**-32
    assert family.chance_collision == 1 / 500
    assert "scheme='fast-similarity'" in repr(family)


def test_auto_picks_by_set_size_and_number_of_values():
    assert MinHash(64, expected_set_size=11).scheme == "permutations"
    assert MinHash(128).scheme == "fast-similarity"
    assert MinHash(128, expected_set_size=3700).scheme == "fast-similarity"
    assert MinHash(4, power=32).scheme == MinHash(128).scheme
    assert MinHash(64, expected_set_size=2**70).scheme == "fast-similarity"
    for m in (1, 16, 128, 1000):
        chosen = [choose_scheme(n, m) == "fast-similarity" for n in (1, 3, 10, 30, 100, 300, 1000, 10**5)]
        assert chosen == sorted(chosen), "short sets by permutations, long ones by fast similarity"


def test_signatures_are_pinned():
    """Saved sketches and indexes depend on these integers, so they never change."""
    pinned = {
        "permutations": [127210739, 632076073, 1088296303, 720708835],
        "one-permutation": [660932405, 141800521, 660932405, 254504408],
        "fast-similarity": [3703178724, 141800521, 660932405, 254504408],
    }
    for scheme, expected in pinned.items():
        assert MinHash(4, scheme=scheme, seed=7).signatures([[1, 2, 3, 4, 5]]).tolist() == [expected]


@pytest.mark.slow
def test_same_signatures_in_a_fresh_process_with_another_hash_seed():
    code = (
        "from mergesketch.lsh import MinHash\n"
        "print(MinHash(5, power=2, n_buckets=10**6, seed=3).hash([[1, 2, 3]]).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(MinHash(5, power=2, n_buckets=10**6, seed=3).hash([[1, 2, 3]]).tolist())


# -- collisions against theory ----------------------------------------------------------------------


def pairs(n, size, common, *, structured=False):
    """Return n pairs of sets of `size` tokens that share `common`; random tokens, or runs of integers."""
    width = 2 * size - common
    if structured:
        tokens = np.arange(n * width, dtype=np.uint64).reshape(n, width)
    else:
        tokens = np.random.default_rng(size).integers(0, 2**64, (n, width), dtype=np.uint64)
    return flat(tokens[:, :size]), flat(tokens[:, size - common :]), common / width


@pytest.mark.slow
@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("size", "n_hashes"), [(1, 16), (8, 48), (60, 64), (400, 64)])
def test_values_agree_with_probability_jaccard(scheme, size, n_hashes, structured):
    """Pairs of different tokens are independent trials; the hash functions of one pair are not.

    So one hash function a pair is binomial, and the mean of all is compared by the pairs' own spread.
    """
    family = MinHash(n_hashes, scheme=scheme, seed=11)
    n = 4000
    for common in sorted({0, size // 8, size // 2, size - size // 10, size}):
        A, B, J = pairs(n, size, common, structured=structured)
        agree = family.signatures(A) == family.signatures(B)
        one = agree[np.arange(n), np.arange(n) % n_hashes].mean()
        assert abs(one - J) <= 6 * math.sqrt(J * (1 - J) / n)
        estimate = agree.mean(axis=1)
        assert abs(estimate.mean() - J) <= 6 * estimate.std(ddof=1) / math.sqrt(n)


def test_standard_errors_are_the_documented_ones():
    """128 values of sets of 100 tokens have binomial errors with permutations, 0.75 of them with rounds.

    The standard error of a root mean square over n pairs is about its value / sqrt(2 n).
    """
    n = 6000
    A, B, J = pairs(n, 100, 82)
    binomial = math.sqrt(J * (1 - J) / 128)
    error = {}
    for scheme in SCHEMES:
        family = MinHash(128, scheme=scheme, seed=13)
        estimate = family.estimate_jaccard(family.signatures(A), family.signatures(B))
        error[scheme] = math.sqrt(np.mean((estimate - J) ** 2))
    slack = 6 / math.sqrt(2 * n)
    assert abs(error["permutations"] / binomial - 1) <= slack
    assert error["fast-similarity"] <= 0.73 * binomial * (1 + slack)
    assert error["one-permutation"] <= 1.05 * binomial * (1 + slack)


def test_kernel_is_the_collision_probability():
    family = MinHash(8, power=3)
    x, y = [[1, 2, 3, 4], []], [[3, 4, 5, 6, 3], [9]]
    J = MinHash(8).kernel(x, y)
    np.testing.assert_allclose(family.kernel(x, y), family.collision_probability(1 - J))
    assert family.collision_probability([0.0, 1.0]).tolist() == [1.0, 0.0]


# -- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_hashes": 0}, ValueError, "n_hashes"),
        ({"n_hashes": 2.0}, TypeError, "n_hashes"),
        ({"n_hashes": True}, TypeError, "n_hashes"),
        ({"power": 0}, ValueError, "power"),
        ({"n_hashes": 2**19, "power": 3}, ValueError, r"n_hashes \* power"),
        ({"n_buckets": 1}, ValueError, "n_buckets"),
        ({"n_buckets": 2**32 + 1}, ValueError, "n_buckets"),
        ({"scheme": "superminhash"}, ValueError, "scheme must be one of 'auto', 'permutations'"),
        ({"scheme": None}, ValueError, "scheme"),
        ({"expected_set_size": 0}, ValueError, "expected_set_size"),
        ({"expected_set_size": 1.5}, TypeError, "expected_set_size"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"seed": None}, TypeError, "seed"),
    ],
)
def test_bad_parameters_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        MinHash(**arguments)


@pytest.mark.parametrize(
    "sets",
    [
        None,
        3,
        "text",
        np.arange(5),
        ["a b", "c"],
        [[1.5]],
        [[[1, 2]]],
        (np.array([1.0, 2.0]), np.array([0, 2])),
        (np.array([1, 2]), np.array([0.0, 2.0])),
        (np.array([1, 2]), np.array([0, 3])),
        (np.array([1, 2]), np.array([1, 2])),
        (np.array([1, 2]), np.array([0, 2, 1, 2])),
        (np.array([1, 2]), np.array([], dtype=np.int64)),
        (np.array([[1, 2]]), np.array([0, 2])),
        (np.array([1, 2]), np.array([[0, 2]])),
        scipy.sparse.csr_array(np.array([[1j]])),
    ],
)
def test_bad_sets_are_refused(sets):
    family = MinHash(4, power=2)
    with pytest.raises((TypeError, ValueError), match=r"^sets"):
        family.signatures(sets)
    with pytest.raises((TypeError, ValueError), match=r"^X"):
        family.hash(sets)
    with pytest.raises((TypeError, ValueError), match=r"^Y"):
        family.kernel([[1]], sets)


def test_bad_signatures_are_refused():
    family = MinHash(4, power=2)
    good = family.signatures([[1], [2]])
    for bad in (good.astype(np.int64), good.astype(np.float32), None):
        with pytest.raises(TypeError, match=r"^A must be signatures of dtype uint32"):
            family.estimate_jaccard(bad, good)
    for bad in (good[0], good[:, :4], good[None]):
        with pytest.raises(ValueError, match=r"^B must have shape \(n, 8\)"):
            family.estimate_jaccard(good, bad)
    with pytest.raises(ValueError, match=r"^B must have the shape of A"):
        family.estimate_jaccard(good, good[:1])
    np.testing.assert_array_equal(family.estimate_jaccard(good[::-1], good[::-1].copy(order="F")), [1, 1])


def test_bad_distances_are_refused():
    for bad in (-0.1, 1.1, math.nan, [0.5, 2]):
        with pytest.raises(ValueError, match=r"^distance"):
            MinHash(4).collision_probability(bad)
    with pytest.raises(TypeError, match=r"^distance"):
        MinHash(4).collision_probability("near")


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"seed": 2}, "seed: 1 here, 2 there"),
        ({"scheme": "one-permutation"}, "scheme: 'permutations' here, 'one-permutation' there"),
        ({"expected_set_size": 1000}, "scheme: 'permutations' here, 'fast-similarity' there"),
        ({"n_hashes": 32, "power": 4}, r"n_hashes \* power: 64 here, 128 there"),
    ],
)
def test_signatures_of_other_settings_are_refused_where_their_family_is_told(other, difference):
    here = MinHash(64, seed=1, expected_set_size=20)
    there = MinHash(**{"n_hashes": 64, "seed": 1, "expected_set_size": 20, **other})
    sets = [np.arange(500), np.repeat([3, 4], 5)]
    ours, theirs = here.signatures(sets), there.signatures(sets)
    with pytest.raises(IncompatibleSketchError, match=f"signatures differ in {difference}"):
        here.estimate_jaccard(ours, theirs, family=there)
    with pytest.raises(IncompatibleSketchError, match="signatures differ in"):
        here.codes(theirs, family=there)
    # Bands of other widths are cut from one and the same signature.
    banded = MinHash(16, power=4, n_buckets=2**20, seed=1, expected_set_size=20)
    assert here.estimate_jaccard(ours, banded.signatures(sets), family=banded).tolist() == [1.0, 1.0]
    np.testing.assert_array_equal(banded.codes(ours, family=here), banded.hash(sets))
    with pytest.raises(TypeError, match="family must be a MinHash, got str"):
        here.estimate_jaccard(ours, ours, family="permutations")


def test_lists_of_tokens_beyond_int64() -> None:
    """NumPy would convert them to floats, and those are refused."""
    rows = [[1, 2**63], [-1, 2**64 - 1], [2**63, 5, -(2**63)]]
    tokens, offsets = np.array([t % 2**64 for row in rows for t in row], np.uint64), np.array([0, 2, 4, 7])
    np.testing.assert_array_equal(MinHash(8).hash(rows), MinHash(8).hash((tokens, offsets)))
    for beyond in (2**64, -(2**63) - 1):
        with pytest.raises(TypeError, match=r"X\[0\] must be a 1-D array of integers"):
            MinHash(8).hash([[1, beyond]])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "n_tokens", "similarity", "stated"),
    [
        ("permutations", 100, 0.6, 0.0),
        ("fast-similarity", 100, 0.8, -0.027),
        ("fast-similarity", 100, 0.6, -0.075),
        ("one-permutation", 20, 0.8, 0.024),
        ("one-permutation", 20, 0.6, 0.06),
    ],
)
def test_eight_values_together_collide_as_often_as_is_stated(
    scheme: str, n_tokens: int, similarity: float, stated: float
) -> None:
    common = round(similarity * n_tokens)
    left = (n_tokens + common) // 2
    tokens = np.random.default_rng(0).integers(0, 2**62, (60, n_tokens))
    X = list(tokens[:, :left])
    Y = [np.concatenate([row[:common], row[left:]]) for row in tokens]
    n_seeds, rates = 500, []
    for seed in range(n_seeds):
        family = MinHash(16, power=8, scheme=scheme, seed=seed)
        rates.append((family.hash(X) == family.hash(Y)).mean() / similarity**8)
    assert float(MinHash(16, power=8).collision_probability(1 - similarity)) == pytest.approx(similarity**8)
    error = np.std(rates) / np.sqrt(n_seeds)
    assert abs(np.mean(rates) - 1.0 - stated) < 4 * error
    if stated:
        assert abs(np.mean(rates) - 1.0) > 3 * error
