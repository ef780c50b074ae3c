"""Make the tables of the pages of LearnedHash and SparseCodeIndex from learned_index.json; see figures.py."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from markdown_parts import short, table
from measure import RESULTS

__all__ = ["TABLES", "curves"]

#: Shares of items at which the tables show recalls.
SHARES = (0.003, 0.01, 0.03, 0.1)
BESIDE = (
    ("random SimHash", "4 x 8 bits"),
    ("random SimHash", "16 x 8 bits"),
    ("k-means", "1 x 256 centres"),
    ("k-means", "4 x 256 centres"),
    ("faiss IVF", "256 lists"),
    ("most frequent labels", "the same for all queries"),
)
HASHES = (
    ("LearnedHash", "4 x 8 bits"),
    ("LearnedHash", "16 x 8 bits"),
    ("LearnedHash, loss of codes", "16 x 8 bits"),
)
CODES = (("SparseCodeIndex", "16 x 256 buckets"),)

Curves = dict[tuple[str, str, str], list[dict[str, Any]]]


def curves() -> Curves:
    """Return the measurements of each set, method and settings, by rising share of candidates.

    Those that have more candidates than another one, and no better recall, are left out: a user would ask for
    the other one.
    """
    rows = json.loads((RESULTS / "learned_index.json").read_text())["rows"]
    found: Curves = {}
    for row in sorted(rows, key=lambda row: row["share of items"]):
        own = found.setdefault((row["set"], row["method"], row["settings"]), [])
        if not own or row["recall"] > own[-1]["recall"]:
            own.append(row)
    return found


def recall_at(rows: list[dict[str, Any]], share: float) -> str:
    shares, recalls = ([row[name] for row in rows] for name in ("share of items", "recall"))
    return f"{np.interp(share, shares, recalls):.2f}" if shares[0] <= share <= shares[-1] else ""


def recalls(ours: tuple[tuple[str, str], ...]) -> str:
    known, lines = curves(), []
    for name in dict.fromkeys(key[0] for key in known):
        for method, settings in (*ours, *BESIDE):
            rows = known.get((name, method, settings))
            if rows is None:
                continue
            first = rows[0]
            loads = (
                f"{first['std of loads']:.2f}, {first['largest load']:.1f}" if "std of loads" in first else ""
            )
            at = [recall_at(rows, share) for share in SHARES]
            lines.append([name, method, settings, *at, loads, short(first["seconds to build"])])
    columns = ["set", "index", "size", *(f"recall at {100 * share:g} %" for share in SHARES)]
    return table([*columns, "loads", "seconds to build"], lines)


TABLES = {
    "learned_hash_recall": lambda: recalls(HASHES),
    "sparse_code_index_recall": lambda: recalls((*CODES, HASHES[1])),
}
