"""Test that `benchmarks/compare.py` finds its cases, runs them in two versions and judges the ratios."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paths import ROOT

BENCHMARKS = ROOT / "benchmarks"

pytestmark = pytest.mark.skipif(not (ROOT / "lsh").is_dir(), reason="needs the sources")


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "compare.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import compare

    return compare


@pytest.mark.slow
def test_a_version_is_compared_with_itself(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    done = compare(
        str(ROOT), str(ROOT), "--only", "hash_keys", "--rounds", "2", "--limit", "1000", "--json", str(path)
    )
    assert done.returncode == 0, done.stderr
    assert "hash_keys: strings, 10" in done.stdout and "0 worse, 0 broken" in done.stdout
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 4
    assert all(len(row["old"]) == len(row["new"]) == len(row["ratios"]) == 2 for row in rows)


def test_a_slower_version_fails(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = module.Timing("hash_keys: strings", [1.0, 1.0], [1.2, 1.2])
    comparison = SimpleNamespace(timings={case.case: case}, broken={}, left_out={})
    monkeypatch.setattr(module, "compare", lambda *_: comparison)
    for limit, code in (("1.25", 0), ("1.15", 1)):
        arguments = [str(ROOT), str(ROOT), "--limit", limit, "--json", str(tmp_path / "r.json")]
        monkeypatch.setattr(sys, "argv", ["compare.py", *arguments])
        assert module.main() == code
        out = capsys.readouterr().out
        assert out.count("WORSE") == code and f"{code} worse" in out


@pytest.mark.slow
def test_first_calls_are_compared(tmp_path: Path) -> None:
    arguments = ["--first-call", "--only", "import_alone", "--rounds", "1", "--limit", "1000"]
    done = compare(str(ROOT), str(ROOT), *arguments, "--json", str(tmp_path / "results.json"))
    assert done.returncode == 0, done.stderr
    assert "import_alone, cold" in done.stdout and "import_alone, warm" in done.stdout


def test_what_is_no_version_is_refused(tmp_path: Path) -> None:
    done = compare(str(tmp_path), str(ROOT))
    assert done.returncode == 1
    assert "neither the root folder of the package nor a git revision" in done.stderr


def test_a_revision_is_checked_out(module: Any, tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the repository")
    version = module.unpack("HEAD", tmp_path / "version")
    assert (version.path / "mergesketch" / "lsh" / "__init__.py").is_file()


def test_only_what_most_rounds_show_counts_as_worse(module: Any) -> None:
    steady = module.Timing("steady", [1.0] * 5, [1.2, 1.21, 1.2, 1.19, 1.2])
    noisy = module.Timing("noisy", [1.0] * 5, [1.0, 1.01, 1.2, 1.3, 1.9])
    assert steady.is_worse(1.15) and not steady.is_worse(1.25)
    assert not noisy.is_worse(1.15)
    assert module.Timing("once", [1.0], [1.2]).is_worse(1.15)


def test_failures_of_the_new_version_alone_are_broken(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        """Imitate a process: the old version lacks one case, and the new one fails in two others."""

        def __init__(self, version: str, only: str) -> None:
            self.version = version
            self.cases = {"old": ["a: 1", "a: 2", "b: 1"], "new": ["a: 1", "a: 2", "c: 1"]}[version]
            self.errors = {"old": {"c": "AttributeError"}, "new": {"b": "TypeError"}}[version]

        def ask(self, case: str, loops: int) -> dict[str, Any]:
            if case == "a: 2" and self.version == "new":
                return {"error": "ValueError"}
            return {"seconds": 1.0, "loops": 3}

        def __enter__(self) -> Worker:
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(module, "Worker", Worker)
    comparison = module.compare("old", "new", "", rounds=2, limit=1.15)
    assert comparison.timings == {"a: 1": module.Timing("a: 1", [1.0, 1.0], [1.0, 1.0])}
    assert comparison.broken == {"a: 2": "ValueError", "b: 1": "TypeError"}
    assert comparison.left_out == {"c": "AttributeError"}


def test_every_public_class_has_a_cheap_benchmark() -> None:
    import mergesketch
    from mergesketch import lsh

    # Base classes and results are timed through the classes that use them.
    others = {"MergeableSketch", "HashFamily", "StateArray", "Decoded", "Nearest", "Neighbours", "Suggestion"}
    others |= {
        "ParameterMap",
        "MultiHashMap",
        "PairMap",
        "QuotientRemainderMap",
        "CafeMap",
        "SemanticMap",
    }
    others |= {
        "AttentionOutput",
        "Candidates",
        "FoundAtom",
        "FrankWolfeResult",
        "HerdingResult",
        "LoadDeviation",
        "OracleRun",
    }
    others |= {"Directions", "SampledSubspace"}
    others |= {"Retrieved", "Sample", "SampledLoss", "Visits"}
    others |= {
        "Shingles",
        "PrivacyBudget",
        "PrivateFourier",
        "PrivateRace",
        "ReleasedClassifier",
        "ReleasedRegressor",
    }
    source = (BENCHMARKS / "cheap.py").read_text()
    classes = {
        name
        for module in (mergesketch, lsh)
        for name in module.__all__
        if isinstance(getattr(module, name), type)
    }
    assert {name for name in classes - others if name not in source} == set()
