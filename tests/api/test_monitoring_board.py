"""The monitoring dashboard and its alert rules against what the control plane really exposes."""

import json
import re
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import yaml
from litestar.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families as read
from tests.ui.filled import FilledHouse, fortnight
from tests.ui.seed import MODEL

from kedge.domain.alert_life import AlertMove
from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.channels import AlertDelivery, delivery_id
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import digest_of
from kedge.domain.monitoring import Risk, Window
from kedge.server.application import application

ROOT = Path(__file__).parents[2]
BOARD = json.loads((ROOT / "deploy/grafana/monitoring.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy/prometheus/monitoring.rules.yml").read_text())
PAGE = (ROOT / "docs/alerts.md").read_text()
OF_PROMETHEUS = {"instance"}
QUERIES = [
    *(target["expr"] for panel in BOARD["panels"] for target in panel["targets"]),
    *(rule["expr"] for group in RULES["groups"] for rule in group["rules"]),
    *(each["query"]["query"] for each in BOARD["templating"]["list"] if each["type"] == "query"),
]


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """The labels of each sample of a control plane whose loop has run for a fortnight and that told of an alert."""
    house = FilledHouse(fortnight())
    newest = house.meta.watches.list(MODEL, limit=1)[0]
    window = Window(newest.window.end, newest.window.end + timedelta(days=1))
    alert = Alert(key="k", model=MODEL, kind=AlertKind.RISK, message="m", raised_at=window.end, subject="version 1")
    risk = Risk(accepted=0.4, limit=0.42, mean=0.5, lower=0.45, days=12, alarm=True)
    health = msgspec.structs.replace(
        newest, window=window, alerts=(alert,), risk=risk, evidence={"data": 5.0, "prediction": 1.0}, evidence_limit=1000.0
    )
    event = Event(
        key=digest_of("k"), kind=EventKind.WINDOW_MEASURED, at=window.end, subject=MODEL, actor="kedge", message="m"
    )
    house.meta.watches.put(health, b"", event=event)
    ((serial, notice), *_) = house.meta.alerts.notices()
    made = AlertDelivery(
        id=delivery_id(notice.id, "ops"),
        serial=serial,
        alert=notice.life.id,
        episode=1,
        channel="ops",
        move=AlertMove.RAISED,
        next_at=notice.at,
    )
    house.meta.alerts.spread([serial], [made])
    with TestClient(application(house), base_url="http://127.0.0.1:8400") as client:
        families = list(read(client.get("/metrics").text))
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_asks_for_what_is_there(query: str, exposed: dict[str, set[str]]) -> None:
    asked = re.findall(r"(kedge_\w+)(?:\{([^}]*)\})?", query)
    assert asked
    labels: set[str] = set()
    for name, within in asked:
        assert name in exposed, f"{name} is not exposed"
        assert set(re.findall(r"(\w+)\s*[=!]~?", within)) <= exposed[name], name
        labels |= exposed[name]
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", query)
    assert {name.strip() for names in grouped for name in names.split(",") if name.strip()} <= labels | OF_PROMETHEUS


def test_every_legend_names_labels_that_the_query_leaves(exposed: dict[str, set[str]]) -> None:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.search(r"\bby \(([^)]*)\)", target["expr"])
            found = exposed[re.findall(r"kedge_\w+", target["expr"])[0]]
            assert named <= ({name.strip() for name in grouped[1].split(",")} if grouped else found), panel["title"]


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"].endswith(".")
            assert rule["annotations"]["todo"].endswith(".")


def test_every_gauge_is_documented(exposed: dict[str, set[str]]) -> None:
    rows = dict(re.findall(r"^\| `(kedge_\w+)` \|([^|]*)\|", PAGE, re.M))
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows.items()} == exposed
