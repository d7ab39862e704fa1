"""What a control plane's answer means for what waits in the spool: later, or refused for good."""

import pytest

from kedge.client.remote import RemoteDelivery
from kedge.errors import ConfigError, KedgeError, RequestInvalid, Unreachable

OURS = b'{"error": {"code": "request_invalid", "message": "no", "request_id": "1"}}'


@pytest.fixture
def delivery():
    opened = RemoteDelivery("http://127.0.0.1:8400/below")
    yield opened
    opened.close()


def answering(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes = OURS) -> None:
    monkeypatch.setattr(RemoteDelivery, "_answered", lambda *_, **__: (status, "application/json", body))


@pytest.mark.parametrize("status", [401, 403, 408, 415, 429, 500, 503])
def test_what_says_nothing_of_the_records_leaves_them_in_the_spool(delivery, monkeypatch, status) -> None:
    answering(monkeypatch, status)
    with pytest.raises(Unreachable, match=str(status)):
        delivery.call("POST", "/api/v1/runs/r/begin", body={})


@pytest.mark.parametrize(("status", "error"), [(400, RequestInvalid), (409, KedgeError)])
def test_what_is_wrong_with_the_records_is_refused(delivery, monkeypatch, status, error) -> None:
    answering(monkeypatch, status)
    with pytest.raises(error, match="no"):
        delivery.call("POST", "/api/v1/runs/r/begin", body={})


def test_an_answer_that_is_not_kedges_refuses_nothing(delivery, monkeypatch) -> None:
    answering(monkeypatch, 400, b"<html>a proxy</html>")
    with pytest.raises(Unreachable):
        delivery.call("POST", "/api/v1/runs/r/log", body={})


@pytest.mark.parametrize(
    "url", ["foo", "http://", "ftp://x", "http://u:p@x", "http://x:99999", "http://x:abc", "http://x:0"]
)
def test_what_is_no_address_is_a_mistake_in_the_settings(url: str) -> None:
    with pytest.raises(ConfigError, match="http://HOST:PORT"):
        RemoteDelivery(url)
