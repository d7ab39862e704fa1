"""`kedge data list | find | show | describe`: the catalogue at the terminal."""

from datetime import datetime
from typing import Annotated

import typer
from msgspec import UNSET, UnsetType

from kedge.cli.data.opening import recorded
from kedge.cli.options import Json, Store, print_json
from kedge.cli.showing import show_rows
from kedge.cli.who import person
from kedge.data.catalogue import Catalogue
from kedge.domain.catalogue import (
    CatalogueColumn,
    CatalogueFound,
    CataloguePage,
    EntryChange,
    Freshness,
    FreshState,
    NoteChange,
    Shelved,
)
from kedge.domain.counts import count, size
from kedge.domain.data import DatasetVersion
from kedge.errors import RequestInvalid

Name = Annotated[str, typer.Argument(help="The dataset.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")]
_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def listed(store: Store = None, limit: Limit = 1000, as_json: Json = False) -> None:
    """List the datasets of the catalogue."""
    with recorded(store) as records:
        page = records.catalogue.search(limit=limit)
        rows = [_row(records.catalogue, one) for one in page.found]
    if as_json:
        print_json([one.shelved for one in page.found])
        return
    show_rows(count(page.all, "dataset"), _COLUMNS, rows=rows, whole=("dataset",))


def find(text: list[str], store: Store = None, limit: Limit = 50, as_json: Json = False) -> None:
    """Find datasets by what is said of them: names, descriptions, owners, tags, columns and their meanings, sources.

    Such as: delay owner:ada -is:stale. Exits with 3 where nothing is found.
    """
    with recorded(store) as records:
        page = records.catalogue.search(" ".join(text), limit=limit)
        rows = [(*_row(records.catalogue, one)[:-1], _where(one)) for one in page.found]
    if as_json:
        print_json(page)
    elif page.total:
        show_rows(f"{page.total} of {count(page.all, 'dataset')}", (*_COLUMNS[:-1], "where"), rows=rows, whole=("dataset",))
    else:
        typer.echo(_nothing(page, " ".join(text)))
    if not page.total:
        raise typer.Exit(3)


def show(name: Name, store: Store = None, as_json: Json = False) -> None:
    """Show a dataset: what it is, its columns, its quality, who uses it."""
    with recorded(store) as records:
        room = records.catalogue
        one = room.get(name)
        columns, fresh = room.columns(one.entry, one.newest), room.freshness(one)
        report = room.report(one.newest) if one.newest else None
        uses, quality = room.uses(one), room.quality(name, limit=20)
    if as_json:
        told = {"entry": one.entry, "newest": one.newest, "tags": one.tags, "freshness": fresh, "columns": columns}
        print_json(told | {"report": report, "quality": quality, "uses": uses})
        return
    facts = [(what, text) for what, text in _facts(one, fresh) if text]
    if report is not None:
        facts.append(
            ("as expected", "yes" if report.passed else "no: " + "; ".join(each.message for each in report.breaches))
        )
    show_rows(name, ("", ""), rows=facts)
    if columns:
        show_rows(
            count(len(columns), "column"), ("column", "type", "missing", "distinct", "meaning"), rows=_columns(one, columns)
        )
    used = [
        (each.kind.value, each.name, each.role, ", ".join(f"v{number}" for number in each.versions))
        for each in (*uses.models, *uses.features, *uses.runs)
    ]
    if used:
        show_rows(f"used by {uses.count}", ("kind", "name", "as", "versions"), rows=used[:30])
    else:
        typer.echo("used by 0: no run, model or feature has read it yet")


