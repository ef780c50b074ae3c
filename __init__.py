"""mergesketch: hashing and sketching data structures that are small, built in one pass, and merge.

Every public name of the package is importable from here: sketches, the hash families of `mergesketch.lsh`,
and what runs over many machines in `mergesketch.distributed`. A name is imported when it is first used.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

if (
    os.path.basename((sys.argv or [""])[0]) == "mergesketch"
    or "mergesketch.distributed" in sys.orig_argv[1:3]
):
    # The command, whose imports take a second: an interrupt meanwhile ends it without a traceback a rank.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)

from . import errors, lsh, sketches
from .lsh.support.late_names import import_when_used

__version__ = "0.2.0"

#: The module of each public name, which is imported when the name is first used. Estimators need
#: scikit-learn, and layers need PyTorch.
_LAZY = {
    **dict.fromkeys(lsh.__all__, ".lsh"),
    **dict.fromkeys(sketches.__all__, ".sketches"),
    "get_num_threads": ".lsh.support.threads",
    "set_num_threads": ".lsh.support.threads",
    "AceDetector": ".sketches.race.ace_detector",
    "FloatArchive": ".sketches.coding.model_archive",
    "HashedEmbedding": ".sketches.parameters.torch_embedding",
    "HashedEmbeddingBag": ".sketches.parameters.torch_embedding_bag",
    "HashedLinear": ".sketches.parameters.torch_linear",
    "LSHNeighbors": ".sketches.neighbours.lsh_neighbors",
    "LabelHash": ".sketches.learned.label_hash",
    "LinkFeatures": ".sketches.sets.link_features",
    "NadarayaWatsonRegressor": ".sketches.race.nadaraya_watson_regressor",
    "PrivateClassifier": ".sketches.race.private_estimators",
    "PrivateRegressor": ".sketches.race.private_estimators",
    "RaceDensity": ".sketches.race.race_density",
    "SharedArray": ".sketches.parameters.torch_array",
    "DistributedSlideClassifier": ".distributed.learning.slide_classifier",
    "average_over_ranks": ".distributed.learning.average_over_ranks",
    "SketchedErrorFeedbackState": ".distributed.learning.torch_sketched_error_feedback",
    "sketched_error_feedback_hook": ".distributed.learning.torch_sketched_error_feedback",
    "SlideClassifier": ".sketches.learned.slide_classifier",
    "StormClassifier": ".sketches.regression.storm_classifier",
    "StormRegressor": ".sketches.regression.storm_regressor",
    "TensorInfo": ".sketches.coding.model_archive",
    "pack_model": ".sketches.coding.model_packing",
    "unpack_model": ".sketches.coding.model_packing",
    "race_attention": ".sketches.attention.torch_race_attention",
    "register_attention": ".sketches.attention.transformers_attention",
    "top_tokens_attention": ".sketches.attention.torch_top_tokens",
    "hash_ids": ".sketches.parameters.torch_embedding",
    "sampled_softmax_loss": ".sketches.neighbours.torch_sampled_softmax",
    "share_parameters": ".sketches.parameters.torch_sharing",
    "compress_module": ".sketches.coding.torch_modules",
    "decompress_module": ".sketches.coding.torch_modules",
    "load_compressed": ".sketches.coding.torch_modules",
    "distributed": ".distributed",
    "CleanedCorpus": ".distributed",
    "Communicator": ".distributed",
    "ComparedWithOld": ".distributed",
    "Deduplication": ".distributed",
    "DistributedIndex": ".distributed",
    "DocumentSource": ".distributed",
    "SketchedErrorFeedback": ".distributed",
    "SvmlightRows": ".distributed",
    "band_parameters": ".distributed",
    "build_static_function": ".distributed",
    "communicator": ".distributed",
    "dask_sketch": ".distributed",
    "deduplicate": ".distributed",
    "fit_over_ranks": ".distributed",
    "iter_svmlight": ".distributed",
    "memory_per_rank": ".distributed",
    "merge_over_ranks": ".distributed",
    "parse_svmlight": ".distributed",
    "read_svmlight": ".distributed",
    "run_main": ".distributed",
    "save_documents": ".distributed",
    "search_over_ranks": ".distributed",
    "spark_sketch": ".distributed",
    "sparse_all_reduce": ".distributed",
    "FederatedTables": ".distributed",
    "federated_tables_strategy": ".distributed",
}

#: The names of packages that these may need; the extras that install them have the names of their modules.
_PACKAGES = {"sklearn": "scikit-learn", "torch": "PyTorch"}

if TYPE_CHECKING:
    from . import distributed as distributed
    from .distributed import *
    from .distributed.learning.average_over_ranks import average_over_ranks as average_over_ranks
    from .distributed.learning.slide_classifier import (
        DistributedSlideClassifier as DistributedSlideClassifier,
    )
    from .distributed.learning.torch_sketched_error_feedback import (
        SketchedErrorFeedbackState as SketchedErrorFeedbackState,
    )
    from .distributed.learning.torch_sketched_error_feedback import (
        sketched_error_feedback_hook as sketched_error_feedback_hook,
    )
    from .lsh import *
    from .lsh.support.threads import get_num_threads as get_num_threads
    from .lsh.support.threads import set_num_threads as set_num_threads
    from .sketches import *
    from .sketches.attention.torch_race_attention import race_attention as race_attention
    from .sketches.attention.torch_top_tokens import top_tokens_attention as top_tokens_attention
    from .sketches.attention.transformers_attention import register_attention as register_attention
    from .sketches.coding.model_archive import FloatArchive as FloatArchive
    from .sketches.coding.model_archive import TensorInfo as TensorInfo
    from .sketches.coding.model_packing import pack_model as pack_model
    from .sketches.coding.model_packing import unpack_model as unpack_model
    from .sketches.coding.torch_modules import compress_module as compress_module
    from .sketches.coding.torch_modules import decompress_module as decompress_module
    from .sketches.coding.torch_modules import load_compressed as load_compressed
    from .sketches.learned.label_hash import LabelHash as LabelHash
    from .sketches.learned.slide_classifier import SlideClassifier as SlideClassifier
    from .sketches.neighbours.lsh_neighbors import LSHNeighbors as LSHNeighbors
    from .sketches.neighbours.torch_sampled_softmax import sampled_softmax_loss as sampled_softmax_loss
    from .sketches.parameters.torch_array import SharedArray as SharedArray
    from .sketches.parameters.torch_embedding import HashedEmbedding as HashedEmbedding
    from .sketches.parameters.torch_embedding import hash_ids as hash_ids
    from .sketches.parameters.torch_embedding_bag import HashedEmbeddingBag as HashedEmbeddingBag
    from .sketches.parameters.torch_linear import HashedLinear as HashedLinear
    from .sketches.parameters.torch_sharing import share_parameters as share_parameters
    from .sketches.race.ace_detector import AceDetector as AceDetector
    from .sketches.race.nadaraya_watson_regressor import NadarayaWatsonRegressor as NadarayaWatsonRegressor
    from .sketches.race.private_estimators import PrivateClassifier as PrivateClassifier
    from .sketches.race.private_estimators import PrivateRegressor as PrivateRegressor
    from .sketches.race.race_density import RaceDensity as RaceDensity
    from .sketches.regression.storm_classifier import StormClassifier as StormClassifier
    from .sketches.regression.storm_regressor import StormRegressor as StormRegressor
    from .sketches.sets.link_features import LinkFeatures as LinkFeatures
else:
    _find = import_when_used(
        globals(), _LAZY, {"errors": errors.__all__}, in_files=("SketchedErrorFeedback",)
    )

    def __getattr__(name: str) -> Any:
        try:
            return _find(name)
        except ModuleNotFoundError as error:
            from .lsh.support.install import how_to_install

            missing = (error.name or "").partition(".")[0]
            if missing not in _PACKAGES:
                raise
            raise ImportError(
                f"mergesketch.{name} needs {_PACKAGES[missing]}: {how_to_install(missing)}", name=missing
            ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [
    "AceSketch",
    "ActiveUnits",
    "AttentionOutput",
    "BBitMinHash",
    "BitSampling",
    "BloomFilter",
    "BloomPooling",
    "BloomSignatures",
    "CafeMap",
    "Candidates",
    "CompressedFloats",
    "CountMinSketch",
    "CountSketch",
    "CrossPolytope",
    "CyclicMap",
    "DDSketch",
    "Decoded",
    "DensitySketch",
    "Directions",
    "DocumentSignatures",
    "FederatedTables",
    "FloatDelta",
    "FoundAtom",
    "FourierSketch",
    "FrankWolfeResult",
    "FrequentDirections",
    "HashFamily",
    "HeavyHitters",
    "HerdingResult",
    "HyperLogLog",
    "ImportanceCache",
    "InnerProduct",
    "InnerProductOracle",
    "KLLSketch",
    "LSHIndex",
    "LSHSampler",
    "LearnedHash",
    "LearnedPartition",
    "LearnedProjection",
    "LeastSquaresValueIteration",
    "LoadDeviation",
    "LossAwareGrid",
    "MergeableSketch",
    "MinHash",
    "MinHashSketch",
    "MultiHashMap",
    "NadarayaWatsonSketch",
    "Nearest",
    "NeighbourGraph",
    "Neighbours",
    "OracleRun",
    "PStable",
    "PageBounds",
    "PairMap",
    "ParameterMap",
    "PrivacyBudget",
    "PrivateFourier",
    "PrivateRace",
    "ProductQuantizer",
    "QuotientRemainderMap",
    "Race",
    "RaceAttention",
    "RaceWindow",
    "ReleasedClassifier",
    "ReleasedRegressor",
    "RepresenterSketch",
    "Retrieved",
    "RibbonFilter",
    "RobeMap",
    "Sample",
    "SampledLoss",
    "SampledSubspace",
    "ScalableBloomFilter",
    "SecondMoments",
    "SemanticMap",
    "SharedParameters",
    "Shingles",
    "SignedRandomProjection",
    "SoftCollisions",
    "SparseCodeIndex",
    "StateArray",
    "StaticFunction",
    "StaticFunctionBuilder",
    "StaticTable",
    "StormSketch",
    "StreamingDeduplicator",
    "Suggestion",
    "TermStatistics",
    "TileMap",
    "TopK",
    "VectorCodes",
    "Visits",
    "WeightedMinHash",
    "WinnerTakeAll",
    "__version__",
    "errors",
    "family_from_config",
    "federated_tables_strategy",
    "frank_wolfe",
    "from_bytes",
    "get_num_threads",
    "hash_keys",
    "herding",
    "inspect",
    "load",
    "lsh",
    "private_classifier",
    "private_regressor",
    "sampled_softmax",
    "set_num_threads",
    "shingle",
    "sparse_all_reduce",
    "sparse_attention",
    "sparse_layer",
    "suggest",
    "top_tokens",
]
