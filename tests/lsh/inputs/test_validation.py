"""Test the checks that all classes share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from later import Later
from mergesketch import (
    AceSketch,
    BloomFilter,
    BloomPooling,
    BloomSignatures,
    CountMinSketch,
    DensitySketch,
    LSHIndex,
    MinHashSketch,
    Race,
    RaceWindow,
    StaticFunction,
    StaticFunctionBuilder,
    StaticTable,
    suggest,
)
from mergesketch.lsh import MinHash, PStable, SignedRandomProjection, hash_keys, shingle
from mergesketch.lsh.inputs.columns import refuse_masked
from mergesketch.lsh.support.checks import (
    check_choice,
    check_flag,
    check_generator,
    check_int,
    check_real,
    renamed,
)


def test_true_is_no_number() -> None:
    assert check_choice("p", 1, (1, 2)) == 1
    for wrong in (True, 1.0, "1", None, [1]):
        with pytest.raises(ValueError, match=r"p must be one of 1, 2, got"):
            check_choice("p", wrong, (1, 2))


ROWS = np.ma.array(np.ones((3, 4)), mask=np.eye(3, 4, dtype=bool))
NUMBERS = np.ma.array([1, 2, 3], mask=[False, True, False])
ANGLES = SignedRandomProjection(4, n_hashes=2, power=2)


def _with_masked(part: str) -> scipy.sparse.csr_array:
    """Return sparse rows of which one part is masked; SciPy takes it as it is."""
    rows = scipy.sparse.csr_array(np.eye(3, 4))
    setattr(rows, part, np.ma.array(getattr(rows, part), mask=[False, True, False]))
    return rows


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("X", lambda: ANGLES.hash(ROWS)),
        ("X", lambda: ANGLES.hash(list(ROWS))),
        ("X", lambda: PStable(4, n_hashes=2, width=1.0).hash(ROWS)),
        ("X", lambda: Race(ANGLES).update(ROWS)),
        ("weights", lambda: Race(ANGLES).update(np.ones((3, 4)), weights=NUMBERS)),
        ("distance", lambda: ANGLES.collision_probability(ROWS)),
        (r"X\[1\]", lambda: MinHash(4).hash([np.array([1]), NUMBERS])),
        (r"X\.data", lambda: ANGLES.hash(_with_masked("data"))),
        (r"X\.indices", lambda: MinHash(4).hash(_with_masked("indices"))),
        ("keys", lambda: hash_keys(NUMBERS)),
        ("keys", lambda: BloomFilter(100).update(NUMBERS)),
        ("keys", lambda: hash_keys((NUMBERS.astype(np.uint8), np.array([0, 3])))),
        ("documents", lambda: shingle((b"abc", NUMBERS))),
        ("documents", lambda: shingle(NUMBERS.astype("S"))),
        ("rows", lambda: StaticTable([1, 2, 3], list(ROWS))),
        ("keys", lambda: StaticFunction(NUMBERS, [1, 2, 3])),
    ],
)
def test_masked_values_are_refused_by_name(name: str, call: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must not be masked, got [13] masked values"):
        call()


PAIRS = np.array([[0, 1], [1, 2]])
GRAPH = Later(lambda: BloomSignatures(5, 64).update(PAIRS))
POOLS = Later(lambda: BloomPooling(20, 8))
INDEX = Later(lambda: LSHIndex(ANGLES).add(np.ones((3, 4))))
DENSITY = Later(lambda: Race(ANGLES).update(np.ones((3, 4))))
DETECTOR = Later(lambda: AceSketch(ANGLES).update(np.ones((3, 4))))
SETS = MinHashSketch(4, 16)
LOOKUP = Later(lambda: StaticFunction([1, 2, 3], [5, 6, 7], key_check_bits=8))


def masked(good: Any) -> np.ma.MaskedArray:
    return np.ma.array(good, mask=np.ones(np.shape(good), bool))


@pytest.mark.parametrize(
    ("name", "good", "call"),
    [
        ("edges", PAIRS, lambda a: GRAPH.copy().update(a)),
        ("pairs", PAIRS, GRAPH.link_features),
        ("u", [0, 1], GRAPH.cardinality),
        ("v", [0, 1], lambda a: GRAPH.jaccard([0, 1], a)),
        ("outcomes", [False] * 8, POOLS.decode),
        ("infected", [False] * 20, POOLS.outcomes),
        ("posterior", [0.1] * 20, lambda a: POOLS.suggest_pools(a, 2)),
        ("prevalence", [0.1] * 20, lambda a: BloomPooling(20, 8, prevalence=a)),
        ("ids", [7, 8, 9], lambda a: INDEX.copy().add(np.ones((3, 4)), a)),
        ("codes", np.zeros((3, 2), np.uint32), lambda a: INDEX.query_codes(a, 1)),
        ("counts", [1, 2], INDEX.kernel_estimate),
        ("counts", [1, 2], INDEX.distance_estimate),
        ("left", [0, 1], lambda a: SETS.jaccard(a, [0, 1])),
        ("sets", [0, 1, 2], lambda a: SETS.copy().update([1, 2, 3], a)),
        ("A", np.zeros((1, 4), np.uint32), lambda a: MinHash(4).estimate_jaccard(a, a)),
        ("low", [0.0] * 4, lambda a: DENSITY.release(1.0).modes(low=a, high=1.0)),
        ("far", [1.0], lambda a: suggest("angle", n_rows=100, near=0.1, far=a)),
        ("width", [0.5] * 4, lambda a: DensitySketch(4, a)),
        ("missing", 5, lambda a: LOOKUP.lookup([9], missing=a)),
        ("Q", np.ones((3, 4)), DENSITY.query),
        ("Q", np.ones((3, 4)), INDEX.query),
        ("Q", np.ones((3, 4)), lambda a: ANGLES.probe(a, 2)),
        ("Y", np.ones((3, 4)), lambda a: ANGLES.kernel(np.ones((3, 4)), a)),
        ("X", np.ones((3, 4)), DETECTOR.predict),
    ],
)
def test_arrays_of_every_argument_are_looked_at(name: str, good: Any, call: Any) -> None:
    call(good)
    for wrong in (masked(good), np.ones(np.shape(good), complex), [[1.5, 2.5], [3.5]], object(), "x"):
        with pytest.raises((TypeError, ValueError), match=rf"^{name}\b") as caught:
            call(wrong)
        assert type(caught.value) in (TypeError, ValueError)


@pytest.mark.filterwarnings("error")
@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="no wider float here")
def test_long_doubles_beyond_float64_are_refused_without_a_warning() -> None:
    huge = np.array([[1.0, np.longdouble("1e4000")]])
    with pytest.raises(ValueError, match=r"^X must be finite, got inf at index \(0, 1\)"):
        _angles().hash(huge)
    with pytest.raises(ValueError, match=r"^weights must be finite and at most 2\*\*512"):
        Race(_angles(), dtype="float").update(np.eye(2), huge[0])
    with pytest.raises(ValueError, match=r"^distance must lie in \[0, 3.14159\], got 1.0 to inf"):
        _angles().collision_probability(huge)


def test_numbers_beyond_all_floats_lie_in_no_interval() -> None:
    for huge in (10**400, -(10**400)):
        with pytest.raises(ValueError, match=r"^p must be a number in \(0, inf\), got -?10000"):
            check_real("p", huge, 0.0, np.inf)


@pytest.mark.parametrize("span", [np.timedelta64(5), np.timedelta64(5, "s"), np.timedelta64("NaT")])
def test_spans_of_time_are_no_numbers(span: Any) -> None:
    """By its base classes NumPy's timedelta64 is an integer, and a real number."""
    for call in (check_int, check_real):
        with pytest.raises(TypeError, match=r"^n must be .*, got np.timedelta64"):
            call("n", span, 0, 10)
    for values in ([1, span], np.array([span, 1], dtype=object)):
        with pytest.raises(TypeError, match=r"^values must be .*timedelta64"):
            StaticFunction([1, 2], values)
    if np.datetime_data(span)[0] == "generic":
        with pytest.raises(TypeError, match=r"^values must be durations with a unit, got dtype timedelta64"):
            StaticFunction([1, 2], [span, span])
    else:
        assert StaticFunction([1, 2], [span, span])[2] == span
    for call in (
        lambda: span in BloomFilter(10),
        lambda: MinHash(4).hash([[2**64 - 1, span]]),
        lambda: MinHash(4).hash([[1, span]]),
        lambda: LSHIndex(_angles()).add(np.eye(2), ids=[1, span]),
    ):
        with pytest.raises(TypeError, match=r"^(keys|X\[0\]|ids) must be .*, got .*(timedelta64|object)"):
            call()


