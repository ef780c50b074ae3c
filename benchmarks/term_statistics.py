"""Measure TermStatistics: BM25 on the Cranfield collection from 4 shards, beside exact counts and bm25s.

The collection is cut into 4 shards, whose statistics are merged. Rankings are compared with those of exact
counts of the whole, and with bm25s on the whole and on each shard. Then queries are expanded by terms of the
first documents (pseudo relevance feedback), with and without those that `keep` drops. Times are CPU times on
one thread. It needs the package bm25s, and the files that cranfield.py names.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from functools import partial
from itertools import pairwise

import bm25s
import cranfield
import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import TermStatistics
from scipy import sparse

K1, B, SHARDS, K, REPEATS = 1.5, 0.75, 4, 10, 5
#: Documents that expansions come from, terms of an expansion, and their weight beside terms of the query.
FIRST, EXPANSION, WEIGHT = 5, 40, 0.2
#: The largest share of the documents that may hold a term of an expansion; terms of one document are dropped.
HIGHS = (1.0, 0.5, 0.2, 0.1, 0.05)
BUCKETS = (16_384, 4096, 1024, 512, 256)


class Collection:
    """Documents as counts of terms, which are scored by any statistics."""

    def __init__(self, documents):
        self.terms = list(dict.fromkeys(term for document in documents for term in document))
        self.number = {term: i for i, term in enumerate(self.terms)}
        ends = np.cumsum([0, *map(len, documents)])
        flat = np.array([self.number[term] for document in documents for term in document])
        counts = sparse.csr_matrix((np.ones(len(flat)), flat, ends), (len(documents), len(self.terms)))
        counts.sum_duplicates()
        self.counts, self.lengths = counts, np.diff(ends)

    def parts(self, mean_length):
        """Return the part of BM25's scores that depends on a document, as a matrix."""
        parts = self.counts.copy()
        rows = np.repeat(np.arange(parts.shape[0]), np.diff(parts.indptr))
        parts.data /= parts.data + K1 * (1.0 - B + B * self.lengths[rows] / mean_length)
        return parts

    def weights_of(self, query, extra=()):
        """Return the weight of each term: how often the query has it, and less for terms that were added."""
        weights = np.zeros(len(self.terms))
        for term in query:
            if term in self.number:
                weights[self.number[term]] += 1.0
        for term in extra:
            weights[self.number[term]] += WEIGHT
        return weights


def exact(documents):
    """Return the document frequencies, the number and the mean length of documents, counted by hand."""
    frequencies = Counter(term for document in documents for term in set(document))
    return frequencies, len(documents), sum(map(len, documents)) / len(documents)


def order(scores):
    return np.argsort(-scores, kind="stable")


def rankings(collection, idf, mean_length, queries, extras=None):
    """Return the ranking of all documents for each query; an expanded query is one weighted call, too."""
    parts = collection.parts(mean_length)
    extras = extras or [()] * len(queries)
    pairs = zip(queries, extras, strict=True)
    return [order(parts @ (idf * collection.weights_of(query, extra))) for query, extra in pairs]


def mean_ndcg(found, gains):
    return float(np.mean([cranfield.ndcg(*pair) for pair in zip(found, gains, strict=True)]))


def row(what, cut, found, expected, gains):
    same = [np.array_equal(a[:K], b[:K]) for a, b in zip(found, expected, strict=True)]
    return {
        "ranking by": what,
        "shards": cut,
        "nDCG@10": mean_ndcg(found, gains),
        "equal first 10": sum(same),
    }


def shard_index(documents, k1=K1, b=B):
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.index(documents, show_progress=False)
    return index


def global_index(documents, shard, whole):
    """Return bm25s's index of a shard with the scores that it would have in an index of the whole.

    A document of length l has the length norm ``k1 (1 - b + b l / mean)``. Other values of k1 and b make the
    mean of the shard give the norms of the mean of the whole.
    """
    ratio = shard.mean_length / whole.mean_length
    stretch = 1.0 - B + B * ratio
    index = shard_index(documents, K1 * stretch, B * ratio / stretch)
    terms = [term for term in index.vocab_dict if term]
    numbers = np.array([index.vocab_dict[term] for term in terms])
    factors = np.ones(len(index.scores["indptr"]) - 1)
    factors[numbers] = whole.weights(terms) / shard.weights(terms)
    index.scores["data"] *= np.repeat(factors, np.diff(index.scores["indptr"])).astype(np.float32)
    return index


