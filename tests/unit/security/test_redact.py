"""Two lists: secrets that must go, and texts that must stay as they are."""

import base64
import random
import time

import pytest

from kedge.security.redact import HIDDEN, looks_secret, redact, redacted

SECRET = "s3cr3t-Pa55"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://ann:{SECRET}@db:5432/kedge",
        f"postgresql+psycopg://ann:{SECRET}@db/kedge",
        f"redis://:{SECRET}@cache:6379/0",
        f"https://ann:p@{SECRET}@host/path",
        f"PASSWORD={SECRET}",
        f"db_password = '{SECRET}'",
        f'{{"api_key": "{SECRET}"}}',
        f"{{'client_secret': '{SECRET}'}}",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"https://api.host/x?user=ann&token={SECRET}&page=2",
        f"Authorization: Bearer {SECRET}{SECRET}",
        f"authorization: Basic {SECRET}{SECRET}",
        f"x-api-key: {SECRET}",
        f"connect(password='{SECRET}', host='db')",
        f'connect(password="two words {SECRET}")',
        f"-----BEGIN RSA PRIVATE KEY-----\nabc\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\ncut off {SECRET}",
    ],
)
def test_secret_goes(text: str) -> None:
    clean = redact(text)
    assert SECRET not in clean
    assert HIDDEN in clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "token",
    [
        "ghp_abcdefghijklmnopqrstuvwx0123456789AB",
        "github_pat_11ABCDEFG0123456789_abcdefghij",
        "glpat-abcdefghij0123456789",
        "hf_abcdefghijklmnop",
        "sk-proj-abcdefghijklmnop",
        "xoxb-123456789012-abcdefghij",
        "AKIAIOSFODNN7EXAMPLE",
        "kedge_Zm9vYmFyYmF6cXV4Zm9vYmFy",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    ],
)
def test_known_token_goes(token: str) -> None:
    assert redact(f"failed with {token}, sorry") == f"failed with {HIDDEN}, sorry"


def test_random_words_of_32_letters_and_more_go() -> None:
    dice = random.Random(7)
    words = [base64.urlsafe_b64encode(dice.randbytes(30)).decode() for _ in range(500)]
    left = [word for word in words if redact(f"key {word} end") != f"key {HIDDEN} end"]
    assert len(left) <= 5, left  # a random word without a digit is possible, and rare


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ordinary text, with: colons = and signs",
        "postgresql://db:5432/kedge",
        "postgresql://ann@db/kedge",
        "http://127.0.0.1:8400/models/delay",
        "d" * 64,
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        'File "/home/ann/project/train.py", line 12, in model',
        "HistGradientBoostingClassifier_of_January_2013_and_February_2013",
        "ValueError: Input X contains NaN.",
        "flights-2013-03-01T11.4",
        "2013-03-01T00:00/2013-03-02T00:00",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert redact(text) == text


def test_harmless_neighbours_of_a_secret_stay() -> None:
    assert redact("https://h/x?token=abc&page=2") == f"https://h/x?token={HIDDEN}&page=2"
    assert redact("connect(password='abc', host='db')") == f"connect(password='{HIDDEN}', host='db')"
    assert redact("postgresql://ann:abc@db:5432/kedge") == f"postgresql://ann:{HIDDEN}@db:5432/kedge"


def test_named_values() -> None:
    values = {"API_TOKEN": "abc", "depth": "6", "url": "redis://:abc@h/0", "password": ""}
    assert redacted(values) == {"API_TOKEN": HIDDEN, "depth": "6", "url": f"redis://:{HIDDEN}@h/0", "password": ""}


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("DB_PASSWORD", True),
        ("apiKey", True),
        ("Authorization", True),
        ("HF_TOKEN", True),
        ("token", True),
        ("token_2", True),
        ("authTokens", True),
        ("depth", False),
        ("key", False),
        ("", False),
        ("max_tokens", False),
        ("maxTokens", False),
        ("tokens_per_second", False),
        ("tokenizer", False),
        ("token_count", False),
    ],
)
def test_secret_names(name: str, secret: bool) -> None:
    assert looks_secret(name) is secret


@pytest.mark.parametrize(
    "part", ["a", "a.", "secret", "eyJ-", "a://b:", "-----BEGIN PRIVATE KEY-----", "token=", "bearer ", "Aa1", "@", '"']
)
def test_long_texts_take_no_longer_than_their_length(part) -> None:
    started = time.process_time()
    redact(part * (50_000 // len(part)))
    assert time.process_time() - started < 2
