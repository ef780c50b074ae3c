"""A run of searches for the atom of the largest value, among candidates of tables or among all atoms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.families.inner_product import InnerProduct
from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.threads import map_blocks
from ..kernels import max_inner_product as kernels
from ..neighbours.index import LSHIndex
from .atoms import ProductOverflowError, read_atoms, read_square, read_vector
from .inner_product_oracle import InnerProductOracle

__all__ = ["FoundAtom", "OracleRun"]

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
    """Search for atoms of large inner product with directions, in the tables of an oracle, and count.

    Parameters
    ----------
    atoms : array_like of shape (n_atoms, n_features)
        The atoms that were hashed. A run keeps no copy of float32 or float64 in C order, so do not change
        them before its end.
    index : InnerProductOracle or LSHIndex, optional
        An `LSHIndex` must have an `InnerProduct` family, and row i of `atoms` under id i. By default all
        atoms are compared in every search.
    check_every : int, optional
        Compare every such search with the exact one, and append the ratio of both to `ratios`. This changes
        no answer.

    Attributes
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms; it cannot be written to.
    inner_products : int
        Number of products of atoms and directions that the searches have computed, without those of checks.
    exact_scans : int
        Number of searches that have compared all atoms.
    redrawn : int
        Number of groups that were drawn anew.
    ratios : list of float
        The ratios of checked searches, at most 1: the amount by which the value of the atom found exceeds
        the value to be exceeded, over that of the best atom. If even the best atom does not exceed it, the
        amounts are negative, and the ratio is that of the best atom over that of the atom found.

    Raises
    ------
    TypeError, ValueError
        If the atoms have another shape than those that were hashed, or are not finite, or if the index is
        none of these.

    Notes
    -----
    Threads must not share a run. Runs that start alike give equal results.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import InnerProductOracle, OracleRun
    >>> atoms = np.random.default_rng(0).standard_normal((20_000, 16))
    >>> run = OracleRun(atoms, InnerProductOracle(atoms, seed=1), check_every=1)
    >>> found = run.best(np.ones(16), above=2.0)
    >>> found.value > 2.0, found.is_exact, run.inner_products < 4000
    (True, False, True)
    >>> len(run.ratios), 0.0 < run.ratios[0] <= 1.0
    (1, True)
    """

    def __init__(
        self,
        atoms: ArrayLike,
        index: InnerProductOracle | LSHIndex | None = None,
        *,
        check_every: int | None = None,
    ) -> None:
        self.atoms = read_atoms(atoms)
        self._oracle = index if isinstance(index, InnerProductOracle) else None
        self._groups = _groups_of(index, self.atoms.shape)
        self._n_probes = self._oracle.n_probes if self._oracle else 1
        self._check_every = None if check_every is None else check_int("check_every", check_every, 1)
        self._uses, self._drawings = [0] * len(self._groups), [0] * len(self._groups)
        self._stamps = np.full(len(self.atoms) if self._groups else 0, -1, np.int64)
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
            if a product is not finite.
        """
        vector = read_vector("direction", direction, self.atoms.shape[1])
        above = check_real("above", above, -math.inf, math.inf, closed=True)
        flags = _NONE_EXCLUDED
        if excluded is not None:
            refuse_gpu("OracleRun", excluded)
            flags = read_only(np.ascontiguousarray(check_array("excluded", excluded)))
            if flags.dtype != np.bool_ or flags.shape != (len(self.atoms),):
                raise ValueError(
                    f"excluded must be bool of shape ({len(self.atoms)},), got {flags.dtype} of {flags.shape}"
                )
        asked = _Question(vector)
        with self._whole():
            return self._checked(self._search(vector[None], asked, above, flags), asked, above, flags)

    def exact(self, direction: ArrayLike) -> FoundAtom:
        """Return the atom of the largest inner product with a direction, by comparing all atoms.

        Parameters
        ----------
        direction : array_like of shape (n_features,)

        Returns
        -------
        FoundAtom
            Of equal atoms the one of the lowest id.

        Raises
        ------
        TypeError, ValueError
            If the direction is not `n_features` finite numbers, or if a product is not finite.
        """
        vector = read_vector("direction", direction, self.atoms.shape[1])
        with self._whole():
            return self._exact(_Question(vector), _NONE_EXCLUDED)

    def best_with_bonus(
        self, direction: ArrayLike, matrix: ArrayLike, bonus: float, *, n_axes: int = 2
    ) -> FoundAtom:
        """Return an atom x of a large value ``direction . x + bonus sqrt(x' matrix x)``.

        Parameters
        ----------
        direction : array_like of shape (n_features,)
        matrix : array_like of shape (n_features, n_features)
            Symmetric and positive semidefinite, up to a millionth of its largest entry.
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
            If an argument has the wrong type, shape or range, or if a value is not finite.

        Notes
        -----
        The value is the largest ``(direction + bonus root u) . x`` over unit vectors u, where root is the
        symmetric root of the matrix. So it is a maximum of inner products. Candidates are those of the
        direction itself, and those with u along both signs of the axes. The value is convex in x. So the atom
        whose product with the gradient at x is the largest is never worse than x, and the search goes on with
        the gradient at the best atom found, while that improves it.
        """
        width = self.atoms.shape[1]
        direction, n_axes = read_vector("direction", direction, width), check_int("n_axes", n_axes, 0)
        square, bonus = read_square(matrix, width), check_real("bonus", bonus, 0.0, math.inf, closed=True)
        if bonus == math.inf:
            raise ValueError("bonus must be finite, got inf")
        asked, starts = _Question(direction, square.reshape(-1), bonus), direction[None]
        if self._groups and n_axes and bonus:
            values, axes = np.linalg.eigh(square)
            longest = (axes * np.sqrt(np.maximum(values, 0.0))).T[::-1][:n_axes] * bonus
            starts = np.concatenate([starts, direction + longest, direction - longest])
        with self._whole():
            found = self._search(starts, asked, -math.inf, _NONE_EXCLUDED)
            for _ in range(_ASCENTS if bonus else 0):
                if found.is_exact:
                    break
                atom = self.atoms[found.id].astype(np.float64)
                image = square @ atom
                length = math.sqrt(max(float(atom @ image), 0.0))
                gradient = direction + (bonus / length if length else 0.0) * image
                better = self._candidate(gradient[None], asked, _NONE_EXCLUDED)
                if better.value <= found.value:
                    break
                found = better
            return self._checked(found, asked, -math.inf, _NONE_EXCLUDED)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Undo a search that raises: its counts, the turn of the groups, and their drawing.

        A ratio is appended last, so there is none to undo.
        """
        kept = dict(vars(self), _groups=self._groups.copy(), _uses=self._uses.copy())
        kept["_drawings"] = self._drawings.copy()
        try:
            yield
        except BaseException:
            # Stamps only have to differ from older ones.
            vars(self).update(kept, _stamp=self._stamp)
            raise

    def _search(
        self,
        queries: NDArray[np.float64],
        asked: _Question,
        above: float,
        excluded: NDArray[np.bool_],
    ) -> FoundAtom:
        """Return the best candidate of the queries, or the best of all atoms if that is not above a value."""
        for _ in self._groups:
            found = self._candidate(queries, asked, excluded)
            if found.id >= 0 and found.value > above:
                return found
        return self._exact(asked, excluded)

    def _exact(self, asked: _Question, excluded: NDArray[np.bool_]) -> FoundAtom:
        """Return the best of all atoms, and count their comparison."""
        self.exact_scans += 1
        self.inner_products += len(self.atoms)
        return self._scan(asked, excluded)

    def _checked(
        self, found: FoundAtom, asked: _Question, above: float, excluded: NDArray[np.bool_]
    ) -> FoundAtom:
        """Return the answer to a search, after comparing it with the exact one if it is its turn."""
        self._n_searches += 1
        if self._check_every is not None and self._n_searches % self._check_every == 0:
            best = found.value if found.is_exact else self._scan(asked, excluded).value
            base = above if math.isfinite(above) else 0.0
            # Halves, because the difference of two large values may be more than float64 can hold.
            self.ratios.append(_ratio(found.value / 2.0 - base / 2.0, best / 2.0 - base / 2.0))
        return found

    def _candidate(
        self, queries: NDArray[np.float64], asked: _Question, excluded: NDArray[np.bool_]
    ) -> FoundAtom:
        """Return the best atom in the next group's buckets of some queries, of id -1 if they are empty."""
        group = self._next
        self._next = (group + 1) % len(self._groups)
        oracle = self._oracle
        if oracle and oracle.redraw_after is not None and self._uses[group] >= oracle.redraw_after:
            self._drawings[group] += 1
            self._groups[group] = oracle.draw_group(self.atoms, group, self._drawings[group])
            self._uses[group] = 0
            self.redrawn += 1
        self._uses[group] += 1
        index = self._groups[group]
        family, slots = index.family, read_only(index.buckets()[0])
        probed = family.probe(queries, self._n_probes) if self._n_probes > 1 else family.hash_query(queries)
        codes = probed.reshape(len(queries), family.n_hashes, -1).transpose(1, 0, 2)
        codes = read_only(np.ascontiguousarray(codes).reshape(family.n_hashes, -1))
        self._stamp += 1
        ids = np.empty(min(codes.size * slots.shape[2], len(self.atoms)), np.int64)
        n = kernels.collect_ids(slots, codes, excluded, self._stamp, self._stamps, ids)
        if n < 0:
            raise ValueError(f"index must have ids of the {len(self.atoms)} atoms, got id {-1 - n}")
        self.inner_products += n
        best, value = kernels.best_of_ids(self.atoms, read_only(ids), *asked, 0, n)
        return FoundAtom(_finite(best), value, False)

    def _scan(self, asked: _Question, excluded: NDArray[np.bool_]) -> FoundAtom:
        """Return the best of all atoms."""
        parts = map_blocks(
            lambda a, b: kernels.best_of_rows(self.atoms, *asked, excluded, a, b), len(self.atoms), _ATOMS
        )
        # Ranges come in rising order, and `max` returns the first of equal ones.
        for atom, _ in parts:
            _finite(atom)
        best, value = max(parts, key=lambda part: part[1])
        return FoundAtom(best, value, True)


