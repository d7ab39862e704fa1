"""The spool on a real disk: torn tails, full disks, locks, bounds."""

import errno
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from kedge.domain.ids import RunId
from kedge.domain.told import FileTold, RunBegan
from kedge.errors import NotFound, StoreBroken, StoreFull, Unreachable
from kedge.scripts import StoreDelivery, left_spools, open_spool
from kedge.settings import settings
from kedge.storage import spool as spools
from kedge.storage.spool import Spool, SpoolHead, claim, left_behind, sweep

HEAD = SpoolHead(target="here", process=1, host="h")


def all_of(spool) -> list[bytes]:
    found = []
    while True:
        records, upto = spool.read(limit_bytes=64)
        if not records:
            return found
        found += records
        spool.done(upto)


def left(folder, payloads, **named) -> None:
    """Leave a spool behind, as a killed process does: nothing closed, the lock gone."""
    spool = Spool.create(folder, HEAD, **named)
    for payload in payloads:
        spool.append([payload])
    spool.forget()


def test_records_come_back_in_order_and_an_empty_spool_goes_away(tmp_path) -> None:
    spool = Spool.create(tmp_path, HEAD, segment_bytes=100)
    wanted = [bytes([65 + place % 26]) * (place + 1) for place in range(60)]
    for payload in wanted:
        spool.append([payload], points=1)
    assert len(list(spool.root.glob("*.log"))) > 5
    assert all_of(spool) == wanted
    assert spool.is_empty
    assert len(list(spool.root.glob("*.log"))) == 1, "what has arrived takes no room"
    spool.close()
    assert left_behind(tmp_path) == []


def test_reading_and_writing_take_turns(tmp_path) -> None:
    spool = Spool.create(tmp_path, HEAD, segment_bytes=50)
    found = []
    for place in range(100):
        spool.append([b"%d" % place])
        if place % 3 == 0:
            found += all_of(spool)
    assert found + all_of(spool) == [b"%d" % place for place in range(100)]
    spool.close()


def test_what_was_left_behind_is_claimed_once_and_continued_where_it_stood(tmp_path) -> None:
    spool = Spool.create(tmp_path, HEAD, segment_bytes=40)
    for place in range(20):
        spool.append([b"record %d" % place])
    _, upto = spool.read(limit_bytes=100)
    spool.done(upto)
    root = spool.root
    assert claim(root) is None, "its process lives"
    spool.forget()
    again = claim(root)
    assert again.head == HEAD
    assert claim(root) is None, "another took it"
    rest = all_of(again)
    assert rest[-1] == b"record 19"
    assert 0 < len(rest) < 20
    again.close()
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_torn_tail_is_left_out(tmp_path, cut) -> None:
    left(tmp_path, [b"first record", b"second", b"third record!"])
    (root,) = left_behind(tmp_path)
    segment = root / "00000001.log"
    segment.write_bytes(segment.read_bytes()[:-cut])
    again = claim(root)
    assert all_of(again) == ([b"first record", b"second"] if cut <= 21 else [b"first record"])
    assert again.is_empty
    again.close()


def test_a_broken_record_in_the_middle_costs_its_segment_only(tmp_path, caplog) -> None:
    left(tmp_path, [b"%d" % place * 20 for place in range(9)], segment_bytes=60)
    (root,) = left_behind(tmp_path)
    segment = root / "00000002.log"
    data = bytearray(segment.read_bytes())
    data[10] ^= 255
    segment.write_bytes(data)
    again = claim(root)
    found = all_of(again)
    assert (found[0], found[-1]) == (b"0" * 20, b"8" * 20)
    assert "00000002.log are damaged and left out" in caplog.text
    assert again.is_empty
    again.close()


@pytest.mark.parametrize("torn", [b"", b"\x40\0\0\0torn"], ids=["nothing", "half a record"])
def test_a_segment_that_was_killed_at_its_first_record_holds_nobody_up(tmp_path, torn) -> None:
    left(tmp_path, [b"whole"])
    (root,) = left_behind(tmp_path)
    (root / "00000002.log").write_bytes(torn)
    again = claim(root)
    assert all_of(again) == [b"whole"]
    assert again.is_empty
    again.close()
    assert left_behind(tmp_path) == []


