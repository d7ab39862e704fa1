"""Compiled forms answer as their originals do, at every threshold; what does not is found out and never answers."""

import importlib

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from kedge.adapters.onnx.trees import OnnxForm
from kedge.adapters.treelite.form import TreeliteForm
from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.errors import ModelRefused
from kedge.evaluation.parity import ToExamine, difference_of, examine, reference_rows, tolerance_of
from kedge.job import FORMATS, FORMS


def library(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed: compiled forms were NOT tested", allow_module_level=True)


ort, xgb, lgb = library("onnxruntime"), library("xgboost"), library("lightgbm")
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(500, 4))
GAPS = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)
LATE = (X[:, 0] + X[:, 1] * X[:, 2] + RANDOM.normal(size=500) > 0).astype(int)
AMOUNT = X[:, 0] * 3 + X[:, 1] ** 2
COUNT = RANDOM.poisson(np.exp(X[:, 0]))
QUIET = {"verbose": -1, "n_jobs": 1}
MODELS = {
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(GAPS, LATE),
    "boosting of amounts": lambda: HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(GAPS, AMOUNT),
    "boosting of counts": lambda: HistGradientBoostingRegressor(max_iter=9, loss="poisson", random_state=0).fit(X, COUNT),
    "one leaf": lambda: HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=400).fit(X, AMOUNT),
    "forest": lambda: RandomForestClassifier(7, random_state=0).fit(GAPS, LATE),
    "extra trees": lambda: ExtraTreesRegressor(5, random_state=0).fit(X, AMOUNT),
    "stages": lambda: GradientBoostingClassifier(n_estimators=9, random_state=0).fit(X, LATE),
    "xgboost": lambda: xgb.XGBClassifier(n_estimators=20).fit(GAPS, LATE),
    "xgboost dart": lambda: xgb.XGBRegressor(n_estimators=9, booster="dart", rate_drop=0.5).fit(X, AMOUNT),
    "xgboost counts": lambda: xgb.XGBRegressor(n_estimators=9, objective="count:poisson").fit(X, COUNT),
    "lightgbm": lambda: lgb.LGBMClassifier(n_estimators=20, **QUIET).fit(GAPS, LATE),
    "lightgbm, no gaps seen": lambda: lgb.LGBMRegressor(n_estimators=9, **QUIET).fit(X, AMOUNT),
}


def asked(model, rows=X[:20]):
    kept = next(each for each in FORMATS if each.accepts(model))
    inputs = tuple(Column(name=f"x{place}", type=ColumnType.FLOAT) for place in range(rows.shape[1]))
    task = Task.CLASSIFICATION if hasattr(model, "predict_proba") else Task.REGRESSION
    signature = Signature(inputs=inputs, task=task, output="y")
    files = kept.dump(model)
    return ToExamine(format=kept.name, files=files, signature=signature, rows=rows, tolerance=tolerance_of(kept.name))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("name", MODELS)
def test_a_form_answers_as_its_original_at_every_threshold(name, form):
    one = asked(MODELS[name]())
    found = examine(one, formats=FORMATS, forms=[form])
    compared = found.compared
    assert (compared.form, compared.fault) == (form.name, "")
    assert compared.difference <= one.tolerance
    assert compared.rows > 20
    assert len(compared.answers) == 20
    assert set(compared.libraries) >= {"treelite"}
    assert found.required == (("x0", "x1", "x2", "x3") if name == "stages" else ())
    again = form.load(compared.files, columns=4).predict(X[:20])
    assert tuple(again.tolist()) == compared.answers
    assert form.load(compared.files, columns=4).predict(X[:0]).shape == (0,)
    with pytest.raises(ModelRefused, match="its signature names 3"):
        form.load(compared.files, columns=3)


@pytest.mark.parametrize("model", [LogisticRegression(), DecisionTreeClassifier()], ids=lambda model: type(model).__name__)
def test_what_is_no_ensemble_of_trees_stays_as_it_is(model):
    found = examine(asked(model.fit(X, LATE)), formats=FORMATS, forms=FORMS)
    assert found.compared is None
    assert found.required == ("x0", "x1", "x2", "x3") * isinstance(model, LogisticRegression)


class Rounding(OnnxForm):
    """Rounds its rows to float32, as most runtimes of trees do."""

    def load(self, files, *, columns):
        exact = super().load(files, columns=columns)

        class Rounded:
            def predict(self, matrix):
                return exact.predict(matrix.astype(np.float32).astype(np.float64))

        return Rounded()


