"""Shingle hashes of documents, computed in one compiled pass over their UTF-8 bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inputs.strings import as_byte_buffer
from ..kernels import text
from ..support.backend import backend_of, read_only, refuse_gpu
from ..support.checks import check_choice, check_int
from ..support.public import publish
from ..support.threads import get_num_threads, run_tasks
from ..support.types import KeysLike
from ..tables.unicode import unicode_table
from .normal_forms import in_normal_form

__all__ = ["UNITS", "Shingles", "shingle"]

#: The units of shingles, by the names of the argument.
UNITS = {"word": text.WORDS, "character": text.CHARACTERS, "symbol": text.SYMBOLS}
#: Number of bytes of documents in one task of a thread. It is small enough that threads end together and
#: scratch memory stays small, and large enough (2 ms) that handing a task over costs little.
_TASK_BYTES = 1 << 20
_LEAST_TASK_BYTES = 1 << 18
#: Cost of a document beside that of its bytes, in bytes, so that many empty documents count too.
_DOCUMENT_BYTES = 64
#: Number of tokens that the result has room for at first, if there may be that many. It grows as needed.
_ROOM = 1 << 23


class Shingles(NamedTuple):
    """Contain the sets of shingle hashes of n documents, as `shingle` returns them."""

    #: Hashes of all shingles, in the order of documents and of their text. Repeated text repeats hashes.
    tokens: NDArray[np.uint64]
    #: Offsets of shape (n + 1,), int64: document i has ``tokens[offsets[i]:offsets[i + 1]]``.
    offsets: NDArray[np.int64]
    #: Statuses of shape (n,), uint8: 0 shingled, 1 empty (neither word nor symbol, and no tokens), 2 shingled
    #: although some bytes are not UTF-8.
    status: NDArray[np.uint8]


def shingle(
    documents: KeysLike, *, unit: str = "word", size: int = 5, seed: int = 0, normalize: str = "nfc"
) -> Shingles:
    r"""Return the shingle hashes of documents, as sets for near-duplicate detection by Jaccard similarity.

    Parameters
    ----------
    documents : list of n str or bytes, column or NumPy array of strings, or pair
        A column is a pandas or polars Series or an Arrow array, of strings, categories or bytes; see
        `hash_keys`. A pair ``(data, offsets)`` of a uint8 and an integer array has document i in the
        UTF-8 bytes ``data[offsets[i]:offsets[i + 1]]``. Arrow buffers and pairs are read where they lie.
    unit : {"word", "character", "symbol"}
        The unit that shingles consist of. ``"symbol"`` is for source code: see the notes.
    size : int
        Number of consecutive words, characters (code points) or symbols in a shingle, at least 1.
    seed : int
        Seed of the hash, in [0, 2**64).
    normalize : {"nfc", "nfkc", "none"}
        The Unicode normal form to which texts are brought first, so that an accented letter is the same as
        one code point and as two. ``"nfkc"`` also makes variants of characters equal, such as ligatures and
        letters of full width.

    Returns
    -------
    Shingles
        ``(tokens, offsets, status)``. ``(tokens, offsets)`` are sets as `MinHash` takes them.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, if documents are not strings, are of mixed types or null, or offsets
        do not fit the data. Text that is not UTF-8, and a str with lone surrogates, raises nothing and has
        status 2.

    Notes
    -----
    Words are runs of letters, numbers, marks, connector punctuation and the two joiners U+200C and U+200D
    (``\w`` of Unicode Technical Standard 18). Soft hyphens, word joiners (U+2060, U+FEFF) and marks of
    direction are ignored. Joiners and variation selectors never begin a word. All other characters separate
    words. In scripts that are written without spaces each character is a word: Han ideographs, Hiragana, and
    the letters of Thai, Lao, Khmer and Myanmar, each with the marks that follow it. Words are lower-cased one
    code point to one (no ``ß`` to ``ss``; a final sigma becomes an ordinary one) and joined by single spaces.
    A shingle is `size` consecutive words, or code points, of the result; its hash is the XXH3-64 of its UTF-8
    bytes. A document of fewer than `size` units gives one token, the hash of all of it.

    With ``unit="symbol"``, words keep their case, and every other character is a symbol, with the marks that
    follow it, except for white space, control and format characters and U+FFFD. A shingle is `size`
    consecutive words and symbols. A document without a word (emoji or punctuation alone) is shingled in this
    way for every unit. It is empty only if it has no symbol either.

    A byte that is not UTF-8 separates words, as U+FFFD does. A document with more such bytes than others, or
    with nothing else to shingle, is hardly text in UTF-8. It gives one token, the hash of its bytes, so that
    only exact copies are alike.

    Normal forms are those of the Unicode version of the package's table, which is 14.0, for every version of
    Python.

    Time: about 2 ns for a byte of source code on one thread. The lower limit is 1 ns to classify a byte
    without a branch, and 5 to 7 ns to hash the shingle of a word. Symbols take about three times as long. A
    quick check finds the documents that may not be in the normal form; it costs nothing for ASCII. Only those
    documents are normalised, by one thread, which takes up to 20 ns a byte. Threads share documents by their
    bytes; one document is the work of one thread. Memory: 8 bytes for each token, and twice that if some
    documents are normalised; for each thread 200 KB, or eight times the longest shingle; and with several
    threads the tokens of 4 MiB of text for each of them. Address space is reserved for the largest possible
    number of tokens (up to 8 bytes for a byte of text), and the unused part is released.

    Examples
    --------
    >>> from mergesketch.lsh import shingle
    >>> shingles = shingle(["The quick brown fox", "the QUICK, brown fox!", " "], size=3)
    >>> shingles.offsets.tolist(), shingles.status.tolist()
    ([0, 2, 4, 4], [0, 0, 1])
    >>> bool((shingles.tokens[:2] == shingles.tokens[2:]).all())
    True
    >>> code = shingle(["if a == b:", "if a != b:"], unit="symbol", size=2)
    >>> len(set(code.tokens[:5].tolist()) & set(code.tokens[5:].tolist()))  # if a, = b, b :
    3
    """
    refuse_gpu("shingle", documents)
    check_choice("unit", unit, tuple(UNITS))
    check_choice("normalize", normalize, tuple(text.CHECKED))
    size = check_int("size", size, 1, (1 << 31) - 1)
    seed = check_int("seed", seed, 0, (1 << 64) - 1)
    backend = backend_of(documents)
    # A lone surrogate in a str becomes bytes that are not UTF-8.
    data, offsets = as_byte_buffer(documents, "documents", errors="surrogatepass")
    unit_code, hash_seed = UNITS[unit], np.uint64(seed)
    unicode = unicode_table()
    table = (unicode.stage1, unicode.stage2, unicode.records)

    def shingle_buffer(data: NDArray[np.uint8], offsets: NDArray[np.int64], checked: int) -> Shingles:
        status = np.empty(offsets.size - 1, dtype=np.uint8)
        counts = np.empty(offsets.size - 1, dtype=np.int64)

        def kernel(out: NDArray[np.uint64], start: int, stop: int) -> tuple[int, int]:
            return backend.kernels(text).shingle_documents(
                data, offsets, unit_code, size, hash_seed, table, checked, start, stop, out, status, counts
            )

        tokens = _tokens_of_all(kernel, offsets)
        return Shingles(tokens, np.append(0, np.cumsum(counts)), status)

    found = shingle_buffer(data, offsets, text.CHECKED[normalize])
    unsure = np.flatnonzero(found.status == text.NOT_NORMAL)
    if not unsure.size:
        return found
    batches = [
        shingle_buffer(read_only(part), read_only(ends), 0)
        for part, ends in in_normal_form(data, offsets, unsure, normalize)
    ]
    return _with_documents(found, unsure, batches)


def _with_documents(shingles: Shingles, rows: NDArray[np.int64], batches: Sequence[Shingles]) -> Shingles:
    """Return the shingles with those of the documents `rows`, which have no tokens yet and are in batches."""
    status, counts = shingles.status.copy(), np.diff(shingles.offsets)
    status[rows] = np.concatenate([batch.status for batch in batches])
    counts[rows] = np.concatenate([np.diff(batch.offsets) for batch in batches])
    offsets = np.append(0, np.cumsum(counts))
    tokens = np.empty(offsets[-1], dtype=np.uint64)
    # Between two of the rows, tokens are copied at once.
    before, place, places = 0, 0, iter(rows.tolist())
    for batch in batches:
        for start, stop in pairwise(batch.offsets.tolist()):
            row = next(places)
            kept, end = int(shingles.offsets[row]), int(offsets[row])
            tokens[place:end] = shingles.tokens[before:kept]
            before, place = kept, end + stop - start
            tokens[end:place] = batch.tokens[start:stop]
    tokens[place:] = shingles.tokens[before:]
    return Shingles(tokens, offsets, status)


Kernel = Callable[[NDArray[np.uint64], int, int], tuple[int, int]]


def _tokens_of_all(kernel: Kernel, offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the tokens of all documents, in order. Threads work on ranges of documents at the same time.

    The number of tokens of a document is known only when it has been shingled. So the ranges of a wave write
    to scratch memory, which the next wave uses again, and their tokens are then copied to the result. A range
    that is a wave by itself writes to the result directly. Arrays have room for the largest possible number
    of tokens, which is one a byte; the part that is not written to is address space, not memory.
    """
    most: NDArray[np.int64] = offsets - offsets[0]
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
    output.resize(used, refcheck=False)  # releases the unused part without a copy
    return output


