"""Why an answer is what it is: the walk from one prediction back to the data, every link checked where it can be.

    answer -> route -> features -> model version -> gate verdict -> approver -> run -> code -> environment -> params
           -> dataset versions
A link that does not hold is shown as such; the walk goes on as far as there is something to follow.
"""

from collections.abc import Sequence

import msgspec

from kedge.domain.data import DatasetVersion
from kedge.domain.evaluation import Verdict
from kedge.domain.holdout import served_at_random
from kedge.domain.ids import Digest, ModelName, PredictionId, RunId, digest_of
from kedge.domain.lineage import Edge, Explanation, Link, Node, NodeKind, VersionExplanation
from kedge.domain.monitoring import PredictionBatch
from kedge.domain.registry import CHAMPION, AliasMove, CatalogVersion, HistoryEntry, ModelVersion
from kedge.domain.rollout import Deployment, Strategy
from kedge.errors import NotFound, StoreBroken
from kedge.lineage.graph import sources_of, uses_of
from kedge.lineage.made import (
    approver_link,
    code_link,
    environment_link,
    params_link,
    read_verdict,
    run_link,
    verdict_link,
)
from kedge.lineage.prediction import Logged, find_call, find_copied, find_prediction
from kedge.lineage.route import route_link
from kedge.lineage.version import (
    client_run_links,
    files_link,
    moves_link,
    registration_link,
    unjudged_link,
)
from kedge.ports import BlobStore, Datasets, Deployments, Events, Journal, Models, RegisteredModels, Runs


