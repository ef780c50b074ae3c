"""The kernels of cross-polytope hashes, in one module because their twin is one: codes and probes."""

from .cross_polytope_codes import cross_polytope_codes_csr, cross_polytope_codes_dense
from .cross_polytope_probing import cross_polytope_probes_csr, cross_polytope_probes_dense

__all__ = [
    "cross_polytope_codes_csr",
    "cross_polytope_codes_dense",
    "cross_polytope_probes_csr",
    "cross_polytope_probes_dense",
]
