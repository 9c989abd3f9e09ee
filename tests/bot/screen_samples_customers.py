"""Screens of the customers' desk, with values that try to break them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import attrs

from vpnd.bot.customer_callbacks import GiveDays, OtherPlan, Reissue
from vpnd.bot.screens import customers, dead_letters, deeds, from_operator
from vpnd.bot.screens.screen import Screen
from vpnd.bot.speech import Speech
from vpnd.shop.audit_log import Change
from vpnd.shop.customer_card import MOST_GUESTS, Card, CardPayment, CardSubscription
from vpnd.shop.dead_letters import DeadLetter
from vpnd.shop.deed import MOST_TEXT, Deed, Why
from vpnd.shop.finding import MOST, Hit
from vpnd.shop.operators import ROLES, Actor
from vpnd.shop.timeline import Event, Place

HUGE = 2**63 - 1
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
NAME = "A<b>&" * 51
PLAN = "p" * 32
SUBSCRIPTION = CardSubscription(
    id=HUGE, plan_id=PLAN, titles={"en": "<Plus> & " * 20}, own_title="<i>" * 10, name="s" * 25, active=True, trial=True,
    expires_at=NOW, renews="stars", acknowledged=999, nodes=999,
)  # fmt: skip
PAYMENT = CardPayment(
    settlement_id=HUGE, provider="cryptopay", amount=HUGE, currency="RUB", refunded=HUGE // 3, outcome="settled",
    kind="access", purchase="p" + "a" * 24, paid_at=NOW,
)  # fmt: skip
BUSY = Card(
    id=HUGE, telegram_id=HUGE, username="u" * 64, first_name=NAME, language="ru", referral_code="ABCDEFGH", reachable=False,
    created_at=NOW, blocked_at=NOW, erased_at=NOW, now=NOW, currency="RUB", own=HUGE // 4, bonus=HUGE // 4, owed=HUGE // 4,
    discount=99, discount_until=NOW, trial_ends_at=NOW, referrer_id=1, referrer_telegram_id=HUGE, referrer_name=NAME,
    guests=MOST_GUESTS, paying_guests=MOST_GUESTS, role="owner", purchases=MOST_GUESTS,
    subscriptions=(SUBSCRIPTION,) * 10, payments=(PAYMENT, attrs.evolve(PAYMENT, currency="WEIRD<", kind=None)) * 2,
)  # fmt: skip
QUIET = attrs.evolve(
    BUSY, id=1, telegram_id=1, username=None, first_name="", reachable=True, blocked_at=None, erased_at=None, own=0, bonus=0,
    owed=0, discount=0, discount_until=None, trial_ends_at=None, referrer_id=None, referrer_telegram_id=None,
    referrer_name=None, guests=0, paying_guests=0, role=None, purchases=0, subscriptions=(), payments=(),
)  # fmt: skip
DEEDS: list[tuple[Deed, Change]] = [
    (
        Deed(kind="days", customer_id=HUGE, subscription_id=HUGE, days=30),
        Change(subject="x", after={"until": NOW.isoformat(), "plan": PLAN, "status": "active"}),
    ),
    (
        Deed(kind="days", customer_id=HUGE, subscription_id=HUGE, days=-3660),
        Change(
            subject="x",
            before={"until": NOW.isoformat(), "plan": PLAN, "status": "active"},
            after={"until": NOW.isoformat(), "plan": PLAN, "status": "expired"},
        ),
    ),
    *(
        (
            Deed(kind="money", customer_id=HUGE, amount=amount),
            Change(
                subject="x",
                before={"own": HUGE // 4, "bonus": 0, "currency": "RUB"},
                after={"own": HUGE // 4, "bonus": amount, "currency": "RUB"},
            ),
        )
        for amount in (10**14, -(10**14))
    ),
    (
        Deed(kind="plan", customer_id=HUGE, subscription_id=HUGE, plan=PLAN),
        Change(
            subject="x",
            before={"until": NOW.isoformat(), "plan": PLAN},
            after={"until": NOW.isoformat(), "plan": PLAN, "status": "active"},
        ),
    ),
    (Deed(kind="link", customer_id=HUGE, subscription_id=HUGE), Change(subject="x", after={"plan": PLAN})),
    *(
        (
            Deed(kind="block", customer_id=HUGE),
            Change(subject="x", after={"switched_off": count, "charged_no_more": count}),
        )
        for count in (0, 1, 2, 5, 1000)
    ),
    *(
        (Deed(kind="unblock", customer_id=HUGE), Change(subject="x", after={"switched_on": count}))
        for count in (0, 1, 2, 5, 1000)
    ),
    (
        Deed(kind="message", customer_id=HUGE, text="<&>" * (MOST_TEXT // 3)),
        Change(subject="x", after={"letters": MOST_TEXT}),
    ),
]
LETTERS = [
    DeadLetter(HUGE - number, "message", "key:<&>" * 30, "notice", 20, "error <b>&" * 60, NOW)
    for number in range(9)
]


#: What notices of operators' deeds are given.
ARGS: dict[str, dict[str, Any]] = {
    "gift_days": {"subscription_id": HUGE, "plan_id": PLAN, "days": 30, "expires_at": NOW.isoformat()},
    "gift_money": {"amount": HUGE, "currency": "RUB"},
    "link_renewed": {"subscription_id": HUGE, "plan_id": PLAN},
    "unblocked": {"back": 2},
    "operator_message": {"text": "<&>" * (MOST_TEXT // 3)},
}


def event(kind: Any, **facts: Any) -> Event:
    """Something that happened at the worst moment there is."""
    return Event(kind, Place(NOW, 11, HUGE), facts)


PAID = {"provider": "cryptopay", "amount": HUGE, "currency": "RUB", "purchase": "p" * 25}
EVENTS = [
    event("joined", invited=True),
    event("joined", invited=False),
    *(
        event("payment", **PAID, outcome=outcome, what=what, origin=origin)
        for outcome, what, origin in (
            ("settled", "access", "renewal"),
            ("second_charge", "topup", "recurring"),
            ("underpaid", None, "customer"),
            ("held", None, None),
        )
    ),
    *(
        event("grant", why=why, days=3660, plan=PLAN, until=NOW.isoformat())
        for why in ("purchase", "promo", "gift", "trial")
    ),
    event("ended", plan=PLAN),
    *(
        event("refund", amount=HUGE, currency="WEIRD", route=route, status=status, by="shell:" + "x" * 300)
        for route, status in (
            ("provider", "requested"),
            ("balance", "done"),
            ("provider", "to_balance"),
            ("provider", "stuck"),
        )
    ),
    event("plan", **{"from": PLAN, "to": PLAN}),
    event("link", plan=PLAN),
    event("reward", amount=1, currency="RUB"),
    *(event("message", template="operator_message", status=status) for status in ("done", "dropped", "dead")),
    event("deed", actor=f"admin:{HUGE}", action="customers.balance.taken", reason="<&>" * 70),
    event("deed", actor="shell:root", action="customers.days", reason=None),
    event("erased"),
]


def screens(speech: Speech) -> dict[str, Screen]:
    """Every screen of the customers' desk."""
    hits = [
        Hit(HUGE - number, HUGE, "u" * 64, NAME, number % 3 == 0, number % 3 == 1) for number in range(MOST)
    ]
    given = {"amount": HUGE, "currency": "RUB", "expires_at": NOW.isoformat()}
    some = timedelta(days=1)
    return {
        "find": customers.ask_whom(speech),
        "find again": customers.ask_whom(speech, unknown=True),
        "find several": customers.hits(speech, hits),
        "find nameless": customers.hits(speech, [Hit(1, 2, None, "", False, True)]),
        **{
            f"card {role}": customers.card(
                speech, BUSY, Actor("admin:1", role, 1), preface=speech.say("catalogue-done")
            )
            for role in ROLES
        },
        "card of nobody yet": customers.card(speech, QUIET, Actor("admin:1", "owner", 1)),
        "card in time": customers.card(
            speech, attrs.evolve(BUSY, now=NOW - some, erased_at=None), Actor("admin:1", "owner", 1)
        ),
        "card off": customers.card(
            speech,
            attrs.evolve(
                BUSY,
                role="reader",
                discount_until=None,
                blocked_at=None,
                erased_at=None,
                subscriptions=[
                    attrs.evolve(SUBSCRIPTION, active=False, trial=False, renews=renews, own_title=None)
                    for renews in ("off", "balance")
                ],
            ),
            Actor("admin:1", "owner", 1),
        ),
        **{
            f"card of {role}": customers.card(speech, attrs.evolve(BUSY, role=role), Actor("a", "owner", 1))
            for role in ROLES
        },
        "payments": customers.payments(speech, HUGE, (PAYMENT,) * 10),
        "payments none": customers.payments(speech, HUGE, ()),
        "timeline": customers.timeline(
            speech, HUGE, [event("deed", actor="admin:1", action="a" * 40, reason="<&>" * 70)] * 9
        ),
        "timeline none": customers.timeline(speech, HUGE, []),
        **{
            f"timeline {number}": customers.timeline(speech, HUGE, [one]) for number, one in enumerate(EVENTS)
        },
        "which days": deeds.choose(speech, BUSY, GiveDays),
        "which plan": deeds.choose(speech, BUSY, OtherPlan),
        "which link": deeds.choose(speech, BUSY, Reissue),
        "new plan": deeds.choose_plan(speech, BUSY, {f"{PLAN[:-2]}{n:02}": "T<&>" * 30 for n in range(20)}),
        "other plan": deeds.choose_plan(speech, BUSY, {PLAN: "T"}, HUGE),
        "ask days": deeds.ask_days(speech, BUSY, HUGE, wrong=True),
        "ask days of a new one": deeds.ask_days(speech, BUSY, None),
        "ask money": deeds.ask_money(speech, BUSY, wrong=True),
        "ask text": deeds.ask_text(speech, BUSY),
        **{
            f"ask reason {number}": deeds.ask_reason(speech, BUSY, deed)
            for number, (deed, _) in enumerate(DEEDS)
        },
        **{
            f"confirm {number}": deeds.confirm(speech, BUSY, deed, change, "<&>" * 500, HUGE)
            for number, (deed, change) in enumerate(DEEDS)
        },
        **{
            f"done {number}": customers.card(
                speech, QUIET, Actor("a", "owner", 1), preface=deeds.done(speech, deed, change)
            )
            for number, (deed, change) in enumerate(DEEDS)
        },
        **{f"deed refused {why}": deeds.refused(speech, HUGE, why) for why in get_args(Why)},
        "deed gone": deeds.gone(speech),
        "deed nobody": deeds.nobody(speech),
        "letters": dead_letters.page(speech, LETTERS, preface=speech.say("letter-tried")),
        "letters none": dead_letters.page(speech, [], preface=speech.say("letter-dropped")),
        "letter": dead_letters.letter(speech, LETTERS[0]),
        "letter without": dead_letters.letter(speech, attrs.evolve(LETTERS[0], error="", finished_at=None)),
        "letter drop": dead_letters.confirm_drop(speech, LETTERS[0], HUGE),
        "letter gone": dead_letters.gone(speech),
        "unblocked without": from_operator.unblocked(speech, {"back": 0}),
        "shut out": from_operator.blocked(speech, None),
        "shut out with support": from_operator.blocked(speech, "@support"),
        "shut out and paid": from_operator.paid_while_blocked(speech, given, "@support"),
    }
