"""Merge the sketches of all ranks by an all-reduce of their arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompatibleSketchError
from ...lsh.family import family_from_config, with_known_widths
from ...lsh.support.configured import differing_field
from ...sketches.core.base import MergeableSketch
from ...sketches.core.state import REDUCTIONS, SketchState
from .comm import Communicator, communicator, takes_gpu_memory

__all__ = ["check_configurations", "merge_over_ranks"]

S = TypeVar("S", bound=MergeableSketch)


class _Description(NamedTuple):
    """The description of a sketch that ranks exchange before its arrays are sent."""

    cls: str
    config: dict[str, Any]
    dtypes: dict[str, str]
    #: A bound of the magnitude of each integer sum's counters.
    bounds: dict[str, int]
    #: The numbers that `check_parts` of the class compares.
    part: tuple[int, ...]
    #: True if the arrays are a copy in main memory of arrays on a GPU.
    staged: bool


def merge_over_ranks(sketch: S, comm: Any = None, *, cuda_aware: bool | None = None) -> S:
    """Merge the sketches of all ranks in place, so that every rank has the sketch of all data.

    Parameters
    ----------
    sketch : MergeableSketch
        This rank's sketch. All ranks have sketches of one class and configuration.
    comm : mpi4py communicator or Communicator, optional
        All ranks if MPI started this process. Without MPI, or on one rank, the function does nothing and
        mpi4py is not needed.
    cuda_aware : bool, optional
        True if the MPI library reads and writes memory of GPUs. If it does not, sketches on GPUs travel
        through main memory, with a copy each way. By default, the MPI library is asked by
        ``mpi_memory_alloc_kinds`` of MPI 4.1.

    Returns
    -------
    MergeableSketch
        The sketch itself, which is equal on every rank.

    Raises
    ------
    IncompatibleSketchError
        On every rank. It names the first field that differs, or the ids that two ranks gave to different
        rows of an `LSHIndex`. Nothing is changed.
    OverflowError
        On every rank, if a 64-bit counter could wrap. Nothing is changed.
    DistributedError
        On every rank, if one of them fails, for example because it has too little memory. Nothing is changed
        then, unless a reduction of the sketch's own has failed.

    Warns
    -----
    As `merge` of the class does, on rank 0.

    Notes
    -----
    The arrays travel as they lie in memory. Sums, maxima, minima and bitwise ors go through MPI's all-reduce
    in pieces that fit a cache. Each of p ranks sends ``2 (p - 1) / p * sketch.nbytes`` bytes. Counters widen
    on every rank if the sum of the ranks' bounds requires it.

    A sketch's own reductions go up a binary tree in ceil(log2(p)) rounds, and the result is broadcast. A
    rank then needs memory for a second copy of those arrays.

    Sums of floating-point numbers are equal on all ranks, but their last bits depend on the number of ranks.

    Examples
    --------
    Under ``mpiexec -n 4 python count.py`` this counts the keys of all ranks:

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
    configs = with_known_widths([other.config for other in every])
    every = [other._replace(config=dict(config)) for other, config in zip(every, configs, strict=True)]
    _merge(here, every, comm)
    family = configs[comm.rank].get("family")
    if family != ours.config.get("family"):
        # The rank has had no rows, and its family has not known their number of features.
        vars(sketch)["family"] = family_from_config(family)
    if any(other.staged for other in every):
        with comm.agree():
            merged = here.to(sketch.device) if staged else sketch
        if merged is not sketch:
            state = sketch.state
            state.arrays.update(merged.state.arrays)
            state.bounds.update(merged.state.bounds)
            state.caches.clear()
    with comm.agree():
        if comm.rank == 0:
            sketch.after_merge()
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
    """Bound each integer sum over all ranks; measure it again if it would require wider counters."""
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
    """Return a dtype for each array: the widest on any rank, and wide enough for the sum over all ranks."""
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
    failure: Exception | None = None
    arrays = sketch.state.arrays
    for other, receives in comm.tree_rounds():
        for name in room:
            if receives:
                comm.receive(room[name], other)
            else:
                comm.send(arrays[name], other)
        try:
            if receives and failure is None:
                sketch.reduce_arrays(room)
        except Exception as error:
            # This rank must still send, because the ranks above wait for it.
            failure = error
    with comm.agree():
        if failure is not None:
            raise failure
        # The state is brought into its final form here, because other ranks take the arrays as they are.
        arrays = sketch.state.arrays
    for name in room:
        comm.broadcast(arrays[name])
