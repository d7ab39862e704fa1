"""Blobs to a bucket and back: a folder, and a real S3 endpoint over HTTP."""

import random
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from kedge.errors import ConfigError, NotFound, StoreBroken, Unreachable
from kedge.ports import TreeFile
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.bucket import _meaning, open_bucket
from kedge.storage.sql import open_store

PACK = 1 << 20


@pytest.fixture
def bucket(bucket_url):
    return open_bucket(bucket_url)


@pytest.fixture
def stores(tmp_path):
    opened = []

    def make(name):
        meta = open_store(f"sqlite:///{tmp_path / name / 'kedge.db'}")
        opened.append(meta)
        return ChunkStore(tmp_path / name, meta.chunks, pack_bytes=PACK)

    yield make
    for meta in opened:
        meta.close()


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def quiet(count, size):
    pass


def filled(store, seeds, size=400_000):
    return store.put_tree({f"{seed}": noise(size, seed) for seed in seeds})


def named(store, tree):
    return [tree, *(file.digest for file in store.manifest(tree))]


def objects(bucket, folder):
    return sorted(bucket.list(folder))


def test_objects_are_whole_and_new_ones_are_written_once(bucket):
    assert bucket.get("versions/a.json") is bucket.size("versions/a.json") is bucket.get_spans("x/y", [(0, 1)]) is None
    assert bucket.put("versions/a.json", b"first", new=True)
    assert not bucket.put("versions/a.json", b"second", new=True)
    assert bucket.get("versions/a.json") == b"first"
    assert bucket.put("versions/a.json", b"third")
    assert bucket.size("versions/a.json") == 5
    assert bucket.put("other/b", noise(20_000_000))
    assert bucket.get_spans("other/b", [(1, 3), (10_000_000, 10_000_009)]) == [
        noise(20_000_000)[1:3],
        noise(20_000_000)[10_000_000:10_000_009],
    ]
    assert objects(bucket, "versions") == [("versions/a.json", 5)]
    bucket.delete("versions/a.json")
    bucket.delete("versions/a.json")
    assert objects(bucket, "versions") == objects(bucket, "never") == []


def test_what_is_pushed_can_be_pulled_elsewhere(bucket, stores):
    here, there = stores("here"), stores("there")
    tree = filled(here, range(8))
    told = []
    moved = here.push(bucket, named(here, tree), told=lambda *done: told.append(done))
    assert moved.blobs == 9
    assert told[-1] == (moved.chunks, moved.bytes)
    assert 3_200_000 < moved.bytes < 3_300_000
    there.pull(bucket, [tree], told=quiet)
    pulled = there.pull(bucket, named(there, tree), told=quiet)
    assert pulled.blobs == 8
    assert there.get_tree(tree) == here.get_tree(tree)
    assert dict(there.unused([])).keys() == set(named(here, tree))  # what was fetched may be reclaimed again


def test_only_what_is_missing_travels(bucket, stores):
    here, there = stores("here"), stores("there")
    first, second = filled(here, range(4)), filled(here, range(5))
    here.push(bucket, named(here, first), told=quiet)
    assert here.push(bucket, named(here, first), told=quiet) == (0, 0, 0)
    assert 400_000 < here.push(bucket, named(here, second), told=quiet).bytes < 410_000
    for tree in (first, second):
        there.pull(bucket, [tree], told=quiet)
    there.pull(bucket, named(there, first), told=quiet)
    assert 400_000 <= there.pull(bucket, named(there, second), told=quiet).bytes < 410_000
    assert there.pull(bucket, named(there, second), told=quiet) == (0, 0, 0)


class Dying:
    """A bucket that fails at its n-th write."""

    def __init__(self, bucket, left):
        self._bucket, self._left, self.url = bucket, left, bucket.url

    def put(self, name, data, **more):
        self._left -= 1
        if self._left < 0:
            raise Unreachable("gone")
        return self._bucket.put(name, data, **more)

    def __getattr__(self, name):
        return getattr(self._bucket, name)


