"""Building static functions from batches, in memory or through files; builders merge."""

from __future__ import annotations

import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...errors import IncompatibleSketchError
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.configured import differing_field
from ...lsh.support.progress import progress_bar
from ..coding.value_counts import ValueCounts, count_words
from ..core.guard import Guarded, changing, locked, uninterrupted
from .batch import read_batch
from .blueprint import Blueprint
from .column import Column
from .function import StaticFunction
from .gathered import Gathered
from .shards import number_of_shards, solve_shards

__all__ = ["StaticFunctionBuilder"]

_MASK = (1 << 64) - 1


class StaticFunctionBuilder(Guarded):
    """Gathers keys and values batch by batch, and makes a `StaticFunction` of them.

    The result is, byte for byte, what ``StaticFunction(all keys, all values)`` gives, in whatever batches and
    order they came, through whatever merges.

    Parameters
    ----------
    seed, key_check_bits, precision
        As for `StaticFunction`.
    spill : path of a folder, optional
        Where to keep the records, in a folder of their own that is removed by `close`, at the end of a
        ``with`` block or when the builder is collected. Without it they are kept in memory. A process that
        is forked has no part in that folder: there the builder can only be closed, and is as new then.

    Attributes
    ----------
    n_records : int
        Keys that came, those that came twice counted twice.

    Notes
    -----
    A record takes 16 bytes, in memory or on disk; `build` needs as many again, in the same place, while it
    lasts. Strings and bytes as values are kept in memory once each. With `spill`, building needs memory for
    twice the result, a shard (20 MB) for every thread and 1/64 of the records, whatever their number.

    The keys themselves are not kept. So if one comes with two values, `build` can name it only if it is an
    integer; else it says its hash and in which batches it came.

    Two different strings have the same 64-bit hash in one of a million sets of six million. Unlike
    `StaticFunction`, which has the keys, a builder cannot tell them from one key: it raises if their values
    differ, and another seed helps.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> builder = mergesketch.StaticFunctionBuilder()
    >>> for start in range(0, 1000, 100):
    ...     keys = np.arange(start, start + 100)
    ...     _ = builder.update(keys, keys % 3)
    >>> function = builder.build()
    >>> function.lookup([4, 998]).tolist()
    [1, 2]
    >>> function == mergesketch.StaticFunction(np.arange(1000), np.arange(1000) % 3)
    True
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        key_check_bits: int = 0,
        precision: float | None = None,
        spill: str | PathLike[str] | None = None,
    ) -> None:
        self.seed = check_int("seed", seed, 0, _MASK)
        self.key_check_bits = check_int("key_check_bits", key_check_bits, 0, 64)
        self.precision = None if precision is None else check_real("precision", precision, 0.0, np.inf)
        if spill is not None and not isinstance(spill, (str, PathLike)):
            raise TypeError(f"spill must be the path of a folder, got {spill!r}")
        if spill is not None and not os.path.isdir(spill):
            raise NotADirectoryError(f"spill must be a folder that exists, got {os.fspath(spill)!r}")
        self.spill = None if spill is None else Path(spill).absolute()
        self.gathered = Gathered(self.seed, self.spill)

    # -- gathering ------------------------------------------------------------------------------------

    @property
    def n_records(self) -> int:
        """Keys that came."""
        return self.gathered.store.n_records

    def update(self, keys: Any, values: Any) -> Self:
        """Take in a batch.

        Parameters
        ----------
        keys, values : arrays or lists of n keys and values
            As for `StaticFunction`. Integers as values may differ in width from batch to batch, but not in
            whether they are signed; other kinds have to stay the same.

        Returns
        -------
        The builder itself.

        Raises
        ------
        TypeError, ValueError
            If they are not, or of another kind than before. Nothing is changed then.
        OSError
            If the spill folder cannot be written to. Nothing is changed then either.
        RuntimeError
            If this process was forked from the one whose spill folder it is.

        Examples
        --------
        >>> import mergesketch
        >>> builder = mergesketch.StaticFunctionBuilder().update(["a", "b"], [1, 2])
        >>> builder.update(["c"], [3]).build().lookup(["c", "a"]).tolist()
        [3, 1]
        """
        batch = read_batch(keys, values, precision=self.precision)
        with self._lock, changing(self), uninterrupted():
            self.gathered.add(batch)
        return self

    def extend(self, batches: Iterable[tuple[Any, Any]], progress: bool = True) -> Self:
        """Take in all batches of an iterator of keys and values.

        Parameters
        ----------
        batches : iterable of (keys, values)
        progress : bool
            Whether a bar may be shown: on a terminal, after a second.

        Returns
        -------
        The builder itself.

        Raises
        ------
        TypeError, ValueError, OSError
            As `update`; the batches before the one that is refused stay.
        """
        if not isinstance(batches, Iterable) or isinstance(batches, (str, bytes)):
            raise TypeError(f"batches must be an iterable of (keys, values), got {type(batches).__name__}")
        with progress_bar("Gathering", None, progress, " keys") as advance:
            for batch in batches:
                if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                    raise TypeError(f"batches must be pairs (keys, values), got {type(batch).__name__}")
                keys, values = batch
                before = self.n_records
                self.update(keys, values)
                advance(self.n_records - before)
        return self

    def merge(self, *others: StaticFunctionBuilder) -> Self:
        """Take in all that other builders have; they keep it.

        Parameters
        ----------
        *others : StaticFunctionBuilder
            Unchanged.

        Returns
        -------
        The builder itself.

        Raises
        ------
        IncompatibleSketchError
            If a seed, key_check_bits or precision differs. Nothing is changed then.
        TypeError, ValueError, OSError
            As `update`.

        Examples
        --------
        >>> import mergesketch
        >>> one, other = mergesketch.StaticFunctionBuilder(), mergesketch.StaticFunctionBuilder()
        >>> one.update([1], ["a"]).merge(other.update([2], ["b"])).build()[2]
        'b'
        """
        for other in others:
            if not isinstance(other, StaticFunctionBuilder):
                raise TypeError(f"expected a StaticFunctionBuilder, got {type(other).__name__}")
            difference = differing_field(self.config(), other.config())
            if difference is not None:
                raise IncompatibleSketchError(f"StaticFunctionBuilders differ in {difference}")
        with locked(self, *others), changing(self), uninterrupted():
            self.gathered.merge([other.gathered for other in others])
        return self

    def __or__(self, other: StaticFunctionBuilder) -> StaticFunctionBuilder:
        """A new builder of what both have, with the spill folder of the first."""
        if not isinstance(other, StaticFunctionBuilder):
            return NotImplemented
        return StaticFunctionBuilder(**self.config(), spill=self.spill).merge(self, other)

    def config(self) -> dict[str, Any]:
        """What builders that merge have in common.

        Returns
        -------
        dict
        """
        return {"seed": self.seed, "key_check_bits": self.key_check_bits, "precision": self.precision}

    # -- building -------------------------------------------------------------------------------------

    def build(self, progress: bool = True) -> StaticFunction:
        """The function of all keys and values; the builder stays as it is, and can take in more.

        Parameters
        ----------
        progress : bool
            Whether a bar may be shown: on a terminal, after a second.

        Returns
        -------
        StaticFunction

        Raises
        ------
        ValueError
            If a key came with two values: names an integer key, for another its hash; and both values and
            their batches.
        OSError
            If the spill folder cannot be written to.
        """
        gathered, store = self.gathered, self.gathered.store
        kind = gathered.kinds.result
        ranks = gathered.dictionary.ranks() if kind.is_text else None
        with store.scratch_folder() as folder:
            ordered = gathered.order(ranks, folder, progress)
            counts = ValueCounts(folder)
            with store.naming_folder():
                for part in range(ordered.n_parts):
                    counts.add(*count_words(ordered.load(part).values))
            column = Column.build(counts.total(), number_of_shards(ordered.n_keys))
            blueprint = Blueprint(
                self.seed,
                ordered.n_keys,
                gathered.kinds.keys,
                self.key_check_bits,
                kind,
                ranks.entries if ranks else None,
                [column],
            )
            solved, n_shards = [], blueprint.n_shards
            with progress_bar("Solving", ordered.n_keys, progress, " keys") as advance:
                for shards, records in ordered.groups(range(n_shards), n_shards):
                    solved += solve_shards(records, shards, n_shards, blueprint.solve, advance)
            return blueprint.assemble(StaticFunction, solved)

    # -- the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Forget everything and remove what is in the spill folder."""
        self.gathered.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "memory" if self.spill is None else str(self.spill)
        return f"<StaticFunctionBuilder: {self.n_records:,} records in {where}>"