def test_rounding_at_a_threshold_is_found_where_ordinary_rows_show_nothing():
    one = asked(MODELS["boosting"]())
    rounding = Rounding()
    original = next(each for each in FORMATS if each.name == "skops").load(one.files, one.signature)
    rounded = rounding.load(rounding.compile("skops", one.files).files, columns=4)
    ordinary = RANDOM.normal(size=(500, 4))
    assert difference_of(original.predict(ordinary), rounded.predict(ordinary)) <= one.tolerance
    compared = examine(one, formats=FORMATS, forms=[rounding]).compared
    assert compared.difference > 1e-3
    assert examine(one, formats=FORMATS, forms=[rounding, TreeliteForm()]).compared.form == "treelite"
    assert examine(one, formats=FORMATS, forms=[rounding]).compared.form == "onnx"  # told, with its difference


def test_a_form_that_cannot_compile_says_why():
    one = asked(lgb.LGBMClassifier(n_estimators=3, objective="binary", sigmoid=2.0, **QUIET).fit(X, LATE))
    compared = examine(one, formats=FORMATS, forms=[OnnxForm()]).compared
    assert "'sigmoid'" in compared.fault
    assert not compared.files


def test_a_form_without_its_library_is_not_tried(monkeypatch):
    monkeypatch.setattr(OnnxForm, "available", lambda self: False)
    assert examine(asked(MODELS["boosting"]()), formats=FORMATS, forms=FORMS).compared.form == "treelite"


def test_the_same_model_compiles_to_the_same_bytes():
    one = asked(MODELS["boosting"]())
    assert OnnxForm().compile("skops", one.files).files == OnnxForm().compile("skops", one.files).files


def test_reference_rows_stand_at_and_beside_every_threshold_and_leave_values_out():
    rows = reference_rows(X[:3], [np.array([0.5]), np.array([]), np.array([1.0, 2.0]), np.array([])])
    column = rows[:, 0]
    assert {0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1), float(np.nextafter(np.float32(0.5), np.float32(1)))} <= set(
        column
    )
    assert {1.0, 2.0, np.nextafter(2.0, 0)} <= set(rows[:, 2])
    assert np.isnan(rows).all(axis=1).any()
    kept = reference_rows(X[:3], [np.array([0.5])] * 4, required=[1])
    assert not np.isnan(kept[:, 1]).any()
    many = reference_rows(X[:20], [np.sort(RANDOM.normal(size=50_000))] * 4)
    assert 15_000 < len(many) <= 20_100


def test_a_difference_is_told_for_what_cannot_be_compared():
    assert difference_of(np.array([1.0, np.nan]), np.array([1.0, np.nan])) == 0
    assert difference_of(np.array([1.0]), np.array([np.nan])) == np.inf
    assert difference_of(np.array([1.0]), np.array([1.0, 2.0])) == np.inf
    assert difference_of(np.array([1e6]), np.array([1e6 + 1])) == pytest.approx(1e-6)
    assert difference_of(np.array([np.inf]), np.array([np.inf])) == 0


@pytest.mark.parametrize("form", [OnnxForm(), TreeliteForm()], ids=lambda form: form.name)
def test_a_form_that_fails_on_its_rows_says_so_in_our_words(form, monkeypatch):
    model = HistGradientBoostingClassifier(max_iter=2).fit(X, LATE)
    loaded = form.load(form.compile("skops", FORMATS[-1].dump(model)).files, columns=4)
    treelite = importlib.import_module("treelite")

    def failing(*_, **__):
        raise treelite.TreeliteError("out of leaves")

    monkeypatch.setattr(treelite.gtil, "predict", failing)
    with pytest.raises(ModelRefused, match="failed on these rows"):
        loaded.predict(np.zeros((1, 3)))  # onnxruntime minds the width by itself


def test_a_damaged_form_is_refused():
    one = asked(MODELS["boosting"]())
    with pytest.raises(ModelRefused):
        OnnxForm().load({"trees.onnx": b"\x00" * 100}, columns=4)
    with pytest.raises(ModelRefused):
        TreeliteForm().load({"trees.treelite": b"\x00" * 100}, columns=4)
    assert msgspec.msgpack.encode(one.files)