def _finite(atom: int) -> int:
    """Return the number of an atom; ValueError if a kernel has found a value that is not finite."""
    if atom == kernels.OVERFLOWED:
        raise ProductOverflowError(
            "direction must have finite products with the atoms, got numbers too large"
        )
    return atom


def _ratio(gain: float, most: float) -> float:
    """Return the ratio of a gain to the largest one, at most 1; of two losses that of the smaller one."""
    if gain == most:
        return 1.0
    return gain / most if most > 0.0 else most / gain


def _groups_of(index: Any, shape: tuple[int, ...]) -> list[LSHIndex]:
    """Return the groups of tables of an index; TypeError or ValueError unless it is one of such atoms."""
    if index is None:
        return []
    if isinstance(index, InnerProductOracle):
        if shape != (index.n_atoms, index.n_features):
            raise ValueError(
                f"atoms must be those that the index has hashed, of shape "
                f"{(index.n_atoms, index.n_features)}, got shape {shape}"
            )
        return list(index.indexes)
    if not isinstance(index, LSHIndex):
        raise TypeError(
            f"index must be an InnerProductOracle, an LSHIndex or None, got {type(index).__name__}"
        )
    refuse_gpu("index", index.buckets()[0])
    if not isinstance(index.family, InnerProduct):
        raise TypeError(f"index must have an InnerProduct family, got {type(index.family).__name__}")
    if index.family.n_features not in (None, shape[1]):
        raise ValueError(f"index must hash {shape[1]} features, as atoms have, got {index.family.n_features}")
    return [index]


publish("mergesketch", __all__, globals())
