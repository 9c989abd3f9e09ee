"""Every screen in every language: no holes, no broken HTML, buttons that Telegram accepts and that can be read back."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, get_args

import attrs
import pytest
from screen_samples import (
    ABOUT_AN_END,
    DIRECT,
    DOCUMENT,
    ENDING,
    HUGE,
    NAMES,
    NOW,
    OFFERS,
    OVER,
    PAGE,
    PLAN,
    PREFERENCES,
    RICH,
    SHUT_OUT,
    SNAPSHOT,
    TERMS,
    TITLES,
    raised_alarm,
    screens,
    ways,
)
from telegram import InlineKeyboardButton

from vpnd.bot.callbacks import MAX_BYTES, Home, Periods, decode, encode
from vpnd.bot.clocks import ZONES
from vpnd.bot.markup import html_faults, visible_length
from vpnd.bot.reading import Purse
from vpnd.bot.screens import (
    alerts,
    home,
    money,
    notifications,
    plans,
    reminders,
    status,
    subscription,
    switches,
)
from vpnd.bot.screens.screen import MAX_CAPTION
from vpnd.bot.speech import Speech
from vpnd.bot.texts import LANGUAGES, Texts
from vpnd.bot.ways import ways_to_pay
from vpnd.monitors.service import ALARMS
from vpnd.sandbox.telegram_entities import parse_html, utf16_length
from vpnd.shop.notices import Template
from vpnd.shop.plans import Offer
from vpnd.shop.referrals import ReferralStanding
from vpnd.shop.switches import Snapshot


def read(text: str) -> str:
    """Words as a person reads them: a blank that keeps a line together is a blank."""
    return text.replace("\u00a0", " ")


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
            # Titles of plans are the shop's own; everything else is ours and short.
            assert 0 < len(button.label) <= (64 if TITLES[language] in button.label else 40), (
                name,
                button.label,
            )
            assert "&lt;" not in button.label, name
            assert not re.search(r"[{}]|\$\w", button.label), (name, button.label)
            assert InlineKeyboardButton.de_json(button.as_json(), None).to_dict() == button.as_json(), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_screen_is_a_dead_end(language: str) -> None:
    """From each screen a person can go on, a customer and an operator, except whoever is shut out."""
    for name, screen in screens(Speech(Texts.load(), language)).items():
        assert screen.keyboard() is not None or name.split()[0] in SHUT_OUT, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_screen_has_the_way_home(language: str) -> None:
    """From each screen home is at most two taps away: in fact one, since each has its button, also what operators are told.

    The first screen itself has none.
    """
    for name, screen in screens(Speech(Texts.load(), language)).items():
        if name.split()[0] not in (*SHUT_OUT, "home"):
            assert any(isinstance(action, Home) for action in screen.actions()), name


def test_every_template_has_its_words() -> None:
    """Whatever the shop has to say, there is a text for it."""
    known = {*money.NOTICES, *reminders.ENDINGS, "receipt", "topped_up", "renewal_short", "summary"}
    assert set(get_args(Template)) | {"alarms"} == known


def test_the_words_of_a_purchase() -> None:
    """What a buyer reads on his way, as he reads it."""
    speech = Speech(Texts.load(), "en")
    offers = [offer for offer in OFFERS if offer.plan_id == PLAN]

    screen = plans.periods(speech, PLAN, offers, "RUB")

    assert read(screen.text) == (
        "<b>Family &amp; &lt;friends&gt;</b>\n\nHow long should it last?\n\n"
        "• 1 month: <b>199 ₽</b>\n"
        "• 3 months: <b>499 ₽</b>, that is 166 ₽ a month, <b>16%</b> less\n"
        "• 1 year: <b>1,499 ₽</b>, that is 123 ₽ a month, <b>38%</b> less"
    )
    assert [read(row[0].label) for row in screen.rows] == [
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

    screen = plans.methods(Speech(Texts.load(), "en"), yearly, ways(yearly), Purse(), "RUB")

    assert [getattr(action, "method", None) for action in screen.actions()] == [
        "yookassa", "cryptopay", "balance", None, None,
    ]  # fmt: skip


def test_stars_every_month_are_offered_for_a_month_only() -> None:
    """Telegram charges by itself every 30 days, at most 10 000 Stars: nothing else is offered that way."""
    month, quarter, _ = OFFERS[:3]
    dear = attrs.evolve(month, prices={"RUB": 10**8, "XTR": 10_001})

    def words(offer: Offer, **options: Any) -> list[str]:
        found = ways_to_pay(offer, TERMS, "RUB", 0, **({"monthly": True} | options))
        return [way.word for way, _ in found]

    assert "stars_monthly" in words(month)
    assert "stars_monthly" not in words(quarter) + words(dear) + words(month, monthly=False)


def test_the_discount_is_shown_and_asked() -> None:
    """Each way is offered at its price less the discount; what Telegram charges for ever is not discounted."""
    speech = Speech(Texts.load(), "en")

    screen = plans.methods(speech, OFFERS[0], ways(OFFERS[0], 25), RICH, "RUB")

    assert "<s>199 ₽</s> <b>149.25 ₽</b> (−25%)" in read(screen.text)
    assert "SPRING_2026" in screen.text
    assert [read(row[0].label) for row in screen.rows[:-1]] == [
        "💳 Card or SBP · 149.25 ₽", "💎 Crypto · 149.25 ₽", "⭐ Telegram Stars · 113 ⭐",
        "⭐ Stars, every month · 150 ⭐", "💰 Balance · you have 101,234.56 ₽",
    ]  # fmt: skip


def test_nothing_is_promised_that_does_not_exist() -> None:
    """A shop without rewards says nothing of any."""
    speech = Speech(Texts.load(), "en")

    plain = home.invite(speech, "https://t.me/b?start=ref_C", ReferralStanding(2, 1, 0, None, None, 0), "RUB")
    first = home.invite(speech, "https://t.me/b?start=ref_C", ReferralStanding(2, 1, 0, 3, 10, 0), "RUB")

    assert "%" not in plain.text
    assert "2 more paying guests, and you get <b>10%</b>" in first.text


def test_a_long_link_is_not_on_a_copy_button() -> None:
    """Telegram's copy button holds 256 characters; a longer link stays in the text."""
    short = subscription.copy_row("Copy", PAGE)
    long = subscription.copy_row("Copy", DIRECT)

    assert (len(short), long) == (1, ())


