"""A replay's requests as real requests to a data plane, whose client is handed in."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kedge.app import House
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Window
from kedge.replay.clock import SetClock
from kedge.replay.timeline import Tick, Timeline


class Client(Protocol):
    """The part of a data plane's client that a replay needs."""

    def refresh(self, model: ModelName | str) -> int | None:
        """Have the newest revision loaded now."""
        ...

    def infer(
        self,
        model: ModelName | str,
        columns: Mapping[str, Sequence[Any]],
        *,
        id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> object:
        """Ask for one answer a row."""
        ...


class OverHttp:
    """Answers a replay's requests by a data plane: entity keys and request columns only."""

    def __init__(self, house: House, clock: SetClock, *, timeline: Timeline, client: Client) -> None:
        self._house, self._clock, self._timeline, self._client = house, clock, timeline, client
        spec = timeline.spec
        service = house.features.service(spec)
        names = dict.fromkeys((*service.entities(), *service.request, spec.rollout.sticky))
        self._columns = [name for name in names if name]

    def refresh(self) -> None:
        """Let the data plane take up the newest deployment revision."""
        self._client.refresh(self._timeline.spec.name)

    def ask(self, window: Window, ticks: list[Tick]) -> None:
        """Push what became known by each tick to the online store, then send the tick's rows as one request."""
        spec, rows = self._timeline.spec, self._timeline.rows
        for tick in ticks:
            self._clock.set(tick.at)
            self._house.features.materialize(spec, tick.at)
            asked = rows[tick.first : tick.last]
            columns = {name: asked[name].to_list() for name in self._columns}
            self._client.infer(spec.name, columns, id=tick.request, parameters={"at": tick.at.isoformat()})
