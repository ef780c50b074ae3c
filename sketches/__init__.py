"""The sketches, their common interface and their storage."""

from .attention.importance_cache import ImportanceCache
from .attention.page_bounds import PageBounds
from .attention.race_attention import RaceAttention
from .attention.sparse_attention import AttentionOutput, sparse_attention, top_tokens
from .coding.compressed_floats import CompressedFloats
from .coding.float_delta import FloatDelta
from .coding.loss_aware_grid import LossAwareGrid
from .coding.product_quantizer import ProductQuantizer
from .coding.second_moments import SecondMoments
from .core.base import MergeableSketch
from .core.inspection import inspect
from .core.state import StateArray
from .core.stored import from_bytes, load
from .counts.counting import CountMinSketch, CountSketch
from .counts.ddsketch import DDSketch
from .counts.heavy_hitters import HeavyHitters
from .counts.hyperloglog import HyperLogLog
from .counts.kll import KLLSketch
from .counts.top_k import TopK
from .density.density import DensitySketch
from .learned.frank_wolfe import FrankWolfeResult, frank_wolfe
from .learned.herding import HerdingResult, herding
from .learned.inner_product_oracle import InnerProductOracle
from .learned.learned_hash import LearnedHash
from .learned.learned_partition import LearnedPartition
from .learned.oracle_run import FoundAtom, OracleRun
from .learned.partition_queries import Candidates, Retrieved
from .learned.partition_state import LoadDeviation
from .learned.sparse_code_index import SparseCodeIndex
from .learned.value_iteration import LeastSquaresValueIteration
from .neighbours.index import LSHIndex, Nearest, Neighbours
from .neighbours.lsh_sampler import LSHSampler, Sample
from .neighbours.neighbour_graph import NeighbourGraph, Visits
from .neighbours.sampled_softmax import SampledLoss, sampled_softmax
from .neighbours.soft_collisions import SoftCollisions
from .neighbours.suggestion import Suggestion, suggest
from .neighbours.vector_codes import VectorCodes
from .parameters.cafe_map import CafeMap
from .parameters.cyclic_map import CyclicMap
from .parameters.hashed_maps import MultiHashMap, PairMap, RobeMap
from .parameters.parameter_map import ParameterMap
from .parameters.quotient_remainder_map import QuotientRemainderMap
from .parameters.semantic_map import SemanticMap
from .parameters.shared_parameters import SharedParameters
from .parameters.tile_map import TileMap
from .race.ace import AceSketch
from .race.fourier import FourierSketch
from .race.nadaraya_watson import NadarayaWatsonSketch
from .race.privacy_budget import PrivacyBudget
from .race.private_classifier import ReleasedClassifier, private_classifier
from .race.private_fourier import PrivateFourier
from .race.private_race import PrivateRace
from .race.private_regressor import ReleasedRegressor, private_regressor
from .race.race import Race
from .race.race_window import RaceWindow
from .race.representer import RepresenterSketch
from .regression.storm import StormSketch
from .sets.bloom_filter import BloomFilter
from .sets.bloom_pooling import BloomPooling, Decoded
from .sets.bloom_signatures import BloomSignatures
from .sets.document_signatures import DocumentSignatures
from .sets.minhash_sketch import MinHashSketch
from .sets.scalable_bloom_filter import ScalableBloomFilter
from .sets.streaming_deduplicator import StreamingDeduplicator
from .static.builder import StaticFunctionBuilder
from .static.function import StaticFunction
from .static.ribbon_filter import RibbonFilter
from .static.table import StaticTable

__all__ = [
    "AceSketch",
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
    "DocumentSignatures",
    "FloatDelta",
    "FoundAtom",
    "FourierSketch",
    "FrankWolfeResult",
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
    "suggest",
    "top_tokens",
]
