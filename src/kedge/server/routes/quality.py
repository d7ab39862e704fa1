"""GET /api/v1/models/NAME/...: how good the answers are, as truth arrives, and what moved."""

from typing import Annotated

from litestar import Controller, get
from litestar.params import FromPath, QueryParameter

from kedge.domain.monitoring import Health
from kedge.errors import NotFound
from kedge.server.reading.quality import WINDOWS, QualityPage, quality_page
from kedge.server.routes.given import ANSWERS, TheHouse, TheScenes, known

Windows = Annotated[int, QueryParameter(ge=1, le=1200, description="The last so many windows.")]
WindowId = Annotated[str, QueryParameter(description="A window by its id; left out, the newest.")]


class QualityReads(Controller):
    """Model quality, and single windows."""

    path = "/api/v1/models"

    @get("/{model:str}/quality", sync_to_thread=True, responses=ANSWERS)
    def quality(
        self, scenes: TheScenes, house: TheHouse, *, model: FromPath[str], windows: Windows = WINDOWS
    ) -> QualityPage:
        """Describe model quality: measures over windows with bands, cohorts, slices, calibration, estimates, causes."""
        return quality_page(scenes.of(known(house, model)), windows=windows)

    @get("/{model:str}/health", sync_to_thread=True, responses=ANSWERS)
    def window(self, house: TheHouse, model: FromPath[str], window: WindowId = "") -> Health:
        """Give everything that was measured of one window."""
        name = known(house, model)
        found = house.meta.watches.find(name, window) if window else next(iter(house.meta.watches.list(name, limit=1)), None)
        if found is None:
            raise NotFound(f"no such window of {model!r} was measured; list them with: kedge monitor show {model}")
        return found
