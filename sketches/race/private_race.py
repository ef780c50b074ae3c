"""Private releases of RACE: noisy counters, which reveal almost nothing about a single record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.family import HashFamily
from ...lsh.support.backend import refuse_gpu
from ...lsh.support.checks import check_flag, check_int, check_real
from ...lsh.support.public import publish
from ...lsh.support.types import RowsLike
from ..core.hashed_rows import check_family
from ..core.state import StateSpec
from .kernel_sums import KernelQueries
from .modes import find_modes
from .privacy_budget import PrivacyBudget, check_budget
from .release import Release, check_record_weight

if TYPE_CHECKING:
    from .race import Race

__all__ = ["PrivateRace"]


class PrivateRace(Release, KernelQueries):
    """Estimate kernel densities from noisy counters (differential privacy), as `Race.release` makes them.

    Parameters
    ----------
    family : HashFamily
        The family of the released sketch.
    n_outputs : int, optional
        As for `Race`.

    Attributes
    ----------
    epsilon : float
        The budget spent on a record that is in all of the merged parts: the sum of their budgets.
    epsilon_if_disjoint : float
        The budget spent on a record that is in only one of the merged parts: the largest of their budgets.
    total : float or ndarray of shape (n_outputs,)
        Estimated sum of the weights: the mean of the noisy sums of repetitions. The exact sum is private.

    Notes
    -----
    The release is epsilon-differentially private for adding or removing one record. A record moves one
    counter of each of the R repetitions by at most ``record_weight``, so the L1 sensitivity of the
    counters is ``R record_weight``. Each counter gets independent discrete Laplace noise, k with probability
    proportional to ``exp(-|k| epsilon / (R record_weight))`` (Dwork, McSherry, Nissim and Smith 2006;
    Ghosh, Roughgarden and Sundararajan 2012; for RACE, Coleman and Shrivastava 2021, "A one-pass
    distributed and private sketch for kernel sums", with integers in place of real numbers). Noise is sampled
    exactly, from the operating system's randomness: two releases of one sketch differ.

    Everything that is computed from a release is post-processing and costs nothing more. The guarantee covers
    the release only. So scale or clip rows by public bounds, not by bounds from the data, and choose the
    family's seed and parameters without looking at the data. The number of rows is private as well:
    `n_updates` counts the merged releases.

    Noise adds a variance of ``2 q / (1 - q)**2``, ``q = exp(-epsilon / (R record_weight))``, to each counter,
    about ``2 (R / epsilon)**2``. The mean over repetitions then has noise with a standard deviation of about
    ``sqrt(2 R) / epsilon`` rows. So fewer repetitions have less noise, but a larger error of the sketch
    itself: a few dozen are usual.

    References
    ----------
    - Dwork, McSherry, Nissim, Smith. Calibrating noise to sensitivity in private data analysis. TCC 2006.
    - Ghosh, Roughgarden, Sundararajan. Universally utility-maximizing privacy mechanisms. SIAM Journal on
      Computing 41(6), 2012.
    - Coleman, Shrivastava. A one-pass distributed and private sketch for kernel sums with applications to
      machine learning at scale. CCS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import mergesketch
    >>> from mergesketch.lsh import SignedRandomProjection
    >>> X = np.random.default_rng(0).standard_normal((20_000, 4)) + 2.0
    >>> family = SignedRandomProjection(n_features=4, n_hashes=20, power=3, seed=1)
    >>> private = mergesketch.Race(family).update(X).release(epsilon=1.0)
    >>> private.epsilon
    1.0
    >>> bool(abs(private.total - 20_000) < 500)
    True
    """

    _released = "Race"
    _parameters: ClassVar[tuple[str, ...]] = ("family", "n_outputs")

    def __init__(self, family: HashFamily, *, n_outputs: int | None = None) -> None:
        self.family = check_family(family)
        self.n_outputs = None if n_outputs is None else check_int("n_outputs", n_outputs, 1, 1 << 20)

    def _layout(self) -> dict[str, StateSpec]:
        outputs = () if self.n_outputs is None else (self.n_outputs,)
        return {
            "counts": StateSpec((self.family.n_hashes, self.family.n_buckets, *outputs), "int64", "sum"),
            **self._budgets(),
        }

    @classmethod
    def from_race(
        cls,
        race: Race,
        epsilon: float,
        record_weight: int = 1,
        *,
        check_weights: bool = True,
        budget: PrivacyBudget | None = None,
    ) -> PrivateRace:
        """Release a `Race`; see `Race.release`.

        Parameters
        ----------
        race : Race
            A sketch with integer counters. It is not changed.
        epsilon : float
        record_weight : int, default 1
        check_weights : bool, default True
        budget : PrivacyBudget, optional
            As for `Race.release`.

        Returns
        -------
        PrivateRace

        Raises
        ------
        TypeError, ValueError, OverflowError
            If `race` is no `Race`, another argument is out of its range, or a row is heavier than
            `record_weight`.
        PrivacyBudgetError
            If less than `epsilon` remains of the budget.
        """
        if not (isinstance(race, KernelQueries) and hasattr(race, "release")):
            raise TypeError(f"race must be a Race, got {type(race).__name__}")
        if check_flag("check_weights", check_weights) and race.dtype == "int":
            check_record_weight(race, record_weight)
        return PrivateRace(race.family, n_outputs=race.n_outputs)._take_release(
            race, epsilon, record_weight, budget
        )

    def _take_release(
        self, race: Race, epsilon: float, record_weight: int, budget: PrivacyBudget | None
    ) -> Self:
        """Take over the noisy counters of `race`, which has the family and the outputs of this release."""
        check_budget(budget)
        if race.dtype != "int":
            raise ValueError('release needs integer counters, for exact noise; got a Race with dtype="float"')
        check_real("epsilon", epsilon, 0.0, math.inf)
        weight = check_int("record_weight", record_weight, 1, 1 << 31)
        counts = {"counts": race.state["counts"].array}
        return self._take_noisy(race, counts, race.family.n_hashes * weight, epsilon, budget)

    @property
    def counts(self) -> NDArray[np.int64]:
        """The noisy counters, shape (R, W) or (R, W, n_outputs). This is a view: do not write to it."""
        return self._arrays["counts"]

    @property
    def total(self) -> Any:
        """Estimated sum of the weights, with noise of standard deviation ``noise_std sqrt(W / R)``."""
        total = self._arrays["counts"].sum(axis=1, dtype=np.float64).mean(axis=0)
        return float(total) if self.n_outputs is None else total

    def _query_rows(self, Q: Any) -> Any:
        refuse_gpu(type(self).__name__, Q)
        return super()._query_rows(Q)

    def modes(
        self,
        k: int = 1,
        *,
        candidates: RowsLike | None = None,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
        separation: float = 0.5,
        n_starts: int = 256,
        n_steps: int = 40,
        seed: int = 0,
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Find points of high density that lie apart. This is post-processing, at no further cost in privacy.

        Parameters
        ----------
        k : int
            The most modes to return.
        candidates : array of shape (n, features), optional
            Public points, never rows of the data. Modes are chosen among them.
        low, high : float or array of shape (features,), optional
            Public bounds of a box, instead of candidates. The box is searched by ascent from random points.
        separation : float, default 0.5
            In (0, 1]. No two modes have a kernel above it.
        n_starts, n_steps, seed : int
            Number of random points of the ascent, number of steps of each point, and seed of both.

        Returns
        -------
        modes : ndarray of shape (at most k, features)
            Points in falling order of density. Points whose estimate is not above 0 are left out.
        sums : ndarray of shape (at most k,), float64
            The estimated kernel sums at these points. The largest of many noisy estimates is too large, by up
            to about ``sqrt(2 ln n)`` standard errors for n points.

        Raises
        ------
        TypeError, ValueError
            If the release has several outputs, or an argument has the wrong type or lies outside its range.

        Notes
        -----
        An estimated density is constant on the cells that hashes divide space into, so it has no gradient.
        The ascent tries random steps, which shrink if none goes up (Schwefel's (1, 1) evolution strategy, the
        one-fifth rule). It costs ``n_starts n_steps`` queries.

        Examples
        --------
        >>> import numpy as np
        >>> from mergesketch import Race
        >>> from mergesketch.lsh import PStable
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal([[1.0, -2.0]], 0.3, (5000, 2))
        >>> release = Race(PStable(2, 40, width=1.0, n_buckets=256)).update(X).release(1.0)
        >>> modes, sums = release.modes(low=-4.0, high=4.0)
        >>> bool(np.linalg.norm(modes[0] - [1.0, -2.0]) < 0.5)
        True
        """
        return find_modes(
            self,
            k,
            candidates=candidates,
            low=low,
            high=high,
            separation=separation,
            n_starts=n_starts,
            n_steps=n_steps,
            seed=seed,
        )


publish("mergesketch", __all__, globals())
