"""Signed packages of code: what runs, what does not, and that nothing runs before its signature holds."""

import json
import pickle
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.unit.evaluation.toys import Blobs
from tests.unit.registry.examined import registry_of
from typer.testing import CliRunner

from kedge.adapters.package.format import PackageFormat
from kedge.cli.main import application
from kedge.config import read_trust, settings
from kedge.domain.trust import Trust
from kedge.errors import ConfigError, KedgeError, ModelRefused, StoreBroken
from kedge.registry.preparing import ABOUT
from kedge.security.signing import SIGNATURE, make_key, sign, verify
from kedge.storage.sql import open_store

CODE = b"""
import builtins
import numpy as np
from .parts.scaling import by

builtins.kedge_package_ran = True


class Scorer:
    def load(self, folder):
        self.rate = float((folder / "rate.txt").read_text())

    def predict(self, inputs):
        value = by(inputs["hour"], self.rate)
        return {"score": value, "where": np.array([name.upper() for name in inputs["city"]], dtype=object)}
"""
SCALING = b"def by(values, rate):\n    return values * rate\n"
EXAMPLE = b'[{"hour": 1.5, "city": "oslo"}, {"hour": 2.0, "city": "rome"}]'
FILES = {"scoring.py": CODE, "parts/scaling.py": SCALING, "rate.txt": b"2.0"}
PRIVATE, PUBLIC = make_key()
TRUST = Trust(keys={"ana": PUBLIC}, classes=("late/scoring:Scorer",))


def packed(files=FILES, private=PRIVATE, *, name="late", runs="scoring:Scorer", **more):
    envelope = sign(files, private, name=name, runs=runs, **more)
    return {**files, SIGNATURE: envelope, "example.json": EXAMPLE, ABOUT: b'{"example": "example.json"}'}


@pytest.fixture
def look():
    store, blobs = open_store("sqlite://"), Blobs()

    def prepare(files, trust=TRUST):
        registry, evaluation = registry_of(store, blobs, trust)
        found = registry._examiner.prepare(files)
        registry.verify(found)
        return found, evaluation

    prepare.blobs, prepare.store = blobs, store
    yield prepare
    store.close()


@pytest.fixture(autouse=True)
def nothing_ran():
    import builtins

    builtins.kedge_package_ran = False
    yield
    del builtins.kedge_package_ran


def ran() -> bool:
    import builtins

    return builtins.kedge_package_ran


def test_a_class_that_is_signed_and_allowed_by_name_answers(look):
    found, evaluation = look(packed())
    assert (found.format, found.signer, found.form) == ("package", "ana", "original")
    assert [(spec.name, spec.datatype) for spec in found.tensors.inputs] == [("hour", "FP64"), ("city", "BYTES")]
    assert [(spec.name, spec.datatype) for spec in found.tensors.outputs] == [("score", "FP64"), ("where", "BYTES")]
    assert (found.tensors.watched, found.tensors.batched) == ("score", True)
    answers = evaluation.run(found, {"hour": np.array([3.0]), "city": np.array(["bonn"], dtype=object)})
    assert (answers["score"].tolist(), answers["where"].tolist()) == ([6.0], ["BONN"])
    assert ran()
    other, again = look(packed(FILES | {"rate.txt": b"10"}))
    asked = {"hour": np.array([3.0]), "city": np.array(["x"], dtype=object)}
    assert [room.run(one, asked)["score"].tolist() for one, room in ((found, evaluation), (other, again))] == [[6.0], [30.0]]


def changed(path, data):
    return lambda: {**packed(), path: data}


