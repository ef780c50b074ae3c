"""Test that a fitted ProductQuantizer encodes, decodes and scores on a GPU as on the CPU."""

from __future__ import annotations

import fake_cupy
import numpy as np
import pytest
from mergesketch import ProductQuantizer

cupy = fake_cupy.install()

pytestmark = pytest.mark.gpu


def test_arrays_on_the_gpu_have_the_codes_and_scores_of_the_cpu() -> None:
    X = np.random.default_rng(0).standard_normal((150, 12))
    quantizer = ProductQuantizer(12, 6, 8).fit(X)
    codes, there = quantizer.encode(X), cupy.asarray(X)
    found = quantizer.encode(there)
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(found.get(), codes)
    np.testing.assert_array_equal(quantizer.decode(found).get(), quantizer.decode(codes))
    for metric in ("inner_product", "sqeuclidean"):
        for tables in ("bytes", "floats"):
            scores, bounds = quantizer.scores(X[:5], codes, metric=metric, tables=tables, return_bound=True)
            ours = quantizer.scores(there[:5], found, metric=metric, tables=tables, return_bound=True)
            np.testing.assert_array_equal(ours[0].get(), scores)
            np.testing.assert_array_equal(ours[1].get(), bounds)
    with pytest.raises(TypeError, match="codes lies in main memory, but Q on the GPU"):
        quantizer.scores(there, codes)
    with pytest.raises(NotImplementedError, match="fit has no GPU kernels"):
        quantizer.fit(there)
