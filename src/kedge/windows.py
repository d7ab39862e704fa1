"""The windows that have closed, and the job that looks at each of them once: what `kedge watch` runs."""

from collections.abc import Iterator

from kedge.app import House
from kedge.domain.durations import floor_to, span_of
from kedge.domain.monitoring import Window
from kedge.domain.turning import Turned
from kedge.errors import NotFound, SourceFailed
from kedge.loop import watch


def watch_closed(house: House) -> dict[str, Turned]:
    """Watch each closed window that was not watched yet, in order, and tell by window what came of it.

    Then the features served in them are held against the join. A source that cannot be read is told as an alert.
    """
    outcomes: dict[str, Turned] = {}
    first = None
    for window in closed_windows(house):
        first = first or window
        outcomes[window.id] = watch(house, house.spec, window)
    if first is not None:
        try:
            house.parity.check(house.spec, since=first.start)
        except SourceFailed as error:
            house.retraining.failed(house.spec, None, error)
    return outcomes


def closed_windows(house: House) -> Iterator[Window]:
    """Walk the whole windows from the last measured one, or from the first deployment, up to now.

    Raises NotFound where nothing was ever deployed.
    """
    length = span_of(house.spec.monitoring.window)
    measured = house.meta.watches.list(house.spec.name, limit=1)
    deployments = house.meta.deployments.list(house.spec.name)
    if not deployments:
        raise NotFound(f"nothing is deployed for {house.spec.name!r} yet; make a first model with: kedge run")
    start = measured[0].window.end if measured else floor_to(deployments[0].since, length)
    while start + length <= house.clock.now():
        yield Window(start, start + length)
        start += length