OTHER = make_key()
REFUSED = {
    "code changed": (changed("scoring.py", CODE + b"#"), TRUST, "'scoring.py' is not what ana signed"),
    "data changed": (changed("rate.txt", b"3.0"), TRUST, "'rate.txt' is not what ana signed"),
    "code added": (changed("more.py", b""), TRUST, "more.py is not signed"),
    "file missing": (lambda: {k: v for k, v in packed().items() if k != "rate.txt"}, TRUST, "'rate.txt' is missing"),
    "another's key": (lambda: packed(private=OTHER[0]), TRUST, "no trusted key signed this package; trusted are ana"),
    "an empty key": (packed, Trust(keys={"ana": ""}, classes=TRUST.classes), "the key of ana in trust.toml is empty"),
    "nobody is trusted": (packed, Trust(classes=TRUST.classes), "no key is trusted here"),
    "not allowed by name": (packed, Trust(keys={"ana": PUBLIC}), "not allowed by name; write classes"),
    "another class": (lambda: packed(runs="scoring:Other"), TRUST, "'late/scoring:Other' is signed by ana, but not allowed"),
    "another name": (lambda: packed(name="early"), TRUST, "'early/scoring:Scorer'"),
    "no envelope": (changed(SIGNATURE, b"{}"), TRUST, "no DSSE envelope"),
    "no signature": (lambda: {k: v for k, v in packed().items() if k != SIGNATURE}, TRUST, "only from a signed package"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_as_it_was_signed_and_allowed_never_runs(look, name):
    made, trust, why = REFUSED[name]
    with pytest.raises(ModelRefused, match=why):
        look(made(), trust)
    assert not ran()


def test_a_payload_or_key_id_of_another_does_not_pass(look):
    mine, theirs = json.loads(packed()[SIGNATURE]), json.loads(packed(private=OTHER[0])[SIGNATURE])
    swapped = {**theirs, "signatures": [{**theirs["signatures"][0], "keyid": mine["signatures"][0]["keyid"]}]}
    mixed = {**mine, "payload": json.loads(packed(name="early")[SIGNATURE])["payload"]}
    for envelope in (swapped, mixed):
        with pytest.raises(ModelRefused, match="the signature of ana does not hold"):
            verify({**packed(), SIGNATURE: json.dumps(envelope).encode()}, TRUST)
    with pytest.raises(ModelRefused, match="not a package of Kedge's"):
        verify({**packed(), SIGNATURE: json.dumps({**mine, "payloadType": "text/plain"}).encode()}, TRUST)
    path = sign({"../evil.py": b"", "scoring.py": b""}, PRIVATE, name="late", runs="scoring:Scorer")
    with pytest.raises(ModelRefused, match="a signed file is called"):
        look(
            {
                "../evil.py": b"",
                "scoring.py": b"",
                SIGNATURE: path,
                "example.json": EXAMPLE,
                ABOUT: b'{"example": "example.json"}',
            }
        )


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        ({"runs": "other:Scorer"}, "the module of class 'other:Scorer' is none of the files that ana signed"),
        ({"runs": "parts.more:Scorer"}, "the module of class 'parts.more:Scorer' is none"),
        ({"pickle": "model.pkl", "runs": ""}, "the pickle 'model.pkl' is none of the files that ana signed"),
    ],
)
def test_what_answers_is_among_what_was_signed(signed, why):
    envelope = sign(FILES, PRIVATE, name="late", **signed)
    beside = {"other.py": CODE, "parts/more.py": CODE, "model.pkl": pickle.dumps(1)}
    with pytest.raises(ModelRefused, match=why):
        verify({**FILES, **beside, SIGNATURE: envelope}, TRUST)
    package, _ = verify({**FILES, SIGNATURE: sign(FILES, PRIVATE, name="late", runs="parts.scaling:By")}, TRUST)
    assert package.runs == "parts.scaling:By"


def test_each_load_checks_the_signature_anew_and_a_key_that_is_no_longer_trusted_serves_nothing(look):
    found, _ = look(packed())
    later, _ = registry_of(look.store, look.blobs, Trust(classes=TRUST.classes, keys={"bo": OTHER[1]}))
    with pytest.raises(ModelRefused, match="no trusted key signed"):
        later.verify(found)
    files = look.blobs.kept[found.digest]
    look.blobs.kept[found.digest] = files | {"rate.txt": b"9"}
    with pytest.raises((ModelRefused, StoreBroken), match="is not what ana signed"):
        registry_of(look.store, look.blobs, TRUST)[0].verify(found)


