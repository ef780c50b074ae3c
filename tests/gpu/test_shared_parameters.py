"""Test what shared parameters offer beside `update` and `query`, on a GPU as on the CPU."""

from __future__ import annotations

import fake_cupy
import numpy as np
import pytest
from mergesketch import CafeMap, PairMap, RobeMap, SemanticMap, SharedParameters, TileMap

cupy = fake_cupy.install()

pytestmark = pytest.mark.gpu


def test_weights_sizes_and_means_are_the_cpus() -> None:
    here = SharedParameters(240, RobeMap(8), seed=2).initialize(0.5, seed=7)
    there = here.to("gpu")
    again = SharedParameters(240, RobeMap(8), seed=2).to("gpu").initialize(0.5, seed=7)
    assert there == here == again and again.device == "gpu"
    # The words of one row do not lie on the GPU before they are asked for there.
    for row in (5, "tea", b"tea"):
        np.testing.assert_array_equal(there.gather(row, 12).get(), here.gather(row, 12))
    folded = there.fold(60)
    assert folded.device == "gpu"
    np.testing.assert_allclose(folded.weights.get(), here.fold(60).weights, rtol=1e-6)
    mean = SharedParameters.average([there, there.empty_like()], [1, 3])
    assert mean.device == "gpu"
    np.testing.assert_array_equal(mean.weights.get(), here.weights / 4)
    taken = SharedParameters.from_weights(cupy.asarray(here.weights), RobeMap(8), seed=2)
    assert taken.device == "gpu"
    np.testing.assert_array_equal(taken.gather(cupy.arange(9), 12).get(), here.gather(range(9), 12))
    scaler = there.gradient_scaler([(30, 12), (7, 5)], [2.0, 0.5])
    np.testing.assert_array_equal(scaler.get(), here.gradient_scaler([(30, 12), (7, 5)], [2.0, 0.5]))


def test_products_and_bags_add_the_same() -> None:
    rng = np.random.default_rng(1)
    X, Y = (rng.integers(-3, 4, (5, n)).astype(np.float32) for n in (20, 11))
    here = SharedParameters(90, TileMap(4, 4)).update_product(X, Y, table=2)
    there = SharedParameters(90, TileMap(4, 4)).update_product(cupy.asarray(X), cupy.asarray(Y), table=2)
    assert there.device == "gpu" and there == here
    for transposed, given in ((False, X), (True, Y)):
        found = there.matmul(cupy.asarray(given), (20, 11), table=2, transposed=transposed)
        expected = here.matmul(given, (20, 11), table=2, transposed=transposed)
        np.testing.assert_array_equal(found.get(), expected)
    rows, weights = rng.integers(0, 9, 12), rng.integers(-2, 3, 12)
    gradients = rng.integers(-5, 6, (3, 6)).astype(float)
    sums = [SharedParameters(50, RobeMap(3), dtype="float64") for _ in range(2)]
    ends = np.array([0, 5, 5, 12])
    sums[0].update_bags(rows, ends, gradients, weights)
    sums[1].update_bags(*map(cupy.asarray, (rows, ends, gradients, weights)))
    assert sums[1].device == "gpu" and sums[1] == sums[0]
    with pytest.raises(NotImplementedError, match="a PairMap has no GPU kernels"):
        SharedParameters(50, PairMap()).gather(cupy.ones((4, 2), np.int64), 3)


def test_rows_enter_and_leave_as_on_the_cpu() -> None:
    rows = np.arange(30)
    here = SharedParameters(120, CafeMap(4, 12, 5, [3, 5]), seed=2).initialize(0.5, seed=7)
    for importance in ([(3, 1), (9, 5), (7, 4), (8, 4), (2, 3)], []):
        there = here.to("gpu").adapt(importance)
        here = here.adapt(importance)
        assert there.device == "gpu" and there == here and len(here.map.frequent) == 4
        np.testing.assert_array_equal(there.gather(cupy.asarray(rows), 12).get(), here.gather(rows, 12))


def test_signatures_lie_on_either_device() -> None:
    signatures = np.random.default_rng(0).integers(0, 2**32, (9, 12)).astype(np.uint32)
    here = SharedParameters(120, SemanticMap(2, block=3), seed=2).initialize(0.5)
    there = here.to("gpu").gather(cupy.asarray(signatures), 17)
    np.testing.assert_array_equal(there.get(), here.gather(signatures, 17))


def test_arrays_of_another_device_are_refused() -> None:
    rows, gradients = np.arange(4), np.ones((4, 3), np.float32)
    there = SharedParameters(90).update(cupy.asarray(rows), cupy.asarray(gradients))
    before = there.to_bytes()
    for call in (
        lambda: there.gather(rows, 3),
        lambda: there.update(cupy.asarray(rows), gradients),
        lambda: there.gather_bags(cupy.asarray(rows), np.array([0, 4]), 3),
        lambda: there.matmul(gradients, (3, 5)),
        lambda: there.to("cpu").matmul(cupy.asarray(gradients), (3, 5)),
    ):
        with pytest.raises(TypeError, match=r"lies (on the GPU|in main memory), but"):
            call()
    assert there.to_bytes() == before
