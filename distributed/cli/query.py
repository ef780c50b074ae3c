"""Run ``mergesketch query``: ask a saved sketch about keys."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np

from ...lsh.hashing.keys import Keys, read_keys
from ...sketches import (
    BloomFilter,
    CountMinSketch,
    CountSketch,
    DDSketch,
    HeavyHitters,
    HyperLogLog,
    KLLSketch,
    MinHashSketch,
    RibbonFilter,
    ScalableBloomFilter,
    TopK,
)
from ..ranks.comm import Communicator
from .answers import key_text, print_distinct, print_frequent, print_quantiles, print_top, typed_keys
from .files import load_sketch
from .key_files import KeyFiles
from .options import DEFAULT_K, DEFAULT_QUANTILES
from .sketches import asked_column

__all__ = ["query"]


def query(options: Namespace, comm: Communicator) -> int:
    """Ask a sketch on rank 0, and print its answer."""
    with comm.agree():
        if comm.rank == 0:
            _query(options)
    return 0


def _query(options: Namespace) -> None:
    sketch, path = load_sketch(options.sketch), options.sketch
    has_keys = bool(options.keys) or options.keys_file is not None
    _check_options(sketch, options, has_keys)
    k = DEFAULT_K if options.k is None else options.k
    if isinstance(sketch, HeavyHitters) and not has_keys:
        print_frequent(sketch, k)
        return
    if isinstance(sketch, TopK) and not has_keys:
        print_top(sketch, k)
        return
    if isinstance(sketch, (HyperLogLog, MinHashSketch, DDSketch, KLLSketch)):
        if has_keys:
            raise ValueError(f"{path} holds a {type(sketch).__name__}, which cannot be asked about a key")
        _print_whole(sketch, options)
        return
    ask: Callable[[Any], Any]
    if isinstance(sketch, (CountMinSketch, CountSketch, HeavyHitters, TopK)):
        ask = cast(Callable[[Any], Any], sketch.query)
    elif isinstance(sketch, (BloomFilter, RibbonFilter, ScalableBloomFilter)):
        contains = sketch.contains

        def ask(keys: Any) -> Any:
            return np.where(contains(keys), "yes", "no")
    else:
        raise ValueError(f"{path} holds a {type(sketch).__name__}, which this command cannot ask")
    if not has_keys:
        raise ValueError(f"{path} holds a {type(sketch).__name__}: give the keys to ask for, or --keys FILE")
    for keys in _batches(options):
        try:
            answers = ask(keys).tolist()
        except TypeError as error:
            raise ValueError(f"{path}: {error}; see --integers") from error
        lines = (f"{answer}\t{key_text(keys.item(i))}\n" for i, answer in enumerate(answers))
        sys.stdout.writelines(lines)


def _check_options(sketch: Any, options: Namespace, has_keys: bool) -> None:
    """Refuse options that this sketch does not use."""
    holds = f"{options.sketch} holds a {type(sketch).__name__}"
    if options.k is not None and has_keys:
        raise ValueError("-k does not go with keys")
    if options.k is not None and not isinstance(sketch, (HeavyHitters, TopK)):
        raise ValueError(f"-k is for sketches of `top`; {holds}")
    if options.q is not None and not isinstance(sketch, (DDSketch, KLLSketch)):
        raise ValueError(f"-q is for sketches of `quantiles`; {holds}")


def _print_whole(sketch: HyperLogLog | MinHashSketch | DDSketch | KLLSketch, options: Namespace) -> None:
    """Print what a sketch tells of all its keys or numbers."""
    if isinstance(sketch, (DDSketch, KLLSketch)):
        print_quantiles(sketch, DEFAULT_QUANTILES if options.q is None else options.q)
    elif isinstance(sketch, MinHashSketch) and sketch.n_sets > 1:
        for i, n in enumerate(sketch.cardinality().tolist()):
            print(f"set {i:<12} about {n:,.0f} different keys")
    else:
        print_distinct(sketch)


def _batches(options: Namespace) -> Iterator[Keys]:
    """Yield the keys of the command line, and those of the file."""
    if options.keys:
        yield _as_asked(typed_keys(options.keys), options.integers)
    if options.keys_file is not None:
        files = KeyFiles(
            [options.keys_file], asked_column(options), Communicator(None), strict=options.strict
        )
        for keys in files.batches():
            yield _as_asked(keys, options.integers)


def _as_asked(keys: Keys, integers: bool) -> Keys:
    if not integers:
        return keys
    texts = [key_text(keys.item(i)) for i in range(len(keys))]
    try:
        return read_keys([int(text) for text in texts])
    except ValueError as error:
        raise ValueError(f"--integers: {error}") from error
