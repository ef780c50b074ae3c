"""Test every array of every public call in every form: the same result, and no argument changed.

Callers pass their own buffers. These may be read-only, have any strides, the other byte order or odd
addresses; rows may repeat, be absent, or be very many. Every form gives the result of the plain one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import mergesketch
import mergesketch.lsh
import numpy as np
import pytest
import scipy.sparse
from argument_cases import OFFSETS, TOKENS, Case, same
from registry import SET_FAMILIES, argument_cases

CASES = argument_cases()
INTEGERS = [np.dtype(kind + size) for kind in "iu" for size in "1248"]
FLOATS = [np.dtype(name) for name in ("f2", "f4", "f8", "g")]

#: Arguments that the cases leave out, with the reasons.
LEFT_OUT = {
    "StaticFunctionBuilder.extend batches": "pairs of keys and values, which are there",
    **dict.fromkeys(("CompressedFloats.bits out", "CompressedFloats.decode out"), "written, not read"),
    **dict.fromkeys(
        ("NeighbourGraph.update ids", "SoftCollisions.update ids", "VectorCodes.update ids"),
        "distinct: none repeats",
    ),
    "ImportanceCache.causal positions": "rising: none repeats",
    **{f"LearnedPartition.{n} ids": "distinct: none repeats" for n in ("fit", "fit_neighbors", "update")},
    **dict.fromkeys(("SparseCodeIndex.fit ids", "SparseCodeIndex.partial_fit ids"), "distinct, too"),
    "federated_tables_strategy others": "needs Flower",
    "LearnedProjection.collision_probability distance": "always refused",
    "LearnedProjection.distance probability": "always refused",
}
#: Methods for the package's own rooms, which hand over states of sketches and not a caller's arrays.
INNER = {"reduce_arrays", "add_loads", "checked_rows", "gather_into", "runs", "scatter_into"}
INNER |= {"change_rows", "find_rows"}
#: Words in docstrings of arguments that take arrays.
TAKES_ARRAYS = re.compile(r"array|rows|keys|tokens|sets|documents|matrix")


def parts(argument: Any) -> tuple[Any, ...]:
    """Return the arrays of an argument: itself, both of a pair, or those of a sparse matrix."""
    if isinstance(argument, tuple):
        return argument
    if scipy.sparse.issparse(argument):
        names = ("data", "indices", "indptr", "row", "col", "offsets")
        return tuple(getattr(argument, name) for name in names if hasattr(argument, name))
    return (argument,)


def forms(case: Case) -> Iterator[tuple[str, int | None, np.ndarray]]:
    """Yield every plain array of a case: the argument, its place in a pair, and the array."""
    for name, value in case.arguments.items():
        if isinstance(value, tuple):
            yield from ((name, place, array) for place, array in enumerate(value))
        else:
            yield name, None, value


def given(case: Case, name: str, place: int | None, array: Any) -> dict[str, Any]:
    """Return the plain arguments with one array replaced."""
    arguments = case.plain()
    if place is None:
        arguments[name] = array
    else:
        pair = list(arguments[name])
        pair[place] = array
        arguments[name] = tuple(pair)
    return arguments


def call(case: Case, arguments: dict[str, Any]) -> Any:
    """Return the result, and check that the arguments are unchanged."""
    arrays = [array for argument in arguments.values() for array in parts(argument)]
    before = [(array.copy(), array.flags.writeable, array.dtype) for array in arrays]
    result = case.call(**arguments)
    for array, (copied, writeable, dtype) in zip(arrays, before, strict=True):
        assert array.dtype == dtype and array.flags.writeable == writeable
        np.testing.assert_array_equal(array, copied, err_msg="an argument was changed")
    return result


def unaligned(array: np.ndarray) -> np.ndarray:
    room = np.empty(array.nbytes + 1, np.uint8)
    odd = room[1:].view(array.dtype).reshape(array.shape)
    odd[...] = array
    return odd


def layouts(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the same numbers of the same type in other layouts."""
    for axis in range(array.ndim):
        every_other = (slice(None),) * axis + (slice(None, None, 2),)
        yield f"every other along {axis}", np.repeat(array, 2, axis)[every_other]
        yield f"backwards along {axis}", np.flip(np.flip(array, axis).copy(), axis)
    yield "Fortran order", np.asfortranarray(array)
    yield "other byte order", array.astype(array.dtype.newbyteorder())
    yield "odd addresses", unaligned(array)
    yield "nothing masked", np.ma.array(array)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_any_layout_gives_the_same_and_stays_as_it_is(case: Case) -> None:
    expected = case.call(**case.plain())
    own = case.plain()
    result = call(case, own)
    # The result must not change when the caller's arrays do.
    for argument in own.values():
        for array in parts(argument):
            array[...] = array.dtype.type(0)
    same(result, expected, "plain")
    # All are read-only at once, because kernels are compiled anew for arrays that cannot be written to.
    fixed = case.plain()
    for argument in fixed.values():
        for array in parts(argument):
            array.flags.writeable = False
    same(call(case, fixed), expected, "read-only")
    for name, place, array in forms(case):
        for form, other in layouts(array):
            same(call(case, given(case, name, place, other)), expected, f"{name}: {form}")


