"""The sketches, their common interface and their storage."""

from typing import TYPE_CHECKING

from ..lsh.support.late_names import import_when_used

#: The module of each public name, which is imported when the name is first used.
_LAZY = {
    "AceSketch": ".race.ace",
    "AttentionOutput": ".attention.sparse_attention",
    "BloomFilter": ".sets.bloom_filter",
    "BloomPooling": ".sets.bloom_pooling",
    "BloomSignatures": ".sets.bloom_signatures",
    "CafeMap": ".parameters.cafe_map",
    "Candidates": ".learned.partition_queries",
    "CompressedFloats": ".coding.compressed_floats",
    "CountMinSketch": ".counts.counting",
    "CountSketch": ".counts.counting",
    "CyclicMap": ".parameters.cyclic_map",
    "DDSketch": ".counts.ddsketch",
    "Decoded": ".sets.bloom_pooling",
    "DensitySketch": ".density.density",
    "DocumentSignatures": ".sets.document_signatures",
    "FloatDelta": ".coding.float_delta",
    "FoundAtom": ".learned.oracle_run",
    "FourierSketch": ".race.fourier",
    "FrankWolfeResult": ".learned.frank_wolfe",
    "HeavyHitters": ".counts.heavy_hitters",
    "HerdingResult": ".learned.herding",
    "HyperLogLog": ".counts.hyperloglog",
    "InnerProductOracle": ".learned.inner_product_oracle",
    "KLLSketch": ".counts.kll",
    "LSHIndex": ".neighbours.index",
    "LSHSampler": ".neighbours.lsh_sampler",
    "LearnedHash": ".learned.learned_hash",
    "LearnedPartition": ".learned.learned_partition",
    "LeastSquaresValueIteration": ".learned.value_iteration",
    "LoadDeviation": ".learned.partition_state",
    "LossAwareGrid": ".coding.loss_aware_grid",
    "MergeableSketch": ".core.base",
    "MinHashSketch": ".sets.minhash_sketch",
    "MultiHashMap": ".parameters.hashed_maps",
    "NadarayaWatsonSketch": ".race.nadaraya_watson",
    "Nearest": ".neighbours.index",
    "NeighbourGraph": ".neighbours.neighbour_graph",
    "Neighbours": ".neighbours.index",
    "OracleRun": ".learned.oracle_run",
    "PairMap": ".parameters.hashed_maps",
    "ParameterMap": ".parameters.parameter_map",
    "PrivacyBudget": ".race.privacy_budget",
    "PrivateFourier": ".race.private_fourier",
    "PrivateRace": ".race.private_race",
    "ProductQuantizer": ".coding.product_quantizer",
    "QuotientRemainderMap": ".parameters.quotient_remainder_map",
    "Race": ".race.race",
    "RaceAttention": ".attention.race_attention",
    "RaceWindow": ".race.race_window",
    "ReleasedClassifier": ".race.private_classifier",
    "ReleasedRegressor": ".race.private_regressor",
    "RepresenterSketch": ".race.representer",
    "Retrieved": ".learned.partition_queries",
    "RibbonFilter": ".static.ribbon_filter",
    "RobeMap": ".parameters.hashed_maps",
    "Sample": ".neighbours.lsh_sampler",
    "SampledLoss": ".neighbours.sampled_softmax",
    "ScalableBloomFilter": ".sets.scalable_bloom_filter",
    "SecondMoments": ".coding.second_moments",
    "SemanticMap": ".parameters.semantic_map",
    "SharedParameters": ".parameters.shared_parameters",
    "SoftCollisions": ".neighbours.soft_collisions",
    "SparseCodeIndex": ".learned.sparse_code_index",
    "StateArray": ".core.state",
    "StaticFunction": ".static.function",
    "StaticFunctionBuilder": ".static.builder",
    "StaticTable": ".static.table",
    "StormSketch": ".regression.storm",
    "StreamingDeduplicator": ".sets.streaming_deduplicator",
    "Suggestion": ".neighbours.suggestion",
    "TileMap": ".parameters.tile_map",
    "TopK": ".counts.top_k",
    "VectorCodes": ".neighbours.vector_codes",
    "Visits": ".neighbours.neighbour_graph",
    "frank_wolfe": ".learned.frank_wolfe",
    "from_bytes": ".core.stored",
    "herding": ".learned.herding",
    "inspect": ".core.inspection",
    "load": ".core.stored",
    "private_classifier": ".race.private_classifier",
    "private_regressor": ".race.private_regressor",
    "sampled_softmax": ".neighbours.sampled_softmax",
    "sparse_attention": ".attention.sparse_attention",
    "suggest": ".neighbours.suggestion",
    "top_tokens": ".attention.sparse_attention",
    "PageBounds": ".attention.page_bounds",
    "ImportanceCache": ".attention.importance_cache",
    "ActiveUnits": ".attention.active_units",
    "sparse_layer": ".attention.sparse_layer",
    "FrequentDirections": ".counts.frequent_directions",
    "Directions": ".counts.frequent_directions",
    "SampledSubspace": ".learned.sampled_subspace",
    "TermStatistics": ".counts.term_statistics",
}

