"""Test the rooms of the package: what each may import, and that no import is circular."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mergesketch
import pytest

ROOT = Path(mergesketch.__file__).parent
TOPS = ("lsh", "sketches", "distributed", "gpu")
KERNELS = ("lsh/kernels", "sketches/kernels", "distributed/kernels")
TOPICS = (
    "attention",
    "coding",
    "counts",
    "density",
    "learned",
    "neighbours",
    "parameters",
    "race",
    "regression",
    "sets",
    "static",
)
LSH = (
    "lsh/support",
    "lsh/inputs",
    "lsh/hashing",
    "lsh/tables",
    "lsh/families",
    "lsh/kernels",
    "lsh/family",
    "lsh/metric",
)
RANKS = ("distributed/ranks", "distributed/kernels")
WORK = ("distributed/dedup", "distributed/index", "distributed/documents", "distributed/svmlight")

#: Rooms that the modules of each room may import at their top, beside their own room and `errors`.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "lsh/kernels": (),
    "sketches/kernels": ("lsh/kernels",),
    "distributed/kernels": ("sketches/kernels", "lsh/kernels"),
    "lsh/support": (),
    "lsh/tables": (),
    "lsh/inputs": ("lsh/support", "lsh/kernels"),
    "lsh/hashing": ("lsh/inputs", "lsh/support", "lsh/kernels", "lsh/tables"),
    "lsh/metric": (),
    "lsh/family": ("lsh/metric", "lsh/inputs", "lsh/support", "lsh/kernels", "lsh/tables"),
    "lsh/families": ("lsh/family", "lsh/inputs", "lsh/support", "lsh/kernels", "lsh/tables"),
    "sketches/core": (*LSH, "sketches/kernels"),
    **{f"sketches/{topic}": (*LSH, "sketches/core", "sketches/kernels") for topic in TOPICS},
    "distributed/ranks": (*LSH, "sketches", "distributed/kernels", ""),
    "distributed/documents": (*LSH, "sketches", *RANKS),
    "distributed/dedup": (*LSH, "sketches", *RANKS, "distributed/documents"),
    "distributed/index": (*LSH, "sketches", *RANKS, "distributed/documents"),
    "distributed/learning": (*LSH, "sketches", *RANKS),
    "distributed/cli": (*LSH, "lsh", "sketches", *RANKS, *WORK),
    "gpu": KERNELS,
}
#: Imports that are made when they are needed.
LATE = {("lsh/support", "gpu/launch"), ("distributed/cli", "")}
#: Topics that build on another one.
MAY_IMPORT["sketches/static"] += ("sketches/coding",)
MAY_IMPORT["sketches/density"] += ("sketches/counts",)
MAY_IMPORT["sketches/learned"] += ("sketches/counts", "sketches/neighbours")
MAY_IMPORT["sketches/attention"] += ("sketches/coding", "sketches/neighbours")


class Import(NamedTuple):
    """An import of a module of the package, or of something in it, by a module of the package."""

    importer: str
    module: str
    names: tuple[str, ...]
    at_top: bool


def module_names() -> dict[str, Path]:
    paths = [path for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))]
    found = {str(path.relative_to(ROOT).with_suffix("")).removesuffix("/__init__"): path for path in paths}
    assert len(found) > 200, "the package's files are not found"
    return found


MODULES = module_names()


@functools.cache
def tree_of(module: str) -> ast.Module:
    """Parse a module when the first test asks for it, because every process collects this file."""
    return ast.parse(MODULES[module].read_text())


@functools.cache
def nodes_of(module: str) -> list[ast.AST]:
    return list(ast.walk(tree_of(module)))


def only_for_types(module: str) -> set[ast.AST]:
    """Return the nodes below ``if TYPE_CHECKING``, which no program runs."""
    return {
        inner
        for node in nodes_of(module)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for part in node.body
        for inner in ast.walk(part)
    }


def find_imports() -> Iterator[Import]:
    for name, path in MODULES.items():
        tree = tree_of(name)
        folder = [*Path(name).parts] if path.name == "__init__.py" else [*Path(name).parent.parts]
        skipped = only_for_types(name)
        for node in nodes_of(name):
            if not isinstance(node, ast.ImportFrom) or not node.level or node in skipped:
                continue
            base = "/".join([*folder[: len(folder) - node.level + 1], *(node.module or "").split(".")])
            base = base.strip("/")
            inner = {alias.name for alias in node.names if f"{base}/{alias.name}".strip("/") in MODULES}
            for alias in inner:
                yield Import(name, f"{base}/{alias}".strip("/"), (), node in tree.body)
            others = tuple(alias.name for alias in node.names if alias.name not in inner)
            if others:
                yield Import(name, base, others, node in tree.body)


@functools.cache
def imports() -> list[Import]:
    return list(find_imports())


@functools.cache
def room_of(module: str) -> str:
    """Return the longest entry of the table that contains `module`."""
    rooms = [room for room in MAY_IMPORT if module == room or module.startswith(room + "/")]
    return max(rooms, key=len, default=module)


@pytest.mark.slow
def test_every_import_keeps_to_the_table() -> None:
    assert len(imports()) > 700
    wrong = []
    for found in imports():
        room = room_of(found.importer)
        if room not in MAY_IMPORT or found.importer.count("/") == 0:
            continue  # public packages, and the modules of `distributed` itself, may import all
        target = found.module
        allowed = (room, "errors", *MAY_IMPORT[room])
        if not found.at_top and (room, target) in LATE:
            continue
        if not any(target == to or target.startswith(to + "/") for to in allowed if to or not target):
            wrong.append(f"{found.importer} imports {target or 'the root'}")
    assert sorted(set(wrong)) == []


def test_numba_is_imported_below_kernels_only() -> None:
    outside = [
        name
        for name in MODULES
        if not name.startswith(KERNELS)
        for node in nodes_of(name)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("numba", "llvmlite")))
        or (
            isinstance(node, ast.Import) and any(a.name.startswith(("numba", "llvmlite")) for a in node.names)
        )
    ]
    assert outside == []


def test_no_import_goes_round_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for found in imports():
        if found.module in MODULES and found.importer.count("/"):
            edges.setdefault(found.importer, set()).add(found.module)
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        if module not in done:
            for other in edges.get(module, ()):
                visit(other, (*above, module))
            done.add(module)

    for module in list(edges):
        visit(module, ())


def test_no_private_name_is_imported_from_another_file() -> None:
    assert [
        f"{found.importer} imports {name} from {found.module}"
        for found in imports()
        for name in found.names
        if name.startswith("_") and not name.startswith("__")
    ] == []


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_members(module: str) -> set[str]:
    """Names of private methods and attributes that the classes of a module define."""
    found = set()
    for node in nodes_of(module):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
                found |= {part.name} if isinstance(part, ast.FunctionDef) else set()
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return set(filter(is_private, found))


@functools.cache
def base_classes(module: str) -> set[str]:
    """Return the names of the base classes of a module's classes."""
    return {
        base.id
        for node in nodes_of(module)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if isinstance(base, ast.Name)
    }


