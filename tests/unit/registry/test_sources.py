"""Sources of versions, and the file MLmodel: what is taken, and every way round that is not."""

import pytest
from tests.unit.registry.shelves import Shelves, open_catalog

from kedge.domain.ids import RunId
from kedge.errors import NotFound, RequestInvalid
from kedge.registry.catalog import Offered
from kedge.registry.mlmodel import LARGEST, read_mlmodel
from kedge.registry.sources import SourceKind, read_source
from kedge.storage.sql import open_store

MLMODEL = b"""artifact_path: model
flavors:
  python_function:
    loader_module: mlflow.sklearn
  sklearn: {sklearn_version: 1.7.2}
mlflow_version: 3.17.2
saved_input_example_info:
  artifact_path: input_example.json
signature:
  inputs: '[{"type": "double", "name": "x"}]'
  outputs: '[{"type": "long"}]'
  params: null
"""


@pytest.fixture
def catalog():
    store = open_store("sqlite://")
    files = {"run1": {"model/MLmodel": MLMODEL, "model/model.skops": b"weights", "other/x": b"y"}}
    made = open_catalog(store, Shelves(files))
    made.create("flights", actor="person:ada")
    yield made
    store.close()


@pytest.mark.parametrize(
    ("source", "kind", "owner", "rest"),
    [
        ("runs:/run1/model", SourceKind.RUN, "run1", "model"),
        ("runs:/run1/a/b/", SourceKind.RUN, "run1", "a/b"),
        ("models:/m-0a1b", SourceKind.LOGGED_MODEL, "m-0a1b", ""),
        ("models:/flights/3", SourceKind.VERSION, "flights", "3"),
        ("models:/flights@champion", SourceKind.VERSION, "flights", "@champion"),
        ("mlflow-artifacts:/0/run1/artifacts/model", SourceKind.RUN, "run1", "model"),
        ("mlflow-artifacts:/0/models/m-0a1b/artifacts", SourceKind.LOGGED_MODEL, "m-0a1b", ""),
    ],
)
def test_what_a_source_may_be(source, kind, owner, rest):
    read = read_source(source)
    assert (read.kind, read.owner, read.rest) == (kind, owner, rest)


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "relative/path",
        "C:\\windows",
        "file:///etc/passwd",
        "file:/etc",
        "FILE:///etc",
        "http://169.254.169.254/latest",
        "https://example.org/model",
        "ftp://example.org/model",
        "s3://bucket/model",
        "gs://bucket/model",
        "dbfs:/model",
        "sqlite:///kedge.db",
        "runs:/run1/../run2",
        "runs:/run1/..",
        "runs:/run1/%2e%2e/x",
        "runs:/run1/%252e%252e/x",
        "runs:/run1/%25252e%25252e%25252fetc",
        "runs:/run1/..%2f..%2fetc",
        "runs:/run1/..\\..\\etc",
        "runs:/run1/a\x00b",
        "runs:/run1//etc/passwd",
        "runs:/run1/model?x=/../../etc",
        "runs:/run1/model#/../../etc",
        "runs:/run1/model;/../etc",
        "runs://host/run1/model",
        "runs:/",
        "runs:run1/model",
        "models://host/flights/1",
        "models:/a/b/c",
        "models:/",
        "mlflow-artifacts://host/0/run1/artifacts/model",
        "mlflow-artifacts:/../../etc",
        "mlflow-artifacts:/0/run1/other/model",
        "mlflow-artifacts:/0",
        "runs:/run1/" + "a" * 5000,
    ],
)
def test_what_a_source_may_never_be(catalog, source):
    with pytest.raises(RequestInvalid, match="source"):
        catalog.register("flights", Offered(source=source, run="run1"), actor="person:ada")
    assert catalog.versions("flights") == []


