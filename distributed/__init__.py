"""Sketches over many MPI ranks; everything here also runs on one rank without MPI."""

from .comm import Communicator, communicator
from .launch import run_main
from .merge import merge_over_ranks

__all__ = ["Communicator", "communicator", "merge_over_ranks", "run_main"]
