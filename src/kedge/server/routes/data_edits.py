"""Describing datasets in a browser: the entry, a column, a version's tag."""

from collections.abc import Mapping

from litestar import Controller, get, post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect

from kedge.data.catalogue import LONGEST_LINE, LONGEST_TEXT
from kedge.domain.catalogue import EntryChange, NoteChange, Shelved
from kedge.domain.data import ColumnNote
from kedge.errors import DataInvalid, NotFound, RequestInvalid
from kedge.server.forms import Asked, Asking, Field, Page, act, ask
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.routes.datasets import profiled
from kedge.server.routes.given import TheHouse, ThePages
from kedge.web.addresses import address, part

NOUN = "Data"
Sent = URLEncodedBody[dict[str, str]]
_HOME = ("Data", "/data")


class DataEdits(Controller):
    """Forms of the catalogue."""

    include_in_schema = False

    @get("/data/{dataset:str}/edit", sync_to_thread=True)
    def ask_edit(self, request: Asked, pages: ThePages, house: TheHouse, dataset: FromPath[str]) -> Page:
        """Ask what a dataset is."""
        return ask(request, pages, asking=_edit(house.catalogue.get(dataset)))

    @post("/data/{dataset:str}/edit", sync_to_thread=True)
    def do_edit(
        self, request: Asked, pages: ThePages, house: TheHouse, dataset: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Describe a dataset."""

        def do() -> None:
            house.catalogue.describe(dataset, _change(data), actor=actor_of(request))

        return act(request, pages, asking=_edit(house.catalogue.get(dataset)), given=data, do=do)

    @get("/data/{dataset:str}/columns/{column:str}/edit", sync_to_thread=True)
    def ask_column(
        self, request: Asked, pages: ThePages, house: TheHouse, dataset: FromPath[str], column: FromPath[str]
    ) -> Page:
        """Ask what a column means."""
        return ask(request, pages, asking=_column(house, dataset, column=column))

    @post("/data/{dataset:str}/columns/{column:str}/edit", sync_to_thread=True)
    def do_column(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        dataset: FromPath[str],
        column: FromPath[str],
        data: Sent,
    ) -> Page | Redirect:
        """Say what a column means, and whether its values are personal."""
        note = NoteChange(
            name=column,
            meaning=data.get("meaning", ""),
            unit=data.get("unit", ""),
            personal=data.get("personal", "") == "1",
        )

        def do() -> None:
            house.catalogue.describe(dataset, EntryChange(columns=(note,)), actor=actor_of(request))

        return act(request, pages, asking=_column(house, dataset, column=column), given=data, do=do)

    @get("/data/{dataset:str}/versions/{version:str}/tag", sync_to_thread=True)
    def ask_tag(
        self, request: Asked, pages: ThePages, house: TheHouse, dataset: FromPath[str], version: FromPath[str]
    ) -> Page:
        """Ask for a version's tag."""
        return ask(request, pages, asking=_tag(house, dataset, version=version))

    @post("/data/{dataset:str}/versions/{version:str}/tag", sync_to_thread=True)
    def do_tag(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        dataset: FromPath[str],
        version: FromPath[str],
        data: Sent,
    ) -> Page | Redirect:
        """Tag a version, or take tags away."""

        def do() -> None:
            number = house.catalogue.version(dataset, version).number
            wanted = data.get("tags", "").split()
            kept = [tag for tag, named in house.catalogue.get(dataset).tags.items() if named == number]
            for tag in wanted:
                if tag not in kept:
                    house.catalogue.tag(dataset, tag, reference=str(number), actor=actor_of(request))
            for tag in kept:
                if tag not in wanted:
                    house.catalogue.tag(dataset, tag, reference=None, actor=actor_of(request))

        return act(request, pages, asking=_tag(house, dataset, version=version), given=data, do=do)

    @get("/data/{dataset:str}/versions/{version:str}/profile", sync_to_thread=True)
    def ask_profile(
        self, request: Asked, pages: ThePages, house: TheHouse, dataset: FromPath[str], version: FromPath[str]
    ) -> Page:
        """Ask before a version is profiled."""
        return ask(request, pages, asking=_profile(house, dataset, version=version))

    @post("/data/{dataset:str}/versions/{version:str}/profile", sync_to_thread=True)
    def do_profile(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        dataset: FromPath[str],
        version: FromPath[str],
        data: Sent,
    ) -> Page | Redirect:
        """Profile a version."""

        def do() -> None:
            try:
                profiled(house, house.catalogue.version(dataset, version))
            except DataInvalid as error:
                raise RequestInvalid(str(error)) from None

        return act(request, pages, asking=_profile(house, dataset, version=version), given=data, do=do)


def _profile(house: House, dataset: str, *, version: str) -> Asking:
    found = house.catalogue.version(dataset, version)
    back = f"{_page(dataset)}/versions/{found.number}"
    return Asking(
        heading=f"Profile {dataset}@{found.number}?",
        button="Profile",
        fields=(),
        noun=NOUN,
        crumbs=(_HOME, (dataset, _page(dataset)), (f"v{found.number}", back)),
        back=back,
        keep="Back",
        consequences=(
            "Every column is read once, in a process of its own; large tables take minutes",
            "Values of personal columns are not kept",
        ),
    )


def _page(dataset: str) -> str:
    return f"/data/{part(dataset)}"


def _edit(one: Shelved) -> Asking:
    entry, back = one.entry, _page(one.name)
    fields = (
        Field(name="description", label="What it is", value=entry.description, kind="area", longest=LONGEST_TEXT),
        Field(name="owner", label="Who answers for it", value=entry.owner, longest=LONGEST_LINE),
        Field(name="tags", label="Tags, one a line", value="\n".join(entry.tags), kind="area", longest=LONGEST_TEXT),
        Field(name="source", label="Where its data comes from", value=entry.source, longest=LONGEST_LINE),
        Field(
            name="fresh_within",
            label="How old its newest version may be",
            value=entry.fresh_within,
            hint="A duration such as 2d or 6 h; empty where age does not matter",
            longest=40,
        ),
    )
    return Asking(
        heading=f"Describe {entry.name}",
        button="Save",
        crumb="Describe",
        fields=fields,
        noun=NOUN,
        crumbs=(_HOME, (entry.name, back)),
        back=back,
    )


def _change(data: Mapping[str, str]) -> EntryChange:
    return EntryChange(
        description=data.get("description", ""),
        owner=data.get("owner", ""),
        tags=tuple(data.get("tags", "").splitlines()),
        source=data.get("source", ""),
        fresh_within=data.get("fresh_within", ""),
    )


def _column(house: House, dataset: str, *, column: str) -> Asking:
    one = house.catalogue.get(dataset)
    known = {note.name: note for note in one.entry.columns}
    if column not in known and column not in house.catalogue.column_names(one):
        raise NotFound(f"dataset {dataset!r} has no column {column!r}; its page lists those it has")
    note = known.get(column, ColumnNote(name=column))
    back = address(_page(dataset), {"tab": "columns"})
    fields = (
        Field(name="meaning", label="What it means", value=note.meaning, kind="area", longest=LONGEST_TEXT),
        Field(name="unit", label="Unit", value=note.unit, longest=LONGEST_LINE),
        Field(
            name="personal",
            label="Personal: its values are never shown",
            value="1" if note.personal else "",
            kind="check",
            hint="Profiles that are kept lose their values for good; counts and shares stay",
        ),
    )
    return Asking(
        heading=f"Column {column} of {dataset}",
        button="Save",
        crumb="Column",
        fields=fields,
        noun=NOUN,
        crumbs=(_HOME, (dataset, _page(dataset)), ("Columns", back)),
        back=back,
    )


def _tag(house: House, dataset: str, *, version: str) -> Asking:
    one, found = house.catalogue.get(dataset), house.catalogue.version(dataset, version)
    back = f"{_page(dataset)}/versions/{found.number}"
    tags = " ".join(tag for tag, number in one.tags.items() if number == found.number)
    hint = "Separated by blanks. A tag that names another version moves here; one left out is taken away"
    return Asking(
        heading=f"Tag {dataset}@{found.number}",
        button="Save",
        crumb="Tag",
        fields=(Field(name="tags", label="Tags", value=tags, hint=hint, longest=LONGEST_TEXT),),
        noun=NOUN,
        crumbs=(_HOME, (dataset, _page(dataset)), (f"v{found.number}", back)),
        back=back,
    )
