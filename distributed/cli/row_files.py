"""Read this rank's share of the rows of a file: a dense matrix, a SciPy sparse matrix or svmlight text."""

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
from ...lsh.inputs.sparse_structure import csr_parts
from ..ranks.comm import Communicator
from ..svmlight import as_csr, iter_svmlight, join_rows, read_svmlight
from .messages import naming_file

__all__ = ["RowShare", "open_rows", "read_matrix", "read_whole"]

#: Values in a block of dense rows, and entries in a block of sparse rows, approximately.
BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class RowShare:
    """Consecutive rows of a file, which one rank reads.

    Attributes
    ----------
    matrix : ndarray or SciPy CSR matrix
        Dense files are mapped and not read. Sparse rows are in memory.
    first : int
        The number of the first row in the file.
    n_total : int
        The number of rows of the file.
    """

    matrix: Any
    first: int
    n_total: int

    @property
    def n_rows(self) -> int:
        """The number of rows of this rank."""
        return int(self.matrix.shape[0])

    @property
    def is_sparse(self) -> bool:
        return scipy.sparse.issparse(self.matrix)

    @property
    def n_features(self) -> int:
        return int(self.matrix.shape[1])

    def blocks(self) -> Iterator[tuple[int, Any]]:
        """Yield (number of the first row, rows), a few megabytes at a time."""
        size = self.matrix.nnz if self.is_sparse else self.matrix.size
        step = max(1, BLOCK_VALUES * self.n_rows // max(1, size))
        for start in range(0, self.n_rows, step):
            block = self.matrix[start : start + step]
            yield self.first + start, block if self.is_sparse else np.asarray(block)


def open_rows(path: str, comm: Communicator, *, at_least: int = 0) -> RowShare:
    """Return this rank's share of the rows of a file: consecutive rows, an equal number on every rank.

    Parameters
    ----------
    path : str
        A name that ends in ``.npy`` means a matrix of numbers, one in ``.npz`` a matrix that
        `scipy.sparse.save_npz` wrote, and any other svmlight text.
    comm : Communicator
    at_least : int
        The least number of features for svmlight text, which does not say how many features there are. Rows
        have more features if a larger index occurs.

    Raises
    ------
    ValueError, OSError
        If the file cannot be read or has other contents. DistributedError with several ranks.
    """
    with comm.agree():
        _check_file(path)
    if not path.lower().endswith((".npy", ".npz", ".gz")):
        return _open_svmlight(path, comm, at_least)
    with comm.agree():
        matrix = read_matrix(path, at_least)
    n = matrix.shape[0]
    start, stop = n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size
    return RowShare(matrix[start:stop], start, n)


def _check_file(path: str) -> None:
    """Refuse pipes, which have no size to share among ranks; opening one could wait forever."""
    with naming_file(path, "read"):
        mode = os.stat(path).st_mode
    # A folder causes an error when it is read.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"cannot read {path}: it is not a regular file")


def _open_svmlight(path: str, comm: Communicator, at_least: int) -> RowShare:
    """Read the lines that begin in this rank's range of bytes; the other ranks' counts number the rows."""
    with comm.agree(), naming_file(path, "read"):
        size = os.stat(path).st_size
        start, stop = size * comm.rank // comm.size, size * (comm.rank + 1) // comm.size
        rows = join_rows(list(iter_svmlight(path, start=start, stop=stop)))
    largest = max(comm.allgather(int(rows.indices.max(initial=0))))
    matrix = as_csr(rows, max(at_least, largest + 1))
    n = matrix.shape[0]
    return RowShare(matrix, comm.exclusive_sum(n), comm.sum(n))


def read_whole(path: str, at_least: int) -> Any:
    """Return all rows of a file of any kind; dense files are mapped and not read."""
    _check_file(path)
    return read_matrix(path, at_least)


def read_matrix(path: str, at_least: int) -> Any:
    """Return the matrix of a ``.npy``, ``.npz`` or svmlight file."""
    try:
        with naming_file(path, "read"):
            if path.lower().endswith(".npy"):
                matrix = np.load(path, mmap_mode="r", allow_pickle=False)
            elif path.lower().endswith(".npz"):
                matrix = scipy.sparse.csr_array(csr_parts(scipy.sparse.load_npz(path), "rows").matrix)
            else:
                rows = read_svmlight(path)
                matrix = as_csr(rows, max(at_least, int(rows.indices.max(initial=0)) + 1))
    except MergesketchError:
        raise
    except (TypeError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy advises to unpickle unknown bytes, which this message must not repeat.
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
