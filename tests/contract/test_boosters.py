"""The formats of the boosting libraries do what every model format does; and what a prepared file must not do."""

import importlib
import io
import json

import numpy as np
import polars as pl
import pytest

from kedge.adapters.lightgbm.format import LightgbmFormat, LightgbmPredictor
from kedge.adapters.sklearn.format import SklearnFormat
from kedge.adapters.xgboost.format import XgboostFormat
from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.errors import ModelRefused
from kedge.job import FORMATS, TENSORS
from kedge.registry.preparing import prepare


def library(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed: its model format was NOT tested", allow_module_level=True)


xgb, lgb = library("xgboost"), library("lightgbm")
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 4))
X[::7, 1] = np.nan
LATE = (X[:, 0] + RANDOM.normal(size=400) > 0).astype(float)
AMOUNT = np.abs(X[:, 0]) + X[:, 3] ** 2 + 0.1
ROWS = RANDOM.normal(size=(50, 4))
ROWS[3, 1] = np.nan
WHOLE = np.nan_to_num(X)


def signature(task, columns=4):
    inputs = tuple(Column(name=f"x{place}", type=ColumnType.FLOAT) for place in range(columns))
    return Signature(inputs=inputs, task=task, output="y")


XGB, LGB = XgboostFormat(), LightgbmFormat()
QUIET = {"verbose": -1, "n_jobs": 1, "min_child_samples": 5}
CLASSIFIERS = {
    "xgb trees": (XGB, lambda: xgb.XGBClassifier(n_estimators=5, max_depth=3).fit(X, LATE)),
    "xgb dart": (XGB, lambda: xgb.XGBClassifier(n_estimators=5, booster="dart", rate_drop=0.5).fit(X, LATE)),
    "xgb forest": (XGB, lambda: xgb.XGBRFClassifier(n_estimators=5).fit(X, LATE)),
    "xgb linear": (XGB, lambda: xgb.XGBClassifier(n_estimators=5, booster="gblinear").fit(WHOLE, LATE)),
    "xgb early": (
        XGB,
        lambda: xgb.XGBClassifier(n_estimators=200, learning_rate=1.0, early_stopping_rounds=3).fit(
            X[:300], LATE[:300], eval_set=[(X[300:], LATE[300:])], verbose=False
        ),
    ),
    "lgb trees": (LGB, lambda: lgb.LGBMClassifier(n_estimators=5, **QUIET).fit(X, LATE)),
    "lgb dart": (LGB, lambda: lgb.LGBMClassifier(n_estimators=5, boosting_type="dart", **QUIET).fit(X, LATE)),
    "lgb forest": (
        LGB,
        lambda: lgb.LGBMClassifier(n_estimators=5, boosting_type="rf", subsample=0.5, subsample_freq=1, **QUIET).fit(
            X, LATE
        ),
    ),
    "lgb early": (
        LGB,
        lambda: lgb.LGBMClassifier(n_estimators=200, learning_rate=1.0, early_stopping_round=3, **QUIET).fit(
            X[:300], LATE[:300], eval_set=[(X[300:], LATE[300:])]
        ),
    ),
}
REGRESSORS = {
    "xgb regressor": (XGB, lambda: xgb.XGBRegressor(n_estimators=5).fit(X, AMOUNT)),
    "xgb poisson": (XGB, lambda: xgb.XGBRegressor(n_estimators=5, objective="count:poisson").fit(X, np.round(AMOUNT))),
    "xgb booster": (XGB, lambda: xgb.train({"objective": "reg:squarederror"}, xgb.DMatrix(X, AMOUNT), 5)),
    "lgb regressor": (LGB, lambda: lgb.LGBMRegressor(n_estimators=5, **QUIET).fit(X, AMOUNT)),
    "lgb quantile": (
        LGB,
        lambda: lgb.LGBMRegressor(n_estimators=5, objective="quantile", alpha=0.9, **QUIET).fit(X, AMOUNT),
    ),
    "lgb booster": (LGB, lambda: lgb.train({"objective": "regression", "verbose": -1}, lgb.Dataset(X, AMOUNT), 5)),
    "lgb stump": (LGB, lambda: lgb.LGBMRegressor(n_estimators=2, verbose=-1, min_child_samples=1000).fit(X, AMOUNT)),
}
MADE = CLASSIFIERS | REGRESSORS


