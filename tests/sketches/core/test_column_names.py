"""Test that sketches of rows remember the names of columns, and refuse other names and another order."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import mergesketch
import numpy as np
import pytest
from argument_cases import Case
from mergesketch.errors import IncompatibleSketchError, SketchFormatError
from mergesketch.lsh import PStable
from mergesketch.sketches.core.file_format import pieces_of_file
from registry import argument_cases

pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))

NAMES = ("a", "b", "c")
X = np.random.default_rng(0).normal(size=(30, 3))
FAMILY = PStable(3, 8, width=2.0, n_buckets=64)


def frame(names: Any = NAMES) -> Any:
    return pd.DataFrame(X[:, : len(names)], columns=list(names))


def race(rows: Any = None) -> mergesketch.Race:
    return mergesketch.Race(FAMILY).update(frame() if rows is None else rows)


def takes_matrices(case: Case) -> bool:
    cls = getattr(mergesketch, case.name.partition(".")[0], None)
    given = {} if callable(case.given) else case.given
    is_sketch = isinstance(cls, type) and issubclass(cls, mergesketch.MergeableSketch)
    is_update = case.name.partition(":")[0].endswith((".update", ".add", ".partial_fit"))
    rows = given.get("X")
    is_matrix = isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.dtype.kind == "f"
    return is_sketch and is_update and is_matrix


UPDATES = [case for case in argument_cases() if takes_matrices(case)]


def test_every_sketch_of_rows_is_updated() -> None:
    classes = {case.name.partition(".")[0] for case in UPDATES}
    assert classes >= {
        "DensitySketch",
        "LSHIndex",
        "NadarayaWatsonSketch",
        "Race",
        "RaceWindow",
        "StormSketch",
    }
    assert classes & {"AceSketch", "AceDetector"}


@pytest.mark.parametrize("case", UPDATES, ids=lambda case: case.name)
def test_updates_remember_names_and_refuse_swapped_columns(case: Case) -> None:
    plain = case.plain()
    names = [f"column {j}" for j in range(plain["X"].shape[1])]
    rows = pd.DataFrame(plain["X"], columns=names)
    sketch = case.call(**{**plain, "X": rows})
    if not isinstance(sketch, mergesketch.MergeableSketch):
        pytest.skip("the call returns no sketch")
    assert sketch.column_names == tuple(names)
    unnamed = case.call(**plain)
    assert unnamed.column_names is None and unnamed == sketch
    before = sketch.to_bytes()
    others = [value for name, value in plain.items() if name != "X"]
    for swapped in (rows[names[::-1]], pl.DataFrame(rows[names[::-1]]), pa.table(rows[names[::-1]])):
        with pytest.raises(ValueError, match=r"^X must have the columns of the rows before, .* got "):
            sketch.update(swapped, *others)
        assert sketch.to_bytes() == before


def test_messages_say_what_is_wrong() -> None:
    sketch = race()
    for names, told in (
        ("bac", "got 'b', 'a' where 'a', 'b' were"),
        ("ab", "'c' missing"),
        ("abz", "'c' missing, 'z' unexpected"),
        ("aab", "'c' missing, 'a' unexpected"),
        (["a", "b", "\x1b[31m"], r"'c' missing, '\x1b[31m' unexpected"),
    ):
        for argument, call in (("X", sketch.update), ("Q", sketch.query), ("Q", sketch.density)):
            rule = "must have the columns of the rows before, in their order"
            with pytest.raises(ValueError, match=re.escape(f"{argument} {rule}: {told}")):
                call(frame(names))
    wide = pd.DataFrame(np.zeros((2, 12)), columns=[f"x{i}" for i in range(12)])
    with pytest.raises(ValueError, match=r"'x0', 'x1', 'x2', 'x3', 'x4' and 7 more unexpected$"):
        sketch.query(wide)


def test_queries_of_every_kind_check_names() -> None:
    swapped = frame("bac")
    index = mergesketch.LSHIndex(FAMILY, capacity=64).add(frame())
    regression = mergesketch.NadarayaWatsonSketch(FAMILY).update(frame(), np.ones(30))
    window = mergesketch.RaceWindow(FAMILY, 2).update(frame())
    density = mergesketch.DensitySketch(3, 1.0).update(frame())
    representer = mergesketch.RepresenterSketch.fit(np.ones(30), frame(), family=FAMILY)
    private = race().release(1.0)
    for call, argument in (
        (index.query, "Q"),
        (index.search, "Q"),
        (regression.predict, "Q"),
        (regression.kernel_sum, "Q"),
        (window.query, "Q"),
        (window.race().query, "Q"),
        (density.density, "X"),
        (density.log_density, "X"),
        (representer.query, "Q"),
        (representer.decision_function, "X"),
        (representer.predict, "X"),
        (private.query, "Q"),
    ):
        arguments = (X,) if call == index.search else ()
        call(frame(), *arguments)
        call(X, *arguments)
        with pytest.raises(ValueError, match=rf"^{argument} must have the columns of the rows before"):
            call(swapped, *arguments)
    with pytest.raises(ValueError, match=r"^X must have the columns of the rows before"):
        representer.update(swapped, np.ones((30, 1)))
    with pytest.raises(ValueError, match=r"^rows must have the columns of the rows before"):
        index.search(frame(), swapped)


def test_rows_without_names_are_taken_before_and_after() -> None:
    sketch = race(X)
    assert sketch.column_names is None
    sketch.query(frame("zyx"))
    assert sketch.column_names is None
    sketch.update(pd.DataFrame(X)).update(pd.DataFrame(X, columns=[3, 1, 2]))
    assert sketch.column_names is None
    sketch.update(pl.DataFrame(frame()))
    assert sketch.column_names == NAMES
    sketch.update(X).update(pd.DataFrame(X)).update(pa.table(frame()))
    assert sketch.n_updates == 7 * 30


def test_a_refused_batch_leaves_no_names() -> None:
    sketch = mergesketch.Race(FAMILY)
    with pytest.raises(ValueError, match="must be finite"):
        sketch.update(frame().assign(b=np.nan))
    with pytest.raises(ValueError, match="must have 3 columns"):
        sketch.update(frame("ab"))
    assert sketch.column_names is None


def test_copies_pickles_and_files_keep_names(tmp_path: Path) -> None:
    sketch = race()
    path = tmp_path / "race.sketch"
    sketch.save(path)
    for other in (
        sketch.copy(),
        copy.copy(sketch),
        copy.deepcopy(sketch),
        sketch.to("cpu"),
        sketch.empty_like(),
        pickle.loads(pickle.dumps(sketch)),
        pickle.loads(pickle.dumps(sketch.empty_like())),
        mergesketch.Race.from_bytes(sketch.to_bytes()),
        mergesketch.load(path),
        mergesketch.load(path, mmap=True),
    ):
        assert other.column_names == NAMES
        other.update(frame())
        with pytest.raises(ValueError, match="where 'a', 'c' were"):
            other.update(frame("cba"))
    assert mergesketch.inspect(path)["intact"]


def test_names_too_long_for_a_file_are_left_out() -> None:
    names = [f"{'long ' * 60_000}{i}" for i in range(3)]
    sketch = race(frame(names))
    found = mergesketch.Race.from_bytes(sketch.to_bytes())
    assert found == sketch and found.column_names is None and sketch.column_names == tuple(names)


@pytest.mark.parametrize("text", ["5", "[]", "[1]", '["a", 1]', "{}", "null", "[", '"a"'])
def test_damaged_names_are_refused(text: str) -> None:
    sketch = race()
    arrays = {name: entry.array for name, entry in sketch.state.items()}
    file = b"".join(pieces_of_file("Race", sketch.config(), arrays, {"columns": text}))
    with pytest.raises(SketchFormatError, match="not valid"):
        mergesketch.Race.from_bytes(file)
    good = b"".join(pieces_of_file("Race", sketch.config(), arrays, {"columns": json.dumps(NAMES), "x": "y"}))
    assert mergesketch.Race.from_bytes(good) == sketch


def test_merging_compares_names() -> None:
    ours, swapped, unnamed = race(), race(frame("bac")), race(X)
    before = ours.copy()
    for merge in (lambda: ours.merge(swapped), lambda: ours | swapped, lambda: ours.subtract(swapped)):
        with pytest.raises(IncompatibleSketchError, match="Race sketches differ in the columns of their r"):
            merge()
    with pytest.raises(IncompatibleSketchError, match="differ in the columns"):
        unnamed.merge(ours, swapped)
    assert ours == before and unnamed.n_updates == 30 and unnamed.column_names is None
    assert (ours | unnamed).column_names == (unnamed | ours).column_names == NAMES
    assert unnamed.copy().merge(unnamed).column_names is None
    assert ours.subtract(unnamed).column_names == NAMES
    # Names are no part of what is compared.
    assert race() == race(X) == race(frame("bac"))


def test_sketches_of_keys_have_no_names() -> None:
    counts = mergesketch.CountMinSketch(4, 256).update(pd.Series(["a"], name="word"))
    assert counts.column_names is None
