"""Test that answers to rows and keys of pandas and polars are Series, those of pandas with their index."""

from __future__ import annotations

from typing import Any

import mergesketch
import numpy as np
import pytest
from argument_cases import Case
from mergesketch.sketches.core.stored import Stored
from registry import argument_cases

pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))

#: Calls whose answers stay arrays, with the reasons.
ARRAYS = {
    "BloomSignatures": "nodes and pairs of nodes, which are no keys",
    "MinHashSketch": "pairs of numbers of sets",
    "ActiveUnits": "scores and numbers of units, many for each input",
    "DocumentSignatures": "numbers of documents",
    "LSHIndex": "ids and distances of neighbours, k in a row",
    "NeighbourGraph": "ids and distances of neighbours, k in a row",
    "LearnedPartition": "ids and scores of items, many for each query",
    "PageBounds": "scores of pages and keys, many for each query",
    "SoftCollisions": "ids and scores of keys, many for each query",
    "SparseCodeIndex": "ids and scores of items, k in a row",
    "VectorCodes": "ids and scores of rows, many for each query",
    **dict.fromkeys(
        ("PrivateClassifier", "PrivateRegressor", "ReleasedClassifier", "ReleasedRegressor"),
        "a model, which answers as scikit-learn does",
    ),
}


def answering(case: Case) -> bool:
    """Tell whether a case is a call of a sketch or of a static structure that answers each row or key."""
    cls = getattr(mergesketch, case.name.partition(".")[0], None)
    is_sketch = isinstance(cls, type) and issubclass(cls, Stored)
    return is_sketch and case.rows is not None and not isinstance(case.plain()[case.rows], tuple)


CASES = [case for case in argument_cases() if case.rows is not None]
# Arguments of some cases need kernels, so names are looked at first.
ASKED = [case for case in CASES if case.name.partition(".")[0] not in ARRAYS and answering(case)]


def parts_of(answer: Any) -> tuple[Any, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def with_rows(case: Case, rows: Any) -> dict[str, Any]:
    assert case.rows is not None
    return {**case.plain(), case.rows: rows}


def test_every_kind_of_question_is_asked() -> None:
    asked = {case.name.partition(":")[0] for case in ASKED}
    assert asked >= {
        "Race.query",
        "Race.density",
        "DensitySketch.density",
        "DensitySketch.log_density",
        "NadarayaWatsonSketch.predict",
        "NadarayaWatsonSketch.kernel_sum",
        "RepresenterSketch.decision_function",
        "RepresenterSketch.predict",
        "BloomFilter.contains",
        "CountMinSketch.query",
        "CountSketch.upper_bound",
        "HeavyHitters.query",
        "TopK.lower_bound",
    }, asked


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case.name)
def test_pandas_answers_have_the_index(case: Case) -> None:
    assert case.rows is not None
    array, expected = case.arguments[case.rows], parts_of(case.call(**case.plain()))
    index = pd.Index([f"row {i}" for i in range(len(array))], name="place")[::-1]
    if array.ndim == 2:
        rows = pd.DataFrame(array, index=index, columns=[f"column {j}" for j in range(array.shape[1])])
    else:
        rows = pd.Series(array, index=index, name="key")
    found = parts_of(case.call(**with_rows(case, rows)))
    assert len(found) == len(expected)
    for one, plain in zip(found, expected, strict=True):
        assert type(one) is (pd.Series if plain.ndim == 1 else pd.DataFrame)
        assert one.index.equals(index) and one.index.name == "place"
        np.testing.assert_array_equal(one.to_numpy(), plain)
        assert one.to_numpy().dtype == plain.dtype
        if plain.ndim == 1:
            assert one.name == (None if array.ndim == 2 else "key")


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case.name)
def test_polars_answers_are_columns(case: Case) -> None:
    assert case.rows is not None
    array, expected = case.arguments[case.rows], parts_of(case.call(**case.plain()))
    rows = pl.DataFrame(array) if array.ndim == 2 else pl.Series("key", array)
    found = parts_of(case.call(**with_rows(case, rows)))
    for one, plain in zip(found, expected, strict=True):
        assert type(one) is (pl.Series if plain.ndim == 1 else pl.DataFrame)
        np.testing.assert_array_equal(one.to_numpy(), plain)
        if plain.ndim == 1:
            assert one.name == ("" if array.ndim == 2 else "key")


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case.name)
def test_answers_to_arrow_lists_and_arrays_are_arrays(case: Case) -> None:
    assert case.rows is not None
    array, expected = case.arguments[case.rows], parts_of(case.call(**case.plain()))
    names = [str(j) for j in range(array.shape[-1])]
    table = pa.array(array) if array.ndim == 1 else pa.table(dict(zip(names, array.T.copy(), strict=True)))
    for rows in (array, array.tolist(), table):
        found = parts_of(case.call(**with_rows(case, rows)))
        for one, plain in zip(found, expected, strict=True):
            assert type(one) is np.ndarray
            np.testing.assert_array_equal(one, plain)


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case.name)
def test_no_rows_have_no_answers(case: Case) -> None:
    assert case.rows is not None
    array = case.arguments[case.rows][:0]
    rows = pd.DataFrame(array) if array.ndim == 2 else pd.Series(array, name="key")
    for one in parts_of(case.call(**with_rows(case, rows))):
        assert isinstance(one, (pd.Series, pd.DataFrame)) and len(one) == 0


