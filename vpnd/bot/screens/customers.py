"""For operators: who was found, his card, what he paid, and what happened to him."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from vpnd.bot.button_data import Action
from vpnd.bot.callbacks import Home
from vpnd.bot.customer_callbacks import (
    Block,
    CustomerCard,
    FindCustomer,
    GiveDays,
    GiveMoney,
    OnePayment,
    OtherPlan,
    Payments,
    Reissue,
    Timeline,
    WriteTo,
)
from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.markup import code
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.customer_card import MOST_GUESTS, Card, CardPayment, CardSubscription
from vpnd.shop.finding import Hit
from vpnd.shop.money import EXPONENTS, Money
from vpnd.shop.operators import Actor, Permission
from vpnd.shop.timeline import Event, EventKind

#: Events of a page: with the longest reasons it fits into Telegram's 4096.
PAGE: Final = 8
#: Charges that have a button.
CHARGES: Final = 10
_NAME: Final = 64  # letters of a name in a text
_LABEL: Final = 32  # letters of what is named on a button
_REASON: Final = 120
NOTHING: Final = "–"
_EVENTS: Final[Mapping[EventKind, str]] = {
    "joined": "event-joined",
    "payment": "event-payment",
    "grant": "event-grant",
    "ended": "event-ended",
    "refund": "event-refund",
    "plan": "event-plan",
    "link": "event-link",
    "reward": "event-reward",
    "message": "event-message",
    "deed": "event-deed",
    "erased": "event-erased",
}


def foot(speech: Speech, customer_id: int | None = None) -> tuple[Row, ...]:
    """The way back: to the card, if there is one, to the search, the desk and home."""
    search = Button(speech.label("button-find"), FindCustomer())
    first: Row = (search,)
    if customer_id is not None:
        first = (Button(speech.label("button-card"), CustomerCard(customer_id)), search)
    return (first, (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home())))


def at(moment: datetime) -> str:
    """A moment as the desk shows it, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M}"


def money(speech: Speech, amount: int, currency: str) -> str:
    """An amount; what is held may be in a currency that is not known here."""
    if currency in EXPONENTS:
        sign = "−" if amount < 0 else ""
        return sign + speech.price(Money(abs(amount), currency))
    return f"{amount} {currency}"


def called(name: str, telegram_id: int) -> str:
    """A name, or the number of somebody without one."""
    return name[:_NAME] or str(telegram_id)


# ------------------------------------------------------------------------------------------ finding


def ask_whom(speech: Speech, *, unknown: bool = False) -> Screen:
    """By what somebody is looked for."""
    problem = speech.say("find-nobody") if unknown else None
    last = (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home()))
    return Screen(paragraphs(problem, speech.say("find-ask")), (last,))


def hits(speech: Speech, found: Sequence[Hit]) -> Screen:
    """Several who may be meant, a button each."""
    rows: list[Row] = [
        (
            Button(
                speech.label(
                    "button-hit",
                    name=called(one.name, one.telegram_id)[:_LABEL],
                    state="blocked" if one.blocked else "erased" if one.erased else "usual",
                ),
                CustomerCard(one.id),
            ),
        )
        for one in found
    ]
    lines = "\n".join(
        speech.say("find-line", name=called(one.name, one.telegram_id), id=code(one.telegram_id))
        for one in found
    )
    return Screen(paragraphs(speech.say("find-several"), lines), (*rows, *foot(speech)))


# ------------------------------------------------------------------------------------------ the card


def card(speech: Speech, who: Card, actor: Actor, *, preface: str | None = None) -> Screen:
    """All about a customer, and what this operator may do to him."""
    text = paragraphs(
        preface,
        speech.say(
            "card", name=called(who.name, who.telegram_id), id=code(who.telegram_id), number=str(who.id)
        ),
        "\n".join(_standing(speech, who)),
        "\n".join(_money(speech, who)),
        "\n".join(_subscriptions(speech, who)),
        "\n".join(_payments(speech, who)),
    )
    return Screen(text, (*_actions(speech, who, actor), *foot(speech)))


def _standing(speech: Speech, who: Card) -> list[str]:
    lines = [
        speech.say(
            "card-since",
            since=at(who.created_at),
            language=who.language,
            reach="erased" if who.erased_at else "yes" if who.reachable else "no",
        )
    ]
    if who.role is not None:
        lines.append(speech.say("card-role", role=who.role))
    if who.blocked_at is not None:
        lines.append(speech.say("card-blocked", since=at(who.blocked_at)))
    if who.erased_at is not None:
        lines.append(speech.say("card-erased", since=at(who.erased_at)))
    if who.trial_ends_at is not None:
        over = who.trial_ends_at <= who.now
        lines.append(speech.say("card-trial", until=at(who.trial_ends_at), over="yes" if over else "no"))
    if who.referrer_telegram_id is not None:
        name = called(who.referrer_name or "", who.referrer_telegram_id)
        lines.append(speech.say("card-referrer", name=name, id=code(who.referrer_telegram_id)))
    more = "+" if who.guests >= MOST_GUESTS else ""
    lines.append(
        speech.say(
            "card-guests",
            code=code(who.referral_code),
            guests=f"{who.guests}{more}",
            paying=str(who.paying_guests),
        )
    )
    return lines


def _money(speech: Speech, who: Card) -> list[str]:
    lines = [
        speech.say(
            "card-balance",
            total=money(speech, who.own + who.bonus, who.currency),
            bonus=money(speech, who.bonus, who.currency),
        )
    ]
    if who.owed > 0:
        lines.append(speech.say("card-owed", amount=money(speech, who.owed, who.currency)))
    if who.discount:
        until = who.discount_until
        lines.append(
            speech.say(
                "card-discount",
                percent=str(who.discount),
                until="" if until is None else at(until),
                ends="no" if until is None else "yes",
            )
        )
    return lines


