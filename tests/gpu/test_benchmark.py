"""Test that the GPU benchmark's jobs run, on the stand-in where there is no GPU."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import fake_cupy
import pytest
from paths import ROOT

cupy = fake_cupy.install()

pytestmark = pytest.mark.gpu

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def gpu_benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("gpu_benchmark", FOLDER / "gpu.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_benchmark", module)
    spec.loader.exec_module(module)
    return module


def test_every_job_runs_on_both_devices(gpu_benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_benchmark, "timed", lambda _, function: function() is None or 1.0)
    monkeypatch.setattr(gpu_benchmark, "seconds", lambda function, **_: function() is None or 1.0)
    rows = list(gpu_benchmark.measure(cupy, 1e-9, least=4))
    assert len({row["job"] for row in rows}) == len(rows) > 20
    assert all(row["% of a copy's bandwidth"] > 0 for row in rows[1:])