def made(name, once={}):  # noqa: B006 - trained once for all tests
    if name not in once:
        once[name] = MADE[name][1]()
    return MADE[name][0], once[name]


def task_of(name):
    return Task.CLASSIFICATION if name in CLASSIFIERS else Task.REGRESSION


def answered(model, rows):
    if hasattr(model, "predict_proba"):
        return model.predict_proba(rows)[:, 1]
    return model.predict(xgb.DMatrix(rows) if isinstance(model, xgb.Booster) else rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MADE)
def test_a_booster_answers_the_same_bit_for_bit_after_its_return(name):
    form, model = made(name)
    rows = np.nan_to_num(ROWS) if name == "xgb linear" else ROWS
    assert next(each.name for each in FORMATS if each.accepts(model)) == form.name
    files = form.dump(model)
    predictor = form.load(files, signature(task_of(name)))
    answers = predictor.predict(rows)
    assert (answers.dtype, answers.shape) == (np.float64, (50,))
    assert answers.tobytes() == np.asarray(answered(model, rows), dtype=np.float64).tobytes()
    assert len(np.unique(answers)) > 1 or name == "lgb stump"
    assert form.dump(model) == files
    assert predictor.predict(rows[:0]).shape == (0,)
    assert predictor.predict(np.tile(rows, (30, 1)))[:50].tobytes() == answers.tobytes()


def test_early_stopping_keeps_the_best_iteration_only():
    for name, count in (("xgb early", lambda m: m.best_iteration + 1), ("lgb early", lambda m: m.best_iteration_)):
        form, model = made(name)
        (data,) = form.dump(model).values()
        assert data.count(b'"num_nodes"') + data.count(b"\nTree=") == count(model) < 100


@pytest.mark.parametrize("name", ["xgb trees", "lgb trees"])
def test_infinities_are_answered_as_numbers_beyond_every_split(name):
    form, model = made(name)
    predictor = form.load(form.dump(model), signature(Task.CLASSIFICATION))
    wild, tame = np.full((2, 4), np.inf), np.full((2, 4), 1e30)
    wild[1], tame[1] = -np.inf, -1e30
    assert predictor.predict(wild).tolist() == predictor.predict(tame).tolist()


def test_what_a_booster_format_cannot_keep_is_refused_when_it_is_dumped():
    three = RANDOM.integers(0, 3, 400)
    names = np.array(["a", "b", "c"])[three]
    softmax = {"objective": "multi:softmax", "num_class": 3}
    each = {"objective": "multiclassova", "num_class": 3, "verbose": -1}
    for form, model, message in [
        (LGB, lgb.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, names), "classes 0, 1, 2 ... is kept, this one has"),
        (LGB, lgb.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, three + 1), r"this one has \[1, 2, 3\]"),
        (XGB, xgb.XGBRegressor(n_estimators=2, missing=-1.0).fit(X, AMOUNT), "missing=nan"),
        (XGB, xgb.train(softmax, xgb.DMatrix(X, three), 2), "one output"),
        (XGB, xgb.XGBRegressor(n_estimators=2).fit(X, np.column_stack([AMOUNT, LATE])), "one output"),
        (XGB, xgb.train({"objective": "rank:pairwise"}, xgb.DMatrix(X, LATE), 2), "objective 'rank:pairwise'"),
        (LGB, lgb.train(each, lgb.Dataset(X, three), 2), "objective multiclass"),
        (
            LGB,
            lgb.train({"objective": "regression", "linear_tree": True, "verbose": -1}, lgb.Dataset(WHOLE, AMOUNT), 2),
            "linear",
        ),
    ]:
        assert form.accepts(model)
        with pytest.raises(ModelRefused, match=message):
            form.dump(model)


THREE = (X[:, 0] > 0).astype(int) + (X[:, 3] > 0.5)
SEVERAL = {
    "xgb trees": (XGB, lambda: xgb.XGBClassifier(n_estimators=5, max_depth=3).fit(X, THREE)),
    "xgb dart": (XGB, lambda: xgb.XGBClassifier(n_estimators=5, booster="dart", rate_drop=0.5).fit(X, THREE)),
    "xgb forest": (XGB, lambda: xgb.XGBRFClassifier(n_estimators=5).fit(X, THREE)),
    "xgb linear": (XGB, lambda: xgb.XGBClassifier(n_estimators=5, booster="gblinear").fit(WHOLE, THREE)),
    "xgb early": (
        XGB,
        lambda: xgb.XGBClassifier(n_estimators=100, learning_rate=1.0, early_stopping_rounds=3).fit(
            X[:300], THREE[:300], eval_set=[(X[300:], THREE[300:])], verbose=False
        ),
    ),
    "xgb booster of two": (
        XGB,
        lambda: xgb.train({"objective": "multi:softprob", "num_class": 2}, xgb.DMatrix(X, LATE), 3),
    ),
    "lgb trees": (LGB, lambda: lgb.LGBMClassifier(n_estimators=5, **QUIET).fit(X, THREE)),
    "lgb booster": (
        LGB,
        lambda: lgb.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, lgb.Dataset(X, THREE), 3),
    ),
}


