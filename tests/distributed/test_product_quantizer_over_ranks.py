"""Test product quantizers fitted over MPI ranks: the centroids of one process, or one error on every rank."""

from ranks import Ranks, needs_mpi

SAME = """
import numpy as np
from mergesketch import ProductQuantizer
from mergesketch.distributed import communicator, fit_over_ranks
from mergesketch.sketches.coding import product_fit

comm = communicator()
product_fit._SAMPLE = 100
rng = np.random.default_rng(1)
X = rng.standard_normal((500, 8)) * rng.gamma(1.0, size=8)
weights = rng.gamma(1.0, size=(500, 4))
cuts = np.sort(rng.integers(0, 501, comm.size - 1))
cuts[:1] = 0  # the first rank has no rows
mine = np.split(np.arange(500), cuts)[comm.rank]
for given in (None, weights[:, 0], weights):
    expected = ProductQuantizer(8, 4, 4, seed=2).fit(X, given)
    found = ProductQuantizer(8, 4, 4, seed=2)
    fit_over_ranks(found, X[mine], None if given is None else given[mine])
    assert found == expected
    if not mine.size:
        fit_over_ranks(found, None)
    else:
        fit_over_ranks(found, X[mine], None if given is None else given[mine])
    assert found == expected

def refused(error, text, quantizer, *arguments, **options):
    try:
        fit_over_ranks(quantizer, *arguments, **options)
    except error as raised:
        assert text in str(raised), raised
    else:
        raise AssertionError(text)
    assert not quantizer.is_fitted

from mergesketch.errors import DistributedError, IncompatibleSketchError
few, first = X[:5], comm.rank == 0
refused(ValueError, "X must have at least one row", ProductQuantizer(8, 4), X[:0])
refused(DistributedError, "X must be finite", ProductQuantizer(8, 4), few if first else few * np.nan)
refused(IncompatibleSketchError, "differ in seed", ProductQuantizer(8, 4, seed=int(first)), few)
refused(IncompatibleSketchError, "weights a row", ProductQuantizer(8, 4), few, weights[:5] if first else None)
refused(
    IncompatibleSketchError, "feature_weights", ProductQuantizer(8, 4), few,
    feature_weights=np.full(8, 1.0 + first),
)
print("done")
"""


@needs_mpi
def test_ranks_find_the_centroids_of_one_process(ranks: Ranks) -> None:
    run = ranks.run(3, SAME)
    assert [out.strip() for out in run.stdout] == ["done"] * 3, run.stderr
