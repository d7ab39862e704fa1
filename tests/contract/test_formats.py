"""What every model format does; then what a file that somebody prepared must not do to whoever loads it."""

import copy
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier, TweedieRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier

from kedge.adapters.sklearn.archive import canonical
from kedge.adapters.sklearn.format import SklearnFormat
from kedge.adapters.sklearn.trees import run_alone
from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.registry import Signature
from kedge.errors import ModelRefused

FORMAT = SklearnFormat()
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 4))
X[:, 3] = RANDOM.integers(0, 5, 400)
LATE = (X[:, 0] + RANDOM.normal(size=400) > 0).astype(float)
AMOUNT = np.abs(X[:, 0]) + X[:, 3]
OUTLIERS = IsolationForest(n_estimators=2).fit(X)
ROWS = RANDOM.normal(size=(50, 4))
ROWS[:, 3] = RANDOM.integers(0, 5, 50)


def signature(task, columns=4):
    inputs = tuple(Column(name=f"x{place}", type=ColumnType.FLOAT) for place in range(columns))
    return Signature(inputs=inputs, task=task, output="y")


def load(files, model):
    task = Task.CLASSIFICATION if hasattr(model, "predict_proba") else Task.REGRESSION
    return FORMAT.load(files, signature(task))


def fit(model):
    return model.fit(X, LATE if is_classifier(model) else AMOUNT)


def fitted(model, once={}):  # noqa: B006 - trained once for all tests
    if id(model) not in once:
        once[id(model)] = (clone(model), model)
        fit(once[id(model)][0])
    return once[id(model)][0]


CLASSIFIERS = [
    HistGradientBoostingClassifier(max_iter=5, random_state=0),
    RandomForestClassifier(5, random_state=0, n_jobs=2),
    GradientBoostingClassifier(n_estimators=3, random_state=0),
    DecisionTreeClassifier(random_state=0),
    BaggingClassifier(n_estimators=3, random_state=0),
    LogisticRegression(),
    SGDClassifier(loss="log_loss", random_state=0),
    CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=3, random_state=0), method="isotonic", cv=2),
    CalibratedClassifierCV(LogisticRegression(), cv=2),
    make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
    make_pipeline(make_column_transformer((OneHotEncoder(), [3]), remainder=StandardScaler()), LogisticRegression()),
    StackingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier(random_state=0))], cv=2),
    DummyClassifier(strategy="prior"),
]
REGRESSORS = [
    HistGradientBoostingRegressor(max_iter=5, random_state=0),
    HistGradientBoostingRegressor(max_iter=5, loss="poisson", random_state=0),
    ExtraTreesRegressor(5, random_state=0),
    GradientBoostingRegressor(n_estimators=3, random_state=0),
    VotingRegressor([("a", Ridge()), ("b", HistGradientBoostingRegressor(max_iter=2, random_state=0))]),
    PoissonRegressor(),
    TweedieRegressor(power=1.5),
    MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0),
    LinearSVR(random_state=0),
    make_pipeline(FunctionTransformer(np.abs), Ridge()),
    TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    DummyRegressor(),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", CLASSIFIERS + REGRESSORS, ids=lambda model: type(model).__name__)
def test_a_model_answers_the_same_bit_for_bit_after_its_return(model):
    model = fitted(model)
    assert FORMAT.accepts(model)
    files = FORMAT.dump(model)
    answers = load(files, model).predict(ROWS)
    alone = copy.deepcopy(model)
    run_alone(alone)
    expected = alone.predict_proba(ROWS)[:, 1] if hasattr(model, "predict_proba") else alone.predict(ROWS)
    assert (answers.dtype, answers.shape) == (np.float64, (50,))
    assert answers.tobytes() == np.asarray(expected, dtype=np.float64).tobytes()


@pytest.mark.parametrize("model", [CLASSIFIERS[place] for place in (0, 1, 2, 10)], ids=lambda model: type(model).__name__)
def test_the_same_training_gives_the_same_bytes(model):
    first = FORMAT.dump(fitted(model))
    junk = [bytearray(os.urandom(size)) for size in (64, 512, 4096) for _ in range(200)]
    assert FORMAT.dump(fit(clone(model))) == first
    assert len(junk) == 600


