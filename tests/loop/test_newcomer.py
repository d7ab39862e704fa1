"""What a newcomer meets first: a template whose first model passes, and code of theirs that prints."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.loop.small import DATA, TRAIN, played, write
from typer.testing import CliRunner

from kedge.adapters.jobs import InlineRunner
from kedge.app import open_house
from kedge.cli.main import application
from kedge.cli.replay import end
from kedge.cli.replay_view import print_report
from kedge.config import read_project, settings
from kedge.errors import ConfigError, KedgeError
from kedge.replay.clock import SetClock
from kedge.replay.play import release_first
from kedge.replay.report import report
from kedge.replay.timeline import lay_out


def test_the_first_model_of_the_template_passes_its_gate(tmp_path: Path) -> None:
    words = ["init", str(tmp_path / "mine"), "--template", "tabular"]
    assert CliRunner().invoke(application(words), words).exit_code == 0
    spec = read_project(tmp_path / "mine")
    clock = SetClock(datetime(2024, 1, 1, tzinfo=UTC))
    house = open_house(settings(tmp_path / "mine"), spec, writer="test", clock=clock)
    house.jobs.close()
    house = replace(house, jobs=InlineRunner())
    timeline = lay_out(spec, house.data.rows(spec))
    clock.set(timeline.start)
    release_first(house, timeline)
    assert house.registry.champion(spec.name).number == 1
    house.close()


def test_days_without_rows_and_infinite_numbers_do_not_end_a_replay(tmp_path: Path) -> None:
    data = (
        DATA.replace("def rows():", "def whole():")
        + """
def rows():
    gap = pl.col("at").is_between(datetime(2024, 2, 5), datetime(2024, 2, 8))
    odd = (pl.int_range(pl.len()) % 50 == 0) & (pl.col("at") > datetime(2024, 1, 25))
    return whole().filter(~gap).with_columns(a=pl.when(odd).then(float("inf")).otherwise("a"))
"""
    )
    track = played(write(tmp_path / "small", data=data))
    assert 0 < track.rows < 36 * 60
    assert track.promotions


def test_a_store_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "small")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made: Not a directory; choose another with --store"):
        open_house(settings(folder, store=str(tmp_path / "file" / "store")), read_project(folder), writer="test")


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_what_the_project_prints_does_not_stand_before_the_url(tmp_path: Path, more: tuple[str, ...]) -> None:
    """A replay reads the URL from the data plane's first line."""
    folder = write(tmp_path / "small")
    service = "print('loaded')\nfrom kedge import FeatureService as S\nown = S(name='own', request=('a', 'b', 'site'))\n"
    (folder / "features.py").write_text(service)
    with (folder / "kedge.toml").open("a") as file:
        file.write('[features]\nservice = "features.py:own"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "kedge", "serve", str(folder), "--port", "0", "--while-input", *more],
        env={"PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(
        f"kedge serves small{' with 2 workers' if more else ''} at http://127.0.0.1:"
    )
    rest, errors = process.communicate(timeout=30)
    assert rest == ""
    assert "loaded" in errors


def test_what_the_project_prints_does_not_stand_in_the_json(tmp_path: Path) -> None:
    """A program reads what `--json` prints."""
    train = TRAIN.replace("    model =", "    print('training')\n    model =")
    folder = write(
        tmp_path / "small", data=f"print('loaded')\n{DATA.replace('random =', 'print(1); random =')}", train=train
    )
    for words, wanted in (("run", "released"), ("watch", None)):
        asked = subprocess.run(
            [sys.executable, "-m", "kedge", words, str(folder), "--json"],
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(asked.stdout)
        assert told == {} if wanted is None else told[wanted] == 1
        assert wanted is None or all(said in asked.stderr for said in ("loaded", "1\n", "training"))


def test_a_data_plane_that_does_not_end_is_killed_and_named() -> None:
    deaf = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.PIPE, text=True)
    with pytest.raises(KedgeError, match=rf"\(process {deaf.pid}\) had not ended 0\.5 s .* run the same command again"):
        end(deaf, seconds=0.5)
    assert deaf.poll() == -9


def test_a_replay_that_compared_nothing_prints_no_prices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "small")
    alone = played(folder)
    spec = read_project(folder)
    print_report(report(spec, {"ledger": alone}, seconds=1.0, cpu_seconds=1.0))
    assert "against never" not in capsys.readouterr().out
    print_report(report(spec, {"ledger": alone, "never": alone}, seconds=1.0, cpu_seconds=1.0))
    assert "against never" in capsys.readouterr().out


def test_a_turn_by_hand_over_a_table_that_ended_long_ago_makes_one_model(tmp_path: Path) -> None:
    folder = write(tmp_path / "small")
    said = (
        "small v1 passed the gate and is live",
        "rows and code are those of version 1, deployed before: nothing new was made",
    )
    for words in said:  # nothing has become known between the two: the same model, said to be what it is
        asked = CliRunner().invoke(application(["run"]), ["run", str(folder)])
        assert asked.exit_code == 0
        assert asked.stdout.startswith(words)
