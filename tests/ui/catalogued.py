"""A catalogue as months of work leave it: tables with profiles and reports, folders, personal columns, diffs."""

import math
import random
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
from tests.ui.filled import FilledHouse

from kedge.domain.catalogue import EntryChange, NoteChange
from kedge.domain.comparing import FrameComparison
from kedge.domain.data import (
    Bar,
    Breach,
    Column,
    ColumnSummary,
    ColumnType,
    DatasetKind,
    DatasetVersion,
    Expectation,
    Frequency,
    Part,
    Rule,
    Schema,
    Severity,
    TableProfile,
    ValidationReport,
)
from kedge.domain.data_diff import (
    ChangedCell,
    ChangedFile,
    ColumnChange,
    DatasetDiff,
    ExampleRow,
    FileChange,
    FilesDiff,
    MovedColumn,
    SchemaChange,
    TableDiff,
    side_of,
)
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.tracking import DatasetInput
from kedge.monitoring.comparing.comparison import ComparedSide, compare_sides
from kedge.monitoring.comparing.rules import wished
from kedge.ports import MetaStore

NOW = datetime(2013, 12, 30, 9, tzinfo=UTC)
ADA = "person:ada"
SECRET = "ann@example.org"
RIDES, RAW, STALE = "rides", "data-raw", "weather.hourly"
COLUMNS = (
    ("ride_id", ColumnType.INTEGER),
    ("email", ColumnType.STRING),
    ("fare", ColumnType.FLOAT),
    ("distance", ColumnType.FLOAT),
    ("payment", ColumnType.STRING),
    ("started_at", ColumnType.TIME),
    ("tipped", ColumnType.BOOLEAN),
    ("a_column_with_a_very_long_name_that_must_be_cut_somewhere", ColumnType.FLOAT),
)


def happened(meta: MetaStore, name: str, *key: object, at: datetime, edges: tuple[Edge, ...] = ()) -> Event:
    return Event(
        key=digest_of("catalogued", name, *key),
        kind=EventKind.DATASET_COMMITTED,
        at=at,
        subject=name,
        actor=ADA,
        message=f"a version of {name!r} was committed",
        edges=edges,
    )


def bell(middle: float, wide: float, rows: int, *, low: float, high: float, bins: int = 20) -> tuple[Bar, ...]:
    step = (high - low) / bins
    weights = [math.exp(-(((low + step * (place + 0.5) - middle) / wide) ** 2) / 2) for place in range(bins)]
    total = sum(weights)
    return tuple(
        Bar(low + step * place, low + step * (place + 1), round(rows * weight / total))
        for place, weight in enumerate(weights)
    )


