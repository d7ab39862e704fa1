"""One answer is explained link by link, each link checked; whatever does not hold is said, and the walk goes on."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kedge.domain.evaluation import Finding, Outcome, Verdict
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import digest_bytes, digest_of
from kedge.domain.lineage import Node, NodeKind
from kedge.domain.monitoring import COPIED
from kedge.domain.rollout import Deployment, Strategy
from kedge.errors import NotFound, StoreBroken
from kedge.lineage.made import approver_link, code_link, environment_link, run_link, verdict_link

WHOLE = [
    "answer",
    "route",
    "features",
    "model version",
    "gate verdict",
    "approver",
    "run",
    "code",
    "environment",
    "params",
    "dataset version",
]


def test_every_link_from_the_answer_to_the_data(house) -> None:
    house.answer()
    found = house.why()
    assert (found.version, found.output, found.model) == (1, 0.25, "delay")
    assert [link.title for link in found.links] == WHOLE
    assert [link.title for link in found.links if link.verified is not True] == []
    assert found.holds
    assert all(link.summary.endswith(".") and link.check.endswith(".") for link in found.links)


def test_digests_and_facts(house) -> None:
    house.answer()
    links = {link.title: link for link in house.why().links}
    assert links["answer"].digest == digest_bytes(next(iter(house.journal.scan()))[1])
    assert links["model version"].digest == house.version.digest
    assert links["run"].facts["run"] == "run1"
    assert links["code"].facts == {"commit": "abc123", "dirty": True}
    assert "abc123, changed since" in links["code"].summary
    assert links["environment"].facts["packages"] == "numpy 2\nx 1"
    assert links["params"].facts == {"seed": "0", "rows": "all"}
    assert links["params"].summary == "Params: rows = all, seed = 0."
    assert links["dataset version"].digest == house.dataset.digest
    assert links["dataset version"].facts["rows"] == 10
    assert links["gate verdict"].facts == {
        "beats baseline": "It beats the baseline.",
        "roc_auc [EWR]": "0.7 is at least 0.6.",
    }
    assert links["approver"].facts["actor"] == "policy:ledger"
    assert links["features"].facts == {
        "wind": 1.5,
        "carrier": "AA",
        "weather as of": "2013-03-04T10:00:00+00:00",
    }
    assert house.link("features", 1).facts["weather as of"] is None


# --- which prediction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "flights", "flights.", ".3", "flights.x", "flights.-1"])
def test_what_is_no_id(house, name) -> None:
    with pytest.raises(NotFound, match=r"is not a prediction's id; one looks like REQUEST\.ROW"):
        house.lineage.why(name)


def test_unknown_request_and_row(house) -> None:
    house.answer()
    with pytest.raises(NotFound, match="no answered request is called 'flights-2014'"):
        house.lineage.why("flights-2014.0")
    with pytest.raises(NotFound, match="has rows 0 to 2, not 3"):
        house.why(3)


def test_a_request_may_have_dots_in_its_name(house) -> None:
    house.answer(request="v1.2.3")
    assert house.why(2, "v1.2.3").output == 0.75


def test_the_first_record_counts(house) -> None:
    house.answer(request="another")
    house.answer()
    house.answer(outputs=[0.9, 0.9, 0.9])
    assert house.why().output == 0.25


@pytest.mark.parametrize("record", [b"\xc1", msgspec.msgpack.encode({"model": "delay"})])
def test_a_record_that_cannot_be_read(house, record) -> None:
    house.journal.append(record)
    with pytest.raises(StoreBroken, match="prediction log cannot be read"):
        house.why()


def test_a_record_whose_row_no_version_scored(house) -> None:
    house.answer(batches=[(1, [2]), (2, [0, 1])])
    assert house.link("answer").verified is False
    assert not house.why().holds


def test_shadow_answers_are_told(house) -> None:
    house.answer(shadow={2: [0.1, 0.2, 0.3]})
    assert house.link("answer", 2).facts["shadow answer of version 2"] == 0.3


# --- why this version -------------------------------------------------------------------------------------------------


def test_a_coin_that_was_served_in_the_answer_s_place_is_told(house) -> None:
    house.answer(tensors={"holdout": [float("nan"), 1.0, 0.0], "propensity": [0.99, 0.005, 0.005]})
    own, held = house.why(0), house.why(1)
    assert (own.served, held.served) == (None, 1.0)
    assert held.output != 1.0
    assert "coin" not in own.links[0].summary
    assert held.links[0].summary.endswith("The caller was served a coin instead: 1.")
    assert held.links[0].facts["served at random"] == 1.0


def test_outside_and_within_the_share(house) -> None:
    house.answer()
    outside, within = house.link("route", 0), house.link("route", 1)
    assert (outside.verified, outside.facts["variant"]) == (True, "champion")
    assert "is outside the challenger's share 0.5" in outside.summary
    assert outside.facts["position"] >= 0.5
    assert (within.verified, within.facts["variant"]) == (True, "challenger")
    assert within.facts["position"] < 0.5


def test_a_version_that_the_split_does_not_give(house) -> None:
    house.answer(versions=[2, 1, 1], batches=[(2, [0]), (1, [1, 2])])
    assert house.link("route", 0).verified is False
    assert "gives version 1, but version 2 answered" in house.link("route", 0).check
    assert house.link("route", 1).verified is False


def test_a_challenger_that_failed_was_replaced_by_the_champion(house) -> None:
    house.answer(versions=[1, 1, 1], batches=[(1, [0, 1, 2])], errors={2: "ValueError"})
    route = house.link("route", 1)
    assert route.verified is True
    assert "Version 2 failed (ValueError), so the champion answered" in route.check


def test_a_champion_never_fails_over_to_its_challenger(house) -> None:
    house.answer(versions=[2, 2, 1], batches=[(2, [0, 1]), (1, [2])], errors={1: "ValueError"})
    assert house.link("route", 0).verified is False


def test_nothing_on_trial(house) -> None:
    house.answer(revision=1)
    assert "nothing was on trial" in house.link("route").summary


def test_a_shadow_answers_nobody(house) -> None:
    house.deploy(revision=3, champion=1, challenger=2, strategy=Strategy.SHADOW)
    house.answer(revision=3, versions=[1, 1, 1], batches=[(1, [0, 1, 2])])
    assert "challenger 2 only ran in its shadow" in house.link("route", 1).summary
    assert house.link("route", 1).verified is True
    assert "shadow answer of version 2" not in house.link("answer", 1).facts
    before = house.link("answer", 1).digest
    house.answer(revision=3, versions=[1, 1, 1], shadow={2: [0.1, 0.2, 0.3]}, variant=COPIED)
    link = house.link("answer", 1)
    assert (link.facts["shadow answer of version 2"], link.digest) == (0.2, before)


def test_a_revision_that_is_not_there(house) -> None:
    house.answer(revision=9)
    assert house.link("route").verified is False
    assert "Revision 9 of delay is not in the store" in house.link("route").check
    assert house.link("approver").verified is True


# --- what the model saw -----------------------------------------------------------------------------------------------


def test_a_value_from_the_future(house) -> None:
    as_of = {"weather": [house.answer(request="x").at + timedelta(microseconds=1), None, None]}
    house.answer(as_of=as_of)
    assert house.link("features").verified is False
    assert "weather as of" in house.link("features").check
    assert house.link("features", 1).verified is True


@pytest.mark.parametrize("names", [("carrier", "wind"), ("wind",), ("wind", "carrier", "more")])
def test_other_columns_than_the_model_reads(house, names) -> None:
    house.answer(features={name: [1.0, 1.0, 1.0] for name in names})
    assert house.link("features").verified is False
    assert "The model reads wind, carrier" in house.link("features").check


# --- what stands behind it --------------------------------------------------------------------------------------------


def test_a_version_that_is_not_registered(house) -> None:
    house.answer(versions=[7, 2, 1], batches=[(7, [0])])
    found = house.why()
    assert [link.title for link in found.links] == [*WHOLE[:3], "model version"]
    assert found.links[-1].verified is False
    assert found.links[2].verified is None


def test_changed_model_files(house) -> None:
    house.answer()
    house.blobs.broken.add(house.version.digest)
    link = house.link("model version")
    assert (link.verified, "has changed" in link.check) == (False, True)
    del house.blobs.kept[house.version.digest]
    house.blobs.broken.clear()
    assert "is gone" in house.link("model version").check


def test_a_verdict_that_is_not_the_one_of_the_event(house) -> None:
    house.answer()
    digest = house.link("gate verdict").digest
    kept = house.blobs.kept[digest]
    house.blobs.kept[digest] = kept.replace(b"passed", b"refused")
    assert house.link("gate verdict").verified is False
    house.blobs.kept[digest] = b"{"
    assert house.link("gate verdict").verified is False
    del house.blobs.kept[digest]
    assert house.link("gate verdict").verified is False


def test_a_verdict_that_does_not_follow_from_its_findings() -> None:
    class Version:
        verdict = Verdict(outcome=Outcome.PASSED, findings=(Finding(check="a", outcome=Outcome.REFUSED, reason="no"),))

    link = verdict_link(Version, Version.verdict, digest=digest_of("x"))
    assert (link.verified, link.summary) == (False, "The gate said passed: 0 of 1 findings passed.")
    assert verdict_link(Version, None, digest=None).verified is None


def test_the_approver_of_a_challenger_is_who_started_its_trial(house) -> None:
    house.answer()
    link = house.link("approver", 1)
    assert link.summary == "ann@example.org let version 2 answer: a trial."
    assert link.verified is True


def test_the_approver_is_the_last_before_the_answer(house) -> None:
    house.point(2, previous=1, serial=2, days=2)
    house.point(1, previous=2, serial=3, days=3)
    house.point(2, previous=1, serial=4, days=4)
    house.point(1, previous=2, serial=5, days=5)
    house.point(1, previous=None, serial=1, alias="staging")
    house.answer()
    link = house.link("approver", 0)
    assert (link.facts["serial"], link.verified) == (3, True)
    assert "3 moves, is unbroken" in link.check


def test_approvers_without_a_record() -> None:
    deployment = Deployment(model="delay", revision=4, champion=1, since=datetime.now(UTC), actor="ann", reason="by hand")
    assert approver_link(1, deployment, moves=()).verified is True
    assert approver_link(3, deployment, moves=()).verified is False
    assert approver_link(1, None, moves=()).verified is False


def test_a_gap_in_the_history_of_moves(house) -> None:
    house.point(2, previous=1, serial=2)
    first, second = house.store.models.moves("delay")
    torn = msgspec.structs.replace(second, previous=7)
    assert approver_link(2, None, moves=[first, second]).verified is True
    assert approver_link(2, None, moves=[first, torn]).verified is False


def test_a_run_that_made_another_model(house) -> None:
    assert run_link(msgspec.structs.replace(house.run, artifacts={}), house.version).verified is False


def test_a_run_that_is_gone(house, monkeypatch) -> None:
    def gone(run):
        raise NotFound("run 'run1' does not exist")

    house.answer()
    monkeypatch.setattr(type(house.store.runs), "get", lambda self, run: gone(run))
    found = house.why()
    assert [link.title for link in found.links] == [*WHOLE[:7], "dataset version"]
    assert (found.links[6].verified, found.links[6].check) == (False, "run 'run1' does not exist")


def test_code_and_environment_are_compared_with_the_event(house) -> None:
    edges = house.store.events.sources(Node(NodeKind.RUN, house.run.id))
    other = msgspec.structs.replace(
        house.run,
        code=msgspec.structs.replace(house.run.code, digest=digest_of("x"), commit=None, dirty=False),
        environment=msgspec.structs.replace(house.run.environment, digest=digest_of("y")),
    )
    assert code_link(house.run, edges).verified is True
    assert code_link(other, edges).verified is False
    assert environment_link(other, edges).verified is False
    assert code_link(other, ()).verified is None
    assert code_link(other, ()).summary == "It ran the project's code of files outside a git repository."


def test_dataset_parts_that_changed_or_are_gone(house) -> None:
    house.answer()
    house.blobs.broken.add(house.dataset.parts[1].digest)
    assert house.link("dataset version").verified is False
    assert "A part cannot be read" in house.link("dataset version").check


def test_a_version_that_rows_were_erased_from_still_answers_and_says_so(house) -> None:
    house.answer()
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    left = msgspec.structs.replace(house.dataset, parts=house.dataset.parts[:1], rows=5, erased_at=at)
    told = Event(key=digest_of("e"), kind=EventKind.DATA_ERASED, at=at, subject="d", actor="person:ada", message="5 rows")
    house.store.datasets.amend([left], told)
    link = house.link("dataset version")
    assert (link.verified, link.digest, link.facts["erased_at"]) == (None, house.dataset.digest, at.isoformat())
    assert link.summary.endswith("5 rows. Rows were erased from it at 2026-03-01 12:00 UTC.")
    assert "data_erased" in link.check


def test_a_dataset_version_that_is_gone(house) -> None:
    link = house.lineage._dataset_link(digest_of("never"))
    assert (link.verified, link.digest) == (False, digest_of("never"))


def test_the_requests_of_one_call_are_found_in_their_order_unless_one_is_gone(house) -> None:
    number = house.answer(request="alone").versions[0]
    for place in (2, 0, 1):  # a compaction may put them in another order
        house.answer(request=f"r{place}", calls={number: ("process-7", place, 3)})
    house.answer(request="other", calls={number: ("process-70", 0, 2)})
    assert [batch.request for batch in house.lineage.call(house.lineage.get("r1.0"))] == ["r0", "r1", "r2"]
    with pytest.raises(NotFound, match="together with 1 others, of which 1 are no longer"):
        house.lineage.call(house.lineage.get("other.0"))
