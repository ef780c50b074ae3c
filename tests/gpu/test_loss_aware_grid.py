"""Layers in few bits on a GPU: equal weights, and products as near as float32 is."""

from __future__ import annotations

import fake_cupy
import numpy as np
import pytest

cupy = fake_cupy.install()

from mergesketch import LossAwareGrid, SecondMoments  # noqa: E402 - once there is a CuPy

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("grid", ["free", "affine"])
def test_decodes_and_multiplies(grid: str) -> None:
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((40, 13)).astype(np.float32), rng.standard_normal((7, 13))
    layer = LossAwareGrid(W, SecondMoments(13).update(X), 3, grid=grid)
    there = layer.to("gpu")
    assert there.device == "gpu" and there == layer and there.to("cpu") == layer
    np.testing.assert_array_equal(there.decode().get(), layer.decode())
    np.testing.assert_array_equal(there.grid_points().get(), layer.grid_points())
    np.testing.assert_allclose(there.matmul(cupy.asarray(X)).get(), layer.matmul(X), rtol=0, atol=1e-5)
    with pytest.raises(TypeError, match="X lies in main memory, but the LossAwareGrid on the GPU"):
        there.matmul(X)
    with pytest.raises(NotImplementedError, match="building a LossAwareGrid"):
        LossAwareGrid(cupy.asarray(W), SecondMoments(13).update(X))
    with pytest.raises(NotImplementedError, match="SecondMoments has no GPU kernels"):
        SecondMoments(13).update(cupy.asarray(X))
