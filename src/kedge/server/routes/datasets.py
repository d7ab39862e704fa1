"""/api/v1/datasets/...: the catalogue: what there is, what is said of it, how good it is, who uses it, what differs."""

from typing import Annotated

import msgspec
from litestar import Controller, Request, delete, get, patch, post, put
from litestar.datastructures import State as Shared
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter

from kedge.domain.catalogue import DatasetUses, EntryChange, QualityPoint
from kedge.domain.data import Dataset, DatasetVersion, TableProfile, ValidationReport
from kedge.errors import DataInvalid, NotFound, RequestInvalid, SearchInvalid
from kedge.server.diffing import profile_now
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.once import once_set
from kedge.server.reading.datasets import (
    DatasetPage,
    DatasetsPage,
    DatasetVersionPage,
    DatasetVersions,
    dataset_page,
    dataset_version_page,
    datasets_page,
    versions_page,
)
from kedge.server.reading.differing import DatasetDiffPage, diff_page
from kedge.server.reading.trees import TreePage, tree_page
from kedge.server.routes.given import ANSWERS, TheDiffs, TheHouse

Asked = Request[None, None, Shared]
Look = Annotated[str, QueryParameter(name="q", max_length=1000, description="Words and filters: delay owner:ada is:stale.")]
Limit = Annotated[int, QueryParameter(ge=1, le=500, description="How many at most.")]
Token = Annotated[str, QueryParameter(name="page", max_length=2000, description="The `next` of the page before; opaque.")]
Reference = Annotated[str, QueryParameter(max_length=200, description="A version: its number, a tag or its digest.")]
Key = Annotated[
    str, HeaderParameter(name="Idempotency-Key", max_length=200, description="The same key again gets the same answer.")
]


class TagGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which version a tag shall name: number, tag or digest; left out, the newest."""

    version: str = ""


class DatasetTags(msgspec.Struct, frozen=True, kw_only=True):
    """The tags of a dataset's versions, with the numbers of those that they name."""

    dataset: str
    tags: dict[str, int]


class DatasetQuality(msgspec.Struct, frozen=True, kw_only=True):
    """What validation found in a dataset's versions over time, oldest first."""

    dataset: str
    points: tuple[QualityPoint, ...]


