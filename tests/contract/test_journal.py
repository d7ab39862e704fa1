"""What every journal does, in a file or in memory; then what only files must survive."""

import errno
import os
import struct
from pathlib import Path
from zlib import crc32

import pytest
from tests.unit.memory_journal import MemoryJournal

from kedge.errors import StoreBroken, StoreFull
from kedge.storage.journal import FileJournal
from kedge.storage.segments import OwnSegment, hold


@pytest.fixture(params=["file", "memory"])
def journal(request, tmp_path):
    made = FileJournal(tmp_path / "log", "w1") if request.param == "file" else MemoryJournal()
    yield made
    made.close()


def payloads(journal, after=None):
    return [payload for _, payload in journal.scan(after)]


def reader(folder):
    return FileJournal(folder, "reader")


def only_segment(folder) -> Path:
    (path,) = folder.iterdir()
    return path


def test_an_empty_journal_has_no_records(journal):
    assert payloads(journal) == []


def test_records_come_back_in_order_with_the_positions_that_append_gave(journal):
    written = [(journal.append(data), data) for data in (b"a", b"bb" * 500, b"\0")]
    assert list(journal.scan()) == written


def test_records_appended_together_come_back_one_by_one(journal):
    first = journal.append(b"1")
    last = journal.append_all([b"22", b"333"])
    (_, second, third) = journal.scan()
    assert third == (last, b"333")
    assert payloads(journal, {first.segment: first.end}) == [b"22", b"333"]
    assert payloads(journal, {second[0].segment: second[0].end}) == [b"333"]


def test_of_records_appended_together_all_or_none_are_written(journal):
    for refused in ([], [b"1", b""]):
        with pytest.raises(ValueError, match=r"at least one byte|no record"):
            journal.append_all(refused)
    assert payloads(journal) == []


def test_a_scan_goes_on_after_a_position(journal):
    positions = [journal.append(bytes([number])) for number in range(1, 6)]
    assert payloads(journal, {positions[2].segment: positions[2].end}) == [b"\4", b"\5"]
    assert payloads(journal, {positions[4].segment: positions[4].end}) == []


def test_records_appended_later_are_seen_by_the_next_scan(journal):
    first = journal.append(b"1")
    journal.sync()
    journal.append(b"2")
    assert payloads(journal, {first.segment: first.end}) == [b"2"]


def test_an_empty_record_is_refused(journal):
    with pytest.raises(ValueError, match="at least one byte"):
        journal.append(b"")


def test_a_closed_journal_can_be_read_and_appended_again(journal):
    journal.append(b"1")
    journal.close()
    journal.append(b"2")
    assert payloads(journal) == [b"1", b"2"]


def test_a_journal_that_is_opened_early_leaves_nothing_where_nothing_is_appended(tmp_path):
    journal = FileJournal(tmp_path, "w")
    journal.open()
    (early,) = tmp_path.iterdir()
    journal.close()
    assert not any(tmp_path.iterdir())
    journal.open()
    journal.open()
    assert journal.append(b"1").segment == early.name
    assert payloads(journal) == [b"1"]


def test_a_full_segment_is_closed_by_the_next_sync(tmp_path):
    journal = FileJournal(tmp_path, "w", segment_bytes=10)
    for number in range(1, 4):
        journal.append(bytes([number]) * 10)
    assert len(journal._retired) == 2
    journal.sync()
    assert not journal._retired
    for number in range(4, 12):  # nobody syncs: appends close them
        journal.append(bytes([number]) * 10)
    assert len(journal._retired) == 4
    assert [payload[0] for payload in payloads(journal)] == list(range(1, 12))


def test_a_sync_closes_what_is_put_aside_while_it_begins(tmp_path):
    journal = FileJournal(tmp_path, "w", segment_bytes=10)
    journal.append(b"1" * 10)
    first, syncing = journal._open, journal._syncing

    class Late:
        def __enter__(self):  # an append comes between the call of sync and its look at the segments
            syncing.acquire()
            journal.append(b"2" * 10)

        def __exit__(self, *_):
            syncing.release()

    journal._syncing = Late()
    journal.sync()
    assert not journal._retired
    first.sync()
    assert payloads(journal) == [b"1" * 10, b"2" * 10], "a sync of what is closed by now is nothing"


