"""Test static functions against a dict: no combination of options gives a wrong answer for a stored key."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import tracemalloc
from fractions import Fraction

import mergesketch
import numpy as np
import pyarrow as pa
import pytest
import xxhash
from forged_files import header_of, with_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from later import LaterItems
from mergesketch import RibbonFilter, StaticFunction, StaticFunctionBuilder, StaticTable, set_num_threads
from mergesketch.errors import SketchFormatError

# -- every combination against a dict -------------------------------------------------------------

KEYS = {
    "int": lambda n, rng: rng.choice(2**62, size=n, replace=False).astype(np.int64) - 2**61,
    "uint64": lambda n, rng: rng.choice(2**62, size=n, replace=False).astype(np.uint64) * np.uint64(4),
    "uint16": lambda n, rng: rng.permutation(2**16)[:n].astype(np.uint16),
    "list of int": lambda n, rng: [int(k) - n // 2 for k in rng.permutation(3 * n)[:n]],
    "list of str": lambda n, rng: [f"clé {k}" for k in rng.permutation(3 * n)[:n]],
    "list of bytes": lambda n, rng: [b"k%d" % k for k in rng.permutation(3 * n)[:n]],
    "U": lambda n, rng: rng.permutation(3 * n)[:n].astype(str),
    "S": lambda n, rng: rng.permutation(3 * n)[:n].astype("S"),
    "Arrow string": lambda n, rng: pa.array([f"k{k}" for k in rng.permutation(3 * n)[:n]]),
    "Arrow large_string": lambda n, rng: pa.array([f"k{k}" for k in range(n)], pa.large_string()),
    "Arrow binary": lambda n, rng: pa.array([b"k%d" % k for k in range(n)]),
    "Arrow int": lambda n, rng: pa.array(rng.permutation(3 * n)[:n]),
    "Arrow chunks": lambda n, rng: pa.chunked_array([[f"a{k}" for k in range(n // 2)], [f"b{k}" for k in
    range(n - n // 2)]]),
}  # fmt: skip

#: Distinct values of each type, in the order in which a distribution ranks them.
VALUES = {
    "int64": lambda ranks: ranks * 7 - 3,
    "int8": lambda ranks: (ranks % 200 - 100).astype(np.int8),
    "uint64": lambda ranks: np.uint64(2**64 - 1) - ranks.astype(np.uint64) ** np.uint64(3),
    "wide": lambda ranks: ranks.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
    "bool": lambda ranks: ranks % 2 == 0,
    "float32": lambda ranks: np.where(ranks == 1, np.nan, np.sqrt(ranks)).astype(np.float32),
    "float64": lambda ranks: np.where(ranks == 2, -np.inf, np.sqrt(ranks)),
    "str": lambda ranks: [f"värde {r}" * (r % 3) for r in ranks.tolist()],
    "bytes": lambda ranks: [b"\0%d" % r for r in ranks.tolist()],
    "U": lambda ranks: ranks.astype(str),
    "S": lambda ranks: ranks.astype("S"),
    "Arrow string": lambda ranks: pa.array([f"v{r}" for r in ranks.tolist()]),
    "Arrow int": lambda ranks: pa.array(ranks),
}


def ranks(distribution: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ranks of values: majorities above and below one half, several, none; all equal, all unequal."""
    return {
        "majority": lambda: np.where(rng.random(n) < 0.9, 0, rng.integers(1, 9, n)),
        "minority": lambda: np.where(rng.random(n) < 0.4, 0, rng.integers(1, 99, n)),
        "cascade": lambda: rng.geometric(0.85, n) - 1,
        "geometric": lambda: rng.geometric(0.1, n),
        "one": lambda: np.zeros(n, dtype=np.int64),
        "distinct": lambda: rng.permutation(n),
        "heavy tail": lambda: np.where(rng.random(n) < 0.5, rng.integers(0, 4, n), rng.integers(4, 10**4, n)),
    }[distribution]()


DISTRIBUTIONS = ["majority", "minority", "cascade", "geometric", "one", "distinct", "heavy tail"]


def same(found, expected) -> None:
    expected = np.array(expected.to_pylist() if isinstance(expected, pa.Array) else expected)
    found = np.asarray(found)
    if expected.dtype.kind == "f":
        assert found.tobytes() == expected.tobytes()
    else:
        assert found.astype(expected.dtype if expected.size else found.dtype).tolist() == expected.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("key_type", KEYS)
