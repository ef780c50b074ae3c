"""Tables of shared parameters that devices of different memory train together (FAIR)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DistributedError
from ...lsh.inputs.arrays import check_array
from ...lsh.inputs.weights import check_real_weights
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_choice, check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.public import publish
from ...lsh.support.wording import counted
from ...sketches.core.guard import changing, uninterrupted
from ...sketches.core.state import SketchState, StateSpec
from ...sketches.core.stored import Stored
from ..ranks.comm import Communicator, communicator

__all__ = ["FederatedTables"]

_MOST_PARAMETERS = 1 << 40
_DTYPES = ("float32", "float64")


class _Trained(NamedTuple):
    """The tables that a rank's clients have trained."""

    tables: list[NDArray[Any]]
    n_rows: NDArray[np.float64]
    clients: list[Hashable]


class FederatedTables(Stored):
    """Keep the parameters of tables that devices of different memory train together (federated learning).

    The server has all parameters. A device gets a fold of them that fits its memory, trains it with its own
    rows, and returns it. The server averages what the devices have learnt, in the full array (FAIR [1]_).

    Parameters
    ----------
    n_parameters : int
        The number M of parameters of the full array, from 1 to 2**40.
    dtype : {"float32", "float64"}

    Attributes
    ----------
    weights : ndarray of shape (n_parameters,)
        The full array, as a view that cannot be written to. It is 0 at first: see `from_weights`.
    n_rounds : int
        The number of rounds so far.
    nbytes : int
        Bytes of the full array and of this number.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    The parameters are those of `SharedParameters` or of `SharedArray`. Their maps take the place of an entry
    modulo the number of parameters last. So an entry at place p of the full array is at place ``p mod m`` of
    a device with m parameters, where m divides M, and it has the same sign in both. Maps whose places depend
    on the number of parameters in other ways, `CyclicMap` and `CafeMap`, cannot be used.

    Let F w be the fold of w to m parameters: parameter q is the mean of the M / m parameters whose places
    are q modulo m. Let U be its opposite, which gives each of these M / m places the value of q. If device c
    returns t_c after it has learnt from n_c rows, a round sets

        w <- sum over c of (n_c / n) (w + U_c (t_c - F_c w))    with  n = sum over c of n_c

    - F U is the identity. So what a device has learnt is in the fold of what it adds to the array.
    - U F is the orthogonal projection on the arrays in which places that are equal modulo m have equal
      parameters. So F w is the best approximation of w with m parameters, in the sum of squares. A device
      does not change the part of w that it cannot see.
    - For a device of full size, F and U are the identity. So a round with one such client is exactly its
      training, bit for bit. With clients of full size only, rounds are federated averaging [2]_.

    Unlike `SharedParameters.fold`, which adds parameters up, a fold here is a mean. The sum is right for
    sums of gradients, and the mean for values that a model reads.

    Sums are made in float64 and rounded once. A round of clients with m_1, m_2, ... parameters takes
    O(M + m_1 + m_2 + ...) time and memory for two arrays of M numbers.

    References
    ----------
    .. [1] Desai, Meisburger, Liu, Shrivastava. Heterogeneous federated collaborative filtering using FAIR:
       Federated averaging in random subspaces. arXiv:2311.01722, 2023.
    .. [2] McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-efficient learning of deep networks
       from decentralized data. AISTATS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch.distributed import FederatedTables
    >>> server = FederatedTables.from_weights(np.array([1.0, 2.0, 3.0, 6.0]))
    >>> server.fold(2)
    array([2., 4.])

    A small device adds 1 to its first parameter, and a large one adds 2 to its last:

    >>> small, large = server.fold(2) + [1, 0], server.fold(4) + [0, 0, 0, 2]
    >>> server.update([small, large], n_rows=[50, 50]).weights
    array([1.5, 2. , 3.5, 7. ])
    """

    _parameters = ("n_parameters", "dtype")

    def __init__(self, n_parameters: int, *, dtype: str = "float32") -> None:
        self.n_parameters = check_int("n_parameters", n_parameters, 1, _MOST_PARAMETERS)
        self.dtype: str = check_choice("dtype", dtype, _DTYPES)

    @classmethod
    def from_weights(cls, weights: ArrayLike) -> Self:
        """Return a server that begins with given parameters.

        Parameters
        ----------
        weights : array of shape (n_parameters,), float32 or float64
            Finite numbers, which are copied: for example ``SharedParameters.weights``.

        Returns
        -------
        FederatedTables

        Raises
        ------
        TypeError, ValueError
            If the array has another dtype or shape, NaN or infinity, or lies on a GPU.
        """
        refuse_gpu("FederatedTables", weights)
        array = check_array("weights", weights)
        if array.dtype.name not in _DTYPES:
            raise TypeError(f"weights must be float32 or float64, got dtype {array.dtype}")
        if array.ndim != 1 or array.size == 0:
            raise ValueError(f"weights must have shape (n_parameters,), got shape {array.shape}")
        array = _finite("weights", array, array.dtype)
        new = cls(array.size, dtype=array.dtype.name)
        new._state.arrays["weights"][:] = array
        return new

    # -- state ----------------------------------------------------------------------------------------

    @lazy
    def _state(self) -> SketchState:  # type: ignore[override]
        specs = {
            "weights": StateSpec((self.n_parameters,), self.dtype, "sum", remedy="choose fewer parameters"),
            "n_rounds": StateSpec((1,), "int64", "sum"),
        }
        return SketchState(type(self).__name__, specs)

    def _check_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if not np.isfinite(arrays["weights"]).all():
            raise ValueError("weights must be finite")
        if not 0 <= int(arrays["n_rounds"][0]) <= 1 << 62:
            raise ValueError(f"n_rounds must lie in [0, 2**62], got {arrays['n_rounds'].tolist()}")

    def __copy__(self) -> Self:
        new = self._without_arrays()
        with self._lock:
            new._state = self._state.copy()
        return new

    @property
    def weights(self) -> NDArray[Any]:
        """The full array, as a view that cannot be written to."""
        return read_only(self._arrays["weights"])

    @property
    def n_rounds(self) -> int:
        """The number of rounds so far."""
        return int(self._arrays["n_rounds"][0])

    # -- rounds ---------------------------------------------------------------------------------------

    def fold(self, n_parameters: int) -> NDArray[Any]:
        """Return the parameters for a device: the means of those whose places are equal modulo its size.

        Parameters
        ----------
        n_parameters : int
            A divisor of the number of parameters.

        Returns
        -------
        ndarray of shape (n_parameters,)
            In the dtype of the server, and without memory in common with it.

        Raises
        ------
        TypeError, ValueError
            If `n_parameters` is no divisor.
        """
        n_parameters = check_int("n_parameters", n_parameters, 1, self.n_parameters)
        if self.n_parameters % n_parameters:
            raise ValueError(f"n_parameters must be a divisor of {self.n_parameters}, got {n_parameters}")
        with self._lock:
            return self._fold(n_parameters)

    def _fold(self, size: int) -> NDArray[Any]:
        weights = self._arrays["weights"]
        if size == weights.size:
            return weights.copy()
        return weights.reshape(-1, size).mean(axis=0, dtype=np.float64).astype(weights.dtype)

    def update(
        self,
        tables: Sequence[ArrayLike],
        n_rows: ArrayLike,
        clients: Sequence[Hashable] | None = None,
        comm: Any = None,
    ) -> Self:
        """Average what devices have learnt since they got their folds: one round.

        Over MPI ranks all ranks call it, each with the tables of its own clients. All have the same server
        before and after.

        Parameters
        ----------
        tables : sequence of arrays
            The parameters of each client after its training, which began with `fold`. Their lengths are
            divisors of the number of parameters. Those of one length may be the rows of one array. Numbers
            are rounded to the dtype of the server. A rank may have no clients, but not all ranks.
        n_rows : array of a number above 0 for each client
            The number of rows that it has learnt from, which is its weight.
        clients : sequence of names, optional
            A name or number for each client. If it is given, a client that is named twice is refused, also
            if the two are on different ranks: for example a device that has sent its table again.
        comm : mpi4py communicator or Communicator, optional
            By default all ranks, if MPI started this process, and this process alone otherwise.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If there are no tables, or one has NaN, infinity or a length that is no divisor, or numbers of
            rows are not above 0, or a client is there twice. Nothing changes then.
        OverflowError
            If a parameter would be beyond the dtype. Nothing changes then.
        DistributedError
            With several ranks, on every rank, if one of them is refused, or if servers differ. Nothing
            changes then on any rank.
        """
        comm = communicator(comm)
        with self._lock:
            with comm.agree():
                trained = self._read(tables, n_rows, clients)
                server = self.config(), self.n_rounds, zlib.crc32(self._arrays["weights"].data)
            if comm.size > 1:
                comm.check_same("the server: its configuration, rounds and checksum", server)
            n = self._check_clients(trained, comm)
            with comm.agree():
                mean = self._weighted_sum(trained, n)
            comm.allreduce(mean, "sum")
            with comm.agree():
                with np.errstate(over="ignore"):
                    weights = mean.astype(self.dtype)
                if not np.isfinite(weights).all():
                    raise OverflowError(f"tables must have a mean within {self.dtype}, got a larger one")
            with changing(self), uninterrupted():
                self._arrays["weights"] = weights
                self._arrays["n_rounds"] += 1
        return self

    def _read(self, tables: Any, n_rows: Any, clients: Any) -> _Trained:
        refuse_gpu("FederatedTables", tables, n_rows)
        if isinstance(tables, (str, bytes, Mapping)) or not hasattr(tables, "__iter__"):
            raise TypeError(f"tables must be a sequence of arrays, got {type(tables).__name__}")
        if not isinstance(tables, (Sequence, Iterator)):
            # Tables of one length in one array or data frame, which is read by rows.
            tables = check_array("tables", tables)
        read = [self._read_table(i, table) for i, table in enumerate(tables)]
        if n_rows is None:
            raise TypeError("n_rows must be an array of a number for each table, got None")
        weights = check_real_weights("n_rows", n_rows, len(read))
        if not bool((weights > 0).all()):
            raise ValueError(f"n_rows must be above 0, got {weights.min():g}")
        if clients is None:
            return _Trained(read, weights, [])
        if isinstance(clients, (str, bytes)) or not hasattr(clients, "__iter__"):
            raise TypeError(f"clients must be a sequence of names, got {type(clients).__name__}")
        names = list(clients)
        if len(names) != len(read):
            raise ValueError(f"clients must be {counted(len(read), 'name')}, one a table, got {len(names)}")
        for name in names:
            if not isinstance(name, Hashable):
                raise TypeError(f"clients must be names that can be compared, got {type(name).__name__}")
        return _Trained(read, weights, names)

    def _read_table(self, i: int, table: Any) -> NDArray[Any]:
        name = f"tables[{i}]"
        refuse_gpu("FederatedTables", table)
        array = check_array(name, table)
        if array.ndim != 1 or array.size == 0 or self.n_parameters % array.size:
            raise ValueError(
                f"{name} must have one dimension and a divisor of {self.n_parameters} parameters, got shape "
                f"{array.shape}"
            )
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
        return _finite(name, array, np.dtype(self.dtype))

    def _check_clients(self, trained: _Trained, comm: Communicator) -> float:
        """Refuse a round without clients, or with one of them twice; return the rows of all clients."""
        every = comm.allgather((trained.clients, math.fsum(trained.n_rows)))
        n = math.fsum(rows for _, rows in every)
        if n == 0:
            raise ValueError("tables must have at least one table, got none")
        owners: dict[Hashable, int] = {}
        for rank, (names, _) in enumerate(every):
            for name in names:
                if name in owners:
                    where = f" on ranks {owners[name]} and {rank}" if owners[name] != rank else ""
                    error = DistributedError if where else ValueError
                    raise error(f"clients must be named once, got {name!r} twice{where}")
                owners[name] = rank
        return n

    def _weighted_sum(self, trained: _Trained, n: float) -> NDArray[np.float64]:
        """Return what the clients of this rank contribute to the mean: each its share."""
        weights = self._arrays["weights"]
        shares = (trained.n_rows / n).tolist()
        small = math.fsum(s for s, t in zip(shares, trained.tables, strict=True) if t.size < weights.size)
        # Adding to -0.0 keeps every number, 0.0 and -0.0 among them.
        mean = np.full(weights.size, -0.0)
        if small:
            np.multiply(weights, small, out=mean, dtype=np.float64)
        # Changes are added up for each size first, and each sum is unfolded once.
        folds: dict[int, NDArray[np.float64]] = {}
        changes: dict[int, NDArray[np.float64]] = {}
        for table, share in zip(trained.tables, shares, strict=True):
            if table.size == weights.size:
                mean += np.multiply(table, share, dtype=np.float64)
                continue
            if table.size not in folds:
                folds[table.size] = self._fold(table.size).astype(np.float64)
                changes[table.size] = np.zeros(table.size)
            changes[table.size] += share * (table - folds[table.size])
        for size, change in changes.items():
            mean.reshape(-1, size)[:] += change
        return mean


def _finite(name: str, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array in a dtype; ValueError unless its numbers are finite there."""
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype.newbyteorder("="))
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"{name} must be finite in {dtype.name}, got {array[wrong]} at position {wrong}")
    return values


publish("mergesketch.distributed", __all__, globals())