def test_a_segment_that_is_half_full_gets_its_next_and_no_append_opens_one(tmp_path, monkeypatch):
    journal = FileJournal(tmp_path, "w", segment_bytes=100)
    journal.append(b"1" * 40)
    journal.tend()
    assert len(os.listdir(tmp_path)) == 1
    journal.append(b"2" * 40)
    journal.tend()
    journal.tend()
    assert len(os.listdir(tmp_path)) == 2, "one, not another each time"
    with monkeypatch.context() as patched:
        patched.setattr("kedge.storage.journal.OwnSegment", lambda *_: pytest.fail("an append waits for the disk"))
        places = [journal.append(b"3" * 10), journal.append(b"4")]
    assert [place.segment for place in places] == ["000000000001-w.log", "000000000002-w.log"]
    assert payloads(reader(tmp_path)) == [b"1" * 40, b"2" * 40, b"3" * 10, b"4"]
    journal.close()
    journal.append(b"5")
    assert payloads(journal)[-1] == b"5"


def test_a_next_segment_goes_with_the_journal_and_its_failure_with_whoever_needs_it(tmp_path, monkeypatch):
    journal = FileJournal(tmp_path, "w", segment_bytes=10)
    journal.append(b"1" * 10)
    with monkeypatch.context() as patched:
        patched.setattr("kedge.storage.segments.os.open", refused)
        journal.tend()
        with pytest.raises(StoreFull):
            journal.append(b"2")
    journal.append(b"2" * 10)
    journal.tend()
    journal.close()
    assert [(tmp_path / name).stat().st_size for name in sorted(os.listdir(tmp_path))] == [18, 18, 0]
    assert hold(tmp_path / "000000000003-w.log") is not None, "nobody holds it any more"
    journal.append(b"3")
    assert payloads(reader(tmp_path)) == [b"1" * 10, b"2" * 10, b"3"]


def test_a_next_segment_that_comes_too_late_is_not_written(tmp_path, monkeypatch):
    """Else what is appended later would be read earlier."""
    journal = FileJournal(tmp_path, "w", segment_bytes=10)
    journal.append(b"1" * 10)

    def late(folder, writer):
        opened = OwnSegment(folder, writer)
        monkeypatch.undo()
        journal.append(b"2" * 10)
        return opened

    monkeypatch.setattr("kedge.storage.journal.OwnSegment", late)
    journal.tend()
    journal.append(b"3")
    assert payloads(reader(tmp_path)) == [b"1" * 10, b"2" * 10, b"3"]


def refused(*_):
    raise OSError(errno.ENOSPC, "no space left on device")


def test_a_reader_creates_nothing(tmp_path):
    other = reader(tmp_path / "none")
    assert payloads(other) == []
    other.sync()
    other.close()
    assert not (tmp_path / "none").exists()


def test_segments_rotate_and_are_read_in_the_order_of_opening(tmp_path):
    journal = FileJournal(tmp_path, "w", segment_bytes=50)
    for number in range(1, 21):
        journal.append(bytes([number]) * 10)
    assert [path.name for path in sorted(tmp_path.iterdir())][:2] == ["000000000001-w.log", "000000000002-w.log"]
    assert payloads(journal) == [bytes([number]) * 10 for number in range(1, 21)]


def test_each_start_opens_a_new_segment_after_those_of_others(tmp_path):
    for writer in ("b", "a", "b"):
        journal = FileJournal(tmp_path, writer)
        journal.append(writer.encode())
        journal.close()
    assert payloads(reader(tmp_path)) == [b"b", b"a", b"b"]
    assert sorted(os.listdir(tmp_path)) == ["000000000001-b.log", "000000000002-a.log", "000000000003-b.log"]


