"""Find groups of near-duplicate documents, over any number of ranks."""

from __future__ import annotations

from collections.abc import Hashable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.hashing.text import UNITS
from ...lsh.inputs.tables import Table
from ...lsh.kernels.text import CHECKED
from ...lsh.support.checks import check_choice, check_int, check_real
from ...sketches.sets.document_signatures import DocumentSignatures
from ..documents.in_memory import DocumentsInMemory
from ..ranks.comm import Communicator, communicator
from ..ranks.memory import peak_memory
from .against import find_with_old
from .banding import band_parameters
from .candidates import CandidatePairs
from .comparing import Comparer, Unverified
from .exact import ExactComparer
from .finding import Search, Stages, find_groups
from .grouping import Kept
from .old_documents import named_rows, open_state, spread_documents
from .places import Rows, split_places
from .result import Deduplication
from .scores import check_some_scored, scores_by
from .signatures import SignatureComparer, SignatureStore
from .signing import Shingling, SignedDocuments, sign_documents
from .tables import DocumentsInTable, add_tables, open_documents

__all__ = ["deduplicate", "memory_per_rank"]

#: The cost of a missed pair against a needless candidate. Candidates that are checked cost little: at a
#: threshold of 0.7 and 128 hashes, the first weight makes 98 % of the pairs just at the threshold candidates.
_VERIFIED_WEIGHT = 0.98
_UNVERIFIED_WEIGHT = 0.5


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
    With m = n_documents / n_ranks: signatures, ids, keys, scores and originals take m (4 n_hashes + 48)
    bytes.
    Exchanging the keys of one band takes 120 m at its peak (a key, an id and a place, each sent, received and
    sorted). Two batches and their shingles take 6 batch_bytes. Further memory grows with the number of pairs
    found and not with the text read: 40 bytes a candidate pair, and 28 bytes a duplicate on rank 0; with
    ``verify="exact"`` also 8 bytes a shingle of each document in some candidate pair, up to 50 MB for the
    shingles that are fetched at once, and twice the shingles of the largest bucket or, for stars, component.

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
    return blocks * 4 * n_hashes + share * (48 + 120) + 6 * batch_bytes