def test_secrets_do_not_show_in_a_repr() -> None:
    """What is shown of connect data in a traceback contains no link."""
    assert "vless" not in repr(PAGE)
    assert "sub" not in repr(PAGE)


# ------------------------------------------------------------------------------------------ reminders, clocks, status


def test_a_reminder_says_what_is_left_on_the_customers_clock() -> None:
    """The step gives the tone; how much is left, and when it ends by his own clock, is as it is when it is sent."""
    speech = Speech(Texts.load(), "en")
    args = ABOUT_AN_END | {"when": "7d"}

    early = reminders.reminder(speech, args, ENDING)
    last = reminders.reminder(
        speech, args | {"when": "3h"}, attrs.evolve(ENDING, now=ENDING.expires_at - timedelta(hours=2))
    )

    assert "coming to its end" in early.text
    assert "26 November 2026, 15:30 (UTC+5:30)" in early.text
    assert "Time left: <b>3 days</b>" in early.text
    assert "very soon" in last.text
    assert "Time left: <b>2 hours</b>" in last.text
    assert next(iter(early.actions())) == Periods(PLAN, HUGE)


def test_a_reminder_that_is_the_last_says_so() -> None:
    """Only the last step of a period promises silence."""
    speech = Speech(Texts.load(), "en")

    said = {
        when: "again.I won" in text or "remind you of it again" in text
        for when in ("1d", "3d", "7d")
        for text in (reminders.reminder_over(speech, ABOUT_AN_END | {"when": when}, OVER).text,)
    }

    assert said == {"1d": False, "3d": False, "7d": True}