def scores_of(index, query):
    known = [term for term in query if term in index.vocab_dict]
    return index.get_scores(known) if known else np.zeros(index.scores["num_docs"], np.float32)


def joined(indexes, rows, n, query):
    """Return the scores of all documents from the indexes of their shards."""
    scores = np.zeros(n, np.float32)
    for index, at in zip(indexes, rows, strict=True):
        scores[at] = scores_of(index, query)
    return scores


def expansions(collection, found):
    """Return the terms that occur most often in the first documents of each ranking."""
    chosen = []
    for ranking in found:
        total = np.asarray(collection.counts[ranking[:FIRST]].sum(0)).ravel()
        chosen.append([collection.terms[i] for i in np.argsort(-total, kind="stable")[:EXPANSION]])
    return chosen


def cuts(documents):
    """Return the places of the documents of each shard, for three ways to cut a collection."""
    n, by_length = len(documents), np.argsort([len(document) for document in documents], kind="stable")
    return {
        "every 4th document": [np.arange(i, n, SHARDS) for i in range(SHARDS)],
        "consecutive documents": np.array_split(np.arange(n), SHARDS),
        "by length": np.array_split(by_length, SHARDS),
    }


def rank_rows(documents, queries, gains):
    collection, n = Collection(documents), len(documents)
    frequencies, n_documents, mean_length = exact(documents)
    df = np.array([frequencies[term] for term in collection.terms])
    expected = rankings(collection, np.log(1.0 + (n_documents - df + 0.5) / (df + 0.5)), mean_length, queries)
    rows = [row("exact counts", "none", expected, expected, gains)]
    index = shard_index(documents)
    theirs = [order(scores_of(index, query)) for query in queries]
    rows.append(row("bm25s, one index", "none", theirs, expected, gains))
    for cut, places in cuts(documents).items():
        shards = [[documents[i] for i in at] for at in places]
        statistics = [TermStatistics().update(shard) for shard in shards]
        whole = TermStatistics().merge(statistics)
        assert whole == TermStatistics().update(documents)
        assert np.array_equal(whole.query(collection.terms), df)
        assert whole.mean_length == mean_length
        found = rankings(collection, whole.weights(collection.terms), whole.mean_length, queries)
        assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
        rows.append(row("merged TermStatistics", cut, found, expected, gains))
        local = [shard_index(shard) for shard in shards]
        found = [order(joined(local, places, n, query)) for query in queries]
        rows.append(row("bm25s, 4 indexes, own statistics", cut, found, expected, gains))
        merged = [global_index(*pair, whole) for pair in zip(shards, statistics, strict=True)]
        found = [order(joined(merged, places, n, query)) for query in queries]
        rows.append(row("bm25s, 4 indexes, merged TermStatistics", cut, found, expected, gains))
    shards = [documents[i::SHARDS] for i in range(SHARDS)]

    approximate = []
    for n_buckets in BUCKETS:
        parts = [TermStatistics(4, n_buckets).update(shard) for shard in shards]
        some = parts[0].merge(parts[1:])
        found = rankings(collection, some.weights(collection.terms), some.mean_length, queries)
        error = some.query(collection.terms) - df
        approximate.append(
            {
                "n_buckets": n_buckets,
                "state": "list" if some.is_exact else "table",
                "bytes": len(some.to_bytes()),
                "mean error": float(error.mean()),
                "error(0.99)": some.error(),
                "nDCG@10": mean_ndcg(found, gains),
                "equal first 10": row("", "", found, expected, gains)["equal first 10"],
            }
        )
    return rows, approximate, collection, whole, expected


