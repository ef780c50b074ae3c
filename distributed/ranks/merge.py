"""Merging the sketches of all ranks: an all-reduce of their arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.support.configured import differing_field
from ...sketches.core.base import MergeableSketch
from ...sketches.core.state import REDUCTIONS, SketchState
from .comm import Communicator, communicator, takes_gpu_memory

__all__ = ["check_configurations", "merge_over_ranks"]

S = TypeVar("S", bound=MergeableSketch)


class _Description(NamedTuple):
    """What ranks tell each other of a sketch before its arrays are sent."""

    cls: str
    config: dict[str, Any]
    dtypes: dict[str, str]
    #: Of each integer sum, a bound of its counters' magnitude.
    bounds: dict[str, int]
    #: What `_check_parts` of the class looks at.
    part: tuple[int, ...]
    #: Whether the arrays are a copy of what lies on a GPU.
    staged: bool


def merge_over_ranks(sketch: S, comm: Any = None, *, cuda_aware: bool | None = None) -> S:
    """Merge the sketches of all ranks, in place: then every rank has the sketch of all data.

    Parameters
    ----------
    sketch : MergeableSketch
        This rank's; of one class and configuration on every rank.
    comm : mpi4py communicator or Communicator, optional
        All ranks if MPI started this process. Without MPI, or on one rank, nothing is to be done and
        mpi4py is not needed.
    cuda_aware : bool, optional
        Whether the MPI library takes memory of GPUs. If not, sketches there travel through main memory: a
        copy each way. By default it is asked, by the ``mpi_memory_alloc_kinds`` of MPI 4.1.

    Returns
    -------
    The sketch itself, equal on every rank.

    Raises
    ------
    IncompatibleSketchError
        On every rank, naming the first field that differs, or the ids that two ranks gave to different rows
        of an `LSHIndex`. Nothing is changed.
    OverflowError
        On every rank, if a 64-bit counter could wrap. Nothing is changed.
    DistributedError
        On every rank, if one of them fails, for want of memory for one: nothing is changed then, save
        when a sketch's own reduction raises.

    Notes
    -----
    The arrays travel as they lie in memory. Sums, maxima, minima and bitwise ors go through MPI's
    all-reduce in pieces that fit a cache: a rank sends ``2 (p - 1) / p * sketch.nbytes`` bytes of p
    ranks. Counters widen on every rank when the sum of the ranks' bounds asks for it.

    A sketch's own reductions go up a binary tree in ceil(log2(p)) rounds and the result is broadcast;
    a rank then needs memory for a second copy of those arrays.

    Sums of floating-point numbers are equal on all ranks, but depend on the number of ranks in their
    last bits.

    Examples
    --------
    Under ``mpiexec -n 4 python count.py`` this counts every rank's keys:

    >>> import mergesketch
    >>> from mergesketch.distributed import communicator, merge_over_ranks
    >>> comm = communicator()
    >>> sketch = mergesketch.CountMinSketch(4, 1000).update([comm.rank] * 5)
    >>> int(merge_over_ranks(sketch, comm).query([0])[0])
    5
    """
    comm = communicator(comm)
    with comm.agree():
        if not isinstance(sketch, MergeableSketch):
            raise TypeError(f"sketch must be a MergeableSketch, got {type(sketch).__name__}")
        staged = (
            sketch.device == "gpu"
            and comm.size > 1
            and not (takes_gpu_memory(comm) if cuda_aware is None else cuda_aware)
        )
        here = sketch.to("cpu") if staged else sketch
        ours = _describe(here, staged)
    if comm.size == 1:
        return sketch
    every = comm.allgather(ours)
    _merge(here, every, comm)
    if any(other.staged for other in every):
        with comm.agree():
            merged = here.to(sketch.device) if staged else sketch
        if merged is not sketch:
            state = sketch.state
            state.arrays.update(merged.state.arrays)
            state.bounds.update(merged.state.bounds)
            state.caches.clear()
    return sketch


def _merge(sketch: MergeableSketch, every: list[_Description], comm: Communicator) -> None:
    check_configurations([(other.cls, other.config) for other in every])
    sketch.check_parts([other.part for other in every])
    state = sketch.state
    bounds = _sum_bounds(state, every, comm)
    dtypes = _common_dtypes(state, every, bounds)
    own = [name for name, spec in state.specs.items() if spec.reduction not in REDUCTIONS]
    with comm.agree():
        # All memory is taken before anything changes.
        wider = {n: a.astype(dtypes[n]) for n, a in state.arrays.items() if a.dtype != dtypes[n]}
        room = {name: state.backend.xp.empty(state.arrays[name].shape, dtypes[name]) for name in own}
    state.arrays.update(wider)
    state.bounds.update(bounds)
    for name, spec in state.specs.items():
        if spec.reduction in REDUCTIONS:
            comm.allreduce(state.arrays[name], spec.reduction)
    if own:
        _reduce_own(sketch, room, comm)
    state.caches.clear()


def _describe(sketch: MergeableSketch, staged: bool) -> _Description:
    cls, state = type(sketch), sketch.state
    return _Description(
        f"{cls.__module__}.{cls.__qualname__}",
        sketch.config(),
        {name: array.dtype.name for name, array in state.arrays.items()},
        {name: state.bound(name) for name in state.counters},
        sketch.part_numbers(),
        staged,
    )


def check_configurations(every: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Raise IncompatibleSketchError unless all ranks' classes and configurations are equal."""
    first_class, first = every[0]
    for rank, (cls, config) in enumerate(every):
        if cls != first_class:
            raise IncompatibleSketchError(f"expected a {first_class} as on rank 0, rank {rank} has a {cls}")
        difference = differing_field(first, config)
        if difference is not None:
            name = cls.rpartition(".")[2]
            raise IncompatibleSketchError(
                f"{name} sketches of ranks 0 (here) and {rank} (there) differ in {difference}"
            )


