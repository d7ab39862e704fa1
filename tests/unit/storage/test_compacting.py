"""Compaction: every record once, at its place, byte for byte; and files that other tools read as they are."""

import fcntl

import msgspec
import polars as pl
import pytest
from tests.unit.storage.answers import START, answered, compactor, found, journal, odd, shelf, write

from kedge.domain.records import decode_batch, encode_batch
from kedge.errors import Conflict, StoreBroken
from kedge.storage.compacting import Compactor
from kedge.storage.journal import FileJournal
from kedge.storage.prediction_rows import folder_of


def parquet(folder, model="flights"):
    return pl.read_parquet(folder / "compacted" / model / "*.parquet")


def test_every_record_is_there_once_at_its_place_before_and_after(tmp_path):
    for part in range(3):
        write(tmp_path, [msgspec.structs.replace(one, request=f"{one.request}/{part}") for one in odd()])
    before = list(journal(tmp_path, "reader").scan())
    done = compactor(tmp_path).compact()
    assert (done.segments, done.records, done.damaged, done.more) == (3, 30, (), False)
    reader = journal(tmp_path, "reader")
    assert list(reader.scan()) == before
    for place, _ in before:
        ends = {segment: end for (segment, end), _ in before if segment < place.segment} | {place.segment: place.end}
        assert list(reader.scan(ends)) == [one for one in before if one[0] > place]


def test_what_stands_in_columns_is_not_kept_twice(tmp_path):
    write(tmp_path, odd())
    compactor(tmp_path).compact()
    rows = parquet(tmp_path)
    kept = rows.filter(pl.col("record").is_not_null())["id"].to_list()
    assert kept == ["r-4.0", "r-5.0"], "text among numbers, whole numbers among others: these alone stand whole"
    assert rows["answered_at"].is_sorted()
    assert rows.height == sum(len(one.versions) for one in odd() if one.model == "flights")
    first = rows.row(0, named=True)
    assert (first["id"], first["answered_at"], first["version"], first["variant"]) == (
        "r-1.0",
        START.replace(hour=10),
        3,
        "champion",
    )
    assert (first["feature_x"], first["feature_carrier"], first["output"]) == (0.5, "AA", 0.01)
    assert (first["as_of_weather"], first["seconds_predict"], first["entity"]) == (START, 0.001, "e1-0")


def test_polars_and_duckdb_read_the_files_as_they_are(tmp_path):
    import duckdb

    write(tmp_path, [answered(number) for number in range(50)])
    compactor(tmp_path).compact()
    files = str(tmp_path / "compacted" / "**" / "*.parquet")
    asked = f"SELECT carrier, count(*), round(sum(output), 6) FROM (SELECT feature_carrier AS carrier, * FROM '{files}')"
    assert duckdb.sql(f"{asked} GROUP BY 1 ORDER BY 1 NULLS LAST").fetchall() == [("AA", 50, 12.25), (None, 50, 12.25)]
    newest = duckdb.sql(f"SELECT id, answered_at, segment_end FROM '{files}' ORDER BY answered_at DESC, id LIMIT 1").pl()
    assert newest["id"].to_list() == ["r-49.0"]
    assert pl.scan_parquet(files).filter(pl.col("feature_x") > 24).select(pl.len()).collect().item() == 2


def test_a_column_without_any_value_is_in_no_file_and_its_records_come_back(tmp_path):
    import duckdb

    nothing = answered(
        1, features={"x": [0.5, 1.5], "word": [None, None]}, as_of={"weather": [None, None]}, inputs={"key": [None] * 2}
    )
    written = write(tmp_path, [nothing])
    compactor(tmp_path).compact()
    (file,) = (tmp_path / "compacted" / "flights").glob("*.parquet")
    rows = pl.read_parquet(file)
    assert not {"feature_word", "as_of_weather", "input_key"} & {*rows.columns}
    assert rows["record"].null_count() == 2, "the columns that are there give the record back"
    written += write(tmp_path, [answered(2, features={"word": ["a", None]})])
    compactor(tmp_path).compact()
    assert found(tmp_path) == written
    files = str(tmp_path / "compacted" / "flights" / "*.parquet")
    asked = (
        f"SELECT feature_word, as_of_weather::VARCHAR IS NULL FROM read_parquet('{files}', union_by_name = true) ORDER BY id"
    )
    assert duckdb.sql(asked).fetchall() == [(None, True), (None, True), ("a", False), (None, True)]


def test_a_segment_that_is_being_written_is_left_alone(tmp_path):
    written = write(tmp_path, [answered(1)])
    live = journal(tmp_path, "live")
    live.append(encode_batch(answered(2)))
    assert compactor(tmp_path).compact().segments == 1
    live.append(encode_batch(answered(3)))
    assert found(tmp_path) == [*written, encode_batch(answered(2)), encode_batch(answered(3))]
    live.close()
    assert compactor(tmp_path).compact().records == 2
    assert compactor(tmp_path).compact().records == 0, "again is nothing new"


