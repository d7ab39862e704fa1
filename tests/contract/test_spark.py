"""What is compacted, read by Spark as the documentation says."""

from datetime import UTC, datetime

import msgspec
import pytest
from tests.unit.storage.answers import START, answered

from kedge.domain.monitoring import COPIED
from kedge.domain.predictions import PredictionRules
from kedge.domain.records import encode_batch
from kedge.storage.log_folder import LogFolder
from kedge.storage.prediction_rows import PredictionRows

try:
    from pyspark.sql import SparkSession
except ImportError:
    pytest.skip("pyspark is not installed: reading the log with Spark was NOT tested", allow_module_level=True)


@pytest.fixture(scope="module")
def spark():
    settings = {"spark.ui.enabled": "false", "spark.sql.session.timeZone": "UTC", "spark.sql.shuffle.partitions": "1"}
    builder = SparkSession.builder.master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def test_spark_reads_files_whose_columns_came_and_went(tmp_path, spark):
    log = LogFolder(tmp_path, PredictionRows(), rules=PredictionRules())

    def compact(*batches):
        journal = log.journal("w")
        journal.append_all([encode_batch(batch) for batch in batches])
        journal.close()
        log.archive.compact()

    compact(answered(1, features={"x": [0.5, 1.5], "carrier": [None, None]}, as_of={"weather": [None, None]}))
    compact(answered(2, features={"x": [2.5, None], "carrier": ["AA", None], "pixels": [[1.0, 2.0], [3.0, 4.0]]}))
    shadowed = answered(3, features={"carrier": ["UA", "UA"]})
    compact(shadowed, msgspec.structs.replace(shadowed, variant=COPIED, shadow={5: [0.1, 0.2]}), answered(4, model="other"))
    merging = spark.read.option("mergeSchema", "true")
    flights = merging.parquet(f"{tmp_path}/compacted/flights")
    rows = {row["id"]: row for row in flights.collect()}
    assert sorted(rows) == ["r-1.0", "r-1.1", "r-2.0", "r-2.1", "r-3.0", "r-3.1"]
    assert (rows["r-1.0"]["feature_x"], rows["r-1.0"]["feature_carrier"], rows["r-3.0"]["feature_carrier"]) == (
        0.5,
        None,
        "UA",
    )
    assert rows["r-2.1"]["feature_pixels"] == [3.0, 4.0]
    assert rows["r-2.0"]["answered_at"].astimezone(UTC) == answered(2).at
    assert isinstance(rows["r-2.0"]["as_of_weather"], datetime)
    assert rows["r-2.0"]["as_of_weather"].astimezone(UTC) == START
    everything = merging.parquet(f"{tmp_path}/compacted/[!_]*/*.parquet")
    counted = {
        (row["model"], row["variant"]): row["count"] for row in everything.groupBy("model", "variant").count().collect()
    }
    assert counted == {("flights", "champion"): 6, ("other", "champion"): 2}
    shadows = spark.read.parquet(f"{tmp_path}/compacted/_shadows/flights")
    assert [row["shadow_5"] for row in shadows.sort("id").collect()] == [0.1, 0.2]
