"""The sketches, their common interface and their storage."""

from .ace import AceDetector
from .base import MergeableSketch, StateArray
from .bloom_filter import BloomFilter
from .bloom_pooling import BloomPooling, Decoded
from .bloom_signatures import BloomSignatures
from .counting import CountMinSketch, CountSketch
from .density import DensitySketch
from .heavy_hitters import HeavyHitters
from .index import LSHIndex, Nearest, Neighbours
from .minhash_sketch import MinHashSketch
from .nadaraya_watson import NadarayaWatsonSketch
from .private import PrivateRace
from .private_tasks import PrivateClassifier, PrivateRegressor, private_classifier, private_regressor
from .race import Race
from .race_window import RaceWindow
from .representer import RepresenterSketch
from .ribbon_filter import RibbonFilter
from .static_builder import StaticFunctionBuilder
from .static_function import StaticFunction
from .static_table import StaticTable
from .storage import inspect, load
from .storm import StormSketch
from .suggestion import Suggestion, suggest

__all__ = [
    "AceDetector",
    "BloomFilter",
    "BloomPooling",
    "BloomSignatures",
    "CountMinSketch",
    "CountSketch",
    "Decoded",
    "DensitySketch",
    "HeavyHitters",
    "LSHIndex",
    "MergeableSketch",
    "MinHashSketch",
    "NadarayaWatsonSketch",
    "Nearest",
    "Neighbours",
    "PrivateClassifier",
    "PrivateRace",
    "PrivateRegressor",
    "Race",
    "RaceWindow",
    "RepresenterSketch",
    "RibbonFilter",
    "StateArray",
    "StaticFunction",
    "StaticFunctionBuilder",
    "StaticTable",
    "StormSketch",
    "Suggestion",
    "inspect",
    "load",
    "private_classifier",
    "private_regressor",
    "suggest",
]