@functools.cache
def base_rooms(room: str) -> set[str]:
    """Return the rooms of the same top folder whose classes those of a room derive from."""
    return {
        room_of(found.module)
        for found in imports()
        for name in found.names
        if room_of(found.importer) == room
        and name in base_classes(found.importer)
        and room_of(found.module).split("/")[0] == room.split("/")[0]
    } - {room}


#: Methods of named tuples and functions of Python's modules, which are public in spite of their names.
NOT_OURS = {"_replace", "_asdict", "_fields", "_make", "_exit", "_getframe"}
#: The parts of a sparse tensor of PyTorch whose entries may repeat.
NOT_OURS |= {"_indices", "_values"}
#: What PyTorch offers to those who write kinds of tensors, and the hooks of modules.
NOT_OURS |= {
    "_C",
    "_disabled_torch_function_impl",
    "_make_wrapper_subclass",
    "_schema",
    "_to_copy",
    "_embedding_bag",
    "_embedding_bag_forward_only",
    "_state_dict_hooks",
    "_forward_hooks",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
}
#: What the models of transformers say of their attention.
NOT_OURS |= {"_supports_attention_backend", "_supports_sdpa"}
#: What Numba offers to those who choose what of compiled code is kept, and where.
NOT_OURS |= {
    "_locator_classes",
    "_find_referenced_environments",
    "_get_module_for_linking",
    "_rebuild",
}


def test_no_private_member_is_used_in_another_room() -> None:
    """A room may use what its classes or their base classes define, of other objects than `self` too."""
    rooms = {name: room_of(name) for name in MODULES}
    own: dict[str, set[str]] = {room: set() for room in rooms.values()}
    for name in MODULES:
        own[rooms[name]] |= private_members(name)
    every = set().union(*own.values())
    assert len(every) > 200, "the private members are not found"
    wrong = []
    for name, room in rooms.items():
        allowed = own[room] | NOT_OURS
        reached, further = {room}, base_rooms(room)
        while further:
            allowed |= set().union(*(own[base] for base in further))
            reached |= further
            further = set().union(*map(base_rooms, further)) - reached
        for node in nodes_of(name):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in allowed:
                owner = ast.unparse(node.value)
                if owner not in ("self", "cls", "super()", "type(self)"):
                    wrong.append(f"{name}, line {node.lineno}: {owner}.{node.attr}")
    assert wrong == []


def test_importing_the_package_does_not_import_what_runs_over_ranks() -> None:
    code = (
        "import sys, mergesketch\nprint(*[m for m in sys.modules if m.startswith('mergesketch.distributed')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.split() == []


def public_functions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


@functools.cache
def users() -> dict[str, set[str]]:
    """Return the modules that use each name or attribute."""
    used: dict[str, set[str]] = {}
    for name in MODULES:
        for node in nodes_of(name):
            if isinstance(node, ast.Attribute):
                used.setdefault(node.attr, set()).add(name)
            elif isinstance(node, ast.Name):
                used.setdefault(node.id, set()).add(name)
    return used


@pytest.mark.parametrize("folder", [*KERNELS, "gpu"])
def test_every_kernel_is_used(folder: str) -> None:
    """Another file uses it by attribute or by name. Two families build the name at run time."""
    used = users()
    made_up = ("minhash_", "cross_polytope_")
    unused = [
        f"{name}.{function}"
        for name, path in MODULES.items()
        if name.startswith(folder + "/")
        for function in public_functions(path)
        if not function.isupper()
        if not used.get(function, set()) - {name} and not function.startswith(made_up)
    ]
    assert unused == []
