"""Keys of the bands of documents: shingles, MinHash signatures, and a 64-bit key of each band."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.hashing.text import shingle
from ...lsh.inputs.strings import as_byte_buffer
from ...lsh.kernels.text import EMPTY
from ...lsh.support.backend import backend_of, refuse_gpu
from ...lsh.support.types import KeysLike
from ..kernels import streaming_deduplicator

__all__ = ["BandKeys", "keys_of_bands"]

#: Documents and bytes of text that are shingled together. The shingles take up to four times the bytes.
_DOCUMENTS, _BYTES = 1 << 14, 1 << 24
#: Documents that are worth a thread of their own.
_BLOCK = 1 << 8


class BandKeys(NamedTuple):
    """Contain the keys of documents' bands, as `StreamingDeduplicator.band_keys` returns them.

    Attributes
    ----------
    keys : ndarray of shape (bands, m), uint64
        The keys of the documents that have shingles.
    status : ndarray of shape (n,), uint8
        That of `mergesketch.lsh.shingle`: 1 for a document without shingles; 0 and 2 for these m documents.
    """

    keys: NDArray[np.uint64]
    status: NDArray[np.uint8]

    def spread(self, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return for each of n documents whether a key of it was found; False for those without shingles.

        Parameters
        ----------
        found : ndarray of shape (bands, m), bool
        """
        out = np.zeros(self.status.size, np.bool_)
        out[self.status != EMPTY] = found.any(axis=0)
        return out


def keys_of_bands(documents: KeysLike, family: MinHash, bands: int, rows: int, **shingling: Any) -> BandKeys:
    """Return the keys of the first bands of documents, as `StreamingDeduplicator.band_keys` does.

    The seed of shingles and keys is that of the family; `shingling` has the other settings of `shingle`.
    """
    refuse_gpu("StreamingDeduplicator", documents)
    data, offsets = as_byte_buffer(documents, "documents", errors="surrogatepass")
    status = np.empty(offsets.size - 1, np.uint8)
    keys = np.empty((bands, status.size), np.uint64)
    backend = backend_of(keys)
    kernel = backend.kernels(streaming_deduplicator).document_bands
    n = 0
    for start, stop in _parts(offsets):
        tokens, ends, part = shingle((data, offsets[start : stop + 1]), seed=family.seed, **shingling)
        status[start:stop] = part
        # The other documents have no tokens, so the offsets without them are still consecutive.
        signatures = family.signatures((tokens, np.append(ends[:-1][part != EMPTY], ends[-1])))

        def fill(a: int, b: int, signatures: Any = signatures, place: int = n) -> None:
            kernel(signatures, rows, np.uint64(family.seed), place, a, b, keys)

        backend.map_blocks(fill, len(signatures), _BLOCK)
        n += len(signatures)
    return BandKeys(keys[:, :n], status)


def _parts(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the bounds of parts of documents, which have few bytes together, or one document."""
    start, n = 0, offsets.size - 1
    while start < n:
        enough = int(np.searchsorted(offsets, offsets[start] + _BYTES, side="right")) - 1
        stop = min(max(enough, start + 1), start + _DOCUMENTS, n)
        yield start, stop
        start = stop