def test_a_push_that_dies_anywhere_goes_on_and_shows_nothing_half(bucket, stores, tmp_path):
    here = stores("here")
    tree = filled(here, range(6))
    total = here.push(Dying(open_bucket(f"file://{tmp_path / 'other'}"), 10**6), named(here, tree), told=quiet).bytes
    sent = []
    for at, left in enumerate((0, 1, 2, 1)):
        with pytest.raises(Unreachable):
            here.push(Dying(bucket, left), named(here, tree), told=quiet)
        with pytest.raises(NotFound, match="push it"):
            stores(f"there{at}").pull(bucket, [tree], told=quiet)
        sent.append(sum(size for _, size in bucket.list("packs")))
    assert sent == sorted(sent)
    assert here.push(bucket, named(here, tree), told=quiet).bytes <= total - sent[-1] + PACK
    there = stores("there")
    there.pull(bucket, [tree], told=quiet)
    there.pull(bucket, named(there, tree), told=quiet)
    assert there.get_tree(tree) == here.get_tree(tree)


def test_a_pull_that_dies_goes_on(bucket, stores, monkeypatch):
    here, there = stores("here"), stores("there")
    tree = filled(here, range(8))
    here.push(bucket, named(here, tree), told=quiet)
    there.pull(bucket, [tree], told=quiet)

    def dying(count, size):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        there.pull(bucket, named(there, tree), told=dying)
    assert there.pull(bucket, named(there, tree), told=quiet).bytes < 2_500_000
    assert there.get_tree(tree) == here.get_tree(tree)


