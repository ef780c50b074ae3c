"""Streaming de-duplication: whether a document was seen before, from one Bloom filter for each band."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import SaturationWarning
from ...lsh.families.minhash import MinHash
from ...lsh.inputs.answers import like
from ...lsh.inputs.arrays import check_array
from ...lsh.kernels.text import EMPTY
from ...lsh.support.aliases import alias
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.callers import stacklevel_of_caller
from ...lsh.support.checks import check_choice, check_int, check_real, renamed
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.types import KeysLike
from .band_filters import BandFilters, size_of_filters
from .band_parameters import band_parameters, candidate_probability
from .bloom_theory import MAX_BLOCKS, MAX_HASHES
from .document_bands import BandKeys, keys_of_bands

__all__ = ["StreamingDeduplicator"]

#: The cost of a missed pair against that of a pair below the threshold that is found.
_WEIGHT = 0.9


class _Batch(NamedTuple):
    """The keys of a batch of documents, and room for the answers: taking it in must not fail."""

    bands: BandKeys
    #: For each key, whether its filter had it; for each document, whether it is new.
    found: NDArray[np.bool_]
    is_new: NDArray[np.bool_]


class StreamingDeduplicator(BandFilters):
    """Find near-duplicate documents in a stream, in one pass and some 80 bytes a document.

    The answer for a document is whether one like it was seen before. The document that it resembles is not
    known.

    Parameters
    ----------
    threshold : float, default 0.7
        The Jaccard similarity of the sets of shingles from which two documents count as near-duplicates,
        above 0 and at most 1.
    capacity : int, default 1_000_000
        The number of distinct documents that will be added.
    error_rate : float, default 1e-4
        The probability that a document which shares no band with any document seen before is taken for a
        duplicate, after `capacity` documents; in (0, 1). It is the false positive rate of all Bloom filters
        together.
    n_hashes : int, default 128
        MinHash values of a document.
    unit, size : {"word", "character", "symbol"}, int
        The kind and the length of a shingle; see `mergesketch.lsh.shingle`.
    normalize : {"nfc", "nfkc", "none"}, default "nfc"
        The Unicode normal form in which texts are compared.
    seed : int, default 0
        The seed of all hash functions, in [0, 2**64).
    bands, rows : int, optional
        The number of bands, and the number of MinHash values in each, in place of those that follow from the
        threshold.
    n_blocks, n_bits : int, optional
        The blocks of 512 bits of each band's filter, and the bits that a key sets in its block, in place of
        those that follow from `capacity` and `error_rate`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    **Method** (LSHBloom: Khan et al. 2024). A document has `n_hashes` MinHash values, of which `rows` make a
    band. A 64-bit key of each band goes to the Bloom filter of that band. A document is a duplicate if a
    filter has the key of its band already. `band_parameters` chooses the bands with a
    ``false_negative_weight`` of 0.9: at a threshold of 0.7 there are 20 bands of 6 values. Every document is
    added, also a duplicate, so the order of the documents does not change the filters.

    **Found duplicates**. A document with an earlier one of similarity s is found with probability at least
    ``1 - (1 - s**rows)**bands``, which `removal_probability` computes: 0.92 for s = 0.7, 0.998 for 0.8. With
    several such earlier documents the probability is larger.

    **False removals** have two reasons. First, an earlier document of a similarity s below the threshold
    shares a band with the same probability ``1 - (1 - s**rows)**bands``: 0.27 for s = 0.5 and 0.015 for
    s = 0.3 at the default settings. Nothing verifies the pair, because no document is kept. With several
    earlier documents, the probability is at most the sum of theirs. Second, a Bloom filter may pass a key
    that it does not have. Each has the rate ``p = 1 - (1 - error_rate)**(1 / bands)`` at `capacity`
    documents, so that all together have ``1 - (1 - p)**bands = error_rate``. Documents that share no band
    with an earlier document are removed at this rate and no other. `false_positive_rate` computes it from
    the bits of the filters. Use `deduplicate` if you need verified pairs.

    **Empty documents** have no shingles. They are never duplicates.

    **Cost**. Memory is ``64 bands n_blocks`` bytes: 81 bytes for each document of the capacity at the default
    settings. An update takes the time to shingle and MinHash the text, and one random access to memory for
    each band.

    References
    ----------
    - Khan, Underwood, Siebenschuh, Babuji, Ajith, Hippe, Gokdemir, Brace, Chard, Foster. LSHBloom:
      Memory-efficient, extreme-scale document deduplication. arXiv:2411.04257.
    - Putze, Sanders, Singler. Cache-, hash- and space-efficient Bloom filters. WEA 2007.

    Examples
    --------
    >>> import mergesketch
    >>> seen = mergesketch.StreamingDeduplicator(threshold=0.7, capacity=1000)
    >>> poem = "tyger tyger burning bright in the forests of the night"
    >>> seen.admit([poem, "what immortal hand or eye", poem.title() + "!"])
    array([ True,  True, False])
    >>> seen.contains(["What immortal hand, or eye?", "could frame thy fearful symmetry"])
    array([ True, False])
    """

    _parameters = (
        "threshold", "capacity", "error_rate", "n_hashes", "unit", "size", "normalize", "seed",
        "bands", "rows", "n_blocks", "n_bits",
    )  # fmt: skip
    _filled = ("filters", "bits set")

    def __init__(
        self,
        threshold: float = 0.7,
        capacity: int = 1_000_000,
        error_rate: float = 1e-4,
        *,
        n_hashes: int = 128,
        unit: str = "word",
        size: int = 5,
        normalize: str = "nfc",
        seed: int = 0,
        bands: int | None = None,
        rows: int | None = None,
        n_blocks: int | None = None,
        n_bits: int | None = None,
    ) -> None:
        self.threshold = check_real("threshold", threshold, 0.0, 1.0, closed=True)
        if self.threshold == 0.0:
            raise ValueError("threshold must be above 0, got 0.0")
        self.capacity = check_int("capacity", capacity, 1, 1 << 40)
        self.error_rate = check_real("error_rate", error_rate, 0.0, 1.0)
        self.n_hashes = check_int("n_hashes", n_hashes, 1, 1 << 16)
        check_choice("unit", unit, ("word", "character", "symbol"))
        self.unit = unit
        self.size = check_int("size", size, 1, (1 << 31) - 1)
        self.normalize = check_choice("normalize", normalize, ("nfc", "nfkc", "none"))
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        if (bands is None) != (rows is None) or (n_blocks is None) != (n_bits is None):
            raise TypeError("StreamingDeduplicator takes both bands and rows, and both n_blocks and n_bits")
        if bands is None or rows is None:
            bands, rows = band_parameters(self.threshold, self.n_hashes, false_negative_weight=_WEIGHT)
        self.bands = check_int("bands", bands, 1, self.n_hashes)
        self.rows = check_int("rows", rows, 1, self.n_hashes // self.bands)
        if n_blocks is None or n_bits is None:
            n_blocks, n_bits = size_of_filters(self.capacity, self.error_rate, self.bands)
        self.n_blocks = check_int("n_blocks", n_blocks, 1, MAX_BLOCKS)
        self.n_bits = check_int("n_bits", n_bits, 1, MAX_HASHES)

    @classmethod
    def for_error(
        cls,
        n_documents: int,
        error_rate: float = 1e-4,
        *,
        threshold: float = 0.7,
        n_hashes: int = 128,
        unit: str = "word",
        size: int = 5,
        normalize: str = "nfc",
        seed: int = 0,
    ) -> Self:
        """Return the smallest sketch for `n_documents` at an error rate, as the constructor does.

        Parameters
        ----------
        n_documents : int
            The number of distinct documents that will be added.
        error_rate : float, default 1e-4
            See the class.
        threshold : float, default 0.7
        n_hashes : int, default 128
        unit, size : {"word", "character", "symbol"}, int
        normalize : {"nfc", "nfkc", "none"}, default "nfc"
        seed : int, default 0

        Returns
        -------
        StreamingDeduplicator

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Examples
        --------
        >>> import mergesketch
        >>> seen = mergesketch.StreamingDeduplicator.for_error(1_000_000, 1e-3)
        >>> seen.expected_false_positive_rate(1_000_000) <= 1e-3, seen.nbytes // 1_000_000
        (True, 60)
        """
        with renamed("capacity", "n_documents"):
            return cls(
                threshold, n_documents, error_rate,
                n_hashes=n_hashes, unit=unit, size=size, normalize=normalize, seed=seed,
            )  # fmt: skip

    @lazy
    def family(self) -> MinHash:
        """Return the family of the signatures."""
        return MinHash(self.n_hashes, scheme="fast-similarity", seed=self.seed)

    # -- keys of bands ----------------------------------------------------------------------------

    def band_keys(self, documents: KeysLike) -> BandKeys:
        """Return a 64-bit key of each band of documents; nothing is added.

        Documents with one key in a band have equal MinHash values in it, except with probability 2**-64.

        Parameters
        ----------
        documents : list of n str or bytes, column of strings, or pair (data, offsets)
            As in `update`.

        Returns
        -------
        BandKeys
            ``(keys, status)``.

        Raises
        ------
        TypeError, ValueError
            If documents are not strings, are of mixed types or null, or offsets do not fit the data.
        """
        shingling = {"unit": self.unit, "size": self.size, "normalize": self.normalize}
        return keys_of_bands(documents, self.family, self.bands, self.rows, **shingling)

    # -- adding and testing -----------------------------------------------------------------------

    def update(self, documents: KeysLike) -> Self:
        """Add a batch of documents.

        Parameters
        ----------
        documents : list of n str or bytes, column of strings, or pair (data, offsets)
            In all forms that `mergesketch.lsh.shingle` takes.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If documents are not strings, are of mixed types or null, or offsets do not fit the data. Nothing
            changes then.

        Warns
        -----
        SaturationWarning
            If there were more documents than `capacity`, and the filters are so full that their false
            positive rate is above `error_rate`.
        """
        self.admit(documents)
        return self

    def admit(self, documents: KeysLike) -> NDArray[np.bool_]:
        """Add a batch of documents, and return for each one whether it is new.

        A document is compared with all documents before it: those of earlier calls, and those before it in
        the batch. So the answers do not depend on how a stream is cut into batches.

        Parameters
        ----------
        documents : list of n str or bytes, column of strings, or pair (data, offsets)
            As in `update`.

        Returns
        -------
        ndarray of shape (n,), bool
            True if no document like it was seen before, and for documents without shingles.

        Raises
        ------
        TypeError, ValueError
            As `update` does. Nothing changes then.

        Warns
        -----
        SaturationWarning
            As `update` does.
        """
        before, batches = self.n_updates, list[_Batch]()
        self._take_in({"documents": documents}, batches)
        (batch,) = batches
        self._warn_if_full(before)
        return like(documents, batch.is_new)

    def contains(self, documents: KeysLike) -> NDArray[np.bool_]:
        """Test for each document if one like it was seen before; nothing is added.

        Parameters
        ----------
        documents : list of n str or bytes, column of strings, or pair (data, offsets)
            As in `update`.

        Returns
        -------
        ndarray of shape (n,), bool
            False for documents without shingles.

        Raises
        ------
        TypeError, ValueError
            As `update` does.
        """
        self._claim_device("documents", documents)
        bands = self.band_keys(documents)
        return like(documents, bands.spread(self._test(bands.keys)))

    query = alias(contains)

    def _read(self, documents: Any, batches: list[_Batch]) -> _Batch:
        bands = self.band_keys(documents)
        batch = _Batch(bands, np.empty(bands.keys.shape, np.bool_), np.ones(bands.status.size, np.bool_))
        batches.append(batch)
        return batch

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {"n_updates": batch.bands.status.size}

    def _add(self, batch: _Batch) -> None:
        self._admit(batch.bands.keys, 0, batch.found)
        batch.is_new[batch.bands.status != EMPTY] = ~batch.found.any(axis=0)

    # -- errors -----------------------------------------------------------------------------------

    def removal_probability(self, similarity: ArrayLike) -> NDArray[np.float64]:
        """Return the probability that a document is taken for a duplicate, by its nearest earlier document.

        Parameters
        ----------
        similarity : array_like of float
            The Jaccard similarity s of the document and an earlier one, in [0, 1]. No other earlier document
            shares a band with it.

        Returns
        -------
        ndarray of the shape of `similarity`, float64
            ``1 - (1 - s**rows)**bands (1 - e)``, where e is the false positive rate of the filters after
            `capacity` documents.

        Raises
        ------
        TypeError, ValueError
            If a similarity is not a number in [0, 1].

        Examples
        --------
        >>> import mergesketch
        >>> seen = mergesketch.StreamingDeduplicator(threshold=0.7)
        >>> seen.removal_probability([0.0, 0.3, 0.5, 0.7, 0.8]).round(4).tolist()
        [0.0001, 0.0146, 0.2703, 0.9182, 0.9977]
        """
        refuse_gpu(type(self).__name__, similarity)
        s = np.asarray(check_array("similarity", similarity))
        if s.dtype.kind not in "iuf" or not ((s >= 0) & (s <= 1)).all():
            raise ValueError(f"similarity must have numbers in [0, 1], got {similarity!r}")
        missed = 1.0 - candidate_probability(s.astype(np.float64), self.bands, self.rows)
        return np.asarray(1.0 - missed * (1.0 - self.expected_false_positive_rate(self.capacity)))

    def _warn_if_full(self, before: int) -> None:
        """Warn if the filters pass too many documents; they are looked at each quarter of the capacity."""
        n, step = self.n_updates, max(1, self.capacity // 4)
        if n <= self.capacity or n // step == before // step:
            return
        rate = self.false_positive_rate()
        if rate > self.error_rate:
            warnings.warn(
                f"the StreamingDeduplicator has had {n:,} documents, more than its capacity of "
                f"{self.capacity:,}: it now takes a new document for a duplicate with probability "
                f"{rate:.2g}, above its error_rate of {self.error_rate:g}; give it a larger capacity",
                SaturationWarning,
                stacklevel=stacklevel_of_caller(),
            )

    def after_merge(self) -> None:
        self._warn_if_full(0)


publish("mergesketch", __all__, globals())
