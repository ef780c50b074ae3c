"""Sketches over many MPI ranks; everything also runs on one rank without MPI."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..lsh.support.names import unknown_name
from ..lsh.support.public import publish
from .dedup.against import ComparedWithOld
from .dedup.banding import band_parameters
from .dedup.cleaning import CleanedCorpus
from .dedup.deduplicate import deduplicate, memory_per_rank
from .dedup.result import Deduplication
from .dedup.state_file import save_documents
from .documents.source import DocumentSource
from .engines import dask_sketch, spark_sketch
from .index.distributed_index import DistributedIndex
from .index.search_over_ranks import search_over_ranks
from .learning.sparse_all_reduce import sparse_all_reduce
from .product_quantizer import fit_over_ranks
from .ranks.comm import Communicator, communicator
from .ranks.environment import launched_by_mpi
from .ranks.launch import run_main
from .ranks.leaving import install
from .ranks.merge import merge_over_ranks
from .static_function import build_static_function
from .svmlight import SvmlightRows, iter_svmlight, parse_svmlight, read_svmlight

__all__ = [
    "CleanedCorpus",
    "Communicator",
    "ComparedWithOld",
    "Deduplication",
    "DistributedIndex",
    "DocumentSource",
    "SvmlightRows",
    "band_parameters",
    "build_static_function",
    "communicator",
    "dask_sketch",
    "deduplicate",
    "fit_over_ranks",
    "iter_svmlight",
    "memory_per_rank",
    "merge_over_ranks",
    "parse_svmlight",
    "read_svmlight",
    "run_main",
    "save_documents",
    "search_over_ranks",
    "spark_sketch",
    "sparse_all_reduce",
]

publish("mergesketch.distributed", __all__, globals())

#: Names that are imported when they are first asked for, because they need scikit-learn.
_LAZY = {"DistributedSlideClassifier": ".learning.slide_classifier"}

if TYPE_CHECKING:
    from .learning.slide_classifier import DistributedSlideClassifier as DistributedSlideClassifier
else:

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise unknown_name(__name__, name, __dir__(), {})
        return getattr(import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


if launched_by_mpi():
    # This comes before MPI starts, because a rank that fails before leaves the others waiting in its start.
    install()
