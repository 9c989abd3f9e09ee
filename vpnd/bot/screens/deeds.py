"""For operators: what is to be done to a customer: how much, why, what will happen, and what has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from vpnd.bot.button_data import Action
from vpnd.bot.customer_callbacks import DaysOf, DeedNow, GiveDays, NewAccess, OtherPlan, PlanOf, Reissue
from vpnd.bot.markup import escape
from vpnd.bot.screens.customers import NOTHING, at, called, foot, money, title_of
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.audit_log import Change
from vpnd.shop.customer_card import Card
from vpnd.shop.deed import Deed, Why

#: Days that have a button.
PRESETS: Final = (1, 3, 7, 14, 30, 90)
_LABEL: Final = 32  # letters of what is named on a button
_SHOWN: Final = 1500  # letters of a message in the question before it is sent
_REASON: Final = 300
_PLANS: Final = 12


def choose(speech: Speech, who: Card, wish: type[GiveDays | OtherPlan | Reissue]) -> Screen:
    """Which of his subscriptions is meant."""
    rows: list[Row] = [
        (
            Button(
                speech.label(
                    "button-one-of",
                    title=title_of(speech, one)[: _LABEL - 14],
                    until=f"{one.expires_at:%Y-%m-%d}",
                ),
                wish(who.id, one.id),
            ),
        )
        for one in who.subscriptions
    ]
    text = speech.say("deed-which", name=called(who.name, who.telegram_id))
    return Screen(text, (*rows, *foot(speech, who.id)))


def choose_plan(
    speech: Speech, who: Card, titles: Mapping[str, str], subscription_id: int | None = None
) -> Screen:
    """Which plan: of a new subscription, or for one that he has."""
    rows: list[Row] = []
    for plan, title in list(titles.items())[:_PLANS]:
        action: Action = (
            NewAccess(plan, who.id) if subscription_id is None else PlanOf(plan, subscription_id, who.id)
        )
        rows.append((Button(title[:_LABEL], action),))
    key = "deed-new-plan" if subscription_id is None else "deed-other-plan"
    return Screen(speech.say(key, name=called(who.name, who.telegram_id)), (*rows, *foot(speech, who.id)))


def ask_days(speech: Speech, who: Card, subscription_id: int | None, *, wrong: bool = False) -> Screen:
    """How many days; some have a button where there is something to add them to."""
    rows: list[Row] = []
    if subscription_id is not None:
        buttons = [
            Button(speech.label("button-days", days=f"+{days}"), DaysOf(who.id, subscription_id, days, 0))
            for days in PRESETS
        ]
        rows = [tuple(buttons[:3]), tuple(buttons[3:])]
    problem = speech.say("deed-days-wrong") if wrong else None
    text = speech.say("deed-ask-days", name=called(who.name, who.telegram_id))
    return Screen(paragraphs(problem, text), (*rows, *foot(speech, who.id)))


def ask_money(speech: Speech, who: Card, *, wrong: bool = False) -> Screen:
    """How much is given or taken."""
    problem = speech.say("deed-money-wrong") if wrong else None
    total = money(speech, who.own + who.bonus, who.currency)
    text = speech.say(
        "deed-ask-money", name=called(who.name, who.telegram_id), total=total, currency=who.currency
    )
    return Screen(paragraphs(problem, text), foot(speech, who.id))


def ask_text(speech: Speech, who: Card) -> Screen:
    """What is written to him."""
    return Screen(speech.say("deed-ask-text", name=called(who.name, who.telegram_id)), foot(speech, who.id))


def ask_reason(speech: Speech, who: Card, deed: Deed) -> Screen:
    """Why."""
    text = speech.say("deed-ask-reason", name=called(who.name, who.telegram_id), kind=_kind(deed))
    return Screen(text, foot(speech, who.id))


def _kind(deed: Deed) -> str:
    """What a deed is called in texts: what takes is another thing than what gives."""
    return f"take-{deed.kind}" if deed.days < 0 or deed.amount < 0 else deed.kind


def confirm(speech: Speech, who: Card, deed: Deed, change: Change, reason: str, asked: int) -> Screen:
    """What will happen, why, and the question whether it shall."""
    text = paragraphs(
        speech.say("deed-confirm", name=called(who.name, who.telegram_id), kind=_kind(deed)),
        what_changes(speech, deed, change),
        speech.say("deed-reason", reason=reason[:_REASON]),
    )
    yes = Button(speech.label("button-deed-yes", kind=_kind(deed)), DeedNow(asked))
    return Screen(text, ((yes,), *foot(speech, who.id)))


def what_changes(speech: Speech, deed: Deed, change: Change) -> str:
    """Before and after, in words."""
    before, after = change.before or {}, change.after or {}
    match deed.kind:
        case "days" | "plan":
            return speech.say(
                "deed-access",
                had="yes" if before.get("until") else "no",
                before=_moment(before.get("until")),
                plan=str(before.get("plan") or NOTHING),
                after=_moment(after.get("until")),
                into=str(after.get("plan")),
                state=str(after.get("status")),
            )
        case "money":
            return speech.say("deed-balance", before=_total(speech, before), after=_total(speech, after))
        case "link":
            return speech.say("deed-link", into=str(after.get("plan")))
        case "block":
            return speech.say(
                "deed-block",
                count=int(after.get("switched_off") or 0),
                stars=int(after.get("charged_no_more") or 0),
            )
        case "unblock":
            return speech.say("deed-unblock", count=int(after.get("switched_on") or 0))
        case "message":
            text = deed.text if len(deed.text) <= _SHOWN else deed.text[: _SHOWN - 1] + "…"
            return f"<blockquote>{escape(text)}</blockquote>"  # too long for a value of a text


def _moment(text: Any) -> str:
    return at(datetime.fromisoformat(text)) if isinstance(text, str) else NOTHING


def _total(speech: Speech, purse: Mapping[str, Any]) -> str:
    return money(speech, int(purse["own"]) + int(purse["bonus"]), str(purse["currency"]))


def done(speech: Speech, deed: Deed, change: Change) -> str:
    """What has happened, for above the card."""
    if deed.kind == "message":
        return speech.say("deed-done", kind=_kind(deed))
    return paragraphs(speech.say("deed-done", kind=_kind(deed)), what_changes(speech, deed, change))


def refused(speech: Speech, customer_id: int, why: Why) -> Screen:
    """It cannot be, and why."""
    return Screen(speech.say("deed-refused", why=why), foot(speech, customer_id))


def gone(speech: Speech) -> Screen:
    """The question is too old, or another's."""
    return Screen(speech.say("deed-gone"), foot(speech))


def nobody(speech: Speech) -> Screen:
    """There is no such customer."""
    return Screen(speech.say("deed-refused", why="no_customer"), foot(speech))