def test_two_live_writers_of_one_name_do_not_share_a_segment(tmp_path):
    one, two = FileJournal(tmp_path, "w"), FileJournal(tmp_path, "w")
    for number in range(1, 5):
        (one if number % 2 else two).append(bytes([number]))
    assert sorted(payloads(one)) == [b"\1", b"\2", b"\3", b"\4"]
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("cut", range(1, 18))
def test_reading_stops_before_a_torn_tail_and_goes_on_with_the_next_segment(tmp_path, cut):
    journal = FileJournal(tmp_path, "w")
    journal.append(b"whole")
    journal.append(b"last-ones")  # a frame of 17 bytes
    journal.close()
    path = only_segment(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    other = FileJournal(tmp_path, "other")
    other.append(b"next")
    assert payloads(other) == [b"whole", b"next"]
    assert path.stat().st_size == 13 + 17 - cut  # another writer's tail is not ours to cut


def test_a_start_cuts_the_own_torn_tail(tmp_path):
    journal = FileJournal(tmp_path, "w")
    journal.append(b"whole")
    journal.append(b"torn")
    journal.close()
    path = only_segment(tmp_path)
    os.truncate(path, path.stat().st_size - 1)
    again = FileJournal(tmp_path, "w")
    again.append(b"next")
    assert path.stat().st_size == 13
    assert payloads(again) == [b"whole", b"next"]


def test_a_start_cuts_the_own_torn_tail_before_a_next_segment_that_was_not_begun(tmp_path):
    journal = FileJournal(tmp_path, "w", segment_bytes=20)
    journal.append(b"whole")
    journal.tend()
    journal.close()
    path, following = (tmp_path / f"00000000000{number}-w.log" for number in (1, 2))
    with path.open("ab") as file:
        file.write(b"torn")  # as a killed writer leaves them
    assert following.stat().st_size == 0
    again = FileJournal(tmp_path, "w")
    assert again.append(b"next").segment == "000000000003-w.log", "no number comes twice"
    assert path.stat().st_size == 13
    assert payloads(again) == [b"whole", b"next"]


def test_a_tail_of_zeros_is_torn(tmp_path):
    journal = FileJournal(tmp_path, "w")
    journal.append(b"whole")
    journal.close()
    with only_segment(tmp_path).open("ab") as file:
        file.write(bytes(5000))
    assert payloads(reader(tmp_path)) == [b"whole"]


def test_a_wrong_last_record_is_a_torn_tail(tmp_path):
    journal = FileJournal(tmp_path, "w")
    journal.append(b"whole")
    journal.append(b"wrong")
    journal.close()
    flip(only_segment(tmp_path), -1)
    assert payloads(reader(tmp_path)) == [b"whole"]


@pytest.mark.parametrize("at", range(13, 26), ids=lambda at: f"byte{at}")
def test_damage_before_whole_records_is_told_with_its_place_and_never_cut(tmp_path, at):
    journal = FileJournal(tmp_path, "w")
    for payload in (b"first", b"harmd", b"third", b"fourth"):
        journal.append(payload)
    journal.close()
    path = only_segment(tmp_path)
    flip(path, at)  # length, checksum or payload of the second
    scan = reader(tmp_path).scan()
    assert next(scan)[1] == b"first"
    with pytest.raises(StoreBroken, match=r"000000000001-w\.log is damaged at byte 13"):
        list(scan)
    size = path.stat().st_size
    with pytest.raises(StoreBroken):
        FileJournal(tmp_path, "w").append(b"more")
    assert path.stat().st_size == size


def test_a_position_beyond_what_a_power_cut_left_reads_nothing_and_hides_nothing(tmp_path):
    journal = FileJournal(tmp_path, "w")
    journal.append(b"kept")
    position = journal.append(b"lost")
    journal.close()
    os.truncate(only_segment(tmp_path), 12)
    again = FileJournal(tmp_path, "w")
    again.append(b"new")
    assert payloads(again, {position.segment: position.end}) == [b"new"]


def test_a_full_disk_leaves_no_half_record_and_the_journal_goes_on(tmp_path, monkeypatch):
    journal = FileJournal(tmp_path, "w")
    journal.append(b"before")
    real, left = os.write, [6]

    def write(descriptor, data):
        if not left[0]:
            raise OSError(28, "No space left on device")
        done = real(descriptor, bytes(data)[: left[0]])
        left[0] -= done
        return done

    monkeypatch.setattr("kedge.storage.durable.os.write", write)
    with pytest.raises(StoreFull, match=r"free some space"):
        journal.append(b"does not fit")
    left[0] = 1 << 20
    journal.append(b"after")
    assert payloads(journal) == [b"before", b"after"]


def test_after_a_failed_sync_the_next_record_opens_a_new_segment(tmp_path, monkeypatch):
    journal = FileJournal(tmp_path, "w")
    journal.append(b"1")

    def broken(descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("kedge.storage.journal.os.fdatasync", broken)
        with pytest.raises(StoreBroken, match="Input/output error"):
            journal.sync()
    journal.append(b"2")
    journal.sync()
    assert len(os.listdir(tmp_path)) == 2
    assert payloads(journal) == [b"1", b"2"]


def test_the_format_is_length_checksum_payload(tmp_path):
    journal = FileJournal(tmp_path, "w")
    journal.append(b"abc")
    assert only_segment(tmp_path).read_bytes() == struct.pack("<II", 3, crc32(b"abc")) + b"abc"


@pytest.mark.parametrize("writer", ["", "a/b", "..", "a b"])
def test_a_writers_name_is_a_plain_word(tmp_path, writer):
    with pytest.raises(ValueError, match="letters, digits"):
        FileJournal(tmp_path, writer)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