def title_of(speech: Speech, one: CardSubscription) -> str:
    """What a subscription is called, its owner's name for it before the plan's."""
    plan = one.titles.get(speech.language) or one.titles.get("en") or one.plan_id
    return plan[:_NAME] if one.own_title is None else f"{one.own_title} · {plan}"[:_NAME]


def _subscriptions(speech: Speech, who: Card) -> list[str]:
    if not who.subscriptions:
        return [speech.say("card-no-subscriptions")]
    shown = who.subscriptions[:5]
    lines = [
        speech.say(
            "card-subscription",
            title=title_of(speech, one),
            state=_state(who, one),
            until=at(one.expires_at),
            renews=one.renews,
            trial="yes" if one.trial else "no",
            acknowledged=str(one.acknowledged),
            nodes=str(one.nodes),
        )
        for one in shown
    ]
    if len(who.subscriptions) > len(shown):
        lines.append("…")
    return lines


def _state(who: Card, one: CardSubscription) -> str:
    if one.active:
        return "on"
    return "held" if who.blocked_at is not None and one.expires_at > who.now else "off"


def _payments(speech: Speech, who: Card) -> list[str]:
    more = "+" if who.purchases >= MOST_GUESTS else ""
    return [
        speech.say("card-payments", count=f"{who.purchases}{more}"),
        *(_payment(speech, one) for one in who.payments),
    ]


def _payment(speech: Speech, one: CardPayment) -> str:
    return speech.say(
        "card-payment",
        at=at(one.paid_at),
        amount=money(speech, one.amount, one.currency),
        provider=one.provider,
        kind=one.kind or NOTHING,
        back=money(speech, one.refunded, one.currency) if one.refunded else NOTHING,
    )


def _actions(speech: Speech, who: Card, actor: Actor) -> list[Row]:
    """Buttons, in pairs, of what this operator may do and makes sense for this customer."""
    has, lift = bool(who.subscriptions), int(who.blocked_at is not None)
    wishes: tuple[tuple[Permission, str, Action, bool], ...] = (
        (Permission.GIVE_DAYS, "button-give-days", GiveDays(who.id, 0), True),
        (Permission.BALANCE, "button-give-money", GiveMoney(who.id), True),
        (Permission.CHANGE_PLAN, "button-other-plan", OtherPlan(who.id, 0), has),
        (Permission.REISSUE, "button-reissue", Reissue(who.id, 0), has),
        (Permission.REFUND, "button-refund-some", Payments(who.id), bool(who.payments)),
        (Permission.MESSAGE, "button-write-to", WriteTo(who.id), True),
        (Permission.BLOCK, "button-unblock" if lift else "button-block", Block(who.id, lift), True),
        (Permission.CUSTOMERS, "button-timeline", Timeline(who.id, 0, 0, 0), True),
    )
    buttons = [
        Button(speech.label(key), action) for needs, key, action, fits in wishes if fits and actor.may(needs)
    ]
    return [tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2)]


# ------------------------------------------------------------------------------------------ payments


def payments(speech: Speech, customer_id: int, charges: Sequence[CardPayment]) -> Screen:
    """His charges, a button for each of which something is left."""
    rows: list[Row] = [
        (
            Button(
                speech.label(
                    "button-payment",
                    at=f"{one.paid_at:%Y-%m-%d}",
                    amount=money(speech, one.amount, one.currency)[:20],
                ),
                OnePayment(one.settlement_id),
            ),
        )
        for one in charges[:CHARGES]
        if one.left > 0
    ]
    lines = "\n".join(_payment(speech, one) for one in charges[:CHARGES])
    head = speech.say("payments-which" if rows else "payments-none")
    return Screen(paragraphs(head, lines), (*rows, *foot(speech, customer_id)))


# ------------------------------------------------------------------------------------------ what happened


def timeline(speech: Speech, customer_id: int, events: Sequence[Event]) -> Screen:
    """A page of it, the newest first; there is a next one if it is longer than `PAGE`."""
    rows: list[Row] = []
    if len(events) > PAGE:
        last = events[PAGE - 1].place
        moment = microseconds(events[PAGE - 1].at)
        older = Timeline(customer_id, moment, last.source, last.id)
        rows.append((Button(speech.label("button-older"), older),))
    lines = "\n".join(event(speech, one) for one in events[:PAGE])
    text = paragraphs(speech.say("timeline"), lines or speech.say("timeline-empty"))
    return Screen(text, (*rows, *foot(speech, customer_id)))


def microseconds(moment: datetime) -> int:
    """A moment as a button carries it; `float` has too few places for it."""
    since = moment - datetime.fromtimestamp(0, moment.tzinfo)
    return since // timedelta(microseconds=1)


def event(speech: Speech, one: Event) -> str:
    """One line of it."""
    values = _facts(speech, one.facts)
    return speech.say("timeline-line", at=at(one.at), what=speech.label(_EVENTS[one.kind], **values))


#: What each kind of event says of itself, with what stands for a fact that is not there.
def _facts(speech: Speech, facts: Mapping[str, Any]) -> dict[str, str]:
    said = {
        name: NOTHING if value is None else _short(value) for name, value in facts.items() if name != "amount"
    }
    if isinstance(facts.get("amount"), int):
        said["amount"] = money(speech, facts["amount"], str(facts.get("currency") or ""))
    if isinstance(facts.get("until"), str):
        said["until"] = facts["until"][:16].replace("T", " ")
    return said


def _short(value: object) -> str:
    text = "yes" if value is True else "no" if value is False else str(value)
    return text if len(text) <= _REASON else text[: _REASON - 1] + "…"
