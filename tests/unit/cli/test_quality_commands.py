"""`kedge data profile`, `suggest` and `validate`, from a person's files to the exit code."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from typer.testing import CliRunner

from kedge.cli.main import application
from kedge.domain.data import ColumnNote, Dataset
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, digest_of
from kedge.errors import ConfigError, NotFound, SourceFailed
from kedge.records import open_records
from kedge.settings import settings

START = datetime(2013, 1, 1, tzinfo=UTC)
ROWS = pl.DataFrame(
    {
        "flight_id": [f"F{n}" for n in range(400)],
        "origin": [("EWR", "JFK")[n % 2] for n in range(400)],
        "distance": [float(n) for n in range(400)],
        "departs_at": [START + timedelta(hours=n) for n in range(400)],
        "pilot": [f"Jo Doe {n}" for n in range(400)],
    }
)
RULES = """
[[expectation]]
rule = "between"
column = "distance"
at_most = 397
severity = "quarantine"

[[expectation]]
rule = "one_of"
column = "pilot"
values = ["Jo Doe 1"]
share = 0.9
severity = "warn"

[[expectation]]
rule = "between"
column = "departs_at"
at_least = 2013-01-01
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDGE_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    records = open_records(settings(tmp_path))
    records.tables.commit(ROWS, "flights", key="flight_id", actor="person:jo")
    entry = Dataset(
        name=DatasetName("flights"),
        kind=records.meta.datasets.entry("flights").kind,
        created_at=START,
        columns=(ColumnNote(name="pilot", personal=True),),
    )
    event = Event(
        key=digest_of("described"),
        kind=EventKind.DATASET_DESCRIBED,
        at=START,
        subject="flights",
        actor="person:jo",
        message="",
    )
    records.meta.datasets.describe(entry, event)
    records.close()
    return tmp_path