def test_another_process_gives_the_same_bytes():
    code = (
        "import hashlib, numpy as np\n"
        "from sklearn.ensemble import RandomForestClassifier\n"
        "from kedge.adapters.sklearn.format import SklearnFormat\n"
        "x = np.random.default_rng(0).normal(size=(200, 3))\n"
        "model = RandomForestClassifier(3, random_state=0).fit(x, x[:, 0] > 0)\n"
        "print(hashlib.sha256(SklearnFormat().dump(model)['model.skops']).hexdigest())\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "77", "MALLOC_PERTURB_": "77"}
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env).stdout
    x = np.random.default_rng(0).normal(size=(200, 3))
    model = RandomForestClassifier(3, random_state=0).fit(x, x[:, 0] > 0)
    assert other.strip() == hashlib.sha256(FORMAT.dump(model)["model.skops"]).hexdigest()


def test_one_row_many_rows_and_none_give_the_same_answers():
    model = fitted(CLASSIFIERS[0])
    predictor = load(FORMAT.dump(model), model)
    many = np.tile(ROWS, (30, 1))
    assert predictor.predict(many)[:50].tobytes() == predictor.predict(ROWS).tobytes()
    assert predictor.predict(ROWS[:1]).tobytes() == predictor.predict(ROWS)[:1].tobytes()
    assert predictor.predict(ROWS[:0]).shape == (0,)


def test_missing_values_are_answered_by_models_that_take_them():
    model = fitted(CLASSIFIERS[0])
    assert np.isfinite(load(FORMAT.dump(model), model).predict(np.full((1, 4), np.nan))).all()


@pytest.mark.parametrize(
    "model",
    [None, "model", Ridge(), LogisticRegression(), SVC().fit(X, LATE), StandardScaler().fit(X), OUTLIERS],
    ids=["none", "text", "not fitted", "not fitted classifier", "no probabilities", "transformer", "outliers"],
)
def test_what_does_not_answer_rows_is_not_accepted(model):
    assert not FORMAT.accepts(model)


def lookup(x):
    return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (make_pipeline(FunctionTransformer(lookup), Ridge()), "lookup is not allowed"),
        (HistGradientBoostingRegressor(max_iter=2, categorical_features=[3]), "functools.partial"),
        (make_pipeline(StandardScaler(), StackingClassifier([("s", SVC())], cv=2)), "libsvm"),
    ],
    ids=["own function", "native categories", "libsvm"],
)
def test_what_cannot_be_kept_safely_is_refused_when_it_is_dumped(model, message):
    with pytest.raises(ModelRefused, match=message):
        FORMAT.dump(fitted(model))


def test_a_model_that_does_not_fit_its_signature_is_refused():
    files = FORMAT.dump(fitted(CLASSIFIERS[0]))
    with pytest.raises(ModelRefused, match="takes 4 columns, its signature names 3"):
        FORMAT.load(files, signature(Task.CLASSIFICATION, 3))
    with pytest.raises(ModelRefused, match="is not for regression"):
        FORMAT.load(files, signature(Task.REGRESSION))
    with pytest.raises(ModelRefused, match=r"classes 0 and 1, this one has \[0\.0\]"):
        FORMAT.load(FORMAT.dump(DummyClassifier().fit(X, LATE * 0)), signature(Task.CLASSIFICATION))


@pytest.mark.parametrize("files", [{}, {"model.pkl": b""}, {"model.skops": b""}, {"model.skops": b"\x80\x04."}])
def test_other_files_are_refused(files):
    with pytest.raises(ModelRefused):
        FORMAT.load(files, signature(Task.REGRESSION))


# Prepared files


def unpack(model):
    data = FORMAT.dump(model)["model.skops"]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(files.pop("schema.json")), files


