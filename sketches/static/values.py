"""Values of static functions as 64-bit words and back: integers, booleans, floats, strings and bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import hash_buffer
from ...lsh.inputs.arrays import check_array
from ...lsh.inputs.columns import arrow_chunks, describe, is_arrow, is_table, open_column, refuse_masked
from ...lsh.inputs.strings import arrow_strings, as_byte_buffer, kind_of
from ...lsh.support.checks import check_real
from ..kernels.static import first_unequal

__all__ = ["Dictionary", "ValueKind", "kind_of_values", "to_array"]

_SIGN = np.uint64(1 << 63)
#: Multiples of the precision stay integers that float64 tells apart.
_MOST_STEPS = 2.0**53


class ValueKind(NamedTuple):
    """What the values are, as JSON-able words.

    Attributes
    ----------
    kind : str
        "int", "bool", "float" (the bits themselves), "step" (floats as multiples of `precision`), "str",
        "bytes".
    dtype : str
        NumPy's name of what a look-up returns: "int32", "float32", "object", "S7", "U3", ...
    precision : float
        0 but for "step".
    """

    kind: str
    dtype: str
    precision: float = 0.0

    @property
    def is_text(self) -> bool:
        return self.kind in ("str", "bytes")

    def check(self) -> ValueKind:
        """Itself; ValueError if no values are of this kind."""
        kinds = {"int": "iu", "bool": "b", "float": "f", "step": "f", "str": "OU", "bytes": "OS"}
        try:
            dtype = np.dtype(self.dtype)
        except TypeError as error:
            raise ValueError(f"dtype must be a NumPy dtype, got {self.dtype!r}") from error
        if self.kind not in kinds or dtype.kind not in kinds[self.kind] or dtype.str[0] == ">":
            raise ValueError(f"expected a kind of values and its dtype, got {self.kind!r} as {self.dtype!r}")
        if dtype.kind == "f" and dtype.itemsize not in (4, 8):
            raise ValueError(f"floats must be float32 or float64, got {self.dtype}")
        if self.kind == "step":
            check_real("precision", self.precision, 0.0, np.inf)
        return self

    def check_filling(self, name: str, value: Any, n_columns: int) -> Any:
        """What look-ups return for absent keys: one value of this kind, or one for each column."""
        filling, kinds = to_array(value, name), {"int": "iu", "bool": "b", "str": "UO", "bytes": "SO"}
        dtype = np.dtype(self.dtype)
        wanted = f"{name} must be {self.kind if self.is_text else dtype.name}, as the values are"
        strange = filling.dtype.kind == "O" and any(type(item).__name__ != self.kind for item in filling.flat)
        if filling.dtype.kind not in kinds.get(self.kind, "fiu") or strange:
            raise TypeError(f"{wanted}, got {value!r}")
        if filling.shape not in ((), (n_columns,)):
            raise ValueError(f"{name} must be one value or {n_columns}, got shape {filling.shape}")
        if self.kind == "int" and not (filling.astype(dtype) == filling).all():
            raise ValueError(f"{wanted}, got {value!r}, which lies outside its range")
        if dtype.kind in "SU" and filling.astype(filling.dtype.kind).dtype.itemsize > dtype.itemsize:
            raise ValueError(f"{wanted}, of at most {dtype.name}, got {value!r}")
        return filling

    def to_words(self, values: NDArray[Any]) -> NDArray[np.uint64]:
        """Numbers as words whose order is theirs (floats' bits aside)."""
        if self.kind == "int":
            if values.dtype.kind == "u":
                words = values.astype(np.uint64)
            else:
                words = values.astype(np.int64).view(np.uint64)
                words ^= _SIGN
            return words
        if self.kind == "bool":
            return values.astype(np.uint64)
        if self.kind == "float":
            bits = np.ascontiguousarray(values).view(np.uint32 if values.dtype.itemsize == 4 else np.uint64)
            return bits.astype(np.uint64)
        steps = np.rint(values.astype(np.float64) / self.precision)
        if not (np.abs(steps) <= _MOST_STEPS).all():
            raise ValueError(
                f"values must be finite and within 2**53 steps of precision={self.precision}, got "
                f"{values[~(np.abs(steps) <= _MOST_STEPS)][0]}"
            )
        return steps.astype(np.int64).view(np.uint64) ^ _SIGN

    def from_words(self, words: NDArray[np.uint64], entries: NDArray[Any] | None) -> NDArray[Any]:
        """Back; `entries` are the dictionary's where values are text. `words` may be overwritten."""
        dtype = np.dtype(self.dtype)
        if self.is_text:
            assert entries is not None
            return entries[np.minimum(words, np.uint64(max(entries.size, 1) - 1)).astype(np.int64)]
        if self.kind == "int" and dtype.kind == "i":
            words ^= _SIGN
            return words.view(np.int64).astype(dtype)
        if self.kind in ("int", "bool"):
            return words.astype(dtype)
        if self.kind == "float":
            return words.astype(np.uint32).view(dtype) if dtype.itemsize == 4 else words.view(dtype)
        words ^= _SIGN
        return (words.view(np.int64) * self.precision).astype(dtype)

    def fitted(self, entries: list[bytes]) -> ValueKind:
        """With the least width that holds all entries, where the dtype has one."""
        if self.dtype == "object":
            return self
        if self.kind == "str":
            return self._replace(dtype=f"U{max([1, *(len(entry.decode()) for entry in entries)])}")
        return self._replace(dtype=f"S{max([1, *map(len, entries)])}")

    def joined(self, other: ValueKind) -> ValueKind:
        """The kind of both's values together; TypeError if they cannot be."""
        a, b = np.dtype(self.dtype), np.dtype(other.dtype)
        if self.kind == other.kind and (
            self == other or self.is_text or (self.kind == "int" and a.kind == b.kind)
        ):
            if self.is_text:
                # The width of S and U is fitted to the entries in the end.
                return self if a.kind == "O" else other
            return self if a.itemsize >= b.itemsize else other
        raise TypeError(
            f"values must be of one kind, got {other.kind} ({other.dtype}) after {self.kind} ({self.dtype})"
        )

    def config(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ValueKind:
        return cls(config["kind"], config["dtype"], config["precision"]).check()


def to_array(values: Any, name: str) -> NDArray[Any]:
    """Values of any container as an array that `kind_of_values` understands; text as objects or S or U.

    What Python objects are is looked at before NumPy sees them: it makes one type of mixed ones, as
    "1" of 1 beside "a" and 1.0 of 1 beside 0.5.
    """
    if is_table(values):
        # Its columns may have several types, of which NumPy would make one.
        raise TypeError(f"{name} must be an array or lists, got {describe(values)}: pass its to_numpy()")
    values = open_column(values, name)
    if is_arrow(values):
        return _arrow_values(values, name)
    if isinstance(values, np.ndarray) and values.dtype.kind == "O":
        refuse_masked(values, name)
        items, shape = values.ravel().tolist(), values.shape
    elif isinstance(values, (list, tuple)):
        # The shape that NumPy finds; rows of unlike lengths are refused there.
        shape = check_array(name, values).shape
        items = list(_items(values))
    else:
        array = check_array(name, values)
        # StringDType has no byte order to ask for.
        native = array.dtype.newbyteorder("=") if array.dtype.kind in "iufU" else array.dtype
        return array.astype(native, copy=False)
    if not items:
        return check_array(name, values)
    kind = _kind_of_items(items, name)
    if kind in ("str", "bytes"):
        array = np.empty(len(items), dtype=object)
        array[:] = items
    elif kind == "int":
        array = _integers(items, name)
    else:
        array = np.array(items)
    return array.reshape(shape)


def _arrow_values(values: Any, name: str) -> NDArray[Any]:
    import pyarrow as pa

    chunks = arrow_chunks(values, name)
    if not chunks:
        return np.empty(0, dtype=np.int64)
    types, column = pa.types, pa.chunked_array(chunks)
    if any(is_kind(column.type) for is_kind in (types.is_integer, types.is_floating, types.is_boolean)):
        return np.asarray(column)
    text = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    if not any(is_text(column.type) for is_text in text):
        raise TypeError(
            f"{name} must be {describe(values)} of integers, booleans, floats, strings or bytes, got one of "
            f"{column.type}"
        )
    for chunk in chunks:
        arrow_strings(chunk, name, values)  # refuses offsets that lie outside of the bytes
    array = np.empty(len(column), dtype=object)
    array[:] = column.to_pylist()
    return array


def _items(values: Any) -> Iterator[Any]:
    """Return the items that lists, tuples and arrays within one another hold, in order."""
    if not any(issubclass(t, (list, tuple, np.ndarray)) for t in set(map(type, values))):
        yield from values
        return
    for value in values:
        if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
            yield from _items(value)
        else:
            yield value


_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("str", (str,)),
    ("bytes", (bytes,)),
    ("bool", (bool, np.bool_)),  # before int, of which bool is a subclass
    ("", (np.timedelta64,)),  # and np.timedelta64 one of np.integer
    ("int", (int, np.integer)),
    ("float", (float, np.floating)),
)


def _kind_of_items(items: list[Any], name: str) -> str:
    """The one kind of all items; TypeError if there are several or another one."""
    types = set(map(type, items))
    kinds = {next((kind for kind, of in _KINDS if issubclass(t, of)), "") for t in types}
    if len(kinds) == 1 and "" not in kinds:
        return kinds.pop()
    found = ", ".join(sorted(t.__name__ for t in types))
    raise TypeError(f"{name} must be all int, all bool, all float, all str or all bytes, got {found}")


def _integers(items: list[Any], name: str) -> NDArray[Any]:
    if len(set(map(type, items))) == 1 and isinstance(items[0], np.integer):
        return np.array(items)
    # NumPy makes floats of integers beyond int64 beside smaller ones, and wraps its own.
    items = list(map(int, items))
    for dtype in (np.int64, np.uint64):
        try:
            return np.array(items, dtype=dtype)
        except OverflowError:
            continue
    raise ValueError(f"{name} must fit int64, or uint64, got integers beyond or of both ranges")


def kind_of_values(values: NDArray[Any], precision: float | None, name: str) -> ValueKind:
    """The kind of an array's values.

    Raises
    ------
    TypeError
        If they are none of those that are told apart, or mixed.
    """
    dtype = values.dtype
    if precision is not None:
        if dtype.kind != "f" or dtype.itemsize not in (4, 8):
            raise TypeError(f"{name} must be float32 or float64 to have a precision, got dtype {dtype}")
        return ValueKind("step", dtype.name, check_real("precision", precision, 0.0, np.inf)).check()
    if dtype.kind in "iu":
        return ValueKind("int", dtype.name)
    if dtype.kind == "b":
        return ValueKind("bool", "bool")
    if dtype.kind == "f" and dtype.itemsize in (4, 8):
        return ValueKind("float", dtype.name)
    if dtype.kind in "US":
        return ValueKind("str" if dtype.kind == "U" else "bytes", dtype.str)
    if dtype.kind in "OT" and values.size:
        found = kind_of(values.reshape(-1).tolist(), name)
        if found in (str, bytes):
            return ValueKind(found.__name__, "object")
    raise TypeError(
        f"{name} must be integers, booleans, float32 or float64, strings or bytes, got dtype {dtype}"
    )


class Dictionary:
    """Distinct strings or byte strings, each named by a hash while they are gathered.

    `words` gives the hashes of a batch and takes in what is new; `ranks` then says where each stands
    among all in order, so that the numbers do not depend on the order they came in.
    """

    def __init__(self) -> None:
        self._entries: dict[int, bytes] = {}

    def words(self, values: NDArray[Any], name: str) -> NDArray[np.uint64]:
        """The hash of each value, a 1-D array of text."""
        data, offsets = as_byte_buffer(values if values.dtype.kind in "SU" else values.tolist(), name)
        hashes = hash_buffer(data, offsets)
        found, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        raw = np.frombuffer(data, dtype=np.uint8).tobytes()
        for word, row in zip(found.tolist(), first.tolist(), strict=True):
            entry = raw[offsets[row] : offsets[row + 1]]
            if self._entries.setdefault(word, entry) != entry:
                self._refuse(name, self._entries[word], entry)
        row = first_unequal(np.frombuffer(data, dtype=np.uint8), offsets, first[inverse])
        if row >= 0:
            entries = [raw[offsets[i] : offsets[i + 1]] for i in (first[inverse[row]], row)]
            self._refuse(name, *entries)
        return hashes

    def merge(self, other: Dictionary) -> None:
        """Take in another's entries; if two have one hash, ValueError, and nothing is changed."""
        self.check(other)
        self._entries.update(other._entries)

    def check(self, other: Dictionary) -> None:
        """ValueError if an entry has the hash of one of the other's."""
        for word, entry in other._entries.items():
            if self._entries.get(word, entry) != entry:
                self._refuse("values", self._entries[word], entry)

    def entry(self, word: int) -> bytes:
        """The text of a hash; of none that came here, the hash itself."""
        return self._entries.get(word, f"text with the hash {word:#018x}".encode())

    def export(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint8]]:
        """Hashes, lengths and the bytes of all entries, to be sent."""
        hashes = np.array(list(self._entries), dtype=np.uint64)
        lengths = np.array([len(entry) for entry in self._entries.values()], dtype=np.int64)
        return hashes, lengths, np.frombuffer(b"".join(self._entries.values()), dtype=np.uint8)

    @classmethod
    def of(
        cls, hashes: NDArray[np.uint64], lengths: NDArray[np.int64], data: NDArray[np.uint8]
    ) -> Dictionary:
        """What was exported."""
        new, raw, start = cls(), data.tobytes(), 0
        for word, length in zip(hashes.tolist(), lengths.tolist(), strict=True):
            new._entries[word] = raw[start : start + length]
            start += length
        return new

    @staticmethod
    def _refuse(name: str, one: bytes, other: bytes) -> NoReturn:
        raise ValueError(f"{name} {one!r} and {other!r} have the same 64-bit hash")

    def ranks(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], list[bytes]]:
        """All hashes ascending, the rank of each, and the entries in order."""
        pairs = sorted((entry, word) for word, entry in self._entries.items())
        hashes = np.array([word for _, word in pairs], dtype=np.uint64)
        order = np.argsort(hashes)
        return hashes[order], order.astype(np.uint64), [entry for entry, _ in pairs]
