"""Find groups of near-duplicate documents, over any number of ranks."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ...lsh.families.minhash import MinHash
from ...lsh.support.checks import check_choice, check_int, check_real
from ..documents.in_memory import DocumentsInMemory
from ..ranks.comm import communicator
from ..ranks.memory import peak_memory
from .banding import band_parameters
from .candidates import candidate_pairs, join_copies
from .components import connected_components, gather_groups
from .exact import exact_pairs
from .places import split_places
from .result import Deduplication
from .signatures import SignatureStore, estimate_pairs
from .signing import Shingling, sign_documents

__all__ = ["deduplicate", "memory_per_rank"]

#: The cost of a missed pair against a needless candidate. Candidates that are checked cost little: at a
#: threshold of 0.7 and 128 hashes, the first weight makes 98 % of the pairs just at the threshold candidates.
_VERIFIED_WEIGHT = 0.98
_UNVERIFIED_WEIGHT = 0.5


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
    """Return the bytes that a rank of `deduplicate` needs, without the interpreter and its libraries.

    Parameters
    ----------
    n_documents : int
        The number of documents on all ranks.
    n_ranks, n_hashes : int
    batch_bytes : int
        Bytes of text in a batch of the source.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument is not an integer or is out of range.

    Notes
    -----
    With m = n_documents / n_ranks: signatures, ids and keys take m (4 n_hashes + 16) bytes. Exchanging the
    keys of one band takes 120 m at its peak (a key, an id and a place, each sent, received and sorted). Two
    batches and their shingles take 6 batch_bytes. Further memory grows with the number of pairs found and not
    with the text read: 40 bytes a candidate pair, and 16 bytes a duplicate on rank 0; with ``verify="exact"``
    also 8 bytes a shingle of each document in some candidate pair, and up to 50 MB for the shingles that
    are fetched at once.

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
    return blocks * 4 * n_hashes + share * (16 + 120) + 6 * batch_bytes


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
    """Find groups of near-duplicate documents (fuzzy deduplication by MinHash LSH).

    Two documents are near-duplicates if the Jaccard similarity of their sets of shingles is at least
    `threshold`. A group has all documents that are connected by such pairs.

    Parameters
    ----------
    documents : list of str or bytes, column of strings (pandas, polars, Arrow), or DocumentSource
        This rank's share of the documents. The ids of documents in a list or column are their running
        numbers over all ranks. A source is any object whose ``batches()`` gives batches of ids, UTF-8 bytes
        and offsets. It is streamed, and with ``verify="exact"`` read a second time. A document that has
        changed in between is in no pair, except with its copies at the first reading, and
        `DocumentSource.finish` names its file.
    threshold : float
        The least similarity of near-duplicates, above 0 and at most 1.
    n_hashes : int
        MinHash values of a document. More of them make missed pairs and false candidates rarer.
    unit, size : {"word", "character"}, int
        The kind and the length of a shingle; see `mergesketch.lsh.shingle`.
    seed : int
        The seed of all hash functions, in [0, 2**64).
    verify : {"exact", "signature", "none"}
        The check of a candidate pair: the exact similarity of its shingles; the share of equal MinHash
        values (with a standard error of at most 0.5 / sqrt(n_hashes), and without a second reading); or no
        check.
    comm : mpi4py communicator, optional
        All ranks if MPI started this process.

    Returns
    -------
    Deduplication
        The same for any number of ranks and threads.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.
    DistributedError
        On every rank, if ranks got different settings or one of them failed.

    Notes
    -----
    The rank that reads a document shingles and MinHashes it. Documents with the same shingles, which a 64-bit
    key of the shingles shows, are joined first and continue as one document. (With probability ``n**2 /
    2**65`` among n documents, two different documents have one key.) Then the ranks exchange, band after
    band, a 64-bit key of each document's values in the band. Equal keys make a candidate pair. In buckets of
    over 64 documents, each document is paired with the first one and the 16 that follow it;
    `Deduplication.n_left_out` counts the pairs that are left out.

    All other pairs of similarity s become candidates with probability ``1 - (1 - s**rows)**bands`` (Broder
    1997; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4), with (bands, rows) from
    `band_parameters`. A candidate is checked by the rank of the document with the smaller id. Groups are
    the connected components.

    Time is O(text) for shingling, and O(documents * bands) keys are exchanged. `memory_per_rank` computes the
    memory before you start.

    Examples
    --------
    >>> from mergesketch.distributed import deduplicate
    >>> poem = "tyger tyger burning bright in the forests of the night"
    >>> result = deduplicate([poem, "what immortal hand or eye", poem.title() + "!"])
    >>> result
    <Deduplication: 3 documents, 1 group, 1 duplicate>
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
    source = documents if is_source else DocumentsInMemory(documents, comm)
    shingling = Shingling(unit, size, seed)

    stages = _Stages()
    with comm.agree():
        store, empty, invalid = sign_documents(source, family, shingling)
        if len(invalid) and hasattr(source, "report_skipped"):
            source.report_skipped(invalid)
    stages.end("signing")
    copies, first = join_copies(store, comm)
    stages.end("copies")
    candidates, n_left_out = candidate_pairs(store, first, bands, rows, seed, comm)
    stages.end("banding")
    _, left_rows = split_places(candidates.left_places)
    similarity = np.full(len(left_rows), np.nan)
    if verify == "signature":
        similarity = estimate_pairs(left_rows, candidates.right_places, store, family, comm)
    elif verify == "exact":
        similarity = exact_pairs(left_rows, candidates.right_places, source, store, shingling, comm)
    kept = np.isnan(similarity) | (similarity >= threshold)
    pairs = np.stack([candidates.left, candidates.right], axis=1)[kept]
    stages.end("verifying")
    edges = np.concatenate([copies, pairs])
    members, offsets = gather_groups(*connected_components(edges[:, 0], edges[:, 1], comm), comm)
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
        similarity=similarity[kept].astype(np.float32),
        copies=copies,
        bands=bands,
        rows=rows,
        n_left_out=comm.sum(n_left_out),
        seconds=stages.seconds,
        peak_memory=peak_memory(),
    )