def table(name: str, number: int, *, hostile: str = "") -> DatasetVersion:
    at = NOW - timedelta(days=40 - 3 * number)
    rows = 12_000 + 1_870 * number
    columns = tuple(Column(name=f"{column}{hostile}", type=kind) for column, kind in COLUMNS)
    return DatasetVersion(
        dataset=DatasetName(name),
        number=number,
        digest=digest_of("catalogued", name, number),
        schema=Schema(columns),
        parts=tuple(Part(digest=digest_of(name, part), rows=rows // number, bytes=310_000) for part in range(number)),
        rows=rows,
        order="",
        created_at=at,
        key=("ride_id",),
        bytes=310_000 * number,
        message=f"week {number} of the rides{hostile}",
        actor=ADA,
        source="warehouse.rides",
    )


def profile(version: DatasetVersion, *, hostile: str = "") -> TableProfile:
    rows = version.rows
    top = (Frequency(f"card{hostile}", rows // 2), Frequency("cash", rows // 3), Frequency("", rows // 9))

    def number(name: str, middle: float, wide: float, *, low: float, high: float, missing: int = 0) -> ColumnSummary:
        spread = tuple(middle + wide * z for z in (-2.3, -1.6, -0.7, 0.0, 0.7, 1.6, 2.3))
        return ColumnSummary(
            name=f"{name}{hostile}",
            type=ColumnType.FLOAT,
            missing=missing,
            distinct=rows // 3,
            least=low,
            greatest=high,
            mean=middle,
            deviation=wide,
            quantiles=spread,
            bins=bell(middle, wide, rows - missing, low=low, high=high),
        )

    first = (NOW - timedelta(days=400)).timestamp()
    columns = (
        ColumnSummary(
            name=f"ride_id{hostile}",
            type=ColumnType.INTEGER,
            distinct=rows,
            least=1,
            greatest=rows,
            bins=tuple(Bar(1 + place * rows / 10, 1 + (place + 1) * rows / 10, rows // 10) for place in range(10)),
        ),
        ColumnSummary(name=f"email{hostile}", type=ColumnType.STRING, distinct=rows // 4, top=(Frequency(SECRET, 7),)),
        number("fare", 17.4, 6.0, low=-3.2, high=88.0, missing=41),
        number("distance", 4.1, 2.2, low=0.0, high=31.7),
        ColumnSummary(name=f"payment{hostile}", type=ColumnType.STRING, distinct=5, top=top, shortest=0, longest=4),
        ColumnSummary(
            name=f"started_at{hostile}",
            type=ColumnType.TIME,
            distinct=rows,
            least=first,
            greatest=NOW.timestamp(),
            bins=bell(first + 2e7, 6e6, rows, low=first, high=NOW.timestamp()),
        ),
        ColumnSummary(
            name=f"tipped{hostile}",
            type=ColumnType.BOOLEAN,
            distinct=2,
            top=(Frequency("true", rows // 3), Frequency("false", rows // 2)),
        ),
    )
    return TableProfile(
        dataset=version.dataset,
        version=version.digest,
        rows=rows,
        columns=columns,
        created_at=version.created_at,
        duplicates=3,
    )


def report(version: DatasetVersion, chance: random.Random, *, hostile: str = "") -> ValidationReport:
    aside = 0 if version.number % 3 == 0 else chance.randrange(20, 400)
    breaches = [
        Breach(
            expectation=Expectation(rule=Rule.BETWEEN, column="fare", at_least=0, severity=Severity.QUARANTINE),
            rows=aside,
            examples=("ride_id 7: -3.2",),
            message=f"column 'fare': {aside} of {version.rows} rows break 'at least 0' (ride_id 7: -3.2; ...){hostile}",
        )
    ] * bool(aside)
    if version.number == 4:
        breaches.append(
            Breach(
                expectation=Expectation(rule=Rule.UNIQUE, column=f"email{hostile}"),
                rows=12,
                examples=(f"ride_id 3: '{SECRET}'",),
                message=f"column 'email': 12 of {version.rows} rows break 'each value once' (ride_id 3: '{SECRET}'; ...)",
            )
        )
    return ValidationReport(
        dataset=version.dataset,
        version=version.digest,
        passed=version.number != 4,
        rows=version.rows,
        breaches=tuple(breaches),
        quarantined=aside,
    )


def write_catalogue(house: FilledHouse, *, versions: int = 12, hostile: str = "") -> None:
    """Fill the catalogue of a house; its diffs too."""
    meta, room, chance = house.meta, house.catalogue, random.Random(5)
    for number in range(1, versions + 1):
        version = table(RIDES, number, hostile=hostile)
        meta.datasets.add(version, happened(meta, RIDES, number, at=version.created_at))
        meta.datasets.add_profile(profile(version, hostile=hostile))
        meta.datasets.add_report(
            report(version, chance, hostile=hostile), happened(meta, RIDES, "report", number, at=version.created_at)
        )
    _describe(house, hostile=hostile)
    old = msgspec.structs.replace(table(STALE, 1), parts=(), key=(), message="", source="", bytes=0)
    meta.datasets.add(old, happened(meta, STALE, 1, at=old.created_at))
    room.describe(STALE, EntryChange(owner="bob", fresh_within="2d", description="Observations, hourly."), actor=ADA)
    _files(house, hostile=hostile)
    _uses(house, versions)
    for name in ("audit.log", "planes", "airports", "zones"):
        plain = msgspec.structs.replace(table(name, 1), message="", source="")
        meta.datasets.add(plain, happened(meta, name, 1, at=plain.created_at))
    house.compared = lambda where, named: msgspec.json.encode(comparison_of(*named, hostile=hostile))
    house.diffed = lambda where, named: msgspec.json.encode(
        diff_of(house, named[0], named[1], after=named[2], hostile=hostile)
    )


def _describe(house: FilledHouse, *, hostile: str) -> None:
    notes = (
        NoteChange(name=f"email{hostile}", meaning="who rode", personal=True),
        NoteChange(name=f"fare{hostile}", meaning=f"what the ride cost, tolls and taxes in it{hostile}", unit="USD"),
        NoteChange(name=f"distance{hostile}", meaning="as the meter has it", unit="mi"),
    )
    change = EntryChange(
        owner=f"ada{hostile}"[:200],
        description=f"Every ride of the yellow cabs, by the week.\nThe delay of a payment is up to three days.{hostile}",
        tags=("gold", f"billing{hostile}"[:200]),
        source="the warehouse's table rides",
        fresh_within="7d",
        columns=notes,
    )
    house.catalogue.describe(RIDES, change, actor=ADA)
    newest = house.catalogue.get(RIDES).newest
    assert newest is not None
    house.catalogue.tag(RIDES, "training", reference=str(max(1, newest.number - 3)), actor=ADA)
    house.catalogue.tag(RIDES, "published", reference="", actor=ADA)


def _files(house: FilledHouse, *, hostile: str) -> None:
    for number in (1, 2):
        files = {f"2013-{month:02}/day-{day:02}.csv": b"x" * (900 * day) for month in range(1, 4) for day in range(1, 9)}
        files |= {"README.md": b"# raw", f"odd name{hostile[:60].replace('/', '|')}.csv": b"1"}
        if number == 2:
            files |= {"2013-03/day-09.csv": b"new"}
        tree = house.blobs.put_tree(files)
        version = DatasetVersion(
            dataset=DatasetName(RAW),
            number=number,
            digest=tree,
            schema=Schema(()),
            parts=(),
            rows=0,
            order="",
            created_at=NOW - timedelta(days=9 - number),
            kind=DatasetKind.FILES,
            tree=tree,
            files=len(files),
            bytes=sum(map(len, files.values())),
            actor=ADA,
            source="data/raw",
        )
        house.meta.datasets.add(version, happened(house.meta, RAW, number, at=version.created_at))


def _uses(house: FilledHouse, versions: int) -> None:
    home = house.logging.create_experiment("fares").id
    for number in range(4):
        run = house.logging.create_run(home, name=f"fares-{number}", started_at=NOW - timedelta(days=number), user="ada").id
        digest = digest_of("catalogued", RIDES, max(1, versions - number))
        house.logging.log_inputs(
            run,
            datasets=[
                DatasetInput(
                    name=RIDES,
                    digest=digest[:12],
                    source_type="kedge",
                    source="{}",
                    tags={"mlflow.data.context": "training"},
                )
            ],
        )
    made = Node(NodeKind.MODEL_VERSION, "flights@5")
    edge = Edge(made, Node(NodeKind.DATASET_VERSION, digest_of("catalogued", RIDES, versions)), "training data")
    house.meta.events.append(happened(house.meta, RIDES, "uses", at=NOW, edges=(edge,)))


def diff_of(house: FilledHouse, name: str, before: int, *, after: int, hostile: str = "") -> DatasetDiff:
    """Make the diff that a job would find."""
    old, new = (house.meta.datasets.find(DatasetName(name), number) for number in (before, after))
    assert old is not None
    assert new is not None
    if new.kind is DatasetKind.FILES:
        return _files_diff(old, new)
    if before == after:
        return TableDiff(before=side_of(old), after=side_of(new), key=new.key, unchanged=new.rows)

    def moved(column: str, far: float, *, at: tuple[float, float], missing: int = 0) -> MovedColumn:
        return MovedColumn(
            name=f"{column}{hostile}",
            type=ColumnType.FLOAT,
            distances={"psi": far, "wasserstein": far / 4},
            rows_before=old.rows,
            rows_after=new.rows,
            missing_after=missing,
            mean_before=at[0],
            mean_after=at[1],
            bins_before=bell(at[0], 6, old.rows, low=0, high=40),
            bins_after=bell(at[1], 7, new.rows, low=0, high=40),
            moved=far > 0.2,
        )

    payment = MovedColumn(
        name="payment",
        type=ColumnType.STRING,
        distances={"psi": 0.04},
        rows_before=old.rows,
        rows_after=new.rows,
        top_before=(Frequency("card", 7000), Frequency("cash", 5000)),
        top_after=(Frequency("card", 9000), Frequency("cash", 4100)),
    )
    email = msgspec.structs.replace(moved("email", 0.3, at=(1, 2)), type=ColumnType.STRING)
    return TableDiff(
        before=side_of(old),
        after=side_of(new),
        key=("ride_id",),
        schema=(
            SchemaChange(column=f"surcharge{hostile}", change=ColumnChange.ADDED, after=ColumnType.FLOAT),
            SchemaChange(column="zone", change=ColumnChange.RETYPED, before=ColumnType.INTEGER, after=ColumnType.STRING),
        ),
        added=1870,
        removed=12,
        changed=240,
        unchanged=old.rows - 252,
        changed_cells={"fare": 240},
        columns=(
            moved("fare", 0.41, at=(15.1, 19.0), missing=41),
            email,
            payment,
            moved("distance", 0.01, at=(9, 9)),
        ),
        examples_added=_rows(hostile, 5, before=False),
        examples_removed=_rows(hostile, 3, before=True),
        examples_changed=tuple(
            ExampleRow(
                key=(str(40 + place),),
                cells=(
                    ChangedCell(column="fare", before=str(10 + place), after=f"{12.5 + place}"),
                    ChangedCell(column=f"email{hostile}", before=SECRET, after=f"new{SECRET}"),
                ),
            )
            for place in range(4)
        ),
    )


def _rows(hostile: str, count: int, *, before: bool) -> tuple[ExampleRow, ...]:
    def cell(column: str, value: str | None) -> ChangedCell:
        return ChangedCell(column=column, before=value if before else None, after=None if before else value)

    return tuple(
        ExampleRow(
            key=(str(place),),
            cells=(
                cell(f"email{hostile}", SECRET),
                cell("fare", f"{place}.5"),
                cell("payment", f"card{hostile}"),
                cell("zone", None),
            ),
        )
        for place in range(count)
    )


def _files_diff(old: DatasetVersion, new: DatasetVersion) -> FilesDiff:
    one, two, three, four = [Digest(digest_of("file", place)) for place in range(4)]
    files = (
        ChangedFile(path="2013-03/day-09.csv", change=FileChange.ADDED, after=one, bytes_after=3),
        ChangedFile(path="README.md", change=FileChange.CHANGED, before=two, after=three, bytes_before=5, bytes_after=9),
        ChangedFile(path="old.csv", change=FileChange.REMOVED, before=four, bytes_before=1200),
        ChangedFile(
            path="b.csv", was="a.csv", change=FileChange.MOVED, before=four, after=four, bytes_before=7, bytes_after=7
        ),
    )
    sides = {"before": side_of(old), "after": side_of(new)}
    return FilesDiff(**sides, added=1, changed=1, removed=1, moved=1, unchanged=24, files=files)


def comparison_of(reference: str, current: str, rules: str, together: str, *, hostile: str = "") -> FrameComparison:
    """Compare two seeded frames, as rides might have moved: numbers, labels, times, something odd, something personal."""
    frames = []
    for seed, moved in ((0, 0.0), (1, 0.0 if reference == current else 0.6)):
        turns = np.random.default_rng(seed)
        frames.append(
            pl.DataFrame(
                {
                    f"fare{hostile}": np.exp(turns.normal(2 + moved / 2, 0.6, 900)),
                    "distance": turns.gamma(2, 2, 900),
                    "paid by": turns.choice(["card", "cash", *([f"app{hostile}"] if moved else [])], 900),
                    "tip": np.where(turns.random(900) < 0.1 + moved / 5, np.nan, turns.random(900)),
                    "at": [NOW + timedelta(minutes=31 * place) for place in range(900)],
                    "email": [f"{place}@example.org" for place in range(900)],
                    ("toll" if moved else "zone"): turns.integers(0, 4, 900),
                }
            )
        )
    sides = [
        ComparedSide(name, rows, len(rows), frozenset({"email"}))
        for name, rows in zip((reference, current), frames, strict=True)
    ]
    wishes = wished(rules, tests=None, test=None, thresholds=None, threshold=None, bins=None)
    return compare_sides(sides[0], sides[1], wishes=wishes, joint=(together,) if together else ())
