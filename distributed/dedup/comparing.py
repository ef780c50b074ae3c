"""Compare documents that lie on this rank: by their sets of shingles, by signatures, or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of
from ...lsh.support.threads import map_blocks
from ..kernels import banding, crowded
from .places import Rows, Words

__all__ = [
    "BLOCK",
    "Block",
    "Comparer",
    "Documents",
    "FetchedSets",
    "FetchedSignatures",
    "Unverified",
    "overlaps",
]

#: The most documents that are compared with others at a time: the bits of a word.
BLOCK = 64
#: Documents in one thread's task, when each is compared with up to `BLOCK` others.
_TASK = 256
#: Pairs in one thread's task.
_PAIRS = 64
#: The most tokens that are common in a block, and the number of its sets that are looked at to choose them.
_COMMON, _LOOKED_AT = 512, 256
#: Bits of a mask for each token that is not common, on average, and the bounds of their number.
_BITS, _LEAST_BITS, _MOST_BITS = 24, 512, 1 << 14


class Block(Protocol):
    """Documents that are compared with each other."""

    def hits(self, chosen: Rows, groups: Rows, later: Rows) -> NDArray[np.uint64]:
        """Return, for each document in `later`, a bit for each of up to 64 in `chosen` that is similar.

        Documents of one group are not compared, and at most one document of each group has a bit.
        """


class Documents(Protocol):
    """Documents that were fetched to this rank."""

    def compare(self, left: Rows, right: Rows) -> NDArray[np.float64]:
        """Return the similarity of each pair."""

    def block(self, rows: Rows, threshold: float) -> Block: ...


class Comparer(Protocol):
    """A way to compare documents on any ranks. All methods are collective calls."""

    def compare(self, rows: Rows, others: Words) -> NDArray[np.floating]:
        """Return the similarity of each of this rank's documents in `rows` and a document at any place."""

    def sizes(self, places: Words) -> Rows:
        """Return the number of words that each document takes when it is fetched."""

    def fetch(self, places: Words) -> Documents: ...


def overlaps(
    a: Words,
    a_offsets: Rows,
    a_rows: Rows,
    b: Words,
    b_offsets: Rows,
    b_rows: Rows,
    *,
    of_smaller: bool = False,
) -> NDArray[np.float64]:
    """Return the Jaccard similarity of the sets ``a_rows[i]`` of a and ``b_rows[i]`` of b, for each i.

    With `of_smaller`, return the share of the smaller set that the other set has.
    """
    kernel = backend_of(a).kernels(banding).sorted_overlap
    out = np.empty(len(a_rows))
    map_blocks(
        lambda start, stop: kernel(a, a_offsets, a_rows, b, b_offsets, b_rows, start, stop, out),
        len(a_rows),
        _PAIRS,
    )
    if not of_smaller:
        return out
    sizes = np.diff(a_offsets)[a_rows], np.diff(b_offsets)[b_rows]
    # The number of common tokens follows from the similarity: it is a whole number.
    common = np.rint((sizes[0] + sizes[1]) * out / (1.0 + out))
    return common / np.minimum(*sizes)


def _hits(kernel: Callable[[int, int, NDArray[np.uint64]], None], n: int) -> NDArray[np.uint64]:
    out = np.empty(n, dtype=np.uint64)
    map_blocks(lambda start, stop: kernel(start, stop, out), n, _TASK)
    return out


class FetchedSets:
    """Sets of shingles, whose tokens rise, one after another; see `overlaps`."""

    def __init__(self, tokens: Words, sizes: Rows, *, of_smaller: bool = False) -> None:
        self._tokens = tokens
        self._of_smaller = of_smaller
        self._offsets = np.append(0, np.cumsum(sizes))

    def compare(self, left: Rows, right: Rows) -> NDArray[np.float64]:
        sets = self._tokens, self._offsets
        return overlaps(*sets, left, *sets, right, of_smaller=self._of_smaller)

    def block(self, rows: Rows, threshold: float) -> Block:
        starts, stops = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        parts = [self._tokens[a:b] for a, b in zip(starts, stops, strict=True)]
        return _SetBlock(parts, threshold, self._of_smaller)


