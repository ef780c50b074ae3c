"""Test the subspaces of gradients: their directions, their draws, and that machines agree."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from mergesketch import FrequentDirections, SampledSubspace

RNG = np.random.default_rng(0)
GRADIENT = RNG.standard_normal((40, 20)) * np.geomspace(10, 0.1, 20)


def assert_orthonormal(subspace: SampledSubspace) -> None:
    assert subspace.vectors.shape == (subspace.rank, subspace.n_features)
    np.testing.assert_allclose(subspace.vectors @ subspace.vectors.T, np.eye(subspace.rank), atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 20])
@pytest.mark.parametrize("sampled", [True, False])
def test_directions_are_orthonormal_whatever_the_gradients_are(rank: int, sampled: bool) -> None:
    one_hot = np.eye(20)[[3, 3, 7]]
    for G in (GRADIENT, one_hot, np.zeros((2, 20)), np.ones((9, 20)), GRADIENT[:0], GRADIENT * 1e-30):
        subspace = SampledSubspace(20, rank, sampled=sampled, seed=4)
        assert_orthonormal(subspace)
        assert_orthonormal(subspace.update(G).refresh())
        assert subspace.sketch == FrequentDirections(20, subspace.n_directions)
        small = subspace.project(GRADIENT)
        np.testing.assert_allclose(small, GRADIENT @ subspace.vectors.T)
        back = subspace.restore(small)
        # A projection: what lies in the subspace comes back, and the rest is orthogonal to it.
        np.testing.assert_allclose(subspace.project(back), small, atol=1e-9)
        np.testing.assert_allclose((GRADIENT - back) @ subspace.vectors.T, 0.0, atol=1e-9)
        if rank == 20:
            np.testing.assert_allclose(back, GRADIENT, atol=1e-9)


def test_the_longest_directions_are_those_of_the_gradients() -> None:
    subspace = SampledSubspace(20, 3, n_directions=20, sampled=False).update(GRADIENT).refresh()
    _, _, exact = np.linalg.svd(GRADIENT, full_matrices=False)
    assert np.linalg.norm(exact[:3] @ subspace.vectors.T) ** 2 == pytest.approx(3.0)


def test_draws_differ_from_refresh_to_refresh_and_reach_beyond_the_longest() -> None:
    subspace = SampledSubspace(20, 2, n_directions=20, seed=1)
    _, lengths, exact = np.linalg.svd(GRADIENT, full_matrices=False)
    n, reached = 600, np.zeros(20)
    for _ in range(n):
        subspace.update(GRADIENT).refresh()
        reached += ((exact @ subspace.vectors.T) ** 2).sum(axis=1)
    p = lengths / lengths.sum()
    expected = p + np.array([sum(p[j] * p[i] / (1 - p[j]) for j in range(20) if j != i) for i in range(20)])
    assert (np.abs(reached / n - expected) < 6 * np.sqrt(expected * (1 - expected) / n)).all()


def test_machines_that_merge_their_sketches_draw_the_same_directions() -> None:
    machines = [SampledSubspace(20, 4, seed=9).update(part) for part in np.split(GRADIENT, 4)]
    merged = sum(machine.sketch for machine in machines)
    drawn = [machine.refresh(merged).vectors for machine in machines]
    assert all((one == drawn[0]).all() for one in drawn)
    assert merged.n_updates == 40
    later = pickle.loads(pickle.dumps(machines[0]))
    for machine in (later, machines[0]):
        machine.update(GRADIENT).refresh()
    assert (later.vectors == machines[0].vectors).all() and later.n_refreshes == 2
    assert not np.allclose(later.vectors, drawn[0])
    assert "2 draws, 0 rows since" in repr(later)


def test_bad_arguments_are_refused() -> None:
    for arguments, match in [
        ({"n_features": 0, "rank": 1}, "n_features must be"),
        ({"n_features": 3, "rank": 4}, "rank must be"),
        ({"n_features": 3, "rank": 2, "n_directions": 1}, "n_directions must be"),
        ({"n_features": 3, "rank": 2, "sampled": 1}, "sampled must be"),
        ({"n_features": 3, "rank": 2, "seed": -1}, "seed must be"),
    ]:
        with pytest.raises((TypeError, ValueError), match=match):
            SampledSubspace(**arguments)
    subspace = SampledSubspace(20, 2)
    before = subspace.vectors.copy()
    for call in (subspace.update, subspace.project):
        for bad in (GRADIENT[:, :3], GRADIENT * np.nan, [["a"] * 20]):
            with pytest.raises((TypeError, ValueError), match="G "):
                call(bad)
    with pytest.raises(ValueError, match="G must lie within"):
        subspace.update(GRADIENT * 1e150)
    with pytest.raises(ValueError, match="R "):
        subspace.restore(GRADIENT)
    with pytest.raises(TypeError, match="sketch must be a FrequentDirections"):
        subspace.refresh(GRADIENT)
    with pytest.raises(ValueError, match="sketch must be like"):
        subspace.refresh(FrequentDirections(20, 3))
    assert subspace.n_refreshes == 0 and (subspace.vectors == before).all() and not subspace.sketch.n_updates


def test_seeds_and_refreshes_share_no_draws() -> None:
    gradient, drawn = np.diag(np.linspace(1.0, 2.0, 20)), []
    for seed in range(4):
        subspace = SampledSubspace(20, 5, seed=seed)
        drawn += [subspace.update(gradient).refresh().vectors for _ in range(5)]
    assert len({vectors.tobytes() for vectors in drawn}) == len(drawn)
