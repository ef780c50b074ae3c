"""Test sketches over Dask and Spark: any partitions give the sketch of all rows."""

from __future__ import annotations

import os
import pickle
import sys

import numpy as np
import pytest
from mergesketch import CountMinSketch, HeavyHitters, MinHashSketch, Race
from mergesketch.distributed import dask_sketch, spark_sketch
from mergesketch.lsh import SignedRandomProjection

ROWS = np.random.default_rng(3).normal(size=(5000, 6))
KEYS = np.random.default_rng(4).integers(0, 300, size=20_000)


def race():
    return Race(SignedRandomProjection(n_features=6, n_hashes=20, power=4, seed=1))


def counts():
    return CountMinSketch(n_rows=4, n_buckets=512, seed=2)


def test_empty_sketch_is_checked():
    for call in (dask_sketch, spark_sketch):
        with pytest.raises(TypeError, match="empty must be a MergeableSketch, got list"):
            call([], None)
        with pytest.raises(ValueError, match="empty must have no updates"):
            call(counts().update([1]), None)


def test_an_empty_sketch_travels_as_its_configuration():
    """An engine sends it with every task. Only comparing or saving it allocates its arrays of zeros."""
    large = CountMinSketch(n_rows=8, n_buckets=1_000_000, seed=1)
    assert len(pickle.dumps(large)) < 1000
    again = pickle.loads(pickle.dumps(large)).update(KEYS)
    assert again == large.empty_like().update(KEYS)
    assert len(pickle.dumps(again)) > again.nbytes


class TestDask:
    """Run local schedulers, and a cluster of two processes."""

    da = pytest.importorskip("dask.array")

    @pytest.mark.parametrize("chunks", [(700, 6), (5000, 6), (1, 6), (900, 2)])
    @pytest.mark.parametrize("split_every", [2, 8])
    def test_array(self, chunks, split_every):
        rows = ROWS[:60] if chunks[0] == 1 else ROWS
        data = self.da.from_array(rows, chunks=chunks)
        assert dask_sketch(race(), data, split_every=split_every).compute() == race().update(rows)

    def test_keys_bags_frames_and_delayed(self):
        import dask
        import dask.bag

        whole = counts().update(KEYS)
        assert dask_sketch(counts(), self.da.from_array(KEYS, chunks=3000)).compute() == whole
        bag = dask.bag.from_sequence(KEYS.tolist(), npartitions=5)
        assert dask_sketch(counts(), bag, list).compute() == whole
        parts = [dask.delayed(part) for part in np.array_split(KEYS, 3)]
        assert dask_sketch(counts(), parts).compute() == whole
        assert dask_sketch(counts(), []).compute() == counts()

    def test_frame(self):
        pandas = pytest.importorskip("pandas")
        dd = pytest.importorskip("dask.dataframe")
        frame = dd.from_pandas(pandas.DataFrame({"key": KEYS, "weight": 2 + KEYS % 3}), npartitions=4)
        found = dask_sketch(counts(), frame, lambda part: (part["key"].to_numpy(), part["weight"].to_numpy()))
        assert found.compute() == counts().update(KEYS, 2 + KEYS % 3)

    def test_large_sketches_are_not_sent_with_the_graph(self):
        import cloudpickle

        empty = CountMinSketch(n_rows=8, n_buckets=1_000_000, seed=1)
        assert empty == empty.empty_like()  # allocates its arrays
        lazy = dask_sketch(empty, self.da.from_array(KEYS, chunks=5000))
        assert len(cloudpickle.dumps(lazy)) < empty.nbytes / 10
        assert lazy.compute() == empty.empty_like().update(KEYS)

    def test_strings_and_empty_partitions(self):
        pandas = pytest.importorskip("pandas")
        dd = pytest.importorskip("dask.dataframe")
        words = [f"word {key}" for key in KEYS[:2000]]
        empty = HeavyHitters(frequency=0.01, seed=1)
        frame = dd.from_pandas(pandas.DataFrame({"key": KEYS[:2000], "word": words}), npartitions=50)
        assert dask_sketch(empty, frame["word"]).compute() == empty.empty_like().update(words)
        few = [word for word in words if word == words[0]]
        found = dask_sketch(empty, frame[frame["word"] == words[0]]["word"]).compute()
        assert found == empty.empty_like().update(few)

    def test_a_partition_that_raises(self):
        def fails(part):
            raise RuntimeError("this partition cannot be read")

        data = self.da.from_array(KEYS, chunks=5000)
        with pytest.raises(RuntimeError, match="this partition cannot be read"):
            dask_sketch(counts(), data, fails).compute()
        with pytest.raises(TypeError, match="keys must be integers or strings, got dtype float64"):
            dask_sketch(counts(), data / 2).compute()

    @pytest.mark.slow
    def test_cluster(self):
        client_of = pytest.importorskip("distributed").Client
        with client_of(n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True) as client:
            data = self.da.from_array(ROWS, chunks=(700, 6))
            assert client.compute(dask_sketch(race(), data)).result(timeout=60) == race().update(ROWS)

    def test_bad_input(self):
        with pytest.raises(TypeError, match="data must be a Dask collection"):
            dask_sketch(counts(), KEYS)
        with pytest.raises(TypeError, match="list of Delayed"):
            dask_sketch(counts(), [KEYS])
        with pytest.raises(ValueError, match="split_every must be"):
            dask_sketch(counts(), [], split_every=1)