def test_no_number_is_used_twice(tmp_path):
    for number in range(3):
        write(tmp_path, [answered(number)])
        compactor(tmp_path).compact()
    assert [place.segment[:12] for place, _ in journal(tmp_path).scan()] == [f"{number:012d}" for number in (1, 2, 3)]
    left = [(path.name, path.stat().st_size) for path in tmp_path.glob("*.log")]
    assert left == [("000000000003-w.log", 0)]


def test_a_number_stays_used_where_its_segment_closed_empty_behind_one_that_was_compacted(tmp_path):
    first = write(tmp_path, [answered(1)])
    idle = journal(tmp_path)
    idle.open()
    assert compactor(tmp_path).compact().segments == 1
    idle.close()
    second = write(tmp_path, [answered(2)])
    assert found(tmp_path) == [*first, *second]
    compactor(tmp_path).compact()
    third = write(tmp_path, [answered(3)])
    assert found(tmp_path) == [*first, *second, *third]
    assert sorted(path.name for path in tmp_path.glob("*.log")) == ["000000000003-w.log", "000000000004-w.log"]
    compactor(tmp_path).compact()
    assert [path.name for path in tmp_path.glob("*.log")] == ["000000000004-w.log"], "those before it are swept"


def test_a_segment_that_was_swept_before_its_writer_held_it_is_opened_anew(tmp_path, monkeypatch):
    flock, swept = fcntl.flock, []

    def late(descriptor, how):
        if not swept:
            swept.append(next(tmp_path.glob("*.log")))
            swept[0].unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    written = write(tmp_path, [answered(1)])
    assert found(tmp_path) == written
    assert not swept[0].exists()


def test_a_model_has_a_folder_of_its_own_whatever_it_is_called(tmp_path):
    names = ["..", ".", ".hidden", "ü" * 150, "ü" * 149 + "a", "../up"]
    written = write(tmp_path / "log", [answered(number, model=name) for number, name in enumerate(names)])
    assert compactor(tmp_path / "log").compact().records == len(names)
    assert sorted(found(tmp_path / "log")) == sorted(written)
    assert len([*(tmp_path / "log" / "compacted").glob("*/*.parquet")]) == len(names)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_torn_tail_goes_and_a_damaged_segment_stays(tmp_path):
    torn, damaged = write(tmp_path, [answered(1)]), write(tmp_path, [answered(2), answered(3)])
    first, second = sorted(tmp_path.glob("*.log"))
    first.write_bytes(first.read_bytes() + b"\x40\0\0\0torn")
    broken = bytearray(second.read_bytes())
    broken[20] ^= 1
    second.write_bytes(broken)
    done = compactor(tmp_path).compact()
    assert done.segments == 1
    assert "damaged at byte 0" in done.damaged[0]
    assert second.read_bytes() == broken
    second.write_bytes(second.read_bytes()[:20] + bytes([broken[20] ^ 1]) + bytes(broken[21:]))
    assert found(tmp_path) == [*torn, *damaged]


def test_work_is_bounded_and_goes_on(tmp_path):
    for number in range(4):
        write(tmp_path, [answered(number)])
    bounded = Compactor(tmp_path, shelf(tmp_path), group_bytes=1)
    done = bounded.compact(most_bytes=1)
    assert (done.segments, done.more) == (1, True)
    done = bounded.compact()
    assert (done.segments, done.more) == (3, False)


def test_many_small_files_become_one(tmp_path):
    for number in range(8):
        write(tmp_path, [answered(number), answered(number, 0, request=f"gap-{number}", missing=1)])
        done = compactor(tmp_path).compact()
    assert done.merged == 16
    assert len(list((tmp_path / "compacted").rglob("*.parquet"))) == 2
    assert [decode_batch(payload).request for payload in found(tmp_path)][::2] == [f"r-{number}" for number in range(8)]


def test_rows_are_struck_and_the_rest_of_their_request_stays(tmp_path):
    write(tmp_path, [answered(1, 3), answered(2)])
    write(tmp_path, [answered(3)])

    def strike(payload):
        batch = decode_batch(payload)
        return None if batch.request == "r-2" else payload

    compactor(tmp_path).compact()
    before = {place for place, payload in journal(tmp_path).scan() if decode_batch(payload).request != "r-2"}
    struck = compactor(tmp_path).strike(strike)
    assert (struck.rows, struck.parts, struck.left) == (2, 1, ())
    assert {place for place, _ in journal(tmp_path).scan()} == before
    assert parquet(tmp_path)["id"].to_list() == ["r-1.0", "r-1.1", "r-1.2", "r-3.0", "r-3.1"]
    assert len(list((tmp_path / "compacted" / "flights").iterdir())) == 1, "the file with the struck rows is gone"


