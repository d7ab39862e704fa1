"""Training: from a training frame to a candidate, as a tracked run that is made once for the same inputs.

    run found by content key    -> the candidate that was made then
    result found by content key -> a run of our own over the same files
    claimed                     -> job in its own process -> files in the blob store -> run FINISHED, claim released
    held by another             -> wait for its result, or for the end of its lease
A killed training leaves a RUNNING run and a claim; the same call takes both up again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from kedge.domain.durations import seconds_of
from kedge.domain.ids import Digest
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import MODEL_ARTIFACT, Candidate, candidate_of, candidate_tags
from kedge.domain.tracking import Run, RunStatus, Usage
from kedge.errors import StoreBroken, TrainingFailed, WasDeleted
from kedge.pipelines.cache import Result, Results, content_key, params_of
from kedge.pipelines.measured import pack, unpack
from kedge.pipelines.rows import work_of
from kedge.pipelines.run import Made, Work
from kedge.pipelines.trace import place_of, sentence_of
from kedge.ports import BlobStore, Clock, JobFailed, JobRunner, Project, Runs
from kedge.retraining.budget import exhausted, is_limited, recent_runs, spent
from kedge.security.redact import redact, redacted
from kedge.tracking.room import Tracking

if TYPE_CHECKING:
    from kedge.features.frame import TrainingFrame

TRACEBACK_ARTIFACT = "traceback"
LEASE_MARGIN_SECONDS = 120.0  # beyond the time limit: to start the process and to store the model
POLL_SECONDS = 0.2


class Pipelines:
    """Trains models.

    `execute(project_root, reference, work)` is the importable function that a job runs: it loads the project and returns
    `make(...)`. `owner` names this process in claims: different for processes that may run side by side, the same after
    a restart, so that its own claim is taken up again at once. Claims end by real time, also where `clock` plays the
    past; `pause` sleeps the given seconds.
    """

    def __init__(
        self,
        *,
        tracking: Tracking,
        runs: Runs,
        results: Results,
        jobs: JobRunner,
        blobs: BlobStore,
        project: Project,
        clock: Clock,
        execute: Callable[[str, str, Work], Made],
        project_root: str,
        owner: str,
        pause: Callable[[float], None],
    ) -> None:
        self._tracking, self._runs, self._results, self._jobs, self._blobs = tracking, runs, results, jobs, blobs
        self._project, self._clock, self._execute = project, clock, execute
        self._root, self._owner, self._pause = project_root, owner, pause

    def train(self, spec: ProjectSpec, frame: TrainingFrame) -> Candidate:
        """Train on a frame, or find what the same training made before. Raises TrainingFailed; the run says why."""
        key = self._content_key(spec, frame)
        if (done := self._tracking.find(key)) is not None:
            return _candidate(done)
        self._require_budget(spec, key)
        lease = seconds_of(spec.training.time_limit) + LEASE_MARGIN_SECONDS
        if (result := self._claim(key, lease)) is not None:
            return _candidate(self._finish(self._start(spec, frame, key=key), result))
        try:
            return _candidate(self._train(spec, frame, key=key))
        finally:
            self._results.release(key, self._owner)

    def _content_key(self, spec: ProjectSpec, frame: TrainingFrame) -> Digest:
        return content_key(
            spec.training,
            frame.task,
            code=self._project.code().digest,
            environment=self._project.environment().digest,
            frame=frame.digest,
        )

    def _claim(self, key: Digest, lease: float) -> Result | None:
        """Wait until the result is there (given), or ours to make (None)."""
        while (result := self._results.find(key)) is None:
            if self._results.claim(key, self._owner, seconds=lease):
                # between our look and our claim another process may have finished
                result = self._results.find(key)
                if result is not None:
                    self._results.release(key, self._owner)
                return result
            self._pause(POLL_SECONDS)
        return result

    def _train(self, spec: ProjectSpec, frame: TrainingFrame, *, key: Digest) -> Run:
        work = work_of(spec, frame)
        signature, waiting = work.signature, [work]
        del work  # as large as the frame, and only the job needs it: the call below takes it along
        run = self._start(spec, frame, key=key)
        limit = seconds_of(spec.training.time_limit)
        made, usage = self._jobs.call(self._execute, self._root, spec.training.pipeline, waiting.pop(), seconds=limit)
        if isinstance(made, JobFailed):
            self._fail(run, made, of=spec.name, usage=usage)
        files = self._blobs.put_tree(made.files)
        tags = candidate_tags(made.format, signature, trained_upto=frame.trained_upto)
        points = self._blobs.put(pack(made.points)) if made.points else None
        result = Result(files=files, metrics=made.metrics, tags=tags, usage=usage, points=points)
        self._results.keep(key, result)
        return self._finish(run, result)

    def _start(self, spec: ProjectSpec, frame: TrainingFrame, *, key: Digest) -> Run:
        return self._tracking.start(
            experiment=spec.name,
            name=spec.training.pipeline or "boosting",
            content_key=key,
            inputs=frame.versions,
            params=redacted(params_of(spec.training)),
            tags=redacted({"service": frame.service, "service_digest": frame.service_digest}),
        )

    def _finish(self, run: Run, result: Result) -> Run:
        made = {MODEL_ARTIFACT: result.files}
        if result.points is not None:
            points = unpack(self._blobs.get(result.points), began=run.started_at)
            with suppress(WasDeleted):  # who deleted the run meanwhile does not want its curve
                self._runs.log(run.id, metrics=points)  # before it is finished: once more after a kill changes nothing
        return self._tracking.finish(run, metrics=result.metrics, artifacts=made, usage=result.usage, tags=result.tags)

    def _require_budget(self, spec: ProjectSpec, key: Digest) -> None:
        budget, now = spec.training.budget, self._clock.now()
        if not is_limited(budget):
            return
        # our own run, left by a killed process, was counted when it started
        runs = [
            run
            for run in recent_runs(self._runs, spec.name, now=now)
            if not (run.content_key == key and run.status is RunStatus.RUNNING)
        ]
        if reason := exhausted(budget, spent(runs, now)):
            raise TrainingFailed(f"not trained: {reason}; wait, or raise the limit in training.budget")

    def _fail(self, run: Run, failed: JobFailed, *, of: str, usage: Usage) -> NoReturn:
        place = place_of(failed.traceback, self._root)
        where = f" at {place.file}:{place.line}" if place else ""
        error = redact(f"training of {of}{where}: {sentence_of(failed.reason)}")
        artifacts = {}
        if failed.traceback:
            artifacts[TRACEBACK_ARTIFACT] = self._blobs.put(redact(failed.traceback).encode())
        self._tracking.fail(run, error=error, usage=usage, artifacts=artifacts)
        raise TrainingFailed(f"{error} (run {run.id})")


def _candidate(run: Run) -> Candidate:
    """Read the candidate of a finished training."""
    made = candidate_of(run)
    if made is None:
        raise StoreBroken(f"run {run.id} has finished, but names no model; restore the store from a backup")
    return made