def test_one_key_has_a_number() -> None:
    counts = mergesketch.CountMinSketch(4, 256).update(pd.Series(["tea", "tea"]))
    assert type(counts.query("tea")) is int
    assert type(mergesketch.BloomFilter(capacity=10).contains("tea")) is bool
    # A column of one key is a column.
    assert counts.query(pd.Series(["tea"], index=[7])).to_dict() == {7: 2}


def test_subclasses_and_indexes() -> None:
    class Own(pd.Series):
        """As geopandas has."""

    counts = mergesketch.CountMinSketch(4, 256).update(["tea"])
    assert isinstance(counts.query(Own(["tea"], index=[3])), pd.Series)
    assert type(counts.query(pd.Index(["tea"]))) is np.ndarray


def test_labels_that_are_named_like_attributes() -> None:
    counts = mergesketch.CountMinSketch(4, 256).update(["tea"])
    words = pd.Series(["tea", "jam"], index=["columns", "name"], name="word")
    found = counts.query(words)
    assert found.to_dict() == {"columns": 1, "name": 0} and found.name == "word"
    frame = pd.DataFrame({"name": [1.0, 2.0], "columns": [3.0, 4.0]})
    family = mergesketch.PStable(n_hashes=8, width=2.0)
    assert mergesketch.Race(family).update(frame).query(frame).name is None


def test_several_columns_as_keys_have_one_answer_a_row() -> None:
    visits = pd.DataFrame({"user": ["ann", "bob", "ann"], "day": [1, 2, 1]}, index=[5, 6, 7])
    counts = mergesketch.CountMinSketch(4, 256).update(visits)
    known = mergesketch.BloomFilter(capacity=10).update(visits[1:])
    assert counts.query(visits).to_dict() == {5: 2, 6: 1, 7: 2}
    assert known.contains(visits).to_dict() == {5: True, 6: True, 7: True}
    table = pl.DataFrame(visits)
    assert counts.query(table).to_list() == [2, 1, 2] and counts.query(table).name == ""
    assert counts.query(table.to_arrow()).tolist() == [2, 1, 2]


def test_masks_select_rows() -> None:
    frame = pd.DataFrame({"word": ["tea", "jam", "tea"], "n": [1, 2, 3]}, index=[5, 5, 9])
    known = mergesketch.BloomFilter(capacity=100).update(["jam"])
    assert frame[known.contains(frame["word"])]["n"].tolist() == [2]
    table = pl.DataFrame(frame)
    assert table.filter(~known.contains(table["word"]))["n"].to_list() == [1, 3]


def test_neighbours_are_arrays() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    index = mergesketch.LSHIndex(mergesketch.PStable(3, 8, width=4.0, n_buckets=64), capacity=64).add(X)
    frame = pd.DataFrame(X, columns=list("abc"))
    for found, plain in zip(index.query(frame, 2), index.query(X, 2), strict=True):
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, plain)
    for found, plain in zip(index.search(frame, frame, 2), index.search(X, X, 2), strict=True):
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, plain)
