"""Documents to sets of shingle hashes, in one compiled pass over their UTF-8 bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .backend import backend_of
from .strings import as_byte_buffer
from .threads import get_num_threads, run_tasks
from .unicode_table import unicode_table
from .validation import check_choice, check_int

__all__ = ["Shingles", "shingle"]

# Bytes of documents in one thread's task: small enough for threads to end together and for scratch to
# be small, large enough (10 ms) that handing it over costs nothing.
_TASK_BYTES = 4 << 20
_LEAST_TASK_BYTES = 1 << 18
# What a document costs beside its bytes, in bytes, so that many empty ones count too.
_DOCUMENT_BYTES = 64


class Shingles(NamedTuple):
    """Sets of shingle hashes of n documents; what `shingle` returns."""

    #: Hashes of all shingles, in the order of documents and of text; repeated where the text repeats.
    tokens: NDArray[np.uint64]
    #: Document i has ``tokens[offsets[i]:offsets[i + 1]]``; int64, shape (n + 1,).
    offsets: NDArray[np.int64]
    #: 0: shingled, 1: empty (has no word), 2: not UTF-8; uint8, shape (n,). Those of 1 and 2 have no tokens.
    status: NDArray[np.uint8]


def shingle(documents: Any, *, unit: str = "word", size: int = 5, seed: int = 0) -> Shingles:
    """Shingle hashes of documents: the sets whose Jaccard similarity says how alike two texts are.

    Parameters
    ----------
    documents : list of n str or bytes, Arrow string or binary array, NumPy array of strings, or pair
        A pair ``(data, offsets)`` of a uint8 and an integer array has document i in the UTF-8 bytes
        ``data[offsets[i]:offsets[i + 1]]``. Arrow buffers and pairs are read where they lie.
    unit : {"word", "character"}
        What a shingle is made of.
    size : int
        Consecutive words or characters (code points) in a shingle, at least 1.
    seed : int
        Of the hash, in [0, 2**64).

    Returns
    -------
    Shingles
        ``(tokens, offsets, status)``. ``(tokens, offsets)`` are sets as `MinHash` takes them.

    Raises
    ------
    TypeError, ValueError
        If documents are not strings, of mixed types, null, or offsets do not fit the data; text that
        is not UTF-8 raises nothing and has status 2, as has a str with lone surrogates.

    Notes
    -----
    Text is normalised first. Words are runs of letters, numbers, marks and connector punctuation
    (Unicode categories L, N, M and Pc: ``\\w`` of Unicode Technical Standard 18); everything else
    separates them. Scripts written without spaces have one word a character: Han ideographs,
    Hiragana, and the letters of Thai, Lao, Khmer and Myanmar, each with the marks that follow it.
    Words are lower-cased one code point to one (no ``ß`` to ``ss``, no final sigma) and joined by
    single spaces. A shingle is `size` consecutive words, or code points, of that; its hash is the
    XXH3-64 of its UTF-8 bytes. A document with fewer hashes as a whole, to one token.

    Time: about 2 ns a byte on one thread, of which a word's hash is a third; the floor is reading a
    byte (1.4 ns without a branch on it) and about 7 ns to hash a shingle of 30 bytes. Documents are
    shared among threads by their bytes; one document is one thread's. Memory: 8 bytes a token (twice
    that for a moment), and for each thread at most 2 MiB of scratch or eight times the longest
    shingle.

    Examples
    --------
    >>> from mergesketch.lsh import shingle
    >>> shingles = shingle(["The quick brown fox", "the QUICK, brown fox!", "?"], size=3)
    >>> shingles.offsets.tolist(), shingles.status.tolist()
    ([0, 2, 4, 4], [0, 0, 1])
    >>> bool((shingles.tokens[:2] == shingles.tokens[2:]).all())
    True
    """
    check_choice("unit", unit, ("word", "character"))
    size = check_int("size", size, 1, (1 << 31) - 1)
    seed = check_int("seed", seed, 0, (1 << 64) - 1)
    backend = backend_of(documents)
    # A lone surrogate of a str is passed on as the bytes that the UTF-8 check refuses.
    data, offsets = as_byte_buffer(documents, "documents", errors="surrogatepass")
    n = offsets.size - 1
    status = np.empty(n, dtype=np.uint8)
    counts = np.empty(n, dtype=np.int64)
    unicode = unicode_table()
    table = (unicode.stage1, unicode.stage2, unicode.records)
    bounds = _balanced(offsets)

    def task(i: int) -> NDArray[np.uint64]:
        tokens, n_tokens = backend.shingle_documents(
            data,
            offsets,
            unit == "character",
            size,
            np.uint64(seed),
            table,
            status,
            counts,
            bounds[i],
            bounds[i + 1],
        )
        return tokens[:n_tokens]

    parts: list[NDArray[np.uint64] | None] = list(run_tasks(task, bounds.size - 1))
    token_offsets = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(counts, out=token_offsets[1:])
    tokens = np.empty(int(token_offsets[-1]), dtype=np.uint64)

    def gather(i: int) -> None:
        tokens[token_offsets[bounds[i]] : token_offsets[bounds[i + 1]]] = parts[i]
        parts[i] = None  # given back before the next is copied, so that memory does not double

    run_tasks(gather, len(parts))
    return Shingles(tokens, token_offsets, status)


def _balanced(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bounds of consecutive ranges of documents of about equal cost, for threads to take one by one."""
    n = offsets.size - 1
    if n == 0:
        return np.zeros(1, dtype=np.int64)
    costs = offsets - offsets[0] + _DOCUMENT_BYTES * np.arange(n + 1)
    share = int(costs[-1]) // (4 * get_num_threads())
    pieces = -(-int(costs[-1]) // min(_TASK_BYTES, max(_LEAST_TASK_BYTES, share)))
    bounds = np.searchsorted(costs, np.linspace(0, costs[-1], pieces + 1).astype(np.int64))
    bounds[0], bounds[-1] = 0, n
    return np.unique(bounds)
