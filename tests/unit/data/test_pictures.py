"""Pictures of columns: every bin inside the frame, wide bins by area, nothing of what is personal."""

import re

import pytest
from tests.unit.data.memory import Clock

from kedge.domain.catalogue import QualityPoint
from kedge.domain.data import Bar, ColumnSummary, ColumnType, Frequency
from kedge.domain.data_diff import MovedColumn
from kedge.domain.ids import Digest
from kedge.web import datapictures as drawn


def column(**more: object) -> ColumnSummary:
    return ColumnSummary(**({"name": "fare", "type": ColumnType.FLOAT} | more))  # type: ignore[arg-type]


def bars(picture: str) -> list[tuple[float, float, float]]:
    """Read left, width, height of each bar."""
    found = re.findall(r'<rect class="fill \w+" x="([\d.-]+)" y="[\d.-]+" width="([\d.]+)" height="([\d.]+)"', picture)
    return [(float(x), float(width), float(height)) for x, width, height in found]


def test_the_last_bin_of_whole_numbers_is_as_wide_as_the_others() -> None:
    hours = (*(Bar(float(hour), float(hour + 1), 10) for hour in range(5)), Bar(5.0, 5.0, 10))
    found = bars(drawn.column_picture(column(bins=hours), 60))
    assert len(found) == 6
    assert {round(width, 1) for _, width, _ in found} == {29.0}
    assert len({height for *_, height in found}) == 1


def test_a_wide_bin_is_drawn_by_area() -> None:
    narrow, wide = bars(drawn.column_picture(column(bins=(Bar(0.0, 1.0, 10), Bar(1.0, 11.0, 10))), 20))
    assert wide[1] > 9 * narrow[1]
    assert narrow[2] > 8 * wide[2]


@pytest.mark.parametrize("bins", [(Bar(7.0, 7.0, 3),), (Bar(0.0, 1.0, 0), Bar(1.0, 1.0, 0), Bar(1.0, 2.0, 0))])
def test_bins_without_width_or_rows_stay_inside(bins: tuple[Bar, ...]) -> None:
    for left, width, height in bars(drawn.column_picture(column(bins=bins), 3)):
        assert 0 <= left <= left + width <= 181
        assert height >= 0


def test_the_most_frequent_values_and_the_others() -> None:
    top = tuple(Frequency(f"value {place}", 100 - place) for place in range(12))
    one = column(type=ColumnType.STRING, top=top, distinct=40)
    assert len(bars(drawn.column_picture(one, 5000))) == 9
    assert drawn.top_words(one, 5000) == "value 0 2 %, value 1 2 %, 38 more"
    assert drawn.top_words(column(top=(Frequency("", 3), Frequency("x" * 40, 1)), distinct=2), 4).startswith("(empty) 75 %")


def test_what_is_personal_or_empty_has_no_picture() -> None:
    assert drawn.column_picture(column(personal=True, bins=(Bar(0.0, 1.0, 3),)), 3) == ""
    assert drawn.column_picture(column(), 3) == ""
    moved = MovedColumn(name="a", type=ColumnType.FLOAT, distances={}, bins_before=(Bar(0.0, 1.0, 3),), personal=True)
    assert drawn.moved_picture(moved) == ""
    assert drawn.moved_picture(MovedColumn(name="a", type=ColumnType.FLOAT, distances={})) == ""


def test_values_that_are_new_are_drawn_beside_those_that_are_gone() -> None:
    moved = MovedColumn(
        name="pay",
        type=ColumnType.STRING,
        distances={},
        rows_before=10,
        rows_after=20,
        missing_after=5,
        top_before=(Frequency("cash", 8),),
        top_after=(Frequency("cash", 6), Frequency("card", 4)),
    )
    picture = drawn.moved_picture(moved)
    assert len(bars(picture)) == 3
    assert 'aria-label="pay, before and after"' in picture


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (column(least=2013.0, greatest=2013.0), "2013 to 2013"),
        (column(least=-3.25, greatest=1234567.0), "−3.25 to 1,234,567"),
        (column(type=ColumnType.TIME, least=0.0, greatest=86400.0 * 365), "1970-01-01 to 1971-01-01"),
        (column(type=ColumnType.TIME, least=1e300, greatest=1e300), "1e+300 to 1e+300"),
        (column(), ""),
    ],
)
def test_ranges_in_words(one: ColumnSummary, says: str) -> None:
    assert drawn.range_words(one) == says


def test_what_is_usual() -> None:
    assert drawn.middle_words(column(quantiles=(0.0, 0.0, 0.0, 17.25, 0.0, 0.0, 0.0))) == "median 17.25"
    assert drawn.middle_words(column(mean=0.5)) == "mean 0.5"
    assert drawn.middle_words(column()) == drawn.middle_words(column(type=ColumnType.TIME, mean=1.0)) == ""


def test_a_name_that_is_markup_stays_text() -> None:
    picture = drawn.column_picture(column(name='<b>"', bins=(Bar(0.0, 1.0, 1),)), 1)
    assert "<b>" not in picture


@pytest.mark.parametrize("values", [[(3, 10.0)], [(1, 0.0), (2, 0.0)], [(1, 5.0), (2, 1e9), (9, 3.0)]])
def test_growth_of_one_or_many_versions(values: list[tuple[int, float]]) -> None:
    picture = drawn.growth_figure(values, "Rows")
    assert picture.count("<svg") == 3
    assert "nan" not in picture


def test_quality_over_time_marks_what_was_refused() -> None:
    points = [
        QualityPoint(
            at=Clock().now(), number=number, version=Digest("d"), passed=number != 2, rows=rows, quarantined=rows // 9
        )
        for number, rows in ((1, 0), (2, 90), (3, 8))
    ]
    picture = drawn.quality_figure(points)
    assert picture.count('class="alarm"') == 3
    assert "1 refused" in picture
