"""Building static functions from batches, in memory or through files; builders merge."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.hashing.unhash import unhash_u64
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.configured import differing_field
from ...lsh.support.progress import progress_bar
from ...lsh.support.threads import get_num_threads
from ..coding.value_counts import ValueCounts, count_words
from ..core.guard import Guarded, changing, check_interrupt, locked, uninterrupted
from .column import Column
from .function import StaticFunction
from .kinds import Kinds
from .map import SolvePart, as_keys
from .records import OrderedRecords, RecordStore
from .ribbon import Solved
from .shards import Clash, Records, number_of_shards
from .structure import flatten
from .values import Dictionary, ValueKind, to_array

__all__ = ["StaticFunctionBuilder", "Translate", "count_part", "solve_parts", "translation"]

Translate = Callable[[NDArray[np.uint64]], NDArray[np.uint64]]

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
        self.store = RecordStore(self.spill)
        self._forget()

    def _forget(self) -> None:
        self.kinds = Kinds()
        self.dictionary = Dictionary()

    # -- gathering ------------------------------------------------------------------------------------

    @property
    def n_records(self) -> int:
        """Keys that came."""
        return self.store.n_records

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
        refuse_gpu("building a StaticFunction", keys, values)
        array = to_array(values, "values")
        if array.ndim != 1:
            raise ValueError(f"values must be one-dimensional, got shape {array.shape}")
        read = as_keys(keys, array.size)
        hashes = read.hashes(self.seed)
        kinds, dictionary = Kinds.of(read, array, self.precision), Dictionary()
        if kinds.values is None:
            words = np.empty(0, dtype=np.uint64)
        elif kinds.values.is_text:
            words = dictionary.words(array, "values")
        else:
            words = kinds.values.to_words(array)
        with self._lock, changing(self), uninterrupted():
            agreed = self.agree([kinds], [dictionary])
            with self.store.all_or_nothing():
                self.store.append(hashes, words)
                agreed()
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
            agreed = self.agree([other.kinds for other in others], [other.dictionary for other in others])
            with self.store.all_or_nothing():
                for other in others:
                    check_interrupt()
                    self.store.absorb(other.store)
                agreed()
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

    def agree(self, others: Iterable[Kinds], dictionaries: Iterable[Dictionary]) -> Callable[[], None]:
        """Check that kinds and dictionaries agree with the builder's, for other parts of the package.

        Parameters
        ----------
        others : iterable of Kinds
        dictionaries : iterable of Dictionary

        Returns
        -------
        callable
            Takes them over; it cannot fail.
        """
        kinds, more = self.kinds, Dictionary()
        for other in others:
            kinds = kinds.joined(other)
        for dictionary in dictionaries:
            self.dictionary.check(dictionary)
            more.merge(dictionary)

        def take_over() -> None:
            self.kinds = kinds
            self.dictionary.merge(more)

        return take_over

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
        with self.scratch_folder() as folder:
            kind, ranks, entries = self.kinds.result, None, None
            if kind.is_text:
                by_hash, numbers, entries = self.dictionary.ranks()
                kind = kind.fitted(entries)
                ranks = translation(by_hash, numbers)
            ordered = self.order_records(ranks, folder, progress)
            counts = ValueCounts(folder)
            with self.store.naming_folder():
                for part in range(ordered.n_parts):
                    counts.add(*count_part(ordered, part))
            n_shards = number_of_shards(ordered.n_keys)
            function = self.start_function(ordered.n_keys, n_shards, kind)
            solve = function.begin_solving([Column.build(counts.total(), n_shards)])
            with progress_bar("Solving", ordered.n_keys, progress, " keys") as advance:
                solved = solve_parts(ordered, solve, n_shards, range(n_shards), None, advance)
            function.finish([flatten(solved, len(function.ribbons()))])
            if entries is not None:
                function.set_entries(entries)
            return function

    def start_function(self, n_keys: int, n_shards: int, kind: ValueKind) -> StaticFunction:
        """Return a function without its columns, for other parts of the package.

        Parameters
        ----------
        n_keys, n_shards : int
        kind : ValueKind

        Returns
        -------
        StaticFunction
        """
        function = StaticFunction.__new__(StaticFunction)
        function.key_check_bits, function._kind = self.key_check_bits, kind
        function._set_keys(self.seed, n_keys, n_shards, self.kinds.keys)
        return function

    def order_records(
        self,
        translate: Translate | None,
        folder: Path | None,
        progress: bool,
        came_here: bool = True,
    ) -> OrderedRecords:
        """Return the records in order, for other parts of the package.

        Parameters
        ----------
        translate : callable or None
            Makes words of hashes of text.
        folder : Path or None
            Where what is written goes, as `scratch_folder` gives it.
        progress : bool
        came_here : bool, default True
            Whether the records came in batches of this builder, which an error then names.

        Returns
        -------
        OrderedRecords
        """
        try:
            with progress_bar("Ordering", self.n_records, progress, " keys") as advance:
                return OrderedRecords(self.store, translate, folder, advance)
        except Clash as clash:
            self._refuse(clash.hash, came_here)

    def _refuse(self, hash_: int, came_here: bool) -> NoReturn:
        """Say of which key two records have different values."""
        places = self.store.places(hash_)
        one, where = places[0]
        other, there = next(place for place in places if place[0] != one)
        where, there = (f" ({p})" if came_here else "" for p in (where, there))
        values = f"with {self._shown(one)}{where} and {self._shown(other)}{there}"
        if self.kinds.keys == "int":
            key = unhash_u64(hash_, self.seed)
            key -= (1 << 64) * (self.kinds.signed and key >= 1 << 63)
            raise ValueError(f"keys must have one value each, got {key} {values}") from None
        raise ValueError(
            f"keys must have one value each, got one whose hash is {hash_:#018x} {values}; if these are two "
            f"keys, then their hashes are the same under seed {self.seed}: choose another seed"
        ) from None

    def _shown(self, word: int) -> str:
        kind = self.kinds.result
        if kind.is_text:
            entry = self.dictionary.entry(word)
            return repr(entry.decode() if kind.kind == "str" else entry)
        return repr(kind.from_words(np.array([word], dtype=np.uint64), None)[0].item())

    @contextmanager
    def scratch_folder(self) -> Iterator[Path | None]:
        """Make a folder for what building writes, beside the records, while a block lasts.

        Returns
        -------
        context manager
            Gives the folder, or None for a builder that keeps its records in memory.
        """
        if self.spill is None:
            yield None
            return
        with self.store.naming_folder():
            folder = Path(tempfile.mkdtemp(prefix="build-", dir=self.store.folder()))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # -- the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Forget everything and remove what is in the spill folder."""
        self.store.close()
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "memory" if self.spill is None else str(self.spill)
        return f"<StaticFunctionBuilder: {self.n_records:,} records in {where}>"


