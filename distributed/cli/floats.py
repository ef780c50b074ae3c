"""Run ``mergesketch floats``: pack models of safetensors files, unpack them, verify and inspect them.

The files of a folder are dealt out to the ranks. Rank 0 makes the folder under a temporary name, and renames
it when all ranks have written their files.
"""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from ...errors import DocumentError, readable
from ...lsh.support.progress import progress_bar
from ...lsh.support.wording import counted
from ...sketches.coding.archive_packing import pack_file
from ...sketches.coding.model_archive import FloatArchive, TensorInfo, open_base
from ...sketches.coding.model_folder import ModelFile, files_of_model, files_read, write_manifest
from ...sketches.coding.model_packing import PackedFile, check_files, check_space, pack_into, unpack_into
from ...sketches.coding.safetensors_file import open_file, read_exactly
from ...sketches.core.atomic import atomic_folder
from ...sketches.core.file_format import name_file
from ..ranks.comm import Communicator
from .messages import naming_file, percent, si_bytes
from .output import check_output, shown_output, writing
from .streams import is_stream, messages_beside

__all__ = ["floats"]


def floats(options: Namespace, comm: Communicator) -> int:
    """Run the action that the options name."""
    actions = {"pack": _pack, "unpack": _unpack, "verify": _verify, "inspect": _inspect}
    actions[options.action](options, comm)
    return 0


def _pack(options: Namespace, comm: Communicator) -> None:
    started = time.perf_counter()
    path = options.path
    base = comm.local(_base, options.base)
    if not os.path.isdir(path):
        check_output(options.output, [path, *files_read(options.base)], comm)
        with comm.agree():
            if comm.rank == 0:
                with (
                    _reading(path) as (descriptor, size),
                    _bar("packing", size, comm) as advance,
                    writing(options.output) as out,
                ):
                    packed = pack_file(descriptor, out, base=base, advance=advance)
                with messages_beside(options.output):
                    _print_sizes(size, packed.nbytes, packed.kinds, base and base.name)
                    _print_written(options.output, started)
        return
    with comm.agree():
        files = _listed(path)
    mine = _share([file.size for file in files], comm)
    with _new_folder(options.output, comm) as folder:
        with comm.agree(), _bar("packing", sum(files[i].size for i in mine), comm) as advance:
            done = []
            for i in mine:
                with naming_file(files[i].path, "pack"):
                    done.append(pack_into(folder, files[i], base, advance))
        gathered = comm.gather(done)
        with comm.agree():
            if gathered is not None:
                packed_files = sorted(file for share in gathered for file in share)
                write_manifest(folder, [file.kept for file in packed_files])
    if gathered is not None:
        _print_files(packed_files, base and base.name)
        _print_written(options.output, started)


def _unpack(options: Namespace, comm: Communicator) -> None:
    started = time.perf_counter()
    archive = comm.local(_open, options)
    if not os.path.isdir(options.path):
        check_output(options.output, [options.path, *files_read(options.base)], comm)
        with comm.agree():
            if comm.rank == 0:
                check_space(options.output, archive.raw_nbytes)
                with writing(options.output) as out, _bar("unpacking", archive.raw_nbytes, comm) as advance:
                    for piece in archive.original(advance=advance):
                        out.write(piece)
                with messages_beside(options.output):
                    _print_written(options.output, started)
        return
    mine = _share([file.size for file in archive.kept], comm)
    with _new_folder(options.output, comm) as folder, comm.agree():
        if comm.rank == 0:
            check_space(options.output, archive.raw_nbytes)
        total = sum(archive.kept[i].size for i in mine)
        with _bar("unpacking", total, comm) as advance:
            for i in mine:
                name = archive.kept[i].name
                with naming_file(os.path.join(archive.path, name), "unpack"):
                    unpack_into(folder, archive, name, advance)
    if comm.rank == 0:
        _print_written(options.output, started)


