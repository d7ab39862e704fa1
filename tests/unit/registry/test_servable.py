"""What serving needs of a version, found out at registration, and served without the library that trained it."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from tests.unit.evaluation.toys import Blobs, Clock, candidate, flights, frame, spec
from tests.unit.registry.examined import opened, registry_of
from tests.unit.registry.versions import PASSED

from kedge.adapters.onnx.trees import OnnxForm
from kedge.adapters.sklearn.format import SklearnFormat
from kedge.errors import ModelRefused, NotFound, StoreBroken
from kedge.storage.sql import open_store

ROOT = Path(__file__).parents[3]
WITHOUT = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/src"]
from pathlib import Path
from tests.unit.registry.examined import opened
registry, evaluation = opened(Path({folder!r}))
version = registry.servable("flights", 1)
assert version.form == "onnx", version
registry.verify(version)
print(evaluation.score(version, {{"p": [0.25, None]}}).tolist())
assert "sklearn" not in sys.modules, "scikit-learn was imported"
"""


@pytest.fixture
def store():
    memory = open_store("sqlite://")
    yield memory
    memory.close()


@pytest.fixture(scope="module")
def files():
    rows = flights()
    return SklearnFormat().dump(HistGradientBoostingClassifier(max_iter=9).fit(rows[["p"]].to_numpy(), rows["late"]))


def register(registry, blobs, files, run="final"):
    trained = msgspec.structs.replace(candidate(blobs, run=run), digest=blobs.put_tree(files), format="skops")
    return registry.register(spec(), trained, candidate(blobs, run="tested"), PASSED, frame(flights()))


def test_a_version_is_served_in_the_form_whose_parity_the_registry_holds(store, files):
    blobs = Blobs()
    registry, evaluation = registry_of(store, blobs)
    version = register(registry, blobs, files)
    found = registry.servable("flights", version.number)
    parity = found.parity
    assert (found.form, found.number, found.digest, found.service) == ("onnx", 1, version.digest, "delay")
    assert parity.holds
    assert 0 <= parity.difference <= parity.tolerance == 1e-12
    assert parity.rows > 20
    assert parity.libraries.keys() == {"onnx", "onnxruntime", "treelite"}
    assert parity.made_at == Clock().now()
    registry.verify(found)
    rows = {"p": [0.1, None, 0.9]}
    assert np.allclose(evaluation.score(found, rows), evaluation.score(version, rows), rtol=0, atol=1e-12)
    assert blobs.get_tree(parity.digest).keys() == {"trees.onnx"}


def test_a_changed_byte_is_refused_before_anything_is_loaded(tmp_path, files):
    registry, evaluation = opened(tmp_path)
    blobs = evaluation._blobs
    register(registry, blobs, files)
    found = registry.servable("flights", 1)
    for digest in (found.digest, found.parity.digest):
        assert blobs.get_tree(digest)
    (pack,) = (tmp_path / "packs").iterdir()
    whole = pack.read_bytes()
    for data in (files["model.skops"], blobs.get_tree(found.parity.digest)["trees.onnx"]):
        at = whole.index(data[-200:])
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        served = found if data.startswith(b"\x08") else msgspec.structs.replace(found, parity=None)
        fresh, _ = opened(tmp_path)
        with pytest.raises(StoreBroken):
            fresh.verify(served)


def test_another_answer_of_the_form_than_at_registration_is_refused(store, files):
    blobs = Blobs()
    registry, _ = registry_of(store, blobs)
    register(registry, blobs, files)
    found = registry.servable("flights", 1)
    answers = (np.nextafter(found.parity.answers[0], 1), *found.parity.answers[1:])
    nudged = msgspec.structs.replace(found, parity=msgspec.structs.replace(found.parity, answers=answers))
    with pytest.raises(ModelRefused, match="otherwise than at registration"):
        registry.verify(nudged)


def test_the_original_answers_where_no_form_can(store, files, monkeypatch):
    blobs = Blobs()
    registry, _ = registry_of(store, blobs)
    register(registry, blobs, files)
    monkeypatch.setattr(OnnxForm, "available", lambda self: False)
    without = registry.servable("flights", 1)
    assert (without.form, without.parity) == ("original", None)
    registry.verify(without)
    plain = SklearnFormat().dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    version = register(registry, blobs, plain, run="plain")
    found = registry.servable("flights", version.number)
    assert (found.form, found.parity, found.required) == ("original", None, ("p",))
    with pytest.raises(NotFound):
        registry.servable("flights", 9)


def test_a_model_that_stops_its_examination_is_served_as_it_is(store, files, monkeypatch):
    blobs = Blobs()
    registry, _ = registry_of(store, blobs)
    registry._examiner._execute = lambda asked: 1 / 0
    version = register(registry, blobs, files)
    found = registry.servable("flights", version.number)
    assert found.form == "original"
    assert "ZeroDivisionError" in found.parity.fault
    registry.verify(found)


def test_a_form_refuses_a_missing_value_where_its_original_does(store):
    blobs = Blobs()
    registry, evaluation = registry_of(store, blobs)
    rows = flights()
    stages = GradientBoostingClassifier(n_estimators=5).fit(rows[["p"]].to_numpy(), rows["late"])
    version = register(registry, blobs, SklearnFormat().dump(stages))
    found = registry.servable("flights", version.number)
    assert (found.form, found.required) == ("onnx", ("p",))
    assert np.isfinite(evaluation.score(found, {"p": [0.5]})).all()
    with pytest.raises(ValueError, match="column 'p' has no value"):
        evaluation.score(found, {"p": [0.5, None]})


def test_a_compiled_version_is_served_without_scikit_learn(tmp_path, files):
    registry, evaluation = opened(tmp_path)
    register(registry, evaluation._blobs, files)
    here = evaluation.score(registry.servable("flights", 1), {"p": [0.25, None]}).tolist()
    code = WITHOUT.format(root=str(ROOT), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(here)
