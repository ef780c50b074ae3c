"""mergesketch: hashing and sketching data structures that are small, built in one pass, and merge.

Every sketch is importable from here, every hash family from `mergesketch.lsh`; what runs over many
machines is in `mergesketch.distributed`.
"""

from . import errors, lsh
from .lsh.threads import get_num_threads, set_num_threads
from .sketches import (
    AceDetector,
    CountMinSketch,
    CountSketch,
    HeavyHitters,
    LSHIndex,
    MergeableSketch,
    MinHashSketch,
    NadarayaWatsonSketch,
    Nearest,
    Neighbours,
    PrivateRace,
    Race,
    RaceWindow,
    RepresenterSketch,
    StateArray,
    Suggestion,
    inspect,
    load,
    suggest,
)

__version__ = "0.1.0"

__all__ = [
    "AceDetector",
    "CountMinSketch",
    "CountSketch",
    "HeavyHitters",
    "LSHIndex",
    "MergeableSketch",
    "MinHashSketch",
    "NadarayaWatsonSketch",
    "Nearest",
    "Neighbours",
    "PrivateRace",
    "Race",
    "RaceWindow",
    "RepresenterSketch",
    "StateArray",
    "Suggestion",
    "__version__",
    "errors",
    "get_num_threads",
    "inspect",
    "load",
    "lsh",
    "set_num_threads",
    "suggest",
]