def test_what_is_truthy_is_no_flag() -> None:
    assert check_flag("p", np.True_) is True
    for wrong in (1, 0, "no", None, [True]):
        with pytest.raises(TypeError, match="p must be True or False, got"):
            check_flag("p", wrong)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_generators_come_from_integers_none_or_themselves() -> None:
    given = np.random.default_rng(3)
    assert check_generator("g", given) is given
    assert check_generator("g", 5).random() == np.random.default_rng(5).random()
    assert check_generator("g", None).random() != check_generator("g", None).random()
    for wrong in (True, 0.5, "x", [1], np.matrix([1]), -1):
        with pytest.raises((TypeError, ValueError), match=r"^g must be"):
            check_generator("g", wrong)


def test_only_the_argument_at_the_start_is_renamed() -> None:
    for said, heard in (
        ("X must", "Q must"),
        ("X.data is", "Q.data is"),
        ("X.row must be as X.data, got X", "Q.row must be as Q.data, got X"),
        ("Xs must", "Xs must"),
        ("a X", "a X"),
    ):
        with pytest.raises(ValueError, match=f"^{heard}$"), renamed("X", "Q"):
            raise ValueError(said)
    with pytest.raises(UnicodeError, match=r"^X must"), renamed("X", "Q"):
        raise UnicodeError("X must")


