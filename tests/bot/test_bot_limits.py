"""Telegram's limits, with the longest and widest values there can be, counted as Telegram counts: bytes and UTF-16 units."""

from __future__ import annotations

import re
from typing import Any

import pytest
import screen_samples
import trio
from screen_samples import HUGE, PLAN, TITLES, bought, screens

from vpnd.bot.admin_callbacks import RefundAllNow, RefundNow
from vpnd.bot.callbacks import MAX_BYTES, TopUpPay, encode
from vpnd.bot.handlers import COMMANDS
from vpnd.bot.markup import fits, fitting, html_faults, visible_length
from vpnd.bot.ordering import _REFUSALS, _invoice
from vpnd.bot.screens import payment
from vpnd.bot.screens.screen import MAX_CAPTION, MAX_COPY, MAX_TEXT, Button, Screen
from vpnd.bot.show import replace, send
from vpnd.bot.speech import Speech
from vpnd.bot.texts import LANGUAGES, PLAIN_LIMITS, Texts, keys
from vpnd.runtime.journal import capture
from vpnd.sandbox.telegram_entities import parse_html
from vpnd.shop.money import EXPONENTS, Money

#: As long as a plan's title may be, of letters that are two units and four bytes each, or five characters in HTML.
WIDE = "🙂" * 32
ESCAPED = "&" * 32


def units(text: str) -> int:
    """The length of a text in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


@pytest.fixture(params=[WIDE, ESCAPED], ids=["wide", "escaped"])
def title(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All plans are called by the longest title."""
    for language in LANGUAGES:
        monkeypatch.setitem(TITLES, language, request.param)
    return str(request.param)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_screen_keeps_every_limit(language: str, title: str) -> None:
    """Texts, captions, entities, keyboards, labels, data, addresses and what is copied."""
    for name, screen in screens(Speech(Texts.load(), language)).items():
        text, entities = parse_html(screen.text)
        assert 0 < units(text) <= MAX_TEXT, name
        assert screen.qr is None or units(text) <= MAX_CAPTION, name
        assert len(entities) <= 100, name
        rows = [row for row in screen.rows if row]
        assert max((len(row) for row in rows), default=0) <= 8, name
        assert sum(len(row) for row in rows) <= 100, name
        for button in (button for row in rows for button in row):
            assert 0 < units(button.label) <= 110, (name, button.label)
            if button.action is not None:
                assert len(encode(button.action).encode()) <= MAX_BYTES, (name, button)
            if button.url is not None:
                assert re.match(r"https://|tg://", button.url), (name, button)
                assert len(button.url.encode()) <= 2048, name
            if button.copy is not None:
                assert 0 < units(button.copy) <= MAX_COPY, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_invoices_keep_their_limits(language: str, title: str) -> None:
    """Title, description, payload and label, for each period that may be on sale, and for a top-up."""
    speech = Speech(Texts.load(), language)
    for days in (1, 29, 30, 90, 360, 365, 3650, 3660):
        for kind in ("access", "topup"):
            purchase = bought(
                method="stars", currency="XTR", amount=2**31, days=days, kind=kind, bonus_days=365
            )
            invoice = _invoice(speech, purchase, payment.subject(speech, purchase, title)).as_request()
            assert 1 <= units(invoice["title"]) <= 32
            assert 1 <= len(invoice["description"]) <= 255
            assert 1 <= len(invoice["payload"].encode()) <= 128
            assert len(invoice["prices"]) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_alerts_commands_and_refusals_keep_theirs(language: str) -> None:
    """What is shown without a message: 200 units, commands of 32 small letters with descriptions of 256."""
    texts = Texts.load()
    for key in keys():
        if key.startswith("alert-"):
            assert 1 <= units(texts.plain(language, key)) <= PLAIN_LIMITS["alert-"], key
    for refusal in _REFUSALS.values():
        assert 1 <= units(texts.plain(language, refusal)) <= 200
    for command in COMMANDS:
        assert re.fullmatch(r"[a-z0-9_]{1,32}", command)
        assert 1 <= units(texts.plain(language, f"command-{command}")) <= 256


def test_the_longest_wishes_fit_on_a_button() -> None:
    """Amounts, methods and keys at their largest, all at once."""
    for wish in (
        TopUpPay("stars_monthly", 2**53),
        RefundNow(HUGE, HUGE, 1, HUGE),
        RefundAllNow("p" + "7" * 24, 1, HUGE),
    ):
        assert len(encode(wish).encode()) <= MAX_BYTES, wish
    assert len(f"plan_{PLAN}".encode()) <= 64  # what a link may carry
    assert len(b"ref_ABCD2345") <= 64


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_largest_prices_are_whole(language: str) -> None:
    """No sum of any currency makes a label too long."""
    speech = Speech(Texts.load(), language)
    for currency in EXPONENTS:
        price = speech.price(Money(2**53, currency))
        assert "{" not in price
        assert units(speech.label("button-top-up-by", amount=price)) <= 64, price


# ------------------------------------------------------------------------------------------ what is too long all the same


class Recorder:
    """Stands for the sender: what was asked of Telegram."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def post(self, _lane: object, method: str, parameters: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append((method, dict(parameters)))


@pytest.mark.parametrize(
    ("html", "most", "whole"),
    [("x" * 10, 10, True), ("x" * 11, 10, False), ("<b>" + "&amp;" * 10 + "</b>", 10, True), ("🙂" * 5, 10, True),
     ("🙂" * 6, 10, False), ("", 10, True)],
)  # fmt: skip
def test_what_fits(html: str, most: int, whole: bool) -> None:
    """Tags and entities do not count, an emoji counts twice."""
    assert fits(html, most) is whole


@pytest.mark.parametrize("piece", ["x", "🙂", "<b>a &lt; b</b> ", "&amp;"])
def test_what_is_cut_can_be_sent(piece: str) -> None:
    """The beginning, without markup, of a length that Telegram takes, with no half of a letter."""
    cut = fitting(piece * 5000, MAX_TEXT)

    assert html_faults(cut) == []
    assert MAX_TEXT - 2 <= visible_length(cut) <= MAX_TEXT
    assert cut.endswith("…")
    assert "\ufffd" not in cut


async def test_a_screen_that_is_too_long_is_sent_all_the_same() -> None:
    """Several texts of an operator may be too long together: the customer gets the beginning and every button."""
    sender = Recorder()
    screen = Screen(
        "<b>" + "long " * 1000 + "</b>", ((Button("x", url="https://example.org"),),), qr="secret"
    )

    with capture() as lines:
        await send(sender, 0, 7, screen, None)  # type: ignore[arg-type]  # a fake of the one method used

    ((method, arguments),) = sender.calls
    assert method == "sendMessage"
    assert 4000 < visible_length(arguments["text"]) <= MAX_TEXT
    assert arguments["reply_markup"] == {"inline_keyboard": [[{"text": "x", "url": "https://example.org"}]]}
    assert [line.event for line in lines] == ["bot.text_cut"]
    await replace(sender, None, 7, screen, None)  # type: ignore[arg-type]  # likewise
    assert len(sender.calls) == 2


def test_the_samples_hold_the_longest_values() -> None:
    """What these tests stand on: the largest key, the longest plan."""
    assert (screen_samples.HUGE, len(screen_samples.PLAN)) == (2**63 - 1, 32)
