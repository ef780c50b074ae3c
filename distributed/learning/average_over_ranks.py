"""Rounds of LabelHash over ranks: the average of the models of all ranks (FedMLH)."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ...lsh.support.checks import check_real
from ...lsh.support.public import publish
from ...sketches.learned.bucket_models import leaves_of
from ...sketches.learned.hashed_labels import set_average
from ...sketches.learned.label_hash import LabelHash
from ...sketches.learned.model_average import (
    describe,
    joined_labels,
    parameters_of,
    row_weights,
    shares_of,
)
from ..ranks.comm import communicator

__all__ = ["average_over_ranks"]

L = TypeVar("L", bound=LabelHash)
_MOST_ROWS = 2.0**512


def average_over_ranks(model: L, n_rows: float | None = None, comm: Any = None) -> L:
    """Average the `LabelHash` models of all ranks in place: a round of federated averaging.

    All ranks call it, each with the model that it has trained by `partial_fit`. Afterwards all have the same
    parameters and labels, and go on from there.

    Parameters
    ----------
    model : fitted LabelHash
        As for `LabelHash.merge`. Ranks may have other labels.
    n_rows : float, optional
        The number of rows that the rank has learnt in this round, above 0: the weight of its model. By
        default ``model.n_rows_``, all rows that it has learnt.
    comm : mpi4py communicator or Communicator, optional
        By default all ranks, if MPI started this process, and this process alone otherwise.

    Returns
    -------
    The model itself.

    Raises
    ------
    DistributedError
        On every rank, if the model or the number of one of them is refused. With one rank TypeError,
        ValueError or NotFittedError. Nothing is changed then on any rank.
    IncompatibleSketchError
        On every rank, if models differ in anything but their labels. Nothing is changed then.

    Notes
    -----
    The result is that of ``LabelHash.average`` up to rounding. No rank needs the models of the others: the
    parameters are added up by MPI on the way. With P ranks, each sends ``2 (P - 1) / P`` times the bytes of
    its parameters and a description of its labels, and takes memory for a second copy of the parameters.
    ``communicator().bytes_sent`` counts what the parameters take.

    A neural network's moments of gradients begin anew.

    References
    ----------
    - Dai, Dun, Tang, Kyrillidis, Shrivastava. Federated multiple label hashing (FedMLH): communication
      efficient federated learning on extreme classification tasks. arXiv 2021.

    Examples
    --------
    Under ``mpiexec -n 4 python train.py``, with rows and labels of each rank's own:

    >>> import numpy as np
    >>> from mergesketch import LabelHash
    >>> from mergesketch.distributed import average_over_ranks
    >>> from sklearn.linear_model import SGDClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((200, 5)), rng.integers(0, 30, 200)
    >>> model = LabelHash(SGDClassifier(loss="log_loss"), n_repetitions=3, n_buckets=16)
    >>> for number in range(3):
    ...     model = average_over_ranks(model.partial_fit(X, y), n_rows=len(y))
    """
    comm = communicator(comm)
    with comm.agree():
        if not isinstance(model, LabelHash):
            raise TypeError(f"model must be a LabelHash, got {type(model).__name__}")
        (default,) = row_weights([model], LabelHash)
        weight = float(default) if n_rows is None else check_real("n_rows", n_rows, 0.0, _MOST_ROWS)
        mine = describe(model), weight, model.n_rows_
    if comm.size == 1:
        return model
    every = comm.allgather(mine)
    # All ranks see the same descriptions, so they raise together.
    classes = joined_labels([description for description, _, _ in every])
    with comm.agree():
        share = shares_of(np.array([weight for _, weight, _ in every]))[comm.rank]
        leaves = leaves_of(model.models_)
        means = [
            []
            if leaf is None
            else [np.ascontiguousarray(a * a.dtype.type(share)) for a in parameters_of(leaf)]
            for leaf in leaves
        ]
    for arrays in means:
        for array in arrays:
            comm.allreduce(array, "sum")
    set_average(model, means, classes, sum(n for _, _, n in every))
    return model


publish("mergesketch.distributed", __all__, globals())