def kedge(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(application(["data", *words]), ["data", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_a_profile_is_shown_and_kept_without_personal_values(project):
    code, said = kedge("profile", "flights")
    assert code == 0
    assert "400 rows" in said
    assert "▁" in said or "█" in said
    assert "Jo Doe" not in said
    assert "(personal)" in said
    kept = json.loads(kedge("profile", "flights", "--json")[1])
    assert kept["rows"] == 400
    records = open_records(settings(project))
    assert records.meta.datasets.find_profile(records.tables.find("flights").digest).rows == 400


def test_a_draft_is_written_once_and_the_table_holds_it(project):
    code, said = kedge("suggest", "flights")
    assert (code, "expectations/flights.toml" in said.replace("\n", "")) == (0, True)
    written = (project / "expectations" / "flights.toml").read_text()
    assert "Jo Doe" not in written
    with pytest.raises(ConfigError, match="there already"):
        kedge("suggest", "flights")
    assert kedge("suggest", "flights", "--show")[1] == written
    code, said = kedge("validate", "flights", "--all")
    assert (code, "valid: flights" in said) == (0, True)


def test_a_file_that_expects_nothing_passes_nothing(project):
    (project / "rules.toml").write_text("")
    with pytest.raises(ConfigError, match=r"rules.toml expects nothing: .*kedge data suggest flights"):
        kedge("validate", "flights", "--expectations", "rules.toml")


def test_a_function_of_expectations_that_fails_is_named_with_its_line(project):
    (project / "rules.py").write_text("def rules():\n    return 1 / 0\n")
    with pytest.raises(ConfigError, match=r"rules.py:rules raised ZeroDivisionError: .* \(.*rules.py, line 2\)"):
        kedge("validate", "flights", "--expectations", "rules.py:rules")


def test_a_report_is_kept_and_rows_that_break_it_are_written_out(project):
    (project / "expectations").mkdir()
    (project / "expectations" / "flights.toml").write_text(RULES)
    code, said = kedge("validate", "flights", "--failing", "bad.parquet")
    assert code == 0
    assert "2 rows set aside" in said
    assert "flight_id 'F398': 398.0" in said
    assert "Jo Doe" not in said.replace("one of 'Jo Doe 1'", "")
    bad = pl.read_parquet("bad.parquet")
    assert bad["flight_id"].to_list()[-2:] == ["F398", "F399"]
    assert "pilot" not in bad.columns
    kedge("validate", "flights")
    records = open_records(settings(project))
    ((_, report),) = records.meta.datasets.reports("flights")
    assert report.quarantined == 2
    assert [rule.column for rule in report.held] == ["departs_at"]


def test_a_file_that_does_not_hold_ends_with_3(project):
    ROWS.with_columns(pl.col("distance") + 1000).write_csv("new.csv")
    rules = project / "rules.py"
    rules.write_text(
        "import polars as pl\nfrom kedge.data import expect\n"
        "rules = [expect.between('distance', at_most=1000), expect.reference('flight_id', dataset='flights'),\n"
        "         expect.holds(pl.col('distance') > 0, says='far')]\n"
    )
    code, said = kedge("validate", "new.csv", "--expectations", "rules.py:rules", "--json")
    report = json.loads(said)
    assert (code, report["passed"], report["breaches"][0]["rows"], len(report["held"])) == (3, False, 399, 2)


def test_a_schema_of_pandera_is_taken_as_it_is(project):
    pytest.importorskip("pandera", reason="the extra `pandera` is not installed")
    (project / "schema.py").write_text(
        "import pandera.polars as pa\n"
        "class Flights(pa.DataFrameModel):\n"
        "    flight_id: str = pa.Field(unique=True)\n"
        "    distance: float = pa.Field(ge=0, lt=300)\n"
    )
    code, said = kedge("validate", "flights", "--expectations", "schema.py:Flights", "--json")
    assert code == 3
    assert [(each["rows"], each["expectation"]["says"]) for each in json.loads(said)["breaches"]] == [
        (100, "distance: less_than(300)")
    ]


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("validate", "flights"), ConfigError, "nothing says what is expected of flights"),
        (("validate", "flights", "--expectations", "no.toml"), ConfigError, "no.toml does not exist; draft one with"),
        (("validate", "flights", "--expectations", "rules.py:none"), ConfigError, "there is no file"),
        (("validate", "flight", "--expectations", "any.toml"), NotFound, "did you mean 'flights'"),
        (("validate", "no.csv", "--expectations", "any.toml"), SourceFailed, "there is no file"),
        (("profile", "torn.parquet"), SourceFailed, "torn.parquet: it cannot be read"),
        (("validate", "flights", "--expectations", "any.toml", "--failing", "rows.txt"), ConfigError, ".parquet or .csv"),
        (("validate", "flights", "--expectations", "wrong.toml"), ConfigError, "wrong.toml, line 2: expectation 1: .*fresh"),
        (("validate", "flights", "--expectations", "list.py:one"), ConfigError, "expectations are of type int"),
        (("validate", "flights", "--expectations", "list.py:odd"), ConfigError, "one of the expectations is of type str"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(project, words, error, said):
    (project / "any.toml").write_text('[[expectation]]\nrule = "rows"\nat_least = 0\n')
    (project / "torn.parquet").write_bytes(b"PAR1 and no footer")
    (project / "wrong.toml").write_text('\n[[expectation]]\nrule = "fresh"\ncolumn = "departs_at"\n')
    (project / "list.py").write_text("one = 1\nodd = ['a']\n")
    with pytest.raises(error, match=said):
        kedge(*words)


def test_labels_are_checked_and_a_leak_ends_with_3(project):
    rows = ROWS.with_columns(late=pl.col("distance") % 3 > 1, paid=(pl.col("distance") % 3 > 1).cast(pl.Int64))
    rows.write_parquet("labelled.parquet")
    code, said = kedge("labels", "labelled.parquet", "--label", "late", "--key", "flight_id", "--time", "departs_at")
    assert code == 3
    assert "column 'paid' alone tells" in said
    assert "feasible: the features answer better" in said
    code, said = kedge("labels", "labelled.parquet", "--label", "late", "--ignore", "paid,pilot", "--json")
    report = json.loads(said)
    assert report["labels"]["findings"] == []
    assert {each["column"] for each in report["labels"]["features"]} == {"flight_id", "origin", "distance", "departs_at"}
    with pytest.raises(ConfigError, match="--label"):
        kedge("labels", "flights")


def test_columns_of_any_type_are_profiled_and_drafted(project):
    odd = pl.DataFrame(
        {
            "day": [START.date()] * 300,
            "clock": [START.time()] * 300,
            "long": [timedelta(hours=1)] * 300,
            "list": [[1], None, [2, 3]] * 100,
            "group": [{"a": 1}, None, {"a": 2}] * 100,
            "bytes": [b"x", None, b"y"] * 100,
            "nothing": [None] * 300,
        }
    )
    odd.write_parquet("odd.parquet")
    assert kedge("profile", "odd.parquet")[0] == 0
    assert kedge("suggest", "odd.parquet")[0] == 0
    assert kedge("validate", "odd.parquet")[0] == 0
    odd.clear().write_parquet("none.parquet")
    assert kedge("profile", "none.parquet")[0] == 0


def test_rows_that_cannot_be_read_to_their_end_are_one_clear_error(project):
    lines = "".join(f"{n},{n}\n" for n in range(10_001))
    (project / "late.csv").write_text(f"id,minutes\n{lines}12345,Jo Doe\n")  # types are told by the first 10,000 rows
    (project / "rules.toml").write_text('[[expectation]]\nrule = "between"\ncolumn = "id"\nat_most = 10000\n')
    with pytest.raises(SourceFailed, match=r"late.csv: it cannot be read"):
        kedge("validate", "late.csv", "--expectations", "rules.toml", "--failing", "out.csv")
    assert not list(project.glob("*out.csv*"))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_profile_is_read_at_a_glance_in_any_terminal(project, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, said = kedge("profile", "flights")
    lines = said.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= width
    assert any("departs_at" in line and "time" in line for line in lines)  # a name is not cut in pieces
    assert any("2013-01-01" in line and "2013-01-17 15:00" in line for line in lines)
    assert "all different, such as F0" in said
    assert "EWR 50.0 %, JFK 50.0 %" in said
    assert len(lines) <= 2 + 2 * len(ROWS.columns)


def test_a_diff_counts_as_people_do(project):
    records = open_records(settings(project))
    edited = ROWS.with_columns(distance=pl.when(pl.col("flight_id") == "F7").then(1.5).otherwise("distance"))
    records.tables.commit(edited, "flights", actor="person:jo")
    records.close()
    code, said = kedge("diff", "flights@1", "@2")
    assert code == 0
    assert "0 rows added, 0 removed, 1 changed, 399 the same (by flight_id)" in said
    assert "~ distance: 1 value changed" in said
