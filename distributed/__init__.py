"""Sketches over many MPI ranks; everything here also runs on one rank without MPI."""

from .comm import Communicator, communicator

__all__ = ["Communicator", "communicator"]
