"""`kedge data labels`: what is wrong with a table's labels, and whether the data beats a trivial baseline."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kedge.cli.data.quality import NO, asked_of
from kedge.cli.opening import Json, Store, print_json
from kedge.cli.showing import plain
from kedge.config import project_or_none
from kedge.data.quality.labels import LabelTable, check_labels
from kedge.data.references import split
from kedge.domain.evaluation import METRIC_WORDS, Outcome
from kedge.domain.labels import Feasibility, LabelReport
from kedge.errors import ConfigError, RequestInvalid
from kedge.evaluation.feasibility import feasibility
from kedge.records import Records

_SHOWN = 10
_STYLES = {Outcome.PASSED: "bold green", Outcome.REFUSED: "bold red", Outcome.HELD: "bold yellow"}
_ANSWERS = {Outcome.PASSED: "feasible", Outcome.REFUSED: "not feasible", Outcome.HELD: "not known"}


class LabelsChecked(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed as JSON: the report on the labels, and whether the data beats a constant (None: not asked)."""

    labels: LabelReport
    feasibility: Feasibility | None
    why: str = ""


def labels(
    name: Annotated[str, typer.Argument(help="A dataset, or a Parquet or CSV file.")],
    label: Annotated[str, typer.Option(help="The column to predict; that of the project, if left out.")] = "",
    key: Annotated[str, typer.Option(help="The column that names a row.")] = "",
    time: Annotated[str, typer.Option(help="The column that says when an answer is wanted.")] = "",
    test: Annotated[str, typer.Option(help="A dataset or file of rows that are kept for judging.")] = "",
    classes: Annotated[str, typer.Option(help="The classes that there should be, with commas.")] = "",
    ignore: Annotated[str, typer.Option(help="Columns that no model reads, with commas.")] = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Check labels: shares, unseen classes, contradictions, leaks, rows of the test; and whether the data beats a constant.

    Exit code 3: something stops.
    """
    with asked_of(name, store) as records:
        table = _table(records, name, given=(label, key, time), test=test, ignore=_listed(ignore))
        table = LabelTable(**{**vars(table), "known": _listed(classes)})
        report, able, why = check_labels(table), None, ""
        try:
            able = feasibility(table)
        except RequestInvalid as error:
            why = str(error)
    if as_json:
        print_json(LabelsChecked(labels=report, feasibility=able, why=why))
    else:
        _show(report, able, why=why)
    if not report.passed or (able is not None and able.outcome is Outcome.REFUSED):
        raise typer.Exit(NO)


def _table(records: Records, name: str, *, given: tuple[str, str, str], test: str, ignore: tuple[str, ...]) -> LabelTable:
    label, key, time = given
    project = project_or_none(records.settings.project)
    if project is not None and project.dataset == split(name)[0]:
        rules = project.data
        label, key, time = label or rules.label, key or rules.key, time or rules.time
        ignore = (*ignore, *rules.ignore, *filter(None, (rules.label_time,)))
    if not label:
        raise ConfigError(f"which column of {name} is the label? Name it with --label")
    return records.quality.labelled(name, label, key=key, time=time, ignore=ignore, test=test)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _show(report: LabelReport, able: Feasibility | None, *, why: str) -> None:
    console = Console()
    console.print(Text(f"label {plain(report.label)} of {plain(report.dataset)}: {report.task.value}, {report.rows:,} rows"))
    if report.classes:
        told = [f"{plain(each.name)} {each.share:.1%}" for each in report.classes[:_SHOWN]]
        more = f", {len(report.classes) - _SHOWN} more" if len(report.classes) > _SHOWN else ""
        console.print(Text(f"classes: {', '.join(told)}{more}"))
    for finding in report.findings:
        word = ("stop  ", "bold red") if finding.stops else ("look  ", "yellow")
        console.print(Text.assemble(word, plain(finding.message)))
    if not report.findings:
        console.print(Text("nothing is wrong with the labels", style="green"))
    if report.features:
        table = Table(box=None, pad_edge=False)
        for head in ("what one column alone tells", "share", "ROC AUC"):
            table.add_column(head, justify="left" if head.startswith("what") else "right")
        for each in report.features[:_SHOWN]:
            auc = "" if each.roc_auc is None else f"{each.roc_auc:.3f}"
            table.add_row(Text(plain(each.column)), f"{each.skill:.1%}", auc)
        console.print(table)
    if able is None:
        console.print(Text(f"feasibility: {plain(why)}", style="yellow"))
        return
    answer = (f"{_ANSWERS[able.outcome]}: ", _STYLES[able.outcome])
    console.print(Text.assemble(answer, able.reason))
    auc = f", ROC AUC {able.roc_auc:.3f}" if able.roc_auc is not None else ""
    metric = METRIC_WORDS.get(able.metric, able.metric)
    console.print(Text(f"{metric} {able.loss:.4g}, of the best constant {able.constant:.4g}, on {able.rows:,} rows{auc}"))
