"""Bloom signatures: the neighbourhoods of all nodes of a graph, each in a row of bits."""

from __future__ import annotations

from bisect import bisect_left
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.arrays import check_array
from ...lsh.support.checks import check_flag, check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..kernels import bloom_signatures
from .bloom_theory import counting_error, warn_of_saturation
from .neighbourhoods import Neighbourhoods, ratio

__all__ = ["BloomSignatures"]

_MAX_NODES = 1 << 40
_MAX_BITS = 1 << 30


class BloomSignatures(Neighbourhoods):
    """Estimate common neighbours of nodes of a graph, and features for link prediction, from bit signatures.

    Sizes of neighbourhoods, and of their intersections, are estimated by linear counting [1]_ [2]_.
    Signatures merge by OR. So edges may arrive as a stream, in parts and repeatedly. `propagate` passes
    signatures along the edges: one call computes the signatures of all nodes within two hops, two calls
    within three hops.

    Parameters
    ----------
    n_nodes : int
        Nodes are the numbers 0 to n_nodes - 1.
    n_bits : int
        Number of bits of a signature, a multiple of 64. Choose a few times the degrees that matter: if the
        union of two neighbourhoods has t n_bits nodes, the error of the size of their intersection is about
        ``sqrt(n_bits (e**t - t - 1))``.
    directed : bool
        True if an edge (u, v) makes only v a neighbour of u, False if it also makes u a neighbour of v.
    n_hops : int
        The largest distance of a neighbour. `update` needs 1; `propagate` returns signatures of more hops.
    seed : int

    Notes
    -----
    A node takes ``n_bits / 8`` bytes. An edge takes about 10 ns while the signatures are in the cache. A pair
    of nodes takes about 20 ns, and a cache miss for each 64 bytes of its signatures.

    A self loop changes nothing. An isolated node has the empty set. The neighbourhood for n_hops >= 2
    consists of all nodes that are at most n_hops edges away. That includes the direct neighbours and, if
    there are any, the node itself.

    What two nodes share is estimated from the unset bits of the union of their signatures. If the standard
    error of their number, ``sqrt((e**t - t - 1) / n_bits)`` as a share of it, is more than a third, as with
    fewer than about ten unset bits, the estimates are NaN. A size is estimated until all bits are set.

    References
    ----------
    .. [1] Whang, Vander-Zanden, Taylor. A linear-time probabilistic counting algorithm for database
       applications. ACM TODS 15(2), 1990.
    .. [2] Zhang et al. Learning scalable structural representations for link prediction with Bloom
       signatures. WWW 2024.

    Examples
    --------
    >>> import numpy as np, mergesketch
    >>> edges = np.array([[0, 2], [0, 3], [1, 2], [1, 3], [1, 4]])
    >>> signatures = mergesketch.BloomSignatures(n_nodes=5, n_bits=1024).update(edges)
    >>> signatures.cardinality([0, 1]).round(1).tolist()
    [2.0, 3.0]
    >>> signatures.common_neighbors([0, 0], [1, 2]).round(1).tolist()  # 2 and 0, without bias
    [2.0, -0.0]
    """

    _parameters = ("n_nodes", "n_bits", "directed", "n_hops", "seed")

    def __init__(
        self, n_nodes: int, n_bits: int = 1024, *, directed: bool = False, n_hops: int = 1, seed: int = 0
    ) -> None:
        self.n_nodes = check_int("n_nodes", n_nodes, 1, _MAX_NODES)
        self.n_bits = check_int("n_bits", n_bits, 64, _MAX_BITS)
        if self.n_bits % 64:
            raise ValueError(f"n_bits must be a multiple of 64, got {n_bits}")
        self.directed = check_flag("directed", directed)
        self.n_hops = check_int("n_hops", n_hops, 1, 64)
        self.seed = check_int("seed", seed, 0, (1 << 64) - 1)

    @classmethod
    def for_error(
        cls,
        n_nodes: int,
        relative_error: float,
        degree: int,
        confidence: float = 0.95,
        *,
        directed: bool = False,
        seed: int = 0,
    ) -> Self:
        """Return the smallest signatures whose `cardinality` has a bounded relative error.

        Parameters
        ----------
        n_nodes : int
        relative_error : float
            The bound of the error as a share of the cardinality, in (0, 1).
        degree : int
            The largest neighbourhood for which the bound holds, at least 1. `jaccard` and `common_neighbors`
            use the estimated sizes of unions: for them, give the size of the largest union.
        confidence : float, default 0.95
            The probability with which the bound holds, for each node by itself.
        directed : bool, default False
        seed : int, default 0

        Returns
        -------
        BloomSignatures

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or lies outside its range.

        Notes
        -----
        Linear counting of d nodes in m bits has a variance of about ``m (e**t - t - 1)``, t = d / m, and a
        bias of ``(e**t - t - 1) / 2`` [1]_. By Markov's inequality, the m whose mean square error is
        ``(1 - confidence) (relative_error d)**2`` is enough. It is also enough for smaller neighbourhoods,
        because ``(e**t - t - 1) / t**2`` rises with t.

        References
        ----------
        .. [1] Whang, Vander-Zanden, Taylor. A linear-time probabilistic counting algorithm for database
           applications. ACM TODS 15(2), 1990.

        Examples
        --------
        >>> import mergesketch
        >>> mergesketch.BloomSignatures.for_error(1000, relative_error=0.1, degree=100).n_bits
        1088
        """
        relative_error = check_real("relative_error", relative_error, 0.0, 1.0)
        confidence = check_real("confidence", confidence, 0.0, 1.0)
        degree = check_int("degree", degree, 1, _MAX_NODES)
        allowed = (1.0 - confidence) * (relative_error * degree) ** 2
        words = 1 + bisect_left(
            range(1, _MAX_BITS // 64), True, key=lambda n: counting_error(degree, 64 * n) <= allowed
        )
        if counting_error(degree, 64 * words) > allowed:
            raise ValueError(
                f"relative_error must be reached by {_MAX_BITS} bits, got {relative_error:g} at confidence "
                f"{confidence:g}"
            )
        new = cls(n_nodes, 64 * words, directed=directed, seed=seed)
        return new._asked_for(relative_error=relative_error, degree=degree, confidence=confidence)

    # -- edges ----------------------------------------------------------------------------------------

    def update(self, edges: RowsLike) -> Self:
        """Add edges.

        Parameters
        ----------
        edges : array of shape (n, 2) of integers, or SciPy sparse array of shape (n_nodes, n_nodes)
            Pairs of nodes, or an adjacency matrix whose stored entries are edges from row to column. Edges
            may repeat. In an undirected graph one direction is enough.

        Returns
        -------
        The signatures themselves.

        Raises
        ------
        TypeError, ValueError
            If edges have another shape or type, or a node is out of range. Nothing changes then.
        """
        if self.n_hops != 1:
            raise ValueError(f"n_hops must be 1 to add edges, got {self.n_hops}; use propagate")
        return self._take_in({"edges": edges})

    def propagate(self, edges: RowsLike) -> Self:
        """Return signatures of one more hop: the union of those of each node and of its neighbours.

        Parameters
        ----------
        edges : as for `update`
            The edges of the whole graph. Or those of a part of it, if you merge the results of all parts.

        Returns
        -------
        BloomSignatures
            New signatures, with n_hops + 1.

        Raises
        ------
        TypeError, ValueError
            If edges are not pairs of nodes of the graph.

        Examples
        --------
        >>> import mergesketch
        >>> path = [[0, 1], [1, 2], [2, 3]]
        >>> near = mergesketch.BloomSignatures(4).update(path)
        >>> near.propagate(path).cardinality([0]).round(1).tolist()  # 0 itself, 1 and 2
        [3.0]
        """
        edges = self._read(edges)
        n_edges = edges.sources.size
        wider = type(self)(
            self.n_nodes, self.n_bits, directed=self.directed, n_hops=self.n_hops + 1, seed=self.seed
        )
        kernel, both_ways = self._backend.kernels(bloom_signatures).pass_signatures, not self.directed
        signatures = self._arrays["signatures"]
        out = signatures.copy()
        self._by_nodes(
            lambda a, b: kernel(*edges, signatures, both_ways, a, b, out),
            n_edges * max(1, self.n_bits // 512),
        )
        return wider._set_arrays({"signatures": out, "n_updates": np.array([n_edges])}, self.device)

    # -- estimates ------------------------------------------------------------------------------------

    def cardinality(self, u: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the estimated sizes of neighbourhoods; for n_hops = 1 these are the numbers of neighbours.

        Parameters
        ----------
        u : array of n nodes, optional
            The nodes, by default all.

        Returns
        -------
        ndarray of shape (n,), float64
            The variance is about ``n_bits (e**t - t - 1)`` at ``t n_bits`` nodes. The bias is
            ``(e**t - t - 1) / 2``: .36 nodes if there are as many nodes as bits.

        Raises
        ------
        TypeError, ValueError
            If nodes are not integers, differ in number or are not in the graph.

        Warns
        -----
        SaturationWarning
            If signatures have all bits set. Their estimate is then a lower bound, ``n_bits log(n_bits)``
            nodes: that of a signature with one unset bit.
        """
        nodes = self._backend.xp.arange(self.n_nodes) if u is None else u
        ones = self._counts(nodes, nodes)[:, 0]
        n_full = int((ones == self.n_bits).sum())
        if n_full:
            warn_of_saturation(
                f"{n_full:,} of {ones.size:,} nodes have neighbourhoods too large for {self.n_bits:,} bits: "
                "all bits are set, so their sizes are lower bounds; use more bits"
            )
        return self._sizes[ones]

    def common_neighbors(self, u: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
        """Return the estimated number of nodes in both neighbourhoods, for each pair.

        Parameters
        ----------
        u, v : arrays of n nodes

        Returns
        -------
        ndarray of shape (n,), float64
            At most the size of either neighbourhood; it can be negative. The only bias is that of linear
            counting, for unions that are large compared with n_bits (see `cardinality`). NaN if the union of
            a pair is too large: see the notes of the class.

        Raises
        ------
        TypeError, ValueError
            If nodes are not integers, differ in number or are not in the graph.

        Warns
        -----
        SaturationWarning
            If pairs have NaN.

        Notes
        -----
        `link_features` contains ``numpy.maximum(common_neighbors(u, v), 0)``. It is exactly 0 if no bit is
        common, and has a smaller mean square error if most pairs have no common neighbour. But its sums and
        means are too large: `docs/structures/bloom_signatures.md` gives figures.
        """
        return self._overlaps(self._counts(u, v))[2]

    def jaccard(self, u: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
        """Return the estimated share of common nodes in the union of neighbourhoods; 0 if both are empty.

        Parameters
        ----------
        u, v : arrays of n nodes

        Returns
        -------
        ndarray of shape (n,), float64
            At most 1; negative or NaN where `common_neighbors` is.

        Raises
        ------
        TypeError, ValueError
            If nodes are not integers, differ in number or are not in the graph.
        """
        size_u, size_v, shared = self._overlaps(self._counts(u, v))
        return ratio(shared, size_u + size_v - shared)

    def adamic_adar(self, u: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
        """Return the estimated sum of 1 / log(degree) over the common neighbours.

        Parameters
        ----------
        u, v : arrays of n nodes

        Returns
        -------
        ndarray of shape (n,), float64
            Negative or NaN where `common_neighbors` is.

        Raises
        ------
        TypeError, ValueError
            If nodes are not integers, differ in number or are not in the graph.

        Notes
        -----
        The estimate is the estimated number of common neighbours times the mean weight of the common bits, or
        of all bits if there are none. The weight of a bit is the mean of 1 / log(degree) over all nodes that
        have it, weighted by the squared degree, because the number of pairs with a given common neighbour is
        proportional to that. The more nodes share a bit, the more the weights approach one mean. From about
        ten nodes a bit on, a constant
        times the exact number of common neighbours has a smaller error
        (`docs/structures/bloom_signatures.md`). Each call first reads all signatures for the degrees, so pass
        many pairs at once.
        """
        return self._weighted(u, v)[:, 0]

    def resource_allocation(self, u: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
        """Return the estimated sum of 1 / degree over the common neighbours; see `adamic_adar`.

        Parameters
        ----------
        u, v : arrays of n nodes

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        TypeError, ValueError
            If nodes are not integers, differ in number or are not in the graph.
        """
        return self._weighted(u, v)[:, 1]

    #: Names of the columns of `link_features`, and of its further columns with wider signatures.
    feature_names = (
        "smaller_size", "larger_size", "common", "union", "jaccard", "cosine", "containment",
        "adamic_adar", "resource_allocation",
    )  # fmt: skip
    wider_feature_names = ("near_far", "far_near", "far_far", "far_jaccard")

    def link_features(self, pairs: ArrayLike, wider: Self | None = None) -> NDArray[np.float32]:
        """Return all estimates for pairs of nodes, as features for a classifier of links.

        Parameters
        ----------
        pairs : array of shape (n, 2) of integers
        wider : BloomSignatures, optional
            Signatures that `propagate` returned for these.

        Returns
        -------
        ndarray of shape (n, 9 or 13), float32
            The columns of `feature_names`, and with `wider` those of `wider_feature_names` after them: the
            numbers of nodes in the near neighbourhood of the smaller of u and v and in the wide neighbourhood
            of the other, the other way round, and in both wide neighbourhoods, and the share of the latter.
            The order of a pair makes no difference. Negative estimates are clipped at 0: these are scores
            for a classifier, and their sums are biased. NaN where a neighbourhood or a union is too large
            for its bits: see the notes of the class.

        Warns
        -----
        SaturationWarning
            If pairs have NaN.

        Raises
        ------
        TypeError, ValueError
            If pairs are not pairs of nodes of the graph, or `propagate` did not make `wider` from these.
        """
        self._claim_device("pairs", pairs)
        array, xp = check_array("pairs", pairs), self._backend.xp
        if array.ndim != 2 or array.shape[1] != 2:
            raise ValueError(f"pairs must have shape (n, 2), got {array.shape}")
        u, v = self._nodes("pairs", array[:, 0]), self._nodes("pairs", array[:, 1])
        if wider is not None and (
            not isinstance(wider, BloomSignatures)
            or {**wider.config(), "n_hops": self.n_hops} != self.config()
            or wider.n_hops <= self.n_hops
        ):
            raise ValueError("wider must be made by propagate from these signatures")
        if wider is not None:
            wider = self._on_our_device(wider)
        u, v = xp.minimum(u, v), xp.maximum(u, v)
        counts = self._counts(u, v)
        smaller = self._known_sizes(xp.minimum(counts[:, 0], counts[:, 1]))
        larger = self._known_sizes(xp.maximum(counts[:, 0], counts[:, 1]))
        shared = xp.maximum(self._overlaps(counts)[2], 0.0)
        union = smaller + larger - shared
        columns = [
            smaller, larger, shared, union, ratio(shared, union),
            ratio(shared, xp.sqrt(smaller * larger)), ratio(shared, smaller),
            *xp.maximum(self._weighted(u, v, counts), 0.0).T,
        ]  # fmt: skip
        if wider is not None:
            near_far = xp.maximum(self._overlaps(self._counts(u, v, wider))[2], 0.0)
            far_near = xp.maximum(self._overlaps(self._counts(v, u, wider))[2], 0.0)
            far_u, far_v, far = wider._overlaps(wider._counts(u, v))
            far = xp.maximum(far, 0.0)
            columns += [near_far, far_near, far, ratio(far, far_u + far_v - far)]
        return xp.stack(columns, axis=1).astype(np.float32)


publish("mergesketch", __all__, globals())
