"""Families whose codes are signs of products with vectors: how codes and probes are made of the products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..family import RowsToCodes
from ..inputs.rows import VectorRows
from ..kernels import probing, projection
from ..support.lazy import lazy
from ..support.random import random_uint64
from .projection import ProjectionFamily
from .sign_projections import SignProjection

__all__ = ["SignFamily"]


class SignFamily(ProjectionFamily):
    """A family of which bit k of hash h is the sign of product ``k * n_hashes + h``."""

    _sign_projection: SignProjection

    @property
    def _n_drawn(self) -> int:
        return self._sign_projection.n_drawn

    @lazy
    def _keys(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "srp codes", self.n_hashes)

    def _range_size(self, rows: VectorRows) -> int:
        return self._sign_projection.range_size(rows)

    def _coder(self, rows: VectorRows) -> RowsToCodes:
        write_signs = self._sign_projection.signs(rows)
        if self._code_is_exact:
            return write_signs
        mix_codes, keys = rows.backend.kernels(projection).mix_codes, self._keys

        def write_codes(start: int, stop: int, out: NDArray[np.uint32]) -> None:
            write_signs(start, stop, out)
            mix_codes(keys, np.uint64(self.n_buckets), out[start:stop])

        return write_codes

    @property
    def _changes(self) -> tuple[int, str]:
        return 2, "bits"

    def _prober(self, rows: VectorRows) -> RowsToCodes:
        products, probe_signs = (
            self._sign_projection.products(rows),
            rows.backend.kernels(probing).probe_signs,
        )
        keys = self._keys[:0] if self._code_is_exact else self._keys
        arguments = (self.n_hashes, self.power, keys, np.uint64(self.n_buckets))

        def write_probes(start: int, stop: int, out: NDArray[np.uint32]) -> None:
            probe_signs(products(start, stop), *arguments, out)

        return write_probes
