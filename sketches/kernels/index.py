"""The kernels of the LSH index, in one module because their twin is one: buckets are filled and queried."""

from .index_buckets import insert_ids, merge_buckets, order_buckets
from .index_query import bound_found, frequent_ids, merge_top, query_buckets

__all__ = [
    "bound_found",
    "frequent_ids",
    "insert_ids",
    "merge_buckets",
    "merge_top",
    "order_buckets",
    "query_buckets",
]
