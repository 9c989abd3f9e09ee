"""Every screen in every language: no holes, no broken HTML, buttons that Telegram accepts and that can be read back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from vpnd.bot.callbacks import MAX_BYTES, Pay, decode, encode
from vpnd.bot.connect import ConnectInfo
from vpnd.bot.markup import html_faults
from vpnd.bot.reading import Held
from vpnd.bot.screens import help as help_screens
from vpnd.bot.screens import home, paid, payment, plans, subscription, trouble
from vpnd.bot.screens.screen import MAX_CAPTION, Screen
from vpnd.bot.show import visible_length
from vpnd.bot.speech import Speech
from vpnd.bot.texts import LANGUAGES, Texts
from vpnd.sandbox.telegram_entities import parse_html, utf16_length
from vpnd.shop.plans import Offer
from vpnd.shop.purchases import METHODS, Invoice, Purchase
from vpnd.shop.subscriptions import Subscription

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HUGE = 2**63 - 1  # the largest key there can be
TITLES = {"en": "Family & <friends>", "ru": "Семья & <друзья>"}
PLAN = "p" + "x" * 31  # the longest plan id there can be
LINK = "vless://" + "u" * 36 + "@de.example.org:443?" + "q" * 250 + "#de"
PAGE = ConnectInfo("https://vpn.example.org/sub/" + "t" * 32, (LINK,))
DIRECT = ConnectInfo(None, (LINK, LINK + "2", LINK + "3", LINK + "4"))


def made(**changes: Any) -> Subscription:
    """A subscription with the largest ids there can be."""
    values: dict[str, Any] = {
        "id": HUGE, "customer_id": 1, "plan_id": PLAN, "name": "s" + "a" * 24, "credential": UUID(int=7),
        "link_token": "t" * 32, "status": "active", "starts_at": NOW - timedelta(days=3),
        "expires_at": NOW + timedelta(days=27), "version": 1, "activated_at": NOW,
    }  # fmt: skip
    return Subscription(**(values | changes))


def bought(**changes: Any) -> Purchase:
    """A purchase with the largest ids there can be."""
    values: dict[str, Any] = {
        "id": HUGE, "public_id": "p" + "7" * 24, "customer_id": 1, "offer_id": HUGE, "plan_id": PLAN, "days": 90,
        "subscription_id": HUGE,
        "method": "cryptopay", "currency": "RUB", "amount": 149900, "shop_currency": "RUB", "shop_amount": 149900,
        "status": "pending",
        "received": 0, "created_at": NOW, "expires_at": NOW + timedelta(minutes=60), "paid_at": None, "invoice": None,
    }  # fmt: skip
    return Purchase(**(values | changes))


OFFERS = [
    Offer(offer_id=HUGE - days, plan_id=plan, titles=TITLES, days=days, prices=prices)
    for plan, prices_of in ((PLAN, 1), ("other", 2))
    for days, prices in (
        (30, {"RUB": 19900 * prices_of, "XTR": 150}),
        (90, {"RUB": 49900 * prices_of, "XTR": 400}),
        (365, {"RUB": 149900 * prices_of}),
    )
]
HELD = Held(made(), TITLES)
ENDED = Held(made(status="expired", expires_at=NOW - timedelta(days=1)), TITLES)
INVOICE = Invoice(
    1,
    "cryptopay",
    "501",
    "https://t.me/CryptoBot?start=IV501",
    "RUB",
    149900,
    "active",
    NOW + timedelta(minutes=60),
)
RECEIPT = {
    "subscription_id": HUGE,
    "expires_at": NOW.isoformat(),
    "renewed": False,
    "balance_added": 100,
    "balance_currency": "RUB",
}
ARGS: dict[str, dict[str, Any]] = {
    "expired": {"subscription_id": HUGE, "plan_id": PLAN, "expires_at": NOW.isoformat()},
    "underpaid": {"received": 100, "missing": 200, "currency": "RUB"},
    "second_charge_balance": {"amount": 100, "currency": "RUB"},
    "second_charge_refund": {"amount": 100, "currency": "XTR"},
    "payment_held": {"amount": "1.234567890123", "currency": "<?>"},
    "held_charge": {
        "provider": "cryptopay", "charge_id": "<1>", "reason": "why & how", "amount": "1.5", "currency": "TON",
        "purchase": None, "telegram_id": 5,
    },
}  # fmt: skip


def screens(speech: Speech) -> dict[str, Screen]:
    """Every screen, with values that try to break it."""
    name = "A<b>&" * 10
    found: dict[str, Screen] = {
        "home new": home.home(speech, name, None, NOW),
        "home active": home.home(speech, name, made(), NOW),
        "home expired": home.home(speech, name, ENDED.subscription, NOW, preface="x"),
        "invite": home.invite(speech, "shop_bot", "ABCD2345", 5),
        "languages": home.languages(speech, speech.texts),
        "plans": plans.plans(speech, OFFERS, "RUB"),
        "plans none": plans.plans(speech, [], "RUB"),
        "plans one": plans.plans(speech, OFFERS[:3], "RUB"),
        "periods": plans.periods(speech, PLAN, OFFERS, "RUB"),
        "periods renewal": plans.periods(speech, PLAN, OFFERS, "RUB", HUGE),
        "methods": plans.methods(speech, OFFERS[0], "RUB", METHODS, HUGE),
        "methods none": plans.methods(speech, OFFERS[0], "RUB", (), 0),
        "cryptopay": payment.cryptopay(speech, TITLES["en"], bought(), INVOICE.url, INVOICE.expires_at, NOW),
        "stars": payment.stars(
            speech, TITLES["en"], bought(currency="XTR", method="stars"), sent_before=False
        ),
        "stars again": payment.stars(
            speech, TITLES["en"], bought(currency="XTR", method="stars"), sent_before=True
        ),
        "standing pending": payment.standing(speech, bought(invoice=INVOICE), NOW),
        "standing stars": payment.standing(speech, bought(method="stars"), NOW),
        "standing paid": payment.standing(speech, bought(status="paid"), NOW),
        "standing closed": payment.standing(speech, bought(), NOW + timedelta(days=1)),
        "provider down": payment.provider_down(speech, bought(), Pay("cryptopay", HUGE, HUGE)),
        "subscription none": subscription.nothing(speech),
        "subscriptions": subscription.several(speech, [HELD, ENDED], NOW),
        "subscription": subscription.one(speech, HELD, PAGE, NOW, others=True),
        "subscription direct": subscription.one(speech, HELD, DIRECT, NOW),
        "subscription no node": subscription.one(speech, HELD, ConnectInfo(), NOW),
        "subscription starting": subscription.one(speech, Held(made(activated_at=None), TITLES), PAGE, NOW),
        "subscription ended": subscription.one(speech, ENDED, PAGE, NOW),
        "qr": subscription.qr_code(speech, HELD, PAGE),
        "qr failed": subscription.qr_failed(speech, HELD, DIRECT),
        "receipt": paid.receipt(speech, RECEIPT, HELD, PAGE),
        "receipt direct": paid.receipt(speech, RECEIPT, HELD, DIRECT),
        "receipt no node": paid.receipt(speech, RECEIPT, HELD, ConnectInfo()),
        "receipt renewed": paid.receipt(speech, RECEIPT | {"renewed": True}, HELD, PAGE),
        "help": help_screens.overview(speech, "@support"),
        "not on sale": trouble.not_on_sale(speech),
    }
    for template, render in paid.NOTICES.items():
        found[template] = render(speech, ARGS[template])
    for key in trouble.WORDS:
        found[key] = trouble.words(speech, key)
    for platform in help_screens.PLATFORMS:
        screen = help_screens.platform(speech, platform, None)
        assert screen is not None
        found[f"help {platform}"] = screen
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_screen_can_be_sent(language: str) -> None:
    """Each screen is HTML Telegram accepts, of a length it accepts, with nothing left unfilled."""
    for name, screen in screens(Speech(Texts.load(), language)).items():
        assert html_faults(screen.text) == [], name
        assert 0 < visible_length(screen.text) <= (MAX_CAPTION if screen.qr else 4096), name
        assert not re.search(r"[{}]|\$\w|\bNone\b|\?\?\?", screen.text), (name, screen.text)
        assert screen.text == screen.text.strip(), name
        assert "\n\n\n" not in screen.text, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_another_parser_agrees(language: str) -> None:
    """The sandbox's Telegram, written after the real server's grammar, reads each screen and finds the same length."""
    for name, screen in screens(Speech(Texts.load(), language)).items():
        text, _ = parse_html(screen.text)

        assert utf16_length(text) == visible_length(screen.text), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_button_can_be_pressed(language: str) -> None:
    """Each button has a short label without markup and data of at most 64 bytes that read back as the same wish."""
    for name, screen in screens(Speech(Texts.load(), language)).items():
        for action in screen.actions():
            assert len(encode(action).encode()) <= MAX_BYTES, name
            assert decode(encode(action)) == action, name
        for button in (button for row in screen.rows for button in row):
            assert 0 < len(button.label) <= 64, (name, button.label)
            assert "&lt;" not in button.label, name
            assert not re.search(r"[{}]|\$\w", button.label), (name, button.label)
            assert button.as_telegram().to_dict()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_screen_is_a_dead_end(language: str) -> None:
    """From each screen a person can go on, except from a word to an admin."""
    for name, screen in screens(Speech(Texts.load(), language)).items():
        assert screen.keyboard() is not None or name == "held_charge", name


def test_the_words_of_a_purchase() -> None:
    """What a buyer reads on his way, as he reads it."""
    speech = Speech(Texts.load(), "en")
    offers = [offer for offer in OFFERS if offer.plan_id == PLAN]

    screen = plans.periods(speech, PLAN, offers, "RUB")

    assert screen.text == (
        "<b>Family &amp; &lt;friends&gt;</b>\n\nHow long should it last?\n\n"
        "• 1 month: <b>199 ₽</b>\n"
        "• 3 months: <b>499 ₽</b>, that is 166 ₽ a month, <b>16%</b> less\n"
        "• 1 year: <b>1,499 ₽</b>, that is 123 ₽ a month, <b>38%</b> less"
    )
    assert [row[0].label for row in screen.rows] == [
        "1 month · 199 ₽", "3 months · 499 ₽ · −16%", "1 year · 1,499 ₽ · −38%", "« Menu",
    ]  # fmt: skip


def test_a_longer_period_that_saves_nothing_boasts_of_nothing() -> None:
    """A saving is shown where there is one, and never rounded up."""
    dear = Offer(offer_id=9, plan_id=PLAN, titles=TITLES, days=60, prices={"RUB": 39900})

    assert plans.saving_percent(dear, [OFFERS[0], dear], "RUB") == 0
    assert plans.saving_percent(OFFERS[0], OFFERS, "RUB") == 0


def test_a_method_without_a_price_is_not_offered() -> None:
    """An offer without a price in Stars has no Stars button."""
    yearly = OFFERS[2]

    screen = plans.methods(Speech(Texts.load(), "en"), yearly, "RUB", METHODS)

    assert [type(action).__name__ for action in screen.actions()] == ["Pay", "Periods"]


def test_a_long_link_is_not_on_a_copy_button() -> None:
    """Telegram's copy button holds 256 characters; a longer link stays in the text."""
    short = subscription.copy_row("Copy", PAGE)
    long = subscription.copy_row("Copy", DIRECT)

    assert (len(short), long) == (1, ())


def test_secrets_do_not_show_in_a_repr() -> None:
    """What is shown of connect data in a traceback contains no link."""
    assert "vless" not in repr(PAGE)
    assert "sub" not in repr(PAGE)
