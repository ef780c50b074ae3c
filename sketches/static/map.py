"""Base of static functions and tables: columns of values, each with its own code, and the look-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys, is_key
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
    _kind: ValueKind
    _column_configs: list[Mapping[str, Any]]
    _n_codebooks: int
    #: The number of distinct texts; None if the values are numbers, and in files of versions before 0.3.
    _n_texts: int | None

    # -- storage --------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        config = {
            **super().config(),
            "values": self._kind.config(),
            "n_codebooks": self._n_codebooks,
            "columns": self._column_configs,
        }
        return config if self._n_texts is None else config | {"n_texts": self._n_texts}

    def _set_config(self, config: Mapping[str, Any]) -> None:
        super()._set_config(config)
        self.key_check_bits = check_int("key_check_bits", config["key_check_bits"], 0, 64)
        self._kind = ValueKind.from_config(config["values"])
        self._n_codebooks = check_int("n_codebooks", config["n_codebooks"], 0, MAX_COLUMNS)
        n_texts = config.get("n_texts") if self._kind.is_text else None
        self._n_texts = None if n_texts is None else check_int("n_texts", n_texts, 0, MAX_TEXTS)
        self._column_configs = list(config["columns"])
        for column_config in self._column_configs:
            check_column_config(column_config)

    def _specs(self) -> Mapping[str, ArraySpec]:
        specs = dict(super()._specs())
        for i in range(self._n_codebooks):
            specs |= {f"codebook{i}_{name}": ArraySpec(dtype) for name, dtype in ARRAYS.items()}
        if self._n_texts is not None:
            specs |= {name: ArraySpec(dtype) for name, dtype in TEXT_ARRAYS.items()}
        elif self._kind.is_text:
            specs |= {"entries": ArraySpec("uint8"), "entry_ends": ArraySpec("uint64")}
        return specs

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._columns = self._read_columns(arrays)
        super()._check_state(arrays)
        if self._kind.is_text:
            self._texts = self._read_texts(arrays)
            dtype = np.dtype(self._kind.dtype)
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
        is_str = self._kind.kind == "str"
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
        if device == "gpu" and self._kind.is_text:
            raise NotImplementedError(
                "strings and bytes have no place on a GPU: look up their numbers there, and the texts here"
            )

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
        return read.answer(self._passes_check(read.hashes(self.seed)))

    def _passes_check(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return self._has_fingerprint(hashes, 0, CHECK_PURPOSE, self.key_check_bits)

    #: A map stores no keys and is not iterable. Without this line Python would look up 0, 1, 2, ...
    __iter__ = None

    def _look_up(self, keys: Keys, missing: Any) -> NDArray[Any]:
        """Return values of shape (n, columns); with check bits, absent keys are masked or get `missing`."""
        if missing is not None:
            if not self.key_check_bits:
                raise ValueError("missing needs key_check_bits, which were 0 at construction")
            if self.device == "cpu":
                refuse_gpu("a look-up in main memory", missing)
            missing = read_missing(missing, self._kind, len(self._columns))
        elif self.key_check_bits and self.device == "gpu":
            raise ValueError("missing must be given on a GPU, where there are no masked arrays, got None")
        hashes, xp = keys.hashes(self.seed), self._backend.xp
        values = xp.empty((hashes.size, len(self._columns)), dtype=np.dtype(self._kind.dtype))
        if self.n_keys == 0:
            values[...] = self._values_of(xp.zeros(1, dtype=np.uint64))
        else:
            self._read_values(hashes, values)
        if not self.key_check_bits:
            return values
        absent = ~self._passes_check(hashes)
        if missing is None:
            return np.ma.MaskedArray(values, np.broadcast_to(absent[:, None], values.shape))
        values[absent] = xp.asarray(missing)
        return values

    def __getitem__(self, key: KeyLike) -> Any:
        """Return the row of one key; raise KeyError if the check bits find it absent."""
        row = self._look_up(self._read_keys(key if is_key(key) else [key]), None)[0]
        if np.ma.is_masked(row):
            raise KeyError(key)
        return np.asarray(row)

    def _read_values(self, hashes: NDArray[np.uint64], out: NDArray[Any]) -> None:
        """Write the values of all keys, a block of keys at a time."""
        backend, block = self._backend, BLOCK[self.device]
        look_up, columns = backend.kernels(static).look_up, self._look_up_arguments

        def read(start: int, stop: int) -> None:
            room = backend.xp.empty(min(stop - start, block), dtype=np.uint64)
            for first, last in cut_range(start, stop, block):
                words = room[: last - first]
                for column, arguments in enumerate(columns):
                    look_up(hashes[first:last], *arguments, words)
                    out[first:last, column] = self._values_of(words)

        backend.map_blocks(read, hashes.size, block)

    def _values_of(self, words: NDArray[np.uint64]) -> NDArray[Any]:
        """Return the values of words, which may be overwritten."""
        return self._texts.take(words) if self._kind.is_text else self._kind.from_words(words)

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
