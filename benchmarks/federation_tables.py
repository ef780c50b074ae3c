"""Make the table of the page of FederatedTables from results of federated_tables.py; see figures.py."""

from __future__ import annotations

from collections.abc import Callable

from markdown_parts import short, table
from summary import rows

__all__ = ["TABLES"]


def rounds() -> str:
    return table(
        ("clients", "rounds", "AUC", "gain", "log loss", "MB a round"),
        (
            (
                r["clients"],
                r["rounds"],
                f"{r['AUC']:.4f} ± {r['AUC ±']:.4f}",
                "" if r["clients"] == "smallest for all" else f"{r['gain']:+.4f} ± {r['gain ±']:.4f}",
                f"{r['log loss']:.4f} ± {r['log loss ±']:.4f}",
                short(r["MB a round"], 3),
            )
            for r in rows("federated_tables")
        ),
    )


TABLES: dict[str, Callable[[], str]] = {"federated_tables_rounds": rounds}
