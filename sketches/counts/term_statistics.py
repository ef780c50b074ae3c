"""Statistics of the terms of documents, which merge: document frequencies and the mean length."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import Keys, read_keys
from ...lsh.inputs.answers import like
from ...lsh.inputs.documents import read_documents
from ...lsh.support.aliases import alias
from ...lsh.support.backend import read_only
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.types import KeyLike, KeysLike
from ...lsh.support.wording import counted
from ..core.key_kinds import KeysOfOneKind, kind_specs, refuse_other_kinds
from ..core.state import StateSpec
from ..kernels import counting, term_statistics
from .idf import METHODS, Method, inverse_frequencies
from .key_table import add_to_rows, ask_rows, row_words
from .term_list import Terms

__all__ = ["TermStatistics"]

#: Documents that are worth a thread of their own.
_DOCUMENTS_BLOCK = 1 << 8
#: The most counters whose zeros files leave out: 64 MiB. So a short file cannot ask for more memory.
_MOST_LEFT_OUT = 1 << 23
_MOST_COUNTERS = 1 << 32


class _Batch(NamedTuple):
    """The different terms of each document, one after another, and the numbers of documents and tokens."""

    hashes: NDArray[np.uint64]
    n_documents: int
    n_tokens: int
    forms: tuple[int, ...]


class TermStatistics(KeysOfOneKind):
    """Count the documents that hold each term (document frequency), for IDF and BM25 weights that merge.

    Parameters
    ----------
    n_rows : int, default 4
        Number of rows of the Count-Min table that counts many terms. More rows make a bad estimate less
        likely.
    n_buckets : int, default 65,536
        Number of counters in a row, at most 2**28. The table takes 8 bytes a counter, 2 MB by default.
    seed : int, default 0
        In [0, 2**64). Only sketches of one configuration merge.

    Attributes
    ----------
    n_documents : int
        The number of documents taken in.
    n_tokens : int
        The number of terms of all documents, with repetitions.
    n_postings : int
        The sum of all document frequencies: the number of different terms of each document, added up.
    mean_length : float
        ``n_tokens / n_documents``, or 0 without documents.
    capacity : int
        The largest number of different terms that are counted exactly: ``n_rows * n_buckets // 2``.
    is_exact : bool
        True as long as there are at most `capacity` different terms.

    Notes
    -----
    **Few terms.** As long as there are at most `capacity` different terms, the sketch keeps a list of the
    64-bit hash and the document frequency of each, 16 bytes a term. Document frequencies are then exact.
    The default has room for 131,072 terms. The list takes the memory of the table. A file has the list only,
    without the empty counters behind it.

    **Many terms.** If there are more, all go into a Count-Min table (Cormode and Muthukrishnan 2005). A
    document frequency is then never too low. It is too high by more than ``error(confidence)`` with
    probability at most 1 - `confidence`. The table is linear, so the state depends on the documents only.
    Their order, their batches and the order of merges do not matter: merged statistics are those of one
    pass, bit for bit.

    A term counts once a document, also if the document repeats it. An empty document counts as a document.
    Terms are of any type that `mergesketch.lsh.hash_keys` takes, and of one kind in one sketch: strings, or
    the integers of a tokenizer, or tuples (word pairs, for example). Two terms with the same 64-bit hash
    count as one.

    **Cost.** A batch of n tokens takes O(n) to hash. As long as the sketch has a list of m terms, an update
    sorts them and those of the batch, O((n + m) log(n + m)): add thousands of documents at once, not one.
    With a table, it takes O(n_rows) for each different term of a document.

    References
    ----------
    - Cormode, Muthukrishnan. An improved data stream summary: the count-min sketch and its applications.
      Journal of Algorithms 55(1), 2005.
    - Robertson, Zaragoza. The probabilistic relevance framework: BM25 and beyond. Foundations and Trends in
      Information Retrieval 3(4), 2009.
    - Kamphuis, de Vries, Boytsov, Lin. Which BM25 do you mean? A large-scale reproducibility study of scoring
      variants. ECIR 2020.

    Examples
    --------
    >>> import mergesketch
    >>> monday = mergesketch.TermStatistics().update([["tea", "and", "cake"], ["tea", "tea", "and", "jam"]])
    >>> tuesday = mergesketch.TermStatistics().update([["cake", "and", "milk"]])
    >>> both = monday | tuesday
    >>> both.query(["tea", "and", "milk", "salt"])
    array([2, 3, 1, 0])
    >>> both.n_documents, round(both.mean_length, 2)
    (3, 3.33)
    >>> both.keep(["tea", "and", "salt"], high=0.9)
    array([ True, False, False])
    >>> both.weights(["tea", "milk"]).round(3)
    array([0.47 , 0.981])
    """

    _parameters = ("n_rows", "n_buckets", "seed")

    def __init__(self, n_rows: int = 4, n_buckets: int = 1 << 16, *, seed: int = 0) -> None:
        self.n_rows = check_int("n_rows", n_rows, 1, 1 << 16)
        self.n_buckets = check_int("n_buckets", n_buckets, 1, 1 << 28)
        if self.n_rows * self.n_buckets > _MOST_COUNTERS:
            raise ValueError(
                f"n_rows * n_buckets must be at most {_MOST_COUNTERS}, got {self.n_rows * self.n_buckets}"
            )
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    def _layout(self) -> dict[str, StateSpec]:
        n = self.n_rows * self.n_buckets
        return {
            "counts": StateSpec((n,), "int64", "terms", may_be_cut=n <= _MOST_LEFT_OUT),
            "is_dense": StateSpec((1,), "uint8", "terms", on_device=False),
            "n_postings": StateSpec((1,), "int64", "sum"),
            "n_tokens": StateSpec((1,), "int64", "sum"),
            **kind_specs(),
        }

    # -- numbers of documents ---------------------------------------------------------------------

    @property
    def n_documents(self) -> int:
        return self.n_updates

    @property
    def n_tokens(self) -> int:
        return int(self._arrays["n_tokens"][0])

    @property
    def n_postings(self) -> int:
        return int(self._arrays["n_postings"][0])

    @property
    def mean_length(self) -> float:
        return self.n_tokens / self.n_documents if self.n_documents else 0.0

    @property
    def capacity(self) -> int:
        return self.n_rows * self.n_buckets // 2

    @property
    def is_exact(self) -> bool:
        return not self._arrays["is_dense"][0]

    def error(self, confidence: float = 0.99) -> int:
        """Return by how many documents a document frequency may be too high; 0 as long as all are exact.

        Count-Min adds ``(1 - confidence)**(-1 / n_rows) / n_buckets * n_postings`` documents to any one term
        at most, with probability `confidence`.

        Parameters
        ----------
        confidence : float, default 0.99
            In (0, 1): the probability that the bound holds, for each term separately.

        Returns
        -------
        int

        Raises
        ------
        TypeError, ValueError
            If `confidence` is no real number of its range.
        """
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        if self.is_exact:
            return 0
        share = float((1.0 - confidence) ** (-1.0 / self.n_rows) / self.n_buckets)
        return min(math.floor(share * self.n_postings), self.n_documents)

    # -- updates ----------------------------------------------------------------------------------

    def update(self, documents: Any) -> Self:
        """Count the terms of a batch of documents.

        Parameters
        ----------
        documents : list or column of n lists of terms, or pair ``(terms, offsets)``
            Each document is a list, tuple, set, 1-D array or column of terms. A matrix has a document in
            each row, and a column of lists (pandas, polars, Arrow) in each entry. Document i of a pair is
            ``terms[offsets[i]:offsets[i + 1]]``, where `terms` is an array, a list or a column of all terms,
            and `offsets` are n + 1 integers. A tuple of two is always read as a pair.

        Returns
        -------
        The sketch itself.

        Raises
        ------
        TypeError, ValueError
            If a document is no list of terms (a text must be split first), if terms are of mixed type, null,
            or of another kind than those before, or if offsets fall or do not end at the number of terms.
        OverflowError
            If a 64-bit counter could wrap. Nothing changes if an exception is raised.
        """
        return self._take_in({"documents": documents})

    def _read(self, documents: Any) -> _Batch:
        terms, offsets = read_documents(documents)
        read = self._read_terms(terms, "documents")
        if read.is_single or len(read) != offsets[-1]:
            n = "one term" if read.is_single else len(read)
            raise ValueError(f"documents offsets must end at the number of terms, {n}, got {offsets[-1]}")
        hashes = read_only(read.hashes(self.seed))
        distinct = np.empty(hashes.size, np.uint64)
        kernel = self._backend.kernels(term_statistics).keep_distinct

        def find(start: int, stop: int) -> NDArray[np.uint64]:
            first = int(offsets[start])
            return distinct[first : first + kernel(hashes, offsets, start, stop, distinct)]

        pieces = self._backend.map_blocks(find, offsets.size - 1, _DOCUMENTS_BLOCK)
        joined = pieces[0] if len(pieces) == 1 else np.concatenate([distinct[:0], *pieces])
        return _Batch(joined, offsets.size - 1, hashes.size, self._forms(read))

    def _read_terms(self, terms: Any, name: str) -> Keys:
        read = read_keys(terms, name, self.device)
        refuse_other_kinds(type(self).__name__, self._kinds, read, name)
        return read

    def _amounts(self, batch: _Batch) -> dict[str, int]:
        return {
            "n_postings": batch.hashes.size,
            "n_tokens": batch.n_tokens,
            "n_updates": batch.n_documents,
        }

    def _add(self, batch: _Batch) -> None:
        self._state.caches.clear()
        counts = self._arrays["counts"]
        if self.is_exact:
            came = np.unique(batch.hashes, return_counts=True)
            self._fill(self._listed(counts).joined(Terms(*came)))
        else:
            self._add_to(counts, batch.hashes, np.empty(0, np.int64))
        self._arrays["n_postings"] += batch.hashes.size
        self._arrays["n_tokens"] += batch.n_tokens
        self._note_forms(batch.forms)

    def _reduce_custom(
        self, reduction: str, ours: dict[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]
    ) -> None:
        self._state.caches.clear()
        counts, others = ours["counts"], theirs["counts"]
        if theirs["is_dense"][0]:
            if self.is_exact:
                self._become_dense(self._listed(counts))
            counts += others
        elif self.is_exact:
            self._fill(self._listed(counts).joined(self._listed(others)))
        else:
            self._add_to(counts, *self._listed(others).contiguous())

    # -- the list of few terms, and the table of many ----------------------------------------------

    def _listed(self, counts: NDArray[np.int64]) -> Terms:
        """Return the hashes and document frequencies of a list, as views, by rising hashes."""
        return Terms.read(counts[: 2 * self.capacity])

    def _fill(self, terms: Terms) -> None:
        """Replace the list by one of more terms, or by a table if these are too many."""
        if terms.hashes.size > self.capacity:
            self._become_dense(terms)
        else:
            terms.write(self._arrays["counts"])

    def _become_dense(self, terms: Terms) -> None:
        """Replace the list by a table of these terms."""
        # The list lies where the table will be. Nothing changes if there is no memory for the table.
        counts = np.zeros(self.n_rows * self.n_buckets, np.int64)
        self._add_to(counts, *terms.contiguous())
        self._arrays["counts"][:] = counts
        self._arrays["is_dense"][:] = 1

    def _add_to(
        self, counts: NDArray[np.int64], hashes: NDArray[np.uint64], weights: NDArray[np.int64]
    ) -> None:
        """Add terms to a table, each once if there are no weights."""
        kernel = self._backend.kernels(counting).count_min_add
        add_to_rows(self._backend, kernel, hashes, weights, self._words, self._table(counts))

    def _table(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        return counts.reshape(self.n_rows, self.n_buckets)

    @lazy
    def _words(self) -> NDArray[np.uint64]:
        return row_words(self.seed, self.n_rows)

    # -- answers ----------------------------------------------------------------------------------

    @overload
    def query(self, terms: KeyLike) -> int: ...  # type: ignore[overload-overlap]
    @overload
    def query(self, terms: KeysLike) -> NDArray[np.int64]: ...
    def query(self, terms: KeysLike) -> Any:
        """Return the number of documents that hold each term (document frequency), which is never too low.

        Parameters
        ----------
        terms : array or list of n terms, or one term
            Of any type that `mergesketch.lsh.hash_keys` takes. A tuple is read as n terms, so pass one term
            that is a tuple in a list: ``[("new", "york")]``.

        Returns
        -------
        ndarray of shape (n,), int64
            Exact as long as `is_exact`; see `error`. An int if `terms` is one term.

        Raises
        ------
        TypeError, ValueError
            If the terms are of no known or mixed type, of another kind than those that were counted, or null.
        """
        return self._answer(terms, lambda frequencies: frequencies)

    document_frequency = alias(query)

    @overload
    def weights(self, terms: KeyLike, method: Method = ...) -> float: ...  # type: ignore[overload-overlap]
    @overload
    def weights(self, terms: KeysLike, method: Method = ...) -> NDArray[np.float64]: ...
    def weights(self, terms: KeysLike, method: Method = "lucene") -> Any:
        """Return the inverse document frequency (IDF) of each term, as a variant of BM25 defines it.

        With N documents, of which n hold the term, it is

        - "lucene": ``log(1 + (N - n + 0.5) / (n + 0.5))``
        - "robertson": ``log((N - n + 0.5) / (n + 0.5))``, and 0 where that is negative
        - "atire": ``log(N / n)``
        - "bm25l": ``log((N + 1) / (n + 0.5))``
        - "bm25+": ``log((N + 1) / n)``

        and 0 for a term that no document holds, in all variants: it adds nothing to any score.

        Parameters
        ----------
        terms : array or list of n terms, or one term
            Of any type that `mergesketch.lsh.hash_keys` takes. A tuple is read as n terms, so pass one term
            that is a tuple in a list: ``[("new", "york")]``.
        method : {"lucene", "robertson", "atire", "bm25l", "bm25+"}, default "lucene"
            The names are those of the library bm25s.

        Returns
        -------
        ndarray of shape (n,), float64
            A float if `terms` is one term.

        Raises
        ------
        TypeError, ValueError
            As `query` does, or if `method` is no such name.
        """
        method = check_choice("method", method, METHODS)
        return self._answer(
            terms, lambda frequencies: inverse_frequencies(frequencies, self.n_documents, method)
        )

    @overload
    def keep(self, terms: KeyLike, low: float = ..., high: float = ...) -> bool: ...  # type: ignore[overload-overlap]
    @overload
    def keep(self, terms: KeysLike, low: float = ..., high: float = ...) -> NDArray[np.bool_]: ...
    def keep(self, terms: KeysLike, low: float = 0.0, high: float = 1.0) -> Any:
        """Tell which terms to keep: those of some documents, and neither of too few nor of too many.

        A query that was expanded by further terms loses those that no document holds, and those that tell
        documents badly apart because most of them hold the term.

        Parameters
        ----------
        terms : array or list of n terms, or one term
            Of any type that `mergesketch.lsh.hash_keys` takes. A tuple is read as n terms, so pass one term
            that is a tuple in a list: ``[("new", "york")]``.
        low, high : float, default 0 and 1
            The smallest and the largest share of the documents that may hold a term, from 0 to 1. These are
            no numbers of documents: ``low=1`` keeps only terms that all documents hold. To drop terms of a
            single document, pass ``low=2 / n_documents``.

        Returns
        -------
        ndarray of shape (n,), bool
            True for terms that at least one document holds, and a share of them from `low` to `high`. A bool
            if `terms` is one term.

        Raises
        ------
        TypeError, ValueError
            As `query` does, or if `low` or `high` lies outside its range, or `low` is above `high`.
        """
        low = check_real("low", low, 0.0, 1.0, closed=True)
        high = check_real("high", high, 0.0, 1.0, closed=True)
        if low > high:
            raise ValueError(f"low must be at most high, {high!r}, got {low!r}")
        n = max(self.n_documents, 1)
        return self._answer(terms, lambda f: (f > 0) & (low <= f / n) & (f / n <= high))

    def _answer(self, terms: Any, answer: Callable[[NDArray[np.int64]], NDArray[Any]]) -> Any:
        """Return what `answer` makes of the document frequencies of terms: an array, or one for one term."""
        self._claim_device("terms", terms)
        read = self._read_terms(terms, "terms")
        return like(terms, read.answer(answer(self._frequencies(read.hashes(self.seed)))))

    def _frequencies(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return document frequencies, or upper bounds of them, from the hashes of terms."""
        if self.is_exact:
            listed = self._state.cached("terms", lambda: self._listed(self._arrays["counts"]).contiguous())
            return listed.look_up(hashes)
        found = np.zeros(hashes.size, np.int64)
        kernel = self._backend.kernels(counting).count_min_query
        ask_rows(self._backend, kernel, self._table(self._arrays["counts"]), hashes, self._words, found)
        return np.minimum(found, self.n_documents)

    # -- files and text ---------------------------------------------------------------------------

    def _arrays_to_store(self) -> dict[str, NDArray[Any]]:
        arrays = super()._arrays_to_store()
        if self.is_exact and self._state.specs["counts"].may_be_cut:
            arrays["counts"] = arrays["counts"][: 2 * self._listed(arrays["counts"]).hashes.size]
        return arrays

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._check_state(arrays)
        counts, flag = arrays["counts"], int(arrays["is_dense"][0])
        n_documents, n_postings, n_tokens = (
            int(arrays[name][0]) for name in ("n_updates", "n_postings", "n_tokens")
        )
        if flag > 1:
            raise ValueError(f"is_dense must be 0 or 1, got {flag}")
        if n_tokens and not n_documents:
            raise ValueError(f"n_tokens must be 0 without documents, got {n_tokens}")
        if not 0 <= n_postings <= n_tokens:
            raise ValueError(f"n_postings must be from 0 to n_tokens, {n_tokens}, got {n_postings}")
        if not flag:
            self._check_list(counts, n_documents)
        elif counts.min() < 0:
            raise ValueError(f"counts must be at least 0, got {counts.min()}")
        rows = self._table(counts) if flag else self._listed(counts).frequencies[None]
        if any(_exact_sum(row) != n_postings for row in rows):
            raise ValueError(f"counts of a row must have the sum n_postings, {n_postings}")

    def _check_list(self, counts: NDArray[np.int64], n_documents: int) -> None:
        terms = self._listed(counts)
        if counts[2 * terms.hashes.size :].any():
            raise ValueError("counts must have zeros behind the terms, as long as they are not dense")
        terms.check(n_documents)

    def _fullness(self) -> list[str]:
        shown = self._shown("counts")
        if shown is None:
            return []
        if self.is_exact:
            return [f"a list of {counted(self._listed(shown).hashes.size, 'term')}"]
        return [f"{np.count_nonzero(shown):,} of {shown.size:,} counters used"]


def _exact_sum(counts: NDArray[np.int64]) -> int:
    """Return the sum of counters, which may exceed 2**63 in a file."""
    return (int((counts >> 32).sum()) << 32) + int((counts & 0xFFFFFFFF).sum())


publish("mergesketch", __all__, globals())
