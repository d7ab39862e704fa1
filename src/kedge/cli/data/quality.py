"""`kedge data validate`, `suggest` and `profile`: what is expected of a table, and what it holds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from kedge.cli.data.opening import recorded, recorded_if_any
from kedge.cli.data.pictures import show_profile, show_report
from kedge.cli.options import Json, Store, print_json
from kedge.cli.who import person
from kedge.config import project_or_none, read_expectations
from kedge.data.quality.drafting import written
from kedge.data.quality.room import is_file
from kedge.data.quality.validation import Judged
from kedge.data.references import split
from kedge.domain.counts import count
from kedge.errors import ConfigError
from kedge.records import Records, naming_tables

Table = Annotated[str, typer.Argument(help="A dataset (NAME, NAME@v3, NAME@TAG), or a Parquet or CSV file.")]
Expectations = Annotated[
    str,
    typer.Option("--expectations", help='A TOML file, or "FILE.py:NAME": a list of expectations or a Pandera schema.'),
]
NO = 3


def validate(
    name: Table,
    expectations: Expectations = "",
    failing: Annotated[Path | None, typer.Option(help="Write all rows that break something to a .parquet or .csv.")] = None,
    whole: Annotated[bool, typer.Option("--all", help="Also list what holds.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Say whether a table holds what is expected of it, and which rows do not. Exit code 3: it does not."""
    with asked_of(name, store) as records:
        rules = _expected(records, name, given=expectations)
        quality = records.quality
        found = quality.validate_file(name, rules) if is_file(name) else quality.validate(name, rules, actor=person())
        if failing is not None:
            _write(found.judged, failing)
    if as_json:
        print_json(found.report)
    else:
        show_report(found.report, failing=failing, whole=whole)
    if not found.report.passed:
        raise typer.Exit(NO)


def suggest(
    name: Table,
    out: Annotated[Path | None, typer.Option(help="Where to; expectations/NAME.toml, if left out.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the draft, and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Draft expectations from what a table holds: read them, correct them, keep them in git."""
    with asked_of(name, store) as records:
        root, quality = records.settings.project, records.quality
        rules = quality.suggest_file(name) if is_file(name) else quality.suggest(name)
    if as_json:
        print_json(rules)
        return
    text = written(rules, title=f"What {name} holds.")
    if show:
        typer.echo(text, nl=False)
        return
    place = out or _home(root, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with place.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{place} is there already; write over it with --force, or look first with --show") from None
    drafted = count(len(rules), "expectation")
    typer.echo(f"{drafted} in {place}: a draft that {name} holds; read it, then: kedge data validate {name}")


def profile(
    name: Table,
    again: Annotated[bool, typer.Option("--again", help="Count again what is kept with the version.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show what the columns of a table hold: how much is missing, how values are spread."""
    with asked_of(name, store) as records:
        quality = records.quality
        found = quality.profile_file(name) if is_file(name) else quality.profile(name, again=again)
    if as_json:
        print_json(found)
    else:
        show_profile(found)


@contextmanager
def asked_of(name: str, store: str | None) -> Iterator[Records]:
    """Open what a question about a table needs: of a version its store, of a file none."""
    with naming_tables(name), recorded_if_any(store) if is_file(name) else recorded(store) as records:
        yield records


def _expected(records: Records, name: str, *, given: str) -> object:
    """Read the expectations of a table: those that were given, else those that the project keeps for it."""
    root = records.settings.project
    place = given or _kept(root, name)
    if ".py:" in place:
        return records.quality.load(place)
    rules = read_expectations(Path(place), or_else=f"draft one with: kedge data suggest {name}")
    if not rules:
        raise ConfigError(f"{place} expects nothing: write an [[expectation]], or see: kedge data suggest {name} --show")
    return rules


def _kept(root: Path, name: str) -> str:
    home, project = _home(root, name), project_or_none(root)
    if home.is_file():
        return str(home)
    if project is not None and project.dataset == split(name)[0] and project.data.expectations:
        return project.data.expectations if ".py:" in project.data.expectations else str(root / project.data.expectations)
    shared = root / "expectations.toml"
    if project is None and shared.is_file():
        return str(shared)
    raise ConfigError(
        f"nothing says what is expected of {name}: there is no {home}. Draft it with `kedge data suggest {name}`, or name "
        "a file with --expectations"
    )


def _home(root: Path, name: str) -> Path:
    """Tell where a project keeps what it expects of a table."""
    stem = Path(name).name.partition(".")[0] if is_file(name) else split(name)[0]
    return root / "expectations" / f"{stem}.toml"


def _write(judged: Judged, path: Path) -> None:
    """Write the rows that break something as they stream, and put the file in place whole."""
    rows = judged.failing()
    sinks: dict[str, Callable[[Path], object]] = {".parquet": rows.sink_parquet, ".csv": rows.sink_csv}
    if path.suffix not in sinks:
        raise ConfigError(f"{path}: rows are written as .parquet or .csv")
    part = path.with_name(f".{path.name}.part")
    try:
        sinks[path.suffix](part)
        part.replace(path)
    except pl.exceptions.PolarsError as error:
        raise judged.unreadable(error) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
