"""Personal columns are never shown, whatever shows them."""

from datetime import UTC, datetime

import msgspec

from kedge.data.personal import MASK, masked
from kedge.domain.data import (
    Bar,
    Breach,
    ColumnSummary,
    ColumnType,
    Expectation,
    Frequency,
    Rule,
    TableProfile,
    ValidationReport,
)
from kedge.domain.data_diff import (
    ChangedCell,
    ChangedFile,
    DiffSide,
    ExampleRow,
    FileChange,
    FilesDiff,
    MovedColumn,
    TableDiff,
)
from kedge.domain.ids import DatasetName, Digest

SECRET = "ann@example.org"
NAME = DatasetName("people")
DIGEST = Digest("d" * 64)
SIDE = DiffSide(dataset=NAME, number=1, digest=DIGEST)


def told(found: object) -> str:
    return msgspec.json.encode(found).decode()


def summary(name: str = "email", **more: object) -> ColumnSummary:
    plain = ColumnSummary(
        name=name,
        type=ColumnType.STRING,
        missing=3,
        distinct=7,
        least=15.0,
        bins=(Bar(15.0, 16.0, 2),),
        top=(Frequency(SECRET, 2),),
        shortest=15,
    )
    return msgspec.structs.replace(plain, **more)


def test_a_profile_keeps_counts_and_drops_values() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    profile = TableProfile(
        dataset=NAME,
        version=DIGEST,
        rows=10,
        columns=(summary(), summary("city", top=(Frequency("Rome", 3),))),
        created_at=at,
    )
    email, city = masked(profile, {"email"}).columns
    assert email == ColumnSummary(name="email", type=ColumnType.STRING, missing=3, distinct=7, personal=True)
    assert city.top == (Frequency("Rome", 3),)


def test_a_column_that_says_itself_that_it_is_personal_is_masked_without_a_mark() -> None:
    assert SECRET not in told(masked(summary(personal=True), ()))


def moved(name: str, **more: object) -> MovedColumn:
    plain = MovedColumn(
        name=name,
        type=ColumnType.STRING,
        distances={"psi": 0.3},
        mean_before=1.0,
        bins_before=(Bar(0.0, 1.0, 1),),
        top_before=(Frequency(SECRET, 4),),
        top_after=(Frequency(SECRET, 2),),
    )
    return msgspec.structs.replace(plain, **more)


def test_a_diff_masks_keys_cells_and_distributions() -> None:
    rows = (
        ExampleRow(
            key=("7", SECRET),
            cells=(
                ChangedCell(column="email", before=None, after=SECRET),
                ChangedCell(column="age", before="40", after="41"),
            ),
        ),
    )
    diff = TableDiff(
        before=SIDE,
        after=SIDE,
        key=("id", "email"),
        changed=1,
        columns=(moved("email"),),
        examples_added=rows,
        examples_removed=rows,
        examples_changed=rows,
    )
    hidden = masked(diff, {"email"})
    assert SECRET not in told(hidden)
    assert hidden.columns[0].distances == {"psi": 0.3}
    assert hidden.columns[0].personal
    assert hidden.examples_changed[0].key == ("7", MASK)
    assert hidden.examples_changed[0].cells == (
        ChangedCell(column="email", before=None, after=MASK),
        ChangedCell(column="age", before="40", after="41"),
    )
    itself = msgspec.structs.replace(diff, columns=(moved("email", personal=True),))
    assert SECRET not in told(masked(itself, ()))


def test_a_diff_of_files_has_nothing_to_mask() -> None:
    diff = FilesDiff(before=SIDE, after=SIDE, added=1, files=(ChangedFile(path="a.csv", change=FileChange.ADDED),))
    assert masked(diff, {"email"}) is diff
    assert not diff.same


def breach(column: str, *examples: str) -> Breach:
    return Breach(
        expectation=Expectation(rule=Rule.NOT_NULL, column=column),
        rows=2,
        examples=examples,
        message=f"column {column!r}: 2 of 9 rows break 'x' ({'; '.join(examples)})",
    )


def test_a_breach_names_no_personal_value_and_no_row_by_a_personal_key() -> None:
    report = ValidationReport(
        dataset=NAME,
        version=DIGEST,
        passed=False,
        rows=9,
        breaches=(
            breach("email", f"id '1': '{SECRET}'"),
            breach("age", f"email '{SECRET}': -1", "row 3: -2"),
            breach("age", "id '1': -1"),
        ),
    )
    hidden = masked(report, {"email"})
    assert SECRET not in told(hidden)
    assert hidden.breaches[1].examples == (MASK, "row 3: -2")
    assert hidden.breaches[1].message == "column 'age': 2 of 9 rows break 'x' ([personal]; row 3: -2)"
    assert hidden.breaches[2] == report.breaches[2]


def test_a_name_that_is_no_one_word_hides_its_values_as_well() -> None:
    rule = Expectation(rule=Rule.HOLDS, holds="\"home address\" LIKE '% %'")
    found = Breach(expectation=rule, rows=1, examples=(f"row 3: home address {SECRET}",), message=f"row 3: {SECRET}")
    assert masked(found, {"home address"}).examples == (MASK,)
    report = masked(breach("age", f"home address '{SECRET}': -1"), {"home address"})
    assert (report.examples, SECRET in report.message) == ((MASK,), False)


def test_an_example_that_begins_another_leaves_nothing_of_it() -> None:
    hidden = masked(breach("wage", "id 1: 2", "id 1: 250"), {"wage"})
    assert hidden.message == f"column 'wage': 2 of 9 rows break 'x' ({MASK}; {MASK})"


def test_a_rule_of_several_columns_hides_its_rows_for_any_of_them() -> None:
    for rule in (
        Expectation(rule=Rule.RELATION, column="low", relation="<", other="wage"),
        Expectation(rule=Rule.HOLDS, holds="low < wage"),
        Expectation(rule=Rule.UNIQUE, columns=("low", "wage")),
    ):
        found = Breach(expectation=rule, rows=1, examples=("row 3: low 5, wage 4",), message="broken (row 3: low 5, wage 4)")
        hidden = masked(found, {"wage"})
        assert (hidden.examples, hidden.message) == ((MASK,), f"broken ({MASK})")
        assert masked(found, {"name"}) == found
