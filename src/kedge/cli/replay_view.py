"""How a replay looks in a terminal: bars while it plays, tables at its end. Without a terminal: a line a month."""

import time
from math import floor, isfinite, log10
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from kedge.app import House
from kedge.domain.alerting import AlertKind
from kedge.domain.evaluation import METRIC_WORDS
from kedge.domain.monitoring import Window
from kedge.domain.registry import CHAMPION
from kedge.replay.report import Cost, Report

PRINTED_WIDTH = 110  # columns, where nobody's window says how many there are
DRIFTS = (AlertKind.DATA_DRIFT, AlertKind.PREDICTION_DRIFT, AlertKind.RISK)


class Screen:
    """The progress of a replay, on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[news]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._house: House | None = None
        self._month, self._looked = "", 0.0

    def __enter__(self) -> "Screen":
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Say what goes on before the first window."""
        self._console.print(text)

    def start(self, windows: int, house: House) -> None:
        """Begin the live loop's bar."""
        self._house = house
        self._tasks["live"] = self._bars.add_task("live loop", total=windows, news="training the first model")

    def window(self, done: int, window: Window) -> None:
        """Move the live loop's bar; without a terminal, print each new month."""
        month = f"{window.start:%Y-%m}"
        if self._console.is_terminal and time.monotonic() - self._looked > 0.2:
            self._looked = time.monotonic()
            self._bars.update(self._tasks["live"], completed=done, news=f"{window.start:%d %b %Y}  {self._news()}")
        elif not self._console.is_terminal and month != self._month:
            self._month = month
            self._console.print(f"{window.start:%d %b %Y}  {self._news()}")

    def live_done(self) -> None:
        """Fill the live loop's bar."""
        task = self._tasks["live"]
        self._bars.update(task, completed=self._bars.tasks[task].total, news=f"done  {self._news()}")

    def rehearsal(self, name: str, done: int, windows: int) -> None:
        """Move the bar of one rehearsed policy."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(f"rehearsing {name}", total=windows, news="")
            if not self._console.is_terminal:
                self._console.print(f"rehearsing {name}")
        self._bars.update(self._tasks[name], completed=done)

    def _news(self) -> str:
        if self._house is None:
            return ""
        meta, model = self._house.meta, self._house.spec.name
        deployment = meta.deployments.find(model)
        alerts = meta.watches.alerts(model)
        live = f"v{deployment.champion} live" if deployment else "no model yet"
        trial = f", v{deployment.challenger} on trial" if deployment and deployment.challenger else ""
        alarms = sum(alert.kind in DRIFTS for alert in alerts)
        return f"{live}{trial}, {len(meta.models.list(model))} trained, {alarms} alarms"


def print_report(made: Report) -> None:
    """Print the tables of a replay: by month, in total, by price, and each promotion with its reason."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, PRINTED_WIDTH))
    for table in (_by_month(made), _promotions(made), _in_total(made)):  # what it came to stands last: there one looks
        console.print(table)
    if any(cost.difference for cost in made.costs):  # a price says nothing where there is nothing to compare
        console.print(_by_price(made))
    alarms = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in made.alarms.items()) or "none"
    console.print(
        f"alarms: {alarms}.  candidates refused by the gate: {made.refused}.  rollbacks: {made.rollbacks}.\n"
        f"{made.seconds:.0f} s of wall time, {made.cpu_seconds:.0f} s of CPU.  state {made.digest[:16]}"
    )


def _by_month(made: Report) -> Table:
    names = list(next(iter(made.policies.values())).metrics)
    title = f"{made.project}: {made.rows:,} answers with known truth, {made.first} to {made.last}"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)  # 11 columns in 100
    table.add_column("month", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for metric in names:
        for policy in made.policies:
            table.add_column(f"{METRIC_WORDS.get(metric, metric)}\n{policy}", justify="right", no_wrap=True)
    first = next(iter(made.policies.values()))
    for month, figures in first.months.items():
        cells = [_figure(made.policies[p].months[month][m]) for m in names for p in made.policies]
        table.add_row(month, f"{figures['rows']:,.0f}", *cells)
    return table


def _in_total(made: Report) -> Table:
    table = Table(title="in total")
    table.add_column("policy")
    metrics = list(next(iter(made.policies.values())).metrics)
    for name in (*(METRIC_WORDS.get(m, m) for m in metrics), "trainings", "looks", "refused", "rollbacks", "cost"):
        table.add_column(name, justify="right")
    for name, result in made.policies.items():
        counts = (result.trainings, result.looks, result.refused, result.rollbacks)
        table.add_row(name, *(_figure(result.metrics[m]) for m in metrics), *map(str, counts), f"{result.cost:,.0f}")
    return table


def _figure(value: float) -> str:
    """Write a metric: four decimals below ten, above it so many that four digits tell."""
    if abs(value) < 10:
        return f"{value:.4f}"
    return f"{value:,.{max(0, 3 - floor(log10(abs(value))))}f}" if isfinite(value) else f"{value}"


def _by_price(made: Report) -> Table:
    table = Table(
        title="cost = loss + price x trainings + compute of looks; difference with 95 % interval over blocks of days"
    )
    table.add_column("price of a retraining", justify="right")
    for name in next(iter(made.costs)).costs:
        table.add_column(f"{name}\n(trainings)", justify="right")
    for name in next(iter(made.costs)).difference:
        table.add_column(f"against {name}", justify="right")
    for cost in made.costs:
        paid = [f"{cost.costs[name]:,.0f} ({cost.trainings[name]})" for name in cost.costs]
        table.add_row(f"{cost.retrain:g}", *paid, *(_against(cost, name) for name in cost.difference))
    return table


def _against(cost: Cost, name: str) -> str:
    mean, low, high = (f"{value:+,.0f}".replace("-", "−") for value in cost.difference[name])
    return f"{'won' if cost.won[name] else 'lost'} {mean}\n[{low}, {high}]"


def _promotions(made: Report) -> Table:
    table = Table(title=f"promotions to {CHAMPION}")
    table.add_column("date")
    table.add_column("version", justify="right")
    table.add_column("by")
    table.add_column("because")
    for promotion in made.promotions:
        table.add_row(f"{promotion.at:%Y-%m-%d}", f"v{promotion.version}", promotion.actor, promotion.reason)
    return table