def _verify(options: Namespace, comm: Communicator) -> None:
    archive = comm.local(_open, options)
    names = [file.name for file in archive.kept] or [""]
    against = options.against
    with comm.agree():
        if against is not None and archive.kept:
            _check_names(names, against)
    sizes = [file.size for file in archive.kept] or [archive.raw_nbytes]
    mine = _share(sizes, comm)
    with comm.agree(), _bar("verifying", sum(sizes[i] for i in mine), comm) as advance:
        for i in mine:
            pieces = _original(archive, names[i], advance)
            if against is None:
                for _ in pieces:
                    pass
            else:
                _compare(pieces, os.path.join(against, names[i]) if names[i] else against)
    if comm.rank == 0:
        what = f"{counted(len(names), 'file')} of {si_bytes(archive.raw_nbytes)}, intact"
        equal = "" if against is None else f" and equal to {readable(against)}"
        print(f"{readable(options.path)}: {what}{equal}")


def _original(archive: FloatArchive, name: str, advance: Callable[[int], object]) -> Iterator[Any]:
    """Yield the bytes of a file of a model; errors name the file of the archive."""
    with naming_file(os.path.join(archive.path, name) if name else archive.path, "read"):
        yield from archive.original(name, advance)


def _check_names(names: Sequence[str], folder: str) -> None:
    """Refuse a model whose files have other names than those of an archive."""
    with _naming_files(folder):
        others = {file.name for file in files_of_model(folder)}
    for name in sorted(others ^ set(names)):
        where = "it is in no archive" if name in others else "the archive has it, and the model does not"
        raise DocumentError(f"{os.path.join(folder, name)}: {where}")


def _compare(pieces: Iterator[Any], path: str) -> None:
    """Compare the bytes of a file with those that an archive has for it."""
    with _reading(path) as (descriptor, size):
        place = 0
        for piece in pieces:
            data = np.frombuffer(piece, np.uint8)
            same = place + data.size <= size
            if not same or not np.array_equal(data, read_exactly(descriptor, place, place + data.size)):
                raise DocumentError(f"{path}: it differs from the archive in or after byte {place:,}")
            place += data.size
        if place != size:
            raise DocumentError(f"{path}: it has {size:,} bytes, and the archive's file has {place:,}")


def _inspect(options: Namespace, comm: Communicator) -> None:
    with comm.agree():
        if comm.rank > 0:
            return
        with _naming_files(options.path):
            archive = FloatArchive(options.path)
            tensors = []
            with _bar("decoding", archive.raw_nbytes, comm) as advance:
                for tensor in archive.tensors(entropy=True):
                    tensors.append(tensor)
                    advance(tensor.raw_nbytes)
        if options.json:
            print(json.dumps(_described(options.path, archive, tensors)))
        else:
            _print_tensors(archive, tensors)


def _described(path: str, archive: FloatArchive, tensors: Sequence[TensorInfo]) -> dict[str, Any]:
    return {
        "path": path,
        "bytes": archive.nbytes,
        "original_bytes": archive.raw_nbytes,
        "base": archive.base,
        "files": [file._asdict() for file in archive.kept],
        "tensors": [tensor._asdict() for tensor in tensors],
    }


def _print_tensors(archive: FloatArchive, tensors: Sequence[TensorInfo]) -> None:
    print(f"{'dtype':<8}{'bytes':>10}{'kept':>10}{'ratio':>8}{'entropy':>9}  {'how':<11}tensor")
    file = ""
    for tensor in tensors:
        if tensor.file != file:
            file = tensor.file
            print(readable(file))
        ratio = percent(tensor.nbytes / tensor.raw_nbytes) if tensor.raw_nbytes else "-"
        entropy = "-" if tensor.entropy is None else f"{tensor.entropy:.2f}"
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        print(
            f"{tensor.dtype:<8}{si_bytes(tensor.raw_nbytes):>10}{si_bytes(tensor.nbytes):>10}{ratio:>8}"
            f"{entropy:>9}  {tensor.kept:<11}{readable(tensor.name)} {shape}"
        )
    kinds = Counter(tensor.kept for tensor in tensors)
    _print_sizes(archive.raw_nbytes, archive.nbytes, kinds, archive.base)


