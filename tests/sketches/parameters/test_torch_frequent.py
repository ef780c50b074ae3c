"""Layers of PyTorch whose frequent rows get parameters of their own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from mergesketch import CafeMap, HashedEmbedding, RobeMap, SharedArray, TopK  # noqa: E402


def layer(seed: int = 0) -> HashedEmbedding:
    torch.manual_seed(seed)
    return HashedEmbedding(1000, 8, n_parameters=300, map=CafeMap(5, 8, block=4))


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.Adagrad], ids=["Adam", "Adagrad"])
def test_rows_and_averages_enter_and_stay_as_they_are(make: type) -> None:
    table, ids = layer(), torch.arange(1000)
    optimizer, counts = make(table.parameters(), lr=0.1), TopK(5)

    def step() -> None:
        batch = torch.randint(10, (50,)) ** 2
        counts.update(batch.numpy())
        optimizer.zero_grad()
        (table(batch) - 1.0).square().sum().backward()
        optimizer.step()

    def averages() -> list:
        """Return what the optimiser keeps of the entries of all rows, without their signs."""
        places = HashedEmbedding(1000, 8, shared=SharedArray(300), map=table.map)
        kept = [v for v in optimizer.state[table.shared.weights].values() if v.shape == (300,)]
        assert kept
        found = []
        for values in kept:
            with torch.no_grad():
                places.shared.weights.copy_(values)
                found.append((places(ids) / places.scale).abs())
        return found

    step()
    for k in (3, 5):
        before, kept = table(ids).detach(), averages()
        old = set(table.map.frequent)
        table.adapt(counts.top(k), optimizer=optimizer)
        assert len(table.map.frequent) == k and old < set(table.map.frequent)
        assert torch.equal(table(ids), before)
        assert all(map(torch.equal, averages(), kept))
        step()
    assert all(
        (v >= 0).all() for n, v in optimizer.state[table.shared.weights].items() if "sq" in n or n == "sum"
    )


def test_state_has_the_frequent_rows() -> None:
    table, other, ids = layer(), layer(1), torch.arange(1000)
    table.adapt([(3, 2.0), (999, 1.0)])
    other.load_state_dict(table.state_dict())
    assert other.map == table.map and torch.equal(other(ids), table(ids))
    unlike = HashedEmbedding(1000, 8, n_parameters=300, map=CafeMap(6, 8, block=4))
    with pytest.raises((ValueError, RuntimeError), match="n_frequent"):
        unlike.load_state_dict(table.state_dict())


def test_refusals() -> None:
    table = layer()
    before = table(torch.arange(1000)).detach()
    for importance, how in (
        ([(1, -1)], {}),
        ([(1, 1)], {"margin": -1}),
        ([(1, 1)], {"optimizer": 3}),
        (5, {}),
    ):
        with pytest.raises((TypeError, ValueError)):
            table.adapt(importance, **how)
    assert torch.equal(table(torch.arange(1000)), before) and not table.map.frequent
    with pytest.raises(ValueError, match=r"^map must be a CafeMap"):
        HashedEmbedding(9, 8, n_parameters=300, map=RobeMap()).adapt([])
    shared = SharedArray(300)
    first = HashedEmbedding(None, 8, shared=shared, map=CafeMap(2, 8))
    HashedEmbedding(None, 8, shared=shared)
    with pytest.raises(ValueError, match="shares its parameters with no other"):
        first.adapt([(1, 1)])
