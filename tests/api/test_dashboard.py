"""The dashboard and the alert rules against what a running data plane really exposes."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as read
from tests.unit.serving.fakes import body_of

from kedge.serving.metrics import FAMILIES

ROOT = Path(__file__).parents[2]
BOARD = json.loads((ROOT / "deploy/grafana/kedge.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy/prometheus/kedge.yml").read_text())
OF_SUPERVISORS = {"kedge_worker_ends": {"reason"}}
OF_PROMETHEUS = {"instance"}
QUERIES = [
    *(target["expr"] for panel in BOARD["panels"] for target in panel["targets"]),
    *(rule["expr"] for group in RULES["groups"] for rule in group["rules"]),
    *(each["query"]["query"] for each in BOARD["templating"]["list"] if each["type"] == "query"),
]


def post(url: str, body: bytes) -> int:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """The labels of each sample that a data plane has after a good request and a bad one."""
    folder = tmp_path_factory.mktemp("plane")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.serving.process", str(folder), "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": ""},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    url = line[line.index("http://") :].strip()
    try:
        assert post(f"{url}/v2/models/flights/infer", json.dumps(body_of(2)).encode()) == 200
        assert post(f"{url}/v2/models/flights/infer", b"{") == 400
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            families = list(read(answer.read().decode()))
        yield {sample.name: set(sample.labels) for family in families for sample in family.samples}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_asks_for_what_is_there(query: str, exposed: dict[str, set[str]]) -> None:
    known = exposed | {f"{name}_total": labels for name, labels in OF_SUPERVISORS.items()}
    asked = re.findall(r"(kedge_\w+)(?:\{([^}]*)\})?", query)
    assert asked
    labels: set[str] = set()
    for name, within in asked:
        assert name in known, f"{name} is not exposed"
        assert set(re.findall(r"(\w+)\s*[=!]~?", within)) <= known[name], name
        labels |= known[name]
    grouped = re.findall(r"\b(?:by|ignoring|on|group_left) \(([^)]*)\)", query) + re.findall(
        r"label_values\(\w+, (\w+)", query
    )
    assert {name.strip() for names in grouped for name in names.split(",") if name.strip()} <= labels | OF_PROMETHEUS


def test_every_legend_names_labels_that_the_query_leaves() -> None:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.search(r"\bby \(([^)]*)\)", target["expr"])
            families = {f.name: f.labels for f in FAMILIES}
            left = (
                {name.strip() for name in grouped[1].split(",")}
                if grouped
                else set(families[re.findall(r"kedge_\w+", target["expr"])[0]])
            )
            assert named <= left, panel["title"]


def test_every_family_is_on_the_dashboard() -> None:
    text = "\n".join(QUERIES)
    assert [family.name for family in FAMILIES if family.name not in text] == []


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"].endswith(".")
            assert rule["annotations"]["todo"].endswith(".")
