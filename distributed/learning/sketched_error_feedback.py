"""Gradients that ranks send in part, with an error feedback of little memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_choice, check_int, check_real
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...sketches.core.guard import changing, uninterrupted
from ...sketches.core.state import SketchState, StateSpec
from ...sketches.core.stored import Stored
from ..ranks.comm import Communicator, communicator
from .error_memory import ErrorMemory, block_start, check_share, share_of, top_positions

__all__ = ["SketchedErrorFeedback"]

_COMPRESSORS = ("top_k", "random_block")
_MOST_PARAMETERS = 1 << 32
#: Counts end here, and so cannot overflow.
_MOST_COUNTED = 1 << 62
#: What ranks send of a gradient: positions and values.
_SENT = np.dtype([("position", np.uint32), ("value", np.float32)])


class _Part(NamedTuple):
    """Contain what a rank sends of its gradient, and its memory afterwards."""

    #: Positions, ascending unless a block runs over the end.
    positions: NDArray[Any]
    values: NDArray[np.float32]
    places: NDArray[np.float32]


class SketchedErrorFeedback(Stored):
    """Average the largest entries of the gradients of MPI ranks, and remember the rest in little memory.

    A rank adds to its gradient what it has not sent before, sends a part of the sum, and remembers what is
    left. This is error feedback. Its memory usually has as many numbers as the model. Here it is a count
    sketch with one row (ConEF [1]_), of a tenth of the model by default.

    Parameters
    ----------
    n_parameters : int
        The length of the gradients, up to ``2**32``.
    compression : float, default 0.01
        The share of the parameters that a rank sends in a step, in (0, 1].
    memory : float, default 0.1
        The size of the memory as a share of the model, in (0, 1]. With 1, no two parameters share a place,
        and this is exact error feedback.
    beta : float, optional
        In [0, 1]. ``1 - beta`` is the share of the remembered errors that is added to a gradient. By default
        ``1 - memory``. With 1 nothing is added: there is no feedback.
    compressor : {"top_k", "random_block"}
        "top_k" sends the entries of largest magnitude, with their positions: each rank has its own.
        "random_block" sends a block of consecutive entries. All ranks send the same block, which follows from
        the seed and the number of the step. So no positions are sent, and MPI adds the values up on the way.
    seed : int, default 0
        In [0, 2**64). It must be the same on all ranks.

    Attributes
    ----------
    n_places : int
        The number of places of the memory, float32 each.
    n_sent : int
        The number of entries that a rank sends in a step.
    n_steps : int
        The number of steps so far.
    bytes_sent : int
        Bytes of arrays that this rank has sent to other ranks so far.
    nbytes : int
        Bytes of the memory and of these counts.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    With g the gradient, S the memory, h(i) the place of parameter i and s(i) its sign, a step computes
    ``p = g + (1 - beta) s S[h]``, sends the part d of p, and sets ``S[h(i)] += s(i) (g - d)[i]``. So the
    memory is always the count sketch of all gradients less all that was sent, whatever beta is, and nothing
    is lost but by collisions. Without collisions, gradients are sent and memory in full.

    ``s(i) S[h(i)]`` estimates the error of i without bias. Its variance is at most the sum of the squared
    errors of other parameters over `n_places`.

    L parameters share a place, where L is ``1 / memory``. A step that sends all of them takes
    ``(1 - beta) L`` times the number at the place away from it. With the default of beta that is the number
    itself, so the memory never grows by itself. If ``(1 - beta) L`` is above 2, the memory may grow without
    bound.

    Positions are cut into runs as long as the memory, each rotated by a random number of places. So no table
    of places is needed. A step takes O(n_parameters) time. It allocates three arrays as long as the gradient
    and one as long as the memory, which it gives back but for the result.

    References
    ----------
    .. [1] Li, Bingcong, et al. Contractive error feedback for gradient compression. arXiv:2312.08538, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.distributed import SketchedErrorFeedback
    >>> feedback = SketchedErrorFeedback(1000, compression=0.02, memory=0.1)
    >>> gradient = np.linspace(-1, 1, 1000)
    >>> update = feedback.step(gradient)  # under mpiexec: the mean of what all ranks send
    >>> int(np.count_nonzero(update)), feedback.nbytes
    (20, 416)
    """

    _parameters = ("n_parameters", "compression", "memory", "beta", "compressor", "seed")

    def __init__(
        self,
        n_parameters: int,
        *,
        compression: float = 0.01,
        memory: float = 0.1,
        beta: float | None = None,
        compressor: str = "top_k",
        seed: int = 0,
    ) -> None:
        self.n_parameters = check_int("n_parameters", n_parameters, 1, _MOST_PARAMETERS)
        self.compression = check_share("compression", compression)
        self.memory = check_share("memory", memory)
        self.beta = None if beta is None else check_real("beta", beta, 0.0, 1.0, closed=True)
        self.compressor: str = check_choice("compressor", compressor, _COMPRESSORS)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)

    # -- state ----------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> SketchState:  # type: ignore[override]
        specs = {
            "memory": StateSpec((self.n_places,), "float32", "sum", remedy="choose a smaller memory"),
            "counts": StateSpec((2,), "int64", "sum"),
        }
        return SketchState(type(self).__name__, specs)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if not np.isfinite(arrays["memory"]).all():
            raise ValueError("memory must be finite")
        if arrays["counts"].min() < 0 or arrays["counts"].max() > _MOST_COUNTED:
            raise ValueError(f"counts must lie in [0, 2**62], got {arrays['counts'].tolist()}")

    def __copy__(self) -> Self:
        new = self._without_arrays()
        with self._lock:
            new._state = self._state.copy()
        return new

    @property
    def n_places(self) -> int:
        """The number of places of the memory."""
        return share_of(self.n_parameters, self.memory)

    @property
    def n_sent(self) -> int:
        """The number of entries that a rank sends in a step."""
        return share_of(self.n_parameters, self.compression)

    @property
    def n_steps(self) -> int:
        """The number of steps so far."""
        return int(self._arrays["counts"][0])

    @property
    def bytes_sent(self) -> int:
        """Bytes of arrays that this rank has sent to other ranks so far."""
        return int(self._arrays["counts"][1])

    # -- steps ----------------------------------------------------------------------------------------

    def step(self, gradient: ArrayLike, comm: Any = None) -> NDArray[np.float32]:
        """Return the mean over the ranks of what they send of their gradients, and remember the rest.

        All ranks call it, each with its own gradient.

        Parameters
        ----------
        gradient : array_like of shape (n_parameters,)
            Finite numbers, which are rounded to float32.
        comm : mpi4py communicator or Communicator, optional
            All ranks if MPI started this process, and this process alone otherwise.

        Returns
        -------
        ndarray of shape (n_parameters,), float32
            The same on every rank. Entries that no rank has sent are 0.

        Raises
        ------
        DistributedError
            On every rank, if the gradient of one of them is refused, or if they differ in their configuration
            or in the number of their steps. Nothing is changed then on any rank. With one rank TypeError or
            ValueError.
        OverflowError
            If a number of the memory would be beyond float32. With several ranks DistributedError.
        """
        comm = communicator(comm)
        with self._lock:
            before = comm.bytes_sent
            with comm.agree():
                part = self._part(self._read(gradient))
            if comm.size > 1:
                comm.check_same("the configuration and the number of steps", (self.config(), self.n_steps))
            mean = self._mean(part, comm)
            counts = np.minimum(self._arrays["counts"] + (1, comm.bytes_sent - before), _MOST_COUNTED)
            with changing(self), uninterrupted():
                self._arrays.update(memory=part.places, counts=counts)
        return mean

    def _read(self, gradient: Any) -> NDArray[np.float32]:
        refuse_gpu("SketchedErrorFeedback", gradient)
        array = check_array("gradient", gradient)
        if array.shape != (self.n_parameters,):
            raise ValueError(f"gradient must have shape ({self.n_parameters},), got shape {array.shape}")
        if array.dtype.kind not in "fiub":
            raise TypeError(f"gradient must be real numbers, got dtype {array.dtype}")
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(values).all():
            wrong = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"gradient must be finite in float32, got {array[wrong]} at position {wrong}")
        return values

    def _part(self, gradient: NDArray[np.float32]) -> _Part:
        """Return what this rank sends, and its memory afterwards; nothing is changed yet."""
        memory = ErrorMemory(self._arrays["memory"].copy(), self.n_parameters, self.beta, self.seed)
        corrected = memory.corrected(gradient, 0)
        positions: NDArray[Any]
        if self.compressor == "top_k":
            positions = top_positions(corrected, self.n_sent)
        else:
            start = block_start(self.n_parameters, self.seed, self.n_steps)
            positions = (start + np.arange(self.n_sent)) % self.n_parameters
        values = corrected[positions]
        np.copyto(corrected, gradient)
        corrected[positions] -= values
        memory.add(corrected, 0)
        if not np.isfinite(values).all() or not np.isfinite(memory.places).all():
            raise OverflowError(
                "the memory would be beyond float32: choose a larger beta or smaller gradients"
            )
        return _Part(positions, values, memory.places)

    def _mean(self, part: _Part, comm: Communicator) -> NDArray[np.float32]:
        """Return the mean of what the ranks send."""
        if self.compressor == "random_block":
            with comm.agree():
                # The sum of values is beyond float32 more often than their mean.
                sums = part.values / np.float32(comm.size)
                mean = np.zeros(self.n_parameters, np.float32)
            comm.allreduce(sums, "sum")
            mean[part.positions] = sums
            return mean
        with comm.agree():
            sent = np.empty(self.n_sent, _SENT)
            sent["position"], sent["value"] = part.positions, part.values
            mean = np.zeros(self.n_parameters, np.float32)
        every = comm.allgather_rows(sent).reshape(comm.size, self.n_sent)
        for one in every:
            # The positions of a rank differ.
            mean[one["position"]] += one["value"] / np.float32(comm.size)
        return mean


publish("mergesketch.distributed", __all__, globals())
