"""Nothing secret survives redaction, and ordinary text does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.runtime.redact import redact, register_secret

BOT = "123456:AAzQcZWQqQAbsfgPnOLr4FHC8Doa4L7KryC"
UUID = "550e8400-e29b-41d4-a716-446655440000"


@pytest.mark.parametrize(
    ("text", "secret", "expected"),
    [
        (f"token {BOT}.", BOT, "token <bot-token>."),
        (f"POST https://api.telegram.org/bot{BOT}/getMe", BOT, "POST https://api.telegram.org/bot<bot-token>/getMe"),
        (f"at /bot{BOT.replace(':', '%3A')}/x", BOT[7:], "at /bot<bot-token>/x"),
        (f"Crypto-Pay-API-Token: {BOT}", BOT, "Crypto-Pay-API-Token: <bot-token>"),
        ("{'crypto-pay-api-signature': '20570bbb95af'}", "20570bbb95af", "{'crypto-pay-api-signature': '<secret>'}"),
        ("(b'X-Telegram-Bot-Api-Secret-Token', b'hush-hush')", "hush-hush", "(b'X-Telegram-Bot-Api-Secret-Token', b'<secret>')"),
        (f"link vless://{UUID}@a.example:443?security=reality#me end", UUID, "link <vpn-link> end"),
        ("GET /sub/Zm9vYmFy?x=1 200", "Zm9vYmFy", "GET /sub/<link-token>?x=1 200"),
        ("https://shop.example/sub/Zm9vYmFy", "Zm9vYmFy", "https://shop.example/sub/<link-token>"),
        ("postgresql://vpnd:s3cret@db/vpnd", "s3cret", "postgresql://vpnd:<password>@db/vpnd"),
        ("postgresql://vpnd:s3/cr@et:x@db:5432/vpnd", "s3/cr@et", "postgresql://vpnd:<password>@db:5432/vpnd"),
        ("socks5://:s3cret@proxy:1080", "s3cret", "socks5://:<password>@proxy:1080"),
        ("Authorization: Bearer abc.DEF-123", "abc.DEF-123", "Authorization: Bearer <credential>"),
        ("authorization: Basic dXNlcjpw", "dXNlcjpw", "authorization: Basic <secret>"),
        ("host=db password=s3cret user=vpnd", "s3cret", "host=db password=<secret> user=vpnd"),
        ('{"secret_key": "live_abcdef"}', "live_abcdef", '{"secret_key": "<secret>"}'),
    ],
)  # fmt: skip
def test_shapes(text: str, secret: str, expected: str) -> None:
    """Secrets of a known shape go, and what stood around them stays readable."""
    assert secret not in redact(text)
    assert redact(text) == expected
    assert redact(expected) == expected, "a second pass changes nothing"


@pytest.mark.parametrize(
    "text",
    [
        "12:34:56.789 worker=expiry duration=0.123s",
        "listening on 127.0.0.1:8080 and [::1]:8080",
        "https://api.telegram.org/ answered 502",
        "basic 90 days for 399 RUB, purchase 4821",
        f"credential {UUID} version 12",
        "the bearer of bad news",
        "postgresql://db.example/vpnd",
        "password, please",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Redaction does not eat what an operator needs to read."""
    assert redact(text) == text


def test_registered_secret_goes_wherever_it_stands() -> None:
    """A registered value is removed inside words and in its percent-encoded spelling too."""
    register_secret("kn0wn+secret/value")
    register_secret(b"another-kn0wn")

    assert redact("<kn0wn+secret/value>") == "<<secret>>"
    assert redact("x=kn0wn%2Bsecret%2Fvalue&y=1") == "x=<secret>&y=1"
    assert redact("preanother-kn0wnpost") == "pre<secret>post"


def test_longer_registered_secret_wins() -> None:
    """A secret that begins another one leaves no tail of it behind."""
    register_secret("prefix-abc")
    register_secret("prefix-abc-and-more")

    assert redact("see prefix-abc-and-more") == "see <secret>"


def test_short_or_absent_values_are_not_registered() -> None:
    """A value of a few letters would blank out ordinary words."""
    register_secret(None)
    register_secret("")
    register_secret("vpnd")

    assert redact("vpnd runs") == "vpnd runs"


def test_lines_of_a_key_are_secrets() -> None:
    """A many-line key is removed line by line, as a traceback or repr may show it."""
    register_secret(
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIabc\nZZZZZZZZZZZZZZZZ\n-----END PRIVATE KEY-----\n"
    )

    assert "MC4CAQAwBQYDK2VwBCIEIabc" not in redact("line MC4CAQAwBQYDK2VwBCIEIabc")


@given(
    st.integers(1, 10**12),
    st.text("ABCabc019_-", min_size=35, max_size=35),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_bot_token_is_found_in_any_surroundings(number: int, tail: str, before: str, after: str) -> None:
    """Whatever stands around it, a bot token does not survive."""
    assert tail not in redact(f"{before}{number}:{tail}{after}")


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1:",
        "a.",
        "a://",
        "a://b:",
        "://:@",
        "password ",
        "Bearer  ",
        "/sub/",
        "vless://",
        "authorization: Basic ",
    ],
)
def test_cost_grows_with_length_only(piece: str) -> None:
    """A text made to exhaust the patterns is read in linear time; with quadratic time this test would not end."""
    redact(piece * 200_000)