def pack(schema, files, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("schema.json", json.dumps(schema))
    return {"model.skops": buffer.getvalue()}


def states(value):
    if isinstance(value, dict):
        if "__class__" in value:
            yield value
        for part in value.values():
            yield from states(part)
    elif isinstance(value, list):
        for part in value:
            yield from states(part)


def attributes(schema, name):
    return next(state for state in states(schema) if state["__class__"] == name)["content"]["content"]


def changed_nodes(schema, files, place, **fields):
    """Change fields of one node of the first tree."""
    name = "TreePredictor" if any(state["__class__"] == "TreePredictor" for state in states(schema)) else "Tree"
    file = attributes(schema, name)["nodes"]["file"]
    nodes = np.load(io.BytesIO(files[file]))
    for field, value in fields.items():
        nodes[field][place] = value
    buffer = io.BytesIO()
    np.save(buffer, nodes)
    return {**files, file: buffer.getvalue()}


def refuse(schema, files, message, task=Task.CLASSIFICATION):
    with pytest.raises(ModelRefused, match=message):
        FORMAT.load(pack(schema, files), signature(task))


HIST, FOREST, STAGES = CLASSIFIERS[0], CLASSIFIERS[1], CLASSIFIERS[2]


def test_an_untouched_copy_is_loaded():
    for model in (HIST, FOREST, STAGES):
        FORMAT.load(pack(*unpack(fitted(model))), signature(Task.CLASSIFICATION))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"left": 10**6}, "child outside"),
        ({"right": 2**32 - 1}, "child outside"),
        ({"left": 0}, "before its parent"),
        ({"feature_idx": 4}, "asks for a column outside the model's 4"),
        ({"feature_idx": -1}, "asks for a column"),
        ({"is_categorical": 1}, "no proper nodes"),
    ],
)
def test_an_index_that_leaves_a_boosted_tree_is_refused(fields, message):
    schema, files = unpack(fitted(HIST))
    refuse(schema, changed_nodes(schema, files, 0, **fields), message)


@pytest.mark.parametrize("model", [FOREST, STAGES, CLASSIFIERS[3]], ids=lambda model: type(model).__name__)
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"left_child": 10**6}, "child outside"),
        ({"left_child": -2}, "child outside"),
        ({"right_child": -1}, "child outside"),
        ({"right_child": 0}, "before its parent"),
        ({"feature": 4}, "asks for a column outside the model's 4"),
        ({"feature": -2}, "asks for a column"),
    ],
)
def test_an_index_that_leaves_a_tree_is_refused(model, fields, message):
    schema, files = unpack(fitted(model))
    refuse(schema, changed_nodes(schema, files, 0, **fields), message)


def set_value(attribute, value):
    attribute["content"] = json.dumps(value)


def test_a_tree_with_fewer_nodes_than_it_says_is_refused():
    schema, files = unpack(fitted(FOREST))
    set_value(attributes(schema, "Tree")["node_count"], 10**6)
    refuse(schema, files, "does not fit together")


def test_a_tree_with_more_outputs_than_class_counts_is_refused():
    schema, files = unpack(fitted(FOREST))
    tree = next(state for state in states(schema) if state["__class__"] == "Tree")
    set_value(tree["__reduce__"]["args"]["content"][2], 10**9)
    refuse(schema, files, "does not fit together")


