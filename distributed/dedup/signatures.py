"""Keep the signatures of this rank's documents, and estimate the similarity of pairs from them."""

from __future__ import annotations

import math
import mmap
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.support.backend import backend_of
from ...lsh.support.threads import map_blocks
from ..kernels import banding
from ..ranks.comm import Communicator
from .comparing import FetchedSignatures
from .places import Rows, Words, request_rows

__all__ = ["SignatureComparer", "SignatureStore"]

#: Pairs that a rank compares in one round. Their fetched signatures take up to 16 MiB at 128 hashes.
ROUND_PAIRS = 1 << 15


def _pages(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """Return an array of zeros in pages of its own.

    Blocks that stay among the short-lived arrays of the heap would keep the memory between them from being
    given back, which takes a quarter more memory in the end.
    """
    n_bytes = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
    return np.frombuffer(mmap.mmap(-1, n_bytes), dtype=dtype)[: math.prod(shape)].reshape(shape)


class SignatureStore:
    """Ids, keys and signatures of documents, in blocks of fixed size, so that growing copies nothing.

    Memory is ``16 + 4 n_hashes`` bytes a document and one block more.
    """

    BLOCK = 1 << 14

    def __init__(self, n_hashes: int) -> None:
        self.n_hashes = n_hashes
        self._ids: list[Words] = []
        self._keys: list[Words] = []
        self._blocks: list[NDArray[np.uint32]] = []
        self._n = 0

    @classmethod
    def of(cls, ids: Words, keys: Words, signatures: NDArray[np.uint32]) -> Self:
        """Return a store of documents whose signatures stay where they are."""
        new = cls(signatures.shape[1])
        new._ids, new._keys, new._n = [ids], [keys], len(ids)
        new._blocks = [signatures[start : start + cls.BLOCK] for start in range(0, len(ids), cls.BLOCK)]
        return new

    def __len__(self) -> int:
        return self._n

    def append(self, ids: Words, keys: Words, signatures: NDArray[np.uint32]) -> None:
        """Add documents: their ids, keys of their whole contents, and signatures."""
        done = 0
        while done < len(ids):
            used = self._n % self.BLOCK
            if used == 0:
                self._blocks.append(_pages((self.BLOCK, self.n_hashes), np.uint32))
                self._ids.append(_pages((self.BLOCK,), np.uint64))
                self._keys.append(_pages((self.BLOCK,), np.uint64))
            n = min(self.BLOCK - used, len(ids) - done)
            self._blocks[-1][used : used + n] = signatures[done : done + n]
            self._ids[-1][used : used + n] = ids[done : done + n]
            self._keys[-1][used : used + n] = keys[done : done + n]
            done += n
            self._n += n

    def ids(self) -> Words:
        """Return the ids of all documents, in the order of rows."""
        return np.concatenate([*self._ids, np.empty(0, dtype=np.uint64)])[: self._n]

    def keys(self) -> Words:
        """Return the keys of all documents, in the order of rows."""
        return np.concatenate([*self._keys, np.empty(0, dtype=np.uint64)])[: self._n]

    def band_keys(self, first: int, last: int, seed: int, rows: Rows) -> Words:
        """Return 64-bit keys of the columns [first, last) of the documents in `rows`."""
        out = np.empty(self._n, dtype=np.uint64)
        start = np.uint64(seed) ^ (np.uint64(first) << np.uint64(32))
        kernel = backend_of(out).kernels(banding).band_keys

        # Where most documents are copies, most blocks have none of the rows.
        used = np.unique(rows // self.BLOCK).tolist()

        def key_blocks(begin: int, end: int) -> None:
            for k in used[begin:end]:
                keys = out[k * self.BLOCK : (k + 1) * self.BLOCK]
                kernel(self._blocks[k], first, last, start, 0, len(keys), keys)

        map_blocks(key_blocks, len(used), 1)
        return out[rows]

    def take(self, rows: Rows) -> NDArray[np.uint32]:
        """Return the signatures in the given rows."""
        out = np.empty((len(rows), self.n_hashes), dtype=np.uint32)
        block, row = np.divmod(rows, self.BLOCK)
        for k in np.unique(block).tolist():
            chosen = block == k
            out[chosen] = self._blocks[k][row[chosen]]
        return out


class SignatureComparer:
    """Estimates similarities from signatures, which are fetched in rounds of `ROUND_PAIRS`.

    Parameters
    ----------
    store : SignatureStore
    family : MinHash
    comm : Communicator
    """

    def __init__(self, store: SignatureStore, family: MinHash, comm: Communicator) -> None:
        self._store, self._family, self._comm = store, family, comm

    def sizes(self, places: Words) -> Rows:
        return np.full(len(places), -(-self._store.n_hashes // 2))

    def fetch(self, places: Words) -> FetchedSignatures:
        """Fetch the signatures at some places."""
        return FetchedSignatures(self._fetch(places))

    def _fetch(self, places: Words) -> NDArray[np.uint32]:
        request = request_rows(places, self._comm)
        return request.answer(self._comm.local(self._store.take, request.words))

    def compare(self, rows: Rows, others: Words) -> NDArray[np.floating]:
        """Estimate the similarity of each of this rank's documents and a document at any place."""
        comm, store = self._comm, self._store
        similarity = np.empty(len(rows), dtype=np.float32)
        for k in range(max(comm.allgather(-(-len(rows) // ROUND_PAIRS)))):
            part = slice(k * ROUND_PAIRS, (k + 1) * ROUND_PAIRS)
            wanted, which = comm.local(_distinct, others[part])
            signatures = self._fetch(wanted)
            with comm.agree():
                similarity[part] = self._family.estimate_jaccard(store.take(rows[part]), signatures[which])
        return similarity


def _distinct(places: Words) -> tuple[Words, Rows]:
    return np.unique(places, return_inverse=True)