def _sum_bounds(state: SketchState, every: list[_Description], comm: Communicator) -> dict[str, int]:
    """Bound each integer sum over all ranks; measure it again if it would ask for wider counters."""
    sums = {name: sum(other.bounds[name] for other in every) for name in every[0].bounds}
    tight = [name for name, total in sums.items() if total > _largest(every, name)]
    if tight:
        for name in tight:
            del state.bounds[name]
        measured = comm.allgather([state.bound(name) for name in tight])
        sums.update(
            {name: sum(column) for name, column in zip(tight, zip(*measured, strict=True), strict=True)}
        )
    return sums


def _largest(every: list[_Description], name: str) -> int:
    return max(int(np.iinfo(other.dtypes[name]).max) for other in every)


def _common_dtypes(
    state: SketchState, every: list[_Description], bounds: Mapping[str, int]
) -> dict[str, np.dtype[Any]]:
    """Each array's dtype on all ranks: the widest that one has, and wide enough for the sum."""
    dtypes = {}
    for name, spec in state.specs.items():
        dtype = np.result_type(*(other.dtypes[name] for other in every))
        if name in bounds and bounds[name] > np.iinfo(dtype).max:
            dtype = np.dtype(spec.widens_to or dtype)
            if bounds[name] > np.iinfo(dtype).max:
                raise OverflowError(
                    f"{state.owner}.{name} cannot count beyond {np.iinfo(dtype).max}; "
                    f"over all ranks it might reach {bounds[name]}"
                )
        dtypes[name] = dtype
    return dtypes


# -- a sketch's own reductions --------------------------------------------------------------------


def _reduce_own(sketch: MergeableSketch, room: Mapping[str, NDArray[Any]], comm: Communicator) -> None:
    """Merge the arrays named in `room` up a tree, by reductions of the sketch's own; overwrites `room`."""
    failed: Exception | None = None
    arrays = sketch.state.arrays
    for other, receives in comm.tree_rounds():
        for name in room:
            if receives:
                comm.receive(room[name], other)
            else:
                comm.send(arrays[name], other)
        try:
            if receives and failed is None:
                sketch.reduce_arrays(room)
        except Exception as error:
            # The ranks above still wait for this one, so it goes on to send.
            failed = error
    with comm.agree():
        if failed is not None:
            raise failed
        # What is broadcast must be right as it is: another rank does not know how it came about.
        arrays = sketch.state.arrays
    for name in room:
        comm.broadcast(arrays[name])