def test_a_striking_asks_who_writes_to_close(tmp_path):
    live = journal(tmp_path, "live")
    live.append(encode_batch(answered(1)))
    write(tmp_path, [answered(2)])
    struck = compactor(tmp_path).strike(lambda payload: None)
    assert struck.left == ("000000000001-live.log",), "nobody tended the live segment: it is named"
    live.tend()
    assert compactor(tmp_path).strike(lambda payload: None).left == ()
    assert found(tmp_path) == []
    live.append(encode_batch(answered(3)))
    live.tend()
    assert found(tmp_path) == [encode_batch(answered(3))]
    assert len(list(tmp_path.glob("*.log"))) == 2


def test_a_segment_is_closed_at_its_age(tmp_path):
    log = journal(tmp_path, close_seconds=0)
    log.append(encode_batch(answered(1)))
    log.tend()
    assert compactor(tmp_path).compact().segments == 1
    log.tend()
    log.append(encode_batch(answered(2)))
    assert len(found(tmp_path)) == 2


def test_old_predictions_are_forgotten(tmp_path):
    write(tmp_path, [answered(number) for number in range(10)])
    write(tmp_path, [answered(number) for number in range(10, 20)])
    compactor(tmp_path, group_bytes=1).compact()
    moment = answered(13).at
    struck = compactor(tmp_path).forget_before(
        moment, lambda payload: payload if decode_batch(payload).at >= moment else None
    )
    assert (struck.rows, struck.parts) == (26, 2)
    assert [decode_batch(payload).request for payload in found(tmp_path)] == [f"r-{number}" for number in range(13, 20)]
    assert parquet(tmp_path)["answered_at"].min() == moment


def test_two_do_not_compact_at_once(tmp_path):
    write(tmp_path, [answered(1)])
    one = compactor(tmp_path)
    with one._alone(), pytest.raises(Conflict, match="another process compacts"):
        compactor(tmp_path).compact()
    assert compactor(tmp_path / "none").compact().segments == 0
    assert not (tmp_path / "none").exists()


def test_a_scan_outlives_what_happens_meanwhile(tmp_path):
    records = [*write(tmp_path, [answered(1)]), *write(tmp_path, [answered(2)]), *write(tmp_path, [answered(3)])]
    scan = journal(tmp_path, "reader").scan()
    assert next(scan)[1] == records[0]
    compactor(tmp_path).compact()
    assert [payload for _, payload in scan] == records[1:]
    reader = journal(tmp_path, "reader")
    scan = reader.scan()
    assert next(scan)[1] == records[0]
    compactor(tmp_path).strike(lambda payload: None if payload == records[1] else payload)
    assert [payload for _, payload in scan] == [records[2]]


def test_what_is_gone_or_damaged_is_told(tmp_path):
    write(tmp_path, [answered(1)])
    compactor(tmp_path).compact()
    (part,) = (tmp_path / "compacted" / "flights").iterdir()
    part.write_bytes(b"PAR1")
    with pytest.raises(StoreBroken, match="damaged"):
        found(tmp_path)
    part.unlink()
    with pytest.raises(StoreBroken, match="its manifest names it"):
        found(tmp_path)
    (tmp_path / "compacted" / "manifest.json").write_text("{")
    with pytest.raises(StoreBroken, match="cannot be read"):
        found(tmp_path)


def test_a_model_of_any_name_has_a_folder():
    assert folder_of("flights-2.b") == "flights-2.b"
    assert folder_of("a/b_c ä") == "a%2Fb%5Fc%20%C3%A4"


def test_a_prediction_is_found_wherever_it_stands(tmp_path):
    first = write(tmp_path, [answered(1), answered(2, rows=[3, 7])])
    compactor(tmp_path).compact()
    second = write(tmp_path, [answered(3), answered(1, outputs=[0.9, 0.9])])
    reader = journal(tmp_path, "reader")
    assert reader.find("r-1.1") == first[0], "the first record counts"
    assert reader.find("r-2.7") == first[1]
    assert reader.find("r-3.0") == second[0]
    assert [reader.find(name) for name in ("r-9.0", "r-2.0", "no name")] == [None] * 3
    assert journal(tmp_path / "none", "reader").find("r-1.0") is None
    assert FileJournal(tmp_path, "plain").find("r-3.0") == second[0]


def test_what_is_compacted_and_old_is_not_read(tmp_path):
    write(tmp_path, [answered(1), answered(2)])
    write(tmp_path, [answered(3)])
    compactor(tmp_path, group_bytes=1).compact()
    write(tmp_path, [answered(0)])
    reader = journal(tmp_path, "reader")
    seen = [decode_batch(payload).request for _, payload in reader.scan(since=answered(3).at)]
    assert seen == ["r-3", "r-0"], "what is not compacted is read whatever its time"
    assert len(list(reader.scan(since=answered(2).at))) == 4
