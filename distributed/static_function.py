"""Building one static function over all ranks: each solves the shards of a range of the keys' hashes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sketches.coding.codebook import ARRAYS, Codebook
from ..sketches.coding.value_counts import Counted, ValueCounts, add_counts, count_words, merge_counted
from ..sketches.static.blueprint import Blueprint
from ..sketches.static.builder import StaticFunctionBuilder
from ..sketches.static.column import Column
from ..sketches.static.dictionary import Dictionary, Numbering
from ..sketches.static.function import StaticFunction
from ..sketches.static.gathered import Gathered
from ..sketches.static.records import OrderedRecords
from ..sketches.static.ribbon import Solved, joined
from ..sketches.static.shards import Records, number_of_shards
from .ranks.comm import Communicator, communicator
from .ranks.merge import check_configurations

__all__ = ["build_static_function"]

_HALF = np.uint64(32)
#: An odd number that spreads values over the ranks that count them.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def build_static_function(
    builder: StaticFunctionBuilder, comm: Any = None, *, progress: bool = True
) -> StaticFunction | None:
    """Build one static function from the keys and values that the builders of all ranks collected.

    Parameters
    ----------
    builder : StaticFunctionBuilder
        The builder of this rank, which does not change. All ranks need the same configuration, but may have
        different spill folders.
    comm : mpi4py communicator or Communicator, optional
        By default all ranks, if MPI started this process. Without MPI, or on one rank, the function returns
        ``builder.build()``.
    progress : bool
        True to show a progress bar on rank 0, on a terminal and after a second.

    Returns
    -------
    StaticFunction on rank 0, None on the others
        Has the bytes of the function of one builder with all keys and values, for any number of ranks.

    Raises
    ------
    IncompatibleSketchError
        On every rank, naming the first field that differs.
    DistributedError
        On every rank, if one of them fails. Examples are a key with two values, on one rank or on two, and
        values of different kinds.

    Notes
    -----
    Each of p ranks receives the records of 1/p of all hashes, in rounds of bounded size, 16 bytes a record.
    It stores them where its builder stores its own: in memory or in the spill folder. Each rank counts the
    values of its records, and each count goes to one rank. Rank 0 receives the counts of the most frequent
    values (at most 4 million) and sends the code to all ranks. A shard that lies in the ranges of several
    ranks is solved by the rank where it begins. Rank 0 receives all ribbons: it needs memory for twice the
    result, and for the texts of all ranks if the values are texts.

    Examples
    --------
    Under ``mpiexec -n 4 python build.py`` this maps the keys of all ranks:

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
    every = comm.allgather((type(builder).__qualname__, builder.config(), builder.gathered.kinds))
    check_configurations([(cls, config) for cls, config, _ in every])
    with comm.agree():
        ours = Gathered(builder.seed, builder.spill)
        for _, _, kinds in every:
            ours.kinds = ours.kinds.joined(kinds)
    try:
        numbering = _share_dictionary(builder.gathered, ours, comm)
        _exchange_records(builder.gathered, ours, comm)
        return _build(ours, numbering, builder.key_check_bits, comm, progress and comm.rank == 0)
    finally:
        ours.close()


def _build(
    ours: Gathered, numbering: Numbering | None, key_check_bits: int, comm: Communicator, progress: bool
) -> StaticFunction | None:
    """Build the function from the records of each rank's range of hashes."""
    with ExitStack() as stack:
        with comm.agree():
            folder = stack.enter_context(ours.store.scratch_folder())
            ordered = ours.order(numbering, folder, progress, names_batches=False)
        n_keys = comm.sum(ordered.n_keys)
        n_shards = number_of_shards(n_keys)
        column = _choose_column(ordered, folder, n_shards, comm)
        _complete_shards(ordered, n_shards, comm)
        with comm.agree():
            kinds = ours.kinds
            blueprint = Blueprint(
                ours.seed, n_keys, kinds.keys, key_check_bits, [kinds.result], numbering, [column]
            )
            groups = ordered.groups(_own_shards(comm.rank, comm.size, n_shards), n_shards)
            part = joined(blueprint.solve_groups(groups, ordered.n_keys, progress, "Solving on rank 0"))
        arrays = [_gather(array, comm) for array in part]
        with comm.agree():
            if comm.rank == 0:
                return blueprint.assemble(StaticFunction, [Solved(*a) for a in zip(*arrays, strict=True)])
    return None


# -- who has what ---------------------------------------------------------------------------------


def _owners(hashes: NDArray[np.uint64], size: int) -> NDArray[np.int64]:
    """Return the rank of each hash. The ranks have equal ranges of hashes, in their order."""
    return ((hashes >> _HALF) * np.uint64(size) >> _HALF).astype(np.int64)


