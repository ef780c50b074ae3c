"""Find the packages below the root, which pyproject.toml cannot say: it can list them, but not find them."""

from setuptools import find_packages, setup

ROOMS = ["lsh", "sketches", "distributed", "gpu"]

setup(
    packages=[
        "mergesketch",
        *(
            f"mergesketch.{name}"
            for name in find_packages(include=[*ROOMS, *(f"{room}.*" for room in ROOMS)])
        ),
    ]
)
