"""Compare the parameters of the estimators of ranks, and the features of their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator

from ...errors import DistributedError
from ...lsh.support.configured import differing_field
from ..ranks.comm import Communicator

__all__ = ["common_features", "refuse_other_parameters"]


def common_features(comm: Communicator, estimator: BaseEstimator | None) -> tuple[int, list[Any] | None]:
    """Return the number and the names of the features that ranks with rows have in common.

    Parameters
    ----------
    comm : Communicator
    estimator : BaseEstimator or None
        The estimator of this rank, which has read rows, or None if the rank has no rows.

    Raises
    ------
    DistributedError
        If ranks differ, or none has rows. With one rank ValueError.
    """
    own = None
    if estimator is not None:
        names = getattr(estimator, "feature_names_in_", None)
        own = (estimator.n_features_in_, None if names is None else list(names))
    every = [(rank, one) for rank, one in enumerate(comm.allgather(own)) if one is not None]
    if not every:
        with comm.agree():
            raise ValueError("X must have at least one row on at least one rank, got 0 rows on all ranks")
    first_rank, (n, columns) = every[0]
    for rank, (other, others) in every:
        if other != n:
            raise DistributedError(
                f"ranks must agree on the number of features of X: rank {first_rank} has {n}, "
                f"rank {rank} has {other}"
            )
        if others != columns:
            raise DistributedError(
                f"ranks must agree on the names of the features of X: rank {first_rank} and rank {rank} "
                "differ"
            )
    return n, columns


def refuse_other_parameters(comm: Communicator, own: Mapping[str, Any]) -> None:
    """Raise DistributedError on every rank if the parameters of a rank differ from those of rank 0."""
    every = comm.allgather(own)
    for rank, other in enumerate(every):
        difference = differing_field(every[0], other)
        if difference is not None:
            raise DistributedError(
                f"ranks must agree on parameters: ranks 0 (here) and {rank} (there) differ in {difference}"
            )