def expansion_rows(collection, whole, expected, queries, gains):
    given = expansions(collection, expected)
    idf, mean_length = whole.weights(collection.terms), whole.mean_length
    df = whole.query(collection.terms)
    limits = [("none", 0.0, 1.0), ("all", 0.0, 1.0)]
    limits += [(f"keep, high={high:g}", 2.0 / whole.n_documents, high) for high in HIGHS]
    rows = []
    for what, low, high in limits:
        kept = [
            [t for t, k in zip(e, whole.keep(e, low, high), strict=True) if k] if what != "none" else []
            for e in given
        ]
        found = rankings(collection, idf, mean_length, queries, kept)
        pairs = zip(queries, kept, strict=True)
        read = [df[collection.weights_of(*pair) > 0].sum() for pair in pairs]
        rows.append(
            {
                "terms that are added": what,
                "terms a query": float(np.mean([len(some) for some in kept])),
                "postings a query": float(np.mean(read)),
                "nDCG@10": mean_ndcg(found, gains),
            }
        )
    return rows


def _new(documents):
    """Return equal documents of other str objects."""
    return [[f"{term} "[:-1] for term in document] for document in documents]


def cost_rows(documents):
    n = sum(map(len, documents))
    number = {term: i for i, term in enumerate(dict.fromkeys(t for d in documents for t in d))}
    flat = np.array([number[term] for document in documents for term in document])
    offsets = np.cumsum([0, *map(len, documents)])
    lists = [flat[a:b].tolist() for a, b in pairwise(offsets)]

    def by_hand(documents):
        counts = Counter()
        for document in documents:
            counts.update(set(document))
        return counts

    half, table = TermStatistics().update(documents[::2]), TermStatistics(4, 512).update((flat, offsets))
    other = TermStatistics().update(documents[1::2])
    first, second = by_hand(documents[::2]), by_hand(documents[1::2])
    # Python keeps the hash of a str, so that a second count of the same objects is faster: these are new.
    new = {name: [_new(documents) for _ in range(REPEATS + 1)] for name in ("ours", "Counter")}
    # An update of a table adds to the same counters each time, and takes the same time.
    times = best_of(
        {
            "Counter of sets of new str": lambda: by_hand(new["Counter"].pop()),
            "lists of new str": lambda: TermStatistics().update(new["ours"].pop()),
            "Counter of sets of str": partial(by_hand, documents),
            "lists of str": lambda: TermStatistics().update(documents),
            "Counter of sets of int": partial(by_hand, lists),
            "(ids, offsets)": lambda: TermStatistics().update((flat, offsets)),
            "(ids, offsets), table": partial(table.update, (flat, offsets)),
            "Counter, merge": lambda: first + second,
            "merge": lambda: half | other,
        },
        REPEATS,
        time.process_time,
    )
    peers = {
        "lists of new str": "Counter of sets of new str",
        "lists of str": "Counter of sets of str",
        "(ids, offsets)": "Counter of sets of int",
        "(ids, offsets), table": "Counter of sets of int",
        "merge": "Counter, merge",
    }
    return [
        {
            "what": name,
            "ns a token": 1e9 * times[name] / n,
            "ns a token, Counter": 1e9 * times[peer] / n,
            "times as fast": times[peer] / times[name],
        }
        for name, peer in peers.items()
    ]


def main() -> None:
    arguments = parse(__doc__ or "", "term_statistics")
    if not cranfield.is_here():
        sys.exit(cranfield.NEEDED)
    mergesketch.set_num_threads(1)
    documents, queries, gains = cranfield.documents(), cranfield.queries(), cranfield.judgements()
    rows, approximate, collection, whole, expected = rank_rows(documents, queries, gains)
    show("rankings", rows)
    show("fewer counters", approximate)
    expanded = expansion_rows(collection, whole, expected, queries, gains)
    show("expanded queries", expanded)
    costs = cost_rows(documents)
    show("costs", costs)
    kinds = {"ranking": rows, "counters": approximate, "expansion": expanded, "cost": costs}
    about = {
        "documents": len(documents),
        "tokens": sum(map(len, documents)),
        "terms": len(collection.terms),
        "queries": len(queries),
        "judgements": sum(map(len, gains)),
    }
    all_rows = [{"kind": "collection", **about}]
    all_rows += [{"kind": kind, **r} for kind, found in kinds.items() for r in found]
    write(arguments.json, all_rows)


if __name__ == "__main__":
    main()
