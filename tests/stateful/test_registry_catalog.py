"""Registered models, versions, aliases and stages against a model in memory, on SQLite and PostgreSQL."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.contract import metastore as a
from tests.contract.test_metastore_events import broken_at
from tests.stateful.test_registry_store import bounds
from tests.unit.registry.shelves import Shelves, open_catalog

from kedge.errors import AliasMoved, Conflict, NotFound, RequestInvalid
from kedge.registry.catalog import Catalog, Offered
from kedge.storage.sql import SqlStore, open_store

NAMES = ("flights", "bikes", "trains")
ALIASES = ("champion", "nightly")
STAGES = ("None", "Staging", "Production", "Archived")
WHO = {"actor": "person:ada"}
names, numbers = st.sampled_from(NAMES), st.integers(1, 5)


class CatalogMachine(RuleBasedStateMachine):
    """What is asked for in any order, the store opened again in between, gives what a dictionary gives."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.models: dict[str, dict[int, str]] = {}  # name: number: stage
        self.aliases: dict[str, dict[str, int]] = {}
        self.last: dict[str, int] = {}
        self.moves: dict[str, list[tuple[str, int | None]]] = {}
        self.store: SqlStore
        self.catalog: Catalog

    def place(self) -> str:
        folder = self.stack.enter_context(TemporaryDirectory())
        return f"sqlite:///{Path(folder) / 'kedge.db'}"

    @initialize()
    def open(self) -> None:
        self.url = self.place()
        self.store = open_store(self.url)
        self.catalog = open_catalog(self.store, Shelves())

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(self.url)
        self.catalog = open_catalog(self.store, Shelves())

    @rule(name=names)
    def create(self, name: str) -> None:
        if name in self.models:
            with pytest.raises(Conflict, match="already exists"):
                self.catalog.create(name, **WHO)
        else:
            self.catalog.create(name, **WHO)
            self.models[name], self.aliases[name] = {}, {}
            self.last.setdefault(name, 0)
            self.moves.setdefault(name, [])

    @rule(name=names)
    def delete(self, name: str) -> None:
        if name not in self.models:
            with pytest.raises(NotFound):
                self.catalog.delete(name, **WHO)
            return
        self.catalog.delete(name, **WHO)
        self.moves[name] += [(alias, None) for alias in sorted(self.aliases[name])]
        del self.models[name], self.aliases[name]

    @rule(name=names)
    def register(self, name: str) -> None:
        if name not in self.models:
            with pytest.raises(NotFound):
                self.catalog.register(name, Offered(source="runs:/r/model"), **WHO)
            return
        version = self.catalog.register(name, Offered(source="runs:/r/model"), **WHO)
        self.last[name] += 1
        assert version.number == self.last[name]
        self.models[name][version.number] = "None"

    @rule(name=names, number=numbers)
    def delete_version(self, name: str, number: int) -> None:
        if number not in self.models.get(name, {}):
            with pytest.raises(NotFound):
                self.catalog.delete_version(name, number, **WHO)
            return
        self.catalog.delete_version(name, number, **WHO)
        del self.models[name][number]
        for alias in sorted(key for key, held in self.aliases[name].items() if held == number):
            self.moves[name].append((alias, None))
            del self.aliases[name][alias]

    @rule(name=names, alias=st.sampled_from(ALIASES), number=numbers, off=st.sampled_from((0, 0, 1)))
    def point(self, name: str, alias: str, number: int, off: int) -> None:
        if number not in self.models.get(name, {}):
            with pytest.raises(NotFound):
                self.catalog.set_alias(name, alias, number=number, **WHO)
            return
        serial = sum(moved == alias for moved, _ in self.moves[name]) + off
        if off:
            with pytest.raises(AliasMoved):
                self.catalog.set_alias(name, alias, number=number, serial=serial, **WHO)
            return
        self.catalog.set_alias(name, alias, number=number, serial=serial, **WHO)
        if self.aliases[name].get(alias) != number:
            self.moves[name].append((alias, number))
        self.aliases[name][alias] = number

    @rule(name=names, alias=st.sampled_from(ALIASES))
    def unpoint(self, name: str, alias: str) -> None:
        if name not in self.models:
            return
        self.catalog.delete_alias(name, alias, **WHO)
        if self.aliases[name].pop(alias, None) is not None:
            self.moves[name].append((alias, None))

    @rule(name=names, number=numbers, stage=st.sampled_from(STAGES), archive=st.booleans())
    def move_stage(self, name: str, number: int, stage: str, archive: bool) -> None:
        asked = {"stage": stage.lower(), "archive": archive, **WHO}
        if archive and stage in ("None", "Archived"):
            with pytest.raises(RequestInvalid, match="not an Active stage"):
                self.catalog.move_stage(name, number, **asked)
        elif number not in self.models.get(name, {}):
            with pytest.raises(NotFound):
                self.catalog.move_stage(name, number, **asked)
        else:
            self.catalog.move_stage(name, number, **asked)
            if archive:
                held = self.models[name]
                self.models[name] = {n: "Archived" if at == stage else at for n, at in held.items()}
            self.models[name][number] = stage

    @rule(name=names, new=names)
    def rename(self, name: str, new: str) -> None:
        if name not in self.models:
            with pytest.raises(NotFound):
                self.catalog.rename(name, new, **WHO)
        elif new in self.models or self.last.get(new):
            with pytest.raises(Conflict):
                self.catalog.rename(name, new, **WHO)
        else:
            self.catalog.rename(name, new, **WHO)
            self.models[new], self.aliases[new] = self.models.pop(name), self.aliases.pop(name)
            self.moves[new], self.moves[name] = self.moves[name], []
            self.last[new] = self.last[name]

    @invariant()
    def reads_are_those_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        for name in NAMES:
            if name not in self.models:
                with pytest.raises(NotFound):
                    self.catalog.get(name)
                continue
            assert self.catalog.get(name).aliases == self.aliases[name]
            versions = self.catalog.versions(name)
            assert {each.number: each.stage.value for each in versions} == self.models[name]
            for each in versions:
                assert {*each.aliases} == {key for key, held in self.aliases[name].items() if held == each.number}
            newest: dict[str, int] = {}
            for number, stage in self.models[name].items():
                newest[stage] = max(number, newest.get(stage, 0))
            assert {each.stage.value: each.number for each in self.catalog.latest(name)} == newest
            self.require_history(name)

    def require_history(self, name: str) -> None:
        moves = self.catalog.alias_moves(name)
        assert [(move.alias, move.number) for move in moves] == self.moves[name]
        for alias in ALIASES:
            own = [move for move in moves if move.alias == alias]
            assert [move.serial for move in own] == [*range(1, len(own) + 1)]
            assert [move.previous for move in own] == [None, *(move.number for move in own[:-1])][: len(own)]

    def teardown(self) -> None:
        with self.stack:
            assert broken_at(self.store) is None
            self.store.close()


class PostgresqlCatalogMachine(CatalogMachine):
    """The same on PostgreSQL, each run in a schema of its own."""

    def place(self) -> str:
        server = a.postgresql_url()
        assert server is not None
        return self.stack.enter_context(a.fresh_schema(server))


def test_catalog_on_sqlite() -> None:
    run_state_machine_as_test(CatalogMachine, settings=bounds(25, 25))


def test_catalog_on_postgresql() -> None:
    if a.postgresql_url() is None:
        pytest.skip(a.MISSING)
    run_state_machine_as_test(PostgresqlCatalogMachine, settings=bounds(6, 15))
