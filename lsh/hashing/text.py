"""Documents to sets of shingle hashes, in one compiled pass over their UTF-8 bytes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inputs.strings import as_byte_buffer
from ..kernels import text
from ..support.backend import backend_of, refuse_gpu
from ..support.checks import check_choice, check_int
from ..support.threads import get_num_threads, run_tasks
from ..tables.unicode import unicode_table

__all__ = ["Shingles", "shingle"]

# Bytes of documents in one thread's task: small enough for threads to end together and for scratch to
# be small, large enough (2 ms) that handing it over costs nothing.
_TASK_BYTES = 1 << 20
_LEAST_TASK_BYTES = 1 << 18
# What a document costs beside its bytes, in bytes, so that many empty ones count too.
_DOCUMENT_BYTES = 64
# Tokens that the result has room for at first, if there might be as many; grows from there.
_ROOM = 1 << 23


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
    documents : list of n str or bytes, column or NumPy array of strings, or pair
        A column is a pandas or polars Series or an Arrow array, of strings, categories or bytes; see
        `hash_keys`. A pair ``(data, offsets)`` of a uint8 and an integer array has document i in the
        UTF-8 bytes ``data[offsets[i]:offsets[i + 1]]``. Arrow buffers and pairs are read where they lie.
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

    Time: about 2 ns a byte of source code on one thread; the floor is 1 ns to classify a byte without
    a branch on it, and 5 to 7 ns to hash a word's shingle. Documents are shared among threads by their
    bytes; one document is one thread's. Memory: 8 bytes a token; for each thread 200 KB or eight times
    the longest shingle; and with several threads the tokens of 4 MiB of text for each of them. As many
    tokens as there might be are reserved (up to 4 bytes of address space a byte of text for words, 8
    for characters), and what is not used is given back.

    Examples
    --------
    >>> from mergesketch.lsh import shingle
    >>> shingles = shingle(["The quick brown fox", "the QUICK, brown fox!", "?"], size=3)
    >>> shingles.offsets.tolist(), shingles.status.tolist()
    ([0, 2, 4, 4], [0, 0, 1])
    >>> bool((shingles.tokens[:2] == shingles.tokens[2:]).all())
    True
    """
    refuse_gpu("shingle", documents)
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
    characters = unit == "character"

    def kernel(out: NDArray[np.uint64], start: int, stop: int) -> tuple[int, int]:
        done: tuple[int, int] = backend.kernels(text).shingle_documents(
            data, offsets, characters, size, np.uint64(seed), table, out, status, counts, start, stop
        )
        return done

    tokens = _tokens_of_all(kernel, offsets, characters)
    token_offsets = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(counts, out=token_offsets[1:])
    return Shingles(tokens, token_offsets, status)


Kernel = Callable[[NDArray[np.uint64], int, int], tuple[int, int]]


def _tokens_of_all(kernel: Kernel, offsets: NDArray[np.int64], characters: bool) -> NDArray[np.uint64]:
    """Tokens of all documents, in order, from ranges of documents that threads do side by side.

    How many tokens a document has is known only when it is done. So a wave of ranges writes to scratch,
    which the next wave uses again, and its tokens are then gathered; a range that is a wave by itself
    writes to the result at once. Arrays have room for the most tokens that there might be: what is not
    written to is address space, not memory.
    """
    most = _most_tokens(offsets, characters)
    output = np.empty(min(int(most[-1]), max(_ROOM, int(most[-1]) // 3)), dtype=np.uint64)
    scratch = np.empty(0, dtype=np.uint64)
    used = 0
    for bounds in _waves(offsets):
        if len(bounds) == 2:
            document = bounds[0]
            while document < bounds[1]:
                output = _with_room(output, used, int(most[document + 1] - most[document]))
                written, document = kernel(output[used:], document, bounds[1])
                used += written
            continue
        slots = most[bounds] - most[bounds[0]]
        if scratch.size < slots[-1]:
            scratch = np.empty(int(slots[-1]), dtype=np.uint64)
        written_by = _do_wave(kernel, bounds, slots, scratch)
        total = int(written_by.sum())
        output = _with_room(output, used, total)
        _gather(scratch, slots, written_by, output[used : used + total])
        used += total
    output.resize(used, refcheck=False)  # gives the rest back without a copy
    return output


def _do_wave(
    kernel: Kernel, bounds: list[int], slots: NDArray[np.int64], scratch: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Do range i of documents into slot i of the scratch; how many tokens each range has."""

    def task(i: int) -> int:
        return kernel(scratch[slots[i] : slots[i + 1]], bounds[i], bounds[i + 1])[0]

    return np.array(run_tasks(task, len(bounds) - 1), dtype=np.int64)


def _gather(
    scratch: NDArray[np.uint64],
    slots: NDArray[np.int64],
    counts: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> None:
    """Copy the first counts[i] tokens of each slot to `out`, one after another."""
    ends = np.cumsum(counts)

    def task(i: int) -> None:
        out[ends[i] - counts[i] : ends[i]] = scratch[slots[i] : slots[i] + counts[i]]

    run_tasks(task, counts.size)


def _most_tokens(offsets: NDArray[np.int64], characters: bool) -> NDArray[np.int64]:
    """The most tokens that the first i documents can have.

    A word takes a byte and a separator, or three bytes where it needs no separator; the spaces between
    words stand for separators or are made up for by the bytes of the characters beside them.
    """
    most: NDArray[np.int64] = offsets - offsets[0]
    return most if characters else (most + np.arange(offsets.size) + 1) // 2


def _with_room(array: NDArray[np.uint64], used: int, room: int) -> NDArray[np.uint64]:
    """`array`, or a larger copy of its used part, with `room` for more."""
    if array.size >= used + room:
        return array
    larger = np.empty(max(used + room, array.size + array.size // 2), dtype=np.uint64)
    larger[:used] = array[:used]
    return larger


def _waves(offsets: NDArray[np.int64]) -> list[list[int]]:
    """Documents cut into ranges of about equal cost, and these grouped into waves; bounds of each wave."""
    n = offsets.size - 1
    if n == 0:
        return []
    threads = get_num_threads()
    costs = offsets - offsets[0] + _DOCUMENT_BYTES * np.arange(n + 1)
    if threads == 1 or costs[-1] <= _LEAST_TASK_BYTES:
        return [[0, n]]
    share = int(costs[-1]) // (4 * threads)
    pieces = -(-int(costs[-1]) // min(_TASK_BYTES, max(_LEAST_TASK_BYTES, share)))
    cuts = np.searchsorted(costs, np.linspace(0, costs[-1], pieces + 1).astype(np.int64))
    cuts[0], cuts[-1] = 0, n
    waves: list[list[int]] = []
    joinable = False
    for start, stop in pairwise(np.unique(cuts).tolist()):
        large = costs[stop] - costs[start] > 2 * _TASK_BYTES  # one huge document, most of it
        if joinable and not large:
            waves[-1].append(stop)
        else:
            waves.append([start, stop])
        joinable = not large and len(waves[-1]) <= 4 * threads
    return waves