def test_pushers_at_one_time_do_not_harm_each_other(bucket, stores):
    pushers = [stores(f"here{at}") for at in range(3)]
    trees = [filled(store, range(at, at + 4)) for at, store in enumerate(pushers)]
    failures = []

    def push(store, tree):
        try:
            store.push(open_bucket(bucket.url), named(store, tree), told=quiet)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=push, args=pair) for pair in zip(pushers, trees, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    there = stores("there")
    for store, tree in zip(pushers, trees, strict=True):
        there.pull(bucket, [tree], told=quiet)
        there.pull(bucket, named(there, tree), told=quiet)
        assert there.get_tree(tree) == store.get_tree(tree)


@pytest.mark.parametrize("folder", ["packs", "indexes", "recipes"])
def test_a_changed_byte_in_the_bucket_is_found_and_nothing_of_it_is_kept(bucket, stores, folder):
    here, there = stores("here"), stores("there")
    digest = here.put(noise(500_000))
    here.push(bucket, [digest], told=quiet)
    ((name, size),) = objects(bucket, folder)
    data = bytearray(bucket.get(name))
    data[size // 2] ^= 1
    bucket.put(name, bytes(data))
    with pytest.raises(StoreBroken, match=rf"{name} .* is damaged"):
        there.pull(bucket, [digest], told=quiet)
    assert not there.has(digest)


def test_a_lost_pack_is_told(bucket, stores):
    here, there = stores("here"), stores("there")
    digest = here.put(noise(500_000))
    here.push(bucket, [digest], told=quiet)
    bucket.delete(objects(bucket, "packs")[0][0])
    with pytest.raises(StoreBroken, match="has lost packs/"):
        there.pull(bucket, [digest], told=quiet)


def test_what_is_in_neither_store_is_told(bucket, stores):
    store = stores("here")
    with pytest.raises(NotFound, match="cannot be pushed"):
        store.push(bucket, ["0" * 64], told=quiet)
    with pytest.raises(NotFound, match="no blob 0000"):
        store.pull(bucket, ["0" * 64], told=quiet)


def test_damage_is_named_and_mended_from_a_bucket(bucket, stores, tmp_path):
    store = stores("here")
    whole, twin, other = (store.put(data) for data in (noise(500_000), noise(500_000) + b"more", noise(1000, 3)))
    store.push(bucket, [whole, twin, other], told=quiet)
    pack = tmp_path / "here" / "packs" / "00000001.pack"
    data = bytearray(pack.read_bytes())
    data[250_000] ^= 1
    pack.write_bytes(data)
    told = []
    (damage,) = store.verify(told=lambda *done: told.append(done))
    assert (damage.pack, damage.reason) == ("00000001.pack", "its bytes have changed")
    assert damage.offset <= 250_000 < damage.offset + damage.length
    assert set(damage.blobs) == {whole, twin}
    assert told[-1][1] > 500_000
    with pytest.raises(StoreBroken):
        store.get(whole)
    assert store.mend([damage], bucket) == {damage.chunk}
    assert list(store.verify(told=quiet)) == []
    assert store.get(whole) == noise(500_000)
    pack.unlink()
    damages = list(store.verify(told=quiet))
    assert {blob for one in damages for blob in one.blobs} == {whole, twin, other}
    store.mend(damages, bucket)
    assert list(store.verify(told=quiet)) == []
    assert store.get(twin) == noise(500_000) + b"more"


def test_a_folder_of_many_files_travels(bucket, stores, tmp_path):
    here, there = stores("here"), stores("there")
    files = []
    for at in range(300):
        (tmp_path / f"{at:03}").write_bytes(noise(3000, at))
        files.append((f"{at:03}", tmp_path / f"{at:03}"))
    tree = here.put_manifest(TreeFile(file.name, file.digest, file.size) for file in here.put_files(files, told=quiet))
    here.push(bucket, named(here, tree), told=quiet)
    assert len(objects(bucket, "packs")) == 1
    there.pull(bucket, [tree], told=quiet)
    there.pull(bucket, named(there, tree), told=quiet)
    assert there.get_tree(tree) == here.get_tree(tree)


@pytest.mark.parametrize(
    "url", ["ftp://x", "s3://", "/data", "file://host/x", "s3://key:secret@bucket/x", "s3://bucket/x?region=y", ""]
)
def test_what_is_no_bucket_is_refused_and_no_secret_is_repeated(url):
    with pytest.raises(ConfigError) as caught:
        open_bucket(url)
    assert "secret" not in str(caught.value)


class Nothing(BaseHTTPRequestHandler):
    """Has no bucket at all."""

    def do_GET(self):
        self.send_error(404, explain="NoSuchBucket")

    do_PUT = do_GET

    def log_message(self, *given):
        """Say nothing."""


def test_a_bucket_that_is_not_there_is_told_in_plain_words(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    try:
        with pytest.raises(Unreachable, match="s3://gone: there is no such bucket; make it first"):
            list(open_bucket("s3://gone").list("indexes"))
        with pytest.raises(Unreachable, match="s3://gone: there is no such bucket; make it first"):
            open_bucket("s3://gone").get("x")
        with pytest.raises(Unreachable, match="s3://gone: there is no such bucket; make it first"):
            open_bucket("s3://gone").put("x", b"1")
    finally:
        server.shutdown()
        server.server_close()


def test_that_no_credentials_were_found_is_told():
    from obstore.exceptions import GenericError

    class Store:
        def list(self, prefix):
            raise GenericError("Error performing PUT http://169.254.169.254/latest/api/token in 1.5ms")

    with pytest.raises(Unreachable, match="no credentials were found; set AWS_ACCESS_KEY_ID"), _meaning("s3://b", "x"):
        Store().list("x")


def test_an_endpoint_that_does_not_answer_is_told(monkeypatch, stores):
    monkeypatch.setattr("kedge.storage.bucket._RETRY_SECONDS", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    with pytest.raises(Unreachable, match=r"s3://gone.*run the same again") as caught:
        open_bucket("s3://gone").get("x")
    assert "not-to-be-shown" not in str(caught.value)
