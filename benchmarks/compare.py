"""Compare the speed of two versions of the package; exit with 1 where the second is slower by 15 %.

    python benchmarks/compare.py OLD NEW [--only REGEX] [--rounds 5] [--limit 1.15] [--first-call]

A version is a folder that is the root of the package, or a git revision of this repository, which is
checked out to a temporary folder. By default the cases of `cheap.py` run warm, each in both versions in
turn: every round starts one fresh process a version and asks them alternately for each case, so that a
busy machine hits both alike. With `--first-call` a fresh process each makes one call of `first_calls.py`,
first with an empty cache of compiled kernels (cold) and then with the filled one (warm).

The figure is CPU seconds (user and system), on one thread. A round gives one ratio, new to old; the
table shows their median and quartiles. A case is worse where three quarters of its rounds lie above the
limit, that is where the lower quartile does: noise moves single rounds, a slower kernel moves them all.
Cases whose median lies above the limit are measured in as many rounds again before that is judged. A
case that fails in the new version alone counts as worse too; one that fails in the old version is left
out and named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from first_calls import CALLS
from measure import RESULTS, show, write

FOLDER = Path(__file__).resolve().parent
ONE_THREAD = ("MERGESKETCH_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


class Version(NamedTuple):
    """A version of the package: what the user calls it, and a folder to import it from."""

    name: str
    path: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a process that imports this version and runs on one thread."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return (
            kept
            | dict.fromkeys(ONE_THREAD, "1")
            | {"PYTHONPATH": str(self.path), "MERGESKETCH_QUIET": "1"}
            | more
        )


class Timing(NamedTuple):
    """CPU seconds of one case in both versions, a pair a round."""

    case: str
    old: list[float]
    new: list[float]

    @property
    def ratios(self) -> list[float]:
        return [new / old for old, new in zip(self.old, self.new, strict=True)]

    def is_worse(self, limit: float) -> bool:
        return quartiles(self.ratios)[0] > limit

    def row(self, limit: float) -> dict[str, Any]:
        low, middle, high = quartiles(self.ratios)
        return {
            "case": self.case,
            "old ms": 1e3 * min(self.old),
            "new ms": 1e3 * min(self.new),
            "new/old": middle,
            "quartiles": f"{low:.3f} to {high:.3f}",
            "rounds": len(self.old),
            "": "WORSE" if self.is_worse(limit) else "",
        }


def quartiles(values: list[float]) -> list[float]:
    """Return the lower quartile, the median and the upper quartile; of one value, that value."""
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def unpack(given: str, folder: Path) -> Version:
    """Return the version that the user names by a folder or a git revision, made ready in `folder`.

    Raises
    ------
    SystemExit
        If it is neither.
    """
    folder.mkdir()
    root = Path(given).resolve()
    if (root / "lsh").is_dir() and (root / "__init__.py").is_file():
        (folder / "mergesketch").symlink_to(root, target_is_directory=True)
        return Version(given, folder)
    archive = folder / "revision.tar"
    with archive.open("wb") as file:
        done = subprocess.run(["git", "archive", given], cwd=FOLDER.parent, stdout=file, check=False)
    if done.returncode != 0:
        sys.exit(f"{given} is neither the root folder of the package nor a git revision of it")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "mergesketch", filter="data")
    archive.unlink()
    return Version(given, folder)


class Worker:
    """A process that holds the cases of `cheap.py` in one version of the package."""

    def __init__(self, version: Version, only: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "cheap.py"), only],
            env=version.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        about = self._answer()
        if not Path(about["package"]).is_relative_to(version.path):
            sys.exit(f"{version.name}: python imports {about['package']} instead")
        self.cases: list[str] = about["cases"]
        self.errors: dict[str, str] = about["errors"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the worker ended with status {self._process.wait()}")
        return json.loads(line)

    def ask(self, case: str, loops: int) -> dict[str, Any]:
        """Run a case; the answer has its CPU seconds and the number of loops, or an error."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"case": case, "loops": loops}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Comparison:
    """The timings of all cases in two versions, round after round."""

    def __init__(self, old: Version, new: Version, only: str) -> None:
        self._versions = old, new
        self._only = only
        self._loops: dict[str, int] = {}
        self.timings: dict[str, Timing] = {}
        #: Cases that fail in the new version alone, and those that fail in the old one; why they do.
        self.broken: dict[str, str] = {}
        self.left_out: dict[str, str] = {}

    def run(self, rounds: int, cases: list[str] | None = None) -> None:
        """Run rounds over these cases, by default over all of the old version."""
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            with (
                Worker(self._versions[0], self._only) as old,
                Worker(self._versions[1], self._only) as new,
            ):
                failed = self.broken | self.left_out
                for case in cases or old.cases:
                    if case in failed:
                        continue
                    if case in new.cases:
                        # The first of a pair finds the caches of the processor colder.
                        self._pair(case, old, new, old_first=number % 2 == 0)
                    else:
                        self.broken[case] = new.errors.get(case.partition(":")[0], "there is no such case")
                self.left_out.update(old.errors)

    def _pair(self, case: str, old: Worker, new: Worker, *, old_first: bool) -> None:
        answers = {}
        for worker in (old, new) if old_first else (new, old):
            answer = answers[worker] = worker.ask(case, self._loops.get(case, 0))
            if "error" not in answer:
                self._loops[case] = answer["loops"]
        if "error" in answers[old]:
            self.left_out[case] = answers[old]["error"]
        elif "error" in answers[new]:
            self.broken[case] = answers[new]["error"]
        else:
            timing = self.timings.setdefault(case, Timing(case, [], []))
            timing.old.append(answers[old]["seconds"])
            timing.new.append(answers[new]["seconds"])