if TYPE_CHECKING:
    from .attention.active_units import ActiveUnits as ActiveUnits
    from .attention.importance_cache import ImportanceCache as ImportanceCache
    from .attention.page_bounds import PageBounds as PageBounds
    from .attention.race_attention import RaceAttention as RaceAttention
    from .attention.sparse_attention import AttentionOutput as AttentionOutput
    from .attention.sparse_attention import sparse_attention as sparse_attention
    from .attention.sparse_attention import top_tokens as top_tokens
    from .attention.sparse_layer import sparse_layer as sparse_layer
    from .coding.compressed_floats import CompressedFloats as CompressedFloats
    from .coding.float_delta import FloatDelta as FloatDelta
    from .coding.loss_aware_grid import LossAwareGrid as LossAwareGrid
    from .coding.product_quantizer import ProductQuantizer as ProductQuantizer
    from .coding.second_moments import SecondMoments as SecondMoments
    from .core.base import MergeableSketch as MergeableSketch
    from .core.inspection import inspect as inspect
    from .core.state import StateArray as StateArray
    from .core.stored import from_bytes as from_bytes
    from .core.stored import load as load
    from .counts.counting import CountMinSketch as CountMinSketch
    from .counts.counting import CountSketch as CountSketch
    from .counts.ddsketch import DDSketch as DDSketch
    from .counts.frequent_directions import Directions as Directions
    from .counts.frequent_directions import FrequentDirections as FrequentDirections
    from .counts.heavy_hitters import HeavyHitters as HeavyHitters
    from .counts.hyperloglog import HyperLogLog as HyperLogLog
    from .counts.kll import KLLSketch as KLLSketch
    from .counts.term_statistics import TermStatistics as TermStatistics
    from .counts.top_k import TopK as TopK
    from .density.density import DensitySketch as DensitySketch
    from .learned.frank_wolfe import FrankWolfeResult as FrankWolfeResult
    from .learned.frank_wolfe import frank_wolfe as frank_wolfe
    from .learned.herding import HerdingResult as HerdingResult
    from .learned.herding import herding as herding
    from .learned.inner_product_oracle import InnerProductOracle as InnerProductOracle
    from .learned.learned_hash import LearnedHash as LearnedHash
    from .learned.learned_partition import LearnedPartition as LearnedPartition
    from .learned.oracle_run import FoundAtom as FoundAtom
    from .learned.oracle_run import OracleRun as OracleRun
    from .learned.partition_queries import Candidates as Candidates
    from .learned.partition_queries import Retrieved as Retrieved
    from .learned.partition_state import LoadDeviation as LoadDeviation
    from .learned.sampled_subspace import SampledSubspace as SampledSubspace
    from .learned.sparse_code_index import SparseCodeIndex as SparseCodeIndex
    from .learned.value_iteration import LeastSquaresValueIteration as LeastSquaresValueIteration
    from .neighbours.index import LSHIndex as LSHIndex
    from .neighbours.index import Nearest as Nearest
    from .neighbours.index import Neighbours as Neighbours
    from .neighbours.lsh_sampler import LSHSampler as LSHSampler
    from .neighbours.lsh_sampler import Sample as Sample
    from .neighbours.neighbour_graph import NeighbourGraph as NeighbourGraph
    from .neighbours.neighbour_graph import Visits as Visits
    from .neighbours.sampled_softmax import SampledLoss as SampledLoss
    from .neighbours.sampled_softmax import sampled_softmax as sampled_softmax
    from .neighbours.soft_collisions import SoftCollisions as SoftCollisions
    from .neighbours.suggestion import Suggestion as Suggestion
    from .neighbours.suggestion import suggest as suggest
    from .neighbours.vector_codes import VectorCodes as VectorCodes
    from .parameters.cafe_map import CafeMap as CafeMap
    from .parameters.cyclic_map import CyclicMap as CyclicMap
    from .parameters.hashed_maps import MultiHashMap as MultiHashMap
    from .parameters.hashed_maps import PairMap as PairMap
    from .parameters.hashed_maps import RobeMap as RobeMap
    from .parameters.parameter_map import ParameterMap as ParameterMap
    from .parameters.quotient_remainder_map import QuotientRemainderMap as QuotientRemainderMap
    from .parameters.semantic_map import SemanticMap as SemanticMap
    from .parameters.shared_parameters import SharedParameters as SharedParameters
    from .parameters.tile_map import TileMap as TileMap
    from .race.ace import AceSketch as AceSketch
    from .race.fourier import FourierSketch as FourierSketch
    from .race.nadaraya_watson import NadarayaWatsonSketch as NadarayaWatsonSketch
    from .race.privacy_budget import PrivacyBudget as PrivacyBudget
    from .race.private_classifier import ReleasedClassifier as ReleasedClassifier
    from .race.private_classifier import private_classifier as private_classifier
    from .race.private_fourier import PrivateFourier as PrivateFourier
    from .race.private_race import PrivateRace as PrivateRace
    from .race.private_regressor import ReleasedRegressor as ReleasedRegressor
    from .race.private_regressor import private_regressor as private_regressor
    from .race.race import Race as Race
    from .race.race_window import RaceWindow as RaceWindow
    from .race.representer import RepresenterSketch as RepresenterSketch
    from .regression.storm import StormSketch as StormSketch
    from .sets.bloom_filter import BloomFilter as BloomFilter
    from .sets.bloom_pooling import BloomPooling as BloomPooling
    from .sets.bloom_pooling import Decoded as Decoded
    from .sets.bloom_signatures import BloomSignatures as BloomSignatures
    from .sets.document_signatures import DocumentSignatures as DocumentSignatures
    from .sets.minhash_sketch import MinHashSketch as MinHashSketch
    from .sets.scalable_bloom_filter import ScalableBloomFilter as ScalableBloomFilter
    from .sets.streaming_deduplicator import StreamingDeduplicator as StreamingDeduplicator
    from .static.builder import StaticFunctionBuilder as StaticFunctionBuilder
    from .static.function import StaticFunction as StaticFunction
    from .static.ribbon_filter import RibbonFilter as RibbonFilter
    from .static.table import StaticTable as StaticTable
