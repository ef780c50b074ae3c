"""Rows from files: dense matrices, SciPy sparse matrices and svmlight text, a share for each rank."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from ...errors import MergesketchError
from ...lsh.inputs.sparse_structure import check_sparse
from ..ranks.comm import Communicator
from ..svmlight import SvmlightRows, iter_svmlight, read_svmlight

__all__ = ["Rows", "open_rows"]

#: Values of a block of dense rows, and entries of a block of sparse ones, about.
BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Rows:
    """A rank's consecutive rows of a file.

    Attributes
    ----------
    matrix : ndarray or SciPy CSR matrix
        Dense files are mapped, not read; sparse ones are held.
    first : int
        Number of the first row in the file.
    n_total : int
        Rows of the file.
    """

    matrix: Any
    first: int
    n_total: int

    @property
    def n_rows(self) -> int:
        """Rows of this rank."""
        return int(self.matrix.shape[0])

    @property
    def is_sparse(self) -> bool:
        return scipy.sparse.issparse(self.matrix)

    @property
    def n_features(self) -> int:
        return int(self.matrix.shape[1])

    def blocks(self) -> Iterator[tuple[int, Any]]:
        """(number of the first row, rows), a few megabytes at a time."""
        n = self.matrix.shape[0]
        size = self.matrix.nnz if self.is_sparse else self.matrix.size
        step = max(1, BLOCK_VALUES * n // max(1, size))
        for start in range(0, n, step):
            block = self.matrix[start : start + step]
            yield self.first + start, block if self.is_sparse else np.asarray(block)


def open_rows(path: str, comm: Communicator, *, at_least: int = 0) -> Rows:
    """This rank's share of the rows of a file: an even run of them, in the order of ranks.

    Parameters
    ----------
    path : str
        A name that ends in ``.npy`` holds a matrix of numbers, one in ``.npz`` a matrix that
        `scipy.sparse.save_npz` wrote, any other svmlight text.
    comm : Communicator
    at_least : int
        Features of the rows of svmlight text, which does not tell how many there are: they are numbered
        up to the largest that occurs, or so many.

    Raises
    ------
    ValueError, OSError
        If the file cannot be read or holds something else. DistributedError over several ranks.
    """
    with comm.agree():
        _check_file(path)
    if not path.lower().endswith((".npy", ".npz", ".gz")):
        return _open_svmlight(path, comm, at_least)
    with comm.agree():
        matrix = _read(path, at_least)
    n = matrix.shape[0]
    start, stop = n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size
    return Rows(matrix[start:stop], start, n)


def _check_file(path: str) -> None:
    """Refuse pipes, which have no size to share out, and would be waited for."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder the error follows
        raise ValueError(f"cannot read {path}: it is not a regular file")


def _open_svmlight(path: str, comm: Communicator, at_least: int) -> Rows:
    """A rank reads the lines that begin in its range of bytes; where its rows stand is told by the others."""
    with comm.agree():
        try:
            size = os.stat(path).st_size
            bounds = size * comm.rank // comm.size, size * (comm.rank + 1) // comm.size
            parts = list(iter_svmlight(path, start=bounds[0], stop=bounds[1]))
        except OSError as error:
            raise OSError(f"cannot read {path}: {error.strerror or error}") from error
    largest = max((int(part.indices.max()) for part in parts if part.indices.size), default=0)
    n_features = max(at_least, max(comm.allgather(largest)) + 1)
    blocks = [_matrix(part, n_features) for part in parts]
    matrix = scipy.sparse.vstack([scipy.sparse.csr_array((0, n_features), dtype=np.float32), *blocks], "csr")
    n = matrix.shape[0]
    return Rows(matrix, comm.exclusive_sum(n), comm.sum(n))


def _matrix(rows: SvmlightRows, n_features: int) -> Any:
    shape = (len(rows.labels), n_features)
    return scipy.sparse.csr_array((rows.values, rows.indices, rows.offsets), shape=shape)


def _read(path: str, at_least: int) -> Any:
    try:
        if path.lower().endswith(".npy"):
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        elif path.lower().endswith(".npz"):
            matrix = scipy.sparse.csr_array(check_sparse(scipy.sparse.load_npz(path), "rows"))
        else:
            read = read_svmlight(path)
            matrix = _matrix(read, max(at_least, int(read.indices.max(initial=0)) + 1))
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}") from error
    except MergesketchError:
        raise
    except (TypeError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy answers foreign bytes with advice to unpickle them, which is not ours to pass on.
        kinds = {".npy": "a NumPy matrix of numbers", ".npz": "a SciPy sparse matrix of numbers"}
        kind = kinds.get(path.lower()[-4:])
        raise ValueError(f"cannot read {path}: {f'it is not {kind}' if kind else error}") from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
        raise ValueError(
            f"{path} must hold a matrix of numbers, got dtype {matrix.dtype} and shape {matrix.shape}"
        )
    if matrix.shape[1] == 0:
        raise ValueError(f"{path} must hold rows of at least one number, got shape {matrix.shape}")
    return matrix
