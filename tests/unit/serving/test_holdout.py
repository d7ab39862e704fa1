"""The hold-out: sticky by entity, replayable from the log, never a tester's; the model's own answers stay in the log."""

import math

import numpy as np
import pytest
from tests.unit.serving.fakes import NUMBERS, NUMERIC, Around, tensor

from kedge.config import read_project
from kedge.domain.holdout import coin, is_held, propensity
from kedge.domain.ids import prediction_id
from kedge.errors import ConfigError
from kedge.serving.plane import Limits

ROWS = 400
BODY = {"inputs": [tensor("x", "FP64", [1, 2], [1, 2])]}


def asked(around: Around, *, path: str = "", rows: int = ROWS, **more):
    body = {"inputs": [tensor("x", "FP64", list(range(2 * rows)), [rows, 2])], **more}
    return around.call("POST", f"/v2/models/flights{path}/infer", body)


def around(share: float) -> Around:
    return Around(service=NUMERIC, signature=NUMBERS, sticky="", limits=Limits(holdout=share)).deployed(1)


def test_a_share_of_the_rows_is_served_a_coin_and_the_log_says_which() -> None:
    held, plain = around(0.2), around(0.0)
    answer, usual = asked(held), asked(plain)
    served, own = np.array(answer.output("value")), np.array(usual.output("value"))
    (record,) = held.logged()
    ids = [prediction_id(record.request, row) for row in range(ROWS)]
    members = np.array([is_held(one, 0.2) for one in ids])
    assert 0.12 < members.mean() < 0.28
    assert served[~members].tolist() == own[~members].tolist()
    assert served[members].tolist() == [coin(one) for one, held_out in zip(ids, members, strict=True) if held_out]
    assert set(served[members]) == {0.0, 1.0}
    assert list(record.outputs) == own.tolist(), "what the model itself said"
    assert [math.isnan(value) for value in record.tensors["holdout"]] == (~members).tolist()
    assert np.array(record.tensors["holdout"])[members].tolist() == served[members].tolist()
    assert set(np.array(record.tensors["propensity"])[members]) == {0.1}
    assert set(np.array(record.tensors["propensity"])[~members]) == {0.8}
    assert answer.json["parameters"]["holdout"] == members.sum()
    assert "holdout" not in usual.json.get("parameters", {})
    assert not plain.logged()[0].tensors


def test_testers_and_probes_get_the_model_s_own_answers() -> None:
    held = around(1.0)
    own = np.array(asked(around(0.0)).output("value"))
    assert set(asked(held).output("value")) == {0.0, 1.0}
    by_version = asked(held, path="/versions/1")
    assert by_version.output("value") == own.tolist()
    by_role = held.call("POST", "/v2/models/flights/infer", BODY, headers={"kedge-variant": "champion"})
    assert by_role.output("value") == [0.1]
    assert [bool(record.tensors) for record in held.logged()] == [True, False, False]


def test_who_is_held_out_stays_and_the_coin_is_fair() -> None:
    names = [f"e{i}" for i in range(20_000)]
    one, five = ({name for name in names if is_held(name, share)} for share in (0.01, 0.05))
    assert one < five
    assert len(one) / len(names) == pytest.approx(0.01, abs=0.003)
    assert np.mean([coin(name) for name in names]) == pytest.approx(0.5, abs=0.02)
    assert np.mean([coin(name) for name in five]) == pytest.approx(0.5, abs=0.06), "not one draw with who is held out"
    assert (propensity(0.02, random=True), propensity(0.02, random=False)) == (0.01, 0.98)


def test_a_coin_is_no_answer_to_a_regression(tmp_path) -> None:
    text = '[project]\nname = "p"\n[data]\nsource = "s.csv"\ntime = "t"\nlabel = "y"\n{}[serving]\nholdout = "{}"\n'
    (tmp_path / "s.csv").write_text("t,y\n")
    (tmp_path / "kedge.toml").write_text(text.format("", "1%"))
    assert read_project(tmp_path).serving.holdout == "1%"
    for more, share, said in (('task = "regression"\n', "1%", "a coin, which is no answer"), ("", "half", "is not a share")):
        (tmp_path / "kedge.toml").write_text(text.format(more, share))
        with pytest.raises(ConfigError, match=said):
            read_project(tmp_path)