def test_whose_code_may_run_is_asked_at_each_load_of_a_process_that_runs_on():
    now = [TRUST]
    package = PackageFormat(lambda: now[0], verify)
    files = {name: data for name, data in packed().items() if not name.startswith("example")}
    assert package.signer(files) == "ana"
    now[0] = Trust(classes=TRUST.classes)
    with pytest.raises(ModelRefused, match="no key is trusted here"):
        package.signer(files)
    now[0] = TRUST
    assert package.signer(files) == "ana"


def test_what_a_package_raises_is_told(look):
    for code, why in (
        (b"1/0", "fails to load: ZeroDivisionError"),
        (b"class Scorer:\n    def load(self, folder): raise OSError('gone')", "fails to load: OSError: gone"),
        (b"class Scorer:\n    def load(self, folder): pass\n    def predict(self, inputs): return inputs['no']", "KeyError"),
        (
            b"class Scorer:\n    def load(self, folder): pass\n    def predict(self, inputs): return object()",
            "dtype|array of",
        ),
    ):
        with pytest.raises(ModelRefused, match=why):
            look(packed({"scoring.py": code}))
    assert not any(name.startswith("scoring") for name in sys.modules)


def test_a_pickle_is_loaded_only_when_it_is_signed_and_allowed_by_name(look):
    rows = np.random.default_rng(0).normal(size=(50, 2))
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    files = {"model.pkl": pickle.dumps(model)}
    example = {"example.csv": b"a,b\n0.5,1.0\n-1.0,2.0\n", ABOUT: b'{"example": "example.csv"}'}
    signed = {**files, **example, SIGNATURE: sign(files, PRIVATE, name="late", pickle="model.pkl")}
    with pytest.raises(ModelRefused, match="no pickle of that name is allowed; write pickles"):
        look(signed)
    found, evaluation = look(signed, Trust(keys={"ana": PUBLIC}, pickles=("late",)))
    answers = evaluation.run(found, {"a": rows[:3, 0], "b": rows[:3, 1]})
    assert np.array_equal(answers["probabilities"], model.predict_proba(rows[:3]))
    with pytest.raises(ModelRefused, match="pickles are never loaded"):
        look({**files, **example}, Trust(keys={"ana": PUBLIC}, pickles=("late",)))


def test_keys_are_made_packages_signed_and_checked_by_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def kedge(*words):
        given = ["models", *words]
        return CliRunner().invoke(application(given), given)

    told = kedge("key", "ana")
    assert (told.exit_code, (tmp_path / "ana.key").stat().st_mode & 0o777) == (0, 0o600)
    again = kedge("key", "ana")
    assert "no key is ever overwritten" in again.output + str(again.exception)
    public = (tmp_path / "ana.pub").read_text().strip()
    assert f'ana = "{public}"' in told.output
    for path, data in FILES.items():
        (tmp_path / "late" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "late" / path).write_bytes(data)
    told = kedge("sign", "late", "--key", "ana.key", "--name", "late", "--class", "scoring:Scorer")
    assert 'classes = ["late/scoring:Scorer"]' in told.output
    (tmp_path / "trust.toml").write_text(f'classes = ["late/scoring:Scorer"]\n[keys]\nana = "{public}"\n')
    assert kedge("verify", "late").output == "late is as ana signed it: 3 files\n"
    (tmp_path / "late" / "rate.txt").write_text("9")
    wrong = kedge("verify", "late")
    assert "'rate.txt' is not what ana signed" in wrong.output + str(wrong.exception)
    for words, why in (
        (("--class", "scoring"), "is not MODULE:CLASS"),
        ((), "say what answers"),
        (("--pickle", "no.pkl"), "there is no file"),
    ):
        wrong = kedge("sign", "late", "--key", "ana.key", "--name", "late", *words)
        assert wrong.exit_code == 1 or isinstance(wrong.exception, KedgeError)
        assert why in wrong.output + str(wrong.exception)
    (tmp_path / "trust.toml").write_text("keys = 3")
    with pytest.raises(ConfigError, match=r"trust.toml cannot be read"):
        read_trust(settings(tmp_path))
    monkeypatch.setenv("KEDGE_TRUST", str(tmp_path / "nowhere.toml"))
    with pytest.raises(ConfigError, match="nowhere"):
        read_trust(settings(tmp_path))
