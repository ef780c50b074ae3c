"""Sketches that count keys: how they read keys with counts, and keep the names of some."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.hashing.keys import Keys, Nulls
from ...lsh.inputs.answers import like
from ...lsh.inputs.weights import check_weights
from ...lsh.support.backend import to_host
from ...lsh.support.types import KeyLike, KeysLike
from ..core.key_kinds import ANY, KIND_ARRAYS, MAX_PARTS, KeysOfOneKind, forms_of
from ..core.records import Records
from ..core.state import StateSpec
from .key_records import check_records, unpack_key

__all__ = ["CANDIDATES", "CountedKeys", "KeyBatch", "KeysCountedAbove", "NamedKeys"]

#: The table of the names that are kept, by rising hashes.
CANDIDATES = Records(
    ("candidate_hashes", "candidate_counts", "candidate_lengths", "candidate_keys"), "candidate_counts"
)


class KeyBatch(NamedTuple):
    """A batch of keys and the weight of each."""

    keys: Keys
    hashes: NDArray[np.uint64]
    #: How often each key counts; empty if each counts once.
    weights: NDArray[np.int64]
    #: The sum of the weights' magnitudes.
    magnitude: int
    #: The bits of the forms of the keys.
    forms: tuple[int, ...]


class CountedKeys(KeysOfOneKind):
    """A sketch of keys with counts; its `_add` takes a `KeyBatch`."""

    _internal = True
    seed: int
    #: The least count that a key may come with; None allows all counts.
    _least_count: ClassVar[int | None] = None

    def update(self, keys: KeysLike, counts: ArrayLike | None = None, *, nulls: Nulls = "raise") -> Self:
        """Count a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Keys of any type that `mergesketch.lsh.hash_keys` takes. They may repeat.
        counts : array of n integers, optional
            The number of occurrences of each key, an integer for one key; 1 by default. Negative counts take
            keys out again.
        nulls : {"raise", "skip"}, default "raise"
            What to do with keys that are null: to refuse the batch, or to leave out these keys and their
            counts.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or of mixed type, or of another kind than those of earlier batches,
            or null; or if the counts are of another length.
        OverflowError
            If a 64-bit counter could wrap. Nothing changes if an exception is raised.
        """
        return self._take_in({"keys": keys, "counts": counts}, nulls)

    def _read(self, keys: Any, counts: Any, nulls: Nulls) -> Any:
        read = self._read_keys(keys, nulls)
        if read.is_single and np.ndim(counts) == 0 and counts is not None:
            counts = self._as_our_array("counts", counts).reshape(1)
        n = len(read) if read.kept is None else read.kept.size
        weights, magnitude = check_weights("counts", counts, n, minimum=self._least_count)
        if read.kept is not None and weights.size:
            weights = weights[read.kept]
        return KeyBatch(read, read.hashes(self.seed), weights, magnitude, self._forms(read))

    def _answer(self, keys: Any, estimate: Callable[[NDArray[np.uint64]], NDArray[Any]]) -> Any:
        """Return what `estimate` makes of the hashes of keys: an array, or a number for one key."""
        self._claim_device("keys", keys)
        read = self._read_keys(keys)
        return like(keys, read.answer(estimate(read.hashes(self.seed))))


class KeysCountedAbove(CountedKeys):
    """A sketch whose estimates are upper bounds of the counts."""

    _internal = True

    @abstractmethod
    def _estimate(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return an upper bound of the count of each key, from the keys' hashes."""

    @overload
    def query(self, keys: KeyLike) -> int: ...  # type: ignore[overload-overlap]
    @overload
    def query(self, keys: KeysLike) -> NDArray[np.int64]: ...
    def query(self, keys: KeysLike) -> Any:
        """Return the estimated count of each key, which is never below the truth.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Of any type that `mergesketch.lsh.hash_keys` takes.

        Returns
        -------
        ndarray of shape (n,), int64
            An int if `keys` is one key.

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or mixed type, of another kind than those that were counted, or null.
        """
        return self._answer(keys, self._estimate)

    @overload
    def upper_bound(self, keys: KeyLike) -> int: ...  # type: ignore[overload-overlap]
    @overload
    def upper_bound(self, keys: KeysLike) -> NDArray[np.int64]: ...
    def upper_bound(self, keys: KeysLike) -> Any:
        """Return an upper bound of each key's count: the estimate, for certain.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Of any type that `mergesketch.lsh.hash_keys` takes.

        Returns
        -------
        ndarray of shape (n,), int64
            An int if `keys` is one key.

        Raises
        ------
        TypeError, ValueError
            As `query` does.
        """
        return self.query(keys)


class NamedKeys(CountedKeys):
    """A sketch that returns some of the keys that it counts; its `_layout` has `_candidate_specs`."""

    _internal = True
    _least_count = 0
    max_key_bytes: int

    def update(self, keys: KeysLike, counts: ArrayLike | None = None, *, nulls: Nulls = "raise") -> Self:
        """Count a batch of keys.

        Parameters
        ----------
        keys : array or list of n keys, or one key
            Keys of any type that `mergesketch.lsh.hash_keys` takes. They may repeat. Tuples have at most 8
            parts. All batches have keys of one kind: integers, or strings and bytes, or dates, ...
        counts : array of n integers, optional
            The number of occurrences of each key, 0 or more, an integer for one key; 1 by default.
        nulls : {"raise", "skip"}, default "raise"
            What to do with keys that are null: to refuse the batch, or to leave out these keys and their
            counts.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If the keys are of no known or of mixed type, of another kind than those of earlier batches, or
            null; or if counts are negative or of another length.
        OverflowError
            If a 64-bit counter could wrap. Nothing changes if an exception is raised.
        """
        return super().update(keys, counts, nulls=nulls)

    def _candidate_specs(self, n: int) -> dict[str, StateSpec]:
        return {
            "candidate_hashes": StateSpec((n,), "uint64", "candidates"),
            "candidate_counts": StateSpec((n,), "int64", "candidates"),
            "candidate_lengths": StateSpec((n,), "uint16", "candidates"),
            "candidate_keys": StateSpec((n, self.max_key_bytes), "uint8", "candidates"),
        }

    def _read_keys(self, keys: Any, nulls: Nulls = "raise") -> Keys:
        read = super()._read_keys(keys, nulls)
        if len(read.parts) > MAX_PARTS:
            raise ValueError(
                f"keys must be tuples of at most {MAX_PARTS} parts, which are returned, got {len(read.parts)}"
            )
        return read

    def _forms(self, keys: Keys) -> tuple[int, ...]:
        return forms_of(keys)

    def _names_at(self, places: NDArray[np.int64]) -> list[Any]:
        """Return the keys that are kept at some places, in the forms that they were given in."""
        hashes, _, lengths, contents = map(to_host, CANDIDATES.used(self._arrays))
        forms = self._all_forms
        return [unpack_key(forms, int(lengths[i]), contents[i], int(hashes[i])) for i in places.tolist()]

    def _check_names(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raise ValueError for names of a file that are not those of keys of its forms."""
        form, *of_parts = (n for name in KIND_ARRAYS for n in to_host(arrays[name]).tolist())
        if form == ANY:
            raise ValueError("key_forms must be those of integers, or of strings and bytes, got 255")
        hashes, counts, lengths, contents = (to_host(arrays[name]) for name in CANDIDATES.names)
        check_records((form, *filter(None, of_parts)), hashes, counts, lengths, contents, self.seed)

    def _absent_array(self, name: str) -> NDArray[Any] | None:
        return None if name == "key_forms" else super()._absent_array(name)
