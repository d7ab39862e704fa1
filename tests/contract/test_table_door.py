"""The door for scripts, and `kedge data commit`, on a store on the disk."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import kedge
from kedge.cli.main import application
from kedge.client import datasets as door
from kedge.errors import ConfigError, KedgeError, NotFound, RequestInvalid, SourceFailed
from kedge.records import open_records
from kedge.settings import settings

FLIGHTS = pl.DataFrame({"id": [1, 2, 3], "from": ["JFK", "LGA", "EWR"]})


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("KEDGE_STORE", "KEDGE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*words: str) -> None:
    """Run a command as the command line does."""
    application([*words])([*words], standalone_mode=False)


def test_importing_kedge_loads_no_frames_and_the_door_is_light():
    code = (
        "import sys, kedge\n"
        "kedge.data.commit\n"
        "print([name for name in ('polars', 'numpy', 'sqlalchemy', 'pandas') if name in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(kedge.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == "[]"
    assert "commit" in dir(kedge.data)
    with pytest.raises(AttributeError, match="no attribute 'comit'"):
        kedge.data.comit  # noqa: B018


def test_the_verbs_work_on_the_store_of_this_folder(here, monkeypatch):
    first = kedge.data.commit(FLIGHTS, "flights", key="id")
    assert first.actor.startswith("person:")
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    kedge.data.delete("flights", keys=[1], actor="person:ada")
    assert_frame_equal(kedge.data.read("flights@v1"), FLIGHTS)
    assert kedge.data.read(kedge.data.versions("flights")[1])["id"].to_list() == [2, 3]
    assert kedge.data.scan("flights", columns=["from"]).collect()["from"].to_list() == ["LGA", "EWR"]
    assert kedge.data.diff("flights@v1", "flights").removed == 1
    kedge.data.tag("flights@v1", "golden")
    assert kedge.data.read("flights@golden").height == 3
    kedge.data.tag("flights", "golden", delete=True)
    with pytest.raises(KedgeError, match="golden"):
        kedge.data.read("flights@golden")
    assert kedge.data.compact("flights").number == 3
    assert kedge.data.erase("flights", where="id = 2", reason="asked").rows >= 1


def test_a_run_notes_the_versions_that_it_reads(here):
    version = kedge.data.commit(FLIGHTS, "flights", key="id")
    with kedge.run("late", system_metrics=False) as run:
        kedge.data.read("flights@v1", columns=["id"])
        kedge.data.scan("flights").collect()
    records = open_records(settings(here, store=None, server=""))
    noted = records.logging.get_run(run.id).datasets
    assert [(one.name, one.digest, one.source) for one in noted] == [("flights", version.digest, "flights@v1")]
    uses = records.catalogue.uses(records.catalogue.get(version.dataset))
    assert [(one.name, one.versions) for one in uses.runs] == [(run.name, (1,))]
    records.close()


def test_a_store_that_was_made_anew_is_opened_anew(here):
    kedge.data.commit(FLIGHTS, "flights", store=str(here / "store"))
    (here / "store").rename(here / "old")
    assert kedge.data.commit(FLIGHTS, "flights", store=str(here / "store")).number == 1
    assert_frame_equal(kedge.data.read("flights", store=str(here / "old")), FLIGHTS)


def test_reading_makes_no_store(here):
    for ask in (kedge.data.versions, kedge.data.read, lambda name: kedge.data.delete(name, keys=[1])):
        with pytest.raises(NotFound, match="there is no store in"):
            ask("flights")
    assert not (here / ".kedge").exists()


def test_with_a_control_plane_alone_the_store_must_be_named(here, monkeypatch):
    monkeypatch.setenv("KEDGE_URL", "http://127.0.0.1:8400")
    with pytest.raises(ConfigError, match="name the store with store= or KEDGE_STORE"):
        kedge.data.versions("flights")
    assert kedge.data.commit(FLIGHTS, "flights", store=str(here / "store")).number == 1


def test_erased_bytes_are_gone_from_the_packs(here):
    secret = "Wilhelmina Featherstonehaugh"
    people = pl.DataFrame(
        {"id": range(500), "name": [f"{secret} {n}" if n == 77 else f"person {n * 7919}" for n in range(500)]}
    )
    kedge.data.commit(people, "people", key="id")
    kedge.data.append(pl.DataFrame({"id": [999], "name": ["Bob"]}), "people")

    def bytes_held() -> bytes:
        """Read all that the store has, Parquet decoded."""
        records = door._records(None)
        found = b"".join(path.read_bytes() for path in (here / ".kedge" / "packs").rglob("*") if path.is_file())
        for version in records.meta.datasets.list("people"):
            for part in version.parts:
                found += str(pl.read_parquet(records.blobs.get(part.digest)).rows()).encode()
        return found

    digests = [part.digest for part in kedge.data.versions("people")[0].parts]
    assert secret.encode() in bytes_held()
    done = kedge.data.erase("people", keys=[77], reason="request 17")
    assert done.freed > 0
    assert secret.encode() not in bytes_held()
    assert not any(door._records(None).blobs.has(digest) for digest in digests)
    assert kedge.data.read("people@v1").height == 499


def test_files_become_versions(here, capsys):
    FLIGHTS.write_csv(here / "flights.csv")
    run("data", "commit", "flights.csv", "flights", "--key", "id", "-m", "first")
    assert capsys.readouterr().out == "flights@v1: 3 rows, 2 columns\n"
    run("data", "commit", "flights.csv", "flights")
    assert capsys.readouterr().out == "flights@v1: nothing has changed\n"
    pl.DataFrame({"id": [3, 4], "from": ["BOS", "BOS"]}).write_parquet(here / "more.parquet")
    with pytest.raises(RequestInvalid, match="replace=True"):
        run("data", "commit", "more.parquet", "flights", "--append")
    run("data", "commit", "more.parquet", "flights", "--append", "--replace", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["number"], told["rows"], told["key"], told["source"]) == (2, 4, ["id"], "more.parquet")
    with pytest.raises(RequestInvalid, match="--replace and --widen are for --append"):
        run("data", "commit", "more.parquet", "flights", "--replace")
    assert kedge.data.versions("flights")[0].message == "first"


def test_columns_of_a_folder_may_stand_in_any_order(here):
    (here / "raw").mkdir()
    FLIGHTS.head(1).write_csv(here / "raw" / "a.csv")
    FLIGHTS.tail(2).select("from", "id").write_csv(here / "raw" / "b.csv")
    run("data", "commit", "raw", "flights")
    assert_frame_equal(kedge.data.read("flights"), FLIGHTS)


def test_a_folder_and_a_function_become_versions(here):
    (here / "raw" / "old").mkdir(parents=True)
    FLIGHTS.head(2).write_csv(here / "raw" / "a.csv")
    FLIGHTS.tail(1).write_parquet(here / "raw" / "old" / "b.parquet")
    (here / "raw" / "readme.txt").write_text("no table")
    (here / "raw" / ".hidden.csv").write_text("x\n1\n")
    run("data", "commit", "raw", "flights")
    assert_frame_equal(kedge.data.read("flights"), FLIGHTS)
    (here / "data.py").write_text("import polars as pl\ndef rows():\n    return pl.DataFrame({'n': [1]})\n")
    (here / "kedge.toml").write_text("")
    run("data", "commit", "data.py:rows", "numbers")
    assert kedge.data.read("numbers")["n"].to_list() == [1]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.csv": b'a,b\n1,"x\n2,y\n'}, "a.csv is not valid csv: line 2: a quote that is opened there is never closed"),
        ({"a.csv": b'a,b\n1,"he said "hi", ok"\n'}, "a.csv is not valid csv: line 2: text after a closing quote"),
        ({"a.csv": b"a,b\n1,2,3\n"}, "a.csv is not valid csv: line 2: 3 fields, where the header has 2"),
        ({"a.csv": b"a,b\n1,\xe9\n"}, "a.csv is not valid csv: line 2: bytes that are not UTF-8"),
        ({"a.csv": b""}, "a.csv is empty"),
        ({"a.csv": b"a,a\n1,2\n"}, "line 1: column 'a' is there twice"),
        ({"a.csv": b"a;b\n1;2\n"}, "line 1: it has the one column 'a;b', which looks separated by ';'"),
        ({"a.parquet": b"PAR1torn"}, "a.parquet is not valid parquet: .* write it anew"),
        ({"a.csv": b"a,b\n1,2\n", "b.csv": b"a,c\n1,2\n"}, r"b.csv has the columns \['a', 'c'\], .*a.csv has \['a', 'b'\]"),
        ({"a.csv": b"a\n1\n", "b.csv": b"a\nx\n"}, "a is String in .*b.csv, Int64 in .*a.csv"),
        ({"a.txt": b"x"}, "no file in it is one of"),
    ],
)
def test_bad_files_are_one_clear_error(here, files, said):
    (here / "raw").mkdir()
    for name, data in files.items():
        (here / "raw" / name).write_bytes(data)
    with pytest.raises(SourceFailed, match=said):
        run("data", "commit", "raw", "bad")
    assert kedge.data.commit(FLIGHTS, "good").number == 1
    with pytest.raises(KedgeError, match="no dataset 'bad'"):
        kedge.data.read("bad")


@pytest.mark.parametrize(
    "text", ['a,b\n1,"two\nlines"\n', 'a\n"say ""hi"""\n', '"a"\r\n"1"\r\n', 'a,b\n1,x"y"z\n', '\ufeff"a"\n1\n']
)
def test_quotes_that_add_up_are_read(here, text):
    (here / "a.csv").write_bytes(text.encode())
    run("data", "commit", "a.csv", "t")
    assert kedge.data.read("t").height == 1


