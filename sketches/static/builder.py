"""Building static functions from batches, in memory or through files, with builders that merge."""

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
from ...lsh.support.public import publish
from ...lsh.support.types import ArrayLike, KeysLike
from ...lsh.support.wording import counted
from ..coding.value_counts import ValueCounts, count_words
from ..core.guard import changing, locked, uninterrupted
from ..core.merging import Mergeable, parts_of
from .batch import read_batch
from .blueprint import Blueprint
from .column import Column
from .function import StaticFunction
from .gathered import Gathered
from .shards import number_of_shards

__all__ = ["StaticFunctionBuilder"]

_MASK = (1 << 64) - 1


class StaticFunctionBuilder(Mergeable):
    """Collect keys and values batch by batch, and build a `StaticFunction` from them.

    The result has the bytes of ``StaticFunction(all keys, all values)``, for any batches, order and merges.

    Parameters
    ----------
    seed, key_check_bits, precision
        As for `StaticFunction`.
    spill : path of a folder, optional
        The builder stores its records in a new folder in this folder. `close`, the end of a ``with`` block,
        or the end of the builder's life removes it. Without `spill` the records stay in memory. A forked
        process cannot use the folder of its parent: there the builder can only be closed, and is empty
        afterwards.

    Attributes
    ----------
    n_records : int
        Number of gathered keys, repeated keys included.

    Notes
    -----
    A record takes 16 bytes, in memory or on disk. `build` needs the same space again, in the same place,
    while it runs. Each distinct string or byte string among the values stays in memory once. With `spill`,
    building needs memory for twice the result, for a shard (20 MB) on every thread, and for 1/64 of the
    records.

    The builder does not store the keys. If a key has two values, `build` can name it only if it is an
    integer; otherwise the message has the hash of the key and the batches in which it occurs.

    Two different strings have the same 64-bit hash in one of a million sets of six million. A builder cannot
    distinguish them, unlike `StaticFunction`, which has the keys: it raises if their values differ. Another
    seed helps.

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
        #: `mergesketch.distributed` exchanges this between numbering.
        self.gathered = Gathered(self.seed, self.spill)

    # -- gathering ------------------------------------------------------------------------------------

    @property
    def n_records(self) -> int:
        """Number of gathered keys."""
        return self.gathered.store.n_records

    def update(self, keys: KeysLike, values: ArrayLike) -> Self:
        """Add a batch of keys and values.

        Parameters
        ----------
        keys, values : arrays or lists of n keys and values, or one key and its value
            As for `StaticFunction`. Integers as values may have another width in another batch, but they must
            all be signed or all be unsigned. Other values must have the same dtype in all batches.

        Returns
        -------
        The builder itself.

        Raises
        ------
        TypeError, ValueError
            If keys or values are not accepted, or differ in kind from those of earlier batches. The builder
            does not change then.
        OSError
            If the spill folder cannot be written to. The builder does not change then.
        RuntimeError
            If this process was forked from the process that made the spill folder.

        Examples
        --------
        >>> import mergesketch
        >>> builder = mergesketch.StaticFunctionBuilder().update(["a", "b"], [1, 2])
        >>> builder.update(["c"], [3]).build().lookup(["c", "a"]).tolist()
        [3, 1]
        """
        batch = read_batch(keys, values, precision=self.precision, may_be_one=True)
        hashes = batch.keys.hashes(self.seed)
        with self._lock, changing(self), uninterrupted():
            self.gathered.add(batch, hashes)
        return self

    def extend(self, batches: Iterable[tuple[Any, Any]], progress: bool = True) -> Self:
        """Add all batches of an iterator of keys and values.

        Parameters
        ----------
        batches : iterable of (keys, values)
        progress : bool
            True to show a progress bar, on a terminal and after a second.

        Returns
        -------
        The builder itself.

        Raises
        ------
        TypeError, ValueError, OSError
            As `update`. The batches before the refused batch stay.
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

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Add all that other builders have gathered.

        Parameters
        ----------
        *others : StaticFunctionBuilder, or iterables of them
            The other builders do not change.

        Returns
        -------
        The builder itself. ``a | b`` is a new builder, with the spill folder of `a`.

        Raises
        ------
        IncompatibleSketchError
            If seed, key_check_bits or precision differ. The builder does not change then.
        TypeError, ValueError, OSError
            As `update`.

        Examples
        --------
        >>> import mergesketch
        >>> one, other = mergesketch.StaticFunctionBuilder(), mergesketch.StaticFunctionBuilder()
        >>> one.update([1], ["a"]).merge(other.update([2], ["b"])).build()[2]
        'b'
        """
        parts: tuple[Self, ...] = parts_of(others)
        for other in parts:
            if not isinstance(other, StaticFunctionBuilder):
                raise TypeError(f"expected a StaticFunctionBuilder, got {type(other).__name__}")
            difference = differing_field(self.config(), other.config())
            if difference is not None:
                raise IncompatibleSketchError(f"StaticFunctionBuilders differ in {difference}")
        with locked(self, *parts), changing(self), uninterrupted():
            self.gathered.merge([other.gathered for other in parts])
        return self

    def _merged(self, *others: Self) -> Self:
        """Return a new builder with all that both have gathered, and the spill folder of the first."""
        return type(self)(**self.config(), spill=self.spill).merge(self, *others)

    def config(self) -> dict[str, Any]:
        """Return the parameters that must be equal to merge builders.

        Returns
        -------
        dict
        """
        return {"seed": self.seed, "key_check_bits": self.key_check_bits, "precision": self.precision}

    # -- building -------------------------------------------------------------------------------------

    def build(self, progress: bool = True) -> StaticFunction:
        """Build the function of all keys and values. The builder does not change and accepts more batches.

        Parameters
        ----------
        progress : bool
            True to show a progress bar, on a terminal and after a second.

        Returns
        -------
        StaticFunction

        Raises
        ------
        ValueError
            If a key has two values. The message has an integer key, or the hash of another key, both values,
            and their batches.
        OSError
            If the spill folder cannot be written to.
        """
        with self._lock:
            return self._build(progress)

    def _build(self, progress: bool) -> StaticFunction:
        gathered, kinds, store = self.gathered, self.gathered.kinds, self.gathered.store
        numbering = gathered.dictionary.number() if kinds.result.is_text else None
        with store.scratch_folder() as folder:
            ordered = gathered.order(numbering, folder, progress)
            counts = ValueCounts(folder)
            with store.naming_folder():
                for part in range(ordered.n_parts):
                    counts.add(*count_words(ordered.load(part).values))
            n_keys, n_shards = ordered.n_keys, number_of_shards(ordered.n_keys)
            column = Column.build(counts.total(), n_shards)
            blueprint = Blueprint(
                self.seed, n_keys, kinds.keys, self.key_check_bits, [kinds.result], numbering, [column]
            )
            solved = blueprint.solve_groups(ordered.groups(range(n_shards), n_shards), n_keys, progress)
            return blueprint.assemble(StaticFunction, solved)

    # -- the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Remove the files of the records, and forget everything."""
        self.gathered.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "memory" if self.spill is None else str(self.spill)
        return f"<StaticFunctionBuilder: {counted(self.n_records, 'record')} in {where}>"


publish("mergesketch", __all__, globals())