def describe(
    name: Name,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    source: Annotated[str | None, typer.Option(help="Where its data comes from.")] = None,
    fresh_within: Annotated[str | None, typer.Option(help='How old it may be, such as "2d"; "" for any age.')] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A label to give it; may be repeated.")] = None,
    untag: Annotated[list[str] | None, typer.Option(help="A label to take from it; may be repeated.")] = None,
    column: Annotated[str | None, typer.Option(help="The column that the next three speak of.")] = None,
    meaning: Annotated[str | None, typer.Option(help="What the column means.")] = None,
    unit: Annotated[str | None, typer.Option(help="The column's unit.")] = None,
    personal: Annotated[
        bool | None, typer.Option("--personal/--not-personal", help="Whether the column's values are never shown.")
    ] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Describe a dataset; what is left out stays as it is."""
    notes = _notes(column, meaning, unit=unit, personal=personal)
    with recorded(store) as records:
        labels = records.catalogue.get(name).entry.tags
        tags = tuple(each for each in (*labels, *(tag or ())) if each not in (untag or ()))
        change = EntryChange(
            owner=_or(owner),
            description=_or(description),
            source=_or(source),
            fresh_within=_or(fresh_within),
            tags=tags if tag or untag else UNSET,
            columns=notes,
        )
        entry = records.catalogue.describe(name, change, actor=person())
    if as_json:
        print_json(entry)
    else:
        typer.echo(
            f"{name}: owner {entry.owner or 'nobody'}, {count(len(entry.columns), 'column')} described, personal: "
            f"{', '.join(sorted(entry.personal())) or 'none'}"
        )


_COLUMNS = ("dataset", "kind", "version", "rows or files", "size", "age", "owner", "what it is")


def _row(room: Catalogue, one: CatalogueFound) -> tuple[str, ...]:
    kept, newest = one.shelved, one.shelved.newest
    fresh = room.freshness(kept)
    age = span(fresh.age_seconds) + (" STALE" if fresh.state is FreshState.STALE else "")
    number = f"v{newest.number}" if newest else "none"
    what = kept.entry.description.partition("\n")[0]
    return kept.name, kept.kind.value, number, _extent(newest), held(newest), age, kept.entry.owner, what


def _notes(column: str | None, meaning: str | None, *, unit: str | None, personal: bool | None) -> tuple[NoteChange, ...]:
    if column is not None:
        mark = UNSET if personal is None else personal
        return (NoteChange(name=column, meaning=_or(meaning), unit=_or(unit), personal=mark),)
    if (meaning, unit, personal) != (None, None, None):
        raise RequestInvalid("--meaning, --unit and --personal speak of a column: name it with --column")
    return ()


def _where(one: CatalogueFound) -> str:
    """Show the texts that were meant, the words in brackets."""
    said = []
    for hit in one.hits:
        text = "".join(f"[{each.text}]" if each.hit else each.text for each in hit.pieces)
        said.append(f"{hit.field}: {text}")
    return "; ".join(said)


def _nothing(page: CataloguePage, text: str) -> str:
    near = f"; did you mean {page.near!r}?" if page.near else ""
    return f"none of {count(page.all, 'dataset')} has {text!r}{near}"


def _facts(one: Shelved, fresh: Freshness) -> list[tuple[str, str]]:
    entry, newest = one.entry, one.newest
    age = f"{span(fresh.age_seconds)} old" + (f", may be {entry.fresh_within}" if entry.fresh_within else "")
    tags = ", ".join(f"{tag} = v{number}" for tag, number in one.tags.items())
    return [
        ("kind", one.kind.value),
        ("what it is", entry.description),
        ("owner", entry.owner),
        ("tags", ", ".join(entry.tags)),
        ("source", entry.source or (newest.source if newest else "")),
        ("newest version", f"v{newest.number}, {_time(newest.created_at)} UTC {newest.digest[:12]}" if newest else "none"),
        ("freshness", f"{fresh.state.value}: {age}" if newest else fresh.state.value),
        ("holds", f"{_extent(newest)} {'rows' if newest and newest.schema.columns else 'files'}, {held(newest)}"),
        ("key", ", ".join(newest.key) if newest else ""),
        ("tagged versions", tags),
        ("personal columns", ", ".join(sorted(entry.personal()))),
    ]


def _columns(one: Shelved, columns: tuple[CatalogueColumn, ...]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for column in columns:
        summary, note = column.summary, column.note
        unit = f" [{note.unit}]" if note.unit else ""
        mark = "PERSONAL " if note.personal else ""
        missing = f"{100 * summary.missing / max(1, one.newest.rows if one.newest else 1):.3g} %" if summary else ""
        rows.append(
            (
                column.name,
                column.type.value,
                missing,
                f"{summary.distinct:,}" if summary else "",
                f"{mark}{note.meaning}{unit}",
            )
        )
    return rows


def _extent(version: DatasetVersion | None) -> str:
    return f"{version.rows or version.files:,}" if version else "0"


def held(version: DatasetVersion | None) -> str:
    """Write how many bytes a version holds."""
    return size((version.bytes or sum(part.bytes for part in version.parts)) if version else 0)


def span(seconds: float | None) -> str:
    """Write an age in its largest unit."""
    if seconds is None:
        return ""
    return next((f"{seconds / amount:.0f} {unit}" for amount, unit in _SPANS if seconds >= amount), "0 s")


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _or(text: str | None) -> str | UnsetType:
    return UNSET if text is None else text
