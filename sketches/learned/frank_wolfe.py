"""The Frank-Wolfe method over the convex hull of atoms, exact or with hash tables as its oracle."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.support.checks import check_int, check_real
from ...lsh.support.public import publish
from ..neighbours.index import LSHIndex
from .atoms import ProductOverflowError, inner_product, read_vector
from .inner_product_oracle import InnerProductOracle
from .oracle_run import FoundAtom, OracleRun

__all__ = ["FrankWolfeResult", "frank_wolfe"]

#: The derivative along a segment, relative to that at its beginning, at which a line search ends, and the
#: most gradients that it takes. At least every third one halves the interval.
_FLAT, _MOST_GRADIENTS = 1e-6, 200
#: The change of a number, relative to it, that rounding to float64 may undo.
_ROUNDING = 2.0**-53
#: The scale of weights below which they are multiplied out.
_SMALL = 1e-100


class FrankWolfeResult(NamedTuple):
    """Contain the point that `frank_wolfe` has found, and what each step did."""

    #: float64, shape (n_features,): the point.
    point: NDArray[np.float64]
    #: int64, shape (m,): the atoms of the point, in rising order.
    ids: NDArray[np.int64]
    #: float64, shape (m,): their weights, above 0, whose sum is 1: the point is ``weights @ atoms[ids]``.
    weights: NDArray[np.float64]
    #: The duality gap at the point, from a comparison of all atoms. For a convex function, its value at the
    #: point is at most this much above the minimum.
    gap: float
    #: True if the gap is at most the tolerance.
    converged: bool
    #: float64, shape (n steps,): ``gradient . (point - atom)`` of each step: the duality gap where `exact`,
    #: and otherwise less or equal.
    gaps: NDArray[np.float64]
    #: bool, shape (n steps,): True for steps whose atom was found by comparing all atoms.
    exact: NDArray[np.bool_]
    #: float64, shape (n steps,): the step sizes.
    step_sizes: NDArray[np.float64]
    #: Number of products of atoms and gradients, those of the last gap included, those of checks not.
    inner_products: int
    #: Number of comparisons of all atoms, that of the last gap included.
    exact_scans: int
    #: float64, shape (n checks,): gap of the step over the duality gap, for every checked step.
    ratios: NDArray[np.float64]


def frank_wolfe(
    gradient: Callable[[NDArray[np.float64]], ArrayLike],
    atoms: ArrayLike,
    index: InnerProductOracle | LSHIndex | None = None,
    *,
    n_steps: int = 100,
    step: str | Callable[[int], float] = "line-search",
    start: int = 0,
    tolerance: float = 0.0,
    check_every: int | None = None,
) -> FrankWolfeResult:
    """Minimise a smooth convex function over the convex hull of atoms (Frank-Wolfe, conditional gradient).

    Parameters
    ----------
    gradient : callable
        ``gradient(point)`` returns the gradient at a point: `n_features` finite numbers.
    atoms : array_like of shape (n, n_features)
        Finite numbers. float32 and float64 in C order are not copied.
    index : InnerProductOracle or LSHIndex, optional
        What finds the atom of a step. An `LSHIndex` must have an `InnerProduct` family, and row i of `atoms`
        under id i. By default all atoms are compared in every step.
    n_steps : int, default 100
        The most steps.
    step : {"line-search", "2/(t+2)"} or callable, default "line-search"
        The step size: the one that minimises the function along the segment to the atom, to a derivative of a
        millionth of that at its beginning; or 2 / (t + 2) in step t = 0, 1, ...; or ``step(t)`` in [0, 1].
    start : int, default 0
        The atom to begin with.
    tolerance : float, default 0
        The duality gap at which the method ends.
    check_every : int, optional
        Compare the atom of every such step with the best one, and return the ratios. This does not change the
        steps.

    Returns
    -------
    FrankWolfeResult

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range, if gradients or step sizes are not as described, or
        if differences of atoms, or the products of gradients and atoms, are too large for float64.

    Notes
    -----
    Step t moves the point x towards the atom s of the largest ``-gradient . s``. For a convex function f,
    the duality gap ``gradient . (x - s)`` of this atom is at least f(x) - min f.

    With an index, s is the best candidate of its tables. If that has a gap of at most `tolerance`, all atoms
    are compared. So the method only ends at a gap that is exact, and every step descends. If the gap of
    every step is at least c times the duality gap, then after T steps with line search

        f(x) - min f <= 2 (C / c + h) / (c T + 2),

    where C is the curvature of f over the hull (at most L D**2, for an L-Lipschitz gradient and diameter D)
    and h the error at the start. With exact steps it is at most 2 C / (T + 2), for both step rules (Jaggi
    2013, theorem 1). The hash tables do not bound c from below: `check_every` measures it.

    A line search takes gradients along the segment: two for a quadratic function, often about ten for others,
    and some dozens for steep ones or where the gradient jumps. After 200, or if rounding leaves no point
    between a place where the function falls and one where it rises, it takes the first of these places.

    A step costs a gradient, a search and ``O(n_features)``. The last gap costs a comparison of all atoms.

    References
    ----------
    - Frank, Wolfe. An algorithm for quadratic programming. Naval Research Logistics Quarterly 1956.
    - Jaggi. Revisiting Frank-Wolfe: projection-free sparse convex optimization. ICML 2013.
    - Xu, Song, Shrivastava. Breaking the linear iteration cost barrier for some well-known conditional
      gradient methods using MaxIP data-structures. NeurIPS 2021.

    Examples
    --------
    The point of a triangle that is nearest to (1, 1):

    >>> import numpy as np
    >>> from mergesketch import frank_wolfe
    >>> target = np.array([1.0, 1.0])
    >>> found = frank_wolfe(lambda x: x - target, [[0, 0], [1, 0], [0, 1]], n_steps=10)
    >>> found.point, found.ids, found.weights
    (array([0.5, 0.5]), array([1, 2]), array([0.5, 0.5]))
    >>> found.converged
    True
    """
    run = OracleRun(atoms, index, check_every=check_every)
    matrix = run.atoms
    n, width = matrix.shape
    n_steps = check_int("n_steps", n_steps, 1)
    start = check_int("start", start, 0, n - 1)
    tolerance = check_real("tolerance", tolerance, 0.0, math.inf, closed=True)
    if not callable(gradient):
        raise TypeError(f"gradient must be a function of a point, got {type(gradient).__name__}")
    if not callable(step) and not (isinstance(step, str) and step in ("line-search", "2/(t+2)")):
        raise ValueError(f'step must be "line-search", "2/(t+2)" or a function of the step, got {step!r}')

    def slope(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return read_vector("gradient(point)", gradient(x.copy()), width)

    point = matrix[start].astype(np.float64)
    weights = _Weights(start)
    gaps: list[float] = []
    exact: list[bool] = []
    sizes: list[float] = []
    converged, here = False, slope(point)
    for t in range(n_steps):
        own = -_product(here, point)
        found, gap = _gap(run, here, own, own + tolerance)
        if found.is_exact and gap <= tolerance:
            converged = True
            break
        with np.errstate(over="ignore"):
            move = matrix[found.id].astype(np.float64) - point
        if not bool(np.isfinite(move).all()):
            raise ValueError("atoms must have differences that float64 can hold, got numbers too large")
        if isinstance(step, str) and step == "line-search":
            size = _line_search(slope, point, move, _product(here, move))
            if size == 0.0:
                break  # Rounding leaves no way down.
        elif callable(step):
            size = check_real(f"step({t})", step(t), 0.0, 1.0, closed=True)
        else:
            size = 2.0 / (t + 2.0)
        point = matrix[found.id].astype(np.float64) if size == 1.0 else point + size * move
        weights.move(found.id, size)
        gaps.append(gap)
        exact.append(found.is_exact)
        sizes.append(size)
        here = slope(point)
    if not converged:
        gap = _gap(run, here, -_product(here, point), math.inf)[1]
    ids, shares = weights.sorted()
    return FrankWolfeResult(
        point,
        ids,
        shares,
        # The gap is never below 0, but its parts are rounded.
        max(gap, 0.0),
        gap <= tolerance,
        np.array(gaps),
        np.array(exact, bool),
        np.array(sizes),
        run.inner_products,
        run.exact_scans,
        np.array(run.ratios),
    )


class _Weights:
    """The weights of atoms: each move scales all of them, so they have a common scale."""

    def __init__(self, start: int) -> None:
        self._parts, self._scale = {start: 1.0}, 1.0

    def move(self, atom: int, size: float) -> None:
        """Multiply all weights by 1 - size, and add size to that of an atom."""
        if size == 1.0:
            self._parts, self._scale = {atom: 1.0}, 1.0
            return
        self._scale *= 1.0 - size
        if self._scale < _SMALL:
            self._parts = {i: part * self._scale for i, part in self._parts.items()}
            self._scale = 1.0
        self._parts[atom] = self._parts.get(atom, 0.0) + size / self._scale

    def sorted(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the atoms whose weight is above 0, in rising order, and their weights."""
        ids = np.array(sorted(self._parts), np.int64)
        weights = np.array([self._parts[i] for i in ids.tolist()]) * self._scale
        ids, weights = ids[weights > 0.0], weights[weights > 0.0]
        return ids, weights / weights.sum()