@pytest.mark.parametrize(
    ("template", "changes", "true"),
    [
        ("reminder", {}, True),
        ("reminder", {"expires_at": NOW + timedelta(days=33)}, False),
        ("reminder", {"active": False}, False),
        ("reminder", {"now": NOW + timedelta(hours=71)}, False),
        ("reminder_over", {}, False),
        ("reminder_over", {"active": False}, True),
        ("trial_ending", {}, True),
        ("trial_ending", {"trial": False}, False),
        ("trial_ended", {"active": False}, True),
        ("trial_ended", {"active": False, "trial": False}, False),
    ],
)
def test_what_was_overtaken_is_not_said(template: str, changes: dict[str, Any], true: bool) -> None:
    """A renewal, a purchase or a refund since the row was written makes a notice about an end untrue."""
    args = ABOUT_AN_END | {"expires_at": ENDING.expires_at.isoformat()}

    assert reminders.still_true(template, args, attrs.evolve(ENDING, **changes)) is true


def test_every_clock_can_be_chosen() -> None:
    """The pages hold each clock once, from UTC−12 to UTC+14, and open with the customer's own among them."""
    speech = Speech(Texts.load(), "en")
    labels = [
        row_button.label
        for page in range(1, 10)
        for row in notifications.time_zones(speech, PREFERENCES, page).rows[:6]
        for row_button in row
        if page <= -(-len(ZONES) // notifications.PAGE) and "UTC" in row_button.label
    ]

    assert len(labels) == len(set(labels)) == len(ZONES)
    assert (labels[0], labels[-1]) == ("00:00 · UTC−12", "02:00 · UTC+14")
    assert "15:00 · UTC+3" in str(notifications.time_zones(speech, PREFERENCES, 0).rows)
    assert (ZONES[180], ZONES[-300], ZONES[0], ZONES[345]) == (
        "Etc/GMT-3",
        "Etc/GMT+5",
        "Etc/UTC",
        "Asia/Kathmandu",
    )


def test_the_status_is_told_in_a_few_lines() -> None:
    """What is wrong stands first and is never cut off; a part that cannot be read does not spoil the others."""
    speech = Speech(Texts.load(), "en")

    whole = status.status(
        speech, DOCUMENT | {"lanes": {"error": "no answer within 3 s"}, "loop": 5}, SNAPSHOT
    ).text
    quiet = status.status(
        speech, {"alarms": [], "workers": DOCUMENT["workers"][:1], "money": []}, Snapshot()
    ).text

    for words in (
        "vpnd 0.4.0", "❗️ worker x: restarting", "⏸ Paused: <b>shop, ", "failed in a row: <b>3</b>", "message: 10,000 (1 d)",
        "lanes: no answer within 3 s", "loop: it says something", "database 3/15 (+2), HTTP 0/10 ❗️ the database is away",
        "97 MB (-1 within the hour), 5% of a core", "stars: at least 3 · <b>450 ⭐</b>, held: 1", "expired but on 1",
    ):  # fmt: skip
        assert words in read(whole), words
    first, *_ = [line for line in whole.splitlines() if "www" in line and "Paused" not in line]
    assert first.startswith("❗️")
    assert "… and 6 more" in whole
    assert "No alarm is raised" in quiet
    assert "nothing yet" in quiet


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_alarm_has_its_words(language: str) -> None:
    """An alarm is told in the admin's language, with its worst value and its threshold."""
    speech = Speech(Texts.load(), language)

    for alarm in ALARMS:
        line = alerts.alarm_line(speech, raised_alarm(alarm, "x"))
        assert f"{alarm.raise_at:g}" in line
        assert "(x)" in line
        assert (alarm.what in line) == (language == "en"), line


def test_a_worker_that_no_button_can_name_is_switched_elsewhere() -> None:
    """All switches that fit on a button have one: what runs can be paused, what is paused resumed."""
    few = Snapshot({name: SNAPSHOT.switches[name] for name in (*NAMES[:5], NAMES[-1])})

    screen = switches.overview(Speech(Texts.load(), "en"), few)
    labels = [button.label for row in screen.rows for button in row]

    assert labels[:2] == ["▶️ shop", "⏸ trial"]
    assert len([label for label in labels if label[:1] in "⏸▶"]) == len(few.switches) - 1