@pytest.mark.parametrize("value_type", VALUES)
def test_every_key_and_value_type(key_type, value_type):
    rng = np.random.default_rng(len(key_type) * 31 + len(value_type))
    for distribution, check_bits in zip(DISTRIBUTIONS, itertools.cycle([0, 8]), strict=False):
        n = 700
        keys = KEYS[key_type](n, rng)
        values = VALUES[value_type](ranks(distribution, n, rng))
        function = StaticFunction(keys, values, key_check_bits=check_bits, seed=rng.integers(2**40).item())
        found = function.lookup(keys)
        assert not np.ma.is_masked(found)
        same(found, values)
        same(StaticFunction.from_bytes(function.to_bytes()).lookup(keys), values)


@pytest.mark.slow
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("codebook", ["separate", "shared"])
@pytest.mark.parametrize("permute", ["none", "entropy", "global"])
@pytest.mark.parametrize("threads", [1, 4])
def test_every_table(distribution, codebook, permute, threads, tmp_path):
    """Filters below and above one half, codebooks, permutations, columns, storage and threads are tested."""
    rng = np.random.default_rng(11)
    before = mergesketch.get_num_threads()
    try:
        set_num_threads(threads)
        for n_columns, n, check_bits in ((1, 900, 0), (2, 5000, 12), (5, 300, 0)):
            keys = rng.choice(10**9, size=n, replace=False)
            rows = np.stack([ranks(distribution, n, rng) * (1 + j % 2) for j in range(n_columns)], axis=1)
            given = rows.copy()
            table = StaticTable(keys, rows, codebook=codebook, permute=permute, key_check_bits=check_bits)
            np.testing.assert_array_equal(rows, given)
            path = tmp_path / f"{n}.table"
            table.save(path)
            copies = [
                table, StaticTable.from_bytes(table.to_bytes()), StaticTable.load(path),
                pickle.loads(pickle.dumps(table)), mergesketch.load(path, mmap=True),
            ]  # fmt: skip
            for copy in copies:
                assert copy == table
                order = rng.permutation(n)
                found = copy.lookup(keys[order])
                assert found.shape == (n, n_columns) and found.dtype == rows.dtype
                if permute == "none":
                    np.testing.assert_array_equal(found, rows[order])
                else:
                    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(rows[order], axis=1))
    finally:
        set_num_threads(before)


ENTRIES = st.dictionaries(
    st.integers(-(2**63), 2**64 - 1),
    st.one_of(st.integers(0, 3), st.integers(-(2**62), 2**62)),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ENTRIES, st.sampled_from([0, 5, 64]), st.integers(0, 2**64 - 1), st.randoms(use_true_random=False))
