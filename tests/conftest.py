"""Settings of Hypothesis, the cache of compiled kernels, and the ranks that run snippets."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from kernel_cache import use_kernel_cache
from ranks import Ranks

# Modules, tests and syntax trees are made while tests are collected, and stay. To search them for garbage
# again and again takes a sixth of that time.
gc.disable()

# Numba reads its settings when it is imported, so this comes first.
use_kernel_cache()

# Some containers set this for all of Python. The many processes that tests start would then compile all
# source files of the package again, which takes a third of the time of its import.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# As many tests run at once as there are cores, so threads of NumPy's products would only wait for each other.
# NumPy reads this when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# There are more ranks than cores. Those that wait would keep the cores from those that work, but with this
# setting MPICH sleeps for a moment between two looks: 300 sums over three ranks take a tenth of the time.
os.environ.setdefault("MPIR_CVAR_ENABLE_HEAVY_YIELD", "1")

# Tests compare what processes write to stderr.
os.environ["MERGESKETCH_QUIET"] = "1"

# Tests do not depend on time: an example may include the compilation of kernels. They do not depend
# on chance either: every run draws the same examples, except the nightly one, which draws others and
# prints how to repeat a failure. It also draws more where a test asks for a share of `max_examples`.
settings.register_profile("mergesketch", deadline=None, derandomize=True)
# `make quick` draws a fifth of the examples where a test asks for a share.
settings.register_profile("quick", max_examples=20, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=400, deadline=None, derandomize=False, print_blob=True)
settings.load_profile("mergesketch")

# Background jobs of a shell and their children ignore Ctrl-C, which tests of interrupts need.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]


class RootIsAFolder:
    """Tell pytest that the root is no package of tests; it is the package mergesketch.

    pytest would import it a second time under the folder's name. That fails where the name is no
    identifier, as in ``mergesketch-0.2.0``.
    """

    @pytest.hookimpl
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    # pytest does not call hooks of this file for the folder above, but it calls those of plugins.
    config.pluginmanager.register(RootIsAFolder())


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Search for garbage from here on, but not among what collecting has made."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Give MPI ranks that run one snippet after another."""
    with Ranks() as started:
        yield started
