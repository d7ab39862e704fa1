"""Many who log at once: threads of one process, and processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.contract.test_metastore_events import broken_at
from tests.contract.test_metastore_races import outputs

from kedge.adapters.clock import SystemClock
from kedge.domain.ids import DEFAULT_EXPERIMENT, RunId, digest_of
from kedge.domain.tracking import Metric, RunStatus
from kedge.errors import ParamChanged
from kedge.storage.sql import SqlStore, open_store
from kedge.tracking.logging import Logging
from kedge.tracking.room import Tracking

THREADS, BATCHES, PROCESSES = 8, 40, 4

CREATOR = """
import sys
from kedge.adapters.clock import SystemClock
from kedge.errors import NameTaken
from kedge.storage.sql import open_store
from kedge.tracking.logging import Logging
url, me = sys.argv[1:]
logging = Logging(meta=open_store(url), clock=SystemClock())
won = 0
for number in range(20):
    try:
        logging.create_experiment(f"race {number}")
        won += 1
    except NameTaken as taken:
        assert not taken.deleted
    assert logging.ensure_experiment(f"ensured {number}").name == f"ensured {number}"
print(won)
"""

LOGGER = """
import sys
from kedge.adapters.clock import SystemClock
from kedge.domain.ids import DEFAULT_EXPERIMENT, RunId
from kedge.domain.tracking import Metric
from kedge.storage.sql import open_store
from kedge.tracking.logging import Logging
url, me = sys.argv[1:]
logging = Logging(meta=open_store(url), clock=SystemClock())
run = logging.create_run(DEFAULT_EXPERIMENT, run=RunId("shared")).id
for step in range(50):
    logging.log(run, metrics=[Metric(key=key, value=float(me), at=step, step=step) for key in ("a", "b", "c")])
    logging.log(run, tags={"last": me}, params={f"p{step}": "1"})
print(0)
"""


def rooms(store: SqlStore) -> Logging:
    return Logging(meta=store, clock=SystemClock())


def test_processes_that_create_the_same_experiments_make_each_once(shared_url: str) -> None:
    open_store(shared_url).close()
    assert sum(int(out) for out in outputs(CREATOR, shared_url)) == 20
    store = open_store(shared_url)
    with store._hot.reading() as session:
        assert session.row("SELECT COUNT(*) FROM experiments") == (41,)
    assert broken_at(store) is None
    store.close()


def test_processes_log_to_one_run(shared_url: str) -> None:
    store = open_store(shared_url)
    rooms(store).create_run(DEFAULT_EXPERIMENT, run=RunId("shared"))
    outputs(LOGGER, shared_url)
    for key in ("a", "b", "c"):
        assert len(store.points.history(RunId("shared"), key, limit=1000)) == 50 * PROCESSES
    detail = store.runs.detail(RunId("shared"))
    assert {(one.step, one.value) for one in detail.latest} == {(49, PROCESSES - 1.0)}
    assert len(detail.run.params) == 50
    store.close()


def test_threads_log_to_one_run(store: SqlStore) -> None:
    logging = rooms(store)
    run = logging.create_run(DEFAULT_EXPERIMENT).id

    def work(me: int) -> None:
        keys = [f"k{at}" for at in range(20)]
        for batch in range(BATCHES):
            order = keys if me % 2 else keys[::-1]
            logging.log(run, metrics=[Metric(key=key, value=float(me), at=batch, step=batch) for key in order])
            logging.log(run, tags={f"t{me}": str(batch), "all": str(me)}, params={f"p{batch}": "1"})
            assert logging.get_run(run).run.tags[f"t{me}"] == str(batch)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    found = logging.get_run(run)
    assert {(one.step, one.at, one.value) for one in found.latest} == {(BATCHES - 1, BATCHES - 1, THREADS - 1.0)}
    assert len(found.latest) == 20
    assert len(found.run.params) == BATCHES
    assert len(logging.history(run, "k0", limit=10_000).items) == BATCHES * THREADS


def test_of_many_values_of_one_param_one_wins(store: SqlStore) -> None:
    logging = rooms(store)
    run = logging.create_run(DEFAULT_EXPERIMENT).id
    refused: list[tuple[str, str]] = []

    def work(me: int) -> None:
        try:
            logging.log(run, params={"p": str(me), "same": "1"})
        except ParamChanged as error:
            refused.append((error.old, error.new))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(40)))
    assert len(refused) == 39
    won = logging.get_run(run).run.params["p"]
    assert {old for old, _ in refused} == {won}
    assert {new for _, new in refused} == {str(me) for me in range(40)} - {won}


def test_threads_that_end_and_delete_runs_leave_a_whole_chain(store: SqlStore) -> None:
    logging = rooms(store)
    home = logging.create_experiment("busy").id

    def work(me: int) -> None:
        for _ in range(10):
            run = logging.create_run(home, tags={"a": str(me)}).id
            logging.update_run(run, status=RunStatus.FINISHED)
            logging.delete_run(run)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert broken_at(store) is None
    assert len([*store.events.chain()]) == 1 + 30 * THREADS
    assert logging.count_runs([home])[home].runs == 0


def test_the_loop_finds_its_experiment_whoever_was_first(store: SqlStore) -> None:
    class Project:
        def code(self) -> None: ...
        def environment(self) -> None: ...

    tracking = Tracking(runs=store.runs, experiments=store.experiments, project=Project(), clock=SystemClock())  # type: ignore[arg-type]

    def start(me: int) -> str:
        started = tracking.start(
            experiment="flights", name="n", content_key=digest_of("train", me), inputs=(), params={}, tags={}
        )
        return started.experiment

    with ThreadPoolExecutor(THREADS) as pool:
        homes = set(pool.map(start, range(16)))
    assert len(homes) == 1
    rooms(store).rename_experiment(homes.pop(), "other")  # type: ignore[arg-type]
    assert start(99) == store.experiments.find("flights").id  # type: ignore[union-attr]
    assert len(store.runs.list("other")) == 16