@pytest.mark.parametrize(
    ("source", "run", "logged"),
    [
        ("runs:/run1/model", "run2", None),
        ("mlflow-artifacts:/0/run1/artifacts/model", "run2", None),
        ("runs:/run1/model", None, "m-1"),
        ("models:/m-1", None, "m-2"),
        ("mlflow-artifacts:/0/models/m-1/artifacts", None, None),
    ],
)
def test_a_source_of_another_run_or_model_is_refused(catalog, source, run, logged):
    with pytest.raises(RequestInvalid, match="request parameter must identify"):
        catalog.register("flights", Offered(source=source, run=run, logged_model=logged), actor="person:ada")


def test_a_version_is_bound_to_the_files_that_are_there(catalog):
    made = catalog.register("flights", Offered(source="runs:/run1/model", run="run1", description="one"), actor="person:ada")
    assert (made.number, made.run, made.user, made.location) == (1, RunId("run1"), "ada", "runs:/run1/model")
    assert made.digest is not None
    assert (made.facts.files, made.facts.size) == (2, len(MLMODEL) + len(b"weights"))
    assert made.facts.flavors == ("python_function", "sklearn")
    assert made.facts.made_with == "MLflow 3.17.2"
    assert made.facts.example == "input_example.json"
    assert made.facts.signature == {
        "inputs": '[{"type": "double", "name": "x"}]',
        "outputs": '[{"type": "long"}]',
    }
    assert catalog.version("flights", 1) == made


def test_files_that_come_later_do_not_change_a_version(catalog):
    made = catalog.register("flights", Offered(source="runs:/run1/model"), actor="person:ada")
    catalog._files.files["run1"]["model/model.skops"] = b"other weights"
    assert catalog.version("flights", 1).digest == made.digest
    assert catalog.register("flights", Offered(source="runs:/run1/model"), actor="person:ada").digest != made.digest


def test_a_run_that_is_not_there_makes_a_version_without_files(catalog):
    made = catalog.register("flights", Offered(source="runs:/never/model", run="never"), actor="person:ada")
    assert (made.digest, made.facts.files, made.run) == (None, 0, "never")


def test_a_copy_has_the_same_files_and_run(catalog):
    first = catalog.register("flights", Offered(source="runs:/run1/model", run="run1"), actor="person:ada")
    catalog.set_alias("flights", "champion", number=1, actor="person:ada")
    catalog.create("flights live", actor="person:ada")
    copy = catalog.register("flights live", Offered(source="models:/flights@champion"), actor="person:ada")
    assert (copy.source, copy.location) == ("models:/flights/1", first.location)
    assert (copy.digest, copy.run, copy.facts, copy.aliases) == (first.digest, first.run, first.facts, ())
    with pytest.raises(RequestInvalid, match="must match the referenced model version"):
        catalog.register("flights live", Offered(source="models:/flights/1", run="run2"), actor="person:ada")
    with pytest.raises(NotFound, match="version=9"):
        catalog.register("flights live", Offered(source="models:/flights/9"), actor="person:ada")
    with pytest.raises(NotFound, match="Logged model with ID 'm-none' not found"):
        catalog.register("flights live", Offered(source="models:/m-none"), actor="person:ada")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a: !!python/object/apply:os.system ['id']\n", "tag"),
        (b"a: !evil x\n", "tag"),
        (b"a: &x [1]\nb: [*x, *x]\n", "anchors"),
        (b"a: [" + b"[" * 100 + b"]" * 101, "deeper"),
        (b"? [a, b]\n: c\n", "key"),
        (b"a: [\n", "not YAML"),
        (b"\xff\xfe\x00", "not"),
        (b"a" * (LARGEST + 1), "at most"),
    ],
)
def test_an_mlmodel_that_would_make_something_happen_is_only_told(data, why):
    facts = read_mlmodel(data)
    assert why in facts.fault
    assert facts.flavors == ()


@pytest.mark.parametrize("data", [b"", b"- a\n- b\n", b"text", b"flavors: [a, b]\n", b"signature: x\n"])
def test_an_mlmodel_of_another_shape_says_nothing(data):
    facts = read_mlmodel(data)
    assert (facts.fault, facts.flavors, facts.signature) == ("", (), {})
