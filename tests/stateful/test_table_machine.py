"""Tables of a small world against lists of rows: whatever is done in whatever order, each version reads as it was."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from tests.stateful.test_registry_store import bounds
from tests.unit.data.kept import ADA, Kept, Ticking

from kedge.adapters.delta.lake import DeltaLake
from kedge.data.tables.versions import TableVersions
from kedge.errors import KedgeError, RequestInvalid
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.sql import open_store
from kedge.storage.tables import PolarsTables

SCHEMA = {"id": pl.Int64, "word": pl.String, "n": pl.Float64}
Row = tuple[int, str | None, float | None]
IDS = st.integers(0, 30)
ROW = st.tuples(IDS, st.sampled_from([None, "a", "b"]), st.sampled_from([None, 0.0, 1.5, float("nan")]))
BAG = st.lists(ROW, max_size=8)
SET = st.lists(ROW, max_size=12, unique_by=lambda row: row[0])


def shown(rows: list[Row]) -> list[str]:
    return sorted(map(repr, rows))


class TableMachine(RuleBasedStateMachine):
    """One table with a key and one without, on a store on the disk that is opened again in between."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(TemporaryDirectory()))
        self.clock = Ticking()
        self.told: dict[str, list[list[Row]]] = {"set": [], "bag": []}  # name: versions: rows

    @initialize()
    def open(self) -> None:
        self.store = open_store(f"sqlite:///{self.folder / 'kedge.db'}")
        self.blobs = ChunkStore(self.folder, self.store.chunks)
        self.room = TableVersions(
            datasets=self.store.datasets,
            blobs=self.blobs,
            tables=PolarsTables(self.folder, None),
            lake=DeltaLake(),
            files=self.store.files,
            notes=self.store.notes,
            clock=self.clock,
        )

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    def note(self, name: str, rows: list[Row]) -> None:
        """A version was made, or, where nothing differs, not."""
        number = self.room.find(name).number
        if number > len(self.told[name]):
            self.told[name].append(rows)
        assert number == len(self.told[name])
        assert shown(rows) == shown(self.told[name][-1])

    def newest(self, name: str) -> list[Row]:
        return self.told[name][-1] if self.told[name] else []

    @rule(rows=SET)
    def commit_set(self, rows: list[Row]) -> None:
        self.room.commit(pl.DataFrame(rows, schema=SCHEMA, orient="row"), "set", key="id", **ADA)
        self.note("set", rows)

    @rule(rows=BAG)
    def commit_bag(self, rows: list[Row]) -> None:
        self.room.commit(pl.DataFrame(rows, schema=SCHEMA, orient="row"), "bag", **ADA)
        self.note("bag", rows)

    @rule(rows=BAG)
    def append_bag(self, rows: list[Row]) -> None:
        self.room.append(pl.DataFrame(rows, schema=SCHEMA, orient="row"), "bag", **ADA)
        self.note("bag", self.newest("bag") + rows)

    @rule(rows=SET, replace=st.booleans())
    @precondition(lambda self: self.told["set"])
    def append_set(self, rows: list[Row], replace: bool) -> None:
        old, new = {row[0]: row for row in self.newest("set")}, {row[0]: row for row in rows}
        frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
        if old.keys() & new.keys() and not replace:
            with pytest.raises(RequestInvalid):
                self.room.append(frame, "set", **ADA)
            return
        self.room.append(frame, "set", replace=replace, **ADA)
        self.note("set", [*(old | new).values()])

    @rule(name=st.sampled_from(["set", "bag"]), low=IDS, many=st.integers(0, 12))
    def delete(self, name: str, low: int, many: int) -> None:
        if self.told[name]:
            self.room.delete(name, where=f"id >= {low} AND id < {low + many}", **ADA)
            self.note(name, [row for row in self.newest(name) if not low <= row[0] < low + many])

    @rule(keys=st.lists(IDS, max_size=4))
    @precondition(lambda self: self.told["set"])
    def delete_keys(self, keys: list[int]) -> None:
        self.room.delete("set", keys=keys, **ADA)
        self.note("set", [row for row in self.newest("set") if row[0] not in keys])

    @rule(name=st.sampled_from(["set", "bag"]))
    def compact(self, name: str) -> None:
        if self.told[name]:
            self.room.compact(name, **ADA)
            self.note(name, self.newest(name))

    @rule(name=st.sampled_from(["set", "bag"]), id=IDS)
    def erase(self, name: str, id: int) -> None:
        if self.told[name]:
            digests = [version.digest for version in self.room.versions(name)]
            self.room.erase(name, where=pl.col("id") == id, reason="asked", **ADA)
            self.told[name] = [[row for row in rows if row[0] != id] for rows in self.told[name]]
            assert [version.digest for version in self.room.versions(name)] == digests

    @rule(name=st.sampled_from(["set", "bag"]), back=st.integers(0, 40))
    def compare(self, name: str, back: int) -> None:
        if self.told[name]:
            number = max(len(self.told[name]) - back, 1)
            found = self.room.diff(self.room.find(f"{name}@{number}"), self.room.find(name))
            old, new = self.told[name][number - 1], self.told[name][-1]
            assert len(old) - found.removed + found.added == len(new)
            assert found.same == (shown(old) == shown(new))

    @rule(name=st.sampled_from(["set", "bag"]), back=st.integers(0, 40))
    def as_of(self, name: str, back: int) -> None:
        if self.told[name]:
            version = self.room.find(f"{name}@{max(len(self.told[name]) - back, 1)}")
            assert self.room.find(name, as_of=version.created_at + timedelta(seconds=1)) == version

    @invariant()
    def every_version_reads_as_it_was(self) -> None:
        for name, versions in self.told.items():
            for number, rows in enumerate(versions, start=1):
                version = self.room.find(f"{name}@v{number}")
                read = self.room.read(version)
                assert shown(read.rows()) == shown(rows)
                assert (version.rows, read.schema) == (len(rows), pl.Schema(SCHEMA))
                if name == "bag":
                    assert [repr(row) for row in read.rows()] == [repr(row) for row in rows]

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
        self.stack.close()


def test_tables_are_lists_of_rows() -> None:
    run_state_machine_as_test(TableMachine, settings=bounds(6, 16))


def test_a_refused_change_leaves_all_as_it_was() -> None:
    room = Kept().room()
    version = room.commit(pl.DataFrame({"id": [1, 2]}), "set", key="id", **ADA)
    for change in (
        lambda: room.commit(pl.DataFrame({"id": [1, 1]}), "set", **ADA),
        lambda: room.append(pl.DataFrame({"id": [1]}), "set", **ADA),
        lambda: room.append(pl.DataFrame({"id": ["x"]}), "set", **ADA),
        lambda: room.delete("set", where="nothing = 1", **ADA),
    ):
        with pytest.raises(KedgeError):
            change()
        assert room.find("set") == version
