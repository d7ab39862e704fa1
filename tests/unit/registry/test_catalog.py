"""Names, aliases, stages and releases by hand, in the catalog."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from tests.contract import metastore as a
from tests.unit.registry.shelves import Shelves, Ticking, open_by_hand, open_catalog

from kedge.domain.evaluation import Outcome
from kedge.domain.events import EventKind
from kedge.errors import AliasConflict, AliasMoved, ModelRefused, NotFound, RequestInvalid
from kedge.registry.catalog import Offered
from kedge.registry.names import check_reason, check_stage
from kedge.storage.sql import open_store

WHO = {"actor": "person:ada"}
RUN = Offered(source="runs:/r/model")


@pytest.fixture
def store():
    opened = open_store("sqlite://")
    yield opened
    opened.close()


@pytest.fixture
def catalog(store):
    return open_catalog(store, Shelves())


@pytest.fixture
def by_hand(store, catalog):
    return open_by_hand(store, catalog, Ticking())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "Missing value for required parameter 'name'."),
        ("  ", "Missing value"),
        ("a/b", "Invalid model name 'a/b'. Names cannot contain '/' or ':'."),
        ("a:b", "Names cannot contain"),
        ("..", "This name would resolve to '..'"),
        ("a" * 257, "maximum length of 256"),
        ("a\x00b", "NUL"),
        ("a\ud800", "half a character"),
    ],
)
def test_names_that_are_refused(catalog, name, words):
    with pytest.raises(RequestInvalid) as caught:
        catalog.create(name, **WHO)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("alias", "words"),
    [
        ("", "alias name cannot be empty"),
        ("a b", "Invalid alias name: 'a b'"),
        ("latest", "'latest' alias name (case insensitive) is reserved."),
        ("LATEST", "reserved"),
        ("v1", "Version alias name 'v1' is reserved."),
        ("V23", "reserved"),
        ("a" * 256, "'Registered model alias name' exceeds the maximum length of 255 characters"),
    ],
)
def test_aliases_that_are_refused(catalog, alias, words):
    catalog.create("m", **WHO)
    catalog.register("m", RUN, **WHO)
    with pytest.raises(RequestInvalid) as caught:
        catalog.set_alias("m", alias, number=1, **WHO)
    assert words in str(caught.value)
    assert catalog.alias_moves("m") == []


@pytest.mark.parametrize(
    ("key", "value"), [("a?", "x"), ("../x", "x"), ("", "x"), ("k" * 251, "x"), ("k", "v" * 100_001), ("k", "a\x00")]
)
def test_tags_that_are_refused(catalog, key, value):
    catalog.create("m", **WHO)
    with pytest.raises(RequestInvalid):
        catalog.set_tag("m", key, value=value)
    catalog.register("m", RUN, **WHO)
    with pytest.raises(RequestInvalid):
        catalog.retag("m", {"good": "x", key: value})
    with pytest.raises(RequestInvalid):
        catalog.retag_version("m", 1, tags={"good": "x", key: value})
    assert catalog.get("m").tags == catalog.version("m", 1).tags == {}


def test_a_reason_is_told_on_one_line():
    assert check_reason("  worse \n on Monday ") == "worse on Monday"
    for reason in ("", " no ", "x" * 301):
        with pytest.raises(RequestInvalid, match="--reason: say in 3 to 300 characters why"):
            check_reason(reason, parameter="--reason")


def test_a_stage_is_read_whatever_its_case():
    assert check_stage("pRoDuCtIoN").value == "Production"
    with pytest.raises(RequestInvalid, match="Value must be one of None, Staging, Production, Archived"):
        check_stage("live")


def test_times_move_as_clients_expect(catalog):
    made = catalog.create("m", **WHO)
    version = catalog.register("m", RUN, **WHO)
    assert catalog.get("m").updated_at > made.updated_at
    before = catalog.get("m").updated_at
    catalog.describe_version("m", 1, description="text")
    assert catalog.get("m").updated_at == before
    assert catalog.version("m", 1).updated_at > version.updated_at
    catalog.move_stage("m", 1, stage="Staging", **WHO)
    assert catalog.get("m").updated_at > before
    before = catalog.get("m").updated_at
    catalog.set_alias("m", "nightly", number=1, **WHO)
    catalog.set_tag("m", "a", value="b")
    assert catalog.get("m").updated_at == before


def test_the_loop_and_clients_number_in_one_row(store, catalog):
    store.models.add(a.version(1), a.event("first", kind=EventKind.MODEL_REGISTERED))
    made = catalog.register("flights", RUN, **WHO)
    assert made.number == 2
    assert store.models.last_number(a.MODEL) == 2
    assert [each.number for each in store.models.list(a.MODEL)] == [1]
    both = {each.number: each for each in catalog.versions("flights")}
    assert both[1].loop == a.version(1)
    assert both[2].loop is None
    assert both[1].source == "runs:/run1/model"


def test_the_history_says_who_when_why_and_the_verdict(store, catalog):
    store.models.add(a.version(1), a.event("first", kind=EventKind.MODEL_REGISTERED))
    catalog.register("flights", RUN, **WHO)
    catalog.set_alias("flights", "champion", number=1, actor="person:eve", reason="it is good")
    catalog.move_stage("flights", 2, stage="Staging", actor="person:ada", reason="to be tried")
    catalog.delete_version("flights", 2, **WHO)
    first, second = catalog.history("flights")
    assert (first.kind, first.name, first.number, first.actor, first.reason) == (
        "alias",
        "champion",
        1,
        "person:eve",
        "it is good",
    )
    assert first.verdict == a.version(1).verdict.outcome.value
    assert first.verdict in {each.value for each in Outcome}
    assert (second.kind, second.name, second.before, second.verdict) == ("stage", "Staging", "None", "")
    assert second.at - first.at < timedelta(minutes=1)


def test_promote_and_roll_back_of_what_is_not_deployed_move_the_alias(catalog, by_hand):
    catalog.create("m", **WHO)
    for _ in range(2):
        catalog.register("m", RUN, **WHO)
    with pytest.raises(NotFound, match="no champion before"):
        by_hand.roll_back("m", reason="nothing yet", **WHO)
    for number in (1, 2):
        assert by_hand.promote("m", number, reason="good", **WHO).number == number
    assert by_hand.roll_back("m", reason="bad", **WHO).number == 1
    by_hand.archive("m", 1, reason="out of use", **WHO)
    assert catalog.get("m").aliases == {}
    assert catalog.version("m", 1).stage.value == "Archived"


def test_a_roll_back_passes_over_what_was_deleted(catalog, by_hand):
    catalog.create("m", **WHO)
    for number in (1, 2, 3):
        catalog.register("m", RUN, **WHO)
        by_hand.promote("m", number, reason="good", **WHO)
    catalog.delete_version("m", 2, **WHO)
    assert by_hand.roll_back("m", reason="bad", **WHO).number == 1


def test_a_deployed_model_rolls_back_to_versions_of_the_loop_alone(store, catalog, by_hand):
    catalog.create("flights", **WHO)
    catalog.register("flights", RUN, **WHO)
    catalog.set_alias("flights", "champion", number=1, **WHO)
    store.models.add(a.version(2), a.event("version", kind=EventKind.MODEL_REGISTERED))
    store.models.move(a.move(2, 1, 2), a.event("move"))
    store.deployments.put(a.deployment(1, champion=2), a.event("deployment"))
    with pytest.raises(NotFound, match="no champion before"):
        by_hand.roll_back("flights", reason="worse", **WHO)
    assert catalog.get("flights").aliases == {"champion": 2}


@pytest.fixture
def deployed(store, catalog):
    """Two versions of the loop, the first deployed, and a client's third."""
    for number in (1, 2):
        store.models.add(a.version(number), a.event("version", number, kind=EventKind.MODEL_REGISTERED))
    store.models.move(a.move(1, None, 1), a.event("move"))
    store.deployments.put(a.deployment(1, champion=1), a.event("deployment"))
    catalog.register("flights", RUN, **WHO)


