"""What static functions and tables share: columns of values, each with its code, and one hash a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys, read_keys
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.progress import progress_bar
from ..coding.codebook import Codebook
from ..kernels import static
from .column import CHECK_PURPOSE, Column, check_told, solve_filter
from .column_permutation import permute_columns
from .ribbon import Shard, Solved
from .shards import Clash, Words, make_columns, number_of_shards, order_records, solve_some
from .structure import BLOCK, ArraySpec, Flat, StaticStructure, flatten
from .values import Dictionary, ValueKind, kind_of_values

__all__ = ["MAX_COLUMNS", "StaticValues", "as_keys", "kind_of_none"]

SolvePart = Callable[[NDArray[np.uint64], Words, range, Callable[[int], object]], list[list[Solved]]]

_MASK = (1 << 64) - 1
#: Columns of a table.
MAX_COLUMNS = 1 << 14
#: Hash collisions of distinct keys are as rare as one in a billion maps of 10 million strings.
_SEEDS = 4


class StaticValues(StaticStructure):
    """What `StaticFunction` and `StaticTable` share: columns of values, each with its code."""

    _internal = True

    key_check_bits: int
    _kind: ValueKind
    _told: list[Mapping[str, Any]]
    _n_codebooks: int

    # -- storage --------------------------------------------------------------------------------------

    def _own_config(self) -> dict[str, Any]:
        return {
            "key_check_bits": self.key_check_bits,
            "values": self._kind.config(),
            "n_codebooks": self._n_codebooks,
            "columns": self._told,
        }

    def _set_own_config(self, config: Mapping[str, Any]) -> None:
        self.key_check_bits = check_int("key_check_bits", config["key_check_bits"], 0, 64)
        self._kind = ValueKind.from_config(config["values"])
        self._n_codebooks = check_int("n_codebooks", config["n_codebooks"], 0, MAX_COLUMNS)
        self._told = list(config["columns"])
        for told in self._told:
            check_told(told)

    def _specs(self) -> Mapping[str, ArraySpec]:
        specs = dict(super()._specs())
        for i in range(self._n_codebooks):
            specs[f"codebook{i}_header"] = ArraySpec("uint64")
            specs[f"codebook{i}_class_sizes"] = ArraySpec("uint32")
            specs[f"codebook{i}_classes"] = ArraySpec("uint64")
        if self._kind.is_text:
            specs["entries"] = ArraySpec("uint8")
            specs["entry_ends"] = ArraySpec("uint64")
        return specs

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.__dict__["_columns"] = self._read_columns(arrays)
        super()._check_state(arrays)
        if self._kind.is_text:
            ends, size = arrays["entry_ends"], arrays["entries"].size
            if ends.size == 0 or (ends[1:] < ends[:-1]).any() or int(ends[-1]) != size or ends[0] != 0:
                raise ValueError("entry_ends must rise from 0 to the length of entries")
            starts = ends[ends < size].astype(np.int64)
            if self._kind.kind == "str" and ((arrays["entries"][starts] & 0xC0) == 0x80).any():
                raise ValueError("entries must not be cut within a character")
            if self._kind.kind == "str":
                arrays["entries"].tobytes().decode()
            # A look-up allocates items of this width.
            longest = int(np.diff(ends).max(initial=0))
            if self._kind.dtype != "object" and np.dtype(self._kind.dtype).itemsize > 4 * max(1, longest):
                raise ValueError(f"dtype must not be wider than the entries, got {self._kind.dtype}")

    def _read_columns(self, arrays: Mapping[str, NDArray[Any]]) -> list[Column]:
        books = [
            Codebook.from_arrays(
                {k: arrays[f"codebook{i}_{k}"] for k in ("header", "class_sizes", "classes")}
            )
            for i in range(self._n_codebooks)
        ]
        return [Column.from_config(told, books) for told in self._told]

    @lazy
    def _columns(self) -> list[Column]:
        return self._read_columns(self._arrays)

    def _ribbons(self) -> list[tuple[int, int]]:
        check = [(self.key_check_bits, 1)] if self.key_check_bits else []
        return check + [ribbon for column in self._columns for ribbon in column.ribbons()]

    # -- building -------------------------------------------------------------------------------------

    @classmethod
    def _build(
        cls,
        keys: Any,
        values: NDArray[Any],
        *,
        seed: Any,
        key_check_bits: Any,
        precision: Any,
        progress: bool,
        shared: bool = False,
        permute: str = "none",
    ) -> Self:
        """From keys and an (n, columns) array of values; checks both and the options."""
        read = as_keys(keys, values.shape[0])
        seed = check_int("seed", seed, 0, _MASK)
        key_check_bits = check_int("key_check_bits", key_check_bits, 0, 64)
        kind = kind_of_values(values, precision, "values") if values.size else kind_of_none(values)
        dictionary = None
        if kind.is_text:
            dictionary = Dictionary()
            hashed = dictionary.words(values.reshape(-1), "values")
            by_hash, ranks, entries = dictionary.ranks()
            kind = kind.fitted(entries)
            words = ranks[np.searchsorted(by_hash, hashed)].reshape(values.shape)
        else:
            words = kind.to_words(values)
        if permute != "none":
            words = permute_columns(words, permute)
        columns = [np.ascontiguousarray(column) for column in words.T]
        new = object.__new__(cls)
        new.key_check_bits, new._kind = key_check_bits, kind
        for attempt in range(_SEEDS):
            hashes = read.hashes((seed + attempt) & _MASK)
            try:
                new._solve((seed + attempt) & _MASK, read.kind, hashes, columns, shared, progress)
                break
            except Clash as clash:
                _refuse_conflict(read, values, columns, np.flatnonzero(hashes == np.uint64(clash.hash)))
        else:
            raise RuntimeError(f"distinct keys collided under {_SEEDS} seeds")
        if dictionary is not None:
            new._set_entries(entries)
        return new

    def _solve(
        self,
        seed: int,
        kind: str,
        hashes: NDArray[np.uint64],
        columns: list[NDArray[np.uint64]],
        shared: bool,
        progress: bool,
    ) -> None:
        """Everything but the dictionary's entries."""
        single = len(columns) == 1
        if single:
            records = order_records(hashes, columns[0], lambda a, b: a == b)
        else:
            rows = np.arange(hashes.size, dtype=np.uint64)

            def same(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.bool_]:
                agree = np.ones(a.size, dtype=np.bool_)
                for column in columns:
                    agree &= column[a.astype(np.int64)] == column[b.astype(np.int64)]
                return agree

            records = order_records(hashes, rows, same)
        n = records.hashes.size

        def words(j: int, start: int, stop: int) -> NDArray[np.uint64]:
            loads = records.loads[start:stop]
            return loads if single else columns[j][loads.astype(np.int64)]

        self._set_keys(seed, n, number_of_shards(n), kind)
        self._fill(records.hashes, words, make_columns(words, n, len(columns), shared), progress)

    def _fill(self, hashes: NDArray[np.uint64], words: Words, columns: list[Column], progress: bool) -> None:
        """Solve all shards with given codes."""
        solve_part = self._begin(columns)
        with progress_bar("Solving", hashes.size, progress, " keys") as advance:
            solved = solve_part(hashes, words, range(self.n_shards), advance)
        self._finish([flatten(solved, len(self._ribbons()))])

    def _begin(self, columns: list[Column]) -> SolvePart:
        """Take over the codes; what then solves some shards."""
        books = _codebooks(columns)
        numbers = [next(i for i, b in enumerate(books) if b is column.codebook) for column in columns]
        self._n_codebooks = len(books)
        self._told = [column.config(i) for column, i in zip(columns, numbers, strict=True)]
        self.__dict__["_columns"] = columns
        encoders = [book.encoder() for book in books]

        def solve_part(
            hashes: NDArray[np.uint64], words: Words, shards: range, advance: Callable[[int], object]
        ) -> list[list[Solved]]:
            def solve_shard(shard: Shard, start: int, stop: int) -> list[Solved]:
                solved = []
                if self.key_check_bits:
                    solved.append(solve_filter(shard, CHECK_PURPOSE, self.key_check_bits))
                for j, column in enumerate(columns):
                    solved += column.solve(shard, words(j, start, stop), encoders[numbers[j]])
                return solved

            return solve_some(hashes, self.n_shards, shards, solve_shard, advance)

        return solve_part

    def _finish(self, parts: list[Flat]) -> None:
        """Take over the ribbons of all shards."""
        self._join(parts)
        for i, book in enumerate(_codebooks(self._columns)):
            for name, array in book.arrays().items():
                self._arrays[f"codebook{i}_{name}"] = array

    def _set_entries(self, entries: list[bytes]) -> None:
        """Take over the dictionary, in order."""
        lengths = [len(entry) for entry in entries]
        self._arrays["entries"] = np.frombuffer(b"".join(entries), dtype=np.uint8).copy()
        self._arrays["entry_ends"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)

    # -- reading --------------------------------------------------------------------------------------

    @lazy
    def _entries(self) -> NDArray[Any] | None:
        """The dictionary's entries as what a look-up returns: made at the first one."""
        if not self._kind.is_text:
            return None
        raw, ends = self._arrays["entries"].tobytes(), self._arrays["entry_ends"].tolist()
        pieces: list[Any] = [raw[a:b] for a, b in pairwise(ends)]
        if self._kind.kind == "str":
            pieces = [piece.decode() for piece in pieces]
        out = np.empty(max(1, len(pieces)), dtype=object)
        out[: len(pieces)] = pieces
        if not pieces:
            out[0] = "" if self._kind.kind == "str" else b""
        return out if self._kind.dtype == "object" else out.astype(self._kind.dtype)

    def _check_device(self, device: str) -> None:
        if device == "gpu" and self._kind.is_text:
            raise NotImplementedError(
                "strings and bytes have no place on a GPU: look up their numbers there, and the texts here"
            )

    def contains(self, keys: Any) -> NDArray[np.bool_]:
        """Whether each key was there at construction, by its check bits.

        Parameters
        ----------
        keys : array or list of n keys
            As for `lookup`.

        Returns
        -------
        ndarray of shape (n,), bool
            True for every key that was there; for others with probability ``2**-key_check_bits``, and
            ``n_keys / 2**64`` more, for that is how often their 64-bit hash is that of some key.

        Raises
        ------
        ValueError
            If there are no check bits.
        """
        if not self.key_check_bits:
            raise ValueError("contains needs key_check_bits, which were 0 at construction")
        hashes = self._hashes(keys)
        if self.n_keys == 0:
            return self._backend.xp.zeros(hashes.size, dtype=np.bool_)
        return self._has_fingerprint(hashes, 0, CHECK_PURPOSE, self.key_check_bits)

    def __contains__(self, key: Any) -> bool:
        """Whether one key was there; as `contains`."""
        return bool(self.contains([key])[0])

    #: Without keys there is nothing to go through; else Python would ask for 0, 1, 2, ...
    __iter__ = None

    def _look_up(self, keys: Any, missing: Any) -> NDArray[Any]:
        """Values of shape (n, columns), those of absent keys marked if there are check bits."""
        if missing is not None and not self.key_check_bits:
            raise ValueError("missing needs key_check_bits, which were 0 at construction")
        if missing is not None:
            if self.device == "cpu":
                refuse_gpu("a look-up in main memory", missing)
            missing = self._kind.check_filling("missing", missing, len(self._columns))
        hashes = self._hashes(keys)
        xp = self._backend.xp
        if missing is None and self.key_check_bits and self.device == "gpu":
            raise ValueError("missing must be given on a GPU, where there are no masked arrays, got None")
        out = xp.empty((hashes.size, len(self._columns)), dtype=np.dtype(self._kind.dtype))
        if self.n_keys == 0:
            out[...] = self._kind.from_words(xp.zeros(1, dtype=np.uint64), self._entries)
        else:
            self._fill_values(hashes, out)
        if not self.key_check_bits:
            return out
        absent = ~self.contains(keys)
        if missing is None:
            return np.ma.MaskedArray(out, np.broadcast_to(absent[:, None], out.shape))
        out[absent] = xp.asarray(missing)
        return out

    def _get(self, key: Any) -> NDArray[Any]:
        """The row of one key; KeyError if its check bits say that it is absent."""
        row = self._look_up([key], None)[0]
        if np.ma.is_masked(row):
            raise KeyError(key)
        return np.asarray(row)

    def _fill_values(self, hashes: NDArray[np.uint64], out: NDArray[Any]) -> None:
        plan, entries, calls = self._plan, self._entries, self._calls
        backend, block = self._backend, BLOCK[self.device]
        thresholds, solution = self._arrays["thresholds"], self._arrays["solution"]
        n_shards = np.uint64(self.n_shards)

        def fill(start: int, stop: int) -> None:
            room = backend.xp.empty(min(stop - start, block), dtype=np.uint64)
            for first in range(start, stop, block):
                last = min(stop, first + block)
                words = room[: last - first]
                for j, (ribbon, arguments) in enumerate(calls):
                    backend.kernels(static).look_up(
                        hashes[first:last], thresholds, solution, n_shards, plan, ribbon, *arguments, words
                    )
                    out[first:last, j] = self._kind.from_words(words, entries)

        backend.map_blocks(fill, hashes.size, block)

    @lazy
    def _calls(self) -> list[tuple[int, tuple[Any, ...]]]:
        """First ribbon and the kernel's arguments for each column."""
        calls = []
        ribbon = int(self.key_check_bits > 0)
        for column in self._columns:
            book = column.codebook
            arguments = (
                np.array([bits for bits, _ in column.filters], dtype=np.int64),
                np.array([value for _, value in column.filters], dtype=np.uint64),
                column.prefix_bits,
                book.table_bits,
                book.max_length,
                book.decoder(self._backend.kernels(static).address_of),
            )
            calls.append((ribbon, arguments))
            ribbon += len(column.ribbons())
        return calls