@pytest.mark.parametrize("model", [HIST, FOREST, STAGES], ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("columns", [3, "4", None])
def test_a_model_that_lies_about_its_columns_is_refused(model, columns):
    schema, files = unpack(fitted(model))
    attribute = attributes(schema, type(model).__name__)
    if columns is None:
        del attribute["n_features_in_"]
        names = next(state for state in states(schema) if state["__class__"] == type(model).__name__)["content"]["key_types"]
        names["content"].pop()
    else:
        set_value(attribute["n_features_in_"], columns)
    with pytest.raises(ModelRefused):
        FORMAT.load(pack(schema, files), signature(Task.CLASSIFICATION, 3))


def test_gradient_boosting_whose_trees_would_write_beside_the_answer_is_refused():
    schema, files = unpack(fitted(STAGES))
    set_value(attributes(schema, "GradientBoostingClassifier")["n_trees_per_iteration_"], 0)
    refuse(schema, files, "not one for each class")


TYPES = (("numpy", "float32"), ("builtins", "str"))


def test_a_method_replaced_by_a_value_is_refused():
    schema, files = unpack(fitted(FOREST))
    state = next(state for state in states(schema) if state["__class__"] == "RandomForestClassifier")
    float32, text = ({"__class__": name, "__module__": module, "__loader__": "TypeNode"} for module, name in TYPES)
    state["content"]["content"]["_validate_X_predict"] = float32
    state["content"]["key_types"]["content"].append(text)
    refuse(schema, files, "replaces the method _validate_X_predict")


@pytest.mark.parametrize("loader", ["TypeNode", "ConstructorFromReduceNode", "ObjectNode", "CachedNode"])
def test_a_tree_by_another_loader_is_refused(loader):
    schema, files = unpack(fitted(FOREST))
    next(state for state in states(schema) if state["__class__"] == "Tree")["__loader__"] = loader
    refuse(schema, files, "loads sklearn.tree._tree.Tree by|one object twice")


def test_a_tree_that_no_estimator_owns_is_refused():
    schema, files = unpack(fitted(FOREST))
    tree = next(state for state in states(schema) if state["__class__"] == "Tree")
    linear, more = unpack(fitted(CLASSIFIERS[5]))
    attributes(linear, "LogisticRegression")["coef_"] = tree
    refuse(linear, files | more, "belongs to no estimator")


@pytest.mark.parametrize(
    "state",
    [
        {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"},
        {"__class__": "eval", "__module__": "builtins", "__loader__": "FunctionNode"},
        {"__class__": "Popen", "__module__": "subprocess", "__loader__": "TypeNode"},
        {"__class__": "SVC", "__module__": "sklearn.svm._classes", "__loader__": "ObjectNode"},
    ],
)
def test_a_foreign_type_is_refused_by_name(state):
    schema, files = unpack(fitted(CLASSIFIERS[5]))
    attributes(schema, "LogisticRegression")["coef_"] = state
    refuse(schema, files, f"{state['__module__']}.{state['__class__']} is not allowed")


def test_a_bomb_is_refused_before_it_is_unpacked():
    schema, files = unpack(fitted(CLASSIFIERS[5]))
    bomb = pack(schema, {**files, "zeros.bin": bytes(50 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelRefused, match="compressed"):
        FORMAT.load(bomb, signature(Task.CLASSIFICATION))


def test_a_schema_nested_without_end_is_refused():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("schema.json", "[" * 200_000 + "]" * 200_000)
    with pytest.raises(ModelRefused, match="not a skops file"):
        FORMAT.load({"model.skops": data.getvalue()}, signature(Task.REGRESSION))


FUZZ = """
import pickle, sys, warnings
import numpy as np
from kedge.adapters.sklearn.format import SklearnFormat
from kedge.errors import ModelRefused
warnings.simplefilter("ignore")
files, signature = pickle.load(sys.stdin.buffer)
refused = 0
for file in files:
    try:
        SklearnFormat().load(file, signature).predict(np.random.default_rng(1).normal(size=(50, 4)))
    except ModelRefused:
        refused += 1
print(refused)
"""


def test_trees_with_spoiled_bytes_are_refused_or_answer_but_never_crash():
    cases = []
    for model in (HIST, FOREST, STAGES):
        schema, files = unpack(fitted(model))
        file = attributes(schema, "TreePredictor" if model is HIST else "Tree")["nodes"]["file"]
        start = files[file].index(b"\n") + 1
        for seed in range(60):
            chance, spoiled = np.random.default_rng(seed), bytearray(files[file])
            for place in chance.integers(start, len(spoiled), 1 + seed % 9):
                spoiled[place] = chance.integers(256)
            cases.append(pack(schema, {**files, file: bytes(spoiled)}))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    sent = pickle.dumps((cases, signature(Task.CLASSIFICATION)))
    done = subprocess.run([sys.executable, "-c", FUZZ], input=sent, capture_output=True, env=env, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert 30 < int(done.stdout) < 180


def test_a_file_written_twice_is_the_same_file():
    data = FORMAT.dump(fitted(HIST))["model.skops"]
    assert canonical(data) == data
