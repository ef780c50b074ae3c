"""The wheel of the package, for tests of what its users get."""

import subprocess
import sys

import pytest
from paths import ROOT


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    if not (ROOT / "sketches").is_dir():
        pytest.skip("needs the sources")
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path
