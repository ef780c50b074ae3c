"""Add up the sparse vectors of all ranks, with ids partitioned by hash (Zen)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DistributedError
from ...lsh.inputs.arrays import check_array, float_dtype, how_to_convert, refuse_flags
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.wording import counted
from ..kernels import sparse_all_reduce as kernels
from ..ranks.buffers import row_bytes
from ..ranks.comm import Communicator, communicator
from .swapping import swap

__all__ = ["sparse_all_reduce"]

#: Bytes of ids and values that all ranks together send in a round at most.
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
        become one of them. All ranks with ids need one dtype and one d.
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
        or widths, or if one has too little memory. With one rank the exception itself is raised.
    OverflowError
        On every rank, if a sum of integers might lie beyond int64.
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

    A rank needs memory for a sorted copy of its values, unless they are sorted and distinct, for the result
    twice, and for some arrays of 64 MiB: the exchange goes in rounds of at most 64 MiB. Time is
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
    if comm.size == 1:
        return own
    own = _check_ranks(own, comm)
    parts: list[_Entries] = []
    _reduce_in_rounds(own, comm, parts)
    with comm.agree():
        if not parts:
            return own
        joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    return joined[0], joined[1]


# -- what a rank passes -------------------------------------------------------------------------------


def _read(ids: Any, values: Any) -> _Entries:
    """Return the rank's ids, rising, and the sum of the values of each, as arrays of our own."""
    refuse_gpu("sparse_all_reduce", ids, values)
    places, numbers = check_array("ids", ids), check_array("values", values)
    refuse_flags("ids", ids)
    if places.ndim != 1 or (places.size and places.dtype.kind not in "iu"):
        raise TypeError(
            f"ids must be integers in one dimension, got {how_to_convert('ids', places.dtype)} of shape "
            f"{places.shape}"
        )
    if places.size and (int(places.min()) < 0 or int(places.max()) > _LARGEST):
        raise ValueError(f"ids must lie from 0 to 2**63 - 1, got {places.min()} to {places.max()}")
    if numbers.dtype.kind not in "fiu":
        raise TypeError(f"values must hold real numbers, got dtype {how_to_convert('values', numbers.dtype)}")
    if numbers.ndim not in (1, 2) or len(numbers) != len(places):
        raise ValueError(
            f"values must have {counted(len(places), 'number')} or rows, one for each id, got shape "
            f"{numbers.shape}"
        )
    if numbers.ndim == 2 and numbers.shape[1] == 0:
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
    ids = ids[order]
    is_first = np.concatenate([[True], ids[1:] != ids[:-1]])
    distinct = ids[is_first]
    if distinct.size == ids.size:
        return _Entries(ids, values[order])
    if values.dtype == np.int64:
        firsts = np.flatnonzero(is_first)
        _check_sum(_largest(values) * int(np.diff(firsts, append=ids.size).max()))
    places = np.empty(ids.size, np.int64)
    places[order] = np.cumsum(is_first) - 1
    sums = np.zeros((distinct.size, *values.shape[1:]), values.dtype)
    kernels.add_rows(read_only(_as_rows(values)), read_only(places), _as_rows(sums))
    return _Entries(distinct, sums)


def _as_rows(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1) if values.ndim == 2 else values[:, None]


def _largest(values: NDArray[Any]) -> int:
    """Return the largest magnitude of some integers."""
    return max(-int(values.min()), int(values.max())) if values.size else 0


def _check_sum(bound: int) -> None:
    if bound > _LARGEST:
        raise OverflowError(f"sums of values must lie from -2**63 to 2**63 - 1, but might reach {bound}")


def _check_ranks(own: _Entries, comm: Communicator) -> _Entries:
    """Refuse values that do not add up; return those of a rank without ids in the others' dtype."""
    ids, values = own
    bound = _largest(values) if values.dtype == np.int64 else 0
    every = comm.allgather((len(ids), values.dtype.name, values.shape[1:], bound))
    first, (_, dtype, columns, _) = next(((r, e) for r, e in enumerate(every) if e[0]), (0, every[0]))
    for rank, (n, *kind, _) in enumerate(every):
        if n and kind != [dtype, columns]:
            raise DistributedError(
                f"ranks must agree on the dtype and the columns of values: rank {first} has "
                f"{_describe(dtype, columns)}, rank {rank} has {_describe(*kind)}"
            )
    _check_sum(sum(bound for *_, bound in every))
    with comm.agree():
        return own if len(ids) else own._replace(values=np.zeros((0, *columns), dtype))


