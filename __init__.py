"""mergesketch: hashing and sketching data structures that are small, built in one pass, and merge.

Every sketch is importable from here, every hash family from `mergesketch.lsh`; what runs over many
machines is in `mergesketch.distributed`.
"""

import os
import sys
from importlib import import_module
from typing import Any

if (
    os.path.basename((sys.argv or [""])[0]) == "mergesketch"
    or "mergesketch.distributed" in sys.orig_argv[1:3]
):
    # The command, whose imports take a second: an interrupt meanwhile ends it without a traceback a rank.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)

from . import errors, lsh
from .lsh.support.public import publish
from .lsh.support.threads import get_num_threads, set_num_threads
from .sketches import (
    AceDetector,
    BloomFilter,
    BloomPooling,
    BloomSignatures,
    CountMinSketch,
    CountSketch,
    Decoded,
    DensitySketch,
    HeavyHitters,
    LSHIndex,
    MergeableSketch,
    MinHashSketch,
    NadarayaWatsonSketch,
    Nearest,
    Neighbours,
    PrivateClassifier,
    PrivateRace,
    PrivateRegressor,
    Race,
    RaceWindow,
    RepresenterSketch,
    RibbonFilter,
    StateArray,
    StaticFunction,
    StaticFunctionBuilder,
    StaticTable,
    StormSketch,
    Suggestion,
    inspect,
    load,
    private_classifier,
    private_regressor,
    suggest,
)

__version__ = "0.2.0"

#: Estimators, which need scikit-learn: imported when first asked for.
_LAZY = {
    "StormClassifier": ".sketches.regression.storm_estimators",
    "StormRegressor": ".sketches.regression.storm_estimators",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_LAZY[name], __name__), name)
    except ModuleNotFoundError as error:
        from .lsh.support.install import how_to_install

        if error.name is None or error.name.partition(".")[0] != "sklearn":
            raise
        raise ImportError(
            f"mergesketch.{name} needs scikit-learn: {how_to_install('sklearn')}", name="sklearn"
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


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
    "__version__",
    "errors",
    "get_num_threads",
    "inspect",
    "load",
    "lsh",
    "private_classifier",
    "private_regressor",
    "set_num_threads",
    "suggest",
]

publish("mergesketch", __all__, globals())
