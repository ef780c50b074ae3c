"""The files that editors, hooks and the public CI read are well-formed and agree with the rest."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

yaml = pytest.importorskip("yaml")


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_every_job_of_the_workflow_runs_a_target_of_make() -> None:
    jobs = read_yaml(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    assert {"lint", "quick", "full", "wheel", "docs"} <= set(jobs)
    for name, job in jobs.items():
        commands = [step["run"] for step in job["steps"] if "run" in step]
        targets = [found for command in commands for found in re.findall(r"^make ([\w-]+)", command)]
        assert targets, name
        assert set(targets) <= make_targets(), name
    pythons = {f"3.{minor}" for minor in range(11, 14)}
    assert set(jobs["full"]["strategy"]["matrix"]["python"]) == pythons
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert pythons == {c.rpartition(" ")[2] for c in classifiers if re.search(r"Python :: 3\.\d+$", c)}


def test_hooks_are_local_and_have_what_they_run() -> None:
    repositories = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = {hook["id"]: hook for hook in repositories[0]["hooks"]}
    assert {"ruff-format", "ruff-check", "clang-format", "map", "lint"} <= set(hooks)
    assert all({"name", "entry", "language"} <= set(hook) for hook in hooks.values())
    assert (ROOT / hooks["map"]["entry"].split()[-1]).is_file()
    assert hooks["lint"]["entry"].split()[-1] in make_targets()


def test_the_style_of_editors_is_that_of_the_formatters() -> None:
    style = configparser.ConfigParser()
    style.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    clang = read_yaml(ROOT / ".clang-format")
    assert style["*.py"]["max_line_length"] == str(ruff["line-length"])
    assert style["*.{cu,cuh}"]["max_line_length"] == str(clang["ColumnLimit"])
    assert style["*"]["indent_size"] == str(clang["IndentWidth"]) == "4"