def deduplicate(
    documents: Any,
    *,
    threshold: float = 0.7,
    measure: str = "jaccard",
    n_hashes: int = 128,
    unit: str = "word",
    size: int = 5,
    seed: int = 0,
    normalize: str = "nfc",
    verify: str | None = None,
    grouping: str = "connected",
    pairs: str = "groups",
    max_comparisons: int = 1 << 26,
    keep: str | ArrayLike = "first",
    against: DocumentSignatures | str | PathLike[str] | None = None,
    name: str | None = None,
    text: Hashable = None,
    id: Hashable = None,
    score: Hashable = None,
    comm: Any = None,
) -> Deduplication:
    """Find groups of near-duplicate documents (fuzzy deduplication by MinHash LSH).

    Two documents are near-duplicates if the Jaccard similarity of their sets of shingles, or with `measure`
    another one, is at least `threshold`. One document of each group is kept; `Deduplication.keep` marks it.

    Parameters
    ----------
    documents : list of str or bytes, column of strings (pandas, polars, Arrow), table, or DocumentSource
        This rank's share of the documents. The ids of documents in a list, column or table are their running
        numbers over all ranks. A table is a DataFrame of pandas or polars, a Table or RecordBatch of Arrow,
        a Dataset of the package datasets, a dict of columns, or what exports an Arrow stream; see `text`.
        A source is any object whose ``batches()`` gives batches of ids, UTF-8 bytes
        and offsets. It is streamed, and with ``verify="exact"`` read a second time. A document that
        has changed in between is in no pair, except with its copies at the first reading, and
        `DocumentSource.finish` names its file.
    threshold : float
        The least similarity of near-duplicates, above 0 and at most 1.
    measure : {"jaccard", "containment"}
        The similarity of two documents: that of Jaccard, or the share of the smaller set of shingles that
        the larger set has. With "containment", a document is removed if one with more shingles contains it.
        Groups are stars then, the document with the most shingles is kept (the first of equal ones), and
        `verify`, `keep` and `against` must have their defaults.
    n_hashes : int
        MinHash values of a document. More of them make missed pairs and false candidates rarer.
    unit, size : {"word", "character", "symbol"}, int
        The kind and the length of a shingle; see `mergesketch.lsh.shingle`. ``"symbol"`` is for source code.
    seed : int
        The seed of all hash functions, in [0, 2**64).
    normalize : {"nfc", "nfkc", "none"}
        The Unicode normal form of the texts that are compared; see `mergesketch.lsh.shingle`.
    verify : {"exact", "signature", "none"}, optional
        The check of a candidate pair: the exact similarity of its shingles; the share of equal MinHash
        values (with a standard error of at most 0.5 / sqrt(n_hashes), and without a second reading); or no
        check. "exact" by default, and "signature" with `against`, where "exact" is not possible.
    grouping : {"connected", "star"}
        The kind of group: all documents that are connected by near-duplicate pairs; or a star, in which
        every document is a near-duplicate of the kept one. Chains of pairs can connect documents that have
        little in common, and only stars exclude that.
    pairs : {"groups", "all"}
        The pairs to find: as many as the groups need, or all of them.
    max_comparisons : int
        With ``pairs="all"``, the most comparisons in one bucket of over 64 documents. A warning and
        `Deduplication.n_uncompared` say how many were left out. Memory for the pairs that are found is 60
        bytes each.
    keep : {"first", "last", "longest", "best"} or array_like of n numbers
        The document to keep of each group: the one with the smallest id, the largest id, the most bytes, or
        the best score. Scores are given for this rank's documents, or with "best" by the batches of a source
        (`DocumentSource` with `score_field`) or the column `score` of a table. Of equal documents, the first
        is kept. NaN is the worst score.
    against : DocumentSignatures or path, optional
        The documents of earlier runs: `Deduplication.state` of such a run, or its file; an empty
        `DocumentSignatures` for the first run. The result is that of one run over all documents. Their order,
        for "first" and "last", is then that of names: paths by their bytes, then records. Over ranks, the
        documents of all ranks' objects are taken together; every rank can read the file. Tables are refused.
    name : str, optional
        The name of documents in memory, with `against`. Their records are their running numbers from 1.
        Documents of files have the names of their files.
    text : str or other name of a column, optional
        For a table, and required there: the column of the texts. A null is an empty document: it is kept, and
        `Deduplication.empty` lists it. `Deduplication.cleaned` is the table without the duplicates, and
        `Deduplication.removed` a table of the duplicates.
    id : str or other name of a column, optional
        For a table: the column of your own ids of the rows, of any type, for `Deduplication.removed`. By
        default, rows are named by their running numbers over all ranks.
    score : str or other name of a column, optional
        For a table with ``keep="best"``, and required there: the column of the scores, which are numbers. A
        null is the worst score.
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
    IncompatibleSketchError
        If `against` has other settings, naming the first that differs, or if a document of it was read again
        and has another text.
    DistributedError
        On every rank, if ranks got different settings or one of them failed.

    Notes
    -----
    The rank that reads a document shingles and MinHashes it. Documents with the same shingles, which a 64-bit
    key of the shingles shows, are joined first and continue as one document. (With probability ``n**2 /
    2**65`` among n documents, two different documents have one key.) Then the ranks exchange, band after
    band, a 64-bit key of each document's values in the band. Equal keys make a candidate pair. Pairs of
    similarity s become candidates with probability ``1 - (1 - s**rows)**bands`` (Broder 1997; Leskovec,
    Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4), with (bands, rows) from
    `band_parameters`.

    A candidate is checked by the rank of the document with the smaller id. A bucket of over 64 documents is
    taken to one rank, and its documents are compared there, without those that are joined already: 10 to 30
    ns a pair. So the curve holds for the groups whatever the size of a bucket: documents that are all alike
    take linear time, and n unrelated documents of one template ``n**2 / 2`` comparisons.

    With ``measure="containment"``, every value is a band: a document of which a share c lies in another one
    with r times as many shingles becomes a candidate with probability ``1 - (1 - c / (1 + r -
    c))**n_hashes``. That is 0.994 for c = 0.8, r = 20 and 128 hashes, and the same for r = 80 and 512 hashes.
    All documents that share a few percent of their shingles become candidates, so this takes far longer than
    Jaccard similarity where many documents have passages in common.

    Stars are chosen greedily in each component: documents are taken in the order of preference, and a
    document that is similar to none of the kept ones is kept too (Aslam, Pelekhov and Rus 2004, "The star
    clustering algorithm"). All members of a component are compared with its kept documents.

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
    >>> result.keep.tolist(), result.duplicate_of.tolist()
    ([True, True, False], [0, 1, 0])

    A table comes back without the duplicates:

    >>> table = {"url": ["a", "b", "c"], "body": [poem, None, poem + "!"], "stars": [2, 5, 4]}
    >>> result = deduplicate(table, text="body", id="url", keep="best", score="stars")
    >>> result.cleaned["url"], result.removed["id"], result.removed["kept"]
    (['b', 'c'], ['a'], ['c'])
    """
    comm = communicator(comm)
    policy = keep if isinstance(keep, str) else "scores"
    has_state = against is not None
    shingling = Shingling(unit, size, seed, normalize)
    settings = (threshold, measure, n_hashes, shingling, verify, grouping, pairs, max_comparisons, policy)
    comm.check_same("the settings of deduplicate", (*settings, has_state, name, text, id, score))
    threshold = check_real("threshold", threshold, 0.0, 1.0, closed=True)
    if threshold == 0.0:
        raise ValueError("threshold must be above 0, got 0.0")
    verify = verify or ("signature" if has_state else "exact")
    check_choice("verify", verify, ("exact", "signature", "none"))
    contained = check_choice("measure", measure, ("jaccard", "containment")) == "containment"
    if contained and (has_state or verify != "exact" or policy != "first"):
        raise ValueError(
            'measure "containment" needs verify "exact" and keep "first", and no against: got '
            f"{verify!r}, {policy!r} and {against!r}"
        )
    if has_state and verify == "exact":
        raise ValueError(
            'verify must be "signature" or "none" with against, got "exact": the texts of old documents are '
            "not read again, and a state with their shingles would take 8 bytes a shingle"
        )
    check_choice("grouping", grouping, ("connected", "star"))
    if grouping == "star" and verify == "none":
        raise ValueError('grouping "star" needs similarities: verify must be "exact" or "signature"')
    check_choice("pairs", pairs, ("groups", "all"))
    check_int("max_comparisons", max_comparisons, 0)
    if policy != "scores":
        check_choice("keep", policy, ("first", "last", "longest", "best"))
    check_choice("unit", unit, tuple(UNITS))
    check_choice("normalize", normalize, tuple(CHECKED))
    check_int("size", size, 1)
    family = MinHash(check_int("n_hashes", n_hashes, 1), seed=seed, expected_set_size=500)
    weight = _UNVERIFIED_WEIGHT if verify == "none" else _VERIFIED_WEIGHT
    # A short document has few values of a long one that contains it, so that each value is a band.
    bands, rows = (
        (n_hashes, 1) if contained else band_parameters(threshold, n_hashes, false_negative_weight=weight)
    )
    table = comm.local(open_documents, documents, text, id, score, keep)
    with comm.agree():
        if table is not None and has_state:
            raise ValueError("against must be left out for a table: pass its column of texts instead")
    source, is_source = _source_of(documents, table, text, score, comm)
    _check_name(name, has_state, hasattr(source, "name_of"))

    search = Search(
        threshold, bands, rows, seed, contained or grouping == "star", policy == "last", pairs == "all",
        max_comparisons, largest=contained,
    )  # fmt: skip
    stages = Stages()
    state = old = None
    if against is not None:
        asked = DocumentSignatures(family, unit=unit, size=size, normalize=normalize)
        state, old = open_state(against, asked, policy in ("best", "scores"), comm)
    with comm.agree():
        score_of = scores_by(keep, source, is_source, state)
        signed = sign_documents(source, family, shingling, score_of, with_sizes=has_state)
        if len(signed.invalid) and hasattr(source, "report_bad_bytes"):
            source.report_bad_bytes(signed.invalid)
    if policy == "best" and table is None and not has_state:
        check_some_scored(signed, getattr(source, "score_field", None), comm)
    stages.end("signing")
    n_documents, compared = comm.sum(len(signed.store) + len(signed.empty)), None
    if state is None or old is None:
        found = find_groups(
            signed.store,
            signed.scores,
            search,
            lambda *found: _comparer(verify, contained, signed, family, found, source, shingling, comm),
            stages,
            comm,
        )
    else:
        ids = signed.store.ids()
        new = named_rows(signed, ids, source, name, comm)
        spread = spread_documents(state, old, new, ids, comm)
        stages.end("spreading")
        preferred = policy if policy != "scores" else "best"
        found, compared = find_with_old(spread, preferred, search, verify, stages, comm)
        state = spread.state
        n_documents += compared.n_old - compared.n_read_again
    groups = found.groups
    n_groups, n_members = comm.bcast((len(groups.offsets) - 1, len(groups.members)))
    result = Deduplication(
        **groups._asdict(),
        **_of_all(signed, found.kept),
        n_documents=n_documents,
        n_groups=n_groups,
        n_duplicates=n_members - n_groups,
        n_empty=comm.sum(len(signed.empty)),
        n_invalid=comm.sum(len(signed.invalid)),
        empty=signed.empty,
        invalid=signed.invalid,
        pairs=found.pairs,
        pair_similarity=found.similarity.astype(np.float32),
        copies=found.copies.pairs,
        bands=bands,
        rows=rows,
        n_uncompared=found.n_uncompared,
        seconds=stages.seconds,
        peak_memory=peak_memory(),
        state=state,
        compared=compared,
    )
    if table is not None:
        add_tables(result, table, id, comm)
    return result


