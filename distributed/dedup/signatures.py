"""This rank's signatures, kept in blocks as they come, and the comparison of pairs over ranks."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.support.backend import backend_of
from ...lsh.support.threads import map_blocks
from ..kernels import banding
from ..ranks.comm import Communicator

__all__ = ["SignatureStore", "estimate_pairs", "places_of", "split_places"]

_RANK_BITS = np.uint64(24)
#: Signatures that one round of comparisons asks of another rank; 16 MiB of them at 128 hashes.
ROUND_PAIRS = 1 << 15


def _pages(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """An array of zeros in pages of its own.

    Among the short-lived arrays of the heap, blocks that stay would keep the gaps between them from being
    given back: a quarter more memory in the end.
    """
    n_bytes = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
    return np.frombuffer(mmap.mmap(-1, n_bytes), dtype=dtype)[: math.prod(shape)].reshape(shape)


class SignatureStore:
    """Ids, keys and signatures of documents, in blocks of fixed size: growing copies nothing.

    Memory is ``16 + 4 n_hashes`` bytes a document, and one block more; 8 less once the keys are taken.
    """

    BLOCK = 1 << 14

    def __init__(self, n_hashes: int) -> None:
        self.n_hashes = n_hashes
        self._ids: list[NDArray[np.uint64]] = []
        self._keys: list[NDArray[np.uint64]] = []
        self._blocks: list[NDArray[np.uint32]] = []
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(
        self, ids: NDArray[np.uint64], keys: NDArray[np.uint64], signatures: NDArray[np.uint32]
    ) -> None:
        """Keep more documents: their ids, keys of their whole contents, and signatures."""
        done = 0
        while done < len(ids):
            room = self._n % self.BLOCK
            if room == 0:
                self._blocks.append(_pages((self.BLOCK, self.n_hashes), np.uint32))
                self._ids.append(_pages((self.BLOCK,), np.uint64))
                self._keys.append(_pages((self.BLOCK,), np.uint64))
            taken = min(self.BLOCK - room, len(ids) - done)
            self._blocks[-1][room : room + taken] = signatures[done : done + taken]
            self._ids[-1][room : room + taken] = ids[done : done + taken]
            self._keys[-1][room : room + taken] = keys[done : done + taken]
            done += taken
            self._n += taken

    def ids(self) -> NDArray[np.uint64]:
        """The ids of all documents, in the order of places."""
        return np.concatenate([*self._ids, np.empty(0, dtype=np.uint64)])[: self._n]

    def take_keys(self) -> NDArray[np.uint64]:
        """The keys of whole documents, which are given up."""
        keys = np.concatenate([*self._keys, np.empty(0, dtype=np.uint64)])[: self._n]
        self._keys = []
        return keys

    def _filled(self) -> Iterator[tuple[int, NDArray[np.uint32]]]:
        for k, block in enumerate(self._blocks):
            yield k * self.BLOCK, block[: min(self.BLOCK, self._n - k * self.BLOCK)]

    def band_keys(self, first: int, last: int, seed: int, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        """64-bit keys of the columns [first, last) of the documents in `rows`."""
        out = np.empty(self._n, dtype=np.uint64)
        start = np.uint64(seed) ^ (np.uint64(first) << np.uint64(32))
        blocks = list(self._filled())

        def run(begin: int, end: int) -> None:
            for at, block in blocks[begin:end]:
                backend_of(block).kernels(banding).band_keys(
                    block, first, last, start, 0, len(block), out[at:]
                )

        map_blocks(run, len(blocks), 1)
        return out[rows]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The signatures in the given places."""
        out = np.empty((len(rows), self.n_hashes), dtype=np.uint32)
        block, row = np.divmod(rows, self.BLOCK)
        for k in np.unique(block).tolist():
            chosen = block == k
            out[chosen] = self._blocks[k][row[chosen]]
        return out


def places_of(rank: int, n: int) -> NDArray[np.uint64]:
    """Where a rank's n documents are kept: the row in its store and the rank, in one word."""
    return (np.arange(n, dtype=np.uint64) << _RANK_BITS) | np.uint64(rank)


def split_places(places: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``(ranks, rows)`` of places."""
    mask = (np.uint64(1) << _RANK_BITS) - np.uint64(1)
    return (places & mask).astype(np.int64), (places >> _RANK_BITS).astype(np.int64)


def estimate_pairs(
    rows: NDArray[np.int64],
    others: NDArray[np.uint64],
    store: SignatureStore,
    family: MinHash,
    comm: Communicator,
) -> NDArray[np.float32]:
    """Estimated Jaccard similarity of each of this rank's rows and a document anywhere.

    Parameters
    ----------
    rows : ndarray of shape (m,)
        Rows of this rank's store.
    others : ndarray of shape (m,), uint64
        Places of the other documents.

    Notes
    -----
    A collective call. Signatures are asked for in rounds of `ROUND_PAIRS`, each document once a round.
    """
    similarity = np.empty(len(rows), dtype=np.float32)

    def ask(part: slice) -> tuple[NDArray[Any], ...]:
        wanted, inverse = np.unique(others[part], return_inverse=True)
        ranks, distant = split_places(wanted)
        return inverse, ranks, np.full(len(wanted), comm.rank, dtype=np.int64), distant

    def answer(asked_rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        places = (asked_rows.astype(np.uint64) << _RANK_BITS) | np.uint64(comm.rank)
        return places, store.take(asked_rows)

    def compare(
        part: slice, inverse: NDArray[Any], came: NDArray[np.uint64], signatures: NDArray[np.uint32]
    ) -> None:
        # `came` holds the places that were asked for, each once, in the order in which ranks answered.
        found = signatures[np.argsort(came)]
        similarity[part] = family.estimate_jaccard(store.take(rows[part]), found[inverse])

    for k in range(max(comm.allgather(-(-len(rows) // ROUND_PAIRS)))):
        part = slice(k * ROUND_PAIRS, (k + 1) * ROUND_PAIRS)
        inverse, ranks, asking, distant = comm.local(ask, part)
        asked_by, asked_rows = comm.exchange((asking, distant), ranks)
        came, signatures = comm.exchange(comm.local(answer, asked_rows), asked_by)
        comm.local(compare, part, inverse, came, signatures)
    return similarity
