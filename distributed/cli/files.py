"""Run ``mergesketch inspect`` and ``mergesketch merge``: describe sketch files, and merge them into one."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

from ...errors import IncompatibleSketchError, MergesketchError, SketchFormatError, readable
from ...lsh.support.configured import differing_field
from ...lsh.support.wording import counted
from ...sketches import LSHIndex, load
from ...sketches import inspect as inspect_sketch
from ...sketches.core.merging import StoredMergeable
from ...sketches.core.stored import Stored
from ..ranks.comm import Communicator
from ..ranks.tree import merge_to_root
from .messages import naming_file, si_bytes
from .output import check_output, shown_output, writing
from .streams import is_stream, messages_beside

__all__ = ["inspect", "inspect_file", "load_sketch", "merge", "naming_sketch", "save"]

#: Exit codes of ``mergesketch inspect``.
_INTACT, _DAMAGED = 0, 2


def inspect(options: Namespace, comm: Communicator) -> int:
    """Print the contents of each file, without building its sketch."""
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
    return _INTACT if intact else _DAMAGED


def inspect_file(path: str) -> dict[str, Any]:
    """Return the result of `mergesketch.inspect`; errors name the file."""
    with naming_sketch(path):
        return inspect_sketch(path)


def load_sketch(path: str) -> Stored:
    """Load a sketch or another structure of any class; errors name the file."""
    with naming_sketch(path):
        return load(path)


@contextmanager
def naming_sketch(path: str) -> Iterator[None]:
    """Name the file in errors about its contents."""
    try:
        with naming_file(path, "read"):
            yield
    except MergesketchError as error:
        message = str(error)
        raise type(error)(message if readable(path) in message else f"{path}: {message}") from error


def save(sketch: Stored, path: str) -> None:
    """Save a sketch to a file or a stream; errors name it."""
    if is_stream(path):
        with writing(path) as file:
            file.write(sketch.to_bytes())
        return
    with naming_file(path, "write"):
        sketch.save(path)


def _print_found(path: str, found: dict[str, Any]) -> None:
    print(readable(path))
    updates = "" if found["n_updates"] is None else f", {counted(found['n_updates'], 'update')}"
    print(f"  {readable(found['class'])}{updates}, {si_bytes(found['bytes'])}")
    for name, value in found["config"].items():
        print(f"  {readable(name)} = {readable(json.dumps(value))}")
    for name, array in found["arrays"].items():
        print(f"  array {readable(name)}: {array}")
    state = "its checksum matches" if found["intact"] else "DAMAGED: its checksum does not match"
    print(f"  format version {found['format_version']}; {state}")


def merge(options: Namespace, comm: Communicator) -> int:
    """Merge the sketches of files into one file.

    The files are the leaves of a binary tree whose shape depends on the number of files alone. So even sums
    of floats are the same for any number of ranks. A rank merges the files of a subtree, with one sketch a
    level in memory; then the ranks' sketches are merged in log2(ranks) rounds.
    """
    paths: list[str] = options.paths
    check_output(options.output, paths, comm)
    with comm.agree():
        if comm.rank == 0:
            _check_alike(paths)
            _check_ids(paths)
    # Each rank gets a power of two of files, so that its share is a subtree.
    share = 1 << (-(-len(paths) // comm.size) - 1).bit_length()
    sketch = comm.local(_merge_tree, paths[comm.rank * share : (comm.rank + 1) * share])
    sketch = merge_to_root(sketch, comm)
    with comm.agree():
        if sketch is not None:
            save(sketch, options.output)
            with messages_beside(options.output):
                where = readable(shown_output(options.output))
                print(f"{counted(len(paths), 'file')} merged into {where}: {sketch!r}")
    return 0


def _check_alike(paths: Sequence[str]) -> None:
    """Refuse files of different classes or configurations before any sketch is loaded."""
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
    """Refuse indexes that gave the same ids to different rows."""
    parts = []
    for path in paths:
        sketch = _load_mergeable(path, mmap=True)
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


def _load_mergeable(path: str, *, mmap: bool = False) -> StoredMergeable:
    sketch = load(path, mmap=mmap)
    if not isinstance(sketch, StoredMergeable):
        raise SketchFormatError(f"{path}: expected a MergeableSketch, got a {type(sketch).__name__}")
    return sketch


def _merge_tree(paths: Sequence[str]) -> StoredMergeable | None:
    if not paths:
        return None
    if len(paths) == 1:
        return _load_mergeable(paths[0])
    half = 1 << (len(paths) - 1).bit_length() - 1
    left, right = _merge_tree(paths[:half]), _merge_tree(paths[half:])
    assert left is not None
    assert right is not None
    return left.merge(right)
