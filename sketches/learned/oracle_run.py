"""A run of searches for the atom of the largest value, among candidates of tables or among all atoms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.inner_product import InnerProduct
from ...lsh.inputs.arrays import check_array, check_dense, check_numbers
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.threads import map_blocks
from ..kernels import max_inner_product as kernels
from ..neighbours.index import LSHIndex

__all__ = ["FoundAtom", "OracleRun", "inner_product", "read_atoms", "read_vector", "run_over"]

#: Atoms that are worth a thread of their own in a scan.
_ATOMS = 1 << 14
#: In place of a matrix, and of flags of excluded atoms.
_NO_MATRIX, _NONE_EXCLUDED = read_only(np.zeros(0)), read_only(np.zeros(0, np.bool_))
#: The number of times that the search for a value with a bonus goes on from the best atom found.
_ASCENTS = 2


class FoundAtom(NamedTuple):
    """Contain an atom that a search has found."""

    #: The number of the atom; -1 if there is none.
    id: int
    #: Its inner product with the direction, or its value with a bonus; minus infinity if there is none.
    value: float
    #: True if all atoms were compared, so that no atom has a larger value.
    is_exact: bool


class _Question(NamedTuple):
    """The value of an atom x: ``direction . x + bonus sqrt(x' matrix x)``."""

    direction: NDArray[np.float64]
    #: The entries of the matrix, or none of them for values that are products only.
    matrix: NDArray[np.float64] = _NO_MATRIX
    bonus: float = 0.0


class OracleRun:
    """Search for atoms with the tables of an oracle, and count; `InnerProductOracle.start` makes it.

    Attributes
    ----------
    inner_products : int
        Number of products of atoms and directions that the searches have computed, without those of checks.
    exact_scans : int
        Number of searches that have compared all atoms.
    redrawn : int
        Number of groups that were drawn anew.
    ratios : list of float
        The ratios of checked searches, at most 1: the amount by which the value of the atom found exceeds
        the value to be exceeded, over that of the best atom.

    Notes
    -----
    Threads must not share a run. Runs that start alike give equal results.
    """

    def __init__(
        self,
        atoms: NDArray[Any],
        groups: Sequence[LSHIndex],
        n_probes: int,
        check_every: Any,
        redraw: Callable[[int, int], LSHIndex] | None = None,
        redraw_after: int | None = None,
    ) -> None:
        if check_every is not None:
            check_every = check_int("check_every", check_every, 1)
        self._atoms, self._groups, self._n_probes = atoms, list(groups), n_probes
        self._check_every, self._redraw, self._redraw_after = check_every, redraw, redraw_after
        self._uses, self._drawings = [0] * len(self._groups), [0] * len(self._groups)
        self._stamps = np.full(len(atoms) if self._groups else 0, -1, np.int64)
        self._stamp = self._n_searches = self._next = 0
        self.inner_products = self.exact_scans = self.redrawn = 0
        self.ratios: list[float] = []

    def best(
        self,
        direction: ArrayLike,
        *,
        above: float = -math.inf,
        excluded: ArrayLike | None = None,
    ) -> FoundAtom:
        """Return an atom of large inner product with a direction.

        Parameters
        ----------
        direction : array_like of shape (n_features,)
        above : float, default -inf
            The value to be exceeded. If no candidate has a larger one, all atoms are compared. Ratios are
            measured from it, or from 0 if it is infinite.
        excluded : bool array of shape (n_atoms,), optional
            True for atoms that must not be returned.

        Returns
        -------
        FoundAtom
            Of equal candidates the one of the lowest id.

        Raises
        ------
        TypeError, ValueError
            If the direction is not `n_features` finite numbers, or `excluded` not one flag for each atom, or
            if no product is a finite number.
        """
        vector = read_vector("direction", direction, self._atoms.shape[1])
        flags = _NONE_EXCLUDED
        if excluded is not None:
            flags = read_only(np.ascontiguousarray(check_array("excluded", excluded)))
            if flags.dtype != np.bool_ or flags.shape != (len(self._atoms),):
                raise ValueError(
                    f"excluded must be bool of shape ({len(self._atoms)},), got {flags.dtype} of "
                    f"{flags.shape}"
                )
        return self._search(vector[None], _Question(vector), above, flags)

    def best_with_bonus(
        self, direction: ArrayLike, matrix: ArrayLike, bonus: float, *, n_axes: int = 2
    ) -> FoundAtom:
        """Return an atom x of a large value ``direction . x + bonus sqrt(x' matrix x)``.

        Parameters
        ----------
        direction : array_like of shape (n_features,)
        matrix : array_like of shape (n_features, n_features)
            Symmetric and positive semidefinite.
        bonus : float
            At least 0.
        n_axes : int, default 2
            Number of axes of the matrix, those of the largest eigenvalues, along which candidates are sought.

        Returns
        -------
        FoundAtom

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or range, or if no value is a finite number.

        Notes
        -----
        The value is the largest ``(direction + bonus root u) . x`` over unit vectors u, where root is the
        symmetric root of the matrix. So it is a maximum of inner products. Candidates are those of the
        direction itself, and those with u along both signs of the axes. The value is convex in x. So the atom
        whose product with the gradient at x is the largest is never worse than x, and the search goes on with
        the gradient at the best atom found, while that improves it.
        """
        width = self._atoms.shape[1]
        direction, n_axes = read_vector("direction", direction, width), check_int("n_axes", n_axes, 0)
        square, bonus = _read_matrix(matrix, width), check_real("bonus", bonus, 0.0, math.inf, closed=True)
        if bonus == math.inf:
            raise ValueError("bonus must be finite, got inf")
        asked, starts = _Question(direction, square.reshape(-1), bonus), direction[None]
        if self._groups and n_axes and bonus:
            values, axes = np.linalg.eigh(square)
            longest = (axes * np.sqrt(np.maximum(values, 0.0))).T[::-1][:n_axes] * bonus
            starts = np.concatenate([starts, direction + longest, direction - longest])
        found = self._search(starts, asked, -math.inf, _NONE_EXCLUDED)
        for _ in range(_ASCENTS if bonus else 0):
            if found.is_exact:
                break
            atom = self._atoms[found.id].astype(np.float64)
            image = square @ atom
            length = math.sqrt(max(float(atom @ image), 0.0))
            gradient = direction + (bonus / length if length else 0.0) * image
            better = self._candidate(gradient[None], asked, _NONE_EXCLUDED)
            if better.value <= found.value:
                break
            found = better
        return found

    def _search(
        self,
        queries: NDArray[np.float64],
        asked: _Question,
        above: float,
        excluded: NDArray[np.bool_],
    ) -> FoundAtom:
        """Return the best candidate of the queries, or the best of all atoms if that is not above a value."""
        self._n_searches += 1
        checked = self._check_every is not None and self._n_searches % self._check_every == 0
        for _ in self._groups:
            found = self._candidate(queries, asked, excluded)
            if found.id >= 0 and found.value > above:
                if checked:
                    self._check(found, self._scan(asked, excluded), above)
                return found
        self.exact_scans += 1
        self.inner_products += len(self._atoms)
        found = self._scan(asked, excluded)
        if found.id < 0 and not (excluded.size and bool(excluded.all())):
            raise ValueError("direction must have finite products with the atoms, got numbers too large")
        if checked:
            self._check(found, found, above)
        return found

    def _check(self, found: FoundAtom, exact: FoundAtom, above: float) -> None:
        base = above if math.isfinite(above) else 0.0
        is_best = found.value == exact.value or exact.value == base
        self.ratios.append(1.0 if is_best else (found.value - base) / (exact.value - base))

    def _candidate(
        self, queries: NDArray[np.float64], asked: _Question, excluded: NDArray[np.bool_]
    ) -> FoundAtom:
        """Return the best atom in the next group's buckets of some queries, of id -1 if they are empty."""
        group = self._next
        self._next = (group + 1) % len(self._groups)
        if self._redraw and self._redraw_after is not None and self._uses[group] >= self._redraw_after:
            self._drawings[group] += 1
            self._groups[group] = self._redraw(group, self._drawings[group])
            self._uses[group] = 0
            self.redrawn += 1
        self._uses[group] += 1
        index = self._groups[group]
        family, slots = index.family, read_only(index.buckets()[0])
        probed = family.probe(queries, self._n_probes) if self._n_probes > 1 else family.hash_query(queries)
        codes = probed.reshape(len(queries), family.n_hashes, -1).transpose(1, 0, 2)
        codes = read_only(np.ascontiguousarray(codes).reshape(family.n_hashes, -1))
        self._stamp += 1
        ids = np.empty(min(codes.size * slots.shape[2], len(self._atoms)), np.int64)
        n = kernels.collect_ids(slots, codes, excluded, self._stamp, self._stamps, ids)
        if n < 0:
            raise ValueError(f"index must have ids of the {len(self._atoms)} atoms, got id {-1 - n}")
        self.inner_products += n
        best, value = kernels.best_of_ids(self._atoms, read_only(ids), *asked, 0, n)
        return FoundAtom(best, value, False)

    def _scan(self, asked: _Question, excluded: NDArray[np.bool_]) -> FoundAtom:
        """Return the best of all atoms."""
        parts = map_blocks(
            lambda a, b: kernels.best_of_rows(self._atoms, *asked, excluded, a, b), len(self._atoms), _ATOMS
        )
        # Ranges come in rising order, and `max` returns the first of equal ones.
        best, value = max(parts, key=lambda part: part[1])
        return FoundAtom(best, value, True)


def run_over(index: Any, atoms: NDArray[Any], check_every: int | None) -> OracleRun:
    """Return a run over an `InnerProductOracle`, an `LSHIndex`, or for None one that compares all atoms.

    The atoms are those of `read_atoms`.
    """
    if index is None:
        return OracleRun(atoms, (), 1, check_every)
    if not isinstance(index, LSHIndex):
        start = getattr(index, "start", None)
        if start is None:
            raise TypeError(
                f"index must be an InnerProductOracle, an LSHIndex or None, got {type(index).__name__}"
            )
        run: OracleRun = start(atoms, check_every=check_every)
        return run
    refuse_gpu("index", index.buckets()[0])
    if not isinstance(index.family, InnerProduct):
        raise TypeError(f"index must have an InnerProduct family, got {type(index.family).__name__}")
    if index.family.n_features not in (None, atoms.shape[1]):
        raise ValueError(
            f"index must hash {atoms.shape[1]} features, as atoms have, got {index.family.n_features}"
        )
    return OracleRun(atoms, (index,), 1, check_every)


def inner_product(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the inner product of two vectors, with the rounding that it has in searches."""
    return float(kernels.inner_product(read_only(x), read_only(y)))


def read_atoms(atoms: Any, name: str = "atoms") -> NDArray[Any]:
    """Return atoms as a finite float32 or float64 matrix in C order that has a row and a column."""
    refuse_gpu(name, atoms)
    array = check_dense(atoms, name=name)
    if not array.size:
        raise ValueError(f"{name} must have at least one row and one column, got shape {array.shape}")
    return read_only(array)


def _read_matrix(matrix: Any, width: int) -> NDArray[np.float64]:
    """Return a symmetric matrix as a float64 array of one's own, which cannot be written to."""
    refuse_gpu("matrix", matrix)
    array = check_dense(matrix, width, "matrix").astype(np.float64)
    if array.shape != (width, width):
        raise ValueError(f"matrix must have shape {(width, width)}, got {array.shape}")
    if not np.allclose(array, array.T, rtol=1e-6, atol=1e-12 * float(np.abs(array).max())):
        raise ValueError("matrix must be symmetric, got one that differs from its transpose")
    return read_only(array)


def read_vector(name: str, vector: Any, width: int) -> NDArray[np.float64]:
    """Return `width` finite numbers as a float64 array of one's own, which cannot be written to."""
    refuse_gpu(name, vector)
    array = check_numbers(name, vector)
    if array.shape != (width,):
        raise ValueError(f"{name} must have shape ({width},), as wide as atoms, got {array.shape}")
    if not bool(np.isfinite(array).all()):
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return read_only(array.copy())
