"""The kernels for arrays on a GPU, under the names of `mergesketch.lsh.cpu`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import cupy as xp

from .bits import count_equal_fields, mix_words, pack_fields, sample_bits
from .bloom import bloom_add, bloom_contains, bloom_fills
from .checks import any_nonfinite, count_falls
from .counting import (
    count_min_add,
    count_min_query,
    count_sketch_add,
    count_sketch_query,
    find_frequent,
)
from .cross_polytope import (
    cross_polytope_codes_csr,
    cross_polytope_codes_dense,
    cross_polytope_probes_csr,
    cross_polytope_probes_dense,
)
from .extension import extend_rows_csr, extend_rows_dense, relative_norms_csr, relative_norms_dense
from .grid import find_keys, grid_cells, grid_keys
from .hadamard import hadamard_products_csr, hadamard_products_dense, hadamard_signs_csr, hadamard_signs_dense
from .hashing import hash_fixed, hash_slices, hash_u64
from .index import (
    bound_found,
    frequent_ids,
    insert_ids,
    merge_buckets,
    order_buckets,
    query_buckets,
)
from .launch import constant
from .minhash import (
    compare_bins,
    concatenate_codes,
    count_equal,
    densify_signatures,
    minhash_fast_similarity,
    minhash_one_permutation,
    minhash_permutations,
    throw_tokens,
)
from .probing import probe_signs, probe_steps
from .projection import (
    hashed_products,
    hashed_signs,
    mix_codes,
    project_signs_csr,
    project_signs_dense,
    project_steps_csr,
    project_steps_dense,
    sign_margins_csr,
    sign_margins_dense,
    step_margins_csr,
    step_margins_dense,
)
from .rank import order_sets, rank_bits, rank_sets, rank_vectors, rank_weights
from .scatter import code_keys, gather_groups, gather_mean, gather_ratio, scatter_add, scatter_add_outputs
from .signatures import (
    count_signature_bits,
    fill_node_bits,
    pass_signatures,
    set_neighbour_bits,
    weigh_signatures,
)
from .static import address_of, check_keys, look_up
from .storm import add_sign_products
from .weighted import overlap_weights, weighted_minhash
from .winners import winners_csr, winners_dense

__all__ = [
    "add_sign_products",
    "address_of",
    "any_nonfinite",
    "bloom_add",
    "bloom_contains",
    "bloom_fills",
    "bound_found",
    "check_keys",
    "code_keys",
    "compare_bins",
    "concatenate_codes",
    "constant",
    "count_equal",
    "count_equal_fields",
    "count_falls",
    "count_min_add",
    "count_min_query",
    "count_signature_bits",
    "count_sketch_add",
    "count_sketch_query",
    "cross_polytope_codes_csr",
    "cross_polytope_codes_dense",
    "cross_polytope_probes_csr",
    "cross_polytope_probes_dense",
    "densify_signatures",
    "extend_rows_csr",
    "extend_rows_dense",
    "fill_node_bits",
    "find_frequent",
    "find_keys",
    "frequent_ids",
    "gather_groups",
    "gather_mean",
    "gather_ratio",
    "grid_cells",
    "grid_keys",
    "hadamard_products_csr",
    "hadamard_products_dense",
    "hadamard_signs_csr",
    "hadamard_signs_dense",
    "hash_fixed",
    "hash_slices",
    "hash_u64",
    "hashed_products",
    "hashed_signs",
    "insert_ids",
    "look_up",
    "map_blocks",
    "merge_buckets",
    "minhash_fast_similarity",
    "minhash_one_permutation",
    "minhash_permutations",
    "mix_codes",
    "mix_words",
    "order_buckets",
    "order_sets",
    "overlap_weights",
    "pack_fields",
    "pass_signatures",
    "probe_signs",
    "probe_steps",
    "project_signs_csr",
    "project_signs_dense",
    "project_steps_csr",
    "project_steps_dense",
    "query_buckets",
    "rank_bits",
    "rank_sets",
    "rank_vectors",
    "rank_weights",
    "relative_norms_csr",
    "relative_norms_dense",
    "sample_bits",
    "scatter_add",
    "scatter_add_outputs",
    "set_neighbour_bits",
    "sign_margins_csr",
    "sign_margins_dense",
    "step_margins_csr",
    "step_margins_dense",
    "throw_tokens",
    "weigh_signatures",
    "weighted_minhash",
    "winners_csr",
    "winners_dense",
    "xp",
]

T = TypeVar("T")


def map_blocks(function: Callable[[int, int], T], n: int, block: int) -> list[T]:
    """``function(0, n)``: a launch covers all rows, and other threads would leave the caller's stream."""
    return [function(0, n)] if n > 0 else []


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        raise NotImplementedError(
            f"there is no GPU kernel {name} yet; pass arrays in main memory, array.get(), and move the "
            'sketch with .to("cpu")'
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
