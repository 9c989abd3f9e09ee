"""Takes secrets out of text before it leaves the process.

Two nets, one behind the other. The *known* secrets (everything the configuration holds) are registered by
value and removed wherever they stand, also percent-encoded, also inside a larger word. The *shapes* catch
what nobody registered: tokens of Telegram and Crypto Pay, subscription and ``vless://`` links, passwords in a
DSN, bearer credentials and the query or header names that usually carry one.

A replaced secret leaves a word that says what stood there (``<bot-token>``), so that a log line stays
readable; nothing of the secret itself is kept, not even its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

__all__ = ["MASK", "redact", "register_secret"]

MASK: Final = "<secret>"

# A shorter value would blank out ordinary words all over the journal ("vpnd" is a fine database password, and
# a fine word). What is this short is guessable anyway; the shapes still cover it inside a DSN.
_SHORTEST_SECRET: Final = 6

# Each repetition that can fail late is bounded or possessive: much of what is logged was written by
# strangers, and the time taken must grow with the length of a text, not with its square.
_SHAPES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # Telegram: <bot id>:<35 characters>; Crypto Pay's tokens have the same shape. A longer tail is swallowed
    # too: a half-masked token would be worse than an overlong mask. Inside a URL the colon may be
    # percent-encoded.
    (re.compile(r"\d{1,20}+(?::|%3[Aa])[A-Za-z0-9_-]{30,}"), "<bot-token>"),
    (re.compile(r"(?i)\b(?:vless|vmess|trojan|ss|hysteria2|hy2|tuic)://[^\s\"'<>]+"), "<vpn-link>"),
    (re.compile(r"(?i)(/sub/)[^/\s\"'<>?#&,;)\]}]+"), r"\1<link-token>"),
    # The password of a DSN or URL. Up to the last "@" of the word, since it may itself hold an unescaped "@",
    # ":" or "/".
    (
        re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,19}://[^\s:/@\"'<>]{0,128}):(?!<)[^\s\"'<>]{0,512}@"),
        r"\1:<password>@",
    ),
    (re.compile(r"(?i)\b(Bearer)(\s+|%20|\+)(?!<)[A-Za-z0-9._~+/=%-]{6,}"), r"\1 <credential>"),
    # name=value, name: value, "name": "value" and ('name', 'value'), for names that carry a secret.
    (
        re.compile(
            r"(?i)(\b(?:crypto-pay-api-(?:token|signature)|x-telegram-bot-api-secret-token|authorization|secret_token|"
            r"secret_key|webhook_secret|api_key|access_token|link_token|password|passwd|pgpassword|private_?key)"
            # Possessive, or the "b" of "Bearer" would be tried as a bytes prefix.
            r"(?:[\"']?\s*[=:]\s*|[\"'],\s*)(?:b?[\"'])?+(?:(?:Basic|Token)\s+)?+)(?!<|Bearer\s)([^\s\"'&,;)}\]]+)"
        ),
        r"\1" + MASK,
    ),
)

_secrets: set[str] = set()
_known: re.Pattern[str] | None = None


def register_secret(value: str | bytes | None) -> None:
    """Have ``value`` removed from every later log entry, error text and traceback of this process.

    It is matched literally and percent-encoded. None and values under 6 characters are left alone: they would
    blank out ordinary words. Registering twice does no harm; there is no way back, a secret stays one until
    the process ends.
    """
    global _known
    if value is None:
        return
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    for form in _forms(text):
        if len(form) >= _SHORTEST_SECRET:
            _secrets.add(form)
    if _secrets:
        # The longest first: a secret that begins another one must not leave that one's tail behind.
        ordered = sorted(_secrets, key=lambda form: (-len(form), form))
        _known = re.compile("|".join(re.escape(form) for form in ordered))


def _forms(text: str) -> Iterable[str]:
    """Yield the spellings under which a secret may surface."""
    stripped = text.strip()
    yield stripped
    yield quote(stripped, safe="")
    yield quote(stripped)
    # repr() and JSON write a backslash or a line break in a way of their own; a PEM key travels through both.
    yield stripped.encode("unicode_escape").decode("ascii")
    if "\n" in stripped:
        yield from (
            line for line in stripped.splitlines() if len(line) >= 2 * _SHORTEST_SECRET and " " not in line
        )


def redact(text: str) -> str:
    """Return ``text`` with every secret replaced by a word that names its kind.

    Safe to call twice on the same text. Costs a few microseconds for a log line.
    """
    if _known is not None:
        text = _known.sub(MASK, text)
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return text
