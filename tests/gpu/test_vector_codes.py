"""Test `VectorCodes` on a GPU: the codes and scores are the CPU's."""

from __future__ import annotations

from typing import Any

import fake_cupy
import numpy as np
import pytest
from mergesketch import VectorCodes

cupy = fake_cupy.install()

pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((90, 130))
ROWS[7] = 0.0
ROWS[50:60] = ROWS[40:50]  # rows of equal scores
QUERIES = ROWS[35:65] + 0.1 * RNG.standard_normal((30, 130))


@pytest.mark.parametrize("center", [None, ROWS[3]])
def test_codes_and_answers_are_the_cpus(center: Any) -> None:
    empty = VectorCodes(130, 2, center=center, seed=1)
    here, there = empty.copy().update(ROWS), empty.to("gpu").update(cupy.asarray(ROWS))
    assert there.device == "gpu" and isinstance(there._arrays["codes"], cupy.ndarray)
    assert there == here and there.to_bytes() == here.to_bytes() and there.to("cpu") == here
    Q = cupy.asarray(QUERIES)
    for metric in ("inner_product", "cosine", "sqeuclidean"):
        expected, expected_std = here.scores(QUERIES, metric=metric, return_std=True)
        scores, std = there.scores(Q, metric=metric, return_std=True)
        np.testing.assert_array_equal(scores.get(), expected)
        np.testing.assert_allclose(std.get(), expected_std, rtol=1e-9)
        some = RNG.integers(0, 90, (30, 4))
        np.testing.assert_array_equal(
            there.scores(Q, cupy.asarray(some), metric=metric).get(), np.take_along_axis(expected, some, 1)
        )
        np.testing.assert_array_equal(there.scores(Q, [4, 2], metric=metric).get(), expected[:, [4, 2]])
        for k in (5, 100):
            nearest, found = here.search(QUERIES, k, metric=metric), there.search(Q, k, metric=metric)
            np.testing.assert_array_equal(found.ids.get(), nearest.ids)
            np.testing.assert_array_equal(found.distances.get(), nearest.distances)


def test_rows_grow_and_merge_there() -> None:
    ids = RNG.permutation(90)
    whole = VectorCodes(130).update(ROWS, ids)
    there = VectorCodes(130).to("gpu")
    for i in range(0, 90, 30):
        there.update(cupy.asarray(ROWS[i : i + 30]), ids[i : i + 30])
    assert there == whole
    here, half = VectorCodes(130).update(ROWS[:45], ids[:45]), there.empty_like()
    half.update(cupy.asarray(ROWS[45:]), ids[45:])
    for merged, device in ((here | half, "cpu"), (half | here, "gpu")):
        assert merged == whole and merged.device == device


def test_rows_on_another_device_are_refused() -> None:
    there = VectorCodes(130).to("gpu").update(cupy.asarray(ROWS))
    here = there.to("cpu")
    for codes, X in ((there, ROWS), (here, cupy.asarray(ROWS))):
        for ask in (codes.update, codes.scores, codes.search):
            with pytest.raises(TypeError, match=r"lies .*, but the VectorCodes .*: copy the array there"):
                ask(X)
    with pytest.raises(ValueError, match=r"^X must have rows whose lengths.* at index 1"):
        there.update(cupy.asarray(ROWS[:2] * [[1.0], [1e300]]))
    assert there == here
