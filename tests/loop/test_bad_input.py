"""Bad rows, labels, trainings and stores: a clear error or a named quarantine, and what is live stays live."""

import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from tests.loop.small import DATA, PROJECT, TRAIN, opened, played, write

from kedge.app import House
from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.events import EventKind
from kedge.domain.tracking import RunStatus
from kedge.errors import ConfigError, SourceFailed, StoreFull, StoreTooNew
from kedge.replay.play import NoFirstModel
from kedge.replay.timeline import lay_out
from kedge.security.audit import verify

NEVER = PROJECT.replace("[retraining]", '[retraining]\npolicy = "never"')
ONCE = PROJECT.replace("[retraining]", '[retraining]\npolicy = "every 24d"')
DAYS = 39


def rows(body: str) -> str:
    """Change the table of the small project: `body` works on `table`, whose column `day` is dropped after it."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    usual = DATA.replace("def rows():", "def usual():")
    days = 'table = usual().with_columns(day=(pl.col("at") - datetime(2024, 1, 1)).dt.total_days())'
    return f"{usual}\ndef rows():\n    {days}\n{lines}\n    return table.drop('day')\n"


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> tuple[Path, str]:
    """Play the project as it is, never retrained: its folder and digest."""
    folder = write(tmp_path_factory.mktemp("usual") / "small", project=NEVER)
    return folder, played(folder).digest


@pytest.fixture
def looked(request):
    """Give a way to open a played project's house until the test ends."""

    def look(folder: Path, **more) -> House:
        house, _ = opened(folder, **more)
        request.addfinalizer(house.close)
        return house

    return look


def alerts(house: House, kind: AlertKind) -> list[Alert]:
    return [alert for alert in house.meta.watches.alerts(house.spec.name) if alert.kind is kind]


def is_whole(house: House) -> bool:
    """Say whether the replay came to its end, with the first version live and the chain of events unbroken."""
    windows = house.meta.watches.list(house.spec.name)
    deployment = house.meta.deployments.find(house.spec.name)
    return len(windows) == DAYS and deployment.champion == 1 and verify(house.meta.events.chain()).holds


# ---- rows ----


@pytest.mark.parametrize("column", ["id", "at", "bad"])
def test_a_source_that_misses_a_column_names_it_and_what_there_is(tmp_path, column) -> None:
    there = ", ".join(name for name in ("id", "at", "a", "b", "site", "bad") if name != column)
    folder = write(tmp_path / "small", data=rows(f"table = table.drop({column!r})" if column != "at" else "pass"))
    if column == "at":
        write(folder, data=DATA + "\nusual = rows\ndef rows():\n    return usual().drop('at')\n")
    with pytest.raises(SourceFailed, match=f"has no column '{column}'.* It has: {there}"):
        played(folder)


THIRD = """
table = table.with_columns(bad=pl.when((pl.col("day") > 40) & (pl.int_range(pl.len()) % 5 == 0))
    .then(pl.lit("maybe")).when("bad").then(pl.lit("yes")).otherwise(pl.lit("no")))
"""


def test_a_third_label_stops_the_training_and_nothing_else(tmp_path, looked) -> None:
    folder = write(tmp_path / "small", project=ONCE, data=rows(THIRD))
    track = played(folder)
    assert track.rows == DAYS * 60 - 19 * 12, "a third value is no truth"
    assert (track.trainings, track.failed) == (0, 1)
    house = looked(folder)
    assert is_whole(house)
    assert any(event.kind is EventKind.DATA_REFUSED for _, event in house.meta.events.list(limit=100_000))
    [alert] = alerts(house, AlertKind.DATA_INVALID)
    assert re.search("column 'bad': .* rows break .*: maybe;.*What is live stays live", alert.message)


NOT_NUMBERS = """
place = pl.int_range(pl.len()) % 60
table = table.with_columns(a=pl.when(place == 1).then(float("nan")).when(place == 2).then(float("inf"))
    .when(place == 3).then(float("-inf")).otherwise("a"))
"""


def test_nan_and_infinity_are_answered_live_and_kept_out_of_training(tmp_path, looked) -> None:
    folder = write(tmp_path / "small", project=ONCE, data=rows(NOT_NUMBERS))
    track = played(folder)
    assert track.rows == DAYS * 60
    assert track.trainings == 1
    house = looked(folder)
    report = house.meta.datasets.find_report(house.meta.datasets.find("small").digest)
    assert report.quarantined == report.rows // 60 * 2
    assert "a finite number" in report.breaches[0].message
    assert verify(house.meta.events.chain()).holds


def test_an_infinite_value_is_asked_about_as_a_missing_one(tmp_path, looked) -> None:
    house = looked(write(tmp_path / "small", data=rows(NOT_NUMBERS)))
    asked = lay_out(house.spec, house.data.rows(house.spec)).rows["a"]
    assert asked.null_count() == len(asked) // 60 * 3
    assert asked.drop_nulls().is_finite().all()


def test_rows_with_a_key_that_was_there_are_set_aside(tmp_path, looked) -> None:
    twice = "table = pl.concat([table, table.filter(pl.col('id').is_in(['r5', 'r6', 'r7']))])"
    folder = write(tmp_path / "small", project=NEVER, data=rows(twice))
    played(folder)
    house = looked(folder)
    report = house.meta.datasets.find_report(house.meta.datasets.find("small").digest)
    assert report.quarantined == 3
    assert "'id': 3 of" in report.breaches[0].message
    assert "each value once" in report.breaches[0].message
    assert is_whole(house)


def test_time_that_runs_backwards_in_the_file_changes_nothing(usual, tmp_path, looked) -> None:
    folder = write(tmp_path / "small", project=NEVER, data=rows("table = table.reverse()"))
    assert played(folder).digest == usual[1]