@pytest.fixture(scope="module")
def spark():
    sql = pytest.importorskip("pyspark.sql")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    try:
        session = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    except Exception as error:  # there is no Java, or an old one
        pytest.skip(f"Spark does not start: {error}")
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


class TestSpark:
    """Run a local session of two threads."""

    def test_frame_of_keys(self, spark):
        frame = spark.createDataFrame([(int(key),) for key in KEYS[:3000]], ["key"]).repartition(4)
        assert spark_sketch(counts(), frame) == counts().update(KEYS[:3000])

    def test_frame_of_rows(self, spark):
        frame = spark.createDataFrame(ROWS[:500].tolist(), [f"x{i}" for i in range(6)]).repartition(3)
        assert spark_sketch(race(), frame, depth=1) == race().update(ROWS[:500])

    def test_strings_and_empty_partitions(self, spark):
        words = [f"word {key}" for key in KEYS[:2000]]
        frame = spark.createDataFrame([(word,) for word in words], ["word"]).repartition(7)
        for empty in (HeavyHitters(frequency=0.01, seed=1), MinHashSketch(n_hashes=64, seed=1)):
            assert spark_sketch(empty, frame) == empty.empty_like().update(words)
            few = [word for word in words if word == words[0]]
            found = spark_sketch(empty, frame.where(frame["word"] == words[0]))
            assert found == empty.empty_like().update(few)
            assert spark_sketch(empty, frame.where("word = 'none'")) == empty

    def test_a_column_of_arrays(self, spark):
        import pyarrow

        frame = spark.createDataFrame([(row,) for row in ROWS[:300].tolist()], "x array<double>")

        def matrix(batch: pyarrow.RecordBatch):
            return np.stack(batch.column(0).to_numpy(zero_copy_only=False))

        assert spark_sketch(race(), frame.repartition(3), matrix) == race().update(ROWS[:300])

    def test_a_partition_that_raises(self, spark):
        def fails(batch):
            raise RuntimeError("this partition cannot be read")

        with pytest.raises(Exception, match="this partition cannot be read"):
            spark_sketch(counts(), spark.range(100), fails)
        with pytest.raises(Exception, match="keys must"):
            spark_sketch(counts(), spark.createDataFrame([(0.5,)], "x double"))

    def test_rdd(self, spark):
        words = [f"word {key}" for key in KEYS[:25_000].tolist()]
        data = spark.sparkContext.parallelize(words, 3)
        assert spark_sketch(counts(), data) == counts().update(words)

    def test_bad_input(self, spark):
        with pytest.raises(TypeError, match="data must be a Spark DataFrame or RDD, got list"):
            spark_sketch(counts(), [1, 2])
        with pytest.raises(ValueError, match="depth must be"):
            spark_sketch(counts(), spark.range(3), depth=0)