def several(name, once={}):  # noqa: B006 - trained once for all tests
    if name not in once:
        once[name] = SEVERAL[name][1]()
    return SEVERAL[name][0], once[name]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SEVERAL)
def test_several_classes_are_answered_bit_for_bit_with_a_probability_each(name):
    form, model = several(name)
    rows = np.nan_to_num(ROWS) if name == "xgb linear" else ROWS
    files, columns = form.dump(model), {f"x{place}": rows[:, place] for place in range(4)}
    assert form.claims(files) == files
    described = form.describe(files, columns)
    answers = form.open(files, described).run(columns)
    if hasattr(model, "predict_proba"):
        wanted = model.predict_proba(rows)
    else:
        wanted = model.predict(xgb.DMatrix(rows) if isinstance(model, xgb.Booster) else rows)
    classes = wanted.shape[1]
    none = form.open(files, described).run({name: values[:0] for name, values in columns.items()})
    assert (none["probabilities"].shape, none["label"].shape) == ((0, classes), (0,))
    assert answers["probabilities"].tobytes() == np.asarray(wanted, dtype=np.float64).tobytes()
    assert answers["label"].tolist() == wanted.argmax(axis=1).tolist()
    assert [spec.labels for spec in described.outputs][1] == tuple(map(str, range(classes)))
    assert (described.watched, "probability" in answers) == (("probability", True) if classes == 2 else ("", False))
    assert [(spec.name, spec.datatype, spec.nullable) for spec in described.inputs] == [
        (f"x{place}", "FP64", True) for place in range(4)
    ]
    with pytest.raises(ModelRefused, match="a probability for each, and no one number a row"):
        form.load(files, signature(Task.CLASSIFICATION))
    with pytest.raises(ModelRefused, match="takes 4 columns, its example has 1"):
        form.describe(files, {"x0": rows[:, 0]})
    with pytest.raises(ModelRefused, match="holds texts"):
        form.describe(files, {**columns, "x1": np.array(["a"] * 50, dtype=object)})


@pytest.mark.parametrize("name", ["xgb trees", "lgb trees"])
def test_several_classes_are_prepared_as_named_arrays_and_one_number_as_a_table(name):
    form, model = several(name)
    rows = pl.DataFrame({f"x{place}": X[:20, place] for place in range(4)})
    told = {"example.parquet": _parquet(rows), "kedge.json": b'{"example": "example.parquet"}'}
    found = prepare({**form.dump(model), **told}, formats=FORMATS, tensors=TENSORS, forms=())
    assert (found.format, found.signature) == (form.name, None)
    assert [spec.name for spec in found.tensors.outputs] == ["label", "probabilities"]
    _, two = made(name)
    assert prepare({**form.dump(two), **told}, formats=FORMATS, tensors=TENSORS, forms=()).tensors is None
    texts = {**told, "example.parquet": _parquet(rows.with_columns(x1=pl.lit("a")))}
    with pytest.raises(ModelRefused, match="column 'x1' holds no single numbers"):
        prepare({**form.dump(two), **texts}, formats=FORMATS, tensors=TENSORS, forms=())


