"""kill -9, a cut line and a full disk in the middle of an upload: nothing half is seen, nothing whole is lost."""

import json
import random
import signal
import socket
import threading
import time

import psutil
import pytest
from tests.api.attacked import Target, parsed
from tests.mlflow.conftest import Up

SIZE = 24_000_000
DATA = random.Random(5).randbytes(SIZE)
KEPT = random.Random(6).randbytes(9_000_000)


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    up = Up(folder)
    up.start()
    made = Target(up)
    made.packs = folder / ".kedge" / "packs"
    yield made
    if up.process.poll() is None:
        up.stop()


def begun(target, name, *, size=SIZE):
    """Open a line and send the head of an upload."""
    line = socket.create_connection(("127.0.0.1", target.up.port), timeout=60)
    place = f"/api/2.0/mlflow-artifacts/artifacts/{target.experiment}/{target.run}/artifacts/{name}"
    own = f"host: 127.0.0.1:{target.up.port}\r\ncontent-length: {size}\r\nconnection: close\r\n"
    line.sendall(f"PUT {place} HTTP/1.1\r\n{own}\r\n".encode())
    return line


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def parts_left(target):
    return list(target.packs.glob("u*.part"))


def get(target, name):
    return target.send("GET", f"/get-artifact?run_id={target.run}&path={name}")


def test_a_server_killed_in_an_upload_shows_nothing_of_it_and_takes_it_again(target):
    assert target.put("kept.bin", KEPT).status == 200
    line = begun(target, "half.bin")
    line.sendall(DATA[: SIZE // 2])
    wait_for(lambda: sum(path.stat().st_size for path in parts_left(target)) > 4_000_000)
    assert target.files() == {"kept.bin"}
    target.up.kill()
    line.close()
    assert parts_left(target)
    target.up.start()
    assert target.files() == {"kept.bin"}
    assert get(target, "half.bin").status == 404
    assert parts_left(target) == []
    assert get(target, "kept.bin").body == KEPT
    assert target.put("half.bin", DATA).status == 200
    assert get(target, "half.bin").body == DATA
    assert parts_left(target) == []
    target.unharmed()


@pytest.mark.slow
def test_at_whatever_moment_the_server_dies_what_it_acknowledged_is_whole(target):
    """Four lines upload while the server is killed; each file is there whole, or not at all."""
    acknowledged, sizes = {}, (300, 1_900_000, 4_000_000, 9_000_000)

    def keep_uploading(number):
        for turn in range(50):
            name, data = f"{number}-{turn}", DATA[turn * 1000 :][: sizes[number]]
            try:
                if target.put(name, data).status != 200:
                    return
            except (OSError, ValueError):
                return
            acknowledged[name] = data

    for delay in (0.3, 1.0, 2.0):
        threads = [threading.Thread(target=keep_uploading, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(delay)
        target.up.process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
        target.up.kill()
        target.up.start()
        there = target.files()
        assert set(acknowledged) <= there
        for name in there:
            number, turn = map(int, name.split("-"))
            assert get(target, name).body == DATA[turn * 1000 :][: sizes[number]], name
        assert parts_left(target) == []
    assert len(acknowledged) > 4


def test_a_line_that_is_cut_leaves_nothing(target):
    for sent in (0, 100, SIZE // 2):
        line = begun(target, "cut.bin")
        line.sendall(DATA[:sent])
        if sent > 4_000_000:
            wait_for(lambda: parts_left(target))
        line.close()
    wait_for(lambda: not parts_left(target))
    assert target.files() == set()
    assert target.put("cut.bin", DATA).status == 200
    assert get(target, "cut.bin").body == DATA


def test_parts_that_were_acknowledged_outlive_a_kill_and_make_the_file(target):
    at = f"{target.experiment}/{target.run}/artifacts"
    asked = json.dumps({"path": "big.bin", "num_parts": 3}).encode()
    begun = target.send("POST", f"/api/2.0/mlflow-artifacts/mpu/create/{at}", asked).json
    third, tags = SIZE // 3, {}
    for number in (1, 2, 3):
        if number == 3:
            target.up.kill()
            target.up.start()
        address = begun["credentials"][number - 1]["url"].partition(str(target.up.port))[2]
        told = target.send("PUT", address, DATA[(number - 1) * third : number * third], content_type="application/x")
        tags[number] = told.headers["etag"]
    assert target.files() == set()
    parts = [{"part_number": number, "etag": tag} for number, tag in tags.items()]
    ended = json.dumps({"path": "big.bin", "upload_id": begun["upload_id"], "parts": parts}).encode()
    assert target.send("POST", f"/api/2.0/mlflow-artifacts/mpu/complete/{at}", ended).status == 200
    assert get(target, "big.bin").body == DATA


def test_a_full_disk_is_told_and_loses_nothing(target):
    """A limit on the size of files stands for the end of the disk; it is lifted later, as when space is made."""
    assert target.put("kept.bin", DATA[:3_000_000]).status == 200
    server = psutil.Process(target.up.process.pid)
    server.rlimit(psutil.RLIMIT_FSIZE, (6_000_000, psutil.RLIM_INFINITY))
    told = target.put("over.bin", DATA)
    assert (told.status, told.json["error_code"]) == (507, "RESOURCE_EXHAUSTED")
    assert "free some space" in told.json["message"]
    native = target.send("PUT", f"/api/v1/runs/{target.run}/artifacts/over.bin", DATA, content_type="application/x")
    assert (native.status, native.json["error"]["code"]) == (507, "store_full")
    assert parts_left(target) == []
    assert target.files() == {"kept.bin"}
    assert get(target, "kept.bin").body == DATA[:3_000_000]
    assert target.put("small.bin", b"still room for this").status == 200
    server.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    assert target.put("over.bin", DATA).status == 200
    assert get(target, "over.bin").body == DATA
    target.unharmed()


def test_a_slow_upload_holds_nobody_up(target):
    slow = [begun(target, f"slow{number}.bin") for number in range(40)]
    for line in slow:
        line.sendall(DATA[:1000])
    start = time.monotonic()
    assert target.put("quick.bin", b"quick").status == 200
    assert target.files() == {"quick.bin"}
    assert time.monotonic() - start < 5
    for line in slow:
        line.close()


def test_a_retry_while_the_first_still_runs_ends_whole(target):
    first = begun(target, "twice.bin")
    first.sendall(DATA[: SIZE // 2])
    assert target.put("twice.bin", DATA).status == 200
    first.sendall(DATA[SIZE // 2 :])
    whole = b""
    while piece := first.recv(1 << 16):
        whole += piece
    assert parsed(whole).status == 200
    assert get(target, "twice.bin").body == DATA