def test_days_without_rows_are_silence_and_no_crash(tmp_path, looked) -> None:
    folder = write(tmp_path / "small", project=NEVER, data=rows("table = table.filter(~pl.col('day').is_between(30, 34))"))
    assert played(folder).rows == (DAYS - 5) * 60
    house = looked(folder)
    assert is_whole(house)
    assert {alert.subject for alert in alerts(house, AlertKind.SILENCE)} >= {"predictions"}


def test_labels_that_never_come_are_silence_and_no_loss(tmp_path, looked) -> None:
    unknown = "table = table.with_columns(bad=pl.when(~pl.col('day').is_between(30, 37)).then('bad'))"
    folder = write(tmp_path / "small", project=NEVER, data=rows(unknown))
    assert played(folder).rows == (DAYS - 8) * 60
    house = looked(folder)
    assert is_whole(house)
    assert {alert.subject for alert in alerts(house, AlertKind.SILENCE)} == {"labels"}


# ---- trainings ----


def broken_after_day_40(line: str) -> str:
    return TRAIN.replace("    model =", f"    if len(data.y) > 41 * 60:\n        {line}\n    model =")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("raise RuntimeError('no more')", r"train\.py:8: RuntimeError: no more"),
        ("return None", "returned None; return the fitted estimator"),
        ("return 'a model'", "returned str, which no model format can keep"),
    ],
    ids=["raises", "returns nothing", "returns something else"],
)
def test_a_training_that_fails_leaves_what_is_live(tmp_path, looked, line, said) -> None:
    folder = write(tmp_path / "small", project=ONCE, train=broken_after_day_40(line))
    track = played(folder)
    assert (track.trainings, track.failed) == (0, 1)
    assert has_failed(looked(folder), said)


def test_a_training_that_never_ends_is_stopped_at_its_limit(tmp_path, looked) -> None:
    project = ONCE.replace("half_life = 2", 'half_life = 2\ntime_limit = "3s"')
    folder = write(tmp_path / "small", project=project, train=broken_after_day_40("while True: pass"))
    track = played(folder, in_process=False)
    assert (track.trainings, track.failed) == (0, 1)
    assert has_failed(looked(folder), "ran longer than 3 seconds and was stopped")


def has_failed(house: House, said: str) -> bool:
    """Say whether one training failed and was told of in these words, while the first version stayed live."""
    failed = [run for run in house.meta.runs.list(house.spec.name) if run.status is RunStatus.FAILED]
    told = alerts(house, AlertKind.TRAINING_FAILED)
    texts = [run.error for run in failed] + [alert.message for alert in told]
    return is_whole(house) and len(failed) == len(told) == 1 and all(re.search(said, text) for text in texts)


def test_no_first_model_says_why(tmp_path) -> None:
    project = PROJECT.replace("checks = [", 'checks = [{ metric = "roc_auc", at_least = 0.999 }, ')
    with pytest.raises(NoFirstModel, match=r"no model came out of the history of 'small' up to 2024-01-22: .*roc_auc"):
        played(write(tmp_path / "small", project=project))


def test_a_first_training_that_raises_says_where(tmp_path) -> None:
    train = TRAIN.replace("    model =", "    raise RuntimeError('not today')\n    model =")
    with pytest.raises(NoFirstModel, match=r"train\.py:7: RuntimeError: not today"):
        played(write(tmp_path / "small", train=train))


def test_columns_to_watch_that_are_nowhere_stop_the_first_turn_before_it_trains(tmp_path) -> None:
    project = PROJECT + '[monitoring]\ngroups = ["sight"]\nslices = ["site", "place"]\n'
    folder = write(tmp_path / "small", project=project)
    with pytest.raises(ConfigError, match=r"groups 'sight': not in the prediction log.*; slices 'place': the model does"):
        played(folder)
    house, _ = opened(folder)
    assert house.meta.runs.list(house.spec.name) == []
    house.close()


# ---- stores ----


def test_traffic_is_not_replayed_by_a_column_that_no_request_can_bring(tmp_path) -> None:
    house, _ = opened(write(tmp_path / "small", project=PROJECT.replace('sticky = "id"', 'sticky = "sitte"')))
    with pytest.raises(ConfigError, match=r"rollout\.sticky: source data\.py:rows has no column 'sitte'"):
        lay_out(house.spec, house.data.rows(house.spec))
    house.close()


@pytest.fixture
def old(usual, tmp_path) -> Path:
    """Give a copy of a project that was played."""
    return shutil.copytree(usual[0], tmp_path / "small")


def test_a_project_that_changed_is_not_mixed_into_an_old_store(old) -> None:
    write(old, project=NEVER.replace("half_life = 2", "half_life = 3"))
    with pytest.raises(ConfigError, match=r"another state of this project.*--fresh"):
        played(old)


def test_a_store_of_a_newer_version_is_left_alone(old) -> None:
    store = old / ".kedge" / "kedge.db"
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE kedge_revision SET version_num = '9999'")
    with pytest.raises(StoreTooNew, match=r"'9999'.*use the newer Kedge"):
        played(old)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a small disk of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("A FULL DISK WAS NOT TESTED: mounting a small one needs root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("free", [200, 800, 1500], ids="{} KiB free".format)
def test_a_full_disk_is_told_and_the_same_command_goes_on(usual, small_disk, tmp_path, free) -> None:
    folder = write(tmp_path / "small", project=NEVER)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(16 * 2**20 - free * 2**10))
    with pytest.raises(StoreFull, match="no space"):
        played(folder, store=str(small_disk / "store"))
    ballast.unlink()
    assert played(folder, store=str(small_disk / "store")).digest == usual[1]
