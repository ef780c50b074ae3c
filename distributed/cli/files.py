"""``mergesketch inspect`` and ``mergesketch merge``: what sketch files hold, and many made one."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from ...errors import IncompatibleSketchError, MergesketchError
from ...lsh.support.configured import differing_field
from ...sketches import LSHIndex, MergeableSketch
from ...sketches import inspect as inspect_sketch
from ..ranks.comm import Communicator
from ..ranks.tree import merge_to_root
from .output import check_output, readable
from .usage import si_bytes

__all__ = ["inspect", "inspect_file", "merge"]


def inspect(options: Namespace, comm: Communicator) -> int:
    """Print what each file holds, without building its sketch."""
    intact = True
    with comm.agree():
        if comm.rank == 0:
            for path in options.paths:
                found = inspect_file(path)
                intact = intact and found["intact"]
                if options.json:
                    print(json.dumps({"path": path, **found}))
                else:
                    _print_found(path, found)
    return 0 if intact else 2


def inspect_file(path: str) -> dict[str, Any]:
    """What `mergesketch.inspect` tells, with errors that name the file."""
    try:
        return inspect_sketch(path)
    except MergesketchError as error:
        message = str(error)
        raise type(error)(message if readable(path) in message else f"{path}: {message}") from error
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}") from error


def _print_found(path: str, found: dict[str, Any]) -> None:
    print(readable(path))
    updates = "" if found["n_updates"] is None else f", {found['n_updates']:,} updates"
    print(f"  {readable(found['class'])}{updates}, {si_bytes(found['bytes'])}")
    for name, value in found["config"].items():
        print(f"  {readable(name)} = {readable(json.dumps(value))}")
    for name, array in found["arrays"].items():
        print(f"  array {readable(name)}: {array}")
    state = "its checksum matches" if found["intact"] else "DAMAGED: its checksum does not match"
    print(f"  format version {found['format_version']}; {state}")


def merge(options: Namespace, comm: Communicator) -> int:
    """Merge the sketches of files, over ranks too.

    The files are the leaves of a binary tree whose shape depends on their number alone, so that even
    sums of floats come out the same for any number of ranks. A rank merges a subtree, holding one
    sketch a level; log2(ranks) messages do the rest.
    """
    paths: list[str] = options.paths
    with comm.agree():
        if comm.rank == 0:
            check_output(options.output, paths)
            _check_alike(paths)
            _check_ids(paths)
    # A power of two of files a rank: then every rank's share is a subtree.
    share = 1 << (-(-len(paths) // comm.size) - 1).bit_length()
    sketch: MergeableSketch | None = None
    with comm.agree():
        sketch = _merge_tree(paths[comm.rank * share : (comm.rank + 1) * share])
    sketch = merge_to_root(sketch, comm)
    with comm.agree():
        if comm.rank == 0:
            assert sketch is not None
            try:
                sketch.save(options.output)
            except OSError as error:
                raise OSError(f"cannot write {options.output}: {error.strerror or error}") from error
            print(f"{len(paths):,} files merged into {readable(options.output)}: {sketch!r}")
    return 0


def _check_alike(paths: Sequence[str]) -> None:
    """Refuse files of different class or configuration before any is loaded."""
    first = inspect_file(paths[0])
    for path in paths[1:]:
        found = inspect_file(path)
        if found["class"] != first["class"]:
            difference: str | None = f"class: {first['class']} and {found['class']}"
        else:
            difference = differing_field(first["config"], found["config"])
        if difference is not None:
            raise IncompatibleSketchError(f"{paths[0]} and {path} differ in {difference}")


def _check_ids(paths: Sequence[str]) -> None:
    """Refuse indexes that have numbered different rows alike."""
    parts = []
    for path in paths:
        sketch = MergeableSketch.load(path, mmap=True)
        if not isinstance(sketch, LSHIndex):
            return
        parts.append(sketch.part_numbers())
    try:
        LSHIndex.check_parts(parts)
    except IncompatibleSketchError:
        for (one, part), (other, its) in combinations(zip(paths, parts, strict=True), 2):
            try:
                LSHIndex.check_parts([part, its])
            except IncompatibleSketchError as error:
                raise IncompatibleSketchError(
                    f"rows of {one} and {other} have the same numbers: build the later one with `mergesketch "
                    "index build --first-id N`, N being the number of rows before it"
                ) from error
        raise


def _merge_tree(paths: Sequence[str]) -> MergeableSketch | None:
    if not paths:
        return None
    if len(paths) == 1:
        return MergeableSketch.load(paths[0])
    half = 1 << (len(paths) - 1).bit_length() - 1
    left, right = _merge_tree(paths[:half]), _merge_tree(paths[half:])
    assert left is not None and right is not None
    return left.merge(right)