@pytest.mark.parametrize(
    ("missing", "error", "message"),
    [
        ("x", TypeError, "missing must be int64, as the values are, got 'x'"),
        (1.5, TypeError, "missing must be int64, as the values are, got 1.5"),
        (2**63, ValueError, "missing must be int64.* outside its range"),
        ([1, 2], ValueError, r"missing must be one value or 1, got shape \(2,\)"),
    ],
)
def test_missing_must_be_a_value_of_the_kind(missing: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        LOOKUP.lookup([9], missing=missing)


def test_missing_texts() -> None:
    texts = StaticFunction(["a", "b"], ["u", "v"], key_check_bits=16)
    assert texts.lookup(["c"], missing="unknown").tolist() == ["unknown"]
    fixed = StaticFunction(["a", "b"], np.array(["u", "v"]), key_check_bits=16)
    assert fixed.lookup(["c"], missing="?").tolist() == ["?"]
    for function, wrong, message in (
        (texts, 3, "missing must be str"),
        (texts, b"x", "missing must be str"),
        (fixed, "unknown", "missing must be str, as the values are, of at most str32, got 'unknown'"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            function.lookup(["c"], missing=wrong)


def test_arrow_dictionaries_are_what_they_hold() -> None:
    pa = pytest.importorskip("pyarrow")
    texts = pa.array(["a", "b", "c"]).dictionary_encode()
    assert StaticFunction(texts, [1, 2, 3]).lookup(["c", "a"]).tolist() == [3, 1]
    assert StaticFunction([1, 2, 3], texts).lookup([3, 1]).tolist() == ["c", "a"]
    with pytest.raises(TypeError, match="keys must be integers as before, got strings"):
        StaticFunctionBuilder().update([1, 2, 3], [1, 2, 3]).update(texts, [1, 2, 3])


@pytest.mark.parametrize("keys", [memoryview(b"abc"), np.array(3.0), [(1, 2), (3, 4)], bytearray(b"abc")])
def test_a_builder_refuses_what_are_no_keys(keys: Any) -> None:
    builder = StaticFunctionBuilder().update([1], [1])
    with pytest.raises((TypeError, ValueError), match=r"^keys "):
        builder.update(keys, np.arange(keys.size if isinstance(keys, np.ndarray) else len(keys)))
    assert builder.n_records == 1


def test_arrays_of_which_nothing_is_masked_pass() -> None:
    whole = np.ma.array([1, 2, 3])
    refuse_masked(whole, "whole")
    assert hash_keys(whole).tolist() == hash_keys([1, 2, 3]).tolist()


def _angles() -> SignedRandomProjection:
    return SignedRandomProjection(2, n_hashes=3, power=2, seed=1)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("counts", lambda x: CountMinSketch(1, 9).update([5, 6], x)),
        ("weights", lambda x: Race(_angles()).update(np.eye(2), x)),
        ("sets", lambda x: MinHashSketch(5, 4).update([5, 6], x)),
        ("ids", lambda x: LSHIndex(_angles()).add(np.eye(2), ids=x)),
        ("edges", lambda x: BloomSignatures(9, 64).update([x])),
        (r"X\[0\]", lambda x: MinHash(4).hash([x])),
        ("X tokens", lambda x: MinHash(4).hash((x, [0, 2]))),
        ("X offsets", lambda x: MinHash(4).hash(([3, 4], [0, *x]))),
        ("pane", lambda x: RaceWindow(_angles(), 4).update(np.eye(2), pane=x)),
    ],
)
def test_booleans_among_integers_are_refused(name: str, call: Any) -> None:
    """NumPy makes [1, 2] of [True, 2], but keeps an array of booleans as such."""
    call([1, 2])
    for mixed in ([True, 2], [2, False], [np.True_, 1]):
        with pytest.raises(TypeError, match=rf"^{name} must be integers, got bool among them"):
            call(mixed)


def test_lists_of_tokens_hold_any_integer_of_64_bits() -> None:
    """NumPy makes real numbers of [2**64 - 1, -1], which are one token."""
    expected = MinHash(4).hash([np.array([2**64 - 1], np.uint64), np.array([2**63], np.uint64)])
    lists = [[2**64 - 1, -1], [2**63, -(2**63)]]
    for X in (lists, ([*lists[0], *lists[1]], [0, 2, 4])):
        np.testing.assert_array_equal(MinHash(4).hash(X), expected)
    with pytest.raises(TypeError, match=r"^X must hold a 1-D array of integer tokens, got dtype (float|obj)"):
        MinHash(4).hash(([2**64, -1], [0, 2]))