class _SetBlock:
    """Sets whose common tokens are bits; see `kernels.crowded`."""

    def __init__(self, sets: list[Words], threshold: float, of_smaller: bool) -> None:
        tokens = np.concatenate(sets)
        offsets = np.append(0, np.cumsum([len(tokens_of_set) for tokens_of_set in sets]))
        n = len(sets)
        common = _common_tokens(sets)
        n_common_words = -(-len(common) // 64)
        is_common = 0 if not len(common) else np.isin(tokens[: 1 << 16], common).mean()
        bits = _BITS * len(tokens) / n * (1.0 - is_common)
        n_mask_words = 1 << math.ceil(math.log2(min(max(bits, _LEAST_BITS), _MOST_BITS) / 64))
        words = np.empty((n, n_common_words + n_mask_words), dtype=np.uint64)
        others, n_others = np.empty_like(tokens), np.empty(n, dtype=np.int64)
        split = backend_of(tokens).kernels(crowded).split_sets
        map_blocks(
            lambda a, b: split(tokens, offsets, common, n_common_words, a, b, words, others, n_others),
            n,
            _TASK,
        )
        self._kernel = backend_of(tokens).kernels(crowded).set_hits
        self._sets = (words, n_common_words, others, offsets, n_others, threshold, of_smaller)

    def hits(self, chosen: Rows, groups: Rows, later: Rows) -> NDArray[np.uint64]:
        arguments = (chosen, groups[chosen], later, groups[later], *self._sets)
        return _hits(lambda *rest: self._kernel(*arguments, *rest), len(later))


def _common_tokens(sets: list[Words]) -> Words:
    """Return the most frequent tokens of some of the sets, in order."""
    looked_at = sets[:: -(-len(sets) // _LOOKED_AT)]
    tokens, counts = np.unique(np.concatenate(looked_at), return_counts=True)
    often = np.flatnonzero(counts >= max(2, len(looked_at) // 16))
    most = often[np.argsort(-counts[often], kind="stable")[:_COMMON]]
    return np.sort(tokens[most])


class FetchedSignatures:
    """Signatures, of which equal values are counted."""

    def __init__(self, signatures: NDArray[np.uint32]) -> None:
        self._signatures = signatures

    def compare(self, left: Rows, right: Rows) -> NDArray[np.float64]:
        n = self._signatures.shape[1]
        out = np.empty(len(left))
        for start in range(0, len(left), 1 << 14):
            part = slice(start, start + (1 << 14))
            equal = self._signatures[left[part]] == self._signatures[right[part]]
            out[part] = (equal.sum(axis=1) / n).astype(np.float32)
        return out

    def block(self, rows: Rows, threshold: float) -> Block:
        return _SignatureBlock(self._signatures[rows], threshold)


class _SignatureBlock:
    def __init__(self, signatures: NDArray[np.uint32], threshold: float) -> None:
        self._signatures = signatures
        n = signatures.shape[1]
        # Estimates are 32-bit floats wherever they are compared with the threshold.
        shares = (np.arange(n + 1) / n).astype(np.float32)
        self._least_equal = int(np.searchsorted(shares, np.float32(threshold)))
        self._kernel = backend_of(signatures).kernels(crowded).signature_hits

    def hits(self, chosen: Rows, groups: Rows, later: Rows) -> NDArray[np.uint64]:
        arguments = (chosen, groups[chosen], later, groups[later], self._signatures, self._least_equal)
        return _hits(lambda *rest: self._kernel(*arguments, *rest), len(later))


class Unverified:
    """The comparer that compares nothing: every pair of candidates is taken for similar."""

    def compare(self, rows: Rows, others: Words) -> NDArray[np.float64]:
        return np.full(len(rows), np.nan)

    def sizes(self, places: Words) -> Rows:
        return np.ones(len(places), dtype=np.int64)

    def fetch(self, places: Words) -> Documents:
        return _Unknown()


class _Unknown:
    def compare(self, left: Rows, right: Rows) -> NDArray[np.float64]:
        return np.full(len(left), np.nan)

    def block(self, rows: Rows, threshold: float) -> Block:
        return self

    def hits(self, chosen: Rows, groups: Rows, later: Rows) -> NDArray[np.uint64]:
        bits = np.uint64(1) << np.arange(len(chosen), dtype=np.uint64)
        differ = groups[chosen] != groups[later][:, None]
        return (differ * bits).sum(axis=1, dtype=np.uint64)