def test_a_full_disk_keeps_records_in_memory_up_to_a_bound_and_counts_the_rest(tmp_path, monkeypatch) -> None:
    def full(descriptor, data):
        os.write(descriptor, bytes(data[: len(data) // 2]))
        raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool.create(tmp_path, HEAD)
    spool.append([b"on disk"], points=1)
    monkeypatch.setattr(spools, "MEMORY_BYTES", 30)
    monkeypatch.setattr(spools, "write_all", full)
    spool.append([b"ten bytes."], points=5)
    spool.append([b"ten bytes!"], points=5)
    spool.append([b"too much for the bound"], points=7)
    spool.append([b"a tag: always kept, whatever the bound"])
    assert isinstance(spool.refused, StoreFull)
    assert spool.lost == 7
    assert all_of(spool) == [b"on disk", b"ten bytes.", b"ten bytes!", b"a tag: always kept, whatever the bound"]
    monkeypatch.undo()
    spool.append([b"on disk again"], points=1)
    assert spool.refused is None
    assert all_of(spool) == [b"on disk again"]
    spool.close()


def test_what_waits_in_memory_goes_to_the_disk_at_the_end(tmp_path, monkeypatch) -> None:
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool.create(tmp_path, HEAD)
    spool.append([b"one"], points=1)
    with monkeypatch.context() as patch:
        patch.setattr(spools, "write_all", full)
        spool.append([b"two"], points=1)
    spool.close()
    again = claim(left_behind(tmp_path)[0])
    assert all_of(again) == [b"one", b"two"]
    again.close()


def test_points_over_the_disk_bound_are_counted_and_room_comes_back(tmp_path) -> None:
    spool = Spool.create(tmp_path, HEAD, segment_bytes=50, disk_bytes=200)
    for _ in range(20):
        spool.append([b"x" * 40], points=3)
    assert 0 < spool.lost < 60
    assert spool.lost % 3 == 0
    spool.append([b"a run's end is always kept"])
    kept = all_of(spool)
    assert (len(kept) - 1) * 3 + spool.lost == 60
    lost = spool.lost
    spool.append([b"x"], points=1)
    assert spool.lost == lost
    assert all_of(spool) == [b"x"]
    spool.close()


def test_files_are_copied_now_and_removed_when_they_arrived(tmp_path) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(b"first")
    spool = Spool.create(tmp_path / "spool", HEAD)
    name = spool.keep_file(source)
    source.write_bytes(b"overwritten")
    assert (spool.files / name).read_bytes() == b"first"
    assert (spool.files / spool.keep_file(b"bytes")).read_bytes() == b"bytes"
    spool.drop_file(name)
    assert not (spool.files / name).exists()
    spool.close()


def test_a_process_that_lives_holds_its_spool_and_one_that_died_does_not(tmp_path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom kedge.storage.spool import Spool, SpoolHead\n"
        "spool = Spool.create(Path(sys.argv[1]), SpoolHead(target='here', process=1, host='h'))\n"
        "spool.append([b'told'])\nprint('ready', flush=True)\nsys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=-1, stdout=-1, text=True)
    assert child.stdout.readline() == "ready\n"
    (root,) = left_behind(tmp_path)
    assert claim(root) is None
    child.kill()
    child.wait()
    again = claim(root)
    assert all_of(again) == [b"told"]
    again.close()


def test_what_was_killed_while_it_began_is_swept_away_after_an_hour(tmp_path) -> None:
    half, fresh = tmp_path / ".1-2-abc", tmp_path / ".1-2-def"
    for folder in (half, fresh):
        folder.mkdir()
    os.utime(half, (1, 1))
    sweep(tmp_path)
    assert (half.exists(), fresh.exists()) == (False, True)


def test_the_second_folder_is_this_persons_own_and_closed_to_others(tmp_path, monkeypatch) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "spool").write_text("no folder can be made here")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    where = settings(tmp_path, store=str(tmp_path / "store"), server="")
    second = tmp_path / f"kedge-spool-{os.getuid()}"
    (tmp_path / "elsewhere").mkdir()
    second.symlink_to(tmp_path / "elsewhere")  # as another person of this machine may make it
    with pytest.raises(StoreBroken):
        open_spool(where)
    left(tmp_path / "elsewhere", [b"planted"])
    assert list(left_spools(where)) == []
    second.unlink()
    spool = open_spool(where)
    spool.append([b"mine"])
    assert second.stat().st_mode & 0o077 == 0
    spool.forget()
    (again,) = left_spools(where)
    assert all_of(again) == [b"mine"]
    again.close()


def test_a_copy_that_is_lost_is_refused_and_a_store_that_is_lost_is_waited_for(tmp_path, monkeypatch) -> None:
    where = settings(tmp_path, store=str(tmp_path / "store"), server="")
    delivery = StoreDelivery(where)
    run = RunId("a")
    file = FileTold(run=run, path="a.txt", kept="gone")
    delivery.deliver([RunBegan(run=run, started_at=datetime.now(UTC))], tmp_path)
    with pytest.raises(NotFound, match="lost its copy"):
        delivery.deliver([file], tmp_path)
    (tmp_path / "gone").write_bytes(b"there")

    def lost(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file", "pack")

    monkeypatch.setattr("kedge.tracking.artifacts.Artifacts.place", lost)
    with pytest.raises(Unreachable):
        delivery.deliver([file], tmp_path)
    delivery.close()
