"""Find by id: a version ("v3"), a model, a dataset ("flights@3" is its third version), any model's version ("hours@3"), a
run, or a prediction; gives the page of the first that has it. Models are those of the loop and those registered by hand."""

import re
from urllib.parse import quote

from kedge.data.references import resolve
from kedge.domain.ids import DatasetName, ModelName, PredictionId, RunId, split_prediction_id
from kedge.errors import NotFound
from kedge.server.house import House


def find(house: House, asked: str) -> str | None:
    """Find the page of what is named so; None where nothing is."""
    for look in (_version, _model, _dataset, _named_version, _run, _prediction):
        address = look(house, asked)
        if address is not None:
            return address
    return None


def _version(house: House, asked: str) -> str | None:
    match = re.fullmatch(r"v?(\d{1,6})", asked)
    return None if match is None else _version_of(house, house.spec.name, number=int(match[1]))


def _named_version(house: House, asked: str) -> str | None:
    match = re.fullmatch(r"(.+)@v?(\d{1,6})", asked)
    return None if match is None else _version_of(house, ModelName(match[1]), number=int(match[2]))


def _version_of(house: House, model: ModelName, *, number: int) -> str | None:
    if house.meta.registered.find_version(model, number) is None:
        return None
    return f"/models/{quote(model, safe='')}/versions/{number}"


def _model(house: House, asked: str) -> str | None:
    return f"/models/{quote(asked, safe='')}" if house.meta.registered.find(ModelName(asked)) is not None else None


def _dataset(house: House, asked: str) -> str | None:
    name, at, _ = asked.partition("@")
    if house.meta.datasets.entry(DatasetName(name)) is None:
        return None
    page = f"/data/{quote(name, safe='')}"
    try:
        return f"{page}/versions/{resolve(house.meta.datasets, asked).number}" if at else page
    except NotFound:
        return page


def _run(house: House, asked: str) -> str | None:
    try:
        return f"/runs/{quote(house.meta.runs.get(RunId(asked)).id, safe='')}"
    except NotFound:
        return None


def _prediction(house: House, asked: str) -> str | None:
    if split_prediction_id(PredictionId(asked)) is None:
        return None
    try:
        return f"/predictions/{quote(house.lineage.why(PredictionId(asked)).prediction, safe='')}"
    except NotFound:
        return None
