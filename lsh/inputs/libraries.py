"""Tell which library has made an object. No library is imported for this.

Only a program that has imported a library can have made its objects.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["is_arrow_column", "is_from", "is_pandas_column"]


def is_from(value: Any, library: str, *names: str) -> bool:
    """Tell whether a value is an instance of some classes of a library."""
    module = sys.modules.get(library)
    return any(isinstance(value, getattr(module, name, ())) for name in names)


def is_arrow_column(column: Any) -> bool:
    """Tell whether a value is an array or a chunked array of pyarrow."""
    return is_from(column, "pyarrow", "Array", "ChunkedArray")


def is_pandas_column(column: Any) -> bool:
    """Tell whether a value is a Series, an index or an array of pandas."""
    return is_from(column, "pandas", "Series", "Index") or is_from(
        column, "pandas.api.extensions", "ExtensionArray"
    )
