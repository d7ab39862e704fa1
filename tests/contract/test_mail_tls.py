"""Mail over TLS against a real server of this machine: its certificate is that of the host, or nothing is sent."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.contract.test_channels import mail_rules, message, secret

from kedge.adapters.channels import channel
from kedge.domain.channels import MailSecurity
from kedge.errors import NotTold

NAME = "mail.example.org"
TLS = (MailSecurity.STARTTLS, MailSecurity.SSL)


def certificate(folder: Path, name: str, *, days: int = 1) -> Path:
    """Make a key and a certificate that signs itself, in one file; below 0 days it has ended."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(IPv4Address("192.0.2.7"))]
    begin = datetime.now(UTC) - timedelta(days=9)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(datetime.now(UTC) + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret_part = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(secret_part + made.public_bytes(serialization.Encoding.PEM))
    return path


class TlsMailServer:
    """A small SMTP server with TLS from the first byte, or from STARTTLS on."""

    def __init__(self, pem: Path, security: MailSecurity) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.security, self.port = security, 0
        self.mails: list[bytes] = []
        self.said: list[tuple[str, bool]] = []  # each command, and whether it came over TLS
        self._loop, self._ready = asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda *_: None)  # a client that does not trust us hangs up in the handshake
        at_once = self.context if self.security is MailSecurity.SSL else None
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=at_once))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(text: str) -> None:
            writer.write(f"{text}\r\n".encode())

        say("220 here")
        while line := (await reader.readline()).decode().strip():
            secure = writer.get_extra_info("ssl_object") is not None
            self.said.append((line, secure))
            verb = line.split()[0].upper()
            if verb == "EHLO":
                say("250-here\r\n250-AUTH PLAIN\r\n250 STARTTLS" if not secure else "250-here\r\n250 AUTH PLAIN")
            elif verb == "STARTTLS":
                say("220 go on")
                await writer.drain()
                await writer.start_tls(self.context)
            elif verb == "DATA":
                say("354 go on")
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                say("250 taken")
            else:
                say({"AUTH": "235 welcome", "QUIT": "221 bye"}.get(verb, "250 ok"))
            await writer.drain()

    def close(self) -> None:
        """Stop it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture(params=TLS, ids=lambda one: one.value)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TlsMailServer]:
    made = TlsMailServer(certificate(tmp_path, NAME), request.param)
    yield made
    made.close()


def sender(server: TlsMailServer, monkeypatch: pytest.MonkeyPatch, *, trusted: Path | None, host: str = NAME):
    """Make the channel, for a host whose name leads to this machine; `trusted` is the only certificate that is trusted."""
    if trusted is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    rules = mail_rules(server.port, host=host, security=server.security, user="kedge", secret_env="P", timeout="5s")
    return channel(rules, secret, resolver=lambda *_: ["127.0.0.1"])


def test_a_mail_goes_over_tls_with_its_login_inside(server, tmp_path, monkeypatch) -> None:
    trusted = tmp_path / f"{NAME}.pem"
    assert sender(server, monkeypatch, trusted=trusted).send(message()) == "250 taken for 2 of 2"
    (mail,) = server.mails
    assert b"Subject: [critical] flights: risk fires" in mail
    open_words = [line.split()[0].upper() for line, secure in server.said if not secure]
    assert open_words == (["EHLO", "STARTTLS"] if server.security is MailSecurity.STARTTLS else [])
    assert [secure for line, secure in server.said if line.startswith("AUTH PLAIN")] == [True]


def test_a_certificate_that_nobody_trusts_gets_no_login_and_no_mail(server, monkeypatch) -> None:
    with pytest.raises(NotTold, match="certificate") as error:
        sender(server, monkeypatch, trusted=None).send(message())
    assert error.value.final is False, "it is tried again: the certificate may be renewed"
    assert (server.mails, [line for line, _ in server.said if line.startswith("AUTH")]) == ([], [])


def test_a_certificate_of_another_name_is_refused(server, tmp_path, monkeypatch) -> None:
    trusted = tmp_path / f"{NAME}.pem"
    with pytest.raises(NotTold, match=r"[Hh]ostname mismatch"):
        sender(server, monkeypatch, trusted=trusted, host="mail.example.com").send(message())
    assert server.mails == []


@pytest.mark.parametrize("security", TLS)
def test_a_certificate_that_has_ended_is_refused(tmp_path, monkeypatch, security) -> None:
    made = TlsMailServer(certificate(tmp_path, NAME, days=-1), security)
    try:
        with pytest.raises(NotTold, match="expired"):
            sender(made, monkeypatch, trusted=tmp_path / f"{NAME}.pem").send(message())
        assert made.mails == []
    finally:
        made.close()
