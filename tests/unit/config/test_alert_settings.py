"""`[alerts]` of the project file: what is declared is read, what is wrong is named with its line."""

from pathlib import Path

import pytest

from kedge.config import read_project
from kedge.domain.alerting import AlertKind, AlertSeverity
from kedge.domain.channels import ChannelKind, MailSecurity, channels_of
from kedge.errors import ConfigError
from kedge.settings import secret_in

HEAD = """[project]
name = "flights"
[data]
source = "rows.csv"
time = "at"
label = "late"
[monitoring]
alerts = {alerts}
"""
OPS = '[alerts.ops]\nkind = "webhook"\nurl = "https://ops.example/x"\n'


def read(folder: Path, text: str, alerts: str = '["ops"]'):
    (folder / "rows.csv").write_text("at,late\n")
    (folder / "kedge.toml").write_text(HEAD.format(alerts=alerts) + text)
    return read_project(folder)


def test_channels_and_rules_are_read(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        '[alerts]\nurl = "https://kedge.io"\nescalate_after = "1h"\nescalate_to = ["mail"]\nquiet_hours = "22:00-07:00"\n'
        + OPS
        + 'severity = "warning"\nkinds = ["risk"]\n'
        + '[alerts.mail]\nkind = "email"\nhost = "h"\nsender = "a@b"\nto = ["c@d"]\nsecurity = "ssl"\n',
        alerts='["log", "ops", "slack:https://hooks.example/services/x"]',
    )
    rules = spec.alerts
    ops = rules.channels["ops"]
    assert (ops.kind, ops.severity, ops.kinds) == (ChannelKind.WEBHOOK, AlertSeverity.WARNING, (AlertKind.RISK,))
    assert (rules.channels["mail"].security, rules.escalate_to) == (MailSecurity.SSL, ("mail",))
    first = channels_of(spec.monitoring.alerts, rules)
    assert [one.kind for one in first.values()] == [ChannelKind.LOG, ChannelKind.WEBHOOK, ChannelKind.SLACK]
    assert not any("services" in name for name in first), "an address may be a secret, so it names nothing"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 8, "declare [alerts.ops]"),
        ('[alerts]\nurll = "x"\n' + OPS, 10, "alerts.urll is not known"),
        ('[alerts]\nremind = "soon"\n' + OPS, 10, "alerts.remind: 'soon' is not a duration"),
        ('[alerts]\nquiet_hours = "night"\n' + OPS, 10, "alerts.quiet_hours"),
        ('[alerts]\nquiet_hours = "22:00-25:00"\n' + OPS, 10, "alerts.quiet_hours"),
        ('[alerts]\nurl = "kedge.example"\n' + OPS, 10, "alerts.url"),
        ('[alerts]\nescalate_to = ["boss"]\n' + OPS, 10, "'boss' is no channel"),
        ('[alerts]\nescalate_to = ["ops"]\n' + OPS, 10, "needs alerts.escalate_after"),
        ('[alerts.ops]\nkind = "pigeon"\n', 9, "choose one of log, webhook"),
        ('[alerts.ops]\nkind = "webhook"\n', 9, "either url, or url_env"),
        ('[alerts.ops]\nkind = "webhook"\nurl = "file:///etc/passwd"\n', 9, "must begin with https://"),
        (OPS + 'url_env = "X"\n', 9, "either url, or url_env"),
        (OPS + 'secret = "hunter2"\n', 9, "unknown field `secret`"),
        (OPS + 'secret_env = "A"\nsecret_file = "b"\n', 9, "twice"),
        (OPS + 'timeout = "never"\n', 9, "'never' is not a duration"),
        (OPS + 'kinds = ["weather"]\n', 9, "kinds"),
        ('[alerts.ops]\nkind = "pagerduty"\n', 9, "routing key"),
        ('[alerts.ops]\nkind = "email"\nhost = "h"\n', 9, "needs host, sender and to"),
        ('[alerts.ops]\nkind = "email"\nhost = "h"\nsender = "a@b"\nto = ["me"]\n', 9, "must be an address"),
        ('[alerts.ops]\nkind = "email"\nhost = "h"\nsender = "a@b"\nto = ["c@d"]\nuser = "u"\n', 9, "name the password"),
        ('[alerts."no name"]\nkind = "log"\n' + OPS, 9, "a channel is named 'no name'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert f"line {line}:" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("alerts", ['["webhook:"]', '["webhook:nowhere"]', '["slack:ftp://x/secret"]'])
def test_a_channel_in_place_needs_an_address(tmp_path: Path, alerts: str) -> None:
    with pytest.raises(ConfigError, match=r"monitoring\.alerts") as error:
        read(tmp_path, "", alerts=alerts)
    assert "secret" not in str(error.value)


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_SECRET", " s3cret\n")
    (tmp_path / "key").write_text("from a file\n")
    (tmp_path / "empty").write_text("")
    assert secret_in("OPS_SECRET") == "s3cret"
    assert secret_in("", "key", folder=tmp_path) == "from a file"
    for variable, file, said in (
        ("NOT_THERE", "", "NOT_THERE"),
        ("", "", "no secret is named"),
        ("", "gone", "cannot be read"),
        ("", "empty", "is empty"),
    ):
        with pytest.raises(ConfigError, match=said):
            secret_in(variable, file, folder=tmp_path)
