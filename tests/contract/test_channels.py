"""Every channel against a real receiver on this machine: what arrives, and what is refused."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from kedge.adapters.channels import channel
from kedge.adapters.channels.outgoing import pinned, post
from kedge.domain.alert_life import AlertLife, AlertMove, AlertState, acknowledged, notice_of, raised, resolved
from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.channels import ChannelKind, ChannelRules, MailSecurity, Message
from kedge.domain.ids import ModelName
from kedge.errors import ConfigError, KedgeError, NotTold, SignatureInvalid
from kedge.security.webhooks import check

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
NASTY = "<!channel> *bold* <img onerror=x> [a](http://b) & done"


class Handler(BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers what it was told to."""

    def do_POST(self) -> None:
        server: Any = self.server
        length = int(self.headers.get("content-length", 0))
        server.got.append(
            (self.path, {name.lower(): value for name, value in self.headers.items()}, self.rfile.read(length))
        )
        status, more, body = server.answers.pop(0) if server.answers else (200, {}, b"ok")
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def receiver() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.answers = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/hook?x=1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def life(kind: AlertKind = AlertKind.RISK, message: str = "the loss rose") -> AlertLife:
    alert = Alert(
        key="k", model=ModelName("flights"), kind=kind, message=message, raised_at=AT, subject="version 3", window="w"
    )
    return raised(None, alert)[0]


def message(move: AlertMove = AlertMove.RAISED, of: AlertLife | None = None) -> Message:
    told = of or life()
    return Message(
        id="d" * 24,
        notice=notice_of(told, move, at=AT, reason=told.newest.message),
        url="https://kedge.example/monitoring/alerts/x",
        project="flights",
    )


def over() -> Message:
    _, notice = resolved(life(), at=AT + timedelta(hours=1), actor="person:ann", reason="rolled back")
    assert notice is not None
    return Message(id="e" * 24, notice=notice, project="flights")


def secret(_variable: str, _file: str) -> str:
    return "s3cret"


def rules(kind: ChannelKind, url: str = "", **more: object) -> ChannelRules:
    return ChannelRules(kind=kind, url=url, **({"allow_private": True} | more))  # type: ignore[arg-type]


def test_a_webhook_is_signed_named_and_whole(receiver: Any) -> None:
    sent = channel(rules(ChannelKind.WEBHOOK, receiver.url, secret_env="S"), secret).send(message())
    ((path, headers, body),) = receiver.got
    assert (sent, path, headers["kedge-delivery"]) == ("200 ok", "/hook?x=1", "d" * 24)
    check(headers, body, secret="s3cret", now=datetime.now(UTC))
    with pytest.raises(SignatureInvalid):
        check(headers, body + b" ", secret="s3cret", now=datetime.now(UTC))
    with pytest.raises(SignatureInvalid):
        check(headers, body, secret="other", now=datetime.now(UTC))
    with pytest.raises(SignatureInvalid):
        check(headers, body, secret="s3cret", now=datetime.now(UTC) + timedelta(minutes=6))
    told = json.loads(body)
    assert (told["version"], told["id"], told["event"], told["at"]) == (1, "d" * 24, "alert.raised", "2026-03-02T12:00:00Z")
    alert = told["alert"]
    assert (alert["kind"], alert["severity"], alert["state"], alert["count"]) == ("risk", "critical", "firing", 1)
    assert alert["url"] == "https://kedge.example/monitoring/alerts/x"


def test_a_webhook_without_a_secret_is_not_signed_and_the_same_each_time(receiver: Any) -> None:
    made = channel(rules(ChannelKind.WEBHOOK, receiver.url), secret)
    made.send(message())
    made.send(message())
    (_, first, one), (_, _, two) = receiver.got
    assert "kedge-signature" not in first
    assert one == two


@pytest.mark.parametrize(
    ("status", "final"), [(400, True), (404, False), (410, True), (429, False), (500, False), (503, False)]
)
def test_what_a_receiver_answers_is_said(receiver: Any, status: int, final: bool) -> None:
    receiver.answers = [(status, {}, b"no\n  such\x00 thing " * 100)]
    with pytest.raises(NotTold, match=f"answered {status} no such") as error:
        channel(rules(ChannelKind.WEBHOOK, receiver.url), secret).send(message())
    assert error.value.final is final
    assert len(str(error.value)) < 400


def test_a_redirect_is_not_followed(receiver: Any) -> None:
    receiver.answers = [(307, {"location": receiver.url}, b"")]
    with pytest.raises(NotTold, match="a redirect: it is not followed"):
        channel(rules(ChannelKind.WEBHOOK, receiver.url), secret).send(message())
    assert len(receiver.got) == 1


def test_an_address_of_this_machine_is_refused_unless_it_is_meant(receiver: Any) -> None:
    made = channel(rules(ChannelKind.WEBHOOK, receiver.url, allow_private=False), secret)
    with pytest.raises(NotTold, match="is this machine; set allow_private"):
        made.send(message())
    assert receiver.got == []


