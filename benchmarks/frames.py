"""Measure adding rows of data frames to a sketch, beside plain arrays.

All containers hold the same 500,000 rows of 20 numbers, which are added to a `Race` of 32 hashes. The
ratio is to the time with a plain array.
"""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from measure import best_of, parse, show, write
from mergesketch import Race
from mergesketch.lsh import SignedRandomProjection
from mergesketch.lsh.inputs.arrays import check_array

N, D = 500_000, 20


def containers(X: np.ndarray) -> dict[str, Any]:
    """Return the same numbers in tables of several libraries."""
    names = [f"x{j}" for j in range(D)]
    columns = {name: X[:, j].copy() for j, name in enumerate(names)}
    frame = pd.DataFrame(columns)
    return {
        "NumPy array": X,
        "pandas, made of a matrix": pd.DataFrame(X, columns=names),
        "pandas, made of columns": frame,
        "pandas, float32 and float64": frame.astype(dict.fromkeys(names[::2], np.float32)),
        "pandas, Float64": frame.astype("Float64"),
        "polars": pl.DataFrame(columns),
        "Arrow table": pa.table(columns),
        "Arrow column of vectors": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), D),
    }


def main() -> None:
    options = parse(__doc__, "frames")
    tables = containers(np.random.default_rng(0).standard_normal((N, D)))
    empty = Race(SignedRandomProjection(D, 32, power=6, seed=1))
    best = best_of({name: lambda X=X: empty.copy().update(X) for name, X in tables.items()}, 7)
    rows = [
        {
            "rows in": name,
            "copied": "no" if np.shares_memory(check_array("X", X), check_array("X", X)) else "yes",
            "update ms": 1e3 * best[name],
            "ratio": best[name] / best["NumPy array"],
        }
        for name, X in tables.items()
    ]
    show(f"{N:,} rows of {D} numbers", rows)
    write(options.json, rows)


if __name__ == "__main__":
    main()
