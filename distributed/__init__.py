"""Sketches over many MPI ranks; everything here also runs on one rank without MPI."""

from .banding import band_parameters
from .comm import Communicator, communicator
from .dedup import Deduplication, deduplicate, memory_per_rank
from .documents import DocumentSource
from .merge import merge_over_ranks

__all__ = [
    "Communicator",
    "Deduplication",
    "DocumentSource",
    "band_parameters",
    "communicator",
    "deduplicate",
    "memory_per_rank",
    "merge_over_ranks",
]
