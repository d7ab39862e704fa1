"""`kedge monitor compare`, from files and versions to the page and the exit code."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

import kedge
from kedge.cli.main import application
from kedge.domain.comparing import FrameComparison
from kedge.errors import NotFound, RequestInvalid, SourceFailed

OLD = pl.DataFrame({"a": [n / 10 for n in range(400)], "k": ["x", "y"] * 200})
NEW = pl.DataFrame({"a": [n / 10 + 30 for n in range(400)], "k": ["x", "<b>"] * 200})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDGE_STORE", raising=False)
    OLD.write_parquet("old.parquet")
    NEW.write_csv("new.csv")
    return tmp_path


def run(*words, code=0):
    done = CliRunner().invoke(application(["monitor", "compare"]), ["monitor", "compare", *words], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_files_need_no_store_and_the_exit_code_says_that_something_moved(here) -> None:
    shown = run("old.parquet", "new.csv")
    assert "2 of 2 columns moved" in shown
    assert "(limit 0.1); chance p < 1e-4; mean" in " ".join(shown.split())
    assert not (here / ".kedge").exists()
    run("old.parquet", "new.csv", "--fail-on-drift", code=3)
    assert "none of 2 columns moved" in run("old.parquet", "old.parquet", "--fail-on-drift")


def test_json_is_the_whole_comparison(here) -> None:
    found = json.loads(run("old.parquet", "new.csv", "--json", "--test", "a=ks", "--test", "psi", "--threshold", "psi=0.3"))
    a, k = sorted(found["columns"], key=lambda column: column["name"])
    assert [measure["test"] for measure in a["measures"]] == ["ks"]
    assert (k["measures"][0]["test"], k["measures"][0]["threshold"]) == ("psi", 0.3)
    assert found["rows_current"] == 400


def test_the_page_is_one_file_without_script_or_address_and_escapes_values(here) -> None:
    run("old.parquet", "new.csv", "--html", "out.html", "--together", "classifier")
    page = (here / "out.html").read_text()
    assert len(page) < 200_000
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert "&lt;b&gt;" in page or "&#39;&lt;b&gt;&#39;" in page
    assert "<b>" not in page
    assert page.count('class="chart spark"') == 2


def test_versions_by_name_and_frames_of_pandas_and_arrow(here) -> None:
    kedge.data.commit(OLD, "people")
    kedge.data.commit(NEW, "people")
    assert "people@v2 (400 rows) against people@v1" in run("people@v1", "people").replace("\n", " ")
    found = kedge.monitoring.compare("people@v1", NEW.to_arrow())
    assert isinstance(found, FrameComparison)
    assert found.moved
    assert not kedge.monitoring.compare(OLD.to_arrow(), "people@v1").moved
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": OLD["a"].to_list(), "k": OLD["k"].to_list()})
    assert not kedge.monitoring.compare(frame, OLD.lazy()).moved
    with pytest.raises(SourceFailed, match="current frame"):
        kedge.monitoring.compare(OLD, pandas.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(SourceFailed, match="current frame"):
        kedge.monitoring.compare(OLD, [{"a": 1}])


def test_more_rows_than_are_measured_are_sampled_evenly_and_that_is_said(here) -> None:
    for side in (OLD, OLD.lazy(), "old.parquet"):
        found = kedge.monitoring.compare(side, NEW, rows=150)
        assert (found.rows_reference, found.measured_reference) == (400, 134)
        assert "measured on 134 of 400 rows, evenly spread" in found.notes[0]


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (("nobody", "old.parquet"), NotFound, "no store"),
        (("lost.parquet", "old.parquet"), SourceFailed, "lost.parquet"),
        (("old.parquet", "new.csv", "--threshold", "a=much"), RequestInvalid, "'much' is not a number"),
        (("old.parquet", "new.csv", "--test", "zz=ks"), RequestInvalid, "'zz' is not in both"),
        (("old.parquet", "new.csv", "--column", "none"), RequestInvalid, "has no column .none."),
        (("old.parquet", "new.csv", "--html", "no/where.html"), RequestInvalid, "cannot be written"),
    ],
)
def test_what_cannot_be_is_one_clear_error(here, words, error, says) -> None:
    with pytest.raises(error, match=says):
        run(*words)


def test_profiles_of_files_and_versions_add_up_and_leave_personal_columns_out(here) -> None:
    kedge.data.commit(OLD, "people")
    reference = kedge.monitoring.profile("people")
    again = kedge.monitoring.profile("old.parquet", like=reference)
    assert again.columns == reference.columns
    assert kedge.monitoring.merge(reference, again).rows == 800
    with pytest.raises(RequestInvalid, match="different bins; count the second one with like="):
        kedge.monitoring.merge(reference, kedge.monitoring.profile(NEW))


def test_a_path_is_a_file_too(here) -> None:
    found = kedge.monitoring.compare(here / "old.parquet", here / "new.csv")
    assert [column.name for column in found.moved_columns] == ["a", "k"]
    assert kedge.monitoring.profile(here / "old.parquet").rows == 400
    with pytest.raises(RequestInvalid, match=r"notes\.txt is no Parquet or CSV file"):
        kedge.monitoring.profile(here / "notes.txt")


def test_what_people_bring_is_compared(here) -> None:
    columns = OLD.to_dict(as_series=False)
    for brought in (columns, {"a": OLD["a"].to_numpy(), "k": columns["k"]}, OLD.to_arrow().to_batches()[0], OLD.lazy()):
        assert not kedge.monitoring.compare("old.parquet", brought).moved
        assert kedge.monitoring.compare(brought, NEW).moved


@pytest.mark.parametrize("with_store", [False, True])
def test_a_file_that_is_no_table_is_said_to_be_one(here, with_store) -> None:
    if with_store:
        kedge.data.commit(OLD, "known")
    (here / "notes.txt").write_text("no table")
    said = r"notes.txt is a file, and no table that can be read: those end with \.parquet, \.csv, "
    for sides in (("notes.txt", "old.parquet"), ("old.parquet", "notes.txt")):
        with pytest.raises(RequestInvalid, match=said):
            run(*sides)
        with pytest.raises(RequestInvalid, match=said):
            kedge.monitoring.compare(*sides)
    with pytest.raises(RequestInvalid, match=said):
        kedge.data.profile("notes.txt")
    with pytest.raises(NotFound, match="there is no dataset 'other'" if with_store else "there is no store"):
        run("other", "old.parquet")


def test_a_dataset_may_bear_the_name_of_a_file(here) -> None:
    kedge.data.commit(OLD, "people")
    (here / "people").write_text("no table")
    assert "none of 2 columns moved" in run("people", "old.parquet")


def test_files_are_those_of_the_folder_where_one_stands(here, monkeypatch) -> None:
    (here / "kedge.toml").write_text('[project]\nname = "mine"\n')
    (here / "below").mkdir()
    NEW.write_parquet(here / "below/old.parquet")
    monkeypatch.chdir(here / "below")
    assert "2 of 2 columns moved" in run("../old.parquet", "old.parquet")
    assert kedge.data.profile("old.parquet").columns[0].name == "a"