def _first_hash(rank: int, size: int) -> int:
    """Return the first hash of a rank's range."""
    return -(-(rank << 32) // size) << 32


def _own_shards(rank: int, size: int, n_shards: int) -> range:
    """Return the shards that begin in a rank's range."""
    width = (1 << 64) // n_shards
    return range(*(-(-_first_hash(r, size) // width) for r in (rank, rank + 1)))


def _exchange_records(given: Gathered, ours: Gathered, comm: Communicator) -> None:
    """Send every record to the rank of its hash."""
    blocks = given.store.blocks()
    while True:
        with comm.agree():
            block = next(blocks, None)
        if not comm.sum(block is not None):
            break
        hashes, words = block or Records.joined([])
        comm.exchange((hashes, words), _owners(hashes, comm.size), ours.store.append)


def _complete_shards(ordered: OrderedRecords, n_shards: int, comm: Communicator) -> None:
    """Send the records of a shard that begins in the range of another rank to that rank."""
    with comm.agree():
        width = (1 << 64) // n_shards
        start, stop = (_first_hash(r, comm.size) for r in (comm.rank, comm.rank + 1))
        first = min(-(-start // width) * width, stop)
        leaving = ordered.between(start, first)
        begins = np.full(leaving.hashes.size, start // width * width, dtype=np.uint64)
    received = comm.exchange(tuple(leaving), _owners(begins, comm.size))
    with comm.agree():
        ordered.add_beyond(Records(*received))


# -- values ---------------------------------------------------------------------------------------


def _share_dictionary(given: Gathered, ours: Gathered, comm: Communicator) -> Numbering | None:
    """Assign numbers to the texts of all ranks, if values are texts; rank 0 also gets the texts."""
    if not ours.kinds.result.is_text:
        return None
    with comm.agree():
        exported = given.dictionary.export()
    columns = [_gather(array, comm) for array in exported]
    numbering = None
    with comm.agree():
        ours.dictionary = given.dictionary
        if comm.rank == 0:
            ours.dictionary = Dictionary()
            for parts in zip(*columns, strict=True):
                ours.dictionary.merge(Dictionary.of(*parts))
            numbering = ours.dictionary.number()
    hashes, numbers = _broadcast([numbering.hashes, numbering.numbers] if numbering else [], comm)
    return numbering or Numbering(hashes, numbers, [])


def _choose_column(ordered: OrderedRecords, folder: Path | None, n_shards: int, comm: Communicator) -> Column:
    """Choose, on rank 0, the code for the values of all ranks."""
    ours = ValueCounts(folder)
    for part in range(max(comm.allgather(ordered.n_parts))):
        with comm.agree():
            values, counts = count_words(ordered.load(part).values)
            owners = _owners(values * _SPREAD, comm.size)
        comm.exchange((values, counts), owners, lambda *some: ours.add(*add_counts([some])))
    with comm.agree():
        counted = ours.total()
    others = comm.gather(counted.others)
    columns = [_gather(array, comm) for array in (counted.values, counted.counts)]
    column = None
    with comm.agree():
        if others is not None:
            every = [Counted(*parts) for parts in zip(*columns, others, strict=True)]
            column = Column.build(merge_counted(every), n_shards)
    config = comm.bcast(column and column.config(0))
    arrays = _broadcast(list(column.codebook.arrays().values()) if column else [], comm)
    with comm.agree():
        return column or Column.from_config(config, [Codebook(dict(zip(ARRAYS, arrays, strict=True)))])


# -- arrays ------------------------------------------------------------------------------------


def _gather(array: NDArray[Any], comm: Communicator) -> list[NDArray[Any]]:
    """Return the 1-D arrays of all ranks on rank 0, and no arrays on the others."""
    sizes = comm.gather(array.size)
    with comm.agree():
        out = [] if sizes is None else [array, *(np.empty(size, dtype=array.dtype) for size in sizes[1:])]
    if comm.rank:
        comm.send(np.ascontiguousarray(array), 0)
    for rank, room in enumerate(out[1:], 1):
        comm.receive(room, rank)
    return out


def _broadcast(arrays: list[NDArray[Any]], comm: Communicator) -> list[NDArray[Any]]:
    """Return the 1-D arrays of rank 0 on every rank; the others pass none."""
    kinds = comm.bcast([(array.dtype.str, array.size) for array in arrays])
    with comm.agree():
        arrays = arrays or [np.empty(size, dtype=dtype) for dtype, size in kinds]
    for array in arrays:
        comm.broadcast(array)
    return arrays
