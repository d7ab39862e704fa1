"""GET /api/v1/models/NAME/fairness, business, operations: a model's newest windows, oldest first."""

from typing import Annotated

from litestar import Controller, get
from litestar.params import FromPath, QueryParameter

from kedge.server.reading.declared import DeclaredWindows, declared_windows
from kedge.server.routes.given import ANSWERS, TheHouse, known

Windows = Annotated[int, QueryParameter(name="windows", ge=1, le=500, description="How many windows at most, the newest.")]


class DeclaredFigures(Controller):
    """What a project declares, as it was measured."""

    path = "/api/v1/models/{model:str}"

    @get("/fairness", sync_to_thread=True, responses=ANSWERS)
    def fairness(self, house: TheHouse, model: FromPath[str], windows: Windows = 30) -> DeclaredWindows:
        """Tell what groups got from a model, and how far apart they are."""
        return declared_windows(house.meta, known(house, model), kind="fairness", limit=windows)

    @get("/business", sync_to_thread=True, responses=ANSWERS)
    def business(self, house: TheHouse, model: FromPath[str], windows: Windows = 30) -> DeclaredWindows:
        """Tell what a model's answers were worth."""
        return declared_windows(house.meta, known(house, model), kind="business", limit=windows)

    @get("/operations", sync_to_thread=True, responses=ANSWERS)
    def operations(self, house: TheHouse, model: FromPath[str], windows: Windows = 30) -> DeclaredWindows:
        """Tell a model's latency, errors and throughput by its log."""
        return declared_windows(house.meta, known(house, model), kind="operations", limit=windows)