def _codebooks(columns: list[Column]) -> list[Codebook]:
    """Each once, in the order of the columns."""
    return list({id(column.codebook): column.codebook for column in columns}.values())


def as_keys(keys: Any, n: int) -> Keys:
    """The keys of n values."""
    if not hasattr(keys, "__len__") or hasattr(keys, "tocsr") or isinstance(keys, (str, bytes)):
        raise TypeError(f"keys must be an array or a list, got {type(keys).__name__}")
    read = read_keys(keys)
    if len(read) != n:
        raise ValueError(f"keys and values must be as many, got {len(read)} and {n}")
    return read


def kind_of_none(values: NDArray[Any]) -> ValueKind:
    """The kind of no values: what their dtype says, else integers."""
    try:
        return kind_of_values(values, None, "values")
    except TypeError:
        return ValueKind("int", "int64")


def _refuse_conflict(
    keys: Keys, values: NDArray[Any], columns: list[NDArray[np.uint64]], rows: NDArray[np.int64]
) -> None:
    """Raise if the keys in these rows, whose hashes agree, are one key with two values.

    By the words of the values and not by the values, of which 0.0 equals -0.0, and NaN not even itself.
    """
    seen: dict[int | bytes, int] = {}
    for row in rows.tolist():
        first = seen.setdefault(keys.raw(row), row)
        if any(column[first] != column[row] for column in columns):
            one, other = (values[i].tolist() for i in (first, row))
            if len(one) == 1:
                one, other = one[0], other[0]
            raise ValueError(
                f"keys must have one value each, got {keys.item(row)!r} with {one!r} (at {first}) and "
                f"{other!r} (at {row})"
            )
