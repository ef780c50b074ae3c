"""Run ``mergesketch index build`` and ``index query``: find neighbours among the rows of a file."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ...errors import readable
from ...lsh import HashFamily, MinHash, PStable, SignedRandomProjection
from ...lsh.support.progress import progress_bar
from ...lsh.support.wording import counted
from ...sketches import LSHIndex, load
from ...sketches.neighbours.index import Nearest
from ..ranks.comm import Communicator
from ..ranks.memory import peak_memory
from ..ranks.tree import merge_to_root
from .files import inspect_file, save
from .messages import si_bytes
from .output import check_output, shown_output, write_lines
from .row_files import RowShare, open_rows, read_whole
from .streams import STANDARD_OUTPUT, messages_beside

__all__ = ["build", "query"]

#: The least and the largest number of buckets of a table, unless the user gives it.
MIN_BUCKETS, MAX_BUCKETS = 1 << 10, 1 << 16


def build(options: Namespace, comm: Communicator) -> int:
    """Index the rows of a file: each rank indexes its share, and the indexes are merged into one."""
    started = time.perf_counter()
    check_output(options.output, [options.path], comm)
    rows = open_rows(options.path, comm)
    opened = time.perf_counter()
    with comm.agree():
        start = options.first_id or 0
        wide = start + rows.n_total > 2**32 - 1
        if start + rows.n_total > 2**63 - 1:
            here = counted(rows.n_total, "row")
            raise ValueError(f"--first-id {start} is too large for the {here} of {options.path}")
        index = LSHIndex(_family(options, rows), capacity=options.capacity, wide_ids=wide, seed=options.seed)
        with progress_bar("indexing", rows.n_rows, comm.rank == 0, "rows") as advance:
            for first, block in rows.blocks():
                with _naming_rows(options.path, first, block):
                    index.update(block, first_id=start + first)
                advance(block.shape[0])
    indexed = time.perf_counter()
    merged = merge_to_root(index, comm)
    with comm.agree():
        if merged is not None:
            assert isinstance(merged, LSHIndex)
            if options.first_id is None:
                merged.count_ids_as_default()
            save(merged, options.output)
    ended = time.perf_counter()
    peaks = comm.gather(peak_memory())
    if comm.rank == 0:
        assert isinstance(merged, LSHIndex)
        assert peaks is not None
        with messages_beside(options.output):
            print(f"rows             {rows.n_total:,} of {counted(rows.n_features, 'feature')}")
            print(f"family           {merged.family!r}")
            print(f"index            {si_bytes(merged.nbytes)} in {readable(shown_output(options.output))}")
            if merged.overflow:
                print(f"overflow         {merged.overflow:.1%} of entries not kept; try more --capacity")
            print(
                f"seconds          {ended - started:.2f} (opening {opened - started:.2f}, "
                f"indexing {indexed - opened:.2f}, merging and writing {ended - indexed:.2f})"
            )
            print(f"peak memory      {', '.join(si_bytes(peak) for peak in peaks)}")
    return 0


@contextmanager
def _naming_rows(path: str, first: int, block: Any) -> Iterator[None]:
    """Name the file and the rows of a block in errors, because the library counts from the block's first."""
    try:
        yield
    except ValueError as error:
        last = first + block.shape[0] - 1
        raise ValueError(f"{path}, among rows {first} to {last}: {error}") from error


def _family(options: Namespace, rows: RowShare) -> HashFamily:
    """Return the family that the user wants, or the one that suits the rows."""
    name = options.family or ("minhash" if rows.is_sparse else "srp")
    power = options.power or (4 if name == "minhash" else 8)
    if name == "minhash" and not rows.is_sparse:
        raise ValueError(f"--family minhash is for sparse rows, and those of {options.path} are dense")
    if options.width is not None and name != "pstable":
        raise ValueError(f"--width is for --family pstable, got --family {name}")
    try:
        return _make_family(options, rows, name, power)
    except ValueError as error:
        asked = f"--family {name} --tables {options.tables} --power {power}"
        raise ValueError(f"{asked} is not possible: {error}") from error


