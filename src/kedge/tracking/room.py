"""Runs: what went in, what came out, what it cost. A run is named by its content key; each step writes one event.

    (nothing) --start--> RUNNING --finish--> FINISHED
                            |-----fail-----> FAILED      the next start with the same key is a new attempt, a new run
A run left RUNNING by a killed process is taken up again under its name.
"""

from collections.abc import Mapping
from contextlib import suppress
from itertools import count

import msgspec

from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.ids import Digest, ExperimentId, RunId, digest_of, experiment_id, run_id
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.tracking import Experiment, Run, RunStatus, Usage
from kedge.errors import Conflict, NotFound
from kedge.ports import Clock, Experiments, Project, Runs

ACTOR = "kedge"


class Tracking:
    """Keeps runs."""

    def __init__(self, *, runs: Runs, experiments: Experiments, project: Project, clock: Clock) -> None:
        self._runs, self._experiments, self._project, self._clock = runs, experiments, project, clock

    def find(self, content_key: Digest) -> Run | None:
        """Find the finished run of these inputs."""
        return self._runs.find_key(content_key)

    def start(
        self,
        *,
        experiment: str,
        name: str,
        content_key: Digest,
        inputs: tuple[Digest, ...],
        params: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> Run:
        """Start a run, or take up the one that is running or finished under this key; a failed one is tried anew."""
        wanted, known = self._attempt(content_key)
        if known is not None:
            return known
        run = Run(
            id=wanted,
            experiment=self._experiment(experiment),
            name=name,
            content_key=content_key,
            status=RunStatus.RUNNING,
            code=self._project.code(),
            environment=self._project.environment(),
            inputs=inputs,
            started_at=self._clock.now(),
            params=dict(params),
            tags=dict(tags),
        )
        return self._write(run, EventKind.RUN_STARTED, f"Run {run.id} ({name}) of {experiment} started.", of=experiment)

    def finish(
        self,
        run: Run,
        *,
        metrics: Mapping[str, float],
        artifacts: Mapping[str, Digest],
        usage: Usage,
        tags: Mapping[str, str] | None = None,
    ) -> Run:
        """Finish a run with what it made; its event adds what it depended on to the lineage graph."""
        finished = msgspec.structs.replace(
            run,
            status=RunStatus.FINISHED,
            ended_at=self._clock.now(),
            metrics={**run.metrics, **metrics},
            artifacts={**run.artifacts, **artifacts},
            tags={**run.tags, **(tags or {})},
            usage=usage,
            error="",
        )
        name = self._experiments.get(run.experiment).name
        message = f"Run {run.id} ({run.name}) of {name} finished after {usage.wall_seconds:.1f} s."
        try:
            return self._write(finished, EventKind.RUN_FINISHED, message, of=name, edges=edges_of(finished))
        except Conflict:
            # our lease ended and another attempt came in first: same inputs, so its result is ours
            if run.content_key is None or (done := self.find(run.content_key)) is None:
                raise
            return done

    def fail(self, run: Run, *, error: str, usage: Usage, artifacts: Mapping[str, Digest] | None = None) -> Run:
        """End a run without a result; `error` is one sentence, the traceback may be kept as an artifact."""
        failed = msgspec.structs.replace(
            run,
            status=RunStatus.FAILED,
            ended_at=self._clock.now(),
            artifacts={**run.artifacts, **(artifacts or {})},
            usage=usage,
            error=error,
        )
        name = self._experiments.get(run.experiment).name
        return self._write(failed, EventKind.RUN_FAILED, f"Run {run.id} ({run.name}) of {name} failed: {error}", of=name)

    def _experiment(self, name: str) -> ExperimentId:
        """Find the project's experiment, or make it."""
        attempts, now = count(), self._clock.now()
        while (found := self._experiments.find(name)) is None:
            made = Experiment(id=experiment_id(name, next(attempts)), name=name, created_at=now, updated_at=now)
            event = Event(
                key=digest_of(EventKind.EXPERIMENT_CREATED.value, made.id),
                kind=EventKind.EXPERIMENT_CREATED,
                at=now,
                subject=name,
                actor=ACTOR,
                message=f"Experiment {name} was created for the runs of this project.",
            )
            with suppress(Conflict):  # another process was first, or this id now bears another name
                self._experiments.add(made, event)
        return found.id

    def _attempt(self, content_key: Digest) -> tuple[RunId, Run | None]:
        """Name the newest attempt at this key, with its run where that did not fail."""
        attempt = 0
        while True:
            name = run_id(content_key if attempt == 0 else digest_of(content_key, attempt))
            try:
                run = self._runs.get(name)
            except NotFound:
                return name, None
            if run.status is not RunStatus.FAILED:
                return name, run
            attempt += 1

    def _write(self, run: Run, kind: EventKind, message: str, *, of: str, edges: tuple[Edge, ...] = ()) -> Run:
        event = Event(
            key=digest_of(kind.value, run.id),
            kind=kind,
            at=run.ended_at or run.started_at,
            subject=of,
            actor=ACTOR,
            message=message,
            facts=facts_of(run),
            edges=edges,
        )
        self._runs.put(run, event)
        return self._runs.get(run.id)  # where another process was first, its row stands


def facts_of(run: Run) -> dict[str, Fact]:
    """Pick the figures that a run's event carries."""
    facts: dict[str, Fact] = {"run": run.id, "name": run.name}
    if run.code is not None:
        facts |= {"commit": run.code.commit, "dirty": run.code.dirty}
    if run.status is not RunStatus.RUNNING:
        facts |= {"cpu_seconds": run.usage.cpu_seconds, "peak_bytes": run.usage.peak_bytes, **run.metrics}
    return facts


def edges_of(run: Run) -> tuple[Edge, ...]:
    """Give the edges from a run to the dataset versions, the code, the environment and the params it was made of."""
    made = Node(NodeKind.RUN, run.id)
    data = tuple(Edge(made, Node(NodeKind.DATASET_VERSION, digest), "training data") for digest in run.inputs)
    edges = list(data)
    if run.code is not None:
        edges.append(Edge(made, Node(NodeKind.CODE, run.code.digest), "code"))
    if run.environment is not None:
        edges.append(Edge(made, Node(NodeKind.ENVIRONMENT, run.environment.digest), "environment"))
    return (*edges, Edge(made, Node(NodeKind.PARAMS, digest_of(run.params)), "params"))
