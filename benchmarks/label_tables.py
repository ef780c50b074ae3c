"""Make tables of the page of LabelHash from results of label_hash.py; see figures.py."""

from __future__ import annotations

from collections.abc import Callable

from markdown_parts import short, table
from summary import rows

__all__ = ["TABLES"]

_KS = ("precision@1", "precision@3", "precision@5")


def debian() -> str:
    return table(
        ("model", "R x B", "MB", "share", *_KS, "s to learn"),
        (
            (
                r["method"],
                r["R x B"],
                short(r["MB"], 3),
                short(r["share of one-vs-rest"], 2),
                *(f"{r[k]:.3f}" for k in _KS),
                short(r["s to learn"], 2),
            )
            for r in rows("label_hash")
            if "method" in r
        ),
    )


def rounds() -> str:
    return table(
        ("model", "rounds", "MB a client sends", *_KS),
        (
            (
                r["federated"],
                r["rounds"],
                short(r["MB a client sends a round"], 3),
                *(f"{r[k]:.3f}" for k in _KS),
            )
            for r in rows("label_hash")
            if "federated" in r
        ),
    )


def lookups() -> str:
    names = [f"us a row, {way}, {readout}" for way in ("all labels", "lists") for readout in ("mean", "min")]
    return table(
        ("labels", "R x B", *(name.replace("us a row, ", "") for name in names)),
        (
            (r["labels"], r["R x B"], *(f"{short(r[name], 2)} µs" for name in names))
            for r in rows("label_hash")
            if "lookups" in r
        ),
    )


TABLES: dict[str, Callable[[], str]] = {
    "label_hash_debian": debian,
    "label_hash_rounds": rounds,
    "label_hash_lookups": lookups,
}
