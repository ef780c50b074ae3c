"""Static tables: immutable maps from keys to rows of values, in about the entropy of the columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.hashing.keys import Keys
from ...lsh.support.aliases import alias
from ...lsh.support.checks import check_choice
from ...lsh.support.public import publish
from ...lsh.support.types import KeyLike, KeysLike
from .batch import items_of_dict, read_batch, read_frame_batch
from .blueprint import build_map
from .frames import FRAMES, make_frame, open_frame, records_as_columns
from .map import MAX_COLUMNS, StaticMap
from .value_kind import ValueKind, as_object
from .values import read_missing

__all__ = ["StaticTable"]


class StaticTable(StaticMap):
    """Compress a read-only lookup table from keys to rows of values: one `StaticFunction` for each column.

    Parameters
    ----------
    keys : array or list of n keys, or a dict
        As for `StaticFunction`. A dict has keys and rows: lists of values of one kind, or dicts with the
        same fields, whose values may have different types.
    rows : array of shape (n, columns), or a frame of n rows, optional
        Values of one kind, as for `StaticFunction`; at most 16,384 columns. A frame of pandas or polars, a
        table of Arrow or a dict of columns has columns of different types, with names.
    seed, key_check_bits, precision, progress
        As for `StaticFunction`.
    codebook : {"separate", "shared"}
        "separate" gives each column a prefix code of its own. "shared" gives one code to all columns, which
        takes less space if many columns have the same values.
    permute : {"none", "entropy", "global"}
        For rows that are multisets: change the order of the values in a row, so that columns become
        predictable. "global" sorts the values of a row by their frequency in the table; "entropy" puts a
        frequent value into the same column of all rows where possible, column after column. The caller's
        array does not change.

    Attributes
    ----------
    n_keys, n_columns, nbytes : int
    names : list of str, or None
        The names of the columns, if the rows came in a frame.

    Raises
    ------
    ValueError
        If a key has two different rows: the message names it.

    Notes
    -----
    A look-up takes 10 to 25 ns a key and column. Everything else is as for `StaticFunction`.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> table = mergesketch.StaticTable(["x", "y"], [[1, 2, 3], [4, 5, 6]])
    >>> table.lookup(["y", "x"])
    array([[4, 5, 6],
           [1, 2, 3]])

    Columns of different types, from a dict of columns; a frame of pandas, polars or Arrow comes back as one:

    >>> cities = {"name": ["Lima", "Paris"], "population": [10_100_000, 2_100_000]}
    >>> table = mergesketch.StaticTable(["PE", "FR"], cities)
    >>> table.lookup(["FR"])
    {'name': array(['Paris'], dtype=object), 'population': array([2100000])}
    >>> table["PE"]
    {'name': 'Lima', 'population': 10100000}
    """

    #: The kind of the frame that the rows came in; "" for an array.
    _frame: str
    #: The names of the columns of a frame.
    names: list[str] | None

    def __init__(
        self,
        keys: KeysLike | Mapping[Any, Any],
        rows: Any = None,
        *,
        seed: int = 0,
        key_check_bits: int = 0,
        precision: float | None = None,
        codebook: str = "separate",
        permute: str = "none",
        progress: bool = True,
    ) -> None:
        keys, rows = items_of_dict(keys, rows, "rows")
        if isinstance(rows, list) and rows and isinstance(rows[0], Mapping):
            rows = records_as_columns(rows)
        frame = open_frame(rows)
        if frame is None:
            batch = read_batch(keys, rows, "rows", 2, precision)
        else:
            batch = read_frame_batch(keys, frame, precision)
        if batch.words.shape[1] > MAX_COLUMNS:
            raise ValueError(f"rows must have at most {MAX_COLUMNS} columns, got {batch.words.shape[1]}")
        self._set(*build_map(batch, seed, key_check_bits, progress, codebook, permute))

    def config(self) -> dict[str, Any]:
        config = super().config()
        return config if self.names is None else config | {"frame": self._frame, "names": self.names}

    def _values_config(self) -> Any:
        if self.names is None:
            return super()._values_config()
        return [kind.config() for kind in self._kinds]

    def _read_kinds(self, config: Mapping[str, Any]) -> list[ValueKind]:
        self._frame = config.get("frame", "")
        self.names = list(config["names"]) if self._frame else None
        if self.names is None:
            return super()._read_kinds(config)
        check_choice("frame", self._frame, FRAMES)
        kinds = [ValueKind.from_config(kind) for kind in config["values"]]
        if not len(kinds) == len(self.names) == len(config["columns"]) == len(set(self.names)):
            raise ValueError(f"names must be different, one for each column, got {self.names!r}")
        if not all(isinstance(name, str) for name in self.names):
            raise ValueError(f"names must be strings, got {self.names!r}")
        texts = {(kind.kind, kind.dtype) for kind in kinds if kind.is_text}
        if len(texts) > 1 or any(dtype != "object" for _, dtype in texts):
            raise ValueError(f"values must have strings or bytes as objects, and not both, got {texts}")
        return kinds

    def _check_device(self, device: str) -> None:
        super()._check_device(device)
        if device == "gpu" and self.names is not None:
            raise NotImplementedError("columns with names have no place on a GPU: pass the rows as an array")

    @property
    def n_columns(self) -> int:
        """Number of values in a row."""
        return len(self._column_configs)

    @overload
    def lookup(self, keys: KeyLike, missing: ArrayLike | None = ...) -> Any: ...
    @overload
    def lookup(self, keys: KeysLike, missing: ArrayLike | None = ...) -> NDArray[Any]: ...
    def lookup(self, keys: KeysLike, missing: ArrayLike | None = None) -> Any:
        """Return the rows of a batch of keys, or the row of one key.

        Parameters
        ----------
        keys : array or list of n keys, or one key
        missing : value or row, optional
            With key_check_bits: the value, or the row, for absent keys. For columns with names, a dict of the
            value of each column.

        Returns
        -------
        ndarray of shape (n, columns), or a frame
            With key_check_bits and without `missing`, a masked array in which the rows of absent keys are
            masked. For one key it is the row, of shape (columns,), and None if the key is absent. If the rows
            came in a frame, the result is such a frame, with nulls for absent keys and missing values. A
            pandas frame has the index of `keys`, if that is a Series. For one key it is a dict then.

        Raises
        ------
        TypeError, ValueError
            If the keys have another kind than at construction, or `missing` has another kind than the values.

        Examples
        --------
        >>> import mergesketch
        >>> table = mergesketch.StaticTable([7, 8], [["a", "b"], ["a", "c"]])
        >>> table.lookup([8]).tolist()
        [['a', 'c']]
        """
        read = self._read_keys(keys)
        if self.names is not None:
            return self._look_up_frame(keys, read, missing)
        if read.is_single and missing is None:
            absent = self._absent(read.hashes(self.seed), ())
            return None if absent is not None and absent[0] else self._row(read)
        rows = self._look_up(read, missing)
        return rows[0] if read.is_single else rows

    query = alias(lookup)

    def __getitem__(self, key: KeyLike) -> Any:
        """Return the row of one key; raise KeyError if the check bits find it absent."""
        return self._row(self._read_key(key))

    def _row(self, key: Keys) -> Any:
        """Return the row of one key; raise KeyError if the check bits find it absent."""
        values = self._row_of(key)
        if self.names is not None:
            return {name: as_object(value) for name, value in zip(self.names, values, strict=True)}
        masked = [value is None for value in values]
        if self._kind.needs_mask and any(masked):
            row = np.zeros(len(values), np.dtype(self._kind.dtype))
            row[~np.array(masked)] = [value for value in values if value is not None]
            return np.ma.MaskedArray(row, masked)
        row = self._backend.xp.empty(len(values), np.dtype(self._kind.dtype))
        for place, value in enumerate(values):
            row[place] = value
        return row

    def _look_up_frame(self, keys: Any, read: Keys, missing: Any) -> Any:
        """Return rows as the kind of frame that the table was made of, or the row of one key as a dict."""
        assert self.names is not None
        substitutes = None if missing is None else self._read_substitutes(missing)
        hashes = read.hashes(self.seed)
        absent = self._absent(hashes, missing)
        if read.is_single and substitutes is None and absent is not None and absent[0]:
            return None
        columns: list[NDArray[Any]] = []
        for place, (values, mask) in enumerate(self._look_up_columns(hashes)):
            if absent is not None and substitutes is not None:
                values[absent] = substitutes[place]
                mask = mask if mask is None else mask & ~absent
            elif absent is not None:
                mask = absent if mask is None else mask | absent
            columns.append(values if mask is None else np.ma.MaskedArray(values, mask))
        if read.is_single:
            return {
                name: None if np.ma.is_masked(column) else as_object(np.ma.getdata(column)[0])
                for name, column in zip(self.names, columns, strict=True)
            }
        return make_frame(self._frame, self.names, self._kinds, columns, keys)

    def _read_substitutes(self, missing: Any) -> list[NDArray[Any]]:
        """Return the value of each column for absent keys."""
        self._check_missing(missing)
        assert self.names is not None
        if not isinstance(missing, Mapping) or set(missing) != set(self.names):
            raise TypeError(f"missing must be a dict with the value of each of {self.names}, got {missing!r}")
        return [
            read_missing(missing[name], kind, 1) for name, kind in zip(self.names, self._kinds, strict=True)
        ]

    @property
    def _shown_values(self) -> str:
        if self.names is None:
            return f"{self.n_columns} x {super()._shown_values}"
        shown = [f"{name} ({kind.kind})" for name, kind in zip(self.names, self._kinds, strict=True)]
        return ", ".join([*shown[:8], *(["..."] if len(shown) > 8 else [])])


publish("mergesketch", __all__, globals())