def outcome(case: Case, arguments: dict[str, Any], name: str) -> Any:
    """Return the result, or None where the argument is refused by its name."""
    try:
        return (call(case, arguments),)
    except (TypeError, ValueError) as error:
        assert re.match(rf"{name}\b", str(error)), error
        return None


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.any_dtype], ids=lambda case: case.name)
def test_any_dtype_in_either_byte_order_gives_the_same_or_is_refused_by_name(case: Case) -> None:
    expected = case.call(**case.plain())
    for name, place, array in forms(case):
        kinds = INTEGERS if array.dtype.kind in "iu" else INTEGERS + FLOATS
        for dtype in kinds if array.dtype.kind in "iuf" else []:
            with np.errstate(all="ignore"):
                other = array.astype(dtype)
            if not np.array_equal(other.astype(array.dtype), array) or (other < 0).any() != (array < 0).any():
                continue
            found = outcome(case, given(case, name, place, other), name)
            turned = outcome(case, given(case, name, place, other.astype(dtype.newbyteorder())), name)
            assert (found is None) == (turned is None), f"{name}: {dtype} in one byte order only"
            for result in (found, turned):
                if result is not None:
                    same(result[0], expected, f"{name}: {dtype}")
            assert dtype != array.dtype or found is not None
        objects = outcome(case, given(case, name, place, array.astype(object)), name)
        if objects is not None:
            same(objects[0], expected, f"{name}: objects")


