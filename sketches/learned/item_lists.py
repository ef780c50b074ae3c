"""Items whose codes are hashes of their ids: a set that merges, and inverted lists that follow from it."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.support.aliases import alias
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_choice
from ...lsh.support.lazy import lazy
from ...lsh.support.random import random_uint64
from ...lsh.support.threads import map_blocks
from ...lsh.support.wording import counted
from ..core.guard import changing, uninterrupted
from ..core.merging import StoredMergeable
from ..kernels import sparse_code_index

__all__ = ["InvertedLists", "ItemLists", "read_ids"]

#: Items whose codes are worth a thread of their own, and the most items.
_ITEMS, _MOST_ITEMS = 1 << 12, (1 << 31) - 1
#: The most ids that a message lists.
_LISTED = 5


class InvertedLists(NamedTuple):
    """The buckets of items, which are numbered by rising id, and the items of buckets."""

    #: uint16, shape (n_items, n_chunks): the bucket of each item in each chunk.
    codes: NDArray[np.uint16]
    #: int32, shape (n_chunks, n_items): items in the order of their buckets.
    members: NDArray[np.int32]
    #: int64, shape (n_chunks, n_buckets + 1): the place in `members` where each bucket begins.
    places: NDArray[np.int64]


def read_ids(ids: Any, name: str = "ids") -> NDArray[np.int64]:
    """Return ids in new memory; TypeError or ValueError unless they are integers from 0 to 2**63 - 1."""
    refuse_gpu(name, ids)
    if ids is None:
        raise TypeError(f"{name} must be integers, got None")
    array = check_array(name, ids)
    refuse_flags(name, ids)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= 2**63):
        raise ValueError(f"{name} must be from 0 to 2**63 - 1, got {array.min()} to {array.max()}")
    return array.astype(np.int64)


class ItemLists(StoredMergeable):
    """Keep a set of ids, and derive a bucket in each of `n_chunks` chunks from every id."""

    _internal = True

    n_chunks: int
    n_buckets: int
    seed: int

    def __len__(self) -> int:
        return len(self._arrays["ids"])

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of items, rising."""
        return self._arrays["ids"].copy()

    @property
    def loads(self) -> NDArray[np.int64]:
        """The number of items in each bucket of each chunk: shape (n_chunks, n_buckets)."""
        return np.diff(self._lists.places, axis=1)

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "sparse code chunks", self.n_chunks)

    @property
    def _lists(self) -> InvertedLists:
        return self._state.cached("lists", self._make_lists)

    def _make_lists(self) -> InvertedLists:
        codes = self._codes(self._arrays["ids"])
        members = np.argsort(codes.T, axis=1, kind="stable").astype(np.int32)
        places = np.zeros((self.n_chunks, self.n_buckets + 1), np.int64)
        for chunk in range(self.n_chunks):
            np.cumsum(np.bincount(codes[:, chunk], minlength=self.n_buckets), out=places[chunk, 1:])
        return InvertedLists(read_only(codes), read_only(members), read_only(places))

    def _codes(self, ids: NDArray[np.int64]) -> NDArray[np.uint16]:
        codes = np.empty((ids.size, self.n_chunks), np.uint16)
        arguments = (read_only(ids), self._keys, np.uint64(self.n_buckets))
        map_blocks(lambda a, b: sparse_code_index.item_codes(*arguments, a, b, codes), ids.size, _ITEMS)
        return codes

    def codes(self, ids: ArrayLike) -> NDArray[np.uint16]:
        """Return the buckets of items, which need not be in the index.

        Parameters
        ----------
        ids : array_like of n integers

        Returns
        -------
        ndarray of shape (n, n_chunks), uint16

        Raises
        ------
        TypeError, ValueError
            If ids are not integers of at least 0.
        """
        return self._codes(read_ids(ids))

    # -- changes ----------------------------------------------------------------------------------

    def update(self, ids: ArrayLike) -> Self:
        """Add items. An item that is there already stays as it is.

        Parameters
        ----------
        ids : array_like of n integers
            From 0 to 2**63 - 1.

        Returns
        -------
        The index itself.

        Raises
        ------
        TypeError, ValueError
            If ids are not such integers, or there are more than 2**31 - 1 items. Nothing changes then.

        Notes
        -----
        The network knows nothing about an item that no row had as an item when it was trained. A query finds
        such an item only by chance, until `partial_fit` has seen rows of it.
        """
        added = read_ids(ids)
        with self._lock, changing(self, beside_queries=True):
            self._replace_ids(self._with_ids(added))
        return self

    add = alias(update)

    def _with_ids(self, *added: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the union of our ids and others; ValueError if there are too many."""
        union = np.unique(np.concatenate([self._arrays["ids"], *added]))
        if union.size > _MOST_ITEMS:
            raise ValueError(f"ids must be at most {_MOST_ITEMS:,} in all, got {union.size:,}")
        return union

    def _replace_ids(self, ids: NDArray[np.int64]) -> None:
        with changing(self), uninterrupted():
            self._set_arrays({**self._arrays, "ids": ids})

    def remove(self, ids: ArrayLike, *, missing: str = "raise") -> Self:
        """Remove items, so that no query returns them any more.

        Parameters
        ----------
        ids : array_like of n integers
        missing : {"raise", "ignore"}
            What to do with ids that are not there.

        Returns
        -------
        The index itself.

        Raises
        ------
        TypeError, ValueError
            If ids are not integers of at least 0, or are not there. Nothing changes then.

        Notes
        -----
        The network is not trained anew. It still gives probability to the buckets of a removed item, in
        which other items lie, too.
        """
        check_choice("missing", missing, ("raise", "ignore"))
        gone = np.unique(read_ids(ids))
        with self._lock, changing(self, beside_queries=True):
            ours = self._arrays["ids"]
            absent = gone[~np.isin(gone, ours)]
            if absent.size and missing == "raise":
                others = f" and {absent.size - _LISTED} more" if absent.size > _LISTED else ""
                listed = ", ".join(map(str, absent[:_LISTED].tolist())) + others
                raise ValueError(f"ids must be those of items in the index, got {listed}")
            self._replace_ids(ours[~np.isin(ours, gone)])
        return self

    def _facts(self) -> list[tuple[str, str]]:
        return [("items", f"{len(self):,}"), *super()._facts()]

    def __repr__(self) -> str:
        return f"<{super().__repr__()}: {counted(len(self), 'item')}, {self.nbytes:,} bytes>"
