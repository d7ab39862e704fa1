"""What is erased goes from the bucket as well, and nothing else does: whoever pushes meanwhile, wherever it is killed."""

from __future__ import annotations

import random
import threading

import msgspec
import polars as pl
import pytest
from tests.contract.filed import ME, add, nothing_told, opened, write
from typer.testing import CliRunner

from kedge.cli.main import application
from kedge.data.upkeep.collecting import named
from kedge.domain.events import EventKind
from kedge.domain.workspace import Pointer
from kedge.errors import Conflict, StoreBroken, Unreachable
from kedge.storage.blobs import leases
from kedge.storage.bucket import open_bucket

SECRET = b"ann@example.com " * 40


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path / 'bucket'}"


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("KEDGE_STORE", "KEDGE_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def records(project):
    found = opened(project)
    yield found
    found.close()


@pytest.fixture
def theirs(tmp_path):
    found = opened(tmp_path / "theirs")
    yield found
    found.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(leases, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(leases, "_DEAD_SECONDS", 0.2)
    monkeypatch.setattr(leases, "_BEAT_SECONDS", 0.05)


def said(*words):
    return CliRunner().invoke(application(["data", *words]), ["data", *words])


def noise(seed, size=20_000):
    return random.Random(seed).randbytes(size)


def push(records, url, dataset="raw", bucket=None):
    for version in records.meta.datasets.list(dataset):
        records.sharing.push(bucket or records.bucket(url), version, told=nothing_told)


def pulled(records, url, dataset="raw"):
    bucket = records.bucket(url)
    for one in records.sharing.list(bucket, dataset):
        pointer = Pointer(dataset=one.dataset, digest=one.digest, files=one.files, bytes=one.bytes, folder=True)
        records.sharing.pull(bucket, pointer, actor=ME, told=nothing_told)
    return records.meta.datasets.list(dataset)


def names(records, version):
    return {file.name for file in records.blobs.manifest(version.tree) if records.blobs.get(file.digest) is not None}


def holds(url, content=SECRET):
    from pathlib import Path

    return any(content[:64] in path.read_bytes() for path in Path(url[7:]).rglob("*") if path.is_file())


def filled(records, project):
    write(project, {"raw/people/ann": SECRET, "raw/a": noise(1), "raw/b": noise(2)})
    add(records, "raw")
    write(project, {"raw/b": noise(3)})
    add(records, "raw")


def erase_here(records):
    records.erasing.erase("raw", ["people/*"], actor=ME, reason="she asked", place=None)


def withdraw(records, bucket):
    return records.withdrawing.withdraw(
        bucket, "raw", patterns=["people/*"], actor=ME, reason="she asked", told=nothing_told
    )


def test_files_are_gone_from_every_version_there(project, records, theirs, url):
    filled(records, project)
    push(records, url)
    assert holds(url)
    done = said("erase", "raw", "--file", "people/*", "--reason", "she asked", "--remote", url)
    assert done.exit_code == 0, done.exception
    assert "erased from 2 versions there" in done.output
    assert not holds(url)
    assert [names(theirs, one) for one in pulled(theirs, url)] == [{"a", "b"}] * 2
    assert all(one.erased_at for one in theirs.meta.datasets.list("raw"))
    events = [one for _, one in records.meta.events.list(subject="raw") if one.kind is EventKind.DATA_ERASED]
    assert any(url in one.message for one in events)
    assert list(records.bucket(url).list("erasing")) == list(records.bucket(url).list("pushing")) == []
    push(records, url)
    assert said("push", "raw", "--remote", url).output.endswith("is there already\n")


def test_what_another_dataset_there_holds_stays(project, records, theirs, url):
    filled(records, project)
    write(project, {"other/x": SECRET})
    add(records, "other")
    push(records, url)
    push(records, url, "other")
    erase_here(records)
    assert withdraw(records, records.bucket(url)).held_elsewhere == 1
    assert names(theirs, pulled(theirs, url, "other")[0]) == {"x"}
    assert [names(theirs, one) for one in pulled(theirs, url)] == [{"a", "b"}] * 2


def test_versions_that_only_the_bucket_has_are_erased_from_too(project, records, theirs, url):
    filled(records, project)
    push(records, url)
    assert not theirs.meta.datasets.names()
    bucket = theirs.bucket(url)
    withdraw(theirs, bucket)
    assert not holds(url)
    assert [names(theirs, one) for one in pulled(theirs, url)] == [{"a", "b"}] * 2
    assert withdraw(theirs, bucket).versions == 0


def test_a_clone_that_has_not_erased_brings_nothing_back(project, records, theirs, url):
    filled(records, project)
    push(records, url)
    pulled(theirs, url)
    erase_here(records)
    withdraw(records, records.bucket(url))
    for version in theirs.meta.datasets.list("raw"):
        assert theirs.sharing.push(theirs.bucket(url), version, told=nothing_told).erased_there
    assert not holds(url)


def test_rows_are_gone_from_every_version_there(project, records, theirs, url):
    frame = pl.DataFrame({"k": range(50), "v": [f"secret-{n}" * 30 for n in range(50)]})
    records.tables.commit(frame, "people", key="k", actor=ME)
    push(records, url, "people")
    pulled(theirs, url, "people")
    more = frame.with_columns(v=pl.lit("other"))
    theirs.tables.commit(pl.concat([frame, more.with_columns(k=pl.col("k") + 50)]), "people", key="k", actor=ME)
    push(theirs, url, "people")
    done = said("erase", "people", "--where", "k = 7", "--reason", "he asked", "--remote", url, "--json")
    assert done.exit_code == 0, done.exception
    assert msgspec.json.decode(done.stdout)["bucket"]["versions"] == 2
    fresh = opened(project / "fresh")
    assert [7 in fresh.tables.read(one)["k"] for one in pulled(fresh, url, "people")] == [False, False]
    assert [len(fresh.tables.read(one)) for one in fresh.meta.datasets.list("people")] == [49, 99]
    fresh.close()


def people(records, url, theirs):
    """Have two stores and a bucket hold two versions of a table, the second without some rows of the first."""
    frame = pl.DataFrame({"k": range(60), "v": [f"secret-{n}-" * 30 for n in range(60)]})
    records.tables.commit(frame.head(30), "people", key="k", actor=ME)
    records.tables.append(frame.tail(30), "people", actor=ME)
    records.tables.delete("people", keys=[3, 40], actor=ME)
    push(records, url, "people")
    pulled(theirs, url, "people")


def erase_rows(records, *keys, bucket=None):
    where = pl.col("k").is_in(keys)
    records.tables.erase("people", where=where, reason="asked", actor=ME)
    if bucket is not None:
        records.withdrawing.withdraw(bucket, "people", patterns=(), actor=ME, reason="asked", told=nothing_told)


def rows_there(tmp_path, url):
    """Tell the keys of each version that a fresh clone gets."""
    fresh = opened(tmp_path / "fresh")
    found = [set(fresh.tables.read(one)["k"]) for one in pulled(fresh, url, "people")]
    fresh.close()
    return found


def texts_there(tmp_path, url):
    """Tell whose texts can be read out of what a bucket holds, in any file of any table."""
    fresh = opened(tmp_path / "texts")
    versions = pulled(fresh, url, "people")
    frames = [pl.read_parquet(fresh.blobs.get(part.digest)) for one in versions for part in one.parts]
    fresh.close()
    return set(pl.concat(frames)["k"])


@pytest.mark.parametrize("order", ["as they erased", "the first to erase comes last"])
def test_of_two_who_erase_different_rows_both_hold(project, records, theirs, tmp_path, url, order):
    people(records, url, theirs)
    bucket = records.bucket(url)
    first, second = (records, theirs) if order == "as they erased" else (theirs, records)
    if order == "as they erased":
        erase_rows(first, 1, 3, 31, bucket=bucket)
        erase_rows(second, 2, 40, bucket=bucket)
    else:
        erase_rows(second, 2, 40)
        erase_rows(first, 1, 3, 31, bucket=bucket)
        second.withdrawing.withdraw(bucket, "people", patterns=(), actor=ME, reason="asked", told=nothing_told)
    gone = {1, 2, 3, 31, 40}
    assert rows_there(tmp_path, url) == [set(range(30)) - gone, set(range(60)) - gone, set(range(60)) - gone]
    assert texts_there(tmp_path, url) == set(range(60)) - gone
    again = second.withdrawing.withdraw(bucket, "people", patterns=(), actor=ME, reason="asked", told=nothing_told)
    assert again.versions == 0
    for one in (first, second):  # a push brings nothing back
        push(one, url, "people")
    assert texts_there(tmp_path, url) == set(range(60)) - gone
    trees, named_here = named(second.meta.datasets)
    assert list(second.blobs.unused(trees, blobs=named_here)) == []  # what was fetched to compare held what was erased here


def test_an_older_erasure_is_not_undone_by_the_push_of_a_newer_one(project, records, theirs, url):
    filled(records, project)
    push(records, url)
    pulled(theirs, url)
    erase_here(records)
    withdraw(records, records.bucket(url))
    theirs.erasing.erase("raw", ["b"], actor=ME, reason="asked", place=None)
    push(theirs, url)
    assert not holds(url)


class Dying:
    """A bucket that is gone after its n-th change."""

    def __init__(self, bucket, left):
        self._bucket, self._left, self.url = bucket, left, bucket.url

    def _one(self):
        self._left -= 1
        if self._left < 0:
            raise Unreachable("gone")

    def put(self, name, data, **more):
        if not name.startswith(("erasing/lock", "pushing/")):
            self._one()
        return self._bucket.put(name, data, **more)

    def delete(self, name):
        if not name.startswith(("erasing/lock", "pushing/")):
            self._one()
        self._bucket.delete(name)

    def __getattr__(self, name):
        return getattr(self._bucket, name)


def test_a_kill_at_any_change_loses_nothing_and_the_same_again_finishes(project, records, tmp_path):
    filled(records, project)
    erase_url = [f"file://{tmp_path / f'bucket{at}'}" for at in range(30)]
    for url in erase_url:
        push(records, url)
    erase_here(records)
    for at, url in enumerate(erase_url):
        try:
            withdraw(records, Dying(open_bucket(url), at))
        except Unreachable:
            died = True
        else:
            died = False
        there = opened(tmp_path / f"there{at}")
        for one in pulled(there, url):
            assert names(there, one) >= {"a", "b"}
        there.close()
        withdraw(records, open_bucket(url))
        assert not holds(url)
        after = opened(tmp_path / f"after{at}")
        assert [names(after, one) for one in pulled(after, url)] == [{"a", "b"}] * 2
        after.close()
        assert list(open_bucket(url).list("erasing")) == []
        if not died:
            assert at > 5
            return
    raise AssertionError("it never got through")


def test_a_killed_eraser_and_a_killed_pusher_block_nobody_for_long(project, records, theirs, url):
    filled(records, project)
    push(records, url)
    bucket = records.bucket(url)
    bucket.put("erasing/lock", b"dead 1")
    write(project, {"raw/c": noise(4)})
    add(records, "raw")
    push(records, url)
    bucket.put("erasing/lock", b"dead 2")
    bucket.put("pushing/dead", b"dead 3")
    erase_here(records)
    withdraw(records, bucket)
    assert not holds(url)
    assert names(theirs, pulled(theirs, url)[-1]) == {"a", "b", "c"}


def test_an_erasure_waits_for_those_who_push_and_they_for_it(url, monkeypatch):
    monkeypatch.setattr(leases, "_WAIT_SECONDS", 0.1)
    bucket = open_bucket(url)
    several = leases.pushing(bucket), leases.pushing(bucket)
    with several[0], several[1], pytest.raises(Conflict, match="others push"), leases.erasing(bucket):
        raise AssertionError
    with leases.erasing(bucket):
        with pytest.raises(Conflict, match="under way"), leases.erasing(bucket):
            raise AssertionError
        with pytest.raises(Conflict, match="push again"), leases.pushing(bucket):
            raise AssertionError
    assert list(bucket.list("erasing")) == list(bucket.list("pushing")) == []


def test_one_that_was_taken_for_dead_stops(url):
    bucket = open_bucket(url)
    with leases.erasing(bucket) as lease:
        lease.require()
        bucket.put("erasing/lock", b"another 1")
        with pytest.raises(Conflict, match="did not answer"):
            lease.require()
    assert bucket.get("erasing/lock") == b"another 1"


def test_pushers_and_an_eraser_at_one_time_are_both_right(project, records, tmp_path, url):
    filled(records, project)
    push(records, url)
    pushers = [opened(tmp_path / f"pusher{at}") for at in range(2)]
    for at, one in enumerate(pushers):
        write(tmp_path / f"pusher{at}", {"more/x": SECRET if at else noise(1), "more/y": noise(10 + at)})
        one.files.add("more", actor=ME, told=nothing_told, name=f"more{at}")
    erase_here(records)
    failures = []

    def run(work):
        try:
            work()
        except Exception as error:
            failures.append(error)

    works = [lambda one=one, at=at: push(one, url, f"more{at}") for at, one in enumerate(pushers)]
    threads = [threading.Thread(target=run, args=(work,)) for work in [*works, lambda: withdraw(records, open_bucket(url))]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    there = opened(tmp_path / "there")
    assert [names(there, one) for one in pulled(there, url)] == [{"a", "b"}] * 2
    assert [names(there, pulled(there, url, f"more{at}")[0]) for at in range(2)] == [{"x", "y"}] * 2
    for one in (*pushers, there):
        one.close()


def test_a_pull_goes_on_when_packs_are_written_anew_meanwhile(project, records, theirs, url):
    filled(records, project)
    push(records, url)
    erase_here(records)

    class Moving:
        """A bucket from which someone erases just before a pack is read."""

        def __init__(self, bucket):
            self._bucket, self.url, self.moved = bucket, bucket.url, False

        def _move(self, name):
            if name.startswith("packs/") and not self.moved:
                self.moved = True
                withdraw(records, open_bucket(url))

        def get(self, name):
            self._move(name)
            return self._bucket.get(name)

        def get_spans(self, name, spans):
            self._move(name)
            return self._bucket.get_spans(name, spans)

        def __getattr__(self, name):
            return getattr(self._bucket, name)

    moving = Moving(theirs.bucket(url))
    (*_, last) = theirs.sharing.list(moving, "raw")
    wanted = [file.digest for file in records.blobs.manifest(records.meta.datasets.find("raw").tree)]
    theirs.blobs.pull(moving, wanted, told=nothing_told)
    assert moving.moved
    assert all(theirs.blobs.get(digest) for digest in wanted)
    assert last.number == 2


def test_damage_in_the_bucket_stops_it_before_anything_goes(project, records, url, tmp_path):
    filled(records, project)
    push(records, url)
    (path,) = [one for one in (tmp_path / "bucket" / "packs").iterdir() if noise(1)[:64] in one.read_bytes()]
    data = bytearray(path.read_bytes())
    data[data.find(noise(1)[:64])] ^= 1
    path.write_bytes(data)
    erase_here(records)
    with pytest.raises(StoreBroken, match="is damaged"):
        withdraw(records, records.bucket(url))
    assert path.exists()


def test_without_a_bucket_it_says_what_to_run(project, records, url, monkeypatch):
    filled(records, project)
    monkeypatch.setenv("KEDGE_REMOTE", url)
    done = said("erase", "raw", "--file", "people/*", "--reason", "she asked")
    assert f"--remote {url}" in done.stderr
    monkeypatch.delenv("KEDGE_REMOTE")
    assert "--remote URL" in said("erase", "raw", "--file", "a", "--reason", "she asked").stderr
