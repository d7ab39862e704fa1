"""`kedge deploy watch` killed with SIGKILL while the log grows: whoever comes next counts each row once and acts once."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from tests.api.test_rollouts_by_hand import answered
from tests.ui.seed import DAY, START, Year
from typer.testing import CliRunner

from kedge.cli.main import application
from kedge.controller import LEASE
from kedge.domain.rollout import Move
from kedge.records import open_records
from kedge.settings import settings
from kedge.storage.journal import FileJournal

WATCH = [sys.executable, "-m", "kedge", "deploy", "watch", "--seconds", "0.1", "--json"]


def kedge(*words):
    told = CliRunner().invoke(application(list(words)), list(words))
    assert told.exit_code == 0, told.output
    return told.output


def killed_after_a_look(folder):
    """Start the watcher, and kill it once it has told a look."""
    with subprocess.Popen(WATCH, cwd=folder, stdout=subprocess.PIPE) as process:
        look = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    return look


def test_each_row_counts_once_however_often_the_watcher_is_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = open_records(settings(tmp_path, store=str(tmp_path / ".kedge"), server=""))
    Year(records.meta).write(START + 14 * DAY)
    deployments, journal = records.meta.deployments, FileJournal(tmp_path / ".kedge" / "predictions", "test")
    kedge("deploy", "flights@2", "--strategy", "shadow", "--hold", "1h", "--max-disagreement", "100%")
    revision, sent = deployments.find("flights").revision, 0
    for _ in range(2):
        for _ in range(40):
            journal.append(answered(f"r{sent}", revision=revision))
            sent += 1
        assert killed_after_a_look(tmp_path)["comparison"]["pairs"] <= sent
        later = datetime.now(UTC) + timedelta(hours=1)  # the dead one's lease has ended
        assert records.meta.runs.claim(LEASE, "test", now=later, seconds=-7200)
    last = json.loads(kedge("deploy", "watch", "--once", "--json"))
    assert (last["comparison"]["pairs"], last["comparison"]["disagreed"]) == (sent, sent // 2)
    assert deployments.find("flights").revision == revision
    assert {look.move for look in deployments.looks("flights")} == {Move.HOLD}
    journal.close()
    records.close()