else:
    __getattr__ = import_when_used(globals(), _LAZY, in_files=True)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [
    "AceSketch",
    "ActiveUnits",
    "AttentionOutput",
    "BloomFilter",
    "BloomPooling",
    "BloomSignatures",
    "CafeMap",
    "Candidates",
    "CompressedFloats",
    "CountMinSketch",
    "CountSketch",
    "CyclicMap",
    "DDSketch",
    "Decoded",
    "DensitySketch",
    "Directions",
    "DocumentSignatures",
    "FloatDelta",
    "FoundAtom",
    "FourierSketch",
    "FrankWolfeResult",
    "FrequentDirections",
    "HeavyHitters",
    "HerdingResult",
    "HyperLogLog",
    "ImportanceCache",
    "InnerProductOracle",
    "KLLSketch",
    "LSHIndex",
    "LSHSampler",
    "LearnedHash",
    "LearnedPartition",
    "LeastSquaresValueIteration",
    "LoadDeviation",
    "LossAwareGrid",
    "MergeableSketch",
    "MinHashSketch",
    "MultiHashMap",
    "NadarayaWatsonSketch",
    "Nearest",
    "NeighbourGraph",
    "Neighbours",
    "OracleRun",
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
    "frank_wolfe",
    "from_bytes",
    "herding",
    "inspect",
    "load",
    "private_classifier",
    "private_regressor",
    "sampled_softmax",
    "sparse_attention",
    "sparse_layer",
    "suggest",
    "top_tokens",
]