def _parquet(frame):
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda learner, model: put(model, "tree_info", 0, 3), "of its classes"),
        (lambda learner, model: put(model, "tree_info", 0, -1), "of its classes"),
        (lambda learner, model: learner["learner_model_param"].update(num_class="2"), "the same of its classes twice"),
        (lambda learner, model: learner["objective"].pop("softmax_multiclass_param"), "the same of its classes twice"),
        (
            lambda learner, model: learner["objective"]["softmax_multiclass_param"].update(num_class="9"),
            "the same of its classes twice",
        ),
        (lambda learner, model: learner["learner_model_param"].update(base_score="[1E0,2E0]"), "begin from one number"),
        (lambda learner, model: learner["learner_model_param"].update(num_target="3"), "one output"),
    ],
)
def test_a_prepared_xgboost_file_of_several_classes_is_refused_before_xgboost_reads_it(change, message):
    form, model = several("xgb trees")
    document = json.loads(form.dump(model)["model.json"])
    change(document["learner"], document["learner"]["gradient_booster"]["model"])
    with pytest.raises(ModelRefused, match=message):
        form.describe({"model.json": json.dumps(document).encode()}, {})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_class=3\n", "num_class=2\n", "one output a row, or several"),
        ("num_class=3\nnum_tree_per_iteration=3", "num_class=2\nnum_tree_per_iteration=2", "the same of its classes twice"),
        ("objective=multiclass num_class:3", "objective=multiclass num_class:9", "the same of its classes twice"),
        (
            "objective=multiclass num_class:3",
            "objective=multiclass num_class:3 num_class:9",
            "the same of its classes twice",
        ),
        ("objective=multiclass num_class:3", "objective=binary", "one output a row, or several"),
        ("num_class=3\nnum_tree_per_iteration=3", "num_class=0\nnum_tree_per_iteration=0", "one output a row, or several"),
    ],
)
def test_a_prepared_lightgbm_file_of_several_classes_is_refused_before_lightgbm_reads_it(old, new, message):
    form, model = several("lgb trees")
    text = form.dump(model)["model.txt"].decode()
    assert old in text
    with pytest.raises(ModelRefused, match=message):
        form.describe({"model.txt": text.replace(old, new, 1).encode()}, {})


def test_a_lightgbm_file_that_lacks_a_class_in_its_last_iteration_is_refused():
    form, model = several("lgb trees")
    text = form.dump(model)["model.txt"].decode()
    sizes = next(line for line in text.split("\n") if line.startswith("tree_sizes="))
    short = sizes.rpartition(" ")[0]
    cut = text[: text.rindex("Tree=")] + text[text.index("end of trees") :]
    with pytest.raises(ModelRefused, match="as many trees of each class"):
        form.describe({"model.txt": cut.replace(sizes, short).encode()}, {})


def test_what_lightgbm_cannot_answer_is_told_in_our_words():
    lightgbm = pytest.importorskip("lightgbm")
    rows = np.random.default_rng(0).normal(size=(50, 2))
    made = lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(rows, rows[:, 0])
    with pytest.raises(ModelRefused, match="LightGBM failed on these rows"):
        LightgbmPredictor(made.booster_).predict(np.zeros((1, 3)))


def test_native_categories_are_refused():
    column = RANDOM.integers(0, 5, (400, 1)).astype(float)
    target = (column[:, 0] % 2) + RANDOM.normal(size=400) / 10
    model = lgb.train({"objective": "regression", "verbose": -1}, lgb.Dataset(column, target, categorical_feature=[0]), 2)
    with pytest.raises(ModelRefused, match="categories native to LightGBM"):
        LGB.dump(model)
    data = xgb.DMatrix(column, target, feature_types=["c"], enable_categorical=True)
    with pytest.raises(ModelRefused, match="categories native to XGBoost"):
        XGB.dump(xgb.train({"tree_method": "hist", "max_cat_to_onehot": 1}, data, 2))


@pytest.mark.parametrize("model", [None, "text", xgb.XGBRegressor(), lgb.LGBMClassifier(), xgb.XGBRanker()])
def test_what_is_no_fitted_booster_is_not_accepted(model):
    assert not XGB.accepts(model)
    assert not LGB.accepts(model)
    assert not SklearnFormat().accepts(model)


@pytest.mark.parametrize("name", ["xgb trees", "lgb trees"])
def test_a_booster_that_does_not_fit_its_signature_is_refused(name):
    form, model = made(name)
    files = form.dump(model)
    with pytest.raises(ModelRefused, match="takes 4 columns, its signature names 3"):
        form.load(files, signature(Task.CLASSIFICATION, 3))
    with pytest.raises(ModelRefused, match="is not for regression"):
        form.load(files, signature(Task.REGRESSION))
    for other in ({}, {"model.pkl": b""}, {next(iter(files)): b""}, {next(iter(files)): b"\x80\x04."}):
        with pytest.raises(ModelRefused):
            form.load(other, signature(Task.CLASSIFICATION))


