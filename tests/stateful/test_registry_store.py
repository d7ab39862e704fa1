"""Versions, aliases and deployments against a model in memory: any sequence of calls gives the same on both."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.contract import metastore as a
from tests.contract.test_metastore_events import broken_at

from kedge.domain.registry import AliasMove
from kedge.domain.rollout import Deployment
from kedge.errors import AliasConflict, Conflict, RevisionConflict
from kedge.storage.sql import SqlStore, open_store

ALIASES = ("champion", "challenger")
numbers = st.none() | st.integers(1, 4)
serials = st.integers(0, 8)


class Machine(RuleBasedStateMachine):
    """Calls with right and wrong expectations, repeated keys, and the store closed and opened again in between."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.moves: list[AliasMove] = []
        self.deployments: list[Deployment] = []
        self.versions: set[int] = set()
        self.keys: list[object] = []
        self.store: SqlStore

    def place(self) -> str:
        folder = self.stack.enter_context(TemporaryDirectory())
        return f"sqlite:///{Path(folder) / 'kedge.db'}"

    @initialize()
    def open(self) -> None:
        self.url = self.place()
        self.store = open_store(self.url)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(self.url)

    @rule(number=st.integers(1, 4))
    def register(self, number: int) -> None:
        key = ("version", len(self.keys))
        if number in self.versions:
            with pytest.raises(Conflict):
                self.store.models.add(a.version(number), a.event(key))
        else:
            self.store.models.add(a.version(number), a.event(key))
            self.versions.add(number)
            self.keys.append(key)

    @rule(alias=st.sampled_from(ALIASES), number=numbers, previous=numbers, serial=serials)
    def move_blindly(self, alias: str, number: int | None, previous: int | None, serial: int) -> None:
        self.move(a.move(number, previous, serial, alias=alias))

    @rule(alias=st.sampled_from(ALIASES), number=numbers)
    def move_as_read(self, alias: str, number: int | None) -> None:
        last = self.store.models.alias(a.MODEL, alias)
        previous, serial = (last.number, last.serial) if last is not None else (None, 0)
        self.move(a.move(number, previous, serial + 1, alias=alias))

    @rule(data=st.data(), number=numbers)
    def move_under_an_old_key(self, data: st.DataObject, number: int | None) -> None:
        if self.keys:
            key = data.draw(st.sampled_from(self.keys))
            self.store.models.move(a.move(number, None, 1), a.event(key))

    @rule(revision=st.integers(0, 6), champion=st.integers(1, 4))
    def deploy(self, revision: int, champion: int) -> None:
        deployment, key = a.deployment(revision, champion=champion), ("deployment", len(self.keys))
        if revision == len(self.deployments) + 1:
            self.store.deployments.put(deployment, a.event(key))
            self.deployments.append(deployment)
            self.keys.append(key)
        else:
            with pytest.raises(RevisionConflict) as caught:
                self.store.deployments.put(deployment, a.event(key))
            assert caught.value.found == len(self.deployments)

    @invariant()
    def reads_are_those_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.models.moves(a.MODEL) == self.moves
        for alias in ALIASES:
            assert self.store.models.alias(a.MODEL, alias) == self.newest(alias)
        assert self.store.deployments.list(a.MODEL) == self.deployments
        assert [version.number for version in self.store.models.list(a.MODEL)] == sorted(self.versions, reverse=True)
        assert len(self.store.events.list(limit=1000)) == len(self.keys)

    def teardown(self) -> None:
        with self.stack:
            assert broken_at(self.store) is None
            self.store.close()

    def move(self, move: AliasMove) -> None:
        key, last = ("move", len(self.keys)), self.newest(move.alias)
        number, serial = (last.number, last.serial) if last is not None else (None, 0)
        if (number, serial) == (move.previous, move.serial - 1):
            self.store.models.move(move, a.event(key))
            self.moves.append(move)
            self.keys.append(key)
        else:
            with pytest.raises(AliasConflict) as caught:
                self.store.models.move(move, a.event(key))
            assert (caught.value.expected, caught.value.found) == (move.previous, number)

    def newest(self, alias: str) -> AliasMove | None:
        return next((move for move in reversed(self.moves) if move.alias == alias), None)


class PostgresqlMachine(Machine):
    """The same on PostgreSQL, each run in a schema of its own."""

    def place(self) -> str:
        server = a.postgresql_url()
        assert server is not None
        return self.stack.enter_context(a.fresh_schema(server))


def test_registry_on_sqlite() -> None:
    run_state_machine_as_test(Machine, settings=bounds(20, 20))


def test_registry_on_postgresql() -> None:
    if a.postgresql_url() is None:
        pytest.skip(a.MISSING)
    run_state_machine_as_test(PostgresqlMachine, settings=bounds(6, 12))


def bounds(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
