"""The common interface: a sketch is a configuration and a commutative monoid of arrays.

A subclass declares its configuration (`_parameters`), its state (`_layout`) with the reduction that
merges each array, and its own updates and queries. Merging, subtraction, copying, equality,
serialization, pickling and memory accounting are written here, once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.family import HashFamily, with_known_widths
from ...lsh.support.backend import to_host
from ...lsh.support.configured import differing_field
from ...lsh.support.lazy import lazy
from ...lsh.support.progress import progress_bar
from ...lsh.support.public import publish
from ...lsh.support.wording import counted
from .column_names import NamedColumns
from .guard import changing, locked, uninterrupted
from .merging import StoredMergeable, parts_of
from .notebook import Share
from .reading import reading
from .state import REDUCTIONS, SketchState, StateSpec
from .stored import Stored

__all__ = ["MergeableSketch"]


#: The largest array that `repr` looks at, in bytes; that takes some hundredths of a second.
_MOST_SHOWN = 1 << 25


class MergeableSketch(NamedColumns, StoredMergeable):
    """Define what all sketches have in common: they are built in one pass and merge exactly.

    Two sketches merge if and only if their classes and configurations are equal. For integer states the
    merged sketch equals, bit for bit, one sketch of all the data, for any order and grouping of the merges.
    For float states it is equal up to rounding. A sketch whose hash family does not know its number of
    features yet takes it from its first rows, or from a sketch that is merged into it. The arguments of the
    constructor are attributes, and cannot be set again.

    Notes
    -----
    ``a.merge(b, c)`` and ``a.merge([b, c])`` change `a`, and so does ``a |= b``. ``a | b`` is a new sketch.
    ``a + b`` means the same as ``a | b``, whatever the sketch counts, so that ``sum(sketches)`` works. Each
    addition copies the sketch, which `merge` of a list does not.

    Rows and keys may be data frames and columns of pandas, polars and Arrow. Queries of those from pandas
    return a Series with their index, or a DataFrame for several outputs, in place of an array; queries of
    those from polars return polars columns.

    Threads may share a sketch. Methods that change, save, copy or compare it run one after the other. Queries
    run at the same time, and find the state before a batch or after it: an update waits until the queries
    that have begun have ended, and queries wait while a batch is added. Arrays of `state` are views, which
    change with the sketch.

    A batch is added completely or not at all. If memory runs out while it is read or hashed, nothing changes.
    Exceptions of the handlers of SIGINT (Ctrl-C), SIGTERM and SIGALRM are raised before the batch is added or
    afterwards. There are three exceptions: another thread may raise an exception in this one, the system may
    kill the process, and the system may lack the memory for the small buffers of kernels.

    After a fork the child has its own copy. If another thread was changing the sketch during the fork, the
    child refuses to use it, by RuntimeError.
    """

    # -- what a sketch declares -------------------------------------------------------------------

    #: The array whose share of used entries `repr` shows, and what these entries are.
    _filled: ClassVar[tuple[str, str] | None] = None
    #: The arguments by which a size was chosen, for `repr`. They are not part of the configuration.
    _asked: Mapping[str, Any] = {}

    @abstractmethod
    def _layout(self) -> dict[str, StateSpec]:
        """Return the specifications of the state's arrays, without `n_updates`, from the configuration."""

    @abstractmethod
    def update(self, X: Any, *args: Any, **kwargs: Any) -> Self:
        """Add a batch of rows or keys; a subclass passes it on to `_take_in`.

        Parameters
        ----------
        X : n rows or keys
        *args, **kwargs
            Weights, counts, targets or other values of the rows, as the class says.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the class does not take them. Nothing changes then.
        """

    def update_many(self, batches: Iterable[Any], *, progress: bool = True) -> Self:
        """Add all batches of an iterable, for example of a generator that reads a file in parts.

        Parameters
        ----------
        batches : iterable of batches
            Each batch is the first argument of `update`, or a dict of all arguments of `update` by name. It
            is added before the next one is asked for.
        progress : bool
            True to show a progress bar, on a terminal and after a second.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError
            If `batches` is a single batch.
        Exception
            What `update` raises for a batch, with a note that has the number of the batch, or what `batches`
            raises. The batches before it stay.

        Examples
        --------
        >>> import mergesketch
        >>> lines = iter(["tea cake", "tea", "jam tea"])
        >>> sketch = mergesketch.HeavyHitters(frequency=0.1)
        >>> sketch.update_many(line.split() for line in lines).top(1)
        [('tea', 3)]
        >>> sketch.update_many([{"keys": ["tea", "jam"], "counts": [10, 20]}]).top(2)
        [('jam', 21), ('tea', 13)]
        """
        is_one = isinstance(batches, (str, bytes, Mapping)) or hasattr(batches, "shape")
        if is_one or not isinstance(batches, Iterable):
            kind = type(batches).__name__
            raise TypeError(f"batches must be an iterable of batches, got {kind}; `update` adds one batch")
        with progress_bar("Adding", None, progress, " rows") as advance:
            for number, batch in enumerate(batches):
                before = self.n_updates
                try:
                    self.update(**batch) if isinstance(batch, dict) else self.update(batch)
                except Exception as error:
                    error.add_note(f"This was batch {number} of `update_many`; those before it were added.")
                    raise
                advance(self.n_updates - before)
        return self

    def _read(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments of an update and return them as a batch, for `_amounts` and `_add`.

        Nothing changes yet. Arguments that the class does not take raise TypeError or ValueError.
        """
        raise NotImplementedError

    def _amounts(self, batch: Any) -> dict[str, int]:
        """Return, for each array of counters, the most that a batch adds to one of its counters.

        The amount of "n_updates" is the number of the batch's rows or keys.
        """
        raise NotImplementedError

    def _add(self, batch: Any) -> None:
        """Add a batch to the arrays, which have room for it now.

        If this fails, it leaves the values of the arrays as they were. Signals are delayed meanwhile.
        """
        raise NotImplementedError

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        """Merge the arrays that share a reduction of the sketch's own into `ours`, in place.

        The arrays of the named reductions are merged before, so that `self._arrays` has their result.
        """
        raise TypeError(f"{type(self).__name__} declares no reduction named {reduction!r}")

    # -- state ------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> SketchState:  # type: ignore[override]
        specs = {**self._layout(), "n_updates": StateSpec((1,), "int64", "sum", on_device=False)}
        return SketchState(type(self).__name__, specs)

    @property
    def state(self) -> SketchState:
        """The named arrays and their reductions. Views, not copies: do not write to them."""
        with self._lock:
            self._canonicalise()
        return self._state

    @property
    def n_updates(self) -> int:
        """The number of rows or keys added so far, over all merged parts, minus those subtracted."""
        return int(self._arrays["n_updates"][0]) if self._state.is_allocated else 0

    # -- updates ----------------------------------------------------------------------------------

    def _take_in(self, arguments: Mapping[str, Any], *others: Any) -> Self:
        """Update the sketch: the arguments of a batch are read, room is reserved, and the batch is added.

        A batch that is refused at any of these steps leaves nothing behind.

        Parameters
        ----------
        arguments : mapping of str to argument
            The arguments that must lie on one device, the sketch's, in the order that `_read` takes them.
        *others
            Further arguments for `_read`, which puts them where the others are.
        """
        # Queries go on while a batch is read, which takes long, unless there is nothing to ask yet.
        with (
            self._lock,
            changing(self, beside_queries=self._state.is_allocated),
            self._without_trace(),
        ):
            for name, argument in arguments.items():
                self._claim_device(name, argument)
            if "X" in arguments:
                self._fix_family(arguments["X"])
            self._put(self._read(*arguments.values(), *others))
            self._remember_columns(arguments)
        return self

    def _put(self, batch: Any) -> None:
        """Reserve room for a batch that has been read, and add it."""
        amounts, state = self._amounts(batch), self._state
        with changing(self), uninterrupted(), state.reserved(amounts):
            self._add(batch)
            state.arrays["n_updates"] += amounts["n_updates"]

    def _fix_family(self, X: Any) -> None:
        """Replace a family that does not know its number of features by that of the first rows."""
        family = vars(self).get("family")
        if isinstance(family, HashFamily) and not family.is_fixed:
            vars(self)["family"] = family.for_rows(X)

    @contextmanager
    def _without_trace(self) -> Iterator[None]:
        """Leave no empty arrays, no device and no number of features in a sketch if its first batch fails."""
        before, family = self._state, vars(self).get("family")
        if before.is_allocated:
            try:
                yield
            except BaseException:
                if not self.n_updates:
                    vars(self).update({} if family is None else {"family": family})
                raise
            return
        try:
            self._state = before.with_arrays(None)
            self._state.decided_by = ""
            yield
        except BaseException:
            self._state = before
            vars(self).update({} if family is None else {"family": family})
            raise
        finally:
            self._state.decided_by = None

    # -- merging ----------------------------------------------------------------------------------

    def _check_compatible(self, other: object) -> None:
        if type(other) is not type(self):
            raise IncompatibleSketchError(
                f"expected a {type(self).__name__} to merge, got {type(other).__name__}"
            )
        assert isinstance(other, MergeableSketch)
        ours: Mapping[str, Any] = self.config()
        theirs: Mapping[str, Any] = other.config()
        if not (self._is_fixed and other._is_fixed):
            ours, theirs = with_known_widths([ours, theirs])
        difference = differing_field(ours, theirs)
        if difference is not None:
            raise IncompatibleSketchError(f"{type(self).__name__} sketches differ in {difference}")

    def _first_fixed(self, *others: Self) -> Self:
        """Return the first of the sketches whose family knows its number of features, or else this sketch."""
        return next((sketch for sketch in (self, *others) if sketch._is_fixed), self)

    @property
    def _is_fixed(self) -> bool:
        family = vars(self).get("family")
        return not isinstance(family, HashFamily) or family.is_fixed

    def fix_like(self, other: MergeableSketch) -> None:
        """Take the number of features from the family of another sketch, if ours does not know it.

        Parameters
        ----------
        other : MergeableSketch
            A sketch that this one may be merged with.
        """
        if not self._is_fixed:
            ours, theirs = vars(self)["family"], vars(other)["family"]
            vars(self)["family"] = ours.fixed_like(theirs)

    def part_numbers(self) -> tuple[int, ...]:
        """Return the numbers by which `check_parts` finds out whether parts may be merged.

        Returns
        -------
        tuple of int
        """
        return ()

    @classmethod
    def check_parts(cls, parts: Sequence[tuple[int, ...]]) -> None:
        """Raise IncompatibleSketchError if some sketches cannot be parts of one whole.

        Parameters
        ----------
        parts : sequence of tuple of int
            The `part_numbers` of each.
        """

    def check_merge(self, parts: Sequence[Self]) -> None:
        """Raise IncompatibleSketchError if the arrays of parts show that they cannot merge.

        Parameters
        ----------
        parts : sequence of sketches
            Sketches of the configuration of this one, which is to take them in.
        """

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Merge other sketches of the same configuration into this one, in place.

        Parameters
        ----------
        *others : same class and configuration, or iterables of such sketches
            They are not changed. The sketch itself may be among them, and then counts twice. An iterable is
            read completely before anything changes.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        IncompatibleSketchError
            If configurations differ, naming the first field that does, or if the parts have in common what
            they must not, such as the rows' ids of an `LSHIndex`. Nothing changes then.
        OverflowError
            If a 64-bit counter could wrap. Nothing changes then.
        """
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self._check_compatible(part)
        all_fixed = all(sketch._is_fixed for sketch in (self, *parts))
        with locked(self, *parts), changing(self):
            fixed = self if all_fixed else self._first_fixed(*parts)
            if not all_fixed:
                # Those that know their number of features may differ in it, or another thread has fixed it.
                for part in (self, *parts):
                    fixed._check_compatible(part)
            self.check_parts([part.part_numbers() for part in (self, *parts)])
            self.check_merge(parts)
            columns = self._columns_with(parts)
            parts = tuple(part.copy() if part is self else self._on_our_device(part) for part in parts)
            state, theirs = self._state, [part.state for part in parts]
            amounts = {name: sum(their.bound(name) for their in theirs) for name in state.counters}
            undone = state.restored_on_failure() if self._has_own_reduction() else nullcontext()
            with uninterrupted(), state.reserved(amounts), undone:
                for their in theirs:
                    self.reduce_arrays(their.arrays)
                self._columns = columns
                self.fix_like(fixed)
        self.after_merge()
        return self

    def after_merge(self) -> None:
        """Do what a class wants to do after a merge, such as to warn. `merge` calls it."""

    def _has_own_reduction(self) -> bool:
        """Tell whether a reduction of the sketch's own may fail, for lack of memory, after others ran."""
        return any(spec.reduction not in REDUCTIONS for spec in self._state.specs.values())

    def reduce_arrays(self, theirs: Mapping[str, NDArray[Any]]) -> None:
        """Merge arrays of a sketch of the same configuration into ours, in place.

        Parameters
        ----------
        theirs : mapping of str to ndarray
            Arrays by name; of those that share a reduction of the sketch's own, all or none. Unchanged.
        """
        ours, own = self._arrays, dict[str, list[str]]()
        for name, spec in self._state.specs.items():
            if name not in theirs:
                continue
            if spec.reduction in REDUCTIONS:
                REDUCTIONS[spec.reduction](ours[name], theirs[name], out=ours[name])
            else:
                own.setdefault(spec.reduction, []).append(name)
        for reduction, names in own.items():
            self._reduce_custom(
                reduction, {name: ours[name] for name in names}, {name: theirs[name] for name in names}
            )

    def _merged(self, *others: Self) -> Self:
        return self.copy().merge(*others)

    def subtract(self, other: Self) -> Self:
        """Subtract the data of another sketch, in place; for sketches whose arrays are all sums.

        Parameters
        ----------
        other : same class and configuration
            Usually a part that was merged in before. It is not changed.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError
            If an array of this class is not a sum.
        IncompatibleSketchError, OverflowError
            As `merge` does. Nothing changes then.
        """
        specs, others = self._state.specs, self._other_reductions()
        if others:
            raise TypeError(f"{type(self).__name__} cannot subtract: its state merges by {', '.join(others)}")
        self._check_compatible(other)
        with locked(self, other), changing(self):
            self._check_compatible(other)
            self._columns_with([other])
            state, theirs = self._state, self._on_our_device(other)._state
            amounts = {name: theirs.bound(name) for name in state.counters}
            arrays = dict(theirs.arrays)
            with uninterrupted(), state.reserved(amounts):
                for name, ours in state.arrays.items():
                    # Arrays beside the sums, a largest weight for example, still hold for what is left.
                    combine = REDUCTIONS[specs[name].reduction] if name in self._not_compared else np.subtract
                    combine(ours, arrays[name], out=ours)
                self.fix_like(other)
        return self

    def _other_reductions(self) -> list[str]:
        """Return the reductions beside sums, because of which the sketch cannot subtract."""
        specs = self._state.specs.items()
        return sorted({spec.reduction for name, spec in specs if name not in self._not_compared} - {"sum"})

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        n = int(arrays["n_updates"][0])
        # A difference of two sketches may have more rows subtracted than added.
        if n < 0 and self._other_reductions():
            raise ValueError(f"n_updates must be at least 0, got {n}")

    # -- copies and comparison --------------------------------------------------------------------

    def empty_like(self) -> Self:
        """Return a new sketch of the same configuration without data: the identity of merging.

        Returns
        -------
        A sketch of the same class.
        """
        new = self._without_arrays()
        new._state = self._state.with_arrays(None, "cpu")
        return new

    def copy(self) -> Self:
        """Return a new sketch of the same configuration and state, which shares no state memory.

        Returns
        -------
        A sketch of the same class.
        """
        new = self._without_arrays()
        with self._lock:
            # A sketch without data still goes to the device of its first rows.
            state = self._state
            new._state = state.copy() if state.is_allocated else state.with_arrays(None)
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        # Engines send an empty sketch with every task. Only its configuration is sent.
        if not self._state.is_allocated:
            return type(self)._from_config, (self.config(),), self._remembered()
        # A copy is pickled: a pickler takes one array after the other, and updates may come in between.
        return *Stored.__reduce__(self.copy()), self._remembered()

    def __copy__(self) -> Self:
        return self.copy()

    # -- the text of a sketch ---------------------------------------------------------------------

    def _asked_for(self, **arguments: Any) -> Self:
        """Remember the arguments that the size was chosen by."""
        self._asked = arguments
        return self

    def _shown(self, name: str) -> NDArray[Any] | None:
        """Return an array in main memory, for `repr`; None if a look at all of it takes long."""
        array = self._arrays[name]
        return to_host(array) if array.nbytes <= _MOST_SHOWN else None

    def _fullness(self) -> list[str]:
        """Return how full the sketch is, in words for `repr`."""
        if self._filled is None:
            return []
        name, what = self._filled
        array, spec = self._shown(name), self._state.specs[name]
        if array is None or array.size == 0:
            return []
        if spec.reduction == "or":
            used, n = int(np.bitwise_count(array).sum(dtype=np.int64)), 8 * array.nbytes
        else:
            used, n = int(np.count_nonzero(array if spec.fill == 0 else array != spec.fill)), array.size
        return [Share(used / n, what)]

    @property
    def _chosen_for(self) -> str:
        """The arguments by which the size was chosen, in words."""
        return ", ".join(f"{k}={v:_}" if type(v) is int else f"{k}={v!r}" for k, v in self._asked.items())

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("updates", f"{self.n_updates:,}"), *super()._facts()]
        if self._asked:
            facts.append(("chosen for", self._chosen_for))
        return [*facts, *(("state", fact) for fact in self._fullness() if self.n_updates)]

    @reading
    def __repr__(self) -> str:
        asked = self._chosen_for
        facts = [counted(self.n_updates, "update"), f"{self.nbytes:,} bytes"]
        if self.n_updates:
            facts += self._fullness()
        return f"<{super().__repr__()}{asked and f' for {asked}'}: {', '.join(facts)}>"


publish("mergesketch", __all__, globals())
