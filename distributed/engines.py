"""Build sketches on an engine that is already running, by tree reductions over Dask and Spark.

Each partition updates a copy of an empty sketch where the partition lies, and the sketches are merged in a
tree. Only sketches travel. Any other engine works too, because sketches pickle, and ``|`` merges them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ..lsh.support.checks import check_int
from ..lsh.support.install import how_to_install
from ..sketches.core.base import MergeableSketch

__all__ = ["dask_sketch", "spark_sketch"]

S = TypeVar("S", bound=MergeableSketch)
Convert = Callable[[Any], Any]
#: Items of an RDD in a batch.
_BATCH_ITEMS = 10_000


def _update(empty: S, part: Any, convert: Convert | None) -> S:
    """Return the sketch of one partition, which `convert` turns into one argument or a tuple of arguments."""
    batch = part if convert is None else convert(part)
    arguments = batch if isinstance(batch, tuple) else (batch,)
    sketch = empty.empty_like()
    sketch.update(*arguments)
    return sketch


def _merge(sketches: list[S]) -> S:
    """Return the merged sketches."""
    first, *others = sketches
    return first.copy().merge(*others)


def _checked(empty: S) -> S:
    """Return a copy of the empty sketch without arrays, so that only its configuration is sent."""
    if not isinstance(empty, MergeableSketch):
        raise TypeError(f"empty must be a MergeableSketch, got {type(empty).__name__}")
    if empty.n_updates:
        raise ValueError(
            f"empty must have no updates, for every partition starts from it, got {empty.n_updates}"
        )
    return empty.empty_like()


def dask_sketch(empty: S, data: Any, convert: Convert | None = None, *, split_every: int = 8) -> Any:
    """Return the sketch of a Dask collection, by a tree reduction.

    Parameters
    ----------
    empty : MergeableSketch
        A sketch without updates, with the class and configuration of the result.
    data : dask.array.Array, dask.dataframe, dask.bag.Bag, or list of dask.delayed.Delayed
        Rows in partitions. An array is cut between rows only.
    convert : callable, optional
        A function that turns a partition (a NumPy array, pandas DataFrame or Series, list, or the delayed
        object) into the argument of ``empty.update``, or into a tuple of its arguments.
    split_every : int
        The number of sketches that are merged at a time, at least 2.

    Returns
    -------
    dask.delayed.Delayed
        The sketch, which ``.compute()`` returns. It equals a sketch that is updated with all rows at once.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value.
    ImportError
        If Dask is not installed, which the extra ``dask`` of this package brings.

    Notes
    -----
    A partition receives the configuration and sends a sketch of ``empty.nbytes``. The tree has
    ``log(partitions) / log(split_every)`` levels.

    Examples
    --------
    >>> import mergesketch
    >>> import dask.array as da  # doctest: +SKIP
    >>> words = da.random.randint(0, 50, size=1_000_000, chunks=100_000)  # doctest: +SKIP
    >>> empty = mergesketch.CountMinSketch(n_rows=4, n_buckets=1024)
    >>> mergesketch.distributed.dask_sketch(empty, words).compute().n_updates  # doctest: +SKIP
    1000000
    """
    empty = _checked(empty)
    split_every = check_int("split_every", split_every, 2)
    try:
        import dask
    except ImportError as error:
        raise ImportError(f"dask_sketch needs Dask: {how_to_install('dask')}") from error
    parts = _dask_parts(data)
    update, merge = dask.delayed(_update, pure=True), dask.delayed(_merge, pure=True)
    shared = dask.delayed(empty)
    level = [update(shared, part, convert) for part in parts]
    if not level:
        return shared
    while len(level) > 1:
        level = [merge(level[i : i + split_every]) for i in range(0, len(level), split_every)]
    return level[0]


def _dask_parts(data: Any) -> list[Any]:
    if isinstance(data, (list, tuple)):
        if not all(hasattr(part, "dask") for part in data):
            raise TypeError("data must be a Dask collection or a list of Delayed")
        return list(data)
    if not hasattr(data, "to_delayed"):
        raise TypeError(f"data must be a Dask collection or a list of Delayed, got {type(data).__name__}")
    if hasattr(data, "numblocks") and len(data.numblocks) > 1:
        data = data.rechunk(dict.fromkeys(range(1, data.ndim), -1))
    return list(np.asarray(data.to_delayed(), dtype=object).reshape(-1))


def spark_sketch(empty: S, data: Any, convert: Convert | None = None, *, depth: int = 2) -> S:
    """Return the sketch of a Spark DataFrame or RDD, by a tree reduction over its partitions.

    Parameters
    ----------
    empty : MergeableSketch
        A sketch without updates, with the class and configuration of the result.
    data : pyspark.sql.DataFrame or pyspark.RDD
        A DataFrame's partitions arrive as Arrow record batches, an RDD's as lists of up to 10,000 items.
    convert : callable, optional
        A function that turns a batch into the argument of ``empty.update``, or into a tuple of its
        arguments. The default gives the only column of a record batch as an Arrow array, several columns as
        the matrix of their numbers, and a list as it is.
    depth : int
        The number of levels of the tree, at least 1.

    Returns
    -------
    MergeableSketch
        The sketch, on the driver.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value.

    Notes
    -----
    mergesketch must be installed on the executors. An executor sends ``empty.nbytes`` for each partition.
    The sketches pass through the Java machines of the executors and the driver, whose heaps
    (``spark.driver.memory``, ``spark.executor.memory``) should have room for thirty of them.

    Examples
    --------
    >>> import mergesketch
    >>> empty = mergesketch.CountMinSketch(n_rows=4, n_buckets=1024)
    >>> df = spark.range(1_000_000)  # doctest: +SKIP
    >>> mergesketch.distributed.spark_sketch(empty, df).n_updates  # doctest: +SKIP
    1000000
    """
    empty = _checked(empty)
    depth = check_int("depth", depth, 1)
    if hasattr(data, "mapInArrow"):
        make = _arrow_batch if convert is None else convert

        def of_batches(batches: Iterator[Any]) -> Iterator[Any]:
            import pyarrow

            yield pyarrow.RecordBatch.from_pydict({"sketch": [_bytes_of(empty, batches, make)]})

        parts = data.mapInArrow(of_batches, "sketch binary").rdd.map(lambda row: bytes(row.sketch))
    elif hasattr(data, "mapPartitions"):

        def of_items(items: Iterator[Any]) -> Iterator[bytes]:
            yield _bytes_of(empty, _batches(items), convert)

        parts = data.mapPartitions(of_items)
    else:
        raise TypeError(f"data must be a Spark DataFrame or RDD, got {type(data).__name__}")
    cls = type(empty)

    def merge(one: bytes, other: bytes) -> bytes:
        return cls.from_bytes(one).merge(cls.from_bytes(other)).to_bytes()

    if parts.getNumPartitions() == 0:
        return empty.copy()
    return cls.from_bytes(parts.treeReduce(merge, depth=depth))


def _bytes_of(empty: MergeableSketch, batches: Iterator[Any], convert: Convert | None) -> bytes:
    """Return the sketch of all batches of a partition as bytes."""
    sketch = empty.empty_like()
    for batch in batches:
        sketch.merge(_update(empty, batch, convert))
    return sketch.to_bytes()


def _batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(items, _BATCH_ITEMS)):
        yield batch


def _arrow_batch(batch: Any) -> Any:
    if batch.num_columns == 1:
        return batch.column(0)
    return np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])
