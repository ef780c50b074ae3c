"""Sketches over many MPI ranks; everything also runs on one rank without MPI."""

from typing import TYPE_CHECKING

from ..lsh.support.late_names import import_when_used
from .ranks.environment import launched_by_mpi

#: The module of each public name, which is imported when the name is first used.
_LAZY = {
    "CleanedCorpus": ".dedup.cleaning",
    "Communicator": ".ranks.comm",
    "ComparedWithOld": ".dedup.against",
    "Deduplication": ".dedup.result",
    "DistributedIndex": ".index.distributed_index",
    "DocumentSource": ".documents.source",
    "SvmlightRows": ".svmlight",
    "band_parameters": ".dedup.banding",
    "build_static_function": ".static_function",
    "communicator": ".ranks.comm",
    "dask_sketch": ".engines",
    "deduplicate": ".dedup.deduplicate",
    "fit_over_ranks": ".product_quantizer",
    "iter_svmlight": ".svmlight",
    "memory_per_rank": ".dedup.deduplicate",
    "merge_over_ranks": ".ranks.merge",
    "parse_svmlight": ".svmlight",
    "read_svmlight": ".svmlight",
    "run_main": ".ranks.launch",
    "save_documents": ".dedup.state_file",
    "search_over_ranks": ".index.search_over_ranks",
    "spark_sketch": ".engines",
    # They need scikit-learn.
    "average_over_ranks": ".learning.average_over_ranks",
    "DistributedSlideClassifier": ".learning.slide_classifier",
    # They need PyTorch.
    "SketchedErrorFeedbackState": ".learning.torch_sketched_error_feedback",
    "sketched_error_feedback_hook": ".learning.torch_sketched_error_feedback",
    "sparse_all_reduce": ".learning.sparse_all_reduce",
    "SketchedErrorFeedback": ".learning.sketched_error_feedback",
    "FederatedTables": ".learning.federated_tables",
    "federated_tables_strategy": ".learning.flower",
}

if TYPE_CHECKING:
    from .dedup.against import ComparedWithOld as ComparedWithOld
    from .dedup.banding import band_parameters as band_parameters
    from .dedup.cleaning import CleanedCorpus as CleanedCorpus
    from .dedup.deduplicate import deduplicate as deduplicate
    from .dedup.deduplicate import memory_per_rank as memory_per_rank
    from .dedup.result import Deduplication as Deduplication
    from .dedup.state_file import save_documents as save_documents
    from .documents.source import DocumentSource as DocumentSource
    from .engines import dask_sketch as dask_sketch
    from .engines import spark_sketch as spark_sketch
    from .index.distributed_index import DistributedIndex as DistributedIndex
    from .index.search_over_ranks import search_over_ranks as search_over_ranks
    from .learning.average_over_ranks import average_over_ranks as average_over_ranks
    from .learning.federated_tables import FederatedTables as FederatedTables
    from .learning.flower import federated_tables_strategy as federated_tables_strategy
    from .learning.sketched_error_feedback import SketchedErrorFeedback as SketchedErrorFeedback
    from .learning.slide_classifier import DistributedSlideClassifier as DistributedSlideClassifier
    from .learning.sparse_all_reduce import sparse_all_reduce as sparse_all_reduce
    from .learning.torch_sketched_error_feedback import (
        SketchedErrorFeedbackState as SketchedErrorFeedbackState,
    )
    from .learning.torch_sketched_error_feedback import (
        sketched_error_feedback_hook as sketched_error_feedback_hook,
    )
    from .product_quantizer import fit_over_ranks as fit_over_ranks
    from .ranks.comm import Communicator as Communicator
    from .ranks.comm import communicator as communicator
    from .ranks.launch import run_main as run_main
    from .ranks.merge import merge_over_ranks as merge_over_ranks
    from .static_function import build_static_function as build_static_function
    from .svmlight import SvmlightRows as SvmlightRows
    from .svmlight import iter_svmlight as iter_svmlight
    from .svmlight import parse_svmlight as parse_svmlight
    from .svmlight import read_svmlight as read_svmlight
else:
    __getattr__ = import_when_used(globals(), _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [
    "CleanedCorpus",
    "Communicator",
    "ComparedWithOld",
    "Deduplication",
    "DistributedIndex",
    "DocumentSource",
    "FederatedTables",
    "SketchedErrorFeedback",
    "SvmlightRows",
    "band_parameters",
    "build_static_function",
    "communicator",
    "dask_sketch",
    "deduplicate",
    "federated_tables_strategy",
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

if launched_by_mpi():
    from .ranks.leaving import install

    # This comes before MPI starts, because a rank that fails before leaves the others waiting in its start.
    install()
