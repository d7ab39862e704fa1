"""The page on validation: its expectations are read, and asked of a table."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from kedge.config import read_expectations
from kedge.data.expect import listed
from kedge.data.quality.validation import Table, judge
from kedge.domain.data import Rule
from kedge.domain.ids import DatasetName, digest_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quality.md").read_text()
START = datetime(2013, 1, 1, tzinfo=UTC)
FLIGHTS = pl.DataFrame(
    {
        "flight_id": [f"F{n}" for n in range(10)],
        "distance": [100.0 + n for n in range(10)],
        "departs_at": [START + timedelta(hours=n) for n in range(10)],
        "lands_at": [START + timedelta(hours=n + 2) for n in range(10)],
        "plane": ["N1"] * 10,
        "late": [n % 4 == 0 for n in range(10)],
    }
)


def held(rules: list) -> bool:
    table = Table(
        frame=FLIGHTS.lazy(),
        dataset=DatasetName("flights"),
        version=digest_of("flights"),
        now=START + timedelta(days=1),
        other=lambda name: pl.LazyFrame({"tailnum": ["N1", "N2"]}),
    )
    return judge(table, rules).report.breaches == ()


def test_the_file_of_the_page_is_read_and_holds(tmp_path) -> None:
    (written,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    (tmp_path / "flights.toml").write_text(written)
    rules = read_expectations(tmp_path / "flights.toml", or_else="")
    assert [rule.rule for rule in rules] == [Rule.UNIQUE, Rule.BETWEEN, Rule.RELATION, Rule.HOLDS]
    assert held(list(rules))


def test_the_list_of_the_page_is_read_and_holds() -> None:
    written, _ = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict[str, object] = {}
    exec(written, names)
    assert held(listed(names["rules"]))


def test_the_script_of_the_page_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDGE_STORE", raising=False)
    monkeypatch.delenv("KEDGE_URL", raising=False)
    _, written = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(written, {})
