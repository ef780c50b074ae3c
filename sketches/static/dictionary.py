"""The distinct texts of a map: named by hashes while they are gathered, and by numbers in the end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import hash_buffer
from ...lsh.inputs.strings import as_byte_buffer
from ...lsh.support.lazy import lazy
from ..kernels.static import first_unequal

__all__ = ["Dictionary", "ListedTexts", "Numbering"]


class Numbering(NamedTuple):
    """The number of each text among all texts in order.

    Attributes
    ----------
    hashes : ndarray of shape (n,), uint64
        Ascending.
    numbers : ndarray of shape (n,), uint64
        The number of the text with each hash.
    entries : list of bytes
        The texts in order.
    """

    hashes: NDArray[np.uint64]
    numbers: NDArray[np.uint64]
    entries: list[bytes]

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the numbers of texts by their hashes."""
        return self.numbers[np.searchsorted(self.hashes, hashes)]


class Dictionary:
    """Distinct strings or byte strings by their hashes.

    `words` adds a batch and returns its hashes. `number` then numbers all texts in their order, so that the
    numbers do not depend on the order of the batches.
    """

    def __init__(self) -> None:
        self._entries: dict[int, bytes] = {}

    def words(self, values: NDArray[Any], name: str) -> NDArray[np.uint64]:
        """Add the texts of a 1-D array, and return the hash of each."""
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
        """Add the texts of another dictionary; ValueError, with nothing changed, if two have one hash."""
        self.check(other)
        self._entries.update(other._entries)

    def check(self, other: Dictionary) -> None:
        """Raise ValueError if a text has the hash of another text of the other dictionary."""
        for word, entry in other._entries.items():
            if self._entries.get(word, entry) != entry:
                self._refuse("values", self._entries[word], entry)

    def entry(self, word: int) -> bytes:
        """Return the text of a hash; for an unknown hash, a text that names it."""
        return self._entries.get(word, f"text with the hash {word:#018x}".encode())

    def export(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint8]]:
        """Return the hashes, the lengths and the bytes of all texts, from which `of` makes the dictionary."""
        hashes = np.array(list(self._entries), dtype=np.uint64)
        lengths = np.array([len(entry) for entry in self._entries.values()], dtype=np.int64)
        return hashes, lengths, np.frombuffer(b"".join(self._entries.values()), dtype=np.uint8)

    @classmethod
    def of(
        cls, hashes: NDArray[np.uint64], lengths: NDArray[np.int64], data: NDArray[np.uint8]
    ) -> Dictionary:
        """Make the dictionary that `export` wrote."""
        new, raw, start = cls(), data.tobytes(), 0
        for word, length in zip(hashes.tolist(), lengths.tolist(), strict=True):
            new._entries[word] = raw[start : start + length]
            start += length
        return new

    @staticmethod
    def _refuse(name: str, one: bytes, other: bytes) -> NoReturn:
        raise ValueError(f"{name} {one!r} and {other!r} have the same 64-bit hash")

    def number(self) -> Numbering:
        """Assign numbers to all texts, in their order."""
        pairs = sorted((entry, word) for word, entry in self._entries.items())
        hashes = np.array([word for _, word in pairs], dtype=np.uint64)
        order = np.argsort(hashes)
        return Numbering(hashes[order], order.astype(np.uint64), [entry for entry, _ in pairs])


class ListedTexts:
    """Texts one after another, as files of versions before 0.3 have them, which are all decoded at once.

    Parameters
    ----------
    data : ndarray of uint8
        All bytes.
    ends : ndarray of uint64
        0, and the end of each text.
    is_str : bool
        True to return str, False to return bytes.

    Raises
    ------
    ValueError
        If the arrays are not those of texts.
    """

    def __init__(self, data: NDArray[np.uint8], ends: NDArray[np.uint64], is_str: bool) -> None:
        if ends.size == 0 or (ends[1:] < ends[:-1]).any() or int(ends[-1]) != data.size or ends[0] != 0:
            raise ValueError("entry_ends must rise from 0 to the length of entries")
        if is_str:
            starts = ends[ends < data.size].astype(np.int64)
            if ((data[starts] & 0xC0) == 0x80).any():
                raise ValueError("entries must not be cut within a character")
            data.tobytes().decode()
        self._data, self._ends, self._is_str = data, ends, is_str

    @property
    def longest(self) -> int:
        """Bytes of the longest text."""
        return int(np.diff(self._ends).max(initial=0))

    @lazy
    def _texts(self) -> NDArray[Any]:
        raw = self._data.tobytes()
        pieces: list[Any] = [raw[start:stop] for start, stop in pairwise(self._ends.tolist())] or [b""]
        out = np.empty(len(pieces), dtype=object)
        out[:] = [piece.decode() for piece in pieces] if self._is_str else pieces
        return out

    def take(self, numbers: NDArray[np.uint64]) -> NDArray[Any]:
        """Return texts by their numbers as an array of objects."""
        return self._texts[np.minimum(numbers, np.uint64(self._texts.size - 1)).astype(np.int64)]