def _source_of(
    documents: Any, table: Table | None, text: Hashable, score: Hashable, comm: Communicator
) -> tuple[Any, bool]:
    """Return the documents as a source, and whether the caller has passed a source; a collective call."""
    is_source = table is None and hasattr(documents, "batches")
    comm.check_same("whether documents are a source", is_source)
    if table is not None:
        return DocumentsInTable(table, text, score, comm), False
    return (documents if is_source else DocumentsInMemory(documents, comm)), is_source


def _check_name(name: str | None, has_state: bool, has_names: bool) -> None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    if name is not None and (has_names or not has_state):
        raise ValueError("name must be left out, unless documents in memory are compared with against")
    if has_state and not has_names and not name:
        raise ValueError(
            "name must be given with against for documents that are not from files, such as a date: with "
            f"their numbers it tells them from those of other runs, got {name!r}"
        )


def _comparer(
    verify: str,
    contained: bool,
    signed: SignedDocuments,
    family: MinHash,
    found: tuple[CandidatePairs, Rows],
    source: Any,
    shingling: Shingling,
    comm: Communicator,
) -> Comparer:
    if verify == "none":
        return Unverified()
    if verify == "signature":
        return SignatureComparer(signed.store, family, comm)
    # The documents that some candidate pair needs, wherever the pair is compared.
    candidates, crowded = found
    _, left = split_places(candidates.left_places)
    ranks, rows = split_places(candidates.right_places)
    (right,) = comm.exchange((rows,), ranks)
    with comm.agree():
        needed = np.unique(np.concatenate([left, right, crowded]))
    return ExactComparer(needed, source, signed.store, shingling, comm, of_smaller=contained)


def _of_all(signed: SignedDocuments, kept: Kept) -> dict[str, NDArray[Any]]:
    """Return the attributes of the result that have an entry for each of this rank's documents."""
    has_shingles = np.concatenate([np.empty(0, dtype=bool), *signed.has_shingles])
    duplicate_of, n = signed.ids.copy(), len(signed.ids)
    similarity, is_copy = np.ones(n, dtype=np.float32), np.zeros(n, dtype=bool)
    duplicate_of[has_shingles] = kept.ids
    similarity[has_shingles] = kept.similarity
    is_copy[has_shingles] = kept.is_copy
    return {
        "ids": signed.ids,
        "keep": duplicate_of == signed.ids,
        "duplicate_of": duplicate_of,
        "similarity": similarity,
        "is_copy": is_copy,
    }
