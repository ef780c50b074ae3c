"""Building one static function over all ranks: each solves the shards of a range of the keys' hashes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lsh.support.progress import progress_bar
from ..sketches.coding.codebook import Codebook
from ..sketches.coding.value_counts import Counted, ValueCounts, add_counts, merge_counted
from ..sketches.static.builder import StaticFunctionBuilder, Translate, count_part, solve_parts, translation
from ..sketches.static.column import Column
from ..sketches.static.function import StaticFunction
from ..sketches.static.records import OrderedRecords
from ..sketches.static.shards import Records, number_of_shards
from ..sketches.static.structure import Flat, flatten
from ..sketches.static.values import Dictionary
from .ranks.comm import Communicator, communicator
from .ranks.merge import check_configurations

__all__ = ["build_static_function"]

_HALF = np.uint64(32)
#: An odd number that spreads values over the ranks that count them.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def build_static_function(
    builder: StaticFunctionBuilder, comm: Any = None, *, progress: bool = True
) -> StaticFunction | None:
    """The static function of what the builders of all ranks have gathered.

    Parameters
    ----------
    builder : StaticFunctionBuilder
        This rank's; of one configuration on every rank, save for where it spills. It stays as it is.
    comm : mpi4py communicator or Communicator, optional
        All ranks if MPI started this process. Without MPI, or on one rank, this is ``builder.build()``.
    progress : bool
        Whether rank 0 may show a bar: on a terminal, after a second.

    Returns
    -------
    StaticFunction on rank 0, None on the others
        Byte for byte that of one builder with all keys and values, whatever the number of ranks.

    Raises
    ------
    IncompatibleSketchError
        On every rank, naming the first field that differs.
    DistributedError
        On every rank, if one of them fails: with two values for a key, say, whichever ranks they came from;
        or values of different kinds on two ranks.

    Notes
    -----
    A rank of p gets the records of 1/p of all hashes, in rounds of bounded size, 16 bytes a record, and
    keeps them where its builder keeps its own: in memory or in its spill folder. Values are counted by
    ranges of hashes too, and each count goes to one rank; rank 0 gets the (at most 4 million) most frequent
    and sends all the code. A shard that lies on two ranges is solved by the rank where it begins. Rank 0
    receives all that is solved: it needs memory for twice the result, and for the entries of all ranks where
    values are text.

    Examples
    --------
    Under ``mpiexec -n 4 python build.py`` this maps every rank's keys:

    >>> import mergesketch
    >>> from mergesketch.distributed import build_static_function, communicator
    >>> comm = communicator()
    >>> builder = mergesketch.StaticFunctionBuilder().update([f"key of {comm.rank}"], [comm.rank])
    >>> function = build_static_function(builder, comm)
    >>> None if function is None else function.lookup(["key of 0"]).tolist()
    [0]
    """
    comm = communicator(comm)
    with comm.agree():
        if not isinstance(builder, StaticFunctionBuilder):
            raise TypeError(f"builder must be a StaticFunctionBuilder, got {type(builder).__name__}")
    if comm.size == 1:
        return builder.build(progress)
    every = comm.allgather((type(builder).__qualname__, builder.config(), builder.kinds))
    check_configurations([(cls, config) for cls, config, _ in every])
    with comm.agree():
        joined = StaticFunctionBuilder(**builder.config(), spill=builder.spill)
    with joined:
        with comm.agree():
            joined.agree([kinds for _, _, kinds in every], [])()
        translate, entries = _share_dictionary(builder, joined, comm)
        _exchange_records(builder, joined, comm)
        return _build(joined, translate, entries, comm, progress and comm.rank == 0)


def _build(
    joined: StaticFunctionBuilder,
    translate: Translate | None,
    entries: list[bytes] | None,
    comm: Communicator,
    progress: bool,
) -> StaticFunction | None:
    """From records of this rank's range of hashes."""
    with ExitStack() as stack:
        with comm.agree():
            folder = stack.enter_context(joined.scratch_folder())
            ordered = joined.order_records(translate, folder, progress, came_here=False)
        n_keys = comm.sum(ordered.n_keys)
        n_shards = number_of_shards(n_keys)
        column = _choose_column(ordered, folder, n_shards, comm)
        more = _complete_shards(ordered, n_shards, comm)
        with comm.agree():
            kind = joined.kinds.result
            if entries is not None:
                kind = kind.fitted(entries)
            function = joined.start_function(n_keys, n_shards, kind)
            solve = function.begin_solving([column])
            with progress_bar("Solving on rank 0", ordered.n_keys, progress, " keys") as advance:
                shards = _own_shards(comm.rank, comm.size, n_shards)
                solved = solve_parts(ordered, solve, n_shards, shards, more, advance)
            part = flatten(solved, len(function.ribbons()))
        parts = _gather_ribbons(part, comm)
        with comm.agree():
            if parts is not None:
                function.finish(parts)
                if entries is not None:
                    function.set_entries(entries)
    return function if comm.rank == 0 else None


# -- who has what ---------------------------------------------------------------------------------


def _owners(hashes: NDArray[np.uint64], size: int) -> NDArray[np.int64]:
    """The rank of each hash: equal ranges, in order."""
    return ((hashes >> _HALF) * np.uint64(size) >> _HALF).astype(np.int64)


