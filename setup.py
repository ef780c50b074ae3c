"""Find the packages below the root, which pyproject.toml cannot say: it can list them, but not find them."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOMS = ["lsh", "sketches", "distributed", "gpu"]


class BuildModules(build_py):
    """Leave out this file, which lies in the folder that is the package."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Find the modules of a package."""
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if module[:2] != ("mergesketch", "setup")]


setup(
    packages=[
        "mergesketch",
        *(
            f"mergesketch.{name}"
            for name in find_packages(include=[*ROOMS, *(f"{room}.*" for room in ROOMS)])
        ),
    ],
    cmdclass={"build_py": BuildModules},
)
