"""Autologging of the real frameworks, each in a script of its own: it changes their classes for the whole process."""

import json
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from kedge.domain.tracking import LoggedModelStatus, RunStatus
from kedge.records import open_records
from kedge.settings import settings
from kedge.tracking.search import experiments_query, runs_query

ROOT = Path(__file__).parents[2]
HEAD = """
import kedge
{before}
kedge.autolog("auto")
{after}
from sklearn.datasets import make_classification, make_regression
rows, labels = make_classification(n_samples=120, n_features=5, random_state=0)
numbers, targets = make_regression(n_samples=120, n_features=5, random_state=0)
"""


@pytest.fixture
def ran(tmp_path):
    """Run a script after `kedge.autolog()`, and give the records of what it logged."""
    opened = []

    def run(body, *, before="", after="", python=sys.executable):
        (tmp_path / "train.py").write_text(HEAD.format(before=before, after=after) + textwrap.dedent(body))
        unset = {"KEDGE_STORE", "KEDGE_URL"}
        env = {name: value for name, value in os.environ.items() if name not in unset}
        env |= {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([python, "train.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        opened.append(open_records(settings(tmp_path, store=str(tmp_path / ".kedge"), server="")))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def runs(records) -> list:
    """Give all runs, oldest first."""
    ids = [one.id for one in records.logging.search_experiments(experiments_query()).items]
    query = runs_query(experiments=ids, order=("attributes.start_time ASC",))
    return list(records.logging.search_runs(query).items)


def points(records, run, key) -> list[float]:
    return [value for _, _, value in records.logging.history(run.id, key, limit=1000).items]


def the_model(records, detail):
    (output,) = detail.models_out
    model = records.logging.get_model(output.model)
    assert model.status is LoggedModelStatus.READY
    assert records.artifacts.walk(model.id)
    return model


IMPORTED = "from sklearn.linear_model import LogisticRegression"
ONLY_ASKED = "from importlib.util import find_spec; assert find_spec('sklearn.base')"


@pytest.mark.parametrize(
    "script",
    [{"before": IMPORTED}, {"after": IMPORTED}, {"after": f"{ONLY_ASKED}; {IMPORTED}"}],
    ids=["before", "after", "asked"],
)
def test_scikit_learn_logs_a_fit_whenever_it_was_imported(ran, script) -> None:
    records = ran("LogisticRegression(C=0.5).fit(rows, labels)", **script)
    (found,) = runs(records)
    assert (found.run.name, found.run.status) == ("LogisticRegression", RunStatus.FINISHED)
    assert found.run.params["C"] == "0.5"
    assert found.run.tags["kedge.autolog"] == "sklearn"
    assert 0.8 < found.run.metrics["training_accuracy_score"] <= 1
    assert found.run.metrics["training_score"] == found.run.metrics["training_accuracy_score"]
    assert {"training_log_loss", "training_roc_auc", "training_f1_score"} <= set(found.run.metrics)
    assert the_model(records, found).model_type == "skops"


def test_a_fit_within_a_fit_is_part_of_it(ran) -> None:
    records = ran(
        """
        from sklearn.ensemble import BaggingRegressor
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 1.0]}, cv=3)
        with kedge.run("mine", name="search", system_metrics=False):
            search.fit(numbers, targets)
        BaggingRegressor(Ridge(), n_estimators=4, n_jobs=2).fit(numbers, targets)
        """
    )
    search, bagging = runs(records)
    assert (search.run.name, bagging.run.name) == ("search", "BaggingRegressor")
    assert search.run.params["best_ridge__alpha"] in ("0.1", "1.0")
    assert search.run.metrics["best_cv_score"] > 0.9
    assert search.run.metrics["training_r2_score"] > 0.9
    table = records.artifacts.get(search.run.id, "cv_results.csv")
    assert b"mean_test_score" in b"".join(records.artifacts.read(table))


def test_each_further_fit_in_a_run_is_a_run_within_it_and_transformers_are_none(ran) -> None:
    records = ran(
        """
        from sklearn.linear_model import Ridge
        from sklearn.preprocessing import StandardScaler
        with kedge.run("mine", name="outer", system_metrics=False):
            StandardScaler().fit(numbers)
            for alpha in (0.1, 1.0, 10.0):
                Ridge(alpha=alpha).fit(numbers, targets)
        """
    )
    outer, *inner = runs(records)
    assert outer.run.params["alpha"] == "0.1"
    assert sorted(one.run.params["alpha"] for one in inner) == ["1.0", "10.0"]
    assert {one.run.tags["mlflow.parentRunId"] for one in inner} == {outer.run.id}


def test_a_fit_that_raises_raises_as_ever_and_the_next_is_logged(ran) -> None:
    records = ran(
        """
        from sklearn.linear_model import Ridge
        try:
            Ridge().fit(numbers, targets[:3])
        except ValueError as error:
            assert "inconsistent" in str(error)
        else:
            raise AssertionError
        Ridge().fit(numbers, targets)
        """
    )
    assert [one.run.status for one in runs(records)] == [RunStatus.FAILED, RunStatus.FINISHED]


@pytest.mark.skipif(find_spec("xgboost") is None, reason="XGBoost is not installed: pip install 'kedge[xgboost]'")
def test_xgboost_logs_each_iteration_in_both_its_ways(ran) -> None:
    records = ran(
        """
        import xgboost
        data = xgboost.DMatrix(rows, labels)
        params = {"objective": "binary:logistic", "max_depth": 2}
        xgboost.train(params, data, num_boost_round=7, evals=[(data, "train")], verbose_eval=False)
        xgboost.XGBRegressor(n_estimators=5, max_depth=2).fit(numbers, targets, eval_set=[(numbers, targets)], verbose=False)
        """
    )
    native, wrapped = runs(records)
    assert (native.run.params["max_depth"], native.run.params["num_boost_round"]) == ("2", "7")
    losses = points(records, native.run, "train-logloss")
    assert len(losses) == 7
    assert losses == sorted(losses, reverse=True)
    assert the_model(records, native).model_type == "xgboost"
    assert wrapped.run.name == "XGBRegressor"
    assert wrapped.run.params["n_estimators"] == "5"
    assert len(points(records, wrapped.run, "validation_0-rmse")) == 5
    assert wrapped.run.metrics["training_r2_score"] > 0
    assert the_model(records, wrapped).model_type == "xgboost"


@pytest.mark.skipif(find_spec("lightgbm") is None, reason="LightGBM is not installed: pip install 'kedge[lightgbm]'")
def test_lightgbm_logs_each_iteration_in_both_its_ways(ran) -> None:
    records = ran(
        """
        import lightgbm
        data = lightgbm.Dataset(rows, labels)
        params = {"objective": "binary", "num_leaves": 4, "verbosity": -1}
        lightgbm.train(params, data, num_boost_round=7, valid_sets=[data], valid_names=["train"])
        lightgbm.LGBMRegressor(n_estimators=5, verbosity=-1).fit(numbers, targets, eval_set=[(numbers, targets)])
        """
    )
    native, wrapped = runs(records)
    assert (native.run.params["num_leaves"], native.run.params["num_boost_round"]) == ("4", "7")
    assert len(points(records, native.run, "train-binary_logloss")) == 7
    assert the_model(records, native).model_type == "lightgbm"
    assert wrapped.run.name == "LGBMRegressor"
    (name,) = [key for key in wrapped.run.metrics if key.endswith("-l2")]
    assert len(points(records, wrapped.run, name)) == 5
    assert the_model(records, wrapped).model_type == "lightgbm"


LIGHTNING = os.environ.get("KEDGE_TEST_LIGHTNING", sys.executable if find_spec("pytorch_lightning") else "")


@pytest.mark.skipif(
    not LIGHTNING, reason="PyTorch Lightning is not installed; KEDGE_TEST_LIGHTNING may name a Python that has it"
)
def test_lightning_logs_steps_and_epochs_through_its_callback(ran) -> None:
    records = ran(
        """
        import pytorch_lightning as pl
        import torch

        class Line(pl.LightningModule):
            def __init__(self, rate=0.05):
                super().__init__()
                self.save_hyperparameters()
                self.layer = torch.nn.Linear(5, 1)

            def training_step(self, batch, _):
                loss = ((self.layer(batch[0]).squeeze(1) - batch[1]) ** 2).mean()
                self.log("loss", loss, on_step=True, on_epoch=True)
                return loss

            def validation_step(self, batch, _):
                self.log("val_loss", ((self.layer(batch[0]).squeeze(1) - batch[1]) ** 2).mean())

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=self.hparams.rate)

        data = torch.utils.data.TensorDataset(torch.tensor(numbers).float(), torch.tensor(targets).float() / 100)
        loader = torch.utils.data.DataLoader(data, batch_size=20)
        quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
        pl.Trainer(max_epochs=3, log_every_n_steps=2, accelerator="cpu", **quiet).fit(Line(), loader, loader)
        """,
        python=LIGHTNING,
    )
    (found,) = runs(records)
    assert (found.run.name, found.run.status) == ("Line", RunStatus.FINISHED)
    assert (found.run.params["rate"], found.run.params["max_epochs"]) == ("0.05", "3")
    assert found.run.params["optimizer.0"] == "SGD"
    assert len(points(records, found.run, "loss_epoch")) == 3
    assert len(points(records, found.run, "val_loss")) == 3
    assert len(points(records, found.run, "loss_step")) == 9


def test_autolog_imports_no_framework() -> None:
    code = (
        "import sys, json, kedge; kedge.autolog();"
        "print(json.dumps([name for name in ('sklearn', 'xgboost', 'lightgbm', 'torch', 'polars') if name in sys.modules]))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