def _first_hash(rank: int, size: int) -> int:
    """Where a rank's range begins."""
    return -(-(rank << 32) // size) << 32


def _own_shards(rank: int, size: int, n_shards: int) -> range:
    """The shards that begin in a rank's range."""
    width = (1 << 64) // n_shards
    return range(*(-(-_first_hash(r, size) // width) for r in (rank, rank + 1)))


def _exchange_records(
    builder: StaticFunctionBuilder, joined: StaticFunctionBuilder, comm: Communicator
) -> None:
    """Send every record to the rank of its hash."""
    blocks = builder.store.blocks()
    none = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint64)
    while True:
        with comm.agree():
            block = next(blocks, None)
        if not comm.sum(block is not None):
            break
        hashes, words = block or none
        comm.exchange((hashes, words), _owners(hashes, comm.size), joined.store.append)


def _complete_shards(ordered: OrderedRecords, n_shards: int, comm: Communicator) -> Records:
    """Pass on what belongs to a shard that began in a range before; what comes is returned."""
    with comm.agree():
        width = (1 << 64) // n_shards
        start, stop = (_first_hash(r, comm.size) for r in (comm.rank, comm.rank + 1))
        first = min(-(-start // width) * width, stop)
        leaving = ordered.between(start, first)
        begins = np.full(leaving.hashes.size, start // width * width, dtype=np.uint64)
    return Records(*comm.exchange(tuple(leaving), _owners(begins, comm.size)))


# -- values ---------------------------------------------------------------------------------------


def _share_dictionary(
    builder: StaticFunctionBuilder, joined: StaticFunctionBuilder, comm: Communicator
) -> tuple[Translate | None, list[bytes] | None]:
    """What makes words of hashes of text, on every rank; and on rank 0 the entries of all."""
    kind = joined.kinds.result
    if not kind.is_text:
        return None, None
    with comm.agree():
        ours = builder.dictionary
        exported = ours.export()
    columns = [_gather(array, comm) for array in exported]
    with comm.agree():
        merged = Dictionary()
        if comm.rank == 0:
            for hashes, lengths, data in zip(*columns, strict=True):
                merged.merge(Dictionary.of(hashes, lengths, data))
        by_hash, ranks, entries = merged.ranks()
        joined.dictionary = merged if comm.rank == 0 else ours
    n = comm.bcast(by_hash.size)
    with comm.agree():
        if comm.rank:
            by_hash, ranks = np.empty(n, dtype=np.uint64), np.empty(n, dtype=np.uint64)
    comm.broadcast(by_hash)
    comm.broadcast(ranks)
    return translation(by_hash, ranks), entries if comm.rank == 0 else None


def _choose_column(ordered: OrderedRecords, folder: Path | None, n_shards: int, comm: Communicator) -> Column:
    """The code of the values of all ranks, made by rank 0."""
    ours = ValueCounts(folder)
    for part in range(max(comm.allgather(ordered.n_parts))):
        with comm.agree():
            values, counts = count_part(ordered, part)
            owners = _owners(values * _SPREAD, comm.size)
        comm.exchange((values, counts), owners, lambda *some: ours.add(*add_counts([some])))
    with comm.agree():
        counted = ours.total()
    others = comm.gather(counted.others)
    columns = [_gather(array, comm) for array in (counted.values, counted.counts)]
    column, told, sizes = None, None, None
    with comm.agree():
        if others is not None:
            every = [Counted(*parts) for parts in zip(*columns, others, strict=True)]
            column = Column.build(merge_counted(every), n_shards)
            arrays = column.codebook.arrays()
            told, sizes = column.config(0), {name: (a.dtype.str, a.size) for name, a in arrays.items()}
    told, sizes = comm.bcast((told, sizes))
    with comm.agree():
        if column is None:
            arrays = {name: np.empty(size, dtype=dtype) for name, (dtype, size) in sizes.items()}
    for array in arrays.values():
        comm.broadcast(array)
    with comm.agree():
        return column or Column.from_config(told, [Codebook.from_arrays(arrays)])


# -- to rank 0 ------------------------------------------------------------------------------------


def _gather(array: NDArray[Any], comm: Communicator) -> list[NDArray[Any]]:
    """Every rank's 1-D array on rank 0; on the others nothing."""
    sizes = comm.gather(array.size)
    with comm.agree():
        out = [] if sizes is None else [array, *(np.empty(size, dtype=array.dtype) for size in sizes[1:])]
    if comm.rank:
        comm.send(np.ascontiguousarray(array), 0)
    for rank, room in enumerate(out[1:], 1):
        comm.receive(room, rank)
    return out


def _gather_ribbons(part: Flat, comm: Communicator) -> list[Flat] | None:
    """Every rank's ribbons on rank 0, None elsewhere."""
    with comm.agree():
        words = np.concatenate([np.empty(0, dtype=np.uint64), *part.words])
    sizes, thresholds, solutions = (
        _gather(array, comm) for array in (part.sizes.reshape(-1), part.thresholds, words)
    )
    shapes = comm.gather(part.sizes.shape)
    if shapes is None:
        return None
    return [
        Flat(size.reshape(shape), threshold, [solution])
        for size, shape, threshold, solution in zip(sizes, shapes, thresholds, solutions, strict=True)
    ]
