"""Changing what was tracked, in a browser: experiments and runs get names, notes and tags, are deleted and restored."""

from collections.abc import Mapping

from litestar import Controller, get, post
from litestar.params import FromPath, FromQuery, URLEncodedBody
from litestar.response import Redirect

from kedge.domain.ids import ExperimentId, RunId
from kedge.domain.tracking import NOTE_TAG, Experiment, Run
from kedge.errors import RequestInvalid
from kedge.server.forms import Asked, Asking, Field, Page, act, ask, changes, labels_of, lines_of
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.reading.table import HIDDEN
from kedge.server.routes import asked as given
from kedge.server.routes.given import TheHouse, ThePages
from kedge.web import words
from kedge.web.addresses import address, part

NOUN = "Runs"
_MOST = 500
Sent = URLEncodedBody[dict[str, str]]
_HOME = ("Experiments", "/experiments")
_TAGS = Field(name="tags", label="Tags, one a line", kind="area", hint="KEY = VALUE", longest=100_000)


class Edits(Controller):
    """Forms of experiments and runs."""

    include_in_schema = False

    @get("/experiments/new", sync_to_thread=False)
    def ask_new(self, request: Asked, pages: ThePages) -> Page:
        """Ask for a new experiment's name."""
        return ask(request, pages, asking=_new())

    @post("/experiments/new", sync_to_thread=True)
    def do_new(self, request: Asked, pages: ThePages, house: TheHouse, data: Sent) -> Page | Redirect:
        """Create an experiment."""

        def do() -> str:
            tags = {NOTE_TAG: note} if (note := data.get("note", "").strip()) else {}
            made = house.logging.create_experiment(data.get("name", "").strip(), tags=tags, actor=actor_of(request))
            return _experiment_page(made.id)

        return act(request, pages, asking=_new(), given=data, do=do)

    @get("/experiments/{experiment:str}/edit", sync_to_thread=True)
    def ask_edit(self, request: Asked, pages: ThePages, house: TheHouse, experiment: FromPath[str]) -> Page:
        """Ask for an experiment's new name, note and tags."""
        return ask(request, pages, asking=_edit(house.logging.get_experiment(ExperimentId(experiment))))

    @post("/experiments/{experiment:str}/edit", sync_to_thread=True)
    def do_edit(
        self,
        request: Asked,
        pages: ThePages,
        house: TheHouse,
        *,
        experiment: FromPath[str],
        data: Sent,
    ) -> Page | Redirect:
        """Rename, describe and tag an experiment."""
        found = house.logging.get_experiment(ExperimentId(experiment))
        return act(
            request,
            pages,
            asking=_edit(found),
            given=data,
            do=lambda: _change_experiment(house, found, data=data, actor=actor_of(request)),
        )

    @get("/experiments/{experiment:str}/delete", sync_to_thread=True)
    def ask_delete(self, request: Asked, pages: ThePages, house: TheHouse, experiment: FromPath[str]) -> Page:
        """Ask before an experiment is deleted."""
        return ask(request, pages, asking=_mark(house, experiment, restore=False))

    @post("/experiments/{experiment:str}/delete", sync_to_thread=True)
    def do_delete(
        self, request: Asked, pages: ThePages, house: TheHouse, *, experiment: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Delete an experiment with its runs."""
        name, actor = ExperimentId(experiment), actor_of(request)
        asking = _mark(house, experiment, restore=False)
        return act(request, pages, asking=asking, given=data, do=lambda: house.logging.delete_experiment(name, actor=actor))

    @get("/experiments/{experiment:str}/restore", sync_to_thread=True)
    def ask_restore(self, request: Asked, pages: ThePages, house: TheHouse, experiment: FromPath[str]) -> Page:
        """Ask before an experiment is restored."""
        return ask(request, pages, asking=_mark(house, experiment, restore=True))

    @post("/experiments/{experiment:str}/restore", sync_to_thread=True)
    def do_restore(
        self, request: Asked, pages: ThePages, house: TheHouse, *, experiment: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Restore an experiment with its runs."""
        name, actor = ExperimentId(experiment), actor_of(request)
        asking = _mark(house, experiment, restore=True)
        return act(request, pages, asking=asking, given=data, do=lambda: house.logging.restore_experiment(name, actor=actor))

    @get("/runs/delete", sync_to_thread=True)
    def ask_runs(
        self, request: Asked, pages: ThePages, house: TheHouse, run: given.RunIds = None, restore: FromQuery[bool] = False
    ) -> Page:
        """Ask before deleting or restoring runs."""
        return ask(request, pages, asking=_delete(house, run or [], restore=restore))

    @post("/runs/delete", sync_to_thread=True)
    def do_runs(self, request: Asked, pages: ThePages, house: TheHouse, data: Sent) -> Page | Redirect:
        """Delete or restore runs."""
        runs, restore = data.get("runs", "").split(), data.get("restore") == "1"

        def do() -> None:
            for run in runs:
                mark = house.logging.restore_run if restore else house.logging.delete_run
                mark(RunId(run), actor=actor_of(request))

        return act(request, pages, asking=_delete(house, runs, restore=restore), given=data, do=do)

    @get("/runs/{run:str}/edit", sync_to_thread=True)
    def ask_run(self, request: Asked, pages: ThePages, house: TheHouse, run: FromPath[str]) -> Page:
        """Ask for a run's new name, note and tags."""
        return ask(request, pages, asking=_edit_run(house, house.logging.get_run(RunId(run)).run))

    @post("/runs/{run:str}/edit", sync_to_thread=True)
    def do_run(self, request: Asked, pages: ThePages, house: TheHouse, *, run: FromPath[str], data: Sent) -> Page | Redirect:
        """Rename, describe and tag a run."""
        found = house.logging.get_run(RunId(run)).run
        return act(
            request,
            pages,
            asking=_edit_run(house, found),
            given=data,
            do=lambda: _change_run(house, found, data=data, actor=actor_of(request)),
        )


def _experiment_page(experiment: str) -> str:
    return f"/experiments/{part(experiment)}"


def _new() -> Asking:
    fields = (
        Field(name="name", label="Name", required=True, hint="Unique, deleted experiments counted"),
        Field(name="note", label="What it is for", kind="area", longest=5000),
    )
    return Asking(
        heading="New experiment",
        button="Create",
        fields=fields,
        noun=NOUN,
        crumbs=(_HOME,),
        back="/experiments",
        keep="Back",
    )


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith(HIDDEN)}


