"""Signatures of documents by name, which later documents are compared with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.hashing.text import UNITS
from ...lsh.inputs.arrays import check_array
from ...lsh.kernels.text import CHECKED
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.wording import counted
from ..core.guard import changing, locked, uninterrupted
from ..core.merging import StoredMergeable, parts_of
from ..core.state import ArraySpec, State
from .document_rows import DocumentRows, check_rows, united

__all__ = ["OLD_DOCUMENT", "DocumentSignatures"]

#: The bit of the ids that `deduplicate` gives to documents that were read before.
OLD_DOCUMENT = 1 << 63
#: The most values of a signature that the bands are computed for.
_MOST_HASHES = 1 << 16


class DocumentSignatures(StoredMergeable):
    """Keep the MinHash signatures of documents, so that later ones are compared with them (deduplication).

    `mergesketch.distributed.deduplicate` takes it as `against`, and gives one that has the new documents too.

    Parameters
    ----------
    family : MinHash, optional
        The family of the signatures; by default the one of `deduplicate`, with 128 values. Its seed is also
        the seed of the shingles.
    unit, size : {"word", "character", "symbol"}, int
        The kind and the length of a shingle; see `mergesketch.lsh.shingle`.
    normalize : {"nfc", "nfkc", "none"}
        The Unicode normal form of the texts.

    Attributes
    ----------
    n_paths : int
        The number of files, or of other names, that the documents come from.
    arrays : mapping of str to ndarray
        The arrays by name, as a file has them. Do not write to them.
    nbytes : int
        Bytes of the arrays.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    A document is kept under its name: the path of its file, and its record there. There are its signature, a
    64-bit hash of its shingles, its size in bytes, and its score. The texts are not kept, and neither are
    groups, because they follow from the signatures. Documents are in the order of their names (paths by their
    bytes, then records). So the sketch does not depend on the order in which the documents came, nor on
    threads, ranks or merges.

    Merging is a union: a document that two parts have is there once. It is commutative, associative and
    idempotent. Two documents of one name must have the same shingles.

    Memory is ``4 n_hashes + 32`` bytes a document, and each path once with 16 bytes more.

    Examples
    --------
    >>> from mergesketch import DocumentSignatures
    >>> from mergesketch.distributed import deduplicate
    >>> poem = "tyger tyger burning bright in the forests of the night"
    >>> monday = deduplicate([poem, "what immortal hand or eye"], against=DocumentSignatures(), name="monday")
    >>> tuesday = deduplicate(["did he who made the lamb", poem], against=monday.state, name="tuesday")
    >>> tuesday.keep.tolist()
    [True, False]
    >>> monday.state.name_of(tuesday.duplicate_of[1:])
    [('monday', 1)]
    >>> len(tuesday.state)
    4
    """

    _parameters = ("family", "unit", "size", "normalize")

    def __init__(
        self, family: MinHash | None = None, *, unit: str = "word", size: int = 5, normalize: str = "nfc"
    ) -> None:
        if family is None:
            family = MinHash(128, expected_set_size=500)
        if not isinstance(family, MinHash):
            raise TypeError(f"family must be a MinHash, got {type(family).__name__}")
        if family.n_values > _MOST_HASHES:
            raise ValueError(
                f"family must have at most {_MOST_HASHES} values in a signature, got {family.n_values}"
            )
        self.family = family
        self.unit = check_choice("unit", unit, tuple(UNITS))
        self.size = check_int("size", size, 1, (1 << 31) - 1)
        self.normalize = check_choice("normalize", normalize, tuple(CHECKED))

    # -- state ------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> State[ArraySpec]:
        specs = {
            "paths": ArraySpec("uint8"),
            "path_offsets": ArraySpec("int64"),
            "first_documents": ArraySpec("int64"),
            "records": ArraySpec("uint64"),
            "keys": ArraySpec("uint64"),
            "sizes": ArraySpec("int64"),
            "scores": ArraySpec("float64"),
            "signatures": ArraySpec("uint32", 2),
        }
        arrays: dict[str, NDArray[Any]] = {
            name: np.zeros((0,) * spec.n_dimensions, spec.dtype) for name, spec in specs.items()
        }
        arrays["path_offsets"] = arrays["first_documents"] = np.zeros(1, np.int64)
        arrays["signatures"] = np.zeros((0, self.family.n_values), np.uint32)
        return State(type(self).__name__, specs, arrays)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        check_rows(arrays, self.family.n_values)

    def _check_device(self, device: str) -> None:
        if device == "gpu":
            raise NotImplementedError("DocumentSignatures has no GPU kernels")

    def __len__(self) -> int:
        return len(self._arrays["records"])

    def __bool__(self) -> bool:
        return True

    @property
    def n_paths(self) -> int:
        """The number of files, or of other names, that the documents come from."""
        return len(self._arrays["path_offsets"]) - 1

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays by name, as a file has them; do not write to them."""
        return self._arrays

    # -- documents --------------------------------------------------------------------------------

    def rows(self) -> DocumentRows:
        """Return the documents in the order of their names, as views of the arrays.

        Returns
        -------
        DocumentRows
        """
        return DocumentRows.of_arrays(self._arrays)

    def with_rows(self, *parts: DocumentRows) -> tuple[Self, list[NDArray[np.int64]]]:
        """Return a sketch of some documents with this configuration, and the row of each document of a part.

        Parameters
        ----------
        *parts : DocumentRows

        Returns
        -------
        sketch : DocumentSignatures
        rows : list of ndarray of int64

        Raises
        ------
        IncompatibleSketchError
            If two documents of one name have different contents.
        """
        arrays, rows = united(parts)
        return self.empty_like()._set_arrays(arrays), rows

    def name_of(self, documents: ArrayLike) -> list[tuple[str, int | None]]:
        """Return the path of each document, and its line or row in the file, counted from 1.

        Parameters
        ----------
        documents : array_like of n integers
            Rows of the sketch, or the ids that `deduplicate` gives to the documents of its `against`: these
            are rows, plus 2**63.

        Returns
        -------
        list of (str, int or None)
            The line is None for a document that is a whole file.

        Raises
        ------
        TypeError, ValueError
            If documents are not integers, or there is no such row.
        """
        refuse_gpu("DocumentSignatures.name_of", documents)
        given = check_array("documents", documents)
        if given.dtype.kind not in "iu" and given.size:
            raise TypeError(f"documents must be integers, got {given.dtype}")
        if given.ndim != 1:
            raise ValueError(f"documents must be an array of one dimension, got {given.ndim}")
        rows = given.astype(np.uint64) & np.uint64(OLD_DOCUMENT - 1)
        if given.size and (
            int(rows.max()) >= len(self) or (given.dtype.kind == "i" and int(given.min()) < 0)
        ):
            raise ValueError(f"documents must be rows from 0 to {len(self) - 1}, got {given.max()}")
        arrays, chosen = self._arrays, rows.astype(np.int64)
        offsets = arrays["path_offsets"]
        path_of = np.searchsorted(arrays["first_documents"], chosen, side="right") - 1
        starts, stops = offsets[path_of].tolist(), offsets[path_of + 1].tolist()
        return [
            (os.fsdecode(arrays["paths"][start:stop].tobytes()), record or None)
            for start, stop, record in zip(starts, stops, arrays["records"][chosen].tolist(), strict=True)
        ]

    # -- merging ----------------------------------------------------------------------------------

    def check_compatible(self, other: object) -> None:
        """Raise IncompatibleSketchError unless another sketch has the same class and configuration.

        Parameters
        ----------
        other : object
        """
        self._check_compatible(other)

    def merge(self, *others: Self | Iterable[Self]) -> Self:
        """Take in the documents of other sketches of the same configuration, in place.

        Parameters
        ----------
        *others : DocumentSignatures, or iterables of them
            They are not changed.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        IncompatibleSketchError
            If configurations differ, naming the first field that does, or if two documents of one name have
            different contents, naming the document. Nothing changes then.
        """
        parts: tuple[Self, ...] = parts_of(others)
        for part in parts:
            self.check_compatible(part)
        with locked(self, *parts), changing(self):
            arrays, _ = united([sketch.rows() for sketch in (self, *parts)])
            with uninterrupted():
                self._set_arrays(arrays)
        return self

    def _facts(self) -> list[tuple[str, str]]:
        return [("documents", f"{len(self):,}"), ("files", f"{self.n_paths:,}"), *super()._facts()]

    def __repr__(self) -> str:
        facts = [
            counted(len(self), "document"),
            f"of {counted(self.n_paths, 'file')}",
            f"{self.nbytes:,} bytes",
        ]
        return f"<{super().__repr__()}: {facts[0]} {facts[1]}, {facts[2]}>"


publish("mergesketch", __all__, globals())