def translation(by_hash: NDArray[np.uint64], ranks: NDArray[np.uint64]) -> Translate:
    """What makes words of the hashes of text: their ranks."""
    return lambda hashes: ranks[np.searchsorted(by_hash, hashes)]


def count_part(ordered: OrderedRecords, part: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The values of a part, ascending, and their counts; none if there is no such part."""
    words = ordered.load(part).loads if part < ordered.n_parts else np.empty(0, dtype=np.uint64)
    return count_words(lambda start, stop: words[start:stop], words.size)


def solve_parts(
    ordered: OrderedRecords,
    solve: SolvePart,
    n_shards: int,
    shards: range,
    more: Records | None,
    advance: Callable[[int], object],
) -> list[list[Solved]]:
    """Solve some shards, of which the parts and `more` have all keys; about one a thread at a time."""
    n_groups = 1
    while n_groups < ordered.n_parts and 2 * n_groups * get_num_threads() <= n_shards:
        n_groups *= 2
    solved: list[list[Solved]] = []
    for group in range(n_groups):
        some = range(
            max(shards.start, group * n_shards // n_groups),
            min(shards.stop, (group + 1) * n_shards // n_groups),
        )
        if not some:
            continue
        start, stop = (shard * ((1 << 64) // n_shards) for shard in (some.start, some.stop))
        records = ordered.between(start, stop)
        if more is not None and more.hashes.size:
            inside = more.hashes >= np.uint64(start)
            if not stop >> 64:
                inside &= more.hashes < np.uint64(stop)
            hashes = np.concatenate([records.hashes, more.hashes[inside]])
            order = np.argsort(hashes)
            records = Records(hashes[order], np.concatenate([records.loads, more.loads[inside]])[order])
        words = records.loads
        solved += solve(records.hashes, lambda _, a, b, words=words: words[a:b], some, advance)  # type: ignore[misc]
    return solved
