"""POST /api/v1/ground-truth, and how it stands: facts by prediction, or by entity and time. Again is nothing new."""

import math
from datetime import UTC, datetime, timedelta

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody

from kedge.domain.durations import span_of
from kedge.domain.ids import ModelName, PredictionId, split_prediction_id
from kedge.domain.monitoring import TruthBatch
from kedge.domain.predictions import TruthReport, TruthStanding
from kedge.errors import NotFound, RequestInvalid
from kedge.monitoring.truth.horizon import horizon_of
from kedge.server import wire
from kedge.server.house import House
from kedge.server.routes.given import ANSWERS, TheHouse


class GroundTruths(Controller):
    """Ground truth."""

    path = "/api/v1"

    @post("/ground-truth", sync_to_thread=True, status_code=202, responses=ANSWERS)
    def record(self, house: TheHouse, data: JSONBody[wire.Truth]) -> TruthReport:
        """Record facts about predictions. The same facts again count once, so a retry is safe."""
        return record(house, data)

    @get("/models/{model:str}/ground-truth", sync_to_thread=True, responses=ANSWERS)
    def standing(self, house: TheHouse, model: FromPath[str]) -> TruthStanding:
        """Tell how a model's ground truth stands: what is labelled, what waits, what was odd."""
        return house.ground_truth.standing(_model(house, model))


def record(house: House, data: wire.Truth) -> TruthReport:
    """Record facts: looked up first where that is asked for, or they are by entity, or there is neither a project nor a name
    that says whose they are; else as they are, for the next window to judge. Raises RequestInvalid for what is wrong in any
    of them, and where it is unclear which model is meant, and records nothing then; NotFound for the model."""
    model = _model(house, data.model) if data.model is not None else None
    _check(data)
    known_at = _utc("known_at", data.known_at) if data.known_at is not None else house.clock.now()
    taken = model or (house.spec.name if house.spec.data.source else None)
    if taken is not None and not data.entities and not data.look_up:
        names = [PredictionId(name) for name in data.predictions]
        house.monitoring.record_truth(TruthBatch(model=taken, known_at=known_at, predictions=names, values=data.values))
        return TruthReport(recorded=len(names), looked_up=False)
    return house.ground_truth.tell(
        model,
        data.values,
        known_at=known_at,
        predictions=data.predictions,
        entities=data.entities,
        times=[_utc(f"times[{place}]", time) for place, time in enumerate(data.times)],
        horizon=horizon_of(house.spec),
        within=_span(data.within),
    )


def _check(data: wire.Truth) -> None:
    """Check that each fact is about something and is a number. Raises RequestInvalid."""
    if bool(data.predictions) == bool(data.entities) or len(data.entities) != len(data.times):
        raise RequestInvalid("facts are about predictions, or about entities and times, one time for each; send one of them")
    about = data.predictions or data.entities
    if len(about) != len(data.values):
        what = "predictions" if data.predictions else "entities"
        raise RequestInvalid(f"{len(about)} {what} but {len(data.values)} values; send one value for each")
    for index, name in enumerate(data.predictions):
        if split_prediction_id(PredictionId(name)) is None:
            raise RequestInvalid(
                f"predictions[{index}] is {name!r}; a prediction's id is REQUEST.ROW, as the answer carried it"
            )
    for index, value in enumerate(data.values):
        if not math.isfinite(value):
            raise RequestInvalid(f"values[{index}] is {value}; a fact is a finite number")


def _model(house: House, name: str) -> ModelName:
    model = ModelName(name)
    if model != house.spec.name and house.meta.registered.find(model) is None:
        raise NotFound(f"there is no model {name!r}; /api/v1/registered-models lists those there are")
    return model


def _utc(name: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise RequestInvalid(f"{name} has no time zone; write it as UTC, such as 2013-03-01T00:00:00Z")
    return moment.astimezone(UTC)


def _span(text: str) -> timedelta:
    try:
        return span_of(text)
    except ValueError as error:
        raise RequestInvalid(f"within: {error}") from None