class DatasetRoutes(Controller):
    """The native API of the catalogue."""

    path = "/api/v1/datasets"

    @get("/", sync_to_thread=True, responses=ANSWERS)
    def datasets(self, house: TheHouse, *, q: Look = "", page: Token = "", limit: Limit = 50) -> DatasetsPage:
        """List the datasets, or find some by what is said of them, the best first."""
        found = datasets_page(house.catalogue, q, page=page, limit=limit)
        if found.fault:
            raise SearchInvalid(found.fault)
        return found

    @get("/{dataset:str}", sync_to_thread=True, responses=ANSWERS)
    def dataset(self, house: TheHouse, dataset: FromPath[str]) -> DatasetPage:
        """Describe one dataset: entry, columns, freshness, report, quality, uses, newest versions."""
        return dataset_page(house.catalogue, dataset)

    @get("/{dataset:str}/versions", sync_to_thread=True, responses=ANSWERS)
    def versions(self, house: TheHouse, dataset: FromPath[str], *, page: Token = "", limit: Limit = 50) -> DatasetVersions:
        """List a dataset's versions, newest first."""
        return versions_page(house.catalogue, dataset, before=before_of(page), limit=limit)

    @get("/{dataset:str}/versions/{version:str}", sync_to_thread=True, responses=ANSWERS)
    def version(self, house: TheHouse, dataset: FromPath[str], version: FromPath[str]) -> DatasetVersionPage:
        """Describe one version, named by number, tag or digest."""
        return dataset_version_page(house.catalogue, dataset, reference=version)

    @get("/{dataset:str}/versions/{version:str}/profile", sync_to_thread=True, responses=ANSWERS)
    def profile(self, house: TheHouse, dataset: FromPath[str], version: FromPath[str]) -> TableProfile:
        """Read the profile of a version, column by column; personal columns without values."""
        found = house.catalogue.profile(house.catalogue.version(dataset, version))
        if found is None:
            raise NotFound(f"no profile of {dataset}@{version} was made; make one with `kedge data profile`")
        return found

    @get("/{dataset:str}/versions/{version:str}/report", sync_to_thread=True, responses=ANSWERS)
    def report(self, house: TheHouse, dataset: FromPath[str], version: FromPath[str]) -> ValidationReport:
        """Read the newest validation report on a version."""
        found = house.catalogue.report(house.catalogue.version(dataset, version))
        if found is None:
            raise NotFound(f"nobody has validated {dataset}@{version}; do it with `kedge data validate`")
        return found

    @get("/{dataset:str}/versions/{version:str}/files", sync_to_thread=True, responses=ANSWERS)
    def files(
        self,
        house: TheHouse,
        dataset: FromPath[str],
        version: FromPath[str],
        *,
        folder: FromQuery[str] = "",
        page: Token = "",
    ) -> TreePage:
        """List what lies in a folder of a version of files."""
        return tree_page(house, house.catalogue.version(dataset, version), folder=folder, page=page)

    @get("/{dataset:str}/diff", sync_to_thread=True, responses=ANSWERS)
    def diff(
        self, house: TheHouse, diffs: TheDiffs, dataset: FromPath[str], *, before: Reference = "", after: Reference = ""
    ) -> DatasetDiffPage:
        """Tell what differs between two versions; without names, the newest and the one before it."""
        return diff_page(house, diffs, name=dataset, before=before, after=after)

    @get("/{dataset:str}/quality", sync_to_thread=True, responses=ANSWERS)
    def quality(self, house: TheHouse, dataset: FromPath[str], *, limit: Limit = 200) -> DatasetQuality:
        """List what validation found over time."""
        one = house.catalogue.get(dataset)
        return DatasetQuality(dataset=one.name, points=house.catalogue.quality(dataset, limit=limit))

    @get("/{dataset:str}/uses", sync_to_thread=True, responses=ANSWERS)
    def uses(self, house: TheHouse, dataset: FromPath[str]) -> DatasetUses:
        """List who uses a dataset: runs, models, features."""
        return house.catalogue.uses(house.catalogue.get(dataset))

    @get("/{dataset:str}/tags", sync_to_thread=True, responses=ANSWERS)
    def version_tags(self, house: TheHouse, dataset: FromPath[str]) -> DatasetTags:
        """List the tags of a dataset's versions."""
        return DatasetTags(dataset=dataset, tags=house.catalogue.get(dataset).tags)

    @post("/{dataset:str}/versions/{version:str}/profile", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def profile_it(self, house: TheHouse, dataset: FromPath[str], version: FromPath[str]) -> TableProfile:
        """Profile a version, where that was not done yet, and give what was found. The same again changes nothing."""
        found = house.catalogue.version(dataset, version)
        return profiled(house, found)

    @patch("/{dataset:str}", sync_to_thread=True, responses=ANSWERS)
    def describe(
        self,
        request: Asked,
        house: TheHouse,
        dataset: FromPath[str],
        data: JSONBody[EntryChange],
        idempotency: Key = "",
    ) -> Dataset:
        """Describe a dataset; what is left out stays."""
        return once_set(
            house.meta,
            idempotency,
            asked=("describe", dataset, data),
            answer=Dataset,
            act=lambda: house.catalogue.describe(dataset, data, actor=actor_of(request)),
        )

    @put("/{dataset:str}/tags/{tag:str}", sync_to_thread=True, responses=ANSWERS)
    def tag(
        self,
        request: Asked,
        house: TheHouse,
        *,
        dataset: FromPath[str],
        tag: FromPath[str],
        data: JSONBody[TagGiven],
        idempotency: Key = "",
    ) -> DatasetTags:
        """Have a tag name a version."""

        def act() -> DatasetTags:
            house.catalogue.tag(dataset, tag, reference=data.version, actor=actor_of(request))
            return DatasetTags(dataset=dataset, tags=house.catalogue.get(dataset).tags)

        asked = ("tag", dataset, tag, data)
        return once_set(house.meta, idempotency, asked=asked, answer=DatasetTags, act=act)

    @delete("/{dataset:str}/tags/{tag:str}", sync_to_thread=True, responses=ANSWERS)
    def untag(self, request: Asked, house: TheHouse, dataset: FromPath[str], tag: FromPath[str]) -> None:
        """Take a tag away; the version stays."""
        house.catalogue.tag(dataset, tag, reference=None, actor=actor_of(request))


def profiled(house: House, version: DatasetVersion) -> TableProfile:
    """Give a version's profile, made where there is none. Raises RequestInvalid for files, DataInvalid where it fails."""
    if version.tree is not None:
        raise RequestInvalid(f"{version.dataset}@{version.number} holds files; only tables have profiles")
    found = house.catalogue.profile(version)
    if found is not None:
        return found
    if failed := profile_now(house, version):
        raise DataInvalid(f"{version.dataset}@{version.number} could not be profiled: {failed}")
    made = house.catalogue.profile(version)
    if made is None:
        raise NotFound(f"the profile of {version.dataset}@{version.number} is gone again; ask once more")
    return made


def before_of(token: str) -> int | None:
    """Read a page token of versions. Raises RequestInvalid."""
    if not token:
        return None
    if not token.startswith("v") or not token[1:].isdecimal() or len(token) > 12:
        raise RequestInvalid(f"page {token[:40]!r} is not a page token; take the `next` of the page before, as it is")
    return int(token[1:])
