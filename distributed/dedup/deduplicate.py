"""Groups of near-duplicate documents, over any number of ranks."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.hashing.text import Shingles, shingle
from ...lsh.inputs.strings import as_byte_buffer
from ...lsh.support.backend import backend_of
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.threads import map_blocks
from ..documents.batches import DocumentBatch
from ..kernels import banding
from ..ranks.comm import Communicator, communicator
from .banding import band_parameters, matching_pairs
from .components import connected_components
from .exact import exact_pairs
from .signatures import SignatureStore, estimate_pairs, places_of, split_places

__all__ = ["Deduplication", "deduplicate", "memory_per_rank"]

#: Documents of one batch when they come as a list.
_LIST_BATCH = 1 << 16
#: What a missed pair costs against a needless candidate. Where candidates are checked they cost little:
#: of the pairs just at a threshold of 0.7, 128 values then make 98 % candidates.
_VERIFIED_WEIGHT = 0.98
_UNVERIFIED_WEIGHT = 0.5
_NO_IDS = np.empty(0, dtype=np.uint64)


@dataclass
class Deduplication:
    """What `deduplicate` found.

    Attributes
    ----------
    members : ndarray of uint64
        Ids of all documents that have a near-duplicate, group after group, the groups in the order of
        their least ids and the ids of a group rising. On rank 0; empty on the others.
    offsets : ndarray of int64, shape (n_groups + 1,)
        Group i is ``members[offsets[i]:offsets[i + 1]]``. On rank 0.
    n_documents, n_groups, n_duplicates : int
        Over all ranks. Duplicates are the members of groups beside the first of each.
    n_left_out : int
        Pairs, over all ranks, that share a band and were not compared for it, because more than 64
        documents share it. A pair counts in each such band; another band may have had it compared, so
        this is the most that can have been missed for it.
    n_empty, n_invalid : int
        Documents without a word, and ones that are not UTF-8, over all ranks; they are in no group.
    empty, invalid : ndarray of uint64
        Their ids, on the rank that read them.
    pairs : ndarray of shape (m, 2), uint64
        The compared pairs that were found alike, each once over all ranks, the smaller id first.
        Documents with the same shingles stand in them by the least of their ids; see `copies`.
    similarity : ndarray of shape (m,), float32
        Jaccard similarity of each pair: estimated, or exact with ``verify="exact"``; NaN with
        ``verify="none"``.
    copies : ndarray of shape (c, 2), uint64
        Documents with the same shingles, each as often: the one of least id, and another. Each once over
        all ranks.
    bands, rows : int
        The banding that was used.
    seconds : dict of str to float
        Wall-clock time of each stage, on this rank.
    peak_memory : int
        Peak resident memory of this process in bytes.
    """

    members: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    n_documents: int
    n_groups: int
    n_duplicates: int
    n_empty: int
    n_invalid: int
    empty: NDArray[np.uint64]
    invalid: NDArray[np.uint64]
    pairs: NDArray[np.uint64]
    similarity: NDArray[np.float32]
    copies: NDArray[np.uint64]
    bands: int
    rows: int
    n_left_out: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0

    def __repr__(self) -> str:
        return (
            f"<Deduplication: {self.n_documents:,} documents, {self.n_groups:,} groups, "
            f"{self.n_duplicates:,} duplicates>"
        )


class _Listed:
    """Documents given as a list or an array, as a source of batches; ids run over ranks."""

    def __init__(self, documents: Any, comm: Communicator) -> None:
        with comm.agree():
            self.data, self.offsets = as_byte_buffer(documents, "documents", errors="surrogatepass")
        self.first = comm.exclusive_sum(len(self.offsets) - 1)

    def batches(self) -> Iterator[DocumentBatch]:
        n = len(self.offsets) - 1
        for start in range(0, n, _LIST_BATCH):
            stop = min(n, start + _LIST_BATCH)
            ids = np.arange(self.first + start, self.first + stop, dtype=np.uint64)
            yield DocumentBatch(ids, self.data, self.offsets[start : stop + 1])


class _Stages:
    """Wall-clock seconds of consecutive stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def memory_per_rank(
    n_documents: int, n_ranks: int = 1, n_hashes: int = 128, *, batch_bytes: int = 16 << 20
) -> int:
    """Bytes that a rank of `deduplicate` takes at its peak, besides the interpreter and its libraries.

    Parameters
    ----------
    n_documents : int
        Over all ranks.
    n_ranks, n_hashes : int
    batch_bytes : int
        Bytes of text in a batch of the source.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument is no integer or out of range.

    Notes
    -----
    With m = n_documents / n_ranks: signatures and ids take m (4 n_hashes + 8); exchanging the keys of
    one band takes 120 m at its peak (key, id and place, sent, received and sorted); two batches and
    their shingles take 6 batch_bytes. To that come, in proportion to what is found and not to what is
    read, 40 bytes a candidate pair, and 16 bytes a duplicate on rank 0; and with ``verify="exact"`` 8
    bytes a shingle of each document in some candidate pair, and up to 50 MB for those fetched at once.

    Examples
    --------
    >>> from mergesketch.distributed import memory_per_rank
    >>> memory_per_rank(100_000_000, n_ranks=64) < 1.2e9
    True
    """
    n_documents = check_int("n_documents", n_documents, 0)
    n_ranks = check_int("n_ranks", n_ranks, 1)
    n_hashes = check_int("n_hashes", n_hashes, 1)
    batch_bytes = check_int("batch_bytes", batch_bytes, 1)
    share = -(-n_documents // n_ranks)
    blocks = -(-share // SignatureStore.BLOCK) * SignatureStore.BLOCK
    return blocks * 4 * n_hashes + share * (8 + 120) + 6 * batch_bytes


def deduplicate(
    documents: Any,
    *,
    threshold: float = 0.7,
    n_hashes: int = 128,
    unit: str = "word",
    size: int = 5,
    seed: int = 0,
    verify: str = "exact",
    comm: Any = None,
) -> Deduplication:
    """Find the groups of near-duplicate documents.

    Two documents are near-duplicates if the Jaccard similarity of their sets of shingles is at least
    `threshold`; a group is what such pairs connect.

    Parameters
    ----------
    documents : list of str or bytes, column of strings (pandas, polars, Arrow), or DocumentSource
        This rank's share of the documents. Those of a list have their running numbers over all ranks as
        ids. A source is anything whose ``batches()`` gives batches of ids, UTF-8 bytes and offsets; it
        is streamed, and with ``verify="exact"`` read a second time.
    threshold : float
        Above 0, at most 1.
    n_hashes : int
        MinHash values of a document: more make misses and false candidates rarer.
    unit, size : {"word", "character"}, int
        What a shingle is; see `mergesketch.lsh.shingle`.
    seed : int
        Of all hash functions, in [0, 2**64).
    verify : {"exact", "signature", "none"}
        How candidate pairs are checked: by the exact similarity of their shingles, by the share of
        equal MinHash values (standard error at most 0.5 / sqrt(n_hashes), no second reading), or not.
    comm : mpi4py communicator, optional
        All ranks, if MPI started this process.

    Returns
    -------
    Deduplication
        The same for any number of ranks and threads.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    DistributedError
        On every rank, if ranks got different settings or one of them failed.

    Notes
    -----
    Every document is shingled and MinHashed by the rank that reads it. Documents with the same shingles,
    told by a 64-bit key of them, are joined first and go on as one (unlike ones too, with probability
    ``n**2 / 2**65`` among n documents). Then, band by band, the ranks
    exchange a 64-bit key of each document's values in the band; equal keys make a candidate pair (in
    buckets of over 64 documents each is paired with the first and the 16 that follow it, so that pairs are
    left out: `Deduplication.n_left_out` counts them). But for these a pair of
    similarity s becomes a candidate with probability ``1 - (1 - s**rows)**bands`` (Broder 1997; Leskovec,
    Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4), with (bands, rows) from
    `band_parameters`. Candidates are checked by the rank of the document of smaller id, and groups are
    the connected components.

    Time is O(text) for shingling plus O(documents * bands) keys exchanged; memory is told by
    `memory_per_rank` beforehand.

    Examples
    --------
    >>> from mergesketch.distributed import deduplicate
    >>> poem = "tyger tyger burning bright in the forests of the night"
    >>> result = deduplicate([poem, "what immortal hand or eye", poem.title() + "!"])
    >>> result
    <Deduplication: 3 documents, 1 groups, 1 duplicates>
    >>> result.members.tolist(), result.offsets.tolist()
    ([0, 2], [0, 2])
    """
    comm = communicator(comm)
    settings = (threshold, n_hashes, unit, size, seed, verify)
    comm.check_same("the settings of deduplicate", settings)
    threshold = check_real("threshold", threshold, 0.0, 1.0, closed=True)
    if threshold == 0.0:
        raise ValueError("threshold must be above 0, got 0.0")
    check_choice("verify", verify, ("exact", "signature", "none"))
    check_choice("unit", unit, ("word", "character"))
    check_int("size", size, 1)
    family = MinHash(check_int("n_hashes", n_hashes, 1), seed=seed, expected_set_size=500)
    weight = _UNVERIFIED_WEIGHT if verify == "none" else _VERIFIED_WEIGHT
    bands, rows = band_parameters(threshold, n_hashes, false_negative_weight=weight)
    is_source = hasattr(documents, "batches")
    comm.check_same("whether documents are a source", is_source)
    source = documents if is_source else _Listed(documents, comm)
    shingle_batch = partial(_shingle_batch, unit=unit, size=size, seed=seed)

    stages = _Stages()
    with comm.agree():
        store, empty, invalid, shingled = _sign(source, family, shingle_batch, seed)
        if len(invalid) and hasattr(source, "report_skipped"):
            source.report_skipped(invalid)
    stages.end("signing")

    ids, places = store.ids(), places_of(comm.rank, len(store))
    copies, first = _join_copies(store, ids, places, comm)
    stages.end("copies")
    candidates, n_left_out = _candidates(store, ids, places, first, bands, rows, seed, comm)
    left, left_places, right, right_places = candidates
    stages.end("banding")
    _, local = split_places(left_places)
    similarity = np.full(len(left), np.nan)
    if verify == "signature":
        similarity = estimate_pairs(local, right_places, store, family, comm)
    elif verify == "exact":
        similarity = exact_pairs(local, right_places, source.batches, shingled, shingle_batch, comm)
    kept = np.isnan(similarity) | (similarity >= threshold)
    pairs, similarity = np.stack([left, right], axis=1)[kept], similarity[kept]
    stages.end("verifying")

    edges = np.concatenate([copies, pairs])
    nodes, roots = connected_components(edges[:, 0], edges[:, 1], comm)
    members, offsets = _gather_groups(nodes, roots, comm)
    stages.end("grouping")
    n_groups, n_members = comm.bcast((len(offsets) - 1, len(members)))
    return Deduplication(
        members=members,
        offsets=offsets,
        n_documents=comm.sum(len(store) + len(empty)),
        n_groups=n_groups,
        n_duplicates=n_members - n_groups,
        n_empty=comm.sum(len(empty)),
        n_invalid=comm.sum(len(invalid)),
        empty=empty,
        invalid=invalid,
        pairs=pairs,
        similarity=similarity.astype(np.float32),
        copies=copies,
        bands=bands,
        rows=rows,
        n_left_out=comm.sum(n_left_out),
        seconds=stages.seconds,
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _shingle_batch(batch: DocumentBatch, unit: str, size: int, seed: int) -> Shingles:
    return shingle((batch.data, batch.offsets), unit=unit, size=size, seed=seed)


def _sign(
    source: Any, family: MinHash, shingle_batch: Any, seed: int
) -> tuple[SignatureStore, NDArray[np.uint64], NDArray[np.uint64], list[NDArray[np.bool_]]]:
    """Signatures of this rank's documents; ids of those without a word and of those not UTF-8.

    And of every batch, which documents have a signature.
    """
    store = SignatureStore(family.n_values)
    empty, invalid = [_NO_IDS], [_NO_IDS]
    shingled: list[NDArray[np.bool_]] = []
    batches: Iterable[DocumentBatch] = source.batches()
    for batch in batches:
        shingles = shingle_batch(batch)
        kept = shingles.status == 0
        # Documents that are left out have no tokens, so the offsets of the others still join up.
        offsets = np.append(shingles.offsets[:-1][kept], shingles.offsets[-1])
        keys = _document_keys(shingles.tokens, offsets, seed)
        store.append(batch.ids[kept], keys, family.signatures((shingles.tokens, offsets)))
        shingled.append(kept)
        empty.append(batch.ids[shingles.status == 1])
        invalid.append(batch.ids[shingles.status == 2])
    return store, np.concatenate(empty), np.concatenate(invalid), shingled


def _document_keys(tokens: NDArray[np.uint64], offsets: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    kernel, key = backend_of(tokens).kernels(banding).document_keys, np.uint64(seed)
    out = np.empty(len(offsets) - 1, dtype=np.uint64)
    map_blocks(lambda start, stop: kernel(tokens, offsets, key, start, stop, out), len(out), 256)
    return out


def _join_copies(
    store: SignatureStore, ids: NDArray[np.uint64], places: NDArray[np.uint64], comm: Communicator
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Pairs of documents with the same shingles, and the rows that go on for all that equal them.

    Without this step a million copies of one text would meet in every band. Equal signatures would not do
    to tell copies: documents of similarity s have them with probability ``s**n_hashes``, 0.28 for 0.99 and
    128, whatever the threshold.
    """
    keys = comm.local(store.take_keys)
    copies, copy_places, _ = matching_pairs(keys, ids, places, comm, only_first=True)
    ranks, rows = split_places(copy_places[:, 1])
    (copied,) = comm.exchange((rows,), ranks)
    first = np.ones(len(store), dtype=bool)
    first[copied] = False
    return copies, np.flatnonzero(first)


def _candidates(
    store: SignatureStore,
    ids: NDArray[np.uint64],
    places: NDArray[np.uint64],
    first: NDArray[np.int64],
    bands: int,
    rows: int,
    seed: int,
    comm: Communicator,
) -> tuple[tuple[NDArray[np.uint64], ...], int]:
    """Pairs that share a band, each once, on the rank of the document of smaller id.

    Returns ids and places of the left and of the right documents, in the order of ids; and how many pairs
    were left out, on this rank.
    """
    ids, places = ids[first], places[first]
    found: tuple[NDArray[np.uint64], ...] = (_NO_IDS, _NO_IDS, _NO_IDS, _NO_IDS)
    n_left_out = 0
    for band in range(bands):
        keys = comm.local(store.band_keys, band * rows, (band + 1) * rows, seed, first)
        pair_ids, pair_places, n = matching_pairs(keys, ids, places, comm)
        n_left_out += n
        home, _ = split_places(pair_places[:, 0])
        came = comm.exchange((pair_ids[:, 0], pair_places[:, 0], pair_ids[:, 1], pair_places[:, 1]), home)
        found = comm.local(_join_pairs, found, came)
    return found, n_left_out


def _join_pairs(
    found: tuple[NDArray[np.uint64], ...], came: tuple[NDArray[np.uint64], ...]
) -> tuple[NDArray[np.uint64], ...]:
    """Both lists of pairs as one, each pair once, in order."""
    joined = [np.concatenate(both) for both in zip(found, came, strict=True)]
    order = np.lexsort((joined[2], joined[0]))
    left, right = joined[0][order], joined[2][order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return tuple(column[order[fresh]] for column in joined)


def _gather_groups(
    nodes: NDArray[np.uint64], roots: NDArray[np.uint64], comm: Communicator
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """All groups on rank 0, in order; nothing on the other ranks."""
    nodes, roots = comm.exchange((nodes, roots), np.zeros(len(nodes), dtype=np.int64))
    return comm.local(_order_groups, nodes, roots)


def _order_groups(
    nodes: NDArray[np.uint64], roots: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    heads = np.unique(roots)
    members, heads_of = np.concatenate([heads, nodes]), np.concatenate([heads, roots])
    order = np.lexsort((members, heads_of))
    members, heads_of = members[order], heads_of[order]
    starts = np.searchsorted(heads_of, heads)
    return members, np.append(starts, len(members)).astype(np.int64)
