"""What is damaged in a store is found, named, and fetched from a bucket that has it."""

from __future__ import annotations

import json
import random

import polars as pl
import pytest
from tests.contract.filed import ME, add, nothing_told, opened, write
from typer.testing import CliRunner

from kedge.cli.main import application
from kedge.errors import StoreBroken


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("KEDGE_STORE", "KEDGE_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path / 'bucket'}"


@pytest.fixture
def records(project):
    found = opened(project)
    yield found
    found.close()


def noise(seed, size=300_000):
    return random.Random(seed).randbytes(size)


def filled(records, project):
    write(project, {"raw/a": noise(1), "raw/b": noise(2)})
    add(records, "raw")
    write(project, {"raw/b": noise(3)})
    return add(records, "raw").version


def push(records, url):
    for version in records.meta.datasets.list("raw"):
        records.sharing.push(records.bucket(url), version, told=nothing_told)


def flip(project, content, at=1000):
    """Change a byte of a file's content in the pack that holds it."""
    for pack in (project / ".kedge" / "packs").iterdir():
        data = bytearray(pack.read_bytes())
        if (start := data.find(content[at : at + 64])) >= 0:
            data[start] ^= 1
            pack.write_bytes(data)
            return
    raise AssertionError


def said(*words):
    return CliRunner().invoke(application(["data", *words]), ["data", *words])


def verified(records, bucket=None):
    return records.healing.verify(told=nothing_told, expect=nothing_told, bucket=bucket)


def test_a_store_that_is_whole_says_so(project, records):
    filled(records, project)
    done = said("verify")
    assert (done.exit_code, "nothing is damaged" in done.output) == (0, True)
    assert "900 kB" in done.output


def test_damage_is_named_by_dataset_versions_and_file(project, records):
    filled(records, project)
    flip(project, noise(1))
    flip(project, noise(2))
    done = said("verify")
    assert done.exit_code == 3
    assert "raw v1, v2: a\n" in done.output
    assert "raw v1: b\n" in done.output
    assert "00000001.pack" in done.output
    assert "--remote URL" in done.stderr
    found = json.loads(said("verify", "--json").stdout)
    assert (found["left"], [one["mended"] for one in found["harms"]]) == (2, [False, False])
    files = [(one["file"], one["versions"]) for harm in found["harms"] for one in harm["named"]]
    assert sorted(files) == [("a", [1, 2]), ("b", [1])]


def test_a_bucket_mends(project, records, url, monkeypatch):
    filled(records, project)
    push(records, url)
    flip(project, noise(1))
    done = said("verify", "--remote", url)
    assert (done.exit_code, "fetched anew" in done.output) == (0, True)
    assert verified(records).harms == ()
    flip(project, noise(3))
    monkeypatch.setenv("KEDGE_REMOTE", url)
    assert said("verify").exit_code == 0


def test_what_the_bucket_does_not_have_whole_stays_named(project, records, url, tmp_path):
    filled(records, project)
    push(records, url)
    write(project, {"raw/new": noise(9)})
    add(records, "raw")
    for seed in (1, 2, 9):
        flip(project, noise(seed))
    flip_in_bucket(tmp_path / "bucket", noise(2))
    done = said("verify", "--remote", url)
    assert done.exit_code == 3
    assert "3 damaged, 1 of them fetched anew" in done.output
    left = {struck.file for harm in verified(records).harms for struck in harm.named}
    assert left == {"b", "new"}


def flip_in_bucket(bucket, content):
    (path,) = [path for path in (bucket / "packs").iterdir() if content[1000:1064] in path.read_bytes()]
    data = bytearray(path.read_bytes())
    data[data.find(content[1000:1064])] ^= 1
    path.write_bytes(data)


def test_a_bucket_that_cannot_be_reached_is_said_beside_the_damage(project, records, monkeypatch):
    filled(records, project)
    flip(project, noise(1))
    monkeypatch.setattr("kedge.storage.bucket._RETRY_SECONDS", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    found = verified(records, records.bucket("s3://gone"))
    assert found.left == 1
    assert "s3://gone" in found.unreachable


def test_a_lost_pack_with_a_list_of_files_is_named_and_comes_back(project, records, url):
    filled(records, project)
    push(records, url)
    for pack in (project / ".kedge" / "packs").iterdir():
        pack.unlink()
    found = verified(records)
    assert {struck.file for harm in found.harms for struck in harm.named} == {""}  # the lists are lost, too
    assert verified(records, records.bucket(url)).left == 0
    assert verified(records).harms == ()


def test_rows_of_tables_and_contents_of_nobody_are_named(project, records):
    frame = pl.DataFrame({"k": range(20_000), "v": [random.Random(0).random()] * 20_000})
    records.tables.commit(frame, "flights", key="k", actor=ME)
    (part,) = records.tables.find("flights").parts
    lone = records.blobs.put(noise(5))
    flip(project, b"".join(records.blobs.read(part.digest)))
    flip(project, noise(5))
    found = verified(records)
    assert [(one.named[0].dataset if one.named else "", one.others) for one in found.harms] == [("flights", 0), ("", 1)]
    assert records.blobs.has(lone)
    assert "of a run, a model" in said("verify").output


def test_a_read_that_meets_damage_says_what_mends_it(project, records):
    version = filled(records, project)
    flip(project, noise(1))
    with pytest.raises(StoreBroken, match="kedge data verify --remote"):
        for _ in records.blobs.read(next(iter(records.blobs.manifest(version.tree))).digest):
            pass


def test_a_pull_that_names_what_is_here_mends_it(project, records, url):
    version = filled(records, project)
    push(records, url)
    flip(project, noise(1))
    names = b"".join(records.blobs.read(version.tree))
    flip(project, names, at=len(names) - 64)
    done = said("pull", "raw", "--remote", url)
    assert (done.exit_code, "2 damaged chunks fetched anew" in done.output) == (0, True)
    assert verified(records).harms == ()
    assert "and whole" in said("pull", "raw", "--remote", url).output


def test_a_pull_mends_what_its_checkout_reads(project, records, url):
    filled(records, project)
    push(records, url)
    flip(project, noise(1))
    before = contents_raw(project)
    for path in (project / "raw").iterdir():
        path.unlink()
    done = said("pull", "--remote", url, "--force", "--json")
    assert (done.exit_code, json.loads(done.stdout)[0]["mended"]) == (0, 1)
    assert contents_raw(project) == before
    assert verified(records).harms == ()


def contents_raw(project):
    return {path.name: path.read_bytes() for path in (project / "raw").iterdir()}


def test_a_pull_says_where_the_bucket_has_no_copy_either(project, records, url, tmp_path):
    filled(records, project)
    push(records, url)
    flip(project, noise(1))
    flip_in_bucket(tmp_path / "bucket", noise(1))
    done = said("pull", "raw", "--remote", url)
    assert isinstance(done.exception, StoreBroken)
    assert "does not have either" in str(done.exception)


def test_a_read_while_mending_that_finds_no_copy_tells_the_damage(project, records, url):
    version = filled(records, project)
    flip(project, noise(1))
    file = next(iter(records.blobs.manifest(version.tree)))
    with records.blobs.mending(records.bucket(url)) as mending, pytest.raises(StoreBroken, match="is damaged"):
        list(records.blobs.read(file.digest))
    assert mending.mended == 0
