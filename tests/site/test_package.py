"""Test what a user gets who installs the package: its contents, its imports, its types."""

import ast
import importlib
import inspect
import pickle
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path

import mergesketch
import numpy as np
import pytest
from copy_without_code import copy_without_code
from mergesketch import Race
from mergesketch.lsh import HashFamily
from mergesketch.sketches.core.file_format import pieces_of_file
from mergesketch.sketches.core.stored import Stored, stored_classes
from paths import ROOT
from sketch_classes import sketch_classes


def run_python(code: str, *arguments: str, **options):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, **options
    )


def test_import_is_light():
    """The library itself imports nothing heavy, and its names neither MPI nor CuPy nor what few need."""
    heavy = [
        "mpi4py",
        "cupy",
        "sklearn",
        "pyarrow",
        "torch",
        "tqdm",
        "scipy.sparse",
        "scipy.special",
    ]
    done = run_python(
        "import sys, mergesketch\nprint(*[m for m in ['numpy', 'numba', 'scipy'] if m in sys.modules])\n"
        "from mergesketch import *\n"
        f"print(*[m for m in {heavy!r} if m in sys.modules])",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_classes_that_are_not_imported_yet_are_found_by_their_names(tmp_path):
    """Files, pickles and configurations name them, and a user's class must not take their names."""
    race = Race(mergesketch.BitSampling(3, n_hashes=2)).update(np.array([[False, True, True]]))
    race.save(tmp_path / "race")
    (tmp_path / "pickle").write_bytes(pickle.dumps(race))
    ace = mergesketch.AceSketch(race.family)
    arrays = {name: state.array for name, state in ace.state.items()}
    (tmp_path / "former").write_bytes(b"".join(pieces_of_file("AceDetector", ace.config(), arrays)))
    (tmp_path / "unknown").write_bytes(b"".join(pieces_of_file("NoSuchClass", ace.config(), arrays)))
    done = run_python(
        "import pickle, sys, mergesketch\n"
        "folder, names = sys.argv[1], ('race', 'pickle', 'former')\n"
        "for name in names:\n"
        "    with open(f'{folder}/{name}', 'rb') as file:\n"
        "        sketch = (pickle.load if name == 'pickle' else mergesketch.load)(file)\n"
        "    print(type(sketch).__name__, sketch.n_updates)\n"
        "    print('mergesketch.sketches.race.race_window' in sys.modules)\n"
        "try:\n"
        "    mergesketch.load(f'{folder}/unknown')\n"
        "except mergesketch.errors.SketchFormatError as error:\n"
        "    print(str(error).partition(': ')[2])\n",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *("Race 1", "False", "Race 1", "False", "AceSketch 0", "True"),
        "expected a sketch class of this version, got 'NoSuchClass'",
    ]


def test_a_class_that_is_imported_later_keeps_its_name():
    done = run_python(
        "import mergesketch\n"
        "from mergesketch.sketches.race.race_window import RaceWindow\n"
        "print(RaceWindow.__module__)\n"
        "class MinHash(mergesketch.HashFamily): pass"
    )
    assert done.stdout == "mergesketch\n"
    assert "__main__.MinHash needs another name" in done.stderr


def test_the_top_level_offers_every_public_name_and_imports_what_is_heavy_only_when_asked():
    done = run_python(
        "import sys, mergesketch\n"
        "print([m for m in sys.modules if m.startswith(('mergesketch.distributed', 'mpi4py'))])\n"
        "print(mergesketch.DistributedIndex.__module__, mergesketch.distributed.__name__)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "mergesketch.distributed mergesketch.distributed"]
    import mergesketch.distributed
    import mergesketch.lsh

    for module in (mergesketch.lsh, mergesketch.distributed):
        for name in module.__all__:
            assert getattr(mergesketch, name) is getattr(module, name)
            assert name in dir(mergesketch)


@pytest.mark.parametrize("package", ["", "lsh", "sketches", "distributed"])
def test_type_checkers_see_what_is_imported_when_first_used(package: str):
    module = importlib.import_module(f"mergesketch.{package}".rstrip("."))
    tree = ast.parse(Path(module.__file__).read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            if alias.name == "*":
                others = importlib.import_module(f"mergesketch.{node.module}").__all__
                seen |= dict.fromkeys(others, f".{node.module}")
            else:
                assert alias.asname == alias.name
                seen[alias.name] = f".{node.module or alias.name}"
    assert seen == module._LAZY
    assert set(module.__all__) - {"__version__", "errors", "lsh"} <= set(seen)


def test_public_classes_are_shown_under_the_name_that_users_import():
    import mergesketch.distributed

    owners = {}
    for package in (mergesketch, mergesketch.distributed, mergesketch.lsh):
        for name in package.__all__:
            if isinstance(getattr(package, name), type):
                owners[name] = package
    wrong = [
        f"{cls.__module__}.{name}"
        for name, owner in owners.items()
        if (cls := getattr(owner, name)).__module__ != owner.__name__
    ]
    assert len(owners) > 90
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("SketchFormatError", "; did you mean mergesketch.errors.SketchFormatError?"),
        ("format_error", "; did you mean mergesketch.errors.SketchFormatError?"),
        ("minhash", "; did you mean mergesketch.MinHash?"),
        ("SimHash", "; did you mean mergesketch.SignedRandomProjection?"),
        ("Deduplicate", "; did you mean mergesketch.deduplicate?"),
        ("BloomFliter", "; did you mean mergesketch.BloomFilter?"),
        ("SketchFormatErorr", "; did you mean mergesketch.errors.SketchFormatError?"),
        ("__path2__", ""),
        ("quite_another_word", ""),
    ],
)
def test_an_unknown_name_says_where_it_is_or_which_is_near(name: str, advice: str):
    with pytest.raises(AttributeError) as caught:
        getattr(mergesketch, name)
    assert str(caught.value) == f"module 'mergesketch' has no attribute {name!r}{advice}"


NOWHERE = """
import tempfile

def refuse(*args, **kwargs):  # Numba tries a folder by this function
    raise PermissionError(13, "Permission denied")

tempfile.TemporaryFile = refuse
import mergesketch

print(mergesketch.CountMinSketch(3, 50).update([1, 2, 2]).query([2])[0])
"""


@pytest.mark.slow
def test_where_nothing_can_be_written(monkeypatch, tmp_path):
    """Kernels are compiled anew, and one warning says so; there is no warning without that need."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(copy_without_code(tmp_path)))
    done = run_python(NOWHERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2\n"
    assert done.stderr.count("Warning") == 1, done.stderr
    assert "nothing can be written to" in done.stderr and "NUMBA_CACHE_DIR" in done.stderr
    monkeypatch.setenv("PMI_RANK", "1")  # one warning over all ranks
    assert run_python(NOWHERE).stderr == ""


@pytest.mark.slow
def test_a_folder_for_compiled_kernels_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels"))
    done = run_python("import mergesketch; mergesketch.CountMinSketch(3, 50).update([1])")
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "kernels").rglob("*.nbi"))


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert all(n.startswith(("mergesketch/", "mergesketch-")) for n in names)
    assert "mergesketch/py.typed" in names
    shipped = {
        f"mergesketch/{path.relative_to(ROOT)}"
        for room in ("sketches", "lsh", "distributed", "gpu")
        for path in (ROOT / room).rglob("*")
        if path.suffix in (".py", ".npz", ".cu", ".cuh")
    }
    assert len(shipped) > 250
    assert names - {name for name in names if name.startswith("mergesketch-")} == shipped | {
        f"mergesketch/{name}" for name in ("__init__.py", "errors.py", "py.typed")
    }
    assert not [n for n in names if n.startswith(("mergesketch/tests", "mergesketch/benchmarks"))]


@pytest.mark.slow
def test_wheel_works_where_it_is_installed(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    done = run_python(
        "import mergesketch, numpy as np\n"
        "from mergesketch.lsh import shingle\n"
        "print(mergesketch.__file__)\n"
        "print(len(shingle(['Ärger über Öl und die Folgen']).tokens))",
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    file, n_tokens = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert int(n_tokens) == 2


@pytest.mark.slow
def test_tests_run_in_a_folder_of_any_name(tmp_path):
    """An unpacked archive has a name that is no identifier; its root is no package of tests."""
    root = tmp_path / "mergesketch-0.2.0"
    shutil.copytree(ROOT / "tests" / "helpers", root / "tests" / "helpers")
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / name, root / name)
    (root / "__init__.py").write_text("from . import no_such_module\n")
    (root / "tests" / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("pytest"), "-q"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_version_is_the_same_wherever_it_is_told():
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == mergesketch.__version__
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert cited is not None and cited[1] == mergesketch.__version__


def test_public_names_exist_and_are_documented():
    import mergesketch.distributed
    import mergesketch.lsh

    for module in (mergesketch, mergesketch.lsh, mergesketch.distributed, mergesketch.errors):
        for name in module.__all__:
            value = getattr(module, name)
            if name != "__version__":
                assert value.__doc__, f"{module.__name__}.{name} has no docstring"


def public_objects():
    """Yield every public class and function by its full name."""
    import mergesketch.distributed
    import mergesketch.lsh

    for module in (mergesketch, mergesketch.lsh, mergesketch.distributed):
        for name in [*module.__all__, *getattr(module, "_LAZY", ())]:
            if ".torch_" in mergesketch._LAZY.get(name, "") and find_spec("torch") is None:
                continue
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value


def public_methods(cls):
    """Yield the methods that the class itself defines."""
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


def documented(docs, *sections: str) -> set[str]:
    return {name.strip().lstrip("*") for s in sections for entry in docs[s] for name in entry.name.split(",")}


def arguments(function) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "cls"}


def test_every_public_function_says_what_it_takes_gives_back_and_raises() -> None:
    parse = pytest.importorskip("numpydoc.docscrape").NumpyDocString
    missing = []
    for name, value in public_objects():
        members = public_methods(value) if inspect.isclass(value) else [("", value)]
        for method, function in members:
            if not function.__doc__ and inspect.isclass(value):
                assert any(hasattr(base, method) for base in value.__mro__[1:]), f"{name}.{method}"
                continue  # documented where it is first defined
            if named := re.fullmatch(r"Alias of `(\w+)`\.", function.__doc__ or ""):
                assert named[1] in vars(value), f"{name}.{method}"
                continue  # documented under its first name
            docs, where = parse(inspect.getdoc(function)), f"{name}.{method}".rstrip(".")
            gives = str(inspect.signature(function).return_annotation) not in (
                "None",
                "NoReturn",
                "Iterator[None]",
            )
            if absent := arguments(function) - documented(docs, "Parameters"):
                missing.append(f"{where}: Parameters {sorted(absent)}")
            if gives and not docs["Returns"] and not docs["Yields"]:
                missing.append(f"{where}: Returns")
            if not inspect.isclass(value) and not docs["Examples"]:
                missing.append(f"{where}: Examples")
    assert missing == []


def test_every_class_to_be_built_has_parameters_an_example_and_names_its_papers_in_full() -> None:
    parse = pytest.importorskip("numpydoc.docscrape").NumpyDocString
    missing, seen = [], 0
    for name, cls in public_objects():
        # Base classes, and classes of results, are shown where they are used.
        if not inspect.isclass(cls) or inspect.isabstract(cls) or issubclass(cls, tuple) or is_dataclass(cls):
            continue
        docs = parse(inspect.getdoc(cls))
        if cls is mergesketch.Communicator:
            continue  # made by `communicator`, which has the example
        seen += 1
        if absent := arguments(cls) - documented(docs, "Parameters"):
            missing.append(f"{name}: Parameters {sorted(absent)}")
        if not docs["Examples"]:
            missing.append(f"{name}: Examples")
        papers = re.findall(
            r"[A-Z][a-z]+,? (?:19|20)\d\d\b", " ".join(docs["Notes"] + docs["Extended Summary"])
        )
        if papers and not docs["References"]:
            missing.append(f"{name}: References for {papers}")
    assert missing == []
    assert seen > 30


def test_two_classes_of_one_name_are_refused() -> None:
    """A file stores the name of its class, so a second class would be read as the first."""
    names = [("Race", Race), ("RibbonFilter", Stored), ("MinHash", HashFamily)]
    for name, base in names:
        before = dict(HashFamily._registry), sketch_classes(), stored_classes()
        with pytest.raises(TypeError, match=rf"needs another name: .*mergesketch\..*\.{name} has that one"):
            type(name, (base,), {"__module__": "theirs"})
        assert before == (HashFamily._registry, sketch_classes(), stored_classes())
    # The cell of a notebook may be run again; then the new class replaces the old one.
    for _ in range(2):
        again = type("OfANotebook", (HashFamily,), {"__module__": "__main__"})
        assert HashFamily._registry.pop("OfANotebook") is again
        HashFamily._registry["OfANotebook"] = again
    del HashFamily._registry["OfANotebook"]