# Prepared files


def xgboost_file(change):
    document = json.loads(XGB.dump(made("xgb trees")[1])["model.json"])
    learner = document["learner"]
    change(learner, learner["gradient_booster"]["model"], learner["gradient_booster"]["model"]["trees"][0])
    return {"model.json": json.dumps(document).encode()}


def put(part, key, place, value):
    part[key][place] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda learner, model, tree: put(tree, "left_children", 0, 10**6), "child lies outside"),
        (lambda learner, model, tree: put(tree, "left_children", 0, 0), "child lies outside|two parents"),
        (lambda learner, model, tree: put(tree, "right_children", 0, tree["left_children"][0]), "two parents"),
        (lambda learner, model, tree: put(tree, "right_children", 0, -1), "one child"),
        (lambda learner, model, tree: put(tree, "split_indices", 0, 4), "outside the model's 4"),
        (lambda learner, model, tree: tree["split_conditions"].pop(), "do not fit together"),
        (lambda learner, model, tree: tree["tree_param"].update(num_nodes="1000000"), "do not fit together"),
        (lambda learner, model, tree: model["trees"].pop(), "not all of its one output|do not cover"),
        (lambda learner, model, tree: put(model, "tree_info", 0, 7), "not all of its one output"),
        (lambda learner, model, tree: put(model, "iteration_indptr", -1, 99), "do not cover"),
        (lambda learner, model, tree: learner["learner_model_param"].update(num_class="3"), "one output"),
        (lambda learner, model, tree: learner["objective"].update(name="rank:pairwise"), "objective"),
        (lambda learner, model, tree: learner["gradient_booster"].update(name="other"), "not XGBoost's JSON"),
    ],
)
def test_a_prepared_xgboost_file_is_refused_before_xgboost_reads_it(change, message):
    with pytest.raises(ModelRefused, match=message):
        XGB.load(xgboost_file(change), signature(Task.CLASSIFICATION))


def lightgbm_file(old, new):
    text = LGB.dump(made("lgb trees")[1])["model.txt"].decode()
    start, end = text.index("Tree=0"), text.index("Tree=1")
    tree = text[start:end]
    key = next(line for line in tree.split("\n") if line.startswith(old + "="))
    changed = tree.replace(key, old + "=" + new(key.partition("=")[2]))
    sizes = next(line for line in text.split("\n") if line.startswith("tree_sizes="))
    others = sizes.partition(" ")[2]
    return {
        "model.txt": (text[:start] + changed + text[end:]).replace(sizes, f"tree_sizes={len(changed)} {others}").encode()
    }


def first(value):
    return lambda line: " ".join([value, *line.split()[1:]])


@pytest.mark.parametrize(
    ("key", "new", "message"),
    [
        ("left_child", first("100000"), "child lies outside"),
        ("left_child", first("0"), "child lies outside"),
        ("right_child", first("-99"), "leaves are not each reached once"),
        ("split_feature", first("4"), "outside the model's 4"),
        ("split_feature", first("-1"), "outside the model's 4"),
        ("decision_type", first("3"), "categories native"),
        ("num_cat", lambda line: "1", "categories native"),
        ("num_leaves", lambda line: "1000000", "do not fit together"),
        ("threshold", lambda line: "1", "do not fit together"),
        ("leaf_value", lambda line: "1 2", "do not fit together"),
        ("is_linear", lambda line: "1", "linear"),
        ("num_leaves", lambda line: "x", "not LightGBM's text"),
    ],
)
def test_a_prepared_lightgbm_file_is_refused_before_lightgbm_reads_it(key, new, message):
    with pytest.raises(ModelRefused, match=message):
        LGB.load(lightgbm_file(key, new), signature(Task.CLASSIFICATION))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tree_sizes=", "tree_sizes=9"),
        ("max_feature_idx=3", "max_feature_idx=2"),
        ("num_class=1", "num_class=2"),
        ("objective=binary", "objective=custom"),
        ("end of trees", "more of trees"),
        ("version=v4", "version=v4\nversion=v4"),
    ],
)
def test_a_lightgbm_file_whose_head_lies_is_refused(old, new):
    text = LGB.dump(made("lgb trees")[1])["model.txt"].decode()
    assert old in text
    with pytest.raises(ModelRefused):
        LGB.load({"model.txt": text.replace(old, new, 1).encode()}, signature(Task.CLASSIFICATION))
