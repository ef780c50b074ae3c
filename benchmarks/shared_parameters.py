"""Compare SharedParameters with whole tables of PyTorch, and products with whole matrices, on one thread.

Tables have 64 columns of float32 and random rows. The shared parameters are 65,536 (256 KB), which fit in
the caches, whatever the number of rows. "gather" is `torch.nn.Embedding`, "sums of 8 rows" is
`torch.nn.EmbeddingBag`, and "add" is `Tensor.index_add_`. Each time is the least processor time of some
rounds, over 8 batches of 32,768 random rows each. The largest table does not fit in memory.

Products are those of n rows with a matrix of 4,096 x 4,096 from a hundredth of its parameters, in tiles of
128 x 128, and NumPy's with the whole matrix.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import mergesketch
import numpy as np
from measure import best_of, parse, show, write
from mergesketch import RobeMap, SharedParameters, TileMap

COLUMNS, BATCH, BATCHES, BAG = 64, 1 << 15, 8, 8
N_PARAMETERS = 1 << 16
SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)
#: The most bytes of a whole table.
MEMORY = 4 << 30
SIDE = 4096

Row = dict[str, Any]


def whole_table(n_rows: int, batches: list[Any], gradients: Any) -> dict[str, Callable[[], None]]:
    """Return the calls of PyTorch, or none if the table does not fit or PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: left out")
        return {}
    if 4 * n_rows * COLUMNS > MEMORY:
        return {}
    torch.set_num_threads(1)
    # Memory that nobody has written to would be read from one page.
    table = torch.full((n_rows, COLUMNS), 0.5)
    embedding = torch.nn.Embedding(n_rows, COLUMNS, _weight=table)
    bags = torch.nn.EmbeddingBag(n_rows, COLUMNS, mode="sum", _weight=table)
    starts, changes = torch.arange(0, BATCH, BAG), torch.from_numpy(gradients)

    def run(call: Callable[[Any], object]) -> Callable[[], None]:
        def calls() -> None:
            with torch.inference_mode():
                for rows in batches:
                    call(torch.from_numpy(rows))

        return calls

    return {
        "gather": run(embedding),
        f"sums of {BAG} rows": run(lambda rows: bags(rows, starts)),
        "add": run(lambda rows: table.index_add_(0, rows, changes)),
    }


def shared(batches: list[Any], gradients: Any) -> dict[str, Callable[[], None]]:
    parameters = SharedParameters(N_PARAMETERS, RobeMap(COLUMNS), seed=1).initialize(0.1)
    offsets = np.arange(0, BATCH + 1, BAG)

    def run(call: Callable[[Any], object]) -> Callable[[], None]:
        def calls() -> None:
            for rows in batches:
                call(rows)

        return calls

    return {
        "gather": run(lambda rows: parameters.gather(rows, COLUMNS)),
        f"sums of {BAG} rows": run(lambda rows: parameters.gather_bags(rows, offsets, COLUMNS)),
        "add": run(lambda rows: parameters.scatter_add(rows, gradients)),
    }


def tables() -> Iterator[Row]:
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((BATCH, COLUMNS)).astype(np.float32)
    for n_rows in SIZES:
        batches = [rng.integers(0, n_rows, BATCH) for _ in range(BATCHES)]
        whole, ours = whole_table(n_rows, batches, gradients), shared(batches, gradients)
        for what, call in ours.items():
            both = {"ours": call, **({"whole": whole[what]} if what in whole else {})}
            times = best_of(both, 15, time.process_time)
            each = {name: 1e9 * seconds / BATCH / BATCHES for name, seconds in times.items()}
            yield {
                "rows": n_rows,
                "what": what,
                "whole table, ns a row": each.get("whole", ""),
                "ours, ns a row": each["ours"],
                "times as fast": each["whole"] / each["ours"] if "whole" in each else "",
            }


def products() -> Iterator[Row]:
    rng = np.random.default_rng(0)
    W = rng.standard_normal((SIDE, SIDE)).astype(np.float32)
    layer = SharedParameters(SIDE * SIDE // 100, TileMap(128, 128), seed=1).initialize(0.1)
    for n in (1, 8, 32, 128, 512):
        X = rng.standard_normal((n, SIDE)).astype(np.float32)
        calls = {"whole": lambda X=X: X @ W, "ours": lambda X=X: layer.matmul(X, W.shape)}
        times = best_of(calls, 7, time.process_time)
        yield {
            "n": n,
            "whole matrix, ms": 1e3 * times["whole"],
            "tiles, ms": 1e3 * times["ours"],
            "times as long": times["ours"] / times["whole"],
        }


def main() -> None:
    arguments = parse(__doc__ or "", "shared_parameters")
    mergesketch.set_num_threads(1)
    rows, more = list(tables()), list(products())
    show("rows of 64 columns", rows)
    show(f"products with a matrix of {SIDE} x {SIDE}", more)
    write(arguments.json, [*rows, *more])


if __name__ == "__main__":
    main()
