"""Versions go to a bucket and come back in another clone: whole, once, and with what is missing only."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.filed import ME, add, checkout, contents, nothing_told, opened, write
from tests.contract.metastore import event

from kedge.data.upkeep.entries import SentEntry
from kedge.domain.catalogue import EntryChange, FreshState
from kedge.domain.data import ColumnNote
from kedge.errors import NotFound, StoreBroken


@pytest.fixture
def bucket_url(tmp_path_factory):
    return f"file://{tmp_path_factory.mktemp('bucket')}"


@pytest.fixture
def mine(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("mine")
    monkeypatch.chdir(folder)
    found = opened(folder)
    yield found
    found.close()


@pytest.fixture
def theirs(tmp_path_factory):
    found = opened(tmp_path_factory.mktemp("theirs"))
    yield found
    found.close()


def project(records):
    return records.settings.project


def pushed(records, version, url):
    return records.sharing.push(records.bucket(url), version, told=nothing_told)


def pulled(records, url, place="raw"):
    pointer = records.workspace.pointer(place)
    return records.sharing.pull(records.bucket(url), pointer, actor=ME, told=nothing_told)


def clone(mine, theirs):
    """Bring the pointers over, as git does."""
    for path in project(mine).glob("?*.kedge"):
        (project(theirs) / path.name).write_text(path.read_text())


def test_a_version_comes_back_in_another_clone(mine, theirs, bucket_url, monkeypatch):
    write(project(mine), {"raw/a": "one" * 1000, "raw/b/c": "two", "raw/empty": ""})
    (project(mine) / "raw/link").symlink_to("a")
    first = add(mine, "raw").version
    assert pushed(mine, first, bucket_url).new
    assert not pushed(mine, first, bucket_url).new
    clone(mine, theirs)
    done = pulled(theirs, bucket_url)
    assert (done.new, done.version.number, done.version.digest) == (True, 1, first.digest)
    monkeypatch.chdir(project(theirs))
    checkout(theirs, "raw")
    assert contents(project(theirs) / "raw") == contents(project(mine) / "raw")
    assert not pulled(theirs, bucket_url).new
    assert not add(theirs, "raw").new


def test_only_what_is_missing_travels(mine, theirs, bucket_url):
    write(project(mine), {f"raw/{n}": str(n) * 5000 for n in range(20)})
    first = pushed(mine, add(mine, "raw").version, bucket_url)
    write(project(mine), {"raw/3": "other" * 100})
    second = pushed(mine, add(mine, "raw").version, bucket_url)
    assert second.bytes < first.bytes / 5


def test_numbers_that_are_taken_give_way(mine, theirs, bucket_url):
    write(project(mine), {"raw/a": "mine"})
    pushed(mine, add(mine, "raw").version, bucket_url)
    write(project(theirs), {"raw/a": "theirs"})
    import os

    os.chdir(project(theirs))
    add(theirs, "raw")
    clone(mine, theirs)
    done = pulled(theirs, bucket_url)
    assert done.version.number == 2
    assert len(theirs.meta.datasets.list("raw")) == 2


def test_what_is_not_there_says_who_must_send_it(mine, theirs, bucket_url):
    write(project(mine), {"raw/a": "mine"})
    add(mine, "raw")
    clone(mine, theirs)
    with pytest.raises(NotFound, match="kedge data push"):
        pulled(theirs, bucket_url)


def test_a_record_that_is_damaged_is_refused(mine, theirs, bucket_url):
    write(project(mine), {"raw/a": "mine"})
    version = add(mine, "raw").version
    clone(mine, theirs)
    bucket = theirs.bucket(bucket_url)
    bucket.put(f"versions/raw/{version.digest}.json", b"{")
    with pytest.raises(StoreBroken):
        pulled(theirs, bucket_url)
    assert theirs.meta.datasets.names() == []


def test_other_data_under_a_pinned_digest_is_refused(mine, theirs, bucket_url):
    write(project(mine), {"raw/a": "good"})
    version = add(mine, "raw").version
    pushed(mine, version, bucket_url)
    clone(mine, theirs)
    write(project(mine), {"raw/a": "evil"})
    other = add(mine, "raw").version
    pushed(mine, other, bucket_url)
    bucket = mine.bucket(bucket_url)
    name = next(name for name, _ in bucket.list("versions") if version.digest in name)
    record = bucket.get(name).replace(f'"tree":"{version.tree}"'.encode(), f'"tree":"{other.tree}"'.encode())
    assert record != bucket.get(name)
    bucket.put(name, record)
    with pytest.raises(StoreBroken, match="another version under the name"):
        pulled(theirs, bucket_url)


def test_a_table_travels_too(mine, theirs, bucket_url):
    pl = pytest.importorskip("polars")
    mine.tables.commit(pl.DataFrame({"k": [1, 2], "v": ["a", "b"]}), "flights", key="k", actor=ME)
    version = mine.tables.find("flights")
    pushed(mine, version, bucket_url)
    bucket = theirs.bucket(bucket_url)
    (found,) = theirs.sharing.list(bucket, "flights")
    assert found.digest == version.digest
    from kedge.domain.workspace import Pointer

    pointer = Pointer(dataset=found.dataset, digest=found.digest, files=0, bytes=found.bytes, folder=True)
    theirs.sharing.pull(bucket, pointer, actor=ME, told=nothing_told)
    assert theirs.tables.read(theirs.tables.find("flights"))["v"].to_list() == ["a", "b"]


def described(records, **texts):
    return records.catalogue.describe("raw", EntryChange(**texts), actor=ME)


def test_what_is_said_of_a_dataset_travels_and_marks_come_first(mine, theirs, bucket_url, monkeypatch):
    write(project(mine), {"raw/a": "mine"})
    version = add(mine, "raw").version
    entry = mine.meta.datasets.entry("raw")
    marked = msgspec.structs.replace(entry, owner="ada", columns=(ColumnNote(name="age", personal=True, unit="a"),))
    mine.meta.datasets.describe(marked, event("marked"))
    mine.catalogue.tag("raw", "gold", reference="", actor=ME)
    pushed(mine, version, bucket_url)
    clone(mine, theirs)
    seen = []
    write_version = theirs.meta.datasets.add

    def adding(*given):
        seen.append(theirs.meta.datasets.entry("raw").personal())
        write_version(*given)

    monkeypatch.setattr(theirs.meta.datasets, "add", adding)
    pulled(theirs, bucket_url)
    assert seen == [{"age"}]
    one = theirs.catalogue.get("raw")
    assert (one.entry.owner, one.entry.personal(), one.tags) == ("ada", {"age"}, {"gold": 1})
    before = len(theirs.meta.events.list(subject="raw"))
    pulled(theirs, bucket_url)
    assert len(theirs.meta.events.list(subject="raw")) == before


def test_what_is_said_here_stays_and_marks_of_all_count(mine, theirs, bucket_url):
    write(project(mine), {"raw/a": "mine"})
    version = add(mine, "raw").version
    described(mine, owner="ada", description="first")
    pushed(mine, version, bucket_url)
    pushed(mine, version, bucket_url)
    described(mine, description="second")
    entry = mine.meta.datasets.entry("raw")
    marked = msgspec.structs.replace(entry, columns=(ColumnNote(name="age", personal=True),))
    mine.meta.datasets.describe(marked, event("marked"))
    pushed(mine, version, bucket_url)
    assert len(list(mine.bucket(bucket_url).list("entries/raw"))) == 2
    clone(mine, theirs)
    pulled(theirs, bucket_url)
    described(theirs, owner="bob")
    plain = msgspec.structs.replace(theirs.meta.datasets.entry("raw"), columns=())
    theirs.meta.datasets.describe(plain, event("plain"))
    pulled(theirs, bucket_url)
    entry = theirs.meta.datasets.entry("raw")
    assert (entry.owner, entry.description, entry.personal()) == ("bob", "second", {"age"})


def test_an_entry_that_cannot_be_read_is_told(mine, theirs, bucket_url):
    write(project(mine), {"raw/a": "mine"})
    pushed(mine, add(mine, "raw").version, bucket_url)
    mine.bucket(bucket_url).put("entries/raw/broken.json", b"{")
    clone(mine, theirs)
    with pytest.raises(StoreBroken, match="entry in file:"):
        pulled(theirs, bucket_url)


def test_what_would_not_be_taken_here_is_not_taken_from_a_bucket(mine, theirs, bucket_url):
    write(project(mine), {"raw/a": "mine"})
    version = add(mine, "raw").version
    write(project(mine), {"raw/a": "second"})
    second = add(mine, "raw").version
    for one in (version, second):
        pushed(mine, one, bucket_url)
    entry = msgspec.structs.replace(mine.meta.datasets.entry("raw"), owner="ada", fresh_within="a while")
    said = SentEntry(
        entry=entry, tags={"1": second.digest, "v1": second.digest, "gold": second.digest}, at=second.created_at
    )
    mine.bucket(bucket_url).put("entries/raw/elsewhere.json", msgspec.json.encode(said))
    clone(mine, theirs)
    pulled(theirs, bucket_url)
    one = theirs.catalogue.get("raw")
    assert (one.entry.owner, one.entry.fresh_within, list(one.tags)) == ("ada", "", ["gold"])
    assert theirs.catalogue.freshness(one).state is FreshState.UNSTATED
