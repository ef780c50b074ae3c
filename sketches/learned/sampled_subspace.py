"""Subspaces for low-rank gradients, drawn from a matrix sketch of the gradients."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_dense
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_flag, check_int, renamed
from ...lsh.support.public import publish
from ...lsh.support.random import normal, random_uint64
from ...lsh.support.wording import counted
from ..counts.frequent_directions import FrequentDirections

__all__ = ["SampledSubspace"]


class SampledSubspace:
    """Project gradients on a few directions, which are drawn anew from the gradients every now and then.

    Adam for a layer of shape (m, n) keeps two numbers for each weight. With gradients that are projected on k
    directions it keeps two for each of m k numbers (GaLore). Directions that are the longest of the latest
    gradient hardly change from one time to the next, and the weights never leave their subspace. So they are
    drawn here, with probabilities proportional to their lengths. They come from a sketch of all gradients
    since the last draw. Sketches of several machines merge, so all machines draw the same directions and
    never send a whole gradient.

    Parameters
    ----------
    n_features : int
        Number of columns n of a gradient.
    rank : int
        Number of directions k, at most `n_features`.
    n_directions : int, optional
        Number of directions that the sketch keeps, ``4 * rank`` by default, at most `n_features`.
    sampled : bool, default True
        False to take the longest directions instead of draws.
    seed : int, default 0
        In [0, 2**64).

    Attributes
    ----------
    sketch : FrequentDirections
        The sketch of the gradients since the last `refresh`.
    vectors : ndarray of shape (rank, n_features), float64
        The directions: rows of length 1, orthogonal to each other. They are those of random numbers until
        the first `refresh`.
    n_refreshes : int
        The number of calls of `refresh`, on which draws depend.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    For d = `n_directions`, an update takes O(m n d) operations, a projection O(m n k), and a refresh
    O(d**2 n). Objects can be pickled, to go on later.

    References
    ----------
    - Zhao et al. GaLore: memory-efficient LLM training by gradient low-rank projection. ICML 2024.
    - Zhang et al. Breaking the frozen subspace: importance sampling for low-rank optimization in LLM
      pretraining. 2025.

    Examples
    --------
    A step of gradient descent in the subspace:

    >>> import numpy as np, mergesketch
    >>> subspace = mergesketch.SampledSubspace(50, rank=4, seed=1)
    >>> weights, gradient = np.zeros((20, 50)), np.ones((20, 50))
    >>> subspace = subspace.update(gradient).refresh()
    >>> small = subspace.project(gradient)
    >>> small.shape
    (20, 4)
    >>> weights -= 0.1 * subspace.restore(small)

    Over ranks, ``subspace.refresh(merge_over_ranks(subspace.sketch))`` draws from the gradients of all. If
    ranks have processors of different kinds, let one of them send its directions to the others:
    ``subspace.vectors = comm.bcast(subspace.vectors)`` with mpi4py.
    """

    def __init__(
        self,
        n_features: int,
        rank: int,
        *,
        n_directions: int | None = None,
        sampled: bool = True,
        seed: int = 0,
    ) -> None:
        self.n_features = check_int("n_features", n_features, 1, 1 << 24)
        self.rank = check_int("rank", rank, 1, self.n_features)
        if n_directions is None:
            n_directions = min(4 * self.rank, self.n_features)
        self.n_directions = check_int("n_directions", n_directions, self.rank, self.n_features)
        self.sampled = check_flag("sampled", sampled)
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self.sketch = FrequentDirections(self.n_features, self.n_directions)
        self.n_refreshes = 0
        self.vectors = self._completed(np.empty((0, self.n_features)))

    def update(self, G: ArrayLike) -> Self:
        """Add a gradient to the sketch, from which the next directions are drawn.

        Parameters
        ----------
        G : array_like of shape (m, n_features)
            The gradient of a layer, finite.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If the gradient has another width or is not finite. Nothing changes then.
        """
        refuse_gpu("SampledSubspace.update", G)
        with renamed("X", "G"):
            self.sketch.update(check_dense(G, self.n_features, "G"))
        return self

    def refresh(self, sketch: FrequentDirections | None = None) -> Self:
        """Draw new directions, and begin with an empty sketch.

        Parameters
        ----------
        sketch : FrequentDirections, optional
            The sketch to draw from, one that is merged over machines for example. By default it is that of
            this object. It is not changed.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If `sketch` is no sketch of the same configuration. Nothing changes then.

        Notes
        -----
        Where a sketch has fewer directions than `rank`, random ones that are orthogonal to them follow.
        """
        source = self.sketch if sketch is None else sketch
        if not isinstance(source, FrequentDirections):
            raise TypeError(f"sketch must be a FrequentDirections, got {type(source).__name__}")
        if source.config() != self.sketch.config():
            raise ValueError(f"sketch must be like {self.sketch!r}, got {source!r}")
        # Each refresh has draws of its own, unlike those of any other refresh and seed.
        seed = int(random_uint64(self.seed, f"refresh {self.n_refreshes}", 1)[0])
        found = (
            source.sample_directions(self.rank, seed=seed) if self.sampled else source.directions(self.rank)
        )
        vectors = self._completed(found.vectors)
        self.vectors, self.sketch = vectors, self.sketch.empty_like()
        self.n_refreshes += 1
        return self

    def project(self, G: ArrayLike) -> NDArray[np.float64]:
        """Return a gradient in the subspace: its coordinates along the directions.

        Parameters
        ----------
        G : array_like of shape (m, n_features)

        Returns
        -------
        ndarray of shape (m, rank), float64

        Raises
        ------
        TypeError, ValueError
            If the gradient has another width or is not finite.
        """
        refuse_gpu("SampledSubspace.project", G)
        out: NDArray[np.float64] = check_dense(G, self.n_features, "G").astype(np.float64) @ self.vectors.T
        return out

    def restore(self, R: ArrayLike) -> NDArray[np.float64]:
        """Return the full matrix of coordinates in the subspace, the step of a layer's weights.

        Parameters
        ----------
        R : array_like of shape (m, rank)

        Returns
        -------
        ndarray of shape (m, n_features), float64

        Raises
        ------
        TypeError, ValueError
            If the matrix has another width or is not finite.
        """
        refuse_gpu("SampledSubspace.restore", R)
        out: NDArray[np.float64] = check_dense(R, self.rank, "R").astype(np.float64) @ self.vectors
        return out

    def _completed(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `rank` orthogonal directions, the given ones first."""
        missing = self.rank - len(vectors)
        if not missing:
            return vectors
        purpose = f"subspace {self.n_refreshes}"
        drawn = normal(self.seed, purpose, missing * self.n_features)
        others = drawn.astype(np.float64).reshape(missing, self.n_features)
        # Twice, because rounding leaves a little of the given directions the first time.
        for _ in range(2):
            others -= (others @ vectors.T) @ vectors
            others = np.linalg.qr(others.T)[0].T
        return np.concatenate([vectors, others])

    def __repr__(self) -> str:
        arguments: dict[str, Any] = {
            "n_features": self.n_features,
            "rank": self.rank,
            "n_directions": self.n_directions,
            "sampled": self.sampled,
            "seed": self.seed,
        }
        inner = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        history = f"{counted(self.n_refreshes, 'draw')}, {counted(self.sketch.n_updates, 'row')} since"
        return f"<SampledSubspace({inner}): {history}>"


publish("mergesketch", __all__, globals())