def test_the_name_is_resolved_once_and_the_call_goes_to_what_was_checked(receiver: Any) -> None:
    asked: list[str] = []

    def turns(host: str, port: int) -> list[str]:
        """Answer with a good address first, and with one that listens afterwards."""
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    url = f"http://hooks.example:{receiver.server_port}/hook"
    answer = post(url, b"{}", headers={}, allow_private=True, resolver=turns)
    ((_, headers, _),) = receiver.got
    assert (str(answer), asked, headers["host"]) == ("200 ok", ["hooks.example"], f"hooks.example:{receiver.server_port}")


@pytest.mark.parametrize("addresses", [["93.184.216.34", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], []])
def test_one_bad_address_among_good_ones_refuses_the_name(addresses: list[str]) -> None:
    with pytest.raises(NotTold):
        pinned("hooks.example", 443, allow_private=False, resolver=lambda host, port: addresses)


def test_a_name_that_turns_from_public_to_private_between_messages_is_refused_then(receiver: Any) -> None:
    answers = [["93.184.216.34"], ["127.0.0.1"]]
    assert pinned("hooks.example", 443, allow_private=False, resolver=lambda host, port: answers.pop(0)) == "93.184.216.34"
    with pytest.raises(NotTold, match="this machine"):
        pinned("hooks.example", 443, allow_private=False, resolver=lambda host, port: answers.pop(0))


def test_a_receiver_that_drips_is_hung_up_on() -> None:
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x: y\r\n")
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with pytest.raises(NotTold, match=r"gave no (whole )?answer within 500ms"):
        post(url, b"{}", headers={}, timeout="500ms", allow_private=True)
    stop.set()
    thread.join(10)
    listener.close()


def test_a_receiver_that_is_not_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotTold, match="gave no answer"):
        post(f"http://127.0.0.1:{port}/", b"", headers={}, allow_private=True)
    with pytest.raises(NotTold, match="cannot be resolved"):
        post("https://no-such-host.invalid/", b"", headers={})


def test_slack_gets_blocks_in_which_nothing_is_a_mention(receiver: Any) -> None:
    told = life(message=NASTY * 80)
    channel(rules(ChannelKind.SLACK, receiver.url), secret).send(message(of=told))
    ((_, headers, body),) = receiver.got
    document = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert [block["type"] for block in document["blocks"]] == ["header", "section", "section", "actions", "context"]
    header, text, fields, actions, _ = document["blocks"]
    assert header["text"]["type"] == "plain_text"
    assert len(header["text"]["text"]) <= 150
    assert len(text["text"]["text"]) <= 3000
    assert len(document["text"]) <= 3000
    assert "<" not in text["text"]["text"] + document["text"]
    assert len(fields["fields"]) <= 10
    assert actions["elements"][0]["url"] == "https://kedge.example/monitoring/alerts/x"


