"""Base of static functions and tables: columns of values, each with its own code, and the look-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys, is_key
from ...lsh.inputs.answers import like
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.threads import cut_range
from ...lsh.support.types import KeyLike, KeysLike
from ...lsh.support.wording import counted
from ..coding.codebook import ARRAYS, Codebook
from ..coding.texts import ARRAYS as TEXT_ARRAYS
from ..coding.texts import Texts
from ..core.state import ArraySpec
from ..kernels import static
from .column import CHECK_PURPOSE, Column, check_column_config, ribbons_of
from .contexts import Contexts
from .dictionary import ListedTexts
from .ribbon import Ribbon
from .structure import BLOCK, StaticStructure
from .value_kind import ValueKind
from .values import read_missing

__all__ = ["MAX_COLUMNS", "StaticMap"]

#: Largest number of columns of a table.
MAX_COLUMNS = 1 << 14
#: Largest number of distinct texts.
MAX_TEXTS = 1 << 32


class StaticMap(StaticStructure):
    """Base of `StaticFunction` and `StaticTable`: one or several columns of values."""

    _internal = True
    _parameters = (*StaticStructure._parameters, "key_check_bits")

    key_check_bits: int
    #: The kind of all values, or that of each column of a frame.
    _kinds: list[ValueKind]
    _column_configs: list[Mapping[str, Any]]
    _n_codebooks: int
    #: The number of distinct texts; None if the values are numbers, and in files of versions before 0.3.
    _n_texts: int | None
    #: Contexts, whose classes have a column each; None if every column has a value of every key.
    _contexts: Contexts | None = None

    # -- storage --------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        config = {
            **super().config(),
            "values": self._values_config(),
            "n_codebooks": self._n_codebooks,
            "columns": self._column_configs,
        }
        return config if self._n_texts is None else config | {"n_texts": self._n_texts}

    def _values_config(self) -> Any:
        return self._kind.config()

    @property
    def _kind(self) -> ValueKind:
        """The kind of all values, where they have one."""
        return self._kinds[0]

    def _kind_of(self, column: int) -> ValueKind:
        return self._kinds[column if len(self._kinds) > 1 else 0]

    @property
    def _text(self) -> ValueKind | None:
        """The kind of the texts among the values; None if there are none."""
        return next((kind for kind in self._kinds if kind.is_text), None)

    def _set_config(self, config: Mapping[str, Any]) -> None:
        super()._set_config(config)
        self.key_check_bits = check_int("key_check_bits", config["key_check_bits"], 0, 64)
        self._kinds = self._read_kinds(config)
        self._n_codebooks = check_int("n_codebooks", config["n_codebooks"], 0, MAX_COLUMNS)
        n_texts = config.get("n_texts") if self._text is not None else None
        self._n_texts = None if n_texts is None else check_int("n_texts", n_texts, 0, MAX_TEXTS)
        self._column_configs = list(config["columns"])
        for column_config in self._column_configs:
            check_column_config(column_config)

    def _read_kinds(self, config: Mapping[str, Any]) -> list[ValueKind]:
        return [ValueKind.from_config(config["values"])]

    def _specs(self) -> Mapping[str, ArraySpec]:
        specs = dict(super()._specs())
        for i in range(self._n_codebooks):
            specs |= {f"codebook{i}_{name}": ArraySpec(dtype) for name, dtype in ARRAYS.items()}
        if self._n_texts is not None:
            specs |= {name: ArraySpec(dtype) for name, dtype in TEXT_ARRAYS.items()}
        elif self._text is not None:
            specs |= {"entries": ArraySpec("uint8"), "entry_ends": ArraySpec("uint64")}
        return specs

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._columns = self._read_columns(arrays)
        super()._check_state(arrays)
        if self._text is not None:
            self._texts = self._read_texts(arrays)
            dtype = np.dtype(self._text.dtype)
            # A look-up allocates items of this width.
            if dtype.kind != "O" and dtype.itemsize > 4 * max(1, self._texts.longest):
                raise ValueError(f"dtype must not be wider than the texts, got {dtype}")

    def _read_columns(self, arrays: Mapping[str, NDArray[Any]]) -> list[Column]:
        books = [
            Codebook({name: arrays[f"codebook{i}_{name}"] for name in ARRAYS})
            for i in range(self._n_codebooks)
        ]
        return [Column.from_config(config, books) for config in self._column_configs]

    def _read_texts(self, arrays: Mapping[str, NDArray[Any]]) -> Texts | ListedTexts:
        is_str = self._text is not None and self._text.kind == "str"
        if self._n_texts is None:
            return ListedTexts(arrays["entries"], arrays["entry_ends"], is_str)
        return Texts(arrays, self._n_texts, is_str)

    @lazy
    def _texts(self) -> Texts | ListedTexts:
        """Return the distinct texts in their order."""
        return self._read_texts(self._arrays)

    @lazy
    def _columns(self) -> list[Column]:
        return self._read_columns(self._arrays)

    def _ribbons(self) -> list[Ribbon]:
        return ribbons_of(self.key_check_bits, self._columns)

    def _check_device(self, device: str) -> None:
        if device == "gpu" and self._contexts is not None:
            raise NotImplementedError("a map with contexts has no place on a GPU: look up its values here")
        if device == "gpu" and self._text is not None:
            raise NotImplementedError(
                "strings and bytes have no place on a GPU: look up their numbers there, and the texts here"
            )
        if device == "gpu" and not all(kind.is_on_gpu for kind in self._kinds):
            raise NotImplementedError("missing values, times and decimal numbers have no place on a GPU")

    @property
    def _shown_values(self) -> str:
        """The kind of values, for `repr`."""
        steps = f" in steps of {self._kind.precision:g}" if self._kind.kind == "step" else ""
        return f"{self._kind.dtype}{steps}"

    def __repr__(self) -> str:
        checks = f", key_check_bits={self.key_check_bits}" if self.key_check_bits else ""
        return (
            f"<{type(self).__name__}: {counted(self.n_keys, 'key')} to {self._shown_values}{checks}, "
            f"{self.nbytes:,} bytes>"
        )

    # -- reading --------------------------------------------------------------------------------------

    @overload
    def contains(self, keys: KeyLike) -> bool: ...  # type: ignore[overload-overlap]
    @overload
    def contains(self, keys: KeysLike) -> NDArray[np.bool_]: ...
    def contains(self, keys: KeysLike) -> Any:
        """Test for each key of a batch if it was present at construction, by its check bits.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            As for `lookup`.

        Returns
        -------
        ndarray of shape (n,), bool
            True for every key that was present; for others with probability ``2**-key_check_bits``, and for
            ``n_keys / 2**64`` more whose 64-bit hash equals that of a key. A bool if `keys` is one key.

        Raises
        ------
        ValueError
            If there are no check bits.
        """
        if not self.key_check_bits:
            raise ValueError("contains needs key_check_bits, which were 0 at construction")
        read = self._read_keys(keys)
        return like(keys, read.answer(self._passes_check(read.hashes(self.seed))))

    def _passes_check(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return self._has_fingerprint(hashes, 0, CHECK_PURPOSE, self.key_check_bits)

    #: A map stores no keys and is not iterable. Without this line Python would look up 0, 1, 2, ...
    __iter__ = None

    @property
    def _n_values(self) -> int:
        """The number of values of a key."""
        return len(self._columns) if self._contexts is None else 1

    def _ids(self, keys: Keys, context: Any) -> NDArray[np.uint64] | None:
        """Return the context of each key of a look-up; None without contexts."""
        return None

    def _look_up(self, keys: Keys, missing: Any, contexts: Any = None) -> NDArray[Any]:
        """Return values of shape (n, columns).

        With check bits, absent keys are masked or get `missing`. Missing values are masked if the dtype has
        none for them.
        """
        if missing is not None:
            self._check_missing(missing)
            missing = read_missing(missing, self._kind, self._n_values)
        hashes, xp = keys.hashes(self.seed), self._backend.xp
        values = xp.empty((hashes.size, self._n_values), dtype=np.dtype(self._kind.dtype))
        mask = np.zeros(values.shape, np.bool_) if self._kind.needs_mask else None
        self._read_values(hashes, list(values.T), None if mask is None else list(mask.T), contexts)
        absent = self._absent(hashes, missing)
        if absent is not None and missing is not None:
            values[absent] = xp.asarray(missing)
            if mask is not None:
                mask[absent] = False
        elif absent is not None:
            mask = (np.zeros(values.shape, np.bool_) if mask is None else mask) | absent[:, None]
        return values if mask is None else np.ma.MaskedArray(values, mask)

    def _check_missing(self, missing: Any) -> None:
        """Refuse a value for absent keys where they are not found, or one that lies on a GPU."""
        if not self.key_check_bits:
            raise ValueError("missing needs key_check_bits, which were 0 at construction")
        if self.device == "cpu":
            refuse_gpu("a look-up in main memory", missing)

    def _absent(self, hashes: NDArray[np.uint64], missing: Any) -> NDArray[np.bool_] | None:
        """Return which keys the check bits find absent; None without check bits."""
        if not self.key_check_bits:
            return None
        if missing is None and self.device == "gpu":
            raise ValueError("missing must be given on a GPU, where there are no masked arrays, got None")
        return ~self._passes_check(hashes)

    def _read_key(self, key: Any) -> Keys:
        """Read one key, of any type."""
        return self._read_keys(key if is_key(key) else [key])

    def _row_of(self, key: Keys) -> list[Any]:
        """Return the value of one key in each column, None if it is missing; KeyError for an absent key."""
        hashes, contexts = key.hashes(self.seed), self._ids(key, None)
        absent = self._absent(hashes, ())
        if absent is not None and absent[0]:
            raise KeyError(key.item(0))
        found = self._look_up_columns(hashes, contexts)
        return [None if _is_missing(column, mask) else column[0] for column, mask in found]

    def get(self, key: KeyLike, default: Any = None) -> Any:
        """Return the value or the row of one key, or `default` if the check bits find the key absent.

        Parameters
        ----------
        key : int, str or bytes, or another key that `lookup` takes
        default : object

        Returns
        -------
        The value or the row, as ``self[key]`` returns it, or `default`.

        Raises
        ------
        TypeError
            If the key has another kind than at construction.
        ValueError
            If there are no check bits, so that absent keys cannot be found.

        Examples
        --------
        >>> import mergesketch
        >>> f = mergesketch.StaticFunction({"a": 3, "b": None}, key_check_bits=32)
        >>> int(f.get("a", 0)), f.get("b", 0), f.get("c", 0)
        (3, None, 0)
        """
        if not self.key_check_bits:
            raise ValueError("get needs key_check_bits, which were 0 at construction; use map[key]")
        try:
            return self[key]
        except KeyError:
            return default

    def __getitem__(self, key: KeyLike) -> Any:
        """Return the value or the row of one key; raise KeyError if the check bits find it absent."""
        raise NotImplementedError

    def _look_up_columns(
        self, hashes: NDArray[np.uint64], contexts: Any = None
    ) -> list[tuple[NDArray[Any], Any]]:
        """Return each column's values, and where they are missing if they need a mask."""
        n = range(self._n_values)
        kinds = [self._kind_of(column) for column in n]
        values = [self._backend.xp.empty(hashes.size, np.dtype(kind.dtype)) for kind in kinds]
        masks = [np.zeros(hashes.size, np.bool_) for _ in n]
        self._read_values(hashes, values, masks, contexts)
        return [
            (column, mask if kind.needs_mask else None)
            for column, mask, kind in zip(values, masks, kinds, strict=True)
        ]

    def _read_values(
        self,
        hashes: NDArray[np.uint64],
        out: list[NDArray[Any]],
        masks: list[NDArray[np.bool_]] | None,
        contexts: NDArray[np.uint64] | None = None,
    ) -> None:
        """Write the values of all keys into an array a column, a block of keys at a time.

        Where values are missing is written into `masks`, for columns that need one.
        """
        kinds = [self._kind_of(column) for column in range(len(out))]
        if self.n_keys == 0:
            for kind, column in zip(kinds, out, strict=True):
                column[...] = self._values_of(kind, self._backend.xp.zeros(1, dtype=np.uint64))
            return
        backend, block = self._backend, BLOCK[self.device]
        look_up, columns = backend.kernels(static).look_up, self._look_up_arguments
        classes = None if contexts is None or not self._contexts else self._contexts.classes_of(contexts)

        def read_words(first: int, last: int, place: int, words: NDArray[np.uint64]) -> None:
            if classes is None:
                look_up(hashes[first:last], *columns[place], words)
                return
            for number in np.flatnonzero(np.bincount(classes[first:last])).tolist():
                members = np.flatnonzero(classes[first:last] == number)
                found = np.empty(members.size, dtype=np.uint64)
                look_up(hashes[first:last][members], *columns[number], found)
                words[members] = found

        def read(start: int, stop: int) -> None:
            room = backend.xp.empty(min(stop - start, block), dtype=np.uint64)
            for first, last in cut_range(start, stop, block):
                words = room[: last - first]
                for place, kind in enumerate(kinds):
                    read_words(first, last, place, words)
                    is_null = None if kind.null is None else words == np.uint64(kind.null)
                    values = self._values_of(kind, words)
                    if kind.needs_mask and masks is not None and is_null is not None:
                        masks[place][first:last] = is_null
                    elif is_null is not None and is_null.any():
                        values[is_null] = None  # NaT among times
                    out[place][first:last] = values

        backend.map_blocks(read, hashes.size, block)

    def _values_of(self, kind: ValueKind, words: NDArray[np.uint64]) -> NDArray[Any]:
        """Return the values of words, which may be overwritten."""
        return self._texts.take(words) if kind.is_text else kind.from_words(words)

    @property
    def _look_up_arguments(self) -> list[tuple[Any, ...]]:
        """The arguments of the kernel `look_up` for each column."""
        return self._state.cached("look_up_arguments", self._make_look_up_arguments)

    def _make_look_up_arguments(self) -> list[tuple[Any, ...]]:
        found = []
        ribbon = int(self.key_check_bits > 0)
        for column in self._columns:
            book = column.codebook
            arguments = (
                *self._ribbon_arguments(ribbon),
                np.array([bits for bits, _ in column.filters], dtype=np.int64),
                np.array([value for _, value in column.filters], dtype=np.uint64),
                column.prefix_bits,
                book.table_bits,
                book.max_length,
                book.decoder(self._backend.kernels(static).address_of),
            )
            found.append(arguments)
            ribbon += len(column.ribbons())
        return found


def _is_missing(column: NDArray[Any], mask: NDArray[np.bool_] | None) -> bool:
    """Tell whether the first value of a column is missing."""
    if column.dtype.kind in "mM":
        return bool(np.isnat(column[0]))
    return bool(mask[0]) if mask is not None else False