def columns(array: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Yield the numbers or texts of a vector, or the rows of a matrix, as columns of tables."""
    pa, pd = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    if array.ndim == 2:
        yield "data frame", pd.DataFrame(array)
        yield (
            "data frame of unlike columns",
            pd.DataFrame(
                {
                    str(j): column.astype(np.float32 if j % 2 else np.float64)
                    for j, column in enumerate(array.T)
                }
            ),
        )
        names = [f"column {j}" for j in range(array.shape[1])]
        yield "nullable data frame", pd.DataFrame(array, columns=names).astype("Float64")
        yield "data frame of Arrow columns", pd.DataFrame(array, columns=names).astype("float64[pyarrow]")
        yield "Arrow table", pa.table(dict(zip(names, array.T.copy(), strict=True)))
        yield "Arrow vectors", pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])
        pl = pytest.importorskip("polars")
        yield "polars data frame", pl.DataFrame(array)
        yield "polars vectors", pl.Series(array.tolist(), dtype=pl.Array(pl.Float64, array.shape[1]))
        return
    whole = pa.array(array)
    yield "Arrow", whole
    yield "Arrow slice", pa.array(np.concatenate([array[:2], array, array[:1]]))[2:-1]
    yield "Arrow chunks", pa.chunked_array([whole[:3], whole[3:3], whole[3:]])
    yield "Arrow dictionary", whole.dictionary_encode()
    backwards = pa.array(np.flip(np.unique(array)))
    places = np.flatnonzero(array[:, None] == np.flip(np.unique(array)))
    places = (places - np.arange(array.size) * len(backwards)).astype(np.int8)
    yield "Arrow dictionary, other order", pa.DictionaryArray.from_arrays(places, backwards)
    yield "polars series", pytest.importorskip("polars").Series(array)
    yield "series", pd.Series(array, index=np.arange(array.size)[::-1])
    yield "categories", pd.Series(array).astype("category")


#: Arguments that take every form of a column.
TAKE_COLUMNS = {"keys", "values"}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_columns_of_tables_give_the_same_or_are_refused_by_name(case: Case) -> None:
    expected = case.call(**case.plain())
    for name, place, array in forms(case):
        if array.ndim > 2 or array.dtype.kind == "S" or (array.ndim == 2 and array.dtype.kind != "f"):
            continue
        for form, column in columns(array):
            arguments = given(case, name, place, column)
            try:
                found = case.call(**arguments)
            except (TypeError, ValueError) as error:
                assert re.match(rf"{name}\b", str(error)), error
                assert place is not None or name not in TAKE_COLUMNS, f"{name}: {form}: {error}"
                continue
            if case.any_dtype:
                same(found, expected, f"{name}: {form}", case.tolerance)


def take(argument: Any, rows: np.ndarray) -> Any:
    """Return some rows of an argument."""
    if not isinstance(argument, tuple):
        return argument[rows]
    tokens, offsets = argument
    sets = [tokens[offsets[row] : offsets[row + 1]] for row in rows]
    return np.concatenate([tokens[:0], *sets]), np.cumsum([0, *map(len, sets)])


@pytest.mark.parametrize("case", [case for case in CASES if case.rows], ids=lambda case: case.name)
def test_rows_may_repeat_be_none_or_a_great_many(case: Case) -> None:
    assert case.rows is not None
    expected = case.call(**case.plain())
    results = expected if type(expected) in (tuple, list) or hasattr(expected, "_fields") else (expected,)
    for rows in (np.array([1, 1, 0, 4, 1]), np.zeros(0, np.int64)):
        arguments = case.plain()
        arguments[case.rows] = take(arguments[case.rows], rows)
        found = call(case, arguments)
        for one, other in zip(found if len(results) > 1 else (found,), results, strict=True):
            same(one, other[rows], f"rows {rows}", case.tolerance)
    plain_rows = case.arguments[case.rows]
    if not isinstance(plain_rows, tuple):
        arguments = case.plain()
        # Very many rows that take no memory: one row, at every place.
        arguments[case.rows] = np.broadcast_to(plain_rows[1], (20_000, *plain_rows.shape[1:]))
        found = case.call(**arguments)
        for one, other in zip(found if len(results) > 1 else (found,), results, strict=True):
            many = np.broadcast_to(other[1], (20_000, *other.shape[1:]))
            same(one, many, "broadcast", case.tolerance)


#: Calls that add a batch; sets in pairs cannot repeat without memory.
BATCHES = [
    case
    for case in CASES
    if re.search(r"\.(update|add|partial_fit)\b", case.name)
    and not any(isinstance(value, tuple) for value in case.arguments.values())
]


@pytest.mark.parametrize("case", BATCHES, ids=lambda case: case.name)
def test_batches_of_one_row_at_every_place_are_those_of_its_copies(case: Case) -> None:
    one = {
        name: np.broadcast_to(value[2], (3000, *value.shape[1:])) for name, value in case.arguments.items()
    }
    copies = {name: value.copy() for name, value in one.items()}
    same(call(case, one), case.call(**copies), "broadcast")


def sparse_forms(argument: Any) -> Iterator[tuple[str, Any]]:
    """Yield a matrix, or sets as the columns of one, in every form that SciPy has."""
    if isinstance(argument, tuple):
        tokens, offsets = argument
        data = np.ones(tokens.size)
        matrix = scipy.sparse.csr_array((data, tokens.copy(), offsets.copy()), shape=(offsets.size - 1, 40))
        yield "repeated columns, wide", matrix
        matrix = matrix.copy()
        matrix.sum_duplicates()
        for dtype in (np.bool_, np.int8, np.uint16):
            yield str(dtype), (matrix != 0).astype(dtype)
    else:
        matrix = scipy.sparse.csr_array(argument)
    data, indices, indptr = matrix.data, matrix.indices, matrix.indptr
    shape = matrix.shape
    yield "CSR", matrix
    yield "CSR matrix", scipy.sparse.csr_matrix(matrix)
    for form in ("csc", "coo", "bsr"):  # the parts of other forms are no arrays, or are not kept
        yield form, matrix.asformat(form)
    wide = scipy.sparse.csr_array(matrix)
    wide.indices, wide.indptr = indices.astype(np.int64), indptr.astype(np.int64)
    yield "64-bit indices", wide
    turned = scipy.sparse.csr_array(matrix)
    turned.data, turned.indices, turned.indptr = (
        part.astype(part.dtype.newbyteorder()) for part in (data, indices, indptr)
    )
    yield "other byte order", turned
    fixed = matrix.copy()
    for part in (fixed.data, fixed.indices, fixed.indptr):
        part.flags.writeable = False
    yield "read-only", fixed
    backwards = np.concatenate([np.arange(b - 1, a - 1, -1) for a, b in pairwise(indptr)])
    yield "unsorted", scipy.sparse.csr_array((data[backwards], indices[backwards], indptr), shape=shape)
    halves = np.repeat(data[backwards] / 2, 2), np.repeat(indices[backwards], 2), 2 * indptr.astype(np.int64)
    messy = scipy.sparse.csr_array(matrix)
    messy.data, messy.indices, messy.indptr = halves
    yield "repeated columns", messy
    full = scipy.sparse.csr_array(np.ones(shape))
    full.data[:] = matrix.toarray().reshape(-1)
    yield "explicit zeros", full


@pytest.mark.parametrize("case", [case for case in CASES if case.sparse], ids=lambda case: case.name)
def test_sparse_rows_in_any_form_give_the_same_and_stay_as_they_are(case: Case) -> None:
    expected = case.call(**case.plain())
    for name in case.sparse:
        for form, matrix in sparse_forms(case.arguments[name]):
            arguments = case.plain()
            arguments[name] = matrix
            same(call(case, arguments), expected, f"{name}: {form}", case.tolerance)


@pytest.mark.parametrize("kind", SET_FAMILIES)
def test_sets_in_lists_of_any_arrays(kind: str) -> None:
    family = SET_FAMILIES[kind]
    sets = [TOKENS[a:b] for a, b in pairwise(OFFSETS)]
    expected = family.hash((TOKENS, OFFSETS))
    forms = [dict(layouts(tokens)) for tokens in sets]
    for form in forms[0]:
        given = [form_of[form] for form_of in forms]
        before = [tokens.copy() for tokens in given]
        np.testing.assert_array_equal(family.hash(given), expected, err_msg=form)
        np.testing.assert_array_equal(family.kernel(given, given), family.kernel(sets, sets), err_msg=form)
        for tokens, copied in zip(given, before, strict=True):
            np.testing.assert_array_equal(tokens, copied)
    for dtype in (*INTEGERS, object):
        given = [tokens.astype(dtype) for tokens in sets]
        if dtype is object:
            with pytest.raises(TypeError, match=r"^X\[0\] must be a 1-D array of integers, got dtype object"):
                family.hash(given)
        else:
            np.testing.assert_array_equal(family.hash(given), expected)


def documented(function: Any) -> dict[str, str]:
    """Return the parameters of a docstring and their descriptions."""
    text = inspect.getdoc(function) or ""
    section = re.search(r"Parameters\n-+\n(.*?)(\n\n?[A-Z][a-z]+\n-+|\Z)", text, re.S)
    lines = re.findall(r"^(\w+(?:, \w+)*) : (.*)$", section.group(1) if section else "", re.M)
    return {name: kind for names, kind in lines for name in names.split(", ")}


def public() -> Iterator[tuple[str, Any]]:
    """Yield functions, classes and methods by name, except those of abstract classes."""
    for module in (mergesketch, mergesketch.lsh):
        for name in module.__all__:
            found = getattr(module, name)
            if not callable(found) or inspect.isabstract(found):
                continue
            yield name, found
            if inspect.isclass(found):
                for method in dir(found):
                    if (
                        not method.startswith("_")
                        and method not in INNER
                        and callable(getattr(found, method))
                    ):
                        yield f"{name}.{method}", getattr(found, method)


def test_every_argument_that_takes_arrays_is_here() -> None:
    def key(function: Any) -> Any:
        return getattr(function, "__func__", function)

    tested = {(key(case.target), argument) for case in CASES for argument in case.arguments}
    missing = {
        f"{name} {argument}"
        for name, function in public()
        for argument, kind in documented(function).items()
        if TAKES_ARRAYS.search(kind) and (key(function), argument) not in tested
    }
    assert sorted(missing) == sorted(LEFT_OUT)