class Lineage:
    """Answers for predictions, and walks the graph of what was made from what."""

    def __init__(
        self,
        *,
        events: Events,
        runs: Runs,
        models: Models,
        registered: RegisteredModels,
        deployments: Deployments,
        datasets: Datasets,
        blobs: BlobStore,
        predictions: Journal,
    ) -> None:
        self._events, self._runs, self._models = events, runs, models
        self._deployments, self._datasets, self._blobs = deployments, datasets, blobs
        self._predictions, self._registered = predictions, registered

    def get(self, prediction: PredictionId) -> Logged:
        """Read the logged request that holds an answer, and its row. Raises NotFound."""
        return find_prediction(self._predictions, prediction)

    def call(self, logged: Logged) -> Sequence[PredictionBatch]:
        """Read the requests that were answered by the same call of the model. Raises NotFound where one is gone."""
        return find_call(self._predictions, logged.batch, version=logged.batch.versions[logged.row])

    def why(self, prediction: PredictionId) -> Explanation:
        """Explain an answer. Raises NotFound for an id that was never answered."""
        logged = self.get(prediction)
        batch, row = logged.batch, logged.row
        deployment = self._deployments.find(batch.model, batch.revision)
        if deployment is not None and deployment.strategy is Strategy.SHADOW and not batch.shadow:
            copied = find_copied(self._predictions, batch)
            if copied is not None and copied.versions == batch.versions:
                logged = msgspec.structs.replace(logged, batch=msgspec.structs.replace(batch, shadow=copied.shadow))
        number = batch.versions[row]
        version = self._models.find(batch.model, number)
        return Explanation(
            prediction=prediction,
            model=batch.model,
            version=number,
            at=batch.at,
            output=batch.outputs[row],
            served=served_at_random(batch, row),
            links=(
                answer_link(logged),
                route_link(logged, deployment),
                features_link(logged, self._inputs(version, logged)),
                *self._made_links(logged, version, deployment=deployment),
            ),
        )

    def why_version(self, version: CatalogVersion, history: Sequence[HistoryEntry]) -> VersionExplanation:
        """Explain a version of a registered model; `history` are the moves of its model."""
        links = [files_link(version, self._blobs), registration_link(version)]
        links += self._copied_links(version)
        if version.loop is not None:
            links += [self._version_link(version.loop), self._verdict_link(version.loop)]
        else:
            links.append(unjudged_link(version))
        links.append(moves_link(version, history))
        if version.loop is not None:
            links += [*self._run_links(version.loop), *map(self._dataset_link, version.loop.datasets)]
        elif version.run is not None:
            links += self._client_links(version, version.run)
        return VersionExplanation(model=version.model, version=version.number, links=tuple(links))

    def _copied_links(self, version: CatalogVersion) -> Sequence[Link]:
        """Tell which version this one is a copy of, and compare their files."""
        made = Node(NodeKind.MODEL_VERSION, f"{version.model}@{version.number}")
        named = [edge.source.id for edge in self._events.sources(made) if edge.source.kind is NodeKind.MODEL_VERSION]
        found = []
        for name in named:
            model, _, number = name.rpartition("@")
            source = self._registered.find_version(ModelName(model), int(number))
            same = source.digest == version.digest if source is not None and source.digest is not None else None
            told = {True: "Both have the same files.", False: "Their files differ.", None: "There is nothing to compare."}
            found.append(Link(title="copy of", summary=f"It is a copy of {name}.", verified=same, check=told[same]))
        return found

    def _client_links(self, version: CatalogVersion, run: RunId) -> Sequence[Link]:
        try:
            detail = self._runs.detail(run)
        except NotFound:
            told = f"Run {run}, which its client named, is not in the store."
            return [Link(title="run", summary=told, verified=None, check="A client may name any run.")]
        if detail.run.content_key is None:
            return client_run_links(version, detail)
        edges = self._events.sources(Node(NodeKind.RUN, run))
        made, *_ = client_run_links(version, detail)
        known = [code_link(detail.run, edges), environment_link(detail.run, edges), params_link(detail.run, edges)]
        return [made, *known, *map(self._dataset_link, detail.run.inputs)]

    def sources(self, node: Node) -> tuple[Edge, ...]:
        """List the edges up from a node to everything it was made of, nearest first."""
        return sources_of(self._events, node)

    def uses(self, node: Node) -> tuple[Edge, ...]:
        """List the edges down from a node to everything made of it, nearest first."""
        return uses_of(self._events, node)

    def _made_links(
        self, logged: Logged, version: ModelVersion | None, *, deployment: Deployment | None
    ) -> tuple[Link, ...]:
        number = logged.batch.versions[logged.row]
        given = self._registered.find_version(logged.batch.model, number) if version is None else None
        if given is not None:
            return (
                files_link(given, self._blobs),
                registration_link(given),
                *self._copied_links(given),
                unjudged_link(given),
                approver_link(number, deployment, moves=self._moves(logged)),
                *(self._client_links(given, given.run) if given.run is not None else ()),
            )
        if version is None:
            missing = f"Version {number} of {logged.batch.model} is not in the store; nothing behind it can be told."
            return (Link(title="model version", summary=missing, verified=False, check="It is not registered."),)
        return (
            self._version_link(version),
            self._verdict_link(version),
            approver_link(version.number, deployment, moves=self._moves(logged)),
            *self._run_links(version),
            *(self._dataset_link(digest) for digest in version.datasets),
        )

    def _inputs(self, version: ModelVersion | None, logged: Logged) -> Sequence[str] | None:
        """Name the columns that a version of tables reads, whoever registered it; None where that is not known."""
        if version is not None:
            return [column.name for column in version.signature.inputs]
        served = self._models.servable(logged.batch.model, logged.batch.versions[logged.row])
        return None if served is None or served.signature is None else [column.name for column in served.signature.inputs]

    def _version_link(self, version: ModelVersion) -> Link:
        upto = f"{version.trained_upto:%Y-%m-%d %H:%M}"
        verified, check = True, "Its files were read, and are bit for bit what was registered."
        try:
            self._blobs.get_tree(version.digest)
        except (NotFound, StoreBroken) as error:
            verified, check = False, f"Its files cannot be read: {error}"
        return Link(
            title="model version",
            summary=f"Version {version.number} of {version.model}, trained on what was known at {upto}.",
            verified=verified,
            check=check,
            digest=version.digest,
            facts={
                "number": version.number,
                "format": version.format,
                "service": version.service,
                "inputs": len(version.signature.inputs),
                "registered_at": version.registered_at.isoformat(),
                "trained_upto": version.trained_upto.isoformat(),
            },
        )

    def _verdict_link(self, version: ModelVersion) -> Link:
        made = Node(NodeKind.MODEL_VERSION, f"{version.model}@{version.number}")
        named = (edge.source.id for edge in self._events.sources(made) if edge.source.kind is NodeKind.VERDICT)
        digest = next((Digest(name) for name in named), None)
        return verdict_link(version, self._verdict(digest) if digest else None, digest=digest)

    def _verdict(self, digest: Digest) -> Verdict | None:
        try:
            return read_verdict(self._blobs.get(digest))
        except (NotFound, StoreBroken, msgspec.DecodeError):
            return None

    def _moves(self, logged: Logged) -> Sequence[AliasMove]:
        moves = [move for move in self._models.moves(logged.batch.model) if move.alias == CHAMPION]
        return [move for move in moves if move.moved_at <= logged.batch.at] or moves

    def _run_links(self, version: ModelVersion) -> tuple[Link, ...]:
        try:
            run = self._runs.get(version.run)
        except NotFound as error:
            return (Link(title="run", summary=f"Run {version.run} trained it.", verified=False, check=str(error)),)
        edges = self._events.sources(Node(NodeKind.RUN, run.id))
        return (run_link(run, version), code_link(run, edges), environment_link(run, edges), params_link(run, edges))

    def _dataset_link(self, digest: Digest) -> Link:
        version = self._datasets.find_digest(digest)
        if version is None:
            missing = "A dataset version that the model was trained on is not in the store."
            return Link(title="dataset version", summary=missing, verified=False, check="It is gone.", digest=digest)
        verified, check = self._checked(version)
        erased = f" Rows were erased from it at {version.erased_at:%Y-%m-%d %H:%M} UTC." if version.erased_at else ""
        return Link(
            title="dataset version",
            summary=f"Version {version.number} of {version.dataset}: {version.rows:,} rows.{erased}",
            verified=verified,
            check=check,
            digest=digest,
            facts={
                "dataset": version.dataset,
                "number": version.number,
                "rows": version.rows,
                "parts": len(version.parts),
                "upto": version.upto.isoformat() if version.upto else None,
                **({"erased_at": version.erased_at.isoformat()} if version.erased_at else {}),
            },
        )

    def _checked(self, version: DatasetVersion) -> tuple[bool | None, str]:
        """Read what a version holds; after an erasure that is no longer what was committed, and can only be there."""
        many = f"{len(version.parts)} parts"
        try:
            for part in version.parts:
                self._blobs.get(part.digest)
        except (NotFound, StoreBroken) as error:
            return False, f"A part cannot be read: {error}"
        if version.erased_at is not None:
            return None, f"The event data_erased says who erased rows, and why; the {many} that are left were read."
        return True, f"All {many} were read, and are bit for bit what was committed."


