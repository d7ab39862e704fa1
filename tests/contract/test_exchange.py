"""Data in from DVC and git-lfs, and out again. Where DVC is installed (DVC_PYTHON), DVC itself reads what was written."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.contract.filed import add, contents, nothing_told, opened, write

from kedge.data.files.looking import look
from kedge.domain.workspace import PlaceState
from kedge.errors import ConfigError, KedgeError, LocalEdits, NotFound, SourceFailed
from kedge.storage.bucket import open_bucket


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def records(project):
    found = opened(project)
    yield found
    found.close()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def cached(cache: Path, data: bytes, *, name: str = "", layout: str = "files/md5/") -> str:
    """Put an object into a DVC cache."""
    digest = name or md5(data)
    write(cache, {f"{layout}{digest[:2]}/{digest[2:]}": data})
    return digest


def tracked(project: Path, files: dict[str, bytes], *, name: str = "raw", cache: Path | None = None) -> None:
    """Have DVC track a folder."""
    cache = cache or project / ".dvc" / "cache"
    listed = [{"md5": cached(cache, data), "relpath": relative} for relative, data in sorted(files.items())]
    listing = json.dumps(listed).encode()
    digest = cached(cache, listing, name=f"{md5(listing)}.dir")
    size = sum(map(len, files.values()))
    write(
        project,
        {f"{name}.dvc": f"outs:\n- md5: {digest}\n  size: {size}\n  nfiles: {len(files)}\n  hash: md5\n  path: {name}\n"},
    )
    (project / ".dvc").mkdir(exist_ok=True)


def taken(records, path: str, **named) -> list:
    return [
        records.exchange.take_in(offer, actor="person:me", told=nothing_told)
        for offer in records.exchange.offers(path, **named)
    ]


FILES = {"a.csv": b"1\n", "sub/b.bin": bytes(range(256)), "sub-c": b"x"}


def test_a_folder_of_dvc_becomes_a_version_and_lies_here(project, records):
    tracked(project, FILES)
    (done,) = taken(records, "raw.dvc")
    assert (done.version.files, done.version.dataset, done.place) == (3, "raw", "raw")
    assert (project / "raw" / "sub" / "b.bin").read_bytes() == FILES["sub/b.bin"]
    assert look(records.workspace, "raw").state is PlaceState.CLEAN
    assert not taken(records, "raw")[0].new  # again: nothing new


def test_links_into_dvcs_cache_give_way_to_files(project, records):
    tracked(project, FILES)
    (project / "raw").mkdir()
    (project / "raw" / "a.csv").symlink_to(project / ".dvc/cache/files/md5" / md5(b"1\n")[:2] / md5(b"1\n")[2:])
    taken(records, ".")
    assert not (project / "raw" / "a.csv").is_symlink()
    assert (project / "raw" / "a.csv").read_bytes() == b"1\n"


def test_a_link_to_somewhere_else_is_an_edit_and_stays(project, records, tmp_path_factory):
    tracked(project, FILES)
    own = tmp_path_factory.mktemp("own")
    write(own, {"mine.csv": "mine"})
    (project / "raw").mkdir()
    (project / "raw" / "a.csv").symlink_to(own / "mine.csv")
    with pytest.raises(LocalEdits):
        taken(records, "raw")
    assert (project / "raw" / "a.csv").is_symlink()


def test_edits_to_what_dvc_tracks_stay(project, records):
    tracked(project, FILES)
    write(project, {"raw/a.csv": "mine"})
    with pytest.raises(LocalEdits):
        taken(records, "raw")
    assert (project / "raw/a.csv").read_text() == "mine"


def test_objects_come_from_another_cache_or_a_remote_folder(project, records, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    tracked(project, FILES, cache=elsewhere)
    with pytest.raises(NotFound, match="dvc pull"):
        taken(records, "raw.dvc")
    (done,) = taken(records, "raw.dvc", remote=str(elsewhere))
    assert done.version.files == 3
    assert list((project / ".kedge" / "scratch").iterdir()) == []
    tracked(project, FILES | {"new": b"n"}, cache=elsewhere)
    assert taken(records, "raw.dvc", cache=str(elsewhere))[0].version.number == 2


def test_dvcs_own_settings_are_followed(project, records, tmp_path_factory):
    remote = tmp_path_factory.mktemp("remote")
    tracked(project, FILES, cache=remote)
    write(project, {".dvc/config": f"[core]\n    remote = shared\n['remote \"shared\"']\n    url = {remote}\n"})
    assert taken(records, "raw")[0].version.files == 3


def test_caches_from_before_version_3_are_read(project, records):
    cache = project / ".dvc" / "cache"
    text = b"a,b\r\n1,2\r\n"
    digest = cached(cache, text, name=md5(text.replace(b"\r\n", b"\n")), layout="")
    write(project, {"t.csv.dvc": f"outs:\n- md5: {digest}\n  path: t.csv\n"})
    taken(records, "t.csv.dvc")
    assert (project / "t.csv").read_bytes() == text


def test_outputs_of_a_lock_are_read(project, records):
    digest = cached(project / ".dvc" / "cache", b"made")
    lock = (
        f"schema: '2.0'\nstages:\n  make:\n    cmd: x\n    outs:\n    - path: out/m\n      hash: md5\n      md5: {digest}\n"
    )
    write(project, {"dvc.lock": lock})
    assert taken(records, "dvc.lock")[0].place == "out/m"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("outs: [", "YAML"),
        ("outs:\n- path: raw\n", "nothing"),
        ("outs:\n- {path: raw, md5: zz}\n", "no md5"),
        ("outs:\n- {path: raw, files: []}\n", "cloud"),
        ("outs:\n- {md5: ab000000000000000000000000000000}\n", "without a path"),
        ("outs:\n- {path: raw, md5: ab000000000000000000000000000000, nfiles: many}\n", r"not as DVC writes it.*nfiles"),
        ("outs: {path: raw}\n", "not as DVC writes it"),
        ("outs:\n- raw\n", "not as DVC writes it"),
        ("- raw\n", "not as DVC writes it"),
        ("outs:\n- {path: ../raw, md5: ab000000000000000000000000000000}\n", "not below"),
    ],
)
def test_bad_dvc_files_are_one_clear_error(project, records, content, said):
    write(project, {"raw.dvc": content})
    with pytest.raises(KedgeError, match=said):
        taken(records, "raw.dvc")


@pytest.mark.parametrize("lock", ["stages: [a]\n", "stages:\n  a: [b]\n", "stages:\n  a:\n    outs: b\n"])
def test_a_bad_lock_of_dvc_is_one_clear_error(project, records, lock):
    write(project, {"dvc.lock": lock})
    with pytest.raises(SourceFailed, match="not as DVC writes it"):
        taken(records, "dvc.lock")


@pytest.mark.parametrize("remote", ["ssh://host/folder", "gdrive://folder", "hdfs://name/folder", "s3://"])
def test_a_remote_that_kedge_cannot_read_is_said_to_be_fetched(project, records, remote):
    tracked(project, FILES, cache=project / "elsewhere")
    with pytest.raises(ConfigError, match=r"is no place for data; use s3://.*dvc fetch"):
        taken(records, "raw.dvc", remote=remote)


def test_objects_come_from_a_bucket(project, records, tmp_path_factory, bucket_url):
    elsewhere = tmp_path_factory.mktemp("dvc")
    tracked(project, FILES, cache=elsewhere)
    for path in elsewhere.rglob("*"):
        if path.is_file():
            open_bucket(bucket_url).put(path.relative_to(elsewhere).as_posix(), path.read_bytes())
    write(project, {".dvc/config": f"[core]\n    remote = shared\n['remote \"shared\"']\n    url = {bucket_url}\n"})
    (done,) = taken(records, "raw.dvc")
    checked = [file.name for file in records.blobs.manifest(done.version.tree)]
    assert checked == sorted(FILES)


def test_a_damaged_object_is_named_and_nothing_is_kept(project, records):
    tracked(project, FILES)
    broken = project / ".dvc/cache/files/md5" / md5(b"x")[:2] / md5(b"x")[2:]
    broken.write_bytes(b"y")
    with pytest.raises(SourceFailed, match="not what DVC wrote"):
        taken(records, "raw.dvc")
    assert records.meta.datasets.names() == []
    assert not (project / "raw.kedge").exists()


@pytest.mark.parametrize("name", ["../../out", "/etc/passwd", "a//b", "a/../b"])
def test_a_listing_that_leads_out_is_refused(project, records, name):
    listing = json.dumps([{"md5": cached(project / ".dvc/cache", b"x"), "relpath": name}]).encode()
    digest = cached(project / ".dvc/cache", listing, name=f"{md5(listing)}.dir")
    write(project, {"raw.dvc": f"outs:\n- {{md5: {digest}, hash: md5, path: raw}}\n"})
    with pytest.raises(SourceFailed, match="leads out"):
        taken(records, "raw.dvc")


def pointer_of(data: bytes) -> bytes:
    digest = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()


def test_what_git_lfs_tracks_becomes_a_version(project, records):
    data = os.urandom(5000)
    digest = hashlib.sha256(data).hexdigest()
    write(project, {f".git/lfs/objects/{digest[:2]}/{digest[2:4]}/{digest}": data})
    write(project, {"models/big.bin": pointer_of(data), "models/readme": "small"})
    (done,) = taken(records, "models")
    assert done.version.files == 2
    assert (project / "models/big.bin").read_bytes() == data
    assert look(records.workspace, "models").state is PlaceState.CLEAN
    write(project, {"models/other.bin": pointer_of(b"none")})
    with pytest.raises(NotFound, match="git lfs fetch"):
        taken(records, "models")


def test_what_nobody_tracks_is_said(project, records):
    write(project, {"plain": "x"})
    with pytest.raises(SourceFailed, match="kedge data add"):
        taken(records, "plain")


def test_a_version_is_exported_as_files(project, records, tmp_path_factory):
    write(project, {"raw/a": "1", "raw/b/c": "2"})
    version = add(records, "raw").version
    target = tmp_path_factory.mktemp("out") / "new"
    assert records.exchange.export(version, target, told=nothing_told).files == 2
    assert contents(target) == {"a": "1", "b/c": "2"}
    with pytest.raises(LocalEdits):
        records.exchange.export(version, target, told=nothing_told)
    with pytest.raises(ConfigError):
        records.exchange.export(version, target / "a", told=nothing_told)


def test_a_version_is_exported_for_dvc(project, records, tmp_path_factory):
    write(project, {"raw/a": "1", "raw/b/c": "2", "raw/b-d": "3"})
    version = add(records, "raw").version
    home = tmp_path_factory.mktemp("dvc")
    done = records.exchange.export_dvc(version, str(home), name="raw", folder=True, told=nothing_told)
    assert done.path == str(home / "raw.dvc")
    other = opened(home)
    os.chdir(home)
    (back,) = taken(other, "raw.dvc")
    assert back.version.digest == version.digest  # there and back again
    other.close()


def test_dvc_reads_what_was_written_for_it(project, records, tmp_path_factory):
    python = os.environ.get("DVC_PYTHON")
    if python is None:
        pytest.skip("DVC_PYTHON names no Python with DVC: that DVC reads what was written for it was not tested")
    write(project, {"raw/a": "1", "raw/b/c": "2", "raw/b-d": "3"})
    version = add(records, "raw").version
    home = tmp_path_factory.mktemp("dvc")
    dvc(python, "init", "--no-scm", folder=home)
    records.exchange.export_dvc(version, str(home), name="raw", folder=True, told=nothing_told)
    dvc(python, "checkout", folder=home)
    assert contents(home / "raw") == {"a": "1", "b/c": "2", "b-d": "3"}
    assert "up to date" in dvc(python, "status", folder=home)


def dvc(python: str, *words: str, folder: Path) -> str:
    done = subprocess.run([python, "-m", "dvc", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