def _edit(experiment: Experiment) -> Asking:
    back = _experiment_page(experiment.id)
    fields = (
        Field(name="name", label="Name", value=experiment.name, required=True, longest=500),
        Field(name="note", label="What it is for", value=experiment.tags.get(NOTE_TAG, ""), kind="area", longest=5000),
        _tags(experiment.tags),
    )
    return Asking(
        heading=f"Edit {experiment.name}",
        button="Save",
        crumb="Edit",
        fields=fields,
        noun=NOUN,
        crumbs=(_HOME, (experiment.name, back)),
        back=back,
    )


def _tags(tags: Mapping[str, str]) -> Field:
    return Field(name="tags", label=_TAGS.label, value=lines_of(_own(tags)), kind="area", hint=_TAGS.hint, longest=100_000)


def _labels(tags: Mapping[str, str], data: Mapping[str, str]) -> dict[str, str | None]:
    """Read what became of the tags and of the note."""
    after = labels_of(data.get("tags", ""))
    if kept := [key for key in after if key.startswith(HIDDEN)]:
        raise RequestInvalid(f"tag {kept[0]!r}: names that begin with {' or '.join(HIDDEN)} are kept by clients")
    changed: dict[str, str | None] = changes(_own(tags), after)
    note = data.get("note", "").strip().replace("\r\n", "\n")
    if note != tags.get(NOTE_TAG, ""):
        changed[NOTE_TAG] = note or None
    return changed


def _change_experiment(house: House, experiment: Experiment, *, data: Mapping[str, str], actor: str) -> None:
    changed, name = _labels(experiment.tags, data), data.get("name", "").strip()
    if name != experiment.name:
        house.logging.rename_experiment(experiment.id, name, actor=actor)
    if changed:
        house.logging.retag_experiment(experiment.id, changed)


def _mark(house: House, experiment: str, *, restore: bool) -> Asking:
    found = house.logging.get_experiment(ExperimentId(experiment))
    runs = words.many(house.logging.count_runs((found.id,))[found.id].runs, "run")
    facts = (
        ("The runs that were deleted with it come back", "Runs that were deleted alone stay deleted")
        if restore
        else (f"{runs} go with it; files and models stay", "Its name stays taken", "It can be restored")
    )
    return Asking(
        heading=f"{'Restore' if restore else 'Delete'} {found.name}?",
        button="Restore" if restore else "Delete",
        fields=(),
        noun=NOUN,
        crumbs=(_HOME, (found.name, _experiment_page(found.id))),
        back=_experiment_page(found.id) if restore else "/experiments",
        consequences=(*facts, "Your name stands in the history"),
        danger=not restore,
    )


def _delete(house: House, runs: list[str], *, restore: bool) -> Asking:
    if not 1 <= len(runs) <= _MOST:
        raise RequestInvalid(f"name 1 to {_MOST} runs; {len(runs)} were named. Choose them in the table of runs")
    found = [house.logging.get_run(RunId(run)).run for run in runs]
    home = house.logging.get_experiment(found[0].experiment)
    back = _experiment_page(home.id)
    verb = "Restore" if restore else "Delete"
    named = words.listed([run.name or words.short(run.id) for run in found], 5)
    facts = ("Its metrics, params and files stay, and it can be restored",) if not restore else ("It is in the table again",)
    return Asking(
        heading=f"{verb} {words.many(len(found), 'run')}?",
        button=verb,
        fields=(
            Field(name="runs", value=" ".join(run.id for run in found), kind="hidden"),
            Field(name="restore", value="1" if restore else "", kind="hidden"),
        ),
        noun=NOUN,
        crumbs=(_HOME, (home.name, back)),
        back=address(back, {"deleted": restore}) if restore else back,
        consequences=(named, *facts, "Your name stands in the history"),
        danger=not restore,
    )


def _edit_run(house: House, run: Run) -> Asking:
    home, back = house.logging.get_experiment(run.experiment), f"/runs/{part(run.id)}"
    fields = (
        Field(name="name", label="Name", value=run.name, required=True, longest=500),
        Field(name="note", label="Note", value=run.tags.get(NOTE_TAG, ""), kind="area", longest=5000),
        _tags(run.tags),
    )
    return Asking(
        heading=f"Edit {run.name or words.short(run.id)}",
        button="Save",
        crumb="Edit",
        fields=fields,
        noun=NOUN,
        crumbs=(_HOME, (home.name, _experiment_page(home.id)), (run.name or words.short(run.id), back)),
        back=back,
    )


def _change_run(house: House, run: Run, *, data: Mapping[str, str], actor: str) -> None:
    changed, name = _labels(run.tags, data), data.get("name", "").strip()
    if name != run.name:
        house.logging.update_run(run.id, name=name, actor=actor)
    house.logging.log(run.id, tags={key: value for key, value in changed.items() if value is not None})
    for key in [key for key, value in changed.items() if value is None]:
        house.logging.delete_tag(run.id, key)
