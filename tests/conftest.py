"""Settings of Hypothesis, the cache of compiled kernels, and the ranks that run snippets."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from kernel_cache import use_kernel_cache
from ranks import Ranks

# Before anything imports Numba, which reads its settings then.
use_kernel_cache()

# Tests do not depend on time: an example may take as long as kernels take to compile. And they do not depend
# on chance: every run draws the same examples, except the nightly one, which draws others and prints how to
# repeat a failure.
settings.register_profile("mergesketch", deadline=None, derandomize=True)
settings.register_profile("nightly", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("mergesketch")

# Background jobs of a shell ignore Ctrl-C, and what they start does so too; tests of interrupts need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]


class RootIsAFolder:
    """Tell pytest that the root is no package of tests; it is the package mergesketch.

    pytest would import it a second time under the folder's name. That fails where the name is no
    identifier, as in ``mergesketch-0.1.0``.
    """

    @pytest.hookimpl
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    # A hook of this file itself is not asked about the folder above.
    config.pluginmanager.register(RootIsAFolder())


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Give MPI ranks that run one snippet after another."""
    with Ranks() as started:
        yield started
