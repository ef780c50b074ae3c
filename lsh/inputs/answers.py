"""Answers in the form in which rows or keys came: with the index of a pandas frame, or as polars columns."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .libraries import is_from

__all__ = ["like"]


def like(given: Any, answer: Any) -> Any:
    """Return answers to n rows or keys as a Series, if the rows or keys came from pandas or polars.

    Parameters
    ----------
    given : object
        The rows or keys. A Series of pandas or polars passes its name on, and those of pandas their index.
    answer : ndarray of shape (n,) or (n, n_outputs), a tuple of them, or another object

    Returns
    -------
    object
        A Series, or a data frame for several outputs; or `answer` itself, if `given` is anything else or the
        answer has not one entry a row. The memory of the arrays is used, not copied.
    """
    is_pandas = is_from(given, "pandas", "Series", "DataFrame")
    if not is_pandas and not is_from(given, "polars", "Series", "DataFrame"):
        return answer
    if type(answer) is tuple:
        return tuple(like(given, part) for part in answer)
    if not isinstance(answer, np.ndarray) or answer.ndim not in (1, 2) or len(answer) != len(given):
        return answer
    # Labels are attributes in pandas: a frame may have a column "name", and a Series a row "columns".
    is_column = is_from(given, "pandas" if is_pandas else "polars", "Series")
    name = given.name if is_column else None
    if is_pandas:
        pd = sys.modules["pandas"]
        if answer.ndim == 2:
            return pd.DataFrame(answer, index=given.index, copy=False)
        return pd.Series(answer, index=given.index, name=name, copy=False)
    pl = sys.modules["polars"]
    return pl.from_numpy(answer) if answer.ndim == 2 else pl.Series(name, answer)