def compare(old: Version, new: Version, only: str, rounds: int, limit: float) -> Comparison:
    """Run the cheap benchmarks; those that look slower are run again."""
    comparison = Comparison(old, new, only)
    comparison.run(rounds)
    slow = [case for case, timing in comparison.timings.items() if quartiles(timing.ratios)[1] > limit]
    if slow and rounds > 1:
        comparison.run(rounds, slow)
    return comparison


def cpu_seconds(version: Version, call: str, cache: Path) -> float:
    """Return the CPU seconds of a fresh process that makes one of the first calls, start included."""
    command = [sys.executable, str(FOLDER / "first_calls.py"), call]
    process = subprocess.Popen(command, env=version.environment(NUMBA_CACHE_DIR=str(cache)))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{call} failed in {version.name}")
    return usage.ru_utime + usage.ru_stime


def compare_first_calls(old: Version, new: Version, only: str, rounds: int) -> dict[str, Timing]:
    """Make each first call cold and then warm in both versions in turn."""
    timings: dict[str, Timing] = {}
    with tempfile.TemporaryDirectory() as room:
        for version in (old, new):
            # Python's own cache, of bytecode, is no part of what is compared.
            cpu_seconds(version, "import_alone", Path(room, "first"))
        for number in range(rounds):
            for call in CALLS:
                if not re.search(only, call):
                    continue
                print(f"round {number + 1} of {rounds}: {call}", file=sys.stderr, flush=True)
                for version in (old, new) if number % 2 == 0 else (new, old):
                    cache = Path(room, "cache")
                    for state in ("cold", "warm"):
                        case = f"{call}, {state}"
                        timing = timings.setdefault(case, Timing(case, [], []))
                        spent = cpu_seconds(version, call, cache)
                        (timing.old if version is old else timing.new).append(spent)
                    shutil.rmtree(cache, ignore_errors=True)
    return timings


@contextlib.contextmanager
def versions(old: str, new: str) -> Iterator[tuple[Version, Version]]:
    with tempfile.TemporaryDirectory() as room:
        yield unpack(old, Path(room, "old")), unpack(new, Path(room, "new"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", help="root folder of the package, or a git revision")
    parser.add_argument("new", help="the version that must not be slower")
    parser.add_argument("--only", default="", metavar="REGEX", help="benchmarks whose name matches")
    parser.add_argument("--rounds", type=int, help="default 5, and 2 of first calls")
    parser.add_argument("--limit", type=float, default=1.15, help="largest ratio allowed, default 1.15")
    parser.add_argument("--first-call", action="store_true", help="compare imports and first calls")
    parser.add_argument("--json", type=Path, help="where results go, default results/compare*.json")
    options = parser.parse_args()
    with versions(options.old, options.new) as (old, new):
        broken: dict[str, str] = {}
        left_out: dict[str, str] = {}
        if options.first_call:
            timings = compare_first_calls(old, new, options.only, options.rounds or 2)
        else:
            comparison = compare(old, new, options.only, options.rounds or 5, options.limit)
            timings, broken, left_out = comparison.timings, comparison.broken, comparison.left_out
    if not timings and not broken:
        sys.exit(f"no benchmark matches {options.only!r}")
    rows = [timing.row(options.limit) for timing in timings.values()]
    show(f"CPU time of {options.new} to that of {options.old}", rows)
    for failed, what in ((left_out, "Left out, as the old version fails"), (broken, "BROKEN")):
        for case, error in failed.items():
            print(f"{what}: {case}: {error}")
    name = "compare_first_calls" if options.first_call else "compare"
    write(
        options.json or RESULTS / f"{name}.json",
        [timing._asdict() | {"ratios": timing.ratios} for timing in timings.values()],
    )
    worse = [timing.case for timing in timings.values() if timing.is_worse(options.limit)]
    mean = statistics.geometric_mean([quartiles(timing.ratios)[1] for timing in timings.values()] or [1.0])
    print(f"\n{len(rows)} cases, geometric mean {mean:.3f}; {len(worse)} worse, {len(broken)} broken")
    return 1 if worse or broken else 0


if __name__ == "__main__":
    sys.exit(main())
