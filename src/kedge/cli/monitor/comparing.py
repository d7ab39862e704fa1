"""`kedge monitor compare`: any table against any other, in the terminal, as JSON, as a page of one file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kedge.cli.data.opening import recorded, recorded_if_any
from kedge.cli.options import Json, Store, print_json
from kedge.cli.showing import plain
from kedge.data.quality.room import is_file
from kedge.domain.comparing import ComparedColumn, FrameComparison, is_logged
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing.room import MOST_ROWS, CompareWishes, NamedRows
from kedge.monitoring.comparing.wording import chance_words, change_words, measure_words, sizes, summary, together_words
from kedge.records import naming_tables

Side = Annotated[
    str,
    typer.Argument(
        help="A dataset (NAME, NAME@v3, NAME@TAG), a Parquet or CSV file, predictions:MODEL@FROM..TO, or reference:MODEL@v3."
    ),
]
_BLOCKS = " ▁▂▃▄▅▆▇█"
_SHOWN = 20
_NAMED, _WIDE = 34, 12
NO = 3


def compare(
    reference: Side,
    current: Side,
    rules: Annotated[str, typer.Option(help="kedge, evidently or nannyml: how it is decided what moved.")] = "kedge",
    test: Annotated[list[str] | None, typer.Option(help="TEST of all columns, or COLUMN=TEST; may be repeated.")] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="A number for all, or COLUMN=NUMBER, TEST=NUMBER; may be repeated.")
    ] = None,
    bins: Annotated[str | None, typer.Option(help="profile, sturges, or a number of bins of one width.")] = None,
    together: Annotated[list[str] | None, typer.Option(help="classifier or energy: all columns in one question.")] = None,
    column: Annotated[list[str] | None, typer.Option("--column", help="Only this column; may be repeated.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Not this column; may be repeated.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows of each side are measured at most.")] = MOST_ROWS,
    chunk_rows: Annotated[int | None, typer.Option(min=1, help="Rows of a chunk under the rules of nannyml.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Also write a page of one file.")] = None,
    whole: Annotated[bool, typer.Option("--all", help="Show every column, not the first twenty.")] = False,
    fail: Annotated[bool, typer.Option("--fail-on-drift", help="Exit with 3 if something moved.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Compare any table with any other: what moved, how far, how sure. Distances are shown; they are no alarm."""
    of_all, tests = _named(test or [])
    plain_limits, limits = _named(threshold or [])
    wishes = CompareWishes(
        columns=tuple(column or ()),
        ignore=tuple(ignore or ()),
        rules=rules,
        test=tuple(of_all) or None,
        tests={name: tuple(wanted) for name, wanted in tests.items()},
        threshold=_number(plain_limits[-1]) if plain_limits else None,
        thresholds={name: _number(wanted[-1]) for name, wanted in limits.items()},
        bins=int(bins) if bins is not None and bins.isdecimal() else bins,
        together=tuple(together or ()),
        chunk_rows=chunk_rows,
        rows=rows,
    )
    sides, logged = _sides(reference, current, store=store)
    if len(logged) == 1 and not column:  # a table holds keys and labels, too; of a window only features are compared
        wishes = wishes._replace(columns=tuple(logged[0].rows.columns))
    needed = [side for side in sides if isinstance(side, str) and not is_file(side)]
    with naming_tables(*needed), recorded(store) if needed else recorded_if_any(store) as records:
        found = records.comparing.compare(sides[0], sides[1], wishes=wishes)
    if html is not None:
        _write(found, html)
    if as_json:
        print_json(found)
    else:
        show_comparison(found, whole=whole)
        if html is not None:
            typer.echo(f"The page is in {html}")
    if fail and found.moved:
        raise typer.Exit(NO)


def _sides(reference: str, current: str, *, store: str | None) -> tuple[list[str | NamedRows], list[NamedRows]]:
    """Give both sides, what was logged read; and those that were."""
    given = [reference, current]
    if not any(map(is_logged, given)):
        return [*given], []
    from kedge.cli.monitor.windows import logged

    sides = logged(given, store)
    return sides, [side for side in sides if isinstance(side, NamedRows)]


def _named(given: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Part plain values from those with a name: NAME=VALUE."""
    bare: list[str] = []
    by_name: dict[str, list[str]] = {}
    for one in given:
        name, is_named, value = one.rpartition("=")
        if is_named:
            by_name.setdefault(name, []).append(value)
        else:
            bare.append(one)
    return bare, by_name


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RequestInvalid(f"--threshold: {text!r} is not a number; write 0.1, COLUMN=0.1 or TEST=0.1") from None


def _write(found: FrameComparison, path: Path) -> None:
    from kedge.web.comparing import comparison_file

    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(comparison_file(found))
        part.replace(path)
    except OSError as error:
        raise RequestInvalid(f"{path} cannot be written: {error.strerror or error}; choose another file") from None


def show_comparison(found: FrameComparison, *, whole: bool) -> None:
    """Print a comparison: what moved first, a line for each column, and what is odd below it."""
    console = Console()
    style = "bold yellow" if found.moved else "bold green"
    console.print(Text.assemble((summary(found), style), ": ", plain(sizes(found))))
    shown = found.columns if whole else found.columns[:_SHOWN]
    widest = min(_NAMED, max((len(plain(column.name)) for column in shown), default=0))
    for column in shown:
        known, said = _lines(column, widest=widest)
        console.print(known)
        if said.plain:
            console.print(Padding(said, (0, 0, 0, 4)))
    if len(found.columns) > len(shown):
        console.print(Text(f"... and {len(found.columns) - len(shown)} columns more (--all)", style="dim"))
    for one in found.together:
        console.print(Text(plain(f"together: {together_words(one)}"), style="yellow" if one.moved else ""))
    for note in found.notes:
        console.print(Text(plain(note), style="dim"))


def _lines(column: ComparedColumn, *, widest: int) -> tuple[Text, Text]:
    """Write what a column looks like on both sides, and below it what was found."""
    most = max([*column.reference_shares, *column.current_shares], default=0.0)
    was, now = (_blocks(shares, most=most) for shares in (column.reference_shares, column.current_shares))
    known = Text.assemble((f"{plain(column.name):<{widest}}", "bold"), f"  {column.kind.value:<9}")
    known.append(f"{'moved' if column.moved else '':<7}", style="yellow")
    if was or now:
        known.append(f"{was:<{_WIDE}}", style="dim").append(" → ", style="dim").append(now, style="cyan")
    said = [*(note.says for note in column.odd), *(measure_words(one) for one in column.measures)]
    said += [chance_words(column), change_words(column)]
    return known, Text(plain("; ".join(filter(None, said))))


def _blocks(shares: Sequence[float], *, most: float) -> str:
    """Draw shares as blocks of a line, two bars in one where they are many; any row at all is seen."""
    if len(shares) > 12:
        pairs = [max(shares[place : place + 2]) for place in range(0, len(shares), 2)]
        shares = pairs
    return "".join(_BLOCKS[0 if not share else max(1, round(8 * share / most))] for share in shares)
