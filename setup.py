"""Do what pyproject.toml cannot: find the packages below the root, and make the README's links absolute."""

import atexit
import re
import shutil
import tempfile
import tomllib
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
ROOMS = ["lsh", "sketches", "distributed", "gpu"]
REPOSITORY = "https://github.com/mergesketch/mergesketch"


class BuildModules(build_py):
    """Leave out this file, which lies in the folder that is the package."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Find the modules of a package."""
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if module[:2] != ("mergesketch", "setup")]


def description() -> str:
    """Return the README with links to the files of the version's tag: an index of packages shows it alone."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\]\((?![a-z]+:|#)([^)]+)\)", rf"]({REPOSITORY}/blob/v{version}/\1)", text)


def temporary_folder() -> str:
    """Return a folder that lives as long as this process."""
    folder = tempfile.mkdtemp(prefix="mergesketch-build-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


setup(
    packages=[
        "mergesketch",
        *(
            f"mergesketch.{name}"
            for name in find_packages(include=[*ROOMS, *(f"{room}.*" for room in ROOMS)])
        ),
    ],
    long_description=description(),
    long_description_content_type="text/markdown",
    cmdclass={"build_py": BuildModules},
    # Nothing is built in the tree of the sources.
    options={"build": {"build_base": temporary_folder()}, "egg_info": {"egg_base": temporary_folder()}},
)