def _do_wave(
    kernel: Kernel, bounds: list[int], slots: NDArray[np.int64], scratch: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Shingle range i of documents into slot i of `scratch`; return the ranges' numbers of tokens."""

    def task(i: int) -> int:
        return kernel(scratch[slots[i] : slots[i + 1]], bounds[i], bounds[i + 1])[0]

    return np.array(run_tasks(task, len(bounds) - 1), dtype=np.int64)


def _gather(
    scratch: NDArray[np.uint64],
    slots: NDArray[np.int64],
    counts: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> None:
    """Copy the first ``counts[i]`` tokens of each slot to `out`, one after another."""
    ends = np.cumsum(counts)

    def task(i: int) -> None:
        out[ends[i] - counts[i] : ends[i]] = scratch[slots[i] : slots[i] + counts[i]]

    run_tasks(task, counts.size)


def _with_room(array: NDArray[np.uint64], used: int, room: int) -> NDArray[np.uint64]:
    """Return `array`, or a larger copy of its used part, with room for `room` more tokens."""
    if array.size >= used + room:
        return array
    larger = np.empty(max(used + room, array.size + array.size // 2), dtype=np.uint64)
    larger[:used] = array[:used]
    return larger


def _waves(offsets: NDArray[np.int64]) -> list[list[int]]:
    """Return the bounds of ranges of documents, in waves; the ranges have about equal costs."""
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
        large = costs[stop] - costs[start] > 2 * _TASK_BYTES  # it consists mostly of one huge document
        if joinable and not large:
            waves[-1].append(stop)
        else:
            waves.append([start, stop])
        joinable = not large and len(waves[-1]) <= 4 * threads
    return waves


publish("mergesketch.lsh", __all__, globals())