def test_teams_gets_an_adaptive_card(receiver: Any) -> None:
    channel(rules(ChannelKind.TEAMS, receiver.url), secret).send(message(of=life(message=NASTY)))
    ((_, _, body),) = receiver.got
    document = json.loads(body)
    (attached,) = document["attachments"]
    card = attached["content"]
    assert (document["type"], attached["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert (card["type"], card["version"], card["body"][0]["color"]) == ("AdaptiveCard", "1.4", "attention")
    assert "\\[a\\]" in card["body"][1]["text"]
    assert card["actions"][0]["type"] == "Action.OpenUrl"
    channel(rules(ChannelKind.TEAMS, receiver.url), secret).send(over())
    assert json.loads(receiver.got[1][2])["attachments"][0]["content"]["body"][0]["color"] == "good"


def test_pagerduty_triggers_acknowledges_and_resolves_one_incident(receiver: Any) -> None:
    receiver.answers = [(202, {}, b'{"status":"success"}')] * 3
    made = channel(rules(ChannelKind.PAGERDUTY, receiver.url, secret_env="K"), secret)
    held, notice = acknowledged(life(), at=AT, actor="person:ann", reason="mine")
    assert notice is not None
    assert held.state is AlertState.ACKNOWLEDGED
    assert made.send(message()).startswith("202")
    made.send(Message(id="a", notice=notice, project="flights"))
    made.send(over())
    documents = [json.loads(body) for _, _, body in receiver.got]
    assert [one["event_action"] for one in documents] == ["trigger", "acknowledge", "resolve"]
    assert len({one["dedup_key"] for one in documents}) == 1
    first = documents[0]
    assert (first["routing_key"], first["payload"]["severity"], first["payload"]["source"]) == (
        "s3cret",
        "critical",
        "flights",
    )
    assert len(first["payload"]["summary"]) <= 1024
    assert first["links"][0]["href"].startswith("https://kedge.example")


def test_a_test_of_pagerduty_leaves_nothing_open(receiver: Any) -> None:
    channel(rules(ChannelKind.PAGERDUTY, receiver.url, secret_env="K"), secret).send(message(AlertMove.TESTED))
    assert [json.loads(body)["event_action"] for _, _, body in receiver.got] == ["trigger", "resolve"]


@pytest.mark.parametrize("kind", [ChannelKind.WEBHOOK, ChannelKind.SLACK, ChannelKind.TEAMS, ChannelKind.PAGERDUTY])
def test_an_address_may_stand_in_the_environment_of_every_channel_that_has_one(receiver: Any, kind: ChannelKind) -> None:
    kept = {"OPS_URL": receiver.url, "OPS_KEY": "s3cret"}
    channel(rules(kind, url_env="OPS_URL", secret_env="OPS_KEY"), lambda name, _: kept[name]).send(message())
    assert [path for path, _, _ in receiver.got] == ["/hook?x=1"]


def test_the_log_gets_the_alert_and_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="kedge.alerts"):
        made = channel(ChannelRules(kind=ChannelKind.LOG), secret)
        assert made.send(message()) == "written to the log"
        made.send(over())
    first, second = caplog.records
    assert (first.levelname, first.getMessage()) == ("WARNING", "flights: risk: the loss rose")
    assert (second.levelname, second.getMessage()) == ("INFO", "flights: risk: resolved: rolled back")
    assert (first.alert_id, first.severity) == (life().id, "critical")  # type: ignore[attr-defined]


def test_a_secret_that_is_missing_is_said_when_it_is_needed() -> None:
    def missing(variable: str, _file: str) -> str:
        raise ConfigError(f"the environment variable {variable} is not set")

    made = channel(rules(ChannelKind.WEBHOOK, "", url_env="OPS_URL"), missing)
    with pytest.raises(KedgeError, match="OPS_URL is not set"):
        made.send(message())


class MailServer:
    """A small SMTP server that takes mails, or refuses them."""

    def __init__(self, *, refuse: str = "") -> None:
        self.mails: list[bytes] = []
        self.said: list[str] = []
        self.refuse, self.port = refuse, 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(text: str) -> None:
            writer.write(f"{text}\r\n".encode())

        say("220 here")
        while line := (await reader.readline()).decode().strip():
            self.said.append(line)
            verb = line.split()[0].upper()
            if verb == "EHLO":
                say("250-here\r\n250 AUTH PLAIN")
            elif verb == "RCPT" and self.refuse:
                say(self.refuse)
            elif verb == "AUTH":
                say("235 welcome")
            elif verb == "DATA":
                say("354 go on")
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                break
            else:
                say("250 ok")
        await writer.drain()
        writer.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def mail_rules(port: int, **more: object) -> ChannelRules:
    values = {
        "kind": ChannelKind.EMAIL,
        "host": "127.0.0.1",
        "port": port,
        "security": MailSecurity.NONE,
        "sender": "Kedge <kedge@example.org>",
        "to": ("a@example.org", "Ops Team <ops@example.org>"),
        "allow_private": True,
    }
    return ChannelRules(**(values | more))  # type: ignore[arg-type]


@pytest.fixture
def mails() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.close()


def test_a_mail_has_both_parts_one_thread_and_a_name_of_its_own(mails: MailServer) -> None:
    made = channel(mail_rules(mails.port, user="kedge", secret_env="P"), secret)
    assert made.send(message(of=life(message=NASTY))) == "250 taken for 2 of 2"
    made.send(over())
    first, second = (message_from_bytes(raw, policy=policy.default) for raw in mails.mails)
    assert first["Subject"] == "[critical] flights: risk fires"
    assert (first["Message-ID"], first["To"]) == (f"<{'d' * 24}@kedge>", "a@example.org, Ops Team <ops@example.org>")
    assert first["References"] == second["References"]
    plain, html = first.get_body(("plain",)), first.get_body(("html",))
    assert NASTY in plain.get_content()
    assert "<img" not in html.get_content()
    assert "https://kedge.example/monitoring/alerts/x" in html.get_content()
    assert any(line.startswith("AUTH PLAIN") for line in mails.said)


@pytest.mark.parametrize(("answer", "final"), [("450 later", False), ("550 nobody", False)])
def test_what_a_mail_server_refuses_is_said(answer: str, final: bool) -> None:
    server = MailServer(refuse=answer)
    with pytest.raises(NotTold, match="refused every recipient") as error:
        channel(mail_rules(server.port), secret).send(message())
    assert error.value.final is final
    server.close()


def test_a_mail_server_without_tls_is_refused_where_tls_is_asked_for(mails: MailServer) -> None:
    with pytest.raises(NotTold, match="STARTTLS"):
        channel(mail_rules(mails.port, security=MailSecurity.STARTTLS, user="kedge", secret_env="P"), secret).send(message())
    assert not any(line.startswith("AUTH") for line in mails.said), "no password goes over an open line"


def test_a_header_cannot_be_made_of_an_alert(mails: MailServer) -> None:
    nasty = msgspec.structs.replace(life().newest, model=ModelName("flights\r\nBcc: all@example.org"))
    told = raised(None, nasty)[0]
    with pytest.raises((NotTold, ValueError)):
        channel(mail_rules(mails.port), secret).send(message(of=told))
    assert mails.mails == []


def test_a_mail_server_of_this_network_is_refused_unless_it_is_meant(mails: MailServer) -> None:
    with pytest.raises(NotTold, match="allow_private"):
        channel(mail_rules(mails.port, allow_private=False), secret).send(message())
