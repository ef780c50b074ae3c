"""Write ``cross_polytope.npz``: collision probabilities of cross-polytope hashes, by numerical integration.

It is run by hand (``python -m mergesketch.lsh.tables.make_cross_polytope``); the library reads the table.

Under a Gaussian rotation the coordinates of two vectors at angle t are m independent pairs (U, V) of
standard normal numbers of correlation r = cos(t). The hashes are equal if the same pair is the largest in
magnitude for both vectors and has equal signs. For one of the m pairs and both signs, with
G(u, v) = P(|U| <= u, |V| <= v),

    p = 2 m * integral over u, v > 0 of density(u, v) G(u, v)**(m - 1)

The inner integral runs over w in v = r u + sqrt(1 - r**2) w, so that it stays smooth at small angles.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, owens_t

ANGLES = 257
LOG2_DIMENSIONS = np.arange(1, 17)


def upper_orthant(h: NDArray[Any], k: NDArray[Any], r: float) -> NDArray[np.float64]:
    """Return P(U > h, V > k) for h, k > 0 and correlation r, from Owen's T function."""
    s = np.sqrt((1.0 - r) * (1.0 + r))
    single = 0.5 * (ndtr(-h) + ndtr(-k))
    return single - owens_t(h, (k - r * h) / (h * s)) - owens_t(k, (h - r * k) / (k * s))


def collision_probabilities(angle: float, nodes: int = 240) -> NDArray[np.float64]:
    """Return the collision probability p for all dimensions, at one angle inside (0, pi)."""
    r, s = np.cos(angle), np.sin(angle)
    points, weights = np.polynomial.legendre.leggauss(nodes)
    u = 5.0 * (points + 1.0)
    u_weights = 5.0 * weights * np.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi)
    low = np.maximum(-r * u / s, -10.0)
    high = np.full_like(low, 10.0)
    low = np.minimum(low, high)
    half = 0.5 * (high - low)
    w = low[:, None] + half[:, None] * (points + 1.0)
    w_weights = half[:, None] * weights * np.exp(-0.5 * w * w) / np.sqrt(2.0 * np.pi)
    v = np.maximum(r * u[:, None] + s * w, 1e-12)
    U = np.broadcast_to(u[:, None], v.shape)
    both = 2.0 * (upper_orthant(U, v, r) + upper_orthant(U, v, -r))
    outside = np.clip(2.0 * ndtr(-U) + 2.0 * ndtr(-v) - both, 0.0, 1.0)
    log_inside = np.log1p(-np.minimum(outside, 1.0 - 1e-300))
    density = u_weights[:, None] * w_weights
    return np.array([2.0 * m * (density * np.exp((m - 1) * log_inside)).sum() for m in 2.0**LOG2_DIMENSIONS])


def main() -> None:
    """Write the table."""
    angles = np.linspace(0.0, np.pi, ANGLES)
    table = np.zeros((len(LOG2_DIMENSIONS), ANGLES))
    table[:, 0] = 1.0
    for i, angle in enumerate(angles[1:-1], 1):
        table[:, i] = collision_probabilities(angle)
    path = Path(__file__).with_name("cross_polytope.npz")
    np.savez_compressed(path, log2_dimensions=LOG2_DIMENSIONS, angles=angles, probabilities=table)
    for i in (1, 16, 64, 128, 192, 255):
        print(angles[i], table[:, i])


if __name__ == "__main__":
    main()
