"""Test arrays on a GPU in every public call: the result equals the CPU's, or a message says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import fake_cupy
import pytest

cupy = fake_cupy.install()

from argument_cases import Case, same  # noqa: E402 - once there is a CuPy
from mergesketch.sketches.core.base import MergeableSketch  # noqa: E402
from registry import argument_cases  # noqa: E402

# Tables of densities are too small here, so that devices have errors to agree on.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:the (table|integral)")]


def on_gpu(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(on_gpu, value))
    return cupy.asarray(value) if value.dtype.kind in "fiub" else value


def in_main_memory(result: Any) -> Any:
    if isinstance(result, (tuple, list)):
        return [in_main_memory(part) for part in result]
    if isinstance(result, MergeableSketch):
        return result.to("cpu")
    return result.get() if isinstance(result, cupy.ndarray) else result


def choices(case: Case) -> Iterator[list[str]]:
    """List the arguments to move: all together, and each alone."""
    yield list(case.arguments)
    if len(case.arguments) > 1:
        yield from ([name] for name in case.arguments)


@pytest.mark.parametrize("case", argument_cases(), ids=lambda case: case.name)
def test_arrays_on_a_gpu_give_the_same_or_are_refused(case: Case) -> None:
    expected = case.call(**case.plain())
    for moved in choices(case):
        arguments = case.plain()
        arguments.update({name: on_gpu(arguments[name]) for name in moved})
        try:
            found = case.call(**arguments)
        except NotImplementedError as error:
            assert re.search(r"pass arrays in main memory|have no place on a GPU", str(error)), error
        except TypeError as error:
            assert re.match("|".join(rf"{name}\b" for name in case.arguments), str(error)), error
        else:
            same(in_main_memory(found), in_main_memory(expected), f"{moved} on a GPU", case.tolerance)
