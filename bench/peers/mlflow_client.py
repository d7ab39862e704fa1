"""Drive several servers alternately with one unmodified MLflow client, in its environment; print what each took.

python mlflow_client.py '{"servers": {"MLflow": URL, ...}, "pieces": {"search": [1, 3]}}'        its last line is JSON
"""

import json
import sys
import time

from mlflow.entities import Metric, Param

import mlflow


def clocked(act) -> float:
    """Give the seconds that a call took."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


class Work:
    """The pieces of work, on one server."""

    def __init__(self, url, names) -> None:
        self.client = mlflow.MlflowClient(tracking_uri=url)
        self.names = names
        self.run = self.client.create_run("0").info.run_id
        self.now = int(time.time() * 1000)
        self.step = 0

    def log_metric(self) -> None:
        self.step += 1
        self.client.log_metric(self.run, "loss", 0.5, self.now + self.step, self.step, synchronous=True)

    def log_batch(self) -> None:
        points = [Metric("many", float(one), self.now + self.step + one, self.step + one) for one in range(1000)]
        self.step += 1000
        self.client.log_batch(self.run, metrics=points, synchronous=True)

    def run_whole(self) -> None:
        run = self.client.create_run("0", run_name="one").info.run_id
        self.client.log_batch(run, params=[Param(f"p{one}", str(one)) for one in range(5)])
        self.client.log_batch(run, metrics=[Metric(f"m{one}", float(one), self.now, 0) for one in range(5)])
        self.client.set_terminated(run)

    def search(self) -> None:
        experiment = [self.names["experiment"]]
        found = self.client.search_runs(experiment, "metrics.m0 > 0.5", order_by=["metrics.m0 DESC"], max_results=100)
        assert len(found) == 100, len(found)

    def history(self) -> None:
        found = self.client.get_metric_history(self.names["run"], "long")
        assert len(found) == self.names["points"], len(found)


def main() -> None:
    """Do each piece of work on each server in turn, and print the median seconds."""
    asked = json.loads(sys.argv[1])
    works = {name: Work(one["url"], one) for name, one in asked["servers"].items()}
    taken = {}
    for piece, (times, rounds) in asked["pieces"].items():
        seconds = {name: [] for name in works}
        for work in works.values():
            getattr(work, piece)()  # warm
        for _ in range(rounds):
            for name, work in works.items():
                act = getattr(work, piece)
                seconds[name].append(clocked(lambda act=act, times=times: [act() for _ in range(times)]) / times)
        taken[piece] = {name: sorted(each)[len(each) // 2] for name, each in seconds.items()}
    sys.stdout.write(f"\n{json.dumps(taken)}\n")


if __name__ == "__main__":
    main()