def test_any_small_map(entries, check_bits, seed, random):
    # Keys are hashed modulo 2**64, so a list may not hold k and k - 2**64.
    entries = {k: v for k, v in entries.items() if k < 2**63 or k - 2**64 not in entries}
    pairs = list(entries.items())
    keys, values = [k for k, _ in pairs], [v for _, v in pairs]
    function = StaticFunction(keys, values, key_check_bits=check_bits, seed=seed)
    assert len(function) == len(pairs)
    assert function.lookup(keys).tolist() == values
    for key, value in pairs[:3]:
        assert function[key] == value
    random.shuffle(pairs)
    again = pairs + pairs[: len(pairs) // 2]
    keys, values = [k for k, _ in again], [v for _, v in again]
    shuffled = StaticFunction(keys, values, key_check_bits=check_bits, seed=seed)
    assert shuffled.to_bytes() == function.to_bytes()


def test_many_shards_in_any_order_and_with_any_threads():
    rng = np.random.default_rng(2)
    keys, values = rng.integers(0, 2**64, 400_000, dtype=np.uint64), rng.geometric(0.7, 400_000)
    whole = StaticFunction(keys, values)
    assert whole.n_shards > 1
    order = rng.permutation(keys.size)
    before = mergesketch.get_num_threads()
    try:
        for threads in (1, 3):
            set_num_threads(threads)
            assert StaticFunction(keys[order], values[order]).to_bytes() == whole.to_bytes()
            np.testing.assert_array_equal(whole.lookup(keys), values)
    finally:
        set_num_threads(before)


def test_fibonacci_frequencies_are_cut_to_24_bits():
    counts = [1, 1]
    while sum(counts) < 400_000:
        counts.append(counts[-1] + counts[-2])
    values = np.repeat(np.arange(len(counts)) * 10**6, counts)
    function = StaticFunction(np.arange(values.size), values)
    np.testing.assert_array_equal(function.lookup(np.arange(values.size)), values)


@pytest.mark.parametrize("precision", [0.25, 1e-3])
def test_precision_bounds_the_error(precision):
    values = np.random.default_rng(3).normal(size=5000).astype(np.float32)
    function = StaticFunction(np.arange(5000), values, precision=precision)
    found = function.lookup(np.arange(5000))
    assert found.dtype == np.float32
    assert np.abs(found.astype(np.float64) - values).max() <= precision / 2 * (1 + 1e-5)


# -- what it costs --------------------------------------------------------------------------------


def entropy_bytes(values: np.ndarray) -> float:
    counts = np.unique(values, return_counts=True)[1]
    return float(-(counts * np.log2(counts / values.size)).sum() / 8)


def geometric(entropy: float, n: int, rng: np.random.Generator) -> np.ndarray:
    low, high = 1e-9, 1 - 1e-9
    for _ in range(100):
        p = (low + high) / 2
        h = -(p * math.log2(p) + (1 - p) * math.log2(1 - p)) / p
        low, high = (p, high) if h > entropy else (low, p)
    return rng.geometric(low, n).astype(np.uint32)


def zipf(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return 40,000 symbols of 8 bits of entropy."""
    low, high = 0.5, 3.0
    for _ in range(60):
        power = (low + high) / 2
        share = np.arange(1, 40_001.0) ** -power
        share /= share.sum()
        low, high = (power, high) if -(share @ np.log2(share)) > 8 else (low, power)
    return rng.choice(40_000, n, p=share).astype(np.uint32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "bound"),
    [(0.5, 1.20), (2, 1.04), (4, 1.04), (8, 1.04), ("zipf", 1.08)],
    ids=lambda argument: str(argument),
)
def test_a_million_keys_take_little_more_than_the_entropy(values, bound):
    """Every byte of the file is counted, and a loaded one takes the memory of its file."""
    rng = np.random.default_rng(4)
    n = 1_000_000
    drawn = zipf(n, rng) if values == "zipf" else geometric(values, n, rng)
    keys = rng.integers(0, 2**64, n, dtype=np.uint64)
    function = StaticFunction(keys, drawn)
    data = function.to_bytes()
    assert len(data) <= bound * entropy_bytes(drawn)
    some = keys[:1000]
    del function
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        loaded = StaticFunction.from_bytes(data)
        np.testing.assert_array_equal(loaded.lookup(some), drawn[:1000])
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # 10 KB for the Python objects themselves.
    assert held <= 1.02 * len(data) + 10_000


def test_distinct_values_take_their_width_and_one_value_nothing():
    rng = np.random.default_rng(5)
    keys = np.arange(200_000)
    for dtype, width in ((np.uint32, 4), (np.uint64, 8)):
        values = rng.integers(0, 2 ** (8 * width), 200_000, dtype=dtype)
        assert len(StaticFunction(keys, values).to_bytes()) <= 1.03 * values.nbytes
    assert len(StaticFunction(keys, np.full(200_000, 7)).to_bytes()) < 1500
    assert len(StaticFunction([], []).to_bytes()) < 1500
    assert len(StaticFunction(keys, keys % 4 == 0, key_check_bits=8).to_bytes()) < 1.03 * 200_000 * 9 / 8


# -- what is not there, and what is refused -------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 6, 12])
def test_absent_keys_are_found_out_at_the_stated_rate(bits):
    n = 100_000
    function = StaticFunction(np.arange(n), np.arange(n) % 7, key_check_bits=bits)
    absent = np.arange(n, 4 * n)
    found = function.contains(absent)
    assert function.contains(np.arange(n)).all()
    rate = 2.0**-bits
    assert abs(found.mean() - rate) <= 6 * math.sqrt(rate * (1 - rate) / absent.size)
    masked = function.lookup(absent)
    np.testing.assert_array_equal(~np.ma.getmaskarray(masked), found)
    filled = function.lookup(absent, missing=-1)
    np.testing.assert_array_equal(filled == -1, ~found)
    with pytest.raises(KeyError):
        function[int(absent[~found][0])]


def test_one_key_is_asked_for_by_in_and_there_is_nothing_to_iterate():
    checked = StaticFunction(["a", "b"], [1, 2], key_check_bits=60)
    assert "a" in checked and "x" not in checked
    with pytest.raises(ValueError, match="contains needs key_check_bits"):
        assert "a" in StaticFunction(["a"], [1])
    for maps in (checked, StaticTable([1], [[2, 3]])):
        with pytest.raises(TypeError, match="not iterable"):
            iter(maps)


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        (["a", "b"], [1, 2]),
        ([b"a", b"b"], [0.5, 1.5]),
        ([5, -6], ["x", "y"]),
        ([5, 6], [b"x", b"y"]),
        ([5, 2**64 - 1], [True, False]),
        (["a", "b"], np.array(["x", "y"])),
        (["a", "b"], np.array([1, 2], np.int8)),
    ],
)
def test_one_key_is_looked_up_as_a_python_object(keys, values):
    function = StaticFunction(keys, values, key_check_bits=40)
    table = StaticTable(keys, [[value, value] for value in values], key_check_bits=40)
    held = RibbonFilter(keys, 1e-9)
    for key, value in zip(
        keys, np.asarray(values, object) if isinstance(values, list) else values, strict=True
    ):
        expected = value.item() if hasattr(value, "item") else value
        for form in (key, np.array(key)):
            for found in (function.lookup(form), function.query(form)):
                assert type(found) is type(expected) and found == expected
            assert table.lookup(form).tolist() == [expected, expected]
            assert function.contains(form) is table.contains(form) is held.contains(form) is True
        assert key in function and key in held
    absent = "absent" if isinstance(keys[0], str) else b"absent" if isinstance(keys[0], bytes) else 777
    assert function.lookup(absent) is None and table.lookup(absent) is None
    assert function.contains(absent) is held.contains(absent) is False
    missing = values[1]
    assert function.lookup(absent, missing=missing) == missing
    assert table.lookup(absent, missing=missing).tolist() == [missing, missing]


def test_structures_of_one_text_are_refused():
    for build in (lambda keys: StaticFunction(keys, 1), RibbonFilter, lambda keys: StaticTable(keys, [1])):
        for keys in ("abc", b"abc", 5, np.array(5)):
            with pytest.raises(TypeError, match="keys must be an array or a list, got"):
                build(keys)


def test_absent_keys_get_some_value_without_a_check():
    function = StaticFunction(["a", "b"], ["x", "y"])
    assert set(function.lookup([f"absent {i}" for i in range(500)]).tolist()) <= {"x", "y"}
    assert StaticFunction([], []).lookup([1, 2]).shape == (2,)
    with pytest.raises(ValueError, match="contains needs key_check_bits"):
        function.contains(["a"])
    with pytest.raises(ValueError, match="missing needs key_check_bits"):
        function.lookup(["a"], missing="?")


def test_equal_duplicates_merge_and_conflicting_ones_name_the_key():
    assert len(StaticFunction(["a", "b", "a"], [1, 2, 1])) == 2
    assert len(StaticTable([5, 5], [[1, 2], [1, 2]])) == 1
    for keys, shown in (
        (["a", "b", "a"], "'a'"),
        ([7, 8, 7], "7"),
        (np.array([7, 8, 7], dtype=np.uint8), "7"),
        (pa.array(["x", "y", "x"]), "'x'"),
        (np.array([b"x", b"y", b"x"]), "b'x'"),
    ):
        message = rf"keys must have one value each, got {shown} with 1 \(at 0\) and 3 \(at 2\)"
        with pytest.raises(ValueError, match=message):
            StaticFunction(keys, [1, 2, 3])
    with pytest.raises(ValueError, match=r"got 5 with \[1, 2\] \(at 0\) and \[1, 3\] \(at 1\)"):
        StaticTable([5, 5], [[1, 2], [1, 3]])


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, "keys and values must have the same length, got 2 and 1",
        lambda: StaticFunction([1, 2], [3])),
        (TypeError, "keys must be an array or a list, got str", lambda: StaticFunction("ab", [1, 2])),
        (TypeError, "keys must be all str", lambda: StaticFunction(["a", 1], [1, 2])),
        (TypeError, "keys must be integers or strings", lambda: StaticFunction(np.zeros(2), [1, 2])),
        (TypeError, "values must be all", lambda: StaticFunction([1, 2], [1, "a"])),
        (TypeError, "values must be", lambda: StaticFunction([1, 2], [1j, 2])),
        (ValueError, "values must fit int64, or uint64", lambda: StaticFunction([1, 2], [-1, 2**63])),
        (ValueError, "values must be one-dimensional", lambda: StaticFunction([1], [[1]])),
        (ValueError, r"rows must have shape \(n, columns\)", lambda: StaticTable([1], [1])),
        (ValueError, "rows must have at most", lambda: StaticTable([1], np.zeros((1, 20_000)))),
        (ValueError, "codebook must be one of", lambda: StaticTable([1], [[1]], codebook="both")),
        (ValueError, "permute must be one of", lambda: StaticTable([1], [[1]], permute="sort")),
        (ValueError, "seed must be", lambda: StaticFunction([1], [1], seed=-1)),
        (ValueError, "key_check_bits must be", lambda: StaticFunction([1], [1], key_check_bits=65)),
        (TypeError, "values must be float32 or float64 to", lambda: StaticFunction([1], [1], precision=0.1)),
        (ValueError, "precision must be", lambda: StaticFunction([1], [1.0], precision=0.0)),
        (ValueError, "values must be finite", lambda: StaticFunction([1], [np.nan], precision=0.1)),
        (ValueError, "error_rate must be", lambda: RibbonFilter([1], error_rate=0.0)),
        (TypeError, "keys must be integers as at construction, got strings", lambda: StaticFunction([1],
        [1]).lookup(["1"])), (TypeError, "keys must be strings or bytes as at", lambda: StaticFunction(["1"],
        [1]).lookup([1])),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(error, message, make):
    with pytest.raises(error, match=message):
        make()


# -- ribbon filters -------------------------------------------------------------------------------


def test_filter_has_no_false_negatives_and_the_stated_error_rate():
    n = 300_000
    for error_rate in (0.3, 0.01, 1e-4):
        seen = RibbonFilter(np.arange(n), error_rate=error_rate, seed=9)
        assert seen.contains(np.arange(n)).all()
        assert seen.error_rate <= error_rate < 2 * seen.error_rate
        found = seen.contains(np.arange(n, 3 * n)).mean()
        assert abs(found - seen.error_rate) <= 6 * math.sqrt(seen.error_rate / (2 * n))
        assert 8 * len(seen.to_bytes()) <= 1.03 * n * seen.n_bits
        assert RibbonFilter.from_bytes(seen.to_bytes()) == seen


@pytest.mark.slow
@given(st.lists(st.text(max_size=5)))
def test_filter_of_any_strings(words):
    seen = RibbonFilter(words, error_rate=0.1)
    assert len(seen) == len(set(words))
    assert seen.contains(words).all()
    assert all(word in seen for word in words[:2])


def test_filter_of_nothing_has_nothing():
    assert not RibbonFilter([]).contains(["a", "b"]).any()
    assert RibbonFilter([]).error_rate == 0.0


@given(st.integers(1, 3000), st.integers(1, 64), st.integers(0, 2))
def test_filter_tells_the_rate_that_hashes_of_64_bits_can_hold(n, bits, beside):
    """The n hashes of keys pass, and one in 2**bits of the other 2**64 - n, in exact fractions."""

    def rate(bits):
        return (n + Fraction(2**64 - n, 2**bits)) / 2**64

    wanted = float(rate(bits)) * (1 + (beside - 1) * 1e-3)
    fewest = next((b for b in range(1, 65) if rate(b) <= Fraction(wanted) * (1 + Fraction(1, 10**6))), None)
    if fewest is None:
        with pytest.raises(
            ValueError, match=f"error_rate must be at least .* for {n:,} keys of 64-bit hashes"
        ):
            RibbonFilter(np.arange(n), wanted)
        return
    seen = RibbonFilter(np.arange(n), wanted)
    assert seen.n_bits == fewest
    assert seen.error_rate == pytest.approx(float(rate(fewest)), rel=1e-12)
    assert RibbonFilter.from_bytes(seen.to_bytes()).error_rate == seen.error_rate


@pytest.mark.parametrize("wanted", [5e-324, 2.0**-64, 1e-16])
def test_filter_refuses_rates_that_no_hash_can_hold(wanted):
    with pytest.raises(ValueError, match=r"at least 5.42e-15 for 100,000 keys of 64-bit hashes, got"):
        RibbonFilter(np.arange(100_000), wanted)


# -- hostile files --------------------------------------------------------------------------------


NUMBERS = np.arange(6000)
MADE: LaterItems[StaticFunction | StaticTable | RibbonFilter] = LaterItems(
    {
        "codes": lambda: StaticFunction(NUMBERS, np.random.default_rng(6).geometric(0.2, 6000)),
        "filters": lambda: StaticFunction(
            NUMBERS, ranks("cascade", 6000, np.random.default_rng(7)), key_check_bits=4
        ),
        "raw": lambda: StaticFunction(NUMBERS, np.random.default_rng(8).integers(0, 2**40, 6000)),
        "text": lambda: StaticFunction(
            NUMBERS, [f"v{r}" for r in np.random.default_rng(9).geometric(0.3, 6000)]
        ),
        "table": lambda: StaticTable(
            NUMBERS, np.random.default_rng(10).geometric(0.5, (6000, 3)), codebook="shared"
        ),
        "filter": lambda: RibbonFilter(NUMBERS),
    }
)


def resigned(data: bytes) -> bytes:
    """Return the same damaged bytes under checksums that are right."""
    header = header_of(data)
    start = 8 + int.from_bytes(data[:8], "little")
    digest = xxhash.xxh3_64()
    for name in sorted(set(header) - {"__metadata__"}):
        begin, end = header[name]["data_offsets"]
        digest.update(data[start + begin : start + end])
    header["__metadata__"]["data_xxh3"] = digest.hexdigest()
    return with_header(data, header)


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_flipped_bytes_never_crash_hang_or_take_memory(name, tmp_path):
    """Where the checksums fit, the validators and kernels see the damage."""
    data = MADE[name].to_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    cls = type(MADE[name])
    rng = np.random.default_rng(7)
    arrays = {name: entry for name, entry in header_of(data).items() if name != "__metadata__"}
    small = [entry["data_offsets"] for name, entry in arrays.items() if name != "solution"]
    keys = np.arange(3000)
    survived = 0
    for attempt in range(250):
        damaged = bytearray(data)
        if attempt % 5 == 0:
            place = int(rng.integers(0, len(data)))
        else:
            begin, end = small[int(rng.integers(len(small)))]
            place = start + int(rng.integers(begin, max(end, begin + 1)))
            place = min(place, len(data) - 1)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(SketchFormatError):
            cls.from_bytes(bytes(damaged))
        if place < start:
            continue
        forgery = resigned(bytes(damaged))
        tracemalloc.start()
        try:
            loaded = cls.from_bytes(forgery)
        except SketchFormatError:
            continue
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= 6 * len(data) + 200_000
        survived += 1
        found = loaded.contains(keys) if cls is RibbonFilter else loaded.lookup(keys)
        assert len(found) == keys.size
        path = tmp_path / "damaged"
        path.write_bytes(forgery)
        mapped = mergesketch.load(path, mmap=True)
        assert len(mapped.contains(keys) if cls is RibbonFilter else mapped.lookup(keys)) == keys.size
    assert survived


CONFIGS = [
    ("n_shards", 2), ("n_shards", 3), ("n_shards", 2**40), ("n_shards", "1"), ("n_keys", -1), ("n_keys",
    True), ("seed", 2**64), ("key_kind", "float"), ("key_check_bits", 65), ("key_check_bits", 3),
    ("n_codebooks", 0), ("n_codebooks", 2), ("n_codebooks", 2**30), ("columns", []), ("columns", [{}]),
    ("columns", [1]), ("columns", None), ("columns", [{"codebook": 5, "filters": [], "prefix_bits": 0}]),
    ("columns", [{"codebook": 0, "filters": [[65, 0]], "prefix_bits": 0}]), ("columns", [{"codebook": 0,
    "filters": [[1, 0]] * 9, "prefix_bits": 0}]), ("columns", [{"codebook": 0, "filters": [], "prefix_bits":
    60}]), ("values", {"kind": "int", "dtype": "object", "precision": 0.0}), ("values", {"kind": "str",
    "dtype": "U1000000000", "precision": 0.0}), ("values", {"kind": "int", "dtype": "nothing", "precision":
    0.0}), ("values", {}), ("values", None),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), CONFIGS, ids=lambda argument: str(argument)[:40])
def test_forged_configurations_are_refused(field, value):
    data = MADE["text" if isinstance(value, dict) and value.get("kind") == "str" else "codes"].to_bytes()
    header = header_of(data)
    config = json.loads(header["__metadata__"]["config"])
    config[field] = value
    header["__metadata__"]["config"] = json.dumps(config)
    with pytest.raises(SketchFormatError):
        StaticFunction.from_bytes(with_header(data, header))


@pytest.mark.parametrize("name", MADE)
def test_truncated_and_foreign_files(name):
    data, cls = MADE[name].to_bytes(), type(MADE[name])
    for length in (0, 7, 100, len(data) - 1):
        with pytest.raises(SketchFormatError):
            cls.from_bytes(data[:length])
    with pytest.raises(SketchFormatError, match="expected a CountMinSketch, got a"):
        mergesketch.CountMinSketch.from_bytes(data)


def test_values_are_looked_at_before_numpy_makes_one_type_of_them() -> None:
    for mixed in ([1, "a"], [2**53 + 1, 0.5], [True, 2], [b"a", "a"], [np.float64(1), 1]):
        for values in (mixed, np.array(mixed, dtype=object), mixed[::-1]):
            with pytest.raises(TypeError, match=r"^values must be all int, all bool, .* got .*, "):
                StaticFunction([1, 2], values)
            with pytest.raises(TypeError, match=r"^rows must be all int"):
                StaticTable([1, 2], [values, values])
            with pytest.raises(TypeError, match=r"^values must be all int"):
                StaticFunctionBuilder().update([1, 2], values)
    with pytest.raises(TypeError, match=r"^rows must be all int"):
        StaticTable([1, 2], [np.array([1, 2]), np.array([0.5, 1.0])])
    with pytest.raises(TypeError, match=r"^missing must be all int"):
        StaticTable([1], [[1, 2]], key_check_bits=8).lookup([1], missing=[True, 2])
    for values, dtype in (
        ([2**63, 1], np.uint64),
        ([np.uint64(2**63), 5], np.uint64),
        ([np.int8(1), np.int8(-1)], np.int8),
        ([np.float32(0.5)] * 2, np.float32),
        ([np.True_, False], np.bool_),
    ):
        plain = np.array(values, dtype=object)
        for container in (values, plain, tuple(values)):
            found = StaticFunction([1, 2], container).lookup([1, 2])
            assert found.dtype == dtype and found.tolist() == plain.astype(dtype).tolist()


def test_values_that_are_equal_and_not_the_same_are_two_values() -> None:
    with pytest.raises(ValueError, match=r"got 'a' with 0.0 \(at 0\) and -0.0 \(at 1\)"):
        StaticFunction(["a", "a"], [0.0, -0.0])
    with pytest.raises(ValueError, match=r"got 7 with \[0.0, 1.0\] \(at 1\) and \[-0.0, 1.0\] \(at 2\)"):
        StaticTable([1, 7, 7], [[0.0, 1.0], [0.0, 1.0], [-0.0, 1.0]])
    # NaNs of the same bits are one value, and steps of a precision have a single zero.
    assert np.isnan(StaticFunction(["a", "a"], [np.nan, np.nan])["a"])
    assert StaticFunction(["a", "a"], [0.0, -0.0], precision=0.1)["a"] == 0.0


@pytest.mark.parametrize("dtype", ["i2", "i8", "u4", "f4", "f8", "U5"])
def test_values_of_both_byte_orders(dtype: str) -> None:
    plain = np.array([1, 256, 3]).astype(dtype)
    keys = [1, 2, 3]
    for order in "<>":
        values = plain.astype(plain.dtype.newbyteorder(order))
        function = StaticFunction(keys, values)
        assert function.to_bytes() == StaticFunction(keys, plain).to_bytes()
        np.testing.assert_array_equal(StaticFunction.from_bytes(function.to_bytes()).lookup(keys), plain)
        assert StaticFunctionBuilder().update(keys, values).build() == function
