"""The search for the atom of the largest inner product with a direction, in tables that are used in turn."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import FullBucketsWarning
from ...lsh.families.inner_product import InnerProduct
from ...lsh.support.checks import check_choice, check_flag, check_int
from ...lsh.support.configured import Configured
from ...lsh.support.public import publish
from ...lsh.support.random import random_uint64
from ..neighbours.index import LSHIndex
from .atoms import read_atoms

__all__ = ["InnerProductOracle"]

#: The mean number of atoms in a bucket from which the default of `power` follows.
_IN_BUCKET = 12.0
#: The sizes of buckets, and the share of entries that buckets may drop.
_CAPACITIES, _OVERFLOW = (16, 32, 64, 128), 0.05
#: The share of atoms whose length is within the bound of the family. Longer ones are hashed as if shortened.
_SHORTER = 0.9
#: Numbers of atoms that are centred at a time.
_NUMBERS = 1 << 20


class InnerProductOracle(Configured):
    """Find atoms of large inner product with a direction (MaxIP, MIPS) without comparing all of them.

    It takes the place of the exact argmax, the linear minimisation oracle, in `frank_wolfe`, `herding` and
    `LeastSquaresValueIteration`. An `OracleRun` searches in it.

    Parameters
    ----------
    atoms : array_like of shape (n, n_features)
        Finite numbers. They are hashed, and not kept.
    n_groups : int, default 4
        Number of groups of tables, which are used in turn. Each group has hash functions of its own.
    n_tables : int, default 8
        Number of tables of a group.
    n_probes : int, default 8
        Number of buckets that a search reads in each table of a group. It is at most ``2**power``.
    power : int, optional
        Number of sign bits of a code, from 1 to 24. By default there are about 12 atoms for each bucket.
    center : bool, default True
        Hash ``atom - mean``. The mean changes all products with a direction by the same amount, so the same
        atom is the best, but the angles of centred atoms differ more.
    projection : {"gaussian", "hadamard"}, default "gaussian"
        As for `InnerProduct`: Hadamard transforms hash the atoms in about half the time.
    redraw_after : int, optional
        Number of uses of a group after which a run draws its hash functions anew. By default it never does.
    seed : int, default 0
        In [0, 2**64).

    Attributes
    ----------
    n_atoms, n_features : int
    indexes : tuple of LSHIndex
        The groups.
    nbytes : int
        Bytes of all tables.

    Raises
    ------
    TypeError, ValueError
        If the atoms are not a matrix of finite numbers with a row and a column, or if another argument has
        the wrong type or lies outside its range.

    Notes
    -----
    A search hashes the direction, reads the buckets of one group, and computes the exact products of the
    atoms in them. If none is above the value that the caller must exceed, the next groups follow, and then
    all atoms are compared. So an answer at or below that value is always the exact argmax.

    **Adaptive directions**. The next direction of an optimiser depends on the atoms that were found, and so
    on the hash functions. Bounds of the probability to find an atom hold for directions that do not. The
    first use of each group is independent of its hash functions, and ``redraw_after=1`` makes every use so.
    That costs the hashing of all atoms, which takes as long as tens of exact searches. With several groups, a
    direction for which one group finds nothing good meets other hash functions in the next step.

    **Lengths**. `InnerProduct` needs a bound on lengths, and gets one that 90 % of the centred atoms keep.
    Longer ones are hashed as if they were shortened to it, but their products are exact. So a few very long
    atoms do not make the codes of all others alike.

    **Cost**. A search takes ``n_tables power n_features`` operations for the codes and ``n_features`` for
    each candidate. It does not pay for a few ten thousand atoms of few features, for which a matrix product
    takes less time.

    The tables take ``n_groups n_tables 2**power (4 B + 4)`` bytes. B, the capacity of a bucket, is chosen so
    that at most 5 % of the entries are dropped, but is at most 128. Where many atoms are alike, buckets drop
    some of them.

    References
    ----------
    - Shrivastava, Li. Asymmetric LSH (ALSH) for sublinear time maximum inner product search (MIPS). NIPS
      2014.
    - Xu, Song, Shrivastava. Breaking the linear iteration cost barrier for some well-known conditional
      gradient methods using MaxIP data-structures. NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> atoms = np.random.default_rng(0).standard_normal((20_000, 16))
    >>> oracle = mergesketch.InnerProductOracle(atoms, seed=1)
    >>> run = mergesketch.OracleRun(atoms, oracle)
    >>> direction = np.ones(16)
    >>> found = run.best(direction)
    >>> found.is_exact, run.inner_products < 4000
    (False, True)
    >>> bool(found.value > 0.8 * (atoms @ direction).max())
    True
    """

    _parameters = (
        "n_groups",
        "n_tables",
        "n_probes",
        "power",
        "center",
        "projection",
        "redraw_after",
        "seed",
    )

    def __init__(
        self,
        atoms: ArrayLike,
        *,
        n_groups: int = 4,
        n_tables: int = 8,
        n_probes: int = 8,
        power: int | None = None,
        center: bool = True,
        projection: str = "gaussian",
        redraw_after: int | None = None,
        seed: int = 0,
    ) -> None:
        array = read_atoms(atoms)
        self.n_groups = check_int("n_groups", n_groups, 1, 1 << 10)
        self.n_tables = check_int("n_tables", n_tables, 1, 1 << 10)
        if power is None:
            power = min(max(1, round(math.log2(len(array) / _IN_BUCKET))), 24)
        self.power = check_int("power", power, 1, 24)
        self.n_probes = min(check_int("n_probes", n_probes, 1, 1 << 10), 1 << self.power)
        self.center = check_flag("center", center)
        self.projection: str = check_choice("projection", projection, ("gaussian", "hadamard"))
        self.redraw_after = None if redraw_after is None else check_int("redraw_after", redraw_after, 1)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self._n_atoms, self._n_features = array.shape
        self._indexes = tuple(self.draw_group(array, group, 0) for group in range(self.n_groups))

    @property
    def n_atoms(self) -> int:
        """The number of atoms."""
        return self._n_atoms

    @property
    def n_features(self) -> int:
        """The number of features of an atom."""
        return self._n_features

    @property
    def indexes(self) -> tuple[LSHIndex, ...]:
        """The groups of tables."""
        return self._indexes

    @property
    def nbytes(self) -> int:
        """Bytes of all tables."""
        return sum(index.nbytes for index in self._indexes)

    def draw_group(self, atoms: NDArray[Any], group: int, drawing: int) -> LSHIndex:
        """Return a new group of tables, for runs that draw groups anew.

        Parameters
        ----------
        atoms : the atoms, checked: float32 or float64 in C order
        group : int
            The number of the group.
        drawing : int
            The number of times that the group was drawn before.

        Returns
        -------
        LSHIndex
        """
        n, width = atoms.shape
        step = max(1, _NUMBERS // width)
        blocks = [atoms[a : a + step] for a in range(0, n, step)]
        mean = np.zeros(width)
        if self.center:
            for block in blocks:
                mean += (block / np.float64(n)).sum(axis=0)
        with np.errstate(over="ignore"):
            lengths = np.concatenate([np.linalg.norm(block - mean, axis=1) for block in blocks])
        if not lengths.max() < math.inf:
            raise ValueError("atoms must have squared lengths that float64 can hold, got a longer one")
        # A few long atoms would make the others alike: what they lack in length is their largest coordinate.
        bound = float(np.quantile(lengths, _SHORTER)) or float(lengths.max())
        seed = int(random_uint64(self.seed, f"InnerProductOracle: drawing {drawing} of group {group}", 1)[0])
        family = InnerProduct(
            width,
            self.n_tables,
            max_norm=bound or 1.0,
            power=self.power,
            projection=self.projection,
            oversize="clip",
            seed=seed,
        )
        codes = np.concatenate([family.hash(block - mean) for block in blocks])
        index = LSHIndex(family, capacity=_capacity(codes), seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FullBucketsWarning)
            return index.add_codes(codes, index.number_rows(0, n), by_default=True)


def _capacity(codes: NDArray[np.uint32]) -> int:
    """Return a size of buckets that drops few entries of rows with these codes."""
    loads = [np.bincount(column) for column in codes.T]
    for capacity in _CAPACITIES:
        dropped = sum(int(np.maximum(load - capacity, 0).sum()) for load in loads)
        if dropped <= _OVERFLOW * codes.size:
            return capacity
    return _CAPACITIES[-1]


publish("mergesketch", __all__, globals())