# -- what the commands share ----------------------------------------------------------------------


def _base(path: str | None) -> Any:
    if path is None:
        return None
    with _naming_files(path):
        return open_base(path)


def _open(options: Namespace) -> FloatArchive:
    base = _base(options.base)
    with _naming_files(options.path):
        return FloatArchive(options.path, base=base)


def _listed(path: str) -> list[ModelFile]:
    with _naming_files(path):
        files = files_of_model(path)
    check_files(path, files)
    return files


@contextmanager
def _naming_files(path: str) -> Iterator[None]:
    """Word OSErrors about a model as "cannot read FILE: reason", for the file of the model that it was."""
    try:
        yield
    except OSError as error:
        file = error.filename if isinstance(error.filename, str) else path
        raise OSError(f"cannot read {file}: {error.strerror or error}") from error


@contextmanager
def _reading(path: str) -> Iterator[tuple[int, int]]:
    """Open a file to read it; errors about its contents name it."""
    with name_file(path), ExitStack() as stack:
        with naming_file(path, "read"):
            opened = stack.enter_context(open_file(path))
        yield opened


def _bar(what: str, total: int, comm: Communicator) -> Any:
    return progress_bar(what, total, comm.rank == 0)


def _share(sizes: Sequence[int], comm: Communicator) -> list[int]:
    """Return the files of this rank: each goes to the rank that has the fewest bytes, the largest first."""
    loads, mine = [0] * comm.size, []
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        rank = loads.index(min(loads))
        loads[rank] += sizes[i] + 1
        if rank == comm.rank:
            mine.append(i)
    return sorted(mine)


@contextmanager
def _new_folder(path: str, comm: Communicator) -> Iterator[str]:
    """Yield the temporary folder that all ranks write into, and rename it at the end."""
    with ExitStack() as stack:
        folder = None
        with comm.agree():
            if comm.rank == 0:
                if is_stream(path):
                    raise ValueError(f"cannot write {shown_output(path)}: a folder of files needs a folder")
                with naming_file(path, "write"):
                    folder = str(stack.enter_context(atomic_folder(path)))
        yield comm.bcast(folder)
        with comm.agree(), naming_file(path, "write"):
            stack.close()


def _print_sizes(raw: int, packed: int, kinds: Counter[str], base: str | None) -> None:
    share = f": {percent(packed / raw)}" if raw else ""
    print(f"size             {si_bytes(raw)} in {si_bytes(packed)}{share}")
    named = {
        "coded": "coded",
        "difference": f"differences from {base}",
        "same": "same as another",
        "raw": "raw",
    }
    parts = ", ".join(f"{kinds[kind]:,} {word}" for kind, word in named.items() if kinds[kind])
    print(readable(f"tensors          {kinds.total():,}{': ' if parts else ''}{parts}"))


def _print_files(files: Sequence[PackedFile], base: str | None) -> None:
    raw = sum(file.kept.size for file in files)
    nbytes = sum(file.kept.size if file.packed is None else file.packed.nbytes for file in files)
    kinds: Counter[str] = Counter()
    for file in files:
        if file.packed is not None:
            kinds += file.packed.kinds
    _print_sizes(raw, nbytes, kinds, base)
    n = sum(file.packed is not None for file in files)
    print(f"files            {len(files):,}: {n:,} packed, {len(files) - n:,} kept as they are")
    for file in files:
        if file.reason is not None:
            print(readable(f"kept as it is    {file.kept.name}: {file.reason}"))


def _print_written(path: str, started: float) -> None:
    print(f"written          {readable(shown_output(path))} in {time.perf_counter() - started:.1f} seconds")
