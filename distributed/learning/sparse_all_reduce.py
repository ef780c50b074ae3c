"""Add up the sparse vectors of all ranks, with ids partitioned by hash (Zen)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DistributedError
from ...lsh.inputs.arrays import check_array, float_dtype, how_to_convert, refuse_flags
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.wording import counted
from ..kernels import sparse_all_reduce as kernels
from ..ranks.buffers import as_bytes, row_bytes
from ..ranks.comm import Communicator, communicator
from .swapping import swap

__all__ = ["sparse_all_reduce"]

#: Bytes of ids and values that all ranks together send to owners in a round at most.
ROUND_BYTES = 64 << 20
#: The largest sum of integers.
_LARGEST = 2**63 - 1


class _Entries(NamedTuple):
    """Rising ids, and the values of each."""

    ids: NDArray[np.int64]
    values: NDArray[Any]


def sparse_all_reduce(
    ids: ArrayLike, values: ArrayLike, comm: Any = None
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Add up the sparse vectors of all ranks, and return the sum on every rank.

    A sparse vector, such as the gradient of an embedding table, is a list of ids and the value of each; all
    other values are 0. Ids are partitioned over the ranks by hash, so every rank adds up nearly the same
    number of them, also if some regions of ids are much denser than others.

    Parameters
    ----------
    ids : array_like of shape (n,), integers from 0 to 2**63 - 1
        The ids of this rank, in any order. The values of ids that repeat are added up. A rank may have none.
    values : array_like of shape (n,) or (n, d), numbers
        The value of each id, or its row of d values. float32, float64 and int64 are kept; other real numbers
        become one of them. All ranks with ids need one dtype and one d; those of a rank without ids do not
        count. Columns of other libraries must have no nulls.
    comm : mpi4py communicator or Communicator, optional
        By default all ranks, if MPI started this process, and this process alone otherwise.

    Returns
    -------
    ids : ndarray of shape (m,), int64
        The ids of all ranks, rising, each once.
    sums : ndarray of shape (m,) or (m, d)
        The sum of the values of each id, in the dtype of the values.

    Raises
    ------
    DistributedError
        On every rank, if the arguments of one of them are refused, if ranks have values of different dtypes
        or widths, if a sum of integers leaves int64, or if one has too little memory. With one rank the
        exception itself is raised.
    OverflowError
        With one rank, if a sum of integers leaves int64. Sums count as they grow: those of a rank's values in
        their order, and then those over the ranks in the order of ranks.
    TypeError
        If `comm` is none of these.

    Notes
    -----
    Nothing is approximated. A rank first adds up its own values of an id, in their order. The owner of the
    id adds the sums of the ranks in the order of ranks, in the dtype of the values. So the result does not
    depend on the order of arrival, and all ranks have the same bits. NaN and infinity are added like other
    numbers.

    Of each p consecutive ids, every one of p ranks owns one. A hash of the group tells which. An id travels
    as the gap to the id before it, in one byte for gaps below 128, or as a bit for each id that its owner may
    have, whichever takes fewer bytes. If rank r has n_r different ids and all ranks together have m, a rank
    sends about ``n_r (p - 1) / p`` values to the owners, and as an owner ``m (p - 1) / p`` values. A dense
    all-reduce of N values sends ``2 N (p - 1) / p``.

    The exchange goes in rounds. In each, all ranks together send at most 64 MiB to owners (or one row from
    each rank, if rows are longer), and an owner sends the sums of what it got to each other rank. So a rank
    needs memory for a sorted copy of its values, for the result twice, and for some arrays of 64 MiB. Time is
    O(n log n + m log p).

    References
    ----------
    Wang, Xu, Xi, Wang, Shrivastava and Ng: ZEN: Empowering distributed training with sparsity-driven data
    synchronization (OSDI 2025).

    Examples
    --------
    Under ``mpiexec -n 4 python train.py`` this adds up the gradients of all ranks:

    >>> from mergesketch.distributed import sparse_all_reduce
    >>> ids, sums = sparse_all_reduce([7, 2, 7], [1.0, 5.0, 0.5])
    >>> ids, sums
    (array([2, 7]), array([5. , 1.5]))
    """
    comm = communicator(comm)
    with comm.agree():
        own = _read(ids, values)
    if comm.size > 1:
        own = _check_ranks(own, comm)
        parts = _reduce_in_rounds(own, comm)
        if len(parts) > 1:  # on all ranks
            with comm.agree():
                own = _Entries(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        elif parts:
            own = parts[0]
    return own.ids, own.values


# -- what a rank passes -------------------------------------------------------------------------------


def _read(ids: Any, values: Any) -> _Entries:
    """Return the rank's ids, rising, and the sum of the values of each, as arrays of our own."""
    refuse_gpu("sparse_all_reduce", ids, values)
    places, numbers = check_array("ids", ids), check_array("values", values)
    refuse_flags("ids", ids)
    if places.ndim != 1 or (places.size and places.dtype.kind not in "iu"):
        raise TypeError(f"ids must be integers in one dimension, got {places.dtype} of shape {places.shape}")
    if places.size and (int(places.min()) < 0 or int(places.max()) > _LARGEST):
        raise ValueError(f"ids must lie from 0 to 2**63 - 1, got {places.min()} to {places.max()}")
    if places.size and numbers.dtype.kind not in "fiu":
        raise TypeError(f"values must hold real numbers, got dtype {how_to_convert('values', numbers.dtype)}")
    if numbers.ndim not in (1, 2) or len(numbers) != len(places):
        raise ValueError(
            f"values must have {counted(len(places), 'number')} or rows, one for each id, got shape "
            f"{numbers.shape}"
        )
    if not places.size and numbers.dtype.kind not in "fiu":  # as pandas and Arrow make empty columns
        numbers = np.zeros(numbers.shape)
    if places.size and not numbers.size:
        raise ValueError("values must have at least one column, got 0")
    dtype = float_dtype(numbers.dtype) if numbers.dtype.kind == "f" else np.dtype(np.int64)
    if dtype == np.int64 and numbers.size and int(numbers.max()) > _LARGEST:
        raise ValueError(f"values must lie from -2**63 to 2**63 - 1, got {numbers.max()}")
    rising = places.astype(np.int64)
    with np.errstate(over="ignore"):  # A long double beyond float64 becomes infinity.
        return _add_repeats(rising, np.array(numbers, dtype, order="C"))


def _add_repeats(ids: NDArray[np.int64], values: NDArray[Any]) -> _Entries:
    """Return the distinct ids, rising, and the sum of the values of each, added in their order."""
    if (ids[1:] > ids[:-1]).all():
        return _Entries(ids, values)
    # A stable sort of a few sorted runs only merges them.
    order = np.argsort(ids, kind="stable")
    rising = ids[order]
    is_first = np.concatenate([[True], rising[1:] != rising[:-1]])
    distinct = rising[is_first]
    if distinct.size == ids.size:
        return _Entries(distinct, values[order])
    places = np.empty(ids.size, np.int64)
    places[order] = np.cumsum(is_first) - 1
    firsts = order[is_first]
    sums = values[firsts]  # They do not start from 0, because 0.0 + -0.0 is 0.0.
    is_added = np.zeros(ids.size, np.bool_)
    is_added[firsts] = True
    arrays = read_only(_as_rows(values)), read_only(places), read_only(is_added), _as_rows(sums)
    if values.dtype != np.int64:
        kernels.add_rows(*arrays)
    elif (at := int(kernels.add_integer_rows(*arrays))) >= 0:
        raise OverflowError(
            f"sums of values must lie from -2**63 to 2**63 - 1, but that of id {ids[at]} leaves this range"
        )
    return _Entries(distinct, sums)


def _as_rows(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1) if values.ndim == 2 else values[:, None]


def _check_ranks(own: _Entries, comm: Communicator) -> _Entries:
    """Refuse values that do not add up; return those of a rank without ids in the others' dtype."""
    ids, values = own
    every = comm.allgather((len(ids), values.dtype.name, values.shape[1:]))
    first, (_, dtype, columns) = next(((r, e) for r, e in enumerate(every) if e[0]), (0, every[0]))
    for rank, (n, *kind) in enumerate(every):
        if n and kind != [dtype, columns]:
            raise DistributedError(
                f"ranks must agree on the dtype and the columns of values: rank {first} has "
                f"{_describe(dtype, columns)}, rank {rank} has {_describe(*kind)}"
            )
    return own if len(ids) else own._replace(values=np.zeros((0, *columns), dtype))


def _describe(dtype: Any, columns: Any) -> str:
    return f"{dtype} in rows of {columns[0]}" if columns else f"{dtype} without columns"


# -- the rounds ---------------------------------------------------------------------------------------


class _Groups(NamedTuple):
    """The groups of ids of a round, which all ranks know; see the kernels."""

    n_owners: int
    first: int
    n_bitmap: int


def _reduce_in_rounds(own: _Entries, comm: Communicator) -> list[_Entries]:
    """Return the sums of all ranks' values, for one range of ids after the other."""
    share = max(1, ROUND_BYTES // comm.size // (8 + row_bytes(own.values)))
    parts: list[_Entries] = []
    at, n = 0, len(own.ids)
    while True:
        # Every rank says where its share of the round would end, and the nearest end is taken.
        here = own.ids[[at, min(at + share, n) - 1, n - 1]].tolist() if at < n else None
        every = [each for each in comm.allgather(here) if each is not None]
        if not every:  # No rank has ids.
            return parts
        first, largest = min(a for a, _, _ in every), max(c for _, _, c in every)
        last = min((b for _, b, c in every if b < c), default=largest)
        group = first // comm.size
        groups = _Groups(comm.size, group, (last // comm.size - group) // 8 + 1)
        stop = int(np.searchsorted(own.ids, last, "right"))
        parts.append(_reduce(_Entries(own.ids[at:stop], own.values[at:stop]), groups, comm))
        if last == largest:
            return parts
        at = stop


def _reduce(own: _Entries, groups: _Groups, comm: Communicator) -> _Entries:
    """Return the sums of the values of all ranks: owners add them up, and every rank gets theirs."""
    size, columns, dtype = comm.size, own.values.shape[1:], own.values.dtype
    incoming = np.empty(size, np.int64)
    with comm.agree():
        owners = np.empty(len(own.ids), np.uint16)
        kernels.find_owners(read_only(own.ids.view(np.uint64)), size, 0, len(own.ids), owners)
        order = np.argsort(owners, kind="stable")  # of 16 bits: a radix sort
        starts = _starts(np.bincount(owners, minlength=size))
        blocks, ends = _pack(_Entries(own.ids[order], own.values[order]), starts, groups)
    comm.mpi.Alltoall(np.diff(ends), incoming)
    with comm.agree():
        new_ends = _starts(incoming)
        new_blocks = np.empty(new_ends[-1], np.uint8)
    swap(comm, np.split(blocks, ends[1:-1]), np.split(new_blocks, new_ends[1:-1]))
    with comm.agree():
        owned = _unpack(new_blocks, [comm.rank] * size, groups, columns, dtype)
        block, _ = _pack(owned, np.array([0, len(owned.ids)]), groups)
    every = comm.allgather_rows(block)
    with comm.agree():
        return _unpack(every, range(size), groups, columns, dtype)


# -- blocks -------------------------------------------------------------------------------------------
# A block has the ids of one owner and their values: the number of ids and of the bytes of their code, as
# int64, the values, and the code. Its parts are filled up to multiples of 8 bytes.

_HEAD = 16


def _starts(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Return where parts of the given sizes start, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _filled_up(n_bytes: Any) -> Any:
    return -(-n_bytes // 8) * 8


def _pack(
    entries: _Entries, starts: NDArray[np.int64], groups: _Groups
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return a block for each run of ids between `starts`, and where each begins and the last one ends."""
    ids, runs = read_only(entries.ids.view(np.uint64)), read_only(starts)
    sizes = np.empty(starts.size - 1, np.int64)
    kernels.measure_codes(ids, runs, *groups, sizes)
    counts, n_bytes = np.diff(starts), row_bytes(entries.values)
    code_starts = _HEAD + _filled_up(counts * n_bytes)
    ends = _starts(code_starts + _filled_up(sizes))
    blocks = np.zeros(ends[-1], np.uint8)
    values = as_bytes(np.ascontiguousarray(entries.values))
    for r, begin in enumerate(ends[:-1].tolist()):
        blocks[begin : begin + _HEAD].view(np.int64)[:] = counts[r], sizes[r]
        part = values[starts[r] * n_bytes : starts[r + 1] * n_bytes]
        blocks[begin + _HEAD :][: part.size] = part
    code_starts += ends[:-1]
    kernels.write_codes(ids, runs, *groups, read_only(code_starts), read_only(sizes), blocks)
    return blocks, ends


def _unpack(
    blocks: NDArray[np.uint8],
    owners: Sequence[int],
    groups: _Groups,
    columns: tuple[int, ...],
    dtype: np.dtype[Any],
) -> _Entries:
    """Return the ids, rising, of one block after the other, and the sums of their values in this order."""
    counts, sizes, begins = (np.empty(len(owners), np.int64) for _ in range(3))
    n_bytes, begin = dtype.itemsize * math.prod(columns), 0
    values = []
    for r in range(len(owners)):
        counts[r], sizes[r] = blocks[begin : begin + _HEAD].view(np.int64)
        values.append(blocks[begin + _HEAD :][: counts[r] * n_bytes].view(dtype))
        begins[r] = begin + _HEAD + _filled_up(counts[r] * n_bytes)
        begin = int(begins[r] + _filled_up(sizes[r]))
    starts = _starts(counts)
    ids = np.empty(starts[-1], np.uint64)
    arrays = (np.asarray(owners, np.int64), begins, sizes, starts)
    kernels.read_codes(read_only(blocks), *map(read_only, arrays), *groups, ids)
    return _add_repeats(ids.view(np.int64), np.concatenate(values).reshape(-1, *columns))
