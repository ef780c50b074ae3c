"""The Cranfield collection: 1,400 abstracts on aerodynamics, 225 queries, and 1,837 judgements of people.

Its three files, cran.all.1400, cran.qry and cranqrel, are expected in the folder `CACHE`. They are at
https://ir.dcs.gla.ac.uk/resources/test_collections/cran/.
"""

import re
from pathlib import Path

import numpy as np

__all__ = ["NEEDED", "documents", "is_here", "judgements", "ndcg", "queries", "terms_of"]

CACHE = Path.home() / ".cache" / "mergesketch_benchmarks" / "cranfield"
NEEDED = f"The files of the Cranfield collection are not in {CACHE}; cranfield.py tells where to get them"


def is_here():
    return all((CACHE / name).is_file() for name in ("cran.all.1400", "cran.qry", "cranqrel"))


def terms_of(text):
    """Return the terms of a text: words of two or more letters or digits, in lower case."""
    return re.findall(r"[a-z0-9]{2,}", text.lower())


def _texts(name):
    """Return what follows the .W of each record: the abstract with its title, or the query."""
    records = re.split(r"^\.I .*$", (CACHE / name).read_text(encoding="latin-1"), flags=re.MULTILINE)[1:]
    return [record.split("\n.W", 1)[1] for record in records]


def documents():
    return [terms_of(text) for text in _texts("cran.all.1400")]


def queries():
    return [terms_of(text) for text in _texts("cran.qry")]


def judgements():
    """Return, for each query, the gain of each document: 4 for a complete answer, down to 1."""
    gains = [{} for _ in queries()]
    for line in (CACHE / "cranqrel").read_text().splitlines():
        query, document, code = map(int, line.split()[:3])
        if code > 0:  # -1 stands for a document of no interest
            gains[query - 1][document - 1] = 5 - code
    return gains


def ndcg(ranking, gains, k=10):
    """Return the discounted gain of the first k documents as a share of the best that is possible."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    best = np.sort(list(gains.values()))[::-1][:k]
    found = np.array([gains.get(int(document), 0) for document in ranking[:k]])
    return float(found @ discounts[: len(found)] / (best @ discounts[: len(best)]))
