"""A backtest of the small project: its rows of the matrix are what its models lose, made once; its command and its page."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from tests.loop.small import DATA, PROJECT, opened, played, write
from typer.testing import CliRunner

from kedge.app import House
from kedge.cli.policy import nouns
from kedge.domain.data import KNOWN_AT
from kedge.errors import ConfigError
from kedge.evaluation.metrics import loss_rows
from kedge.features.frame import known_by
from kedge.replay.backtest import BacktestAsked, backtest
from kedge.replay.past import measure
from kedge.retraining.backtest.matrix import NEVER
from kedge.retraining.room import read_history
from kedge.server.reading.continuing import find_backtest

STEPS = PROJECT.replace("[retraining]", '[retraining]\nstep = "3d"').replace(
    "checks = [", 'checks = [{ slices = ["site"], metric = "roc_auc", worst_at_least = 0.1 }, '
)


@pytest.fixture
def house(tmp_path):
    house, _ = opened(write(tmp_path / "small", project=STEPS))
    yield house
    house.close()


def scored(house: House, at_step: int, *, start) -> pl.DataFrame:
    """Train on what was known at a step's begin, and give what came later with its losses."""
    spec, step = house.spec, timedelta(days=3)
    at = start + at_step * step
    known = house.data.commit(spec, upto=start + timedelta(days=400))
    frame = house.features.training_frame(spec, known, upto=start + timedelta(days=60))
    candidate = house.pipelines.train(spec, replace(frame, rows=known_by(frame.rows, at), upto=at, step=step))
    later = frame.rows.filter(pl.col(KNOWN_AT) > at)
    answers = house.evaluation.score(candidate, later)
    losses = loss_rows("log_loss", later["bad"].cast(float).to_numpy(), p=answers)
    return later.with_columns(pl.Series("loss", losses))


def test_a_model_s_row_is_what_it_loses_on_all_that_came_later(house) -> None:
    past = measure(house, house.spec)
    start = past.begins[0]
    assert (past.matrix.steps, past.matrix.answered.rows.sum()) == (12, 36 * 60)
    for model in (0, 5):
        later = scored(house, model, start=start)
        for name, blocks in (("at", past.matrix.answered), (KNOWN_AT, past.matrix.told)):
            in_step = (later[name] - start).dt.total_seconds().to_numpy() // (3 * 86400)
            # an answer whose truth was told on the very border belongs to the step before
            expected = np.array([later["loss"].to_numpy()[in_step == step].sum() for step in range(model, 12)])
            assert blocks.by_step[model, model:] == pytest.approx(expected, rel=0.1), name
            if name == "at":
                assert blocks.by_step[model, model:] == pytest.approx(expected)
    groups = past.matrix.groups
    assert set(groups) == {"site=north", "site=south"}
    whole = sum(group.losses[3] for group in groups.values())
    assert whole[3:] == pytest.approx(past.matrix.answered.by_step[3, 3:])
    assert set(past.matrix.alarms.tolist()) == {NEVER}  # labels move, features do not
    assert past.matrix.first.shape == (3,)


def test_what_was_made_is_found_again_and_the_next_ledger_starts_from_it(house) -> None:
    first = backtest(house, house.spec, BacktestAsked(prices=(5.0,)))
    again = backtest(house, house.spec, BacktestAsked(prices=(5.0,), delays=("0", "3d")))
    assert (first.made, first.found) == (12 + 4, 0)
    assert (again.made, again.found) == (0, 12 + 4)
    assert again.results[0] == first.results[0]
    assert [result.delay for result in again.results] == ["0", "3d"]
    costs = {one.policy: one for one in first.results[0].policies}
    assert costs["ledger"].relative < costs["never"].relative == 1.0
    history = read_history(house.meta.notes, house.spec.name)
    kept = find_backtest(house.meta, house.spec.name)
    assert kept is not None
    assert (kept.backtest, kept.at) == (again, house.clock.now())
    assert len(history) == first.observations == 12 + 4 - 2  # the first of each side has nothing older beside it
    assert all(one.gap >= 1 for one in history)


def test_a_past_that_is_too_short_says_how_long_it_must_be(tmp_path) -> None:
    short = DATA.replace("np.arange(60)", "np.arange(30)")
    house, _ = opened(write(tmp_path / "short", project=STEPS, data=short))
    with pytest.raises(ConfigError, match=r"has 2 whole steps of 3d after 2024-01-22, and a backtest needs 8: wait until"):
        measure(house, house.spec)
    with pytest.raises(ConfigError, match="above 0"):
        backtest(house, house.spec, BacktestAsked(prices=(0.0,)))
    with pytest.raises(ConfigError, match=r"--delay: 'soon' is not a duration"):
        backtest(house, house.spec, BacktestAsked(delays=("soon",)))
    house.close()


def test_the_command_prints_tables_json_and_a_page(tmp_path) -> None:
    folder = write(tmp_path / "small", project=STEPS)
    run = CliRunner().invoke(nouns, ["backtest", str(folder), "--price", "5", "--page", str(tmp_path / "page.html")])
    assert run.exit_code == 0, run.output
    assert "best interval in hindsight *" in run.output
    page = (tmp_path / "page.html").read_text()
    assert "<svg" in page
    assert "oracle" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # it needs nothing from anywhere
    told = CliRunner().invoke(nouns, ["backtest", str(folder), "--price", "5", "--against", "ledger", "--json"])
    made = json.loads(told.stdout)
    assert made["found"] == 16
    assert {one["policy"] for one in made["results"][0]["policies"]} >= {"never", "ledger", "drift", "oracle"}
    refused = CliRunner().invoke(nouns, ["backtest", str(folder), "--price", "5", "--against", "nobody"])
    assert isinstance(refused.exception, ConfigError)


def test_the_command_shows_where_retraining_stands(tmp_path) -> None:
    folder = write(tmp_path / "small", project=STEPS)
    played(folder)
    told = CliRunner().invoke(nouns, ["show", str(folder)])
    assert told.exit_code == 0, told.output
    house, _ = opened(folder)
    entries = house.meta.ledgers.list(house.spec.name)
    house.close()
    assert told.output.startswith("small, policy ledger: ")
    assert f"regret {entries[-1].regret:.1f} of 5.0" in told.output or "a training was ordered" in told.output
    assert "▁" in told.output
    shown = json.loads(CliRunner().invoke(nouns, ["show", str(folder), "--json"]).stdout)
    assert shown["standing"]["course"] == pytest.approx([entry.regret for entry in entries])
    assert shown["standing"]["decisions"][-1]["reason"] == entries[-1].reason
    assert shown["waits"] == []
