"""Test that `LabelHash` keeps different labels apart, whatever their types and their containers are."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mergesketch import LabelHash
from mergesketch.errors import IncompatibleSketchError
from mergesketch.sketches.learned.label_values import comparable, joined_classes
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import SGDClassifier

pl = pytest.importorskip("polars")

RNG = np.random.default_rng(0)
y = np.repeat(np.arange(10), 4)
X = RNG.standard_normal((10, 6))[y] + 0.1 * RNG.standard_normal((y.size, 6))
#: float64 rounds all of these to one number.
LARGE = y + 2**60


def model() -> LabelHash:
    estimator = SGDClassifier(loss="log_loss", max_iter=2, tol=None)
    return LabelHash(estimator, n_repetitions=2, n_buckets=8)


# -- integers -------------------------------------------------------------------------------------

ENDS = {"i": (-(2**63), 2**63 - 1), "u": (0, 2**64 - 1)}


def integers_of(kind: str) -> Any:
    """Draw labels of a type, also those at its ends and where float64 has gaps."""
    least, most = ENDS[kind]
    near = st.sampled_from([0, 2**53, 2**63, -(2**63), 2**64]).flatmap(
        lambda middle: st.integers(middle - 3, middle + 3)
    )
    drawn = (near | st.integers(-5, 300)).filter(lambda label: least <= label <= most)
    dtype = np.int64 if kind == "i" else np.uint64
    return st.lists(drawn, max_size=8).map(lambda labels: np.unique(np.array(labels, dtype)))


@settings(max_examples=60)
@given(st.tuples(*[st.sampled_from("iu").flatmap(integers_of)] * 2))
def test_integers_of_two_types_are_compared_exactly(pair: tuple[np.ndarray, np.ndarray]) -> None:
    wanted = sorted(set(pair[0].tolist()) | set(pair[1].tolist()))
    ours, theirs = comparable(*pair)
    assert (ours.tolist(), theirs.tolist()) == (pair[0].tolist(), pair[1].tolist())
    if wanted and wanted[0] < 0 and wanted[-1] >= 2**63:
        with pytest.raises(ValueError, match="int64 or uint64"):
            joined_classes(*pair)
        return
    for first, second in (pair, pair[::-1]):
        joined = joined_classes(first, second)
        assert joined.tolist() == wanted and joined.dtype.kind in "iu"


@pytest.mark.parametrize("offset", [0, 2**60])
def test_batches_of_other_integer_types_keep_the_labels(offset: int) -> None:
    labels = y + offset
    wanted = model().partial_fit(X, labels).partial_fit(X, labels)
    kinds: list[Any] = [np.int64, np.uint64, object] + ([np.uint8, float] if offset == 0 else [])
    for first, second in itertools.product(kinds, kinds):
        found = model().partial_fit(X, labels.astype(first)).partial_fit(X, labels.astype(second))
        assert found.classes_.tolist() == wanted.classes_.tolist()
        assert found.predict(X).tolist() == wanted.predict(X).tolist()
        assert_array_equal(found.decision_function(X), wanted.decision_function(X))
        if first is not float or second is not float:
            assert found.classes_.dtype.kind in "iu"
        assert found.precision(X, labels.astype(second)) == wanted.precision(X, labels)


def test_negative_labels_stay_integers_beside_unsigned_ones() -> None:
    found = model().partial_fit(X, y - 5).partial_fit(X, y.astype(np.uint64))
    assert found.classes_.dtype == np.int64 and found.classes_.tolist() == [*range(-5, 10)]
    high = y.astype(np.uint64) + np.uint64(2**63)
    for first, second in ((y - 5, high), (high, y - 5)):
        begun = model().partial_fit(X, first)
        state = pickle.dumps(begun)
        with pytest.raises(ValueError, match="int64 or uint64"):
            begun.partial_fit(X, second)  # -1 and 2**64 - 1 have one hash
        with pytest.raises(IncompatibleSketchError, match="int64 or uint64"):
            begun.merge(model().partial_fit(X, second))
        assert pickle.dumps(begun) == state
        assert begun.precision(X, second) == 0.0


def test_integers_beyond_53_bits_come_from_every_container() -> None:
    wanted = [*range(2**60, 2**60 + 10)]
    for labels in (
        LARGE.tolist(),
        LARGE.astype(object),
        LARGE.astype(">u8"),
        pd.Series(LARGE),
        pl.Series("label", LARGE),
        pl.Series("label", LARGE.astype(np.uint64)),
        pd.Series(LARGE, dtype="Int64"),
        pd.Series(LARGE, dtype="UInt64"),
        pd.array(LARGE, dtype="Int64"),
        pd.Series(LARGE, dtype="category"),
        pd.Series(pd.array(LARGE, dtype="Int64")).astype("category"),
        [*LARGE[:1].tolist(), *LARGE[1:].astype(np.uint64)],
        [np.True_, *LARGE[1:].tolist()],
    ):
        fitted = model().fit(X, labels)
        extra = [1] if isinstance(labels, list) and labels[0] is np.True_ else []
        assert fitted.classes_.tolist() == extra + wanted, type(labels)
        assert fitted.classes_.dtype.kind in "iu"
    with pytest.warns(UserWarning, match="column-vector"):
        frame = model().fit(X, pd.DataFrame({"label": pd.array(LARGE, dtype="Int64")}))
    assert frame.classes_.tolist() == wanted
    sets = model().fit(X, [{int(label), np.uint64(label + 100)} for label in LARGE])
    assert sets.classes_.tolist() == wanted + [label + 100 for label in wanted]


def test_floats_are_labels_where_they_are_not_rounded() -> None:
    top = float(2**53 - 1)
    assert model().fit(X, np.where(y < 5, top, -top)).classes_.tolist() == [-top, top]
    for labels in (
        LARGE.astype(float),
        np.where(y < 5, 2.0**53, 1.0),
        np.where(y < 5, -(2.0**53), 1.0),
        np.where(y < 5, np.float32(2**24), np.float32(1)),
        np.where(y < 5, np.float16(2**11), np.float16(1)),
        [2.0**60, *y[1:].tolist()],
        np.array([2.0**60, *y[1:]], object),
        np.array([np.float32(2**24), *y[1:]], object),
    ):
        with pytest.raises(ValueError, match="not as floats"):
            model().fit(X, labels)
    with pytest.raises(ValueError, match=r"from -2\*\*63 to 2\*\*64 - 1"):
        model().fit(X, [2**64, *y[1:].tolist()])
    with pytest.raises(ValueError, match="int64 or uint64"):
        model().fit(X, [2**63, -1, *y[2:].tolist()])
    mixed = model().fit(X, [2**60 + 1, *y[1:].astype(float).tolist()])
    assert mixed.classes_.tolist() == [*range(10), 2**60 + 1]
    with pytest.raises(ValueError, match="got nan"):
        model().fit(X, [np.nan, *y[1:].tolist()])
    with pytest.raises(ValueError, match="fractions"):
        model().fit(X, np.array([0.5, *y[1:]], object))
    with pytest.raises(ValueError, match="NaN"):
        model().fit(X, pd.Series([None, *LARGE[1:].tolist()], dtype="Int64"))


# -- strings --------------------------------------------------------------------------------------


def test_strings_keep_nuls_at_their_ends() -> None:
    texts = ["a\0", "a", "b", "a\0\0", "c"] * 8
    wanted = ["a", "a\0", "a\0\0", "b", "c"]
    for labels in (
        texts,
        tuple(texts),
        np.array(texts, object),
        np.array(texts, np.dtypes.StringDType()),
        pd.Series(texts, dtype=object),
        pl.Series("label", texts),
        pl.Series("label", texts, dtype=pl.Categorical),
        pd.Series(texts, dtype="category"),
        [{text} for text in texts],
        [frozenset([text]) for text in texts],
    ):
        fitted = model().fit(X, labels)
        assert fitted.classes_.tolist() == wanted
        assert fitted.buckets_.shape == (2, 5)
    with pytest.warns(UserWarning, match="column-vector"):
        frame = model().fit(X, pl.DataFrame({"label": texts}))
    assert frame.classes_.tolist() == wanted
    for missing in (pl.Series("label", [None, *texts[1:]]), pl.Series("label", [None, *LARGE[1:].tolist()])):
        with pytest.raises(TypeError, match="got several types or None"):
            model().fit(X, missing)
    grown = model().partial_fit(X, np.array(["a", "d"])[y % 2]).partial_fit(X, texts, classes=["d\0"])
    assert grown.classes_.tolist() == ["a", "a\0", "a\0\0", "b", "c", "d", "d\0"]
    assert grown.precision(X, ["d\0\0"] * y.size) == 0.0


def test_bytes_are_no_labels() -> None:
    for labels in ([b"a"] * y.size, np.array([b"a"] * y.size, object), [{b"a"}] * y.size):
        with pytest.raises(TypeError, match="got bytes"):
            model().fit(X, labels)
    with pytest.raises(ValueError, match="integers or strings"):
        model().fit(X, np.array([b"a"] * y.size))


# -- labels of a model beside those of others -----------------------------------------------------


def test_strings_are_never_integers() -> None:
    numbers, texts = model().partial_fit(X, y), model().partial_fit(X, y.astype(str))
    state = pickle.dumps(numbers), pickle.dumps(texts)
    for ours, theirs, labels in ((numbers, texts, y.astype(str)), (texts, numbers, y)):
        sets = [{label} for label in labels.tolist()]
        for form in (labels, labels.astype(object), labels.tolist(), sets):
            with pytest.raises(ValueError, match="y must hold labels of one type"):
                ours.precision(X, form)
        with pytest.raises(ValueError, match="y must hold labels of one type"):
            ours.partial_fit(X, labels)
        with pytest.raises(ValueError, match="one type"):
            model().partial_fit(X, y, classes=["a"])
        with pytest.raises(IncompatibleSketchError, match="type of their labels"):
            ours | theirs
        with pytest.raises(IncompatibleSketchError, match="type of their labels"):
            LabelHash.average([ours, ours, theirs])
    assert (pickle.dumps(numbers), pickle.dumps(texts)) == state


def test_merges_of_types_do_not_depend_on_their_order() -> None:
    for offset, kinds in (
        (0, [np.int8, np.uint8, np.int64, np.uint64, float]),
        (2**60, [np.int64, np.uint64]),
    ):
        parts = [model().partial_fit(X, (y + offset).astype(kind)) for kind in kinds]
        parts.append(model().partial_fit(X, y + offset + 5))
        for first, second in itertools.combinations(parts, 2):
            one, other = first | second, second | first
            labels = set(first.classes_.tolist()) | set(second.classes_.tolist())
            assert one.classes_.tolist() == sorted(labels)
            assert one.classes_.dtype == other.classes_.dtype
            assert_array_equal(one.classes_, other.classes_)
            assert_array_equal(one.decision_function(X), other.decision_function(X))
    plain = model().partial_fit(X, np.array(["a", "b"])[y % 2])
    nuls = model().partial_fit(X, np.array(["a\0", "b"], object)[y % 2])
    assert (plain | nuls).classes_.tolist() == (nuls | plain).classes_.tolist() == ["a", "a\0", "b"]


def test_matrices_of_other_widths_do_not_merge() -> None:
    matrix = np.eye(10, dtype=np.int64)[y]
    first, second = (model().partial_fit(X, labels) for labels in (matrix, matrix[:, :9]))
    for a, b in ((first, second), (second, first)):
        with pytest.raises(IncompatibleSketchError, match="columns of their labels"):
            a | b


def test_weights_may_be_as_large_as_floats() -> None:
    parts = [model().partial_fit(X[part], y[part]) for part in (slice(0, 15), slice(15, 40))]
    wanted = LabelHash.average(parts, weights=[1, 3])
    assert np.ptp(wanted.predict_proba(X)) > 0.1
    for scale in (5e307, 1e300, 2.0**-1074):
        found = LabelHash.average(parts, weights=[scale, 3 * scale])
        assert_allclose(found.decision_function(X), wanted.decision_function(X), rtol=1e-9)


# -- the argument `classes` -----------------------------------------------------------------------


def test_classes_are_labels_like_those_of_y() -> None:
    for classes in ([99, 98], (98, 99), {98, 99}, np.array([99, 98, 99], np.uint64), [98.0, 99.0]):
        fitted = model().partial_fit(X, y, classes=classes)
        assert fitted.classes_.tolist() == [*range(10), 98, 99] and fitted.classes_.dtype.kind == "i"
    for classes in (pd.Series(LARGE, dtype="Int64"), LARGE.astype(np.uint64), np.unique(LARGE)):
        fitted = model().partial_fit(X, LARGE - 5, classes=classes)
        assert fitted.classes_.tolist() == [*range(2**60 - 5, 2**60 + 10)]
    unmasked = np.ma.array([99, 98], mask=[False, False])
    assert model().partial_fit(X, y, classes=unmasked).classes_.size == 12
    assert model().partial_fit(X, y, classes=[]).classes_.size == 10
    assert model().partial_fit(X, y > 4, classes=[False, True]).classes_.tolist() == [False, True]
    for classes, error, message in (
        (np.ma.array([99, 98], mask=[0, 1]), ValueError, "classes must not be masked"),
        ([True], TypeError, "classes must hold integers or strings, got booleans"),
        ([98, True], TypeError, "classes must hold integers or strings, got booleans"),
        (np.array([True, False]), TypeError, "classes must hold integers or strings, got booleans"),
        ([[98, 99]], ValueError, "classes must be a list of labels, got 2 dimensions"),
        (98, ValueError, "classes must be a list of labels, got 0 dimensions"),
        ([98, "a"], TypeError, "classes must hold labels of one type"),
        ([98, None], TypeError, "classes must hold labels of one type"),
        ([0.5], ValueError, "classes must hold integers or strings"),
        ([2.0**60], ValueError, "classes must hold labels as large as"),
        ([np.nan], ValueError, "classes must hold"),
        ([np.inf], ValueError, "classes must hold"),
    ):
        begun = model().partial_fit(X, y)
        state = pickle.dumps(begun)
        with pytest.raises(error, match=message):
            begun.partial_fit(X, y, classes=classes)
        assert pickle.dumps(begun) == state
        with pytest.raises(error, match=message):
            model().partial_fit(X, y, classes=classes)