def test_a_champion_that_is_deployed_moves_with_its_deployment(deployed, store, by_hand):
    move = by_hand.set_alias("flights", "champion", number=2, reason="better", **WHO)
    assert (move.number, move.serial, move.actor) == (2, 2, "person:ada")
    newest = store.deployments.find(a.MODEL)
    assert (newest.revision, newest.champion) == (2, 2)
    by_hand.set_alias("flights", "nightly", number=3, reason="to try", **WHO)
    assert store.deployments.find(a.MODEL) == newest


def test_what_is_deployed_cannot_be_taken_away(deployed, catalog, by_hand):
    with pytest.raises(ModelRefused, match="version 3 of 'flights' cannot be served"):
        by_hand.promote("flights", 3, reason="try it", **WHO)
    with pytest.raises(RequestInvalid, match="cannot be taken away"):
        by_hand.delete_alias("flights", "champion", reason="no more", **WHO)
    with pytest.raises(RequestInvalid, match="is served now"):
        by_hand.archive("flights", 1, reason="old", **WHO)
    with pytest.raises(RequestInvalid, match="was deployed"):
        catalog.delete_version("flights", 1, **WHO)
    with pytest.raises(RequestInvalid, match="is deployed"):
        catalog.delete("flights", **WHO)
    with pytest.raises(RequestInvalid, match="is a project's"):
        catalog.rename("flights", "birds", **WHO)
    assert catalog.get("flights").aliases == {"champion": 1}


def test_of_fifty_who_saw_the_same_serial_one_deploys(deployed, store, by_hand):
    barrier = Barrier(50)

    def promote(me: int) -> bool:
        barrier.wait()
        try:
            by_hand.promote("flights", 2, actor=f"person:{me}", reason="mine", serial=1)
        except (AliasConflict, AliasMoved):
            return False
        return True

    with ThreadPoolExecutor(50) as pool:
        won = list(pool.map(promote, range(50)))
    assert sum(won) == 1
    assert [move.serial for move in store.models.moves(a.MODEL)] == [1, 2]
    assert [each.revision for each in store.deployments.list(a.MODEL)] == [1, 2]