def _describe(dtype: Any, columns: Any) -> str:
    return f"{dtype} in rows of {columns[0]}" if columns else f"{dtype} without columns"


# -- the rounds ---------------------------------------------------------------------------------------


class _Groups(NamedTuple):
    """The groups of ids of a round, which all ranks know."""

    first: int
    n_bitmap: int


def _reduce_in_rounds(own: _Entries, comm: Communicator, parts: list[_Entries]) -> None:
    """Append the sums of all ranks' values, for one range of ids after the other."""
    share = max(1, ROUND_BYTES // comm.size // (8 + row_bytes(own.values)))
    at, n = 0, len(own.ids)
    while True:
        # Every rank says where its share of the round would end, and the nearest end is taken.
        here = own.ids[[at, min(at + share, n) - 1, n - 1]].tolist() if at < n else None
        every = [each for each in comm.allgather(here) if each is not None]
        if not every:
            return
        first, largest = min(a for a, _, _ in every), max(c for _, _, c in every)
        last = min((b for _, b, c in every if b < c), default=largest)
        with comm.agree():
            stop = int(np.searchsorted(own.ids, last, "right"))
            sent = _Entries(own.ids[at:stop], own.values[at:stop])
        group = first // comm.size
        groups = _Groups(group, (last // comm.size - group) // 8 + 1)
        parts.append(_gather(_send_to_owners(sent, groups, comm), groups, comm))
        at = stop


def _send_to_owners(own: _Entries, groups: _Groups, comm: Communicator) -> _Entries:
    """Return the ids that this rank owns, and the sums of the values of all ranks."""
    size = comm.size
    with comm.agree():
        owners = np.empty(len(own.ids), np.uint16)
        kernels.find_owners(read_only(own.ids.view(np.uint64)), size, 0, len(own.ids), owners)
        order = np.argsort(owners, kind="stable")  # of 16 bits: a radix sort
        starts = _starts(np.bincount(owners, minlength=size))
        codes, ends = _encode(own.ids[order], starts, groups, size)
        values = own.values[order]
        outgoing = list(np.stack([np.diff(starts), np.diff(ends)], axis=1))
        incoming = list(np.empty((size, 2), np.int64))
    swap(comm, outgoing, incoming)
    with comm.agree():
        new_starts, new_ends = (_starts(column) for column in np.array(incoming).T)
        new_codes = np.empty(new_ends[-1], np.uint8)
        new_values = np.empty((new_starts[-1], *values.shape[1:]), values.dtype)
    swap(comm, np.split(codes, ends[1:-1]), np.split(new_codes, new_ends[1:-1]))
    swap(comm, np.split(values, starts[1:-1]), np.split(new_values, new_starts[1:-1]))
    with comm.agree():
        own_ids = np.full(size, comm.rank)
        ids = _decode(new_codes, new_ends, own_ids, groups, size, new_starts)
        return _add_repeats(ids, new_values)


def _gather(own: _Entries, groups: _Groups, comm: Communicator) -> _Entries:
    """Return the ids and sums of all owners on every rank."""
    size = comm.size
    with comm.agree():
        code, _ = _encode(own.ids, np.array([0, len(own.ids)]), groups, size)
    sizes = np.array(comm.allgather((len(own.ids), len(code))))
    codes, values = comm.allgather_rows(code), comm.allgather_rows(own.values)
    with comm.agree():
        starts, ends = (_starts(column) for column in sizes.T)
        ids = _decode(codes, ends, np.arange(size), groups, size, starts)
        return _add_repeats(ids, values)


def _starts(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Return where parts of the given sizes start, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _encode(
    ids: NDArray[np.int64], starts: NDArray[np.int64], groups: _Groups, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the codes of the runs of ids between `starts`, and where each code begins and the last ends."""
    words, runs = read_only(ids.view(np.uint64)), read_only(starts)
    sizes = np.empty(starts.size - 1, np.int64)
    kernels.measure_codes(words, runs, size, *groups, sizes)
    ends = _starts(sizes)
    codes = np.empty(ends[-1], np.uint8)
    kernels.write_codes(words, runs, size, *groups, read_only(ends), codes)
    return codes, ends


def _decode(
    codes: NDArray[np.uint8],
    ends: NDArray[np.int64],
    owners: NDArray[np.int64],
    groups: _Groups,
    size: int,
    starts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the ids whose codes are between `ends`, one run after the other."""
    ids = np.empty(starts[-1], np.uint64)
    kernels.read_codes(
        read_only(codes), read_only(ends), read_only(owners), size, *groups, read_only(starts), ids
    )
    return ids.view(np.int64)