def test_a_date_in_a_condition_is_written_as_one(here):
    days = pl.DataFrame({"day": [date(2013, 1, 1), date(2013, 2, 1)]})
    kedge.data.commit(days, "days")
    assert kedge.data.read("days", where="day >= DATE '2013-02-01'").height == 1
    with pytest.raises(RequestInvalid, match=r"such as a date with DATE '2026-01-31'"):
        kedge.data.read("days", where="day >= '2013-02-01'")


def test_a_frame_is_drafted_from_as_it_is(here):
    rules = kedge.data.suggest(FLIGHTS)
    assert rules
    assert kedge.data.validate(FLIGHTS, rules).passed


def test_a_rule_that_stumbles_on_a_value_shows_no_personal_one(here):
    kedge.data.commit(FLIGHTS, "flights", key="id")
    rules = [kedge.data.expect.holds('CAST("from" AS INT) > 0')]
    with pytest.raises(SourceFailed, match="JFK"):
        kedge.data.validate("flights", rules)
    run("data", "describe", "flights", "--column", "from", "--personal")
    with pytest.raises(SourceFailed, match=r"InvalidOperationError$"):
        kedge.data.validate("flights", rules)


def test_a_delta_table_is_pinned(here, capsys):
    deltalake = pytest.importorskip("deltalake")
    place = str(here / "lake")
    deltalake.write_deltalake(place, FLIGHTS.to_arrow(), partition_by=["from"])
    more = FLIGHTS.with_columns(pl.col("id") + 10)
    run("data", "commit", f"delta:{place}", "flights")
    assert capsys.readouterr().out == "flights@v1: 3 rows, 2 columns\n"
    deltalake.write_deltalake(place, more.to_arrow(), mode="append")
    assert kedge.data.commit_delta(place, "flights", version=0).number == 1
    version = kedge.data.commit_delta(place, "flights", message="next")
    assert (version.number, version.rows, version.source) == (2, 6, f"delta:{place}@1")
    assert sorted(kedge.data.read("flights@v1")["id"].to_list()) == [1, 2, 3]
    assert sorted(kedge.data.read("flights", columns=["id"], where="id > 10")["id"].to_list()) == [11, 12, 13]
    assert kedge.data.diff("flights@v1", "flights", key="id").added == 3
    assert kedge.data.scan("flights").select(pl.len()).collect().item() == 6
    for change in (
        lambda: kedge.data.append(FLIGHTS, "flights"),
        lambda: kedge.data.delete("flights", where="id = 1"),
        lambda: kedge.data.compact("flights"),
        lambda: kedge.data.erase("flights", where="id = 1", reason="asked"),
        lambda: kedge.data.commit(FLIGHTS, "x", source="delta:x"),
    ):
        with pytest.raises(RequestInvalid, match="pin"):
            change()
    own = kedge.data.commit(FLIGHTS, "flights", key="id")
    assert (own.number, own.is_pinned) == (3, False)


def test_a_delta_table_that_changed_underneath_is_found(here):
    deltalake = pytest.importorskip("deltalake")
    place = here / "lake"
    deltalake.write_deltalake(str(place), FLIGHTS.to_arrow())
    kedge.data.commit_delta(str(place), "flights")
    (file,) = place.glob("*.parquet")
    data = file.read_bytes()
    assert kedge.data.read("flights").height == 3
    file.unlink()
    with pytest.raises(SourceFailed, match="restore the file, or pin a newer version"):
        kedge.data.read("flights")
    code = "import kedge; kedge.data.read('flights')"  # files are compared once in a process
    env = {**os.environ, "PYTHONPATH": str(Path(kedge.__file__).parents[1])}
    for change, said in (
        (data[:-9] + b"x" + data[-8:], "is not the file that was pinned"),
        (None, "was the table vacuumed"),
    ):
        file.write_bytes(change) if change else file.unlink(missing_ok=True)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
        assert said in done.stderr
    with pytest.raises(SourceFailed, match=r"Delta table .*nothing cannot be read"):
        kedge.data.commit_delta(str(here / "nothing"), "none")
    with pytest.raises(SourceFailed, match="at version 9 cannot be read"):
        kedge.data.commit_delta(str(place), "none", version=9)
