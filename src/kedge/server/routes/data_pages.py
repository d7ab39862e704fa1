"""The pages of the catalogue: all datasets, one with its parts, one version, two compared."""

from litestar import Controller, Response, get
from litestar.params import FromPath, FromQuery

from kedge.domain.data import DatasetKind
from kedge.errors import RequestInvalid
from kedge.server.reading import datasets as reading
from kedge.server.reading.differing import diff_page, distance_words
from kedge.server.reading.trees import tree_page
from kedge.server.routes.datasets import Look, Reference, Token, before_of
from kedge.server.routes.given import TheDiffs, TheHouse, ThePages
from kedge.server.routes.pages import HTML, Page, show
from kedge.server.stream import newest

NOUN = "Data"
_PATIENCE = 2.0  # seconds that a browser waits for two versions to be compared
_LOOK_AGAIN = "2"
TABS = ("", "columns", "versions", "quality", "uses")


class DataPages(Controller):
    """Every page of the catalogue that can be read."""

    include_in_schema = False

    @get("/data", sync_to_thread=True)
    def datasets(self, pages: ThePages, house: TheHouse, *, q: Look = "", page: Token = "") -> Page:
        """Show the catalogue, or what a search finds in it."""
        found = reading.datasets_page(house.catalogue, q.strip(), page=page)
        values = {"now": house.clock.now(), "live": newest(house.meta)}
        shown = pages.render("datasets", title="Data", noun=NOUN, page=found, **values)
        return Response(shown, media_type=HTML, status_code=400 if found.fault else 200)

    @get("/data/{dataset:str}", sync_to_thread=True)
    def dataset(
        self, pages: ThePages, house: TheHouse, dataset: FromPath[str], *, tab: FromQuery[str] = "", page: Token = ""
    ) -> Page:
        """Show the part of a dataset that is asked for."""
        if tab not in TABS:
            raise RequestInvalid(f"tab {tab[:40]!r}: one of {', '.join(name for name in TABS if name)}, or none")
        found = reading.dataset_page(house.catalogue, dataset)
        rows = reading.DatasetVersions(
            dataset=dataset, versions=found.versions, next=f"v{found.versions[-1].number}" if found.more else ""
        )
        if page:
            rows = reading.versions_page(house.catalogue, dataset, before=before_of(page), limit=reading.MOST_VERSIONS)
        values = {"rows": rows, "now": house.clock.now(), "live": newest(house.meta)}
        return show(pages, "dataset", title=dataset, noun=NOUN, page=found, tab=tab, **values)

    @get("/data/{dataset:str}/versions/{version:str}", sync_to_thread=True)
    def version(
        self,
        pages: ThePages,
        house: TheHouse,
        dataset: FromPath[str],
        version: FromPath[str],
        *,
        folder: FromQuery[str] = "",
        page: Token = "",
    ) -> Page:
        """Show one version."""
        found = reading.dataset_version_page(house.catalogue, dataset, reference=version)
        files = None
        if found.kind is DatasetKind.FILES:
            files = tree_page(house, house.catalogue.version(dataset, version), folder=folder, page=page)
        title = f"{dataset}@{found.version.number}"
        return show(pages, "dataset_version", title=title, noun=NOUN, page=found, files=files, now=house.clock.now())

    @get("/data/{dataset:str}/diff", sync_to_thread=True)
    def diff(
        self,
        pages: ThePages,
        house: TheHouse,
        diffs: TheDiffs,
        dataset: FromPath[str],
        *,
        before: Reference = "",
        after: Reference = "",
    ) -> Page:
        """Show what differs between two versions."""
        found = diff_page(house, diffs, name=dataset, before=before, after=after, patience=_PATIENCE)
        rows = house.catalogue.versions(dataset, limit=reading.MOST_VERSIONS)
        values: dict[str, object] = {"numbers": [one.number for one in rows], "tags": house.catalogue.get(dataset).tags}
        title = f"{dataset}: v{found.before.number} and v{found.after.number}"
        values |= {"distances": distance_words, "now": house.clock.now()}
        shown = show(pages, "dataset_diff", title=title, noun=NOUN, page=found, **values)
        if found.waiting is not None:
            shown.set_header("refresh", _LOOK_AGAIN)
        return shown