def answer_link(logged: Logged) -> Link:
    """Tell what was answered, and check that the record agrees with itself. To who is held out a coin was served, not the
    model's answer."""
    batch, row = logged.batch, logged.row
    version, served = batch.versions[row], served_at_random(batch, row)
    coin = f" The caller was served a coin instead: {served:g}." if served is not None else ""
    scored = any(number == version and row in rows for number, rows in batch.batches)
    return Link(
        title="answer",
        summary=f"Version {version} of {batch.model} answered {batch.outputs[row]:.6g} for {batch.at:%Y-%m-%d %H:%M} UTC."
        + coin,
        verified=scored,
        check=(
            "The record in the prediction log is whole and says in which batch the row was scored."
            if scored
            else "The record in the prediction log does not say that this version scored the row."
        ),
        digest=logged.record,
        facts={
            "output": batch.outputs[row],
            "request": batch.request,
            "row": batch.rows[row] if batch.rows else row,
            "at": batch.at.isoformat(),
            "entity": batch.entity(row),
            **({"served at random": served} if served is not None else {}),
            **{f"shadow answer of version {number}": answers[row] for number, answers in batch.shadow.items()},
        },
    )


def features_link(logged: Logged, inputs: Sequence[str] | None) -> Link:
    """Tell which values the model saw, and check that they are its inputs and that none is from after the answer.

    `inputs` are the columns that the version reads; None for a model of tensors, whose inputs the log keeps in part.
    """
    batch, row = logged.batch, logged.row
    values = {name: column[row] for name, column in batch.features.items()}
    as_of = {f"{view} as of": times[row] for view, times in batch.as_of.items()}
    late = [name for name, time in as_of.items() if time is not None and time > batch.at]
    verified: bool | None
    if late:
        verified, check = False, f"From after the answer's time: {', '.join(late)}."
    elif inputs is None:
        verified, check = None, "What the model reads cannot be told; these are the values that were logged."
    elif [*values] != [*inputs]:
        verified, check = False, f"The model reads {', '.join(inputs)}; logged are {', '.join(values)}."
    else:
        verified, check = True, "They are the model's inputs in their order, and none is from after the answer's time."
    return Link(
        title="features",
        summary=f"{len(values)} values from {batch.service}, {len(as_of)} of its views looked up."
        if batch.service not in ("", batch.model)
        else f"{len(values)} values, all brought by the request.",
        verified=verified,
        check=check,
        digest=digest_of(values),
        facts={**values, **{name: time.isoformat() if time else None for name, time in as_of.items()}},
    )
