"""Merging one sketch a rank into the sketch of all ranks' data."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ..errors import IncompatibleSketchError
from ..lsh.family import differing_field
from ..sketches.base import REDUCTIONS, MergeableSketch
from .comm import Communicator, communicator

__all__ = ["merge_over_ranks"]

S = TypeVar("S", bound=MergeableSketch)


def merge_over_ranks(sketch: S, comm: Any = None) -> S:
    """Merge the sketches of all ranks, so that every rank has the one of all data.

    Parameters
    ----------
    sketch : MergeableSketch
        This rank's; of the same class and configuration on every rank. Changed in place.
    comm : mpi4py communicator, Communicator or None
        All ranks if MPI started this process; see `communicator`.

    Returns
    -------
    The sketch itself; on every rank equal to what one sketch of all data would be.

    Raises
    ------
    IncompatibleSketchError
        On every rank, if classes or configurations differ; the message names the field. Nothing is
        changed.
    OverflowError
        On every rank, if a 64-bit counter could wrap; nothing is changed.
    DistributedError
        On every rank, if one passed no sketch.

    Notes
    -----
    Arrays whose reduction MPI knows (sum, max, min, or) are all-reduced in place, as buffers; those with a
    reduction of the sketch's own go up a binary tree and are broadcast. Before that the ranks agree, from
    bounds on their counters, whether counters must widen.

    Examples
    --------
    >>> import mergesketch
    >>> from mergesketch.distributed import merge_over_ranks
    >>> merge_over_ranks(mergesketch.CountMinSketch(n_rows=2, n_buckets=64).update([1, 2])).n_updates
    2
    """
    comm = communicator(comm)
    with comm.agree():
        if not isinstance(sketch, MergeableSketch):
            raise TypeError(f"sketch must be a MergeableSketch, got {type(sketch).__name__}")
        sketch._canonicalise()
    if comm.size == 1:
        return sketch
    _check_compatible(sketch, comm)
    _agree_on_width(sketch, comm)
    custom: dict[str, list[str]] = {}
    for name, spec in sketch._specs().items():
        if spec.reduction in REDUCTIONS:
            comm.allreduce(sketch._arrays[name], spec.reduction)
        else:
            custom.setdefault(spec.reduction, []).append(name)
    for reduction, names in custom.items():
        _reduce_over_tree(sketch, reduction, names, comm)
    return sketch


def _check_compatible(sketch: MergeableSketch, comm: Communicator) -> None:
    every = comm.allgather((type(sketch).__name__, sketch.config()))
    name, config = every[0]
    for rank, (other_name, other_config) in enumerate(every):
        if other_name != name:
            raise IncompatibleSketchError(f"rank 0 has a {name}, rank {rank} a {other_name}")
        difference = differing_field(config, other_config)
        if difference is not None:
            raise IncompatibleSketchError(
                f"{name} sketches of rank 0 (here) and rank {rank} (there) differ in {difference}"
            )


def _agree_on_width(sketch: MergeableSketch, comm: Communicator) -> None:
    """Widen counters on every rank if one has or the sum needs it; all ranks raise, or none."""
    names = sketch._integer_sums()
    every = comm.allgather([(sketch._bound(name), sketch._arrays[name].dtype.name) for name in names])
    widest = [
        max((part[i][1] for part in every), key=lambda dtype: np.dtype(dtype).itemsize)
        for i in range(len(names))
    ]
    totals = [sum(part[i][0] for part in every) for i in range(len(names))]
    for name, total in zip(names, totals, strict=True):
        wider = sketch._specs()[name].widens_to or sketch._specs()[name].dtype
        if total > np.iinfo(wider).max:
            raise OverflowError(
                f"{type(sketch).__name__}.{name} cannot count beyond {np.iinfo(wider).max}; "
                f"the ranks together might reach {total}"
            )
    for name, dtype, total in zip(names, widest, totals, strict=True):
        if sketch._arrays[name].dtype != dtype:
            sketch._arrays[name] = sketch._arrays[name].astype(dtype)
        sketch._reserve(name, total - sketch._bound(name))


def _reduce_over_tree(sketch: MergeableSketch, reduction: str, names: list[str], comm: Communicator) -> None:
    """Merge arrays of a reduction of the sketch's own up a binary tree, then give all ranks the result."""
    ours = {name: sketch._arrays[name] for name in names}
    gap = 1
    while gap < comm.size:
        if comm.rank % (2 * gap) == gap:
            for array in ours.values():
                comm.send(array, comm.rank - gap)
            break
        if comm.rank + gap < comm.size:
            theirs = {name: np.empty_like(array) for name, array in ours.items()}
            for array in theirs.values():
                comm.receive(array, comm.rank + gap)
            sketch._reduce_custom(reduction, ours, theirs)
            ours = {name: sketch._arrays[name] for name in names}
        gap *= 2
    for array in ours.values():
        comm.broadcast(array)
