"""Run ``mergesketch warmup``: compile the kernels of classes and functions before they are needed.

The examples in the docstrings of a class make the calls that are most common, so they are what is run.
"""

from __future__ import annotations

import doctest
import io
import os
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ...errors import MergesketchError
from ..ranks.comm import Communicator

__all__ = ["public_objects", "run_examples", "warmup"]

#: Modules whose public names have examples.
_MODULES = ("mergesketch", "mergesketch.lsh", "mergesketch.distributed")

#: Classes that need scikit-learn. Their kernels are those of other classes, except for `SlideClassifier`, and
#: they are compiled where the classes are named.
_ESTIMATORS = (
    "AceDetector",
    "LSHNeighbors",
    "LabelHash",
    "LinkFeatures",
    "NadarayaWatsonRegressor",
    "PrivateClassifier",
    "PrivateRegressor",
    "RaceDensity",
    "SlideClassifier",
    "StormClassifier",
    "StormRegressor",
)

#: What nearly every class calls, with more kinds of keys than its own examples have.
_ALWAYS = "hash_keys"


def warmup(options: Namespace, comm: Communicator) -> int:
    """Compile the kernels that the named classes and functions use, or all classes and functions."""
    with comm.agree():
        objects = public_objects()
        for name in options.names:
            if name not in objects and name in _ESTIMATORS:
                objects[name] = _estimator(name)
            if name not in objects:
                near = get_close_matches(name, objects, 1, 0.5)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"mergesketch has no class or function named {name!r}{hint}")
        # One rank compiles, and the code lies in the folder that all ranks of the machine read.
        if comm.rank == 0:
            for name in dict.fromkeys([_ALWAYS, *(options.names or sorted(objects))]):
                start = time.perf_counter()
                if run_examples(name, objects[name]):
                    print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
    return 0


def public_objects() -> dict[str, Any]:
    """Return the public classes and functions of the package by name."""
    found: dict[str, Any] = {}
    for module in map(import_module, _MODULES):
        for name in module.__all__:
            if callable(value := getattr(module, name)):
                found.setdefault(name, value)
    return found


def _estimator(name: str) -> Any:
    try:
        return getattr(import_module("mergesketch"), name)
    except ImportError as error:
        raise MergesketchError(str(error)) from error


def run_examples(name: str, value: Any) -> int:
    """Run the examples of an object and of its methods, without output; return the number of their lines."""
    n_run = 0
    for test in doctest.DocTestFinder(exclude_empty=True).find(value, name, module=False):
        namespace: dict[str, Any] = {}
        with _apart():
            for example in test.examples:
                n_run += 1
                try:
                    exec(compile(example.source, f"<example of {test.name}>", "single"), namespace)
                except Exception as error:
                    if example.exc_msg is None:
                        raise MergesketchError(
                            f"the example of {test.name} failed: {type(error).__name__}: {error}"
                        ) from error
    return n_run


@contextmanager
def _apart() -> Iterator[None]:
    """Let examples print and write files where nobody sees them."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                yield
        finally:
            os.chdir(here)