def _product(gradient: NDArray[np.float64], vector: NDArray[np.float64]) -> float:
    """Return the product of a gradient with a point or a move; ValueError if it is not finite."""
    product = inner_product(gradient, vector)
    if not math.isfinite(product):
        raise _too_large()
    return product


def _gap(run: OracleRun, gradient: NDArray[np.float64], own: float, above: float) -> tuple[FoundAtom, float]:
    """Return the atom of a step and its gap, above `own`, the value of the point."""
    try:
        found = run.exact(-gradient) if above == math.inf else run.best(-gradient, above=above)
    except ProductOverflowError:
        raise _too_large() from None
    gap = found.value - own
    if not math.isfinite(gap):
        raise _too_large()
    return found, gap


def _too_large() -> ValueError:
    return ValueError(
        "gradient(point) must have finite products with atoms and their differences, got numbers too large"
    )


def _line_search(
    slope: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    point: NDArray[np.float64],
    move: NDArray[np.float64],
    first: float,
) -> float:
    """Return where on the segment the derivative is 0, or 1 if it is not above 0 at the end.

    `first` is the derivative at the beginning; where it is not below 0, the place is 0. Otherwise secants of
    the Illinois method find the place, and bisection follows where two secants did not halve the interval:
    on steep functions the derivative at the end is so large that secants hardly move. For a quadratic
    function the first secant is exact.
    """

    def derivative(size: float) -> float:
        found = inner_product(slope(point + size * move), move)
        if math.isnan(found):
            raise _too_large()
        return found

    if first >= 0.0:
        return 0.0
    left, right, at_left, at_right = 0.0, 1.0, first, derivative(1.0)
    if at_right <= 0.0:
        return 1.0
    # On a shorter interval no coordinate changes by more than rounding does.
    moved = move != 0.0
    with np.errstate(over="ignore"):
        least = _ROUNDING * float((np.abs(point[moved]) / np.abs(move[moved])).min())
    last, slow = 0, 0
    for _ in range(_MOST_GRADIENTS):
        width = right - left
        # A derivative too large for float64 has no secant, and gives 0 or nan here.
        share = at_left / (at_left - at_right)
        size = left + share * width
        if slow >= 2 or not left < size < right:
            size, slow = left + 0.5 * width, 0
        if not left < size < right or width <= least:
            break
        here = derivative(size)
        if abs(here) <= -_FLAT * first:
            return size
        if here < 0.0:
            left, at_left = size, here
            at_right *= 0.5 if last < 0 else 1.0
            last = -1
        else:
            right, at_right = size, here
            at_left *= 0.5 if last > 0 else 1.0
            last = 1
        slow = slow + 1 if right - left > 0.5 * width else 0
    return left


publish("mergesketch", __all__, globals())
