"""The kernels for arrays in main memory, under the names that every backend shares."""

from typing import Any

import numpy as xp

from .banding_kernels import band_keys, bucket_pairs, document_keys, sorted_overlap
from .bbit_kernels import count_equal_fields, pack_fields
from .bit_kernels import hamming_distances, mix_words, sample_bits
from .bloom_kernels import (
    bloom_add,
    bloom_add_groups,
    bloom_contains,
    bloom_contains_groups,
    bloom_errors,
    bloom_fills,
    bloom_group,
    bloom_regroup,
)
from .counting_kernels import (
    count_min_add,
    count_min_add_conservative,
    count_min_query,
    count_sketch_add,
    count_sketch_query,
    find_frequent,
)
from .cross_polytope_kernels import cross_polytope_codes_csr, cross_polytope_codes_dense
from .cross_polytope_probing import cross_polytope_probes_csr, cross_polytope_probes_dense
from .elias_fano import address_of
from .grid_kernels import grid_cells, grid_keys
from .hadamard import hadamard_products_csr, hadamard_products_dense, hadamard_signs_csr, hadamard_signs_dense
from .index_kernels import insert_ids, merge_buckets, order_buckets
from .inner_product_kernels import (
    extend_rows_csr,
    extend_rows_dense,
    relative_norms_csr,
    relative_norms_dense,
)
from .margin_kernels import sign_margins_csr, sign_margins_dense, step_margins_csr, step_margins_dense
from .minhash_bins import minhash_fast_similarity, minhash_one_permutation
from .minhash_kernels import concatenate_codes, count_equal, minhash_permutations
from .minhash_stream_kernels import compare_bins, densify_signatures, throw_tokens
from .noise_kernels import discrete_laplace
from .order_kernels import rank_agreements
from .packing import mix_codes
from .probing_kernels import probe_signs, probe_steps
from .products import (
    count_falls,
)
from .projection_kernels import project_signs_csr, project_signs_dense, project_steps_csr, project_steps_dense
from .query_kernels import bound_found, frequent_ids, merge_top, query_buckets
from .rank_kernels import rank_vectors
from .rank_set_kernels import order_sets, rank_bits, rank_sets, rank_weights
from .sampling_kernels import code_keys, find_keys
from .scatter import gather_groups, gather_mean, gather_ratio, scatter_add, scatter_add_outputs
from .signature_kernels import (
    count_signature_bits,
    fill_node_bits,
    pass_signatures,
    set_neighbour_bits,
    weigh_signatures,
)
from .sparse_projection import hashed_products, hashed_signs
from .static_kernels import check_keys, look_up
from .storm_kernels import add_sign_products, orthonormalise
from .svmlight_kernels import count_svmlight, parse_svmlight
from .text_kernels import shingle_documents
from .threads import map_blocks
from .top_sketch_kernels import cells_of_buckets, merge_cells, top_of_cells
from .weighted_kernels import overlap_weights, weighted_minhash
from .winner_kernels import winners_csr, winners_dense
from .xxh3 import hash_fixed, hash_slices, hash_u64

__all__ = [
    "add_sign_products",
    "address_of",
    "band_keys",
    "bloom_add",
    "bloom_add_groups",
    "bloom_contains",
    "bloom_contains_groups",
    "bloom_errors",
    "bloom_fills",
    "bloom_group",
    "bloom_regroup",
    "bound_found",
    "bucket_pairs",
    "cells_of_buckets",
    "check_keys",
    "code_keys",
    "compare_bins",
    "concatenate_codes",
    "constant",
    "count_equal",
    "count_equal_fields",
    "count_falls",
    "count_min_add",
    "count_min_add_conservative",
    "count_min_query",
    "count_signature_bits",
    "count_sketch_add",
    "count_sketch_query",
    "count_svmlight",
    "cross_polytope_codes_csr",
    "cross_polytope_codes_dense",
    "cross_polytope_probes_csr",
    "cross_polytope_probes_dense",
    "densify_signatures",
    "discrete_laplace",
    "document_keys",
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
    "hamming_distances",
    "hash_fixed",
    "hash_slices",
    "hash_u64",
    "hashed_products",
    "hashed_signs",
    "insert_ids",
    "look_up",
    "map_blocks",
    "merge_buckets",
    "merge_cells",
    "merge_top",
    "minhash_fast_similarity",
    "minhash_one_permutation",
    "minhash_permutations",
    "mix_codes",
    "mix_words",
    "order_buckets",
    "order_sets",
    "orthonormalise",
    "overlap_weights",
    "pack_fields",
    "parse_svmlight",
    "pass_signatures",
    "probe_signs",
    "probe_steps",
    "project_signs_csr",
    "project_signs_dense",
    "project_steps_csr",
    "project_steps_dense",
    "query_buckets",
    "rank_agreements",
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
    "shingle_documents",
    "sign_margins_csr",
    "sign_margins_dense",
    "sorted_overlap",
    "step_margins_csr",
    "step_margins_dense",
    "throw_tokens",
    "top_of_cells",
    "weigh_signatures",
    "weighted_minhash",
    "winners_csr",
    "winners_dense",
    "xp",
]


def constant(array: Any) -> Any:
    """`array`, parameters that are drawn on the CPU, where the kernels can read it."""
    return array