def _make_family(options: Namespace, rows: RowShare, name: str, power: int) -> HashFamily:
    settings: dict[str, Any] = {"n_hashes": options.tables, "power": power, "seed": options.seed}
    if options.buckets is not None:
        settings["n_buckets"] = options.buckets
    elif name != "srp" or power > MAX_BUCKETS.bit_length() - 1:
        # About one bucket a row keeps chance collisions rare; the limit keeps memory small.
        settings["n_buckets"] = min(MAX_BUCKETS, max(MIN_BUCKETS, 1 << (rows.n_total - 1).bit_length()))
    if name == "minhash":
        return MinHash(**settings)
    settings["n_features"] = rows.n_features
    if name == "pstable":
        return PStable(**settings, width=1.0 if options.width is None else options.width)
    projection = "sparse" if rows.is_sparse else "gaussian"
    return SignedRandomProjection(**settings, projection=projection)


def query(options: Namespace, comm: Communicator) -> int:
    """Find neighbours: each rank answers its share of the queries, and rank 0 writes the answers."""
    inputs = [options.index, options.path, *([] if options.rows is None else [options.rows])]
    check_output(options.output, inputs, comm, compressed=True)
    with comm.agree():
        # Mapping the file checks only its beginning, so the whole file is checked once here.
        if comm.rank == 0 and not inspect_file(options.index)["intact"]:
            raise ValueError(f"{options.index}: its checksum does not match: the file is damaged")
    with comm.agree():
        index = load(options.index, mmap=True)
        if not isinstance(index, LSHIndex):
            raise ValueError(f"{options.index} holds a {type(index).__name__}, not an index")
    n_features = getattr(index.family, "n_features", None)
    rows = open_rows(options.path, comm, at_least=n_features or 0)
    with comm.agree():
        if isinstance(index.family, MinHash) and not rows.is_sparse:
            raise ValueError(f"{options.index} is of sparse rows, and those of {options.path} are dense")
        # Families without a number of features, such as those of sets, take rows of any width.
        if n_features is not None and rows.n_features != n_features:
            raise ValueError(
                f"the rows of {options.path} have {counted(rows.n_features, 'feature')}, "
                f"the index {n_features:,}"
            )
    ranked = None if options.rows is None else comm.local(_rows_to_rank, options.rows, index, n_features)
    with comm.agree():
        numbers = np.arange(rows.first, rows.first + rows.n_rows)
        ids = np.empty((rows.n_rows, options.k), dtype=np.int64)
        scores = np.empty(ids.shape, dtype=np.int64 if ranked is None else np.float64)
        for first, block in rows.blocks():
            part = slice(first - rows.first, first - rows.first + block.shape[0])
            with _naming_rows(options.path, first, block):
                if ranked is None:
                    ids[part], scores[part] = index.query(block, options.k, n_probes=options.probes)
                else:
                    ids[part], scores[part] = _search(index, block, ranked, options)
    numbers, ids, scores = comm.exchange((numbers, ids, scores), np.zeros(rows.n_rows, dtype=np.int64))
    with comm.agree():
        if comm.rank == 0:
            answers = _answers(numbers, ids, scores, "counts" if ranked is None else "distances")
            write_lines(STANDARD_OUTPUT if options.output is None else options.output, answers)
    return 0


def _rows_to_rank(path: str, index: LSHIndex, n_features: int | None) -> Any:
    """Return the rows that candidates are compared with: row i of the file has the number i in the index."""
    matrix = read_whole(path, n_features or 0)
    if n_features is not None and matrix.shape[1] != n_features:
        here = counted(matrix.shape[1], "feature")
        raise ValueError(f"the rows of {path} have {here}, the index {n_features:,}")
    if isinstance(index.family, MinHash) and not scipy.sparse.issparse(matrix):
        raise ValueError(f"the index is of sparse rows, and those of {path} are dense")
    return matrix


def _search(index: LSHIndex, block: Any, rows: Any, options: Namespace) -> Nearest:
    try:
        return index.search(block, rows, options.k, n_probes=options.probes)
    except TypeError as error:
        raise ValueError(f"--rows {options.rows}: {error}") from error


def _answers(
    numbers: NDArray[np.int64], ids: NDArray[np.int64], scores: NDArray[Any], name: str
) -> Iterator[dict[str, Any]]:
    """Yield the lines of the output, in the order of queries; a line may have fewer than k neighbours."""
    for i in np.argsort(numbers, kind="stable").tolist():
        found = ids[i] >= 0
        yield {"query": int(numbers[i]), "rows": ids[i][found].tolist(), name: scores[i][found].tolist()}
