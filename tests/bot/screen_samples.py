"""Every screen there is, with values that try to break it: the largest ids, the strangest names, the longest texts."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

import attrs
import screen_samples_alerts
import screen_samples_broadcasts
import screen_samples_catalogue
import screen_samples_customers
import screen_samples_desk
import screen_samples_figures

from vpnd.bot.admin_callbacks import RefundAllNow, RefundNow
from vpnd.bot.apps import APPS
from vpnd.bot.callbacks import Pay, Periods
from vpnd.bot.clocks import Ending, Preferences
from vpnd.bot.connect import ConnectInfo
from vpnd.bot.reading import Held, NextStep, Purse
from vpnd.bot.screens import (
    alerts,
    balance,
    connecting,
    diagnosis,
    home,
    keeping,
    money,
    my_data,
    notifications,
    own_link,
    paid,
    payment,
    planned,
    plans,
    promo,
    refund,
    reminders,
    status,
    subscription,
    switches,
    trial,
    trouble,
)
from vpnd.bot.screens import help as help_screens
from vpnd.bot.screens.balance import Entry
from vpnd.bot.screens.refund import Giving
from vpnd.bot.screens.screen import Screen
from vpnd.bot.speech import Speech
from vpnd.bot.ways import Target, ways_to_fill, ways_to_pay
from vpnd.monitors.alarms import Alarm, AlarmState
from vpnd.monitors.nodes import NodePicture, NodesPicture
from vpnd.monitors.process import ProcessPicture
from vpnd.monitors.queues import QueuesPicture
from vpnd.monitors.service import ALARMS
from vpnd.payments.terms import TopUps
from vpnd.runtime.worker_spec import WorkerStatistics
from vpnd.shop.access_removal import Removed
from vpnd.shop.diagnosis import Diagnosis, NodeView
from vpnd.shop.erasure import Holdings
from vpnd.shop.ledger import StatementLine
from vpnd.shop.money import Money
from vpnd.shop.plan_change import PlanChange
from vpnd.shop.plans import Offer
from vpnd.shop.pricing import Method, Terms
from vpnd.shop.promos import Entered, PromoCode, Reason
from vpnd.shop.purchases import Invoice, Purchase
from vpnd.shop.referrals import ReferralStanding
from vpnd.shop.refund_plan import Why
from vpnd.shop.refunds import RefundableCharge
from vpnd.shop.subscriptions import Granted, Subscription
from vpnd.shop.switches import Banner, Snapshot, Switch
from vpnd.shop.takings import Takings
from vpnd.shop.trial import Reason as NoTrial


def raised_alarm(alarm: Alarm, who: str) -> dict[str, Any]:
    """An alarm as a message or the picture holds it."""
    return AlarmState(alarm, raised=True, since=1.7e9, worst=alarm.raise_at * 3.5, worst_who=who).to_json()


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOTHING = Money(0, "RUB")
HUGE = 2**63 - 1  # the largest key there can be
TITLES = {"en": "Family & <friends>", "ru": "Семья & <друзья>"}
PLAN = "p" + "x" * 31  # the longest plan id there can be
LINK = "vless://" + "u" * 36 + "@de.example.org:443?" + "q" * 250 + "#de"
TERMS_URL = "https://shop.example.org/terms"
INVITE = home.invite_link("shop_bot", "ABCD2345")
PAGE = ConnectInfo("https://vpn.example.org/sub/" + "t" * 32, (LINK,))
DIRECT = ConnectInfo(None, (LINK, LINK + "2", LINK + "3", LINK + "4"))


def made(**changes: Any) -> Subscription:
    """A subscription with the largest ids there can be."""
    values: dict[str, Any] = {
        "id": HUGE, "customer_id": 1, "plan_id": PLAN, "name": "s" + "a" * 24, "credential": UUID(int=7),
        "link_token": "t" * 32, "status": "active", "starts_at": NOW - timedelta(days=3),
        "expires_at": NOW + timedelta(days=27), "version": 1, "activated_at": NOW, "renews": "off", "offer_id": HUGE,
    }  # fmt: skip
    return Subscription(**(values | changes))


def bought(**changes: Any) -> Purchase:
    """A purchase with the largest ids there can be."""
    values: dict[str, Any] = {
        "id": HUGE, "public_id": "p" + "7" * 24, "customer_id": 1, "kind": "access", "origin": "customer",
        "offer_id": HUGE, "plan_id": PLAN, "days": 90, "subscription_id": HUGE, "fresh": False,
        "method": "cryptopay", "currency": "RUB", "amount": 149900, "shop_currency": "RUB", "shop_amount": 149900,
        "list_amount": 149900, "discount": 0, "bonus_days": 0, "recurring": False, "status": "pending", "received": 0,
        "refunded": 0, "created_at": NOW, "expires_at": NOW + timedelta(minutes=60), "paid_at": None, "invoice": None,
        "invoices": 0,
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
HELD = Held(made(), TITLES, can_change=True)
ENDED = Held(made(status="expired", expires_at=NOW - timedelta(days=1)), TITLES)
NAMED = Held(made(title="<b>&" * 8), TITLES)
NAMED_ENDED = Held(made(title="W" * 32, status="expired", expires_at=NOW - timedelta(days=1)), TITLES)
_NODES = {
    "unseen": (NodeView("<de>", True, True),),
    "no_node": (),
    "starting": (NodeView("a", True, False), NodeView("b", True, False)),
    "all_silent": tuple(NodeView(f"<node-{number}>", False, True) for number in range(9)),
    "some_silent": (NodeView("a & b", False, False), NodeView("c", True, True)),
}
DIAGNOSES = {
    **{
        state: Diagnosis(HUGE, NOW, NOW + timedelta(days=27), True, True, nodes)
        for state, nodes in _NODES.items()
    },
    "over": Diagnosis(HUGE, NOW, NOW - timedelta(days=1), False, True, ()),
    "off": Diagnosis(HUGE, NOW, NOW + timedelta(days=1), False, True, ()),
}
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
TERMS: dict[Method, Terms] = {
    "yookassa": Terms("yookassa", "RUB"),
    "cryptopay": Terms("cryptopay", "RUB"),
    "stars": Terms("stars", "XTR"),
    "balance": Terms("balance", "RUB"),
}
TOPUPS = TopUps((25000, 50000, 99900), 5000, 10_000_000, Decimal(120))
RICH = Purse(own=10_000_000, bonus=123_456, personal=10, code="SPRING_2026", usable=True, promo_percent=25)
CODE = PromoCode(
    id=1, code="A" * 32, kind="percent", value=25, currency=None, starts_at=None, ends_at=None, total_cap=None,
    customer_cap=1, used=0, late=0, active=True,
)  # fmt: skip
GRANTED = Granted(made(), True, False, NOW, NOW + timedelta(days=7))
CHANGE = PlanChange(
    HUGE,
    PLAN,
    "o" * 32,
    HUGE,
    Decimal("0.57"),
    timedelta(days=27),
    timedelta(days=15),
    NOW + timedelta(days=15),
)
CHARGE = RefundableCharge(
    settlement_id=HUGE, provider="stars", charge_id="<stx&>", outcome="settled", amount=150, currency="XTR", refunded=0,
    purchase="p" + "7" * 24, kind="access", customer_id=HUGE, telegram_id=1001,
    paid_at=NOW,
)  # fmt: skip
LINES = [
    Entry(StatementLine(HUGE - number, kind, amount, "RUB", reference, None, NOW, "customer"), bonus)
    for number, (kind, amount, reference, bonus) in enumerate(
        (("payment", 19900, "payment:x", False), ("exchange", -19900, "refund_exchange:r", False),
         ("sale_bonus", -5, "sale_bonus:1", True), ("something new", 1, "x", False))
    )
]  # fmt: skip
STANDING = ReferralStanding(guests=5, paying=3, percent=10, next_at=5, next_percent=15, earned=123_456)
STEP = NextStep(waiting=Pay("balance", HUGE, HUGE), price=Money(149900, "RUB"), renewal=Periods(PLAN, HUGE))
RECEIPT = {
    "subscription_id": HUGE,
    "expires_at": NOW.isoformat(),
    "renewed": False,
    "balance_added": 100,
    "balance_currency": "RUB",
}
ARGS: dict[str, dict[str, Any]] = {
    **screen_samples_customers.ARGS,
    "expired": {"subscription_id": HUGE, "plan_id": PLAN, "expires_at": NOW.isoformat()},
    "underpaid": {"purchase": "p" + "7" * 24, "received": 100, "missing": 200, "currency": "RUB"},
    "referral_reward": {"amount": 1990, "currency": "RUB", "percent": 10},
    "refund": {
        "amount": 150, "currency": "XTR", "to_balance": False, "made": False, "expires_at": NOW.isoformat(), "off": False,
    },
    "refund_to_balance": {"amount": 19900, "currency": "RUB"},
    "renewal_unavailable": {"subscription_id": HUGE, "plan_id": PLAN, "expires_at": NOW.isoformat()},
    "refund_refused": {
        "provider": "stars", "charge_id": "<1>", "reason": "r" * 500, "amount": 150, "currency": "XTR", "telegram_id": None,
    },
    "books_wrong": {"what": "imbalance <of>", "currency": "RUB", "amount": -5},
    "reconciliation": {"provider": "yookassa", "differences": 3, "mended": 2, "first": "unsettled <x>; other_amount y"},
    "second_charge_balance": {"amount": 100, "currency": "RUB"},
    "second_charge_refund": {"amount": 100, "currency": "XTR"},
    "payment_held": {"amount": "1.234567890123", "currency": "<?>"},
    "held_charge": {
        "provider": "cryptopay", "charge_id": "<1>", "reason": "why & how", "amount": "1.5", "currency": "TON",
        "purchase": None, "telegram_id": 5,
    },
    "node_stopped": {"node": "<de>", "held": 1000, "strangers": 800, "newer": 0, "reason": "strangers"},
    "activation_late": {
        "subscription_id": HUGE, "telegram_id": 1001, "plan_id": PLAN, "since": NOW.isoformat(), "attempts": 5, "others": 3,
    },
    "alert_group_moved": {"old": "-1", "new": str(-(2**52))},
    "export_failed": {"what": "subscriptions", "attempts": 3},
    "alarms": {
        "raised": [raised_alarm(alarm, "<who> & " * 40) for alarm in ALARMS],
        "cleared": [raised_alarm(alarm, "x" * 500) for alarm in ALARMS],
    },
}  # fmt: skip
PLANNED = {"node": "n" * 32, "starts_at": NOW.isoformat(), "ends_at": NOW.isoformat(), "others": True}
#: What whoever is shut out hears: a word, and nothing to press.
SHUT_OUT = ("shut",)
ENDING = Ending(NOW, NOW + timedelta(hours=70), True, True, TITLES, timedelta(hours=5.5))
OVER = attrs.evolve(ENDING, expires_at=NOW - timedelta(days=1), active=False, ahead=timedelta())
ABOUT_AN_END = {"subscription_id": HUGE, "plan_id": PLAN, "expires_at": NOW.isoformat()}
PREFERENCES = Preferences(NOW, timedelta(hours=3), (time(22, 30), time(9)))
NAMES = ["shop", "trial", *(f"{'w' * 29}_{number}" for number in range(60)), "x" * 64]
SNAPSHOT = Snapshot(
    {
        name: Switch(name, number % 2 == 0, "<why> " * 160, "admin:777", NOW)
        for number, name in enumerate(NAMES)
    },
    Banner("<Wir> & " * 125, "admin:777", NOW),
)
DOCUMENT: dict[str, Any] = {
    "service": {
        "instance": "vpnd", "version": "0.4.0", "since": 1.7e9, "status": "serving <customers>; 1 nodes",
        "children": [{"name": "worker x", "state": "restarting", "deaths": 3, "last_error": "e" * 500}],
    },
    "alarms": ARGS["alarms"]["raised"],
    "workers": [
        attrs.asdict(
            WorkerStatistics(
                f"{'w' * 30}_{number}", 60.0, False, number == 3, 9, 3, number % 2 * 3, 0, 100, 0,
                None if number == 5 else "failed", 0.2, 1.7e9, None if number == 5 else 1.7e9,
            )
        )
        for number in range(30)
    ],
    "queues": attrs.asdict(QueuesPicture({"message": 90_000.0}, {"message": 10_000, "admin_alert": 0}, 1, 5, 1, 0.4)),
    "lanes": {"waiting": {"reply": 0, "notice": 5}, "limit": 30, "chats": 5, "paused_for": 0.0, "granted": 9, "refused": 2},
    "pools": {
        "database": {"total": 15, "borrowed": 3, "waiting": 2, "classes": []},
        "http": {"total": 10, "borrowed": 0, "waiting": 0, "classes": []},
        "connections": {"idle": 3, "used": 3, "most": 15, "down": True},
    },
    "loop": {"worst_minute": 0.0123, "today": []},
    "process": attrs.asdict(ProcessPicture(0.05, 97 << 20, -(1 << 20), 80, 1024, 20, 88, {"x": 1})),
    "nodes": attrs.asdict(
        NodesPicture(tuple(NodePicture(f"<node-{n}>", None if n else NOW, 5.0, 3, n % 2, 0) for n in range(20)), 4)
    ),
    "money": [attrs.asdict(Takings("stars", "XTR", 3, 450, 1, True)), attrs.asdict(Takings("x", "RUB", 1, 19900, 0, False))],
}  # fmt: skip
SHORT = {
    "subscription_id": HUGE, "plan_id": PLAN, "expires_at": NOW.isoformat(), "missing": 4900, "price": 19900,
    "currency": "RUB",
}  # fmt: skip

#: The screens of those who run the shop, a module a room.
OPERATORS_ROOMS = (
    screen_samples_desk, screen_samples_catalogue, screen_samples_customers, screen_samples_broadcasts, screen_samples_figures,
    screen_samples_alerts,
)  # fmt: skip


def ways(offer: Offer, percent: int = 0) -> list[Any]:
    """All the ways to pay for an offer."""
    return ways_to_pay(offer, TERMS, "RUB", percent, monthly=True)


def screens(speech: Speech) -> dict[str, Screen]:
    """Every screen, with values that try to break it."""
    name = "A<b>&" * 10
    found: dict[str, Screen] = {
        "home new": home.home(speech, name, None, NOW, NOTHING),
        "home active": home.home(speech, name, made(), NOW, Money(10_123_456, "RUB")),
        "home expired": home.home(
            speech, name, ENDED.subscription, NOW, NOTHING, preface=speech.say("catalogue-done")
        ),
        "home starting": home.home(speech, name, made(activated_at=None), NOW, NOTHING),
        "invite": home.invite(speech, INVITE, STANDING, "RUB"),
        "invite plain": home.invite(speech, INVITE, ReferralStanding(0, 0, 0, None, None, 0), "RUB"),
        "invite qr": home.invite_qr(speech, INVITE),
        "languages": home.languages(speech, speech.texts),
        "plans": plans.plans(speech, OFFERS, "RUB"),
        "plans none": plans.plans(speech, [], "RUB"),
        "plans one": plans.plans(speech, OFFERS[:3], "RUB"),
        "periods": plans.periods(speech, PLAN, OFFERS, "RUB"),
        "periods renewal": plans.periods(speech, PLAN, OFFERS, "RUB", Target(HUGE)),
        "periods more": plans.periods(speech, PLAN, OFFERS, "RUB", Target(fresh=True)),
        "methods": plans.methods(speech, OFFERS[0], ways(OFFERS[0]), Purse(), "RUB", Target(HUGE)),
        "methods cheaper": plans.methods(
            speech, OFFERS[0], ways(OFFERS[0], 25), RICH, "RUB", Target(fresh=True)
        ),
        "methods with days": plans.methods(
            speech,
            OFFERS[1],
            ways(OFFERS[1]),
            Purse(code="DAYS", usable=True, promo_days=7),
            "RUB",
            preface=speech.say("catalogue-done"),
        ),
        "plans with terms": plans.plans(speech, OFFERS, "RUB", terms_url=TERMS_URL),
        "plans one with terms": plans.plans(speech, OFFERS[:3], "RUB", terms_url=TERMS_URL),
        "methods with terms": plans.methods(
            speech, OFFERS[0], ways(OFFERS[0]), Purse(), "RUB", Target(HUGE), terms_url=TERMS_URL
        ),
        "help with terms": help_screens.overview(speech, "@support", TERMS_URL),
        "methods none": plans.methods(speech, OFFERS[0], [], RICH, "RUB"),
        "cryptopay": payment.by_page(speech, TITLES["en"], bought(), INVOICE.url, INVOICE.expires_at, NOW),
        "yookassa": payment.by_page(
            speech, TITLES["en"], bought(method="yookassa"), INVOICE.url, INVOICE.expires_at, NOW
        ),
        "stars monthly": payment.stars_monthly(
            speech, TITLES["en"], bought(currency="XTR", method="stars"), "https://t.me/$x"
        ),
        "balance confirm": payment.confirm_balance(
            speech, TITLES["en"], bought(method="balance"), 10_000_000
        ),
        "balance short": payment.short_balance(
            speech, TITLES["en"], bought(method="balance"), 100, TOPUPS, can_fill=True
        ),
        "balance shorter": payment.short_balance(
            speech, TITLES["en"], bought(method="balance", amount=10**9), 0, TOPUPS, can_fill=True
        ),
        "balance unfillable": payment.short_balance(
            speech, TITLES["en"], bought(method="balance", fresh=True), 0, TOPUPS, can_fill=False
        ),
        "stars": payment.stars(
            speech, TITLES["en"], bought(currency="XTR", method="stars"), sent_before=False
        ),
        "stars again": payment.stars(
            speech, TITLES["en"], bought(currency="XTR", method="stars"), sent_before=True
        ),
        "standing pending": payment.standing(speech, bought(invoice=INVOICE), NOW),
        "standing stars": payment.standing(speech, bought(method="stars"), NOW),
        "standing paid": payment.standing(speech, bought(status="paid"), NOW),
        "standing incomplete": payment.standing(speech, bought(received=1, status="expired"), NOW),
        "standing refunded": payment.standing(speech, bought(status="refunded"), NOW),
        **{
            f"standing topup {status}": payment.standing(
                speech, bought(kind="topup", offer_id=None, plan_id=None, status=status), NOW
            )
            for status in ("pending", "paid", "expired")
        },
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
        **{
            f"subscription renews {way}": subscription.one(
                speech, Held(made(renews=way, offer_id=None), TITLES), PAGE, NOW
            )
            for way in ("off", "balance", "stars")
        },
        "subscriptions named": subscription.several(speech, [NAMED, NAMED_ENDED], NOW),
        "subscription named": subscription.one(
            speech, NAMED, PAGE, NOW, others=True, preface=speech.say("catalogue-done")
        ),
        "subscription named ended": subscription.one(
            speech, NAMED_ENDED, PAGE, NOW, preface=speech.say("catalogue-done")
        ),
        "connect": connecting.platforms(speech, NAMED),
        "connect no node": connecting.steps(speech, APPS["ios_happ"], HELD, ConnectInfo()),
        "connect works": connecting.works(speech),
        "diagnosis of nothing": diagnosis.nothing_to_look_at(speech, "https://support.example.org"),
        "my data": my_data.overview(speech, "@support"),
        "my data plain": my_data.overview(speech, None),
        "forget me": my_data.confirm(
            speech, Holdings(NOW, 5, NOW, 1, 10**9), "RUB", preface=my_data.too_late(speech)
        ),
        "forget me nothing": my_data.confirm(speech, Holdings(NOW, 0, None, 0, 0), "RUB"),
        "forget me done": my_data.done(speech),
        "help plain": help_screens.overview(speech, None),
        "rename": own_link.ask_for_name(speech, HELD),
        "rename named": own_link.ask_for_name(speech, NAMED),
        "rename again": own_link.ask_for_name(speech, NAMED, too_long=True),
        "rotate": own_link.confirm_rotation(speech, NAMED),
        "rotate done": subscription.one(speech, NAMED, DIRECT, NOW, preface=own_link.rotated(speech)),
        "rotate too soon": own_link.rotated_before(speech, NAMED, timedelta(seconds=61)),
        "stop stars": keeping.stop_stars(speech, HELD),
        "other plans": keeping.other_plans(speech, HELD, [(TITLES["en"], CHANGE)], NOW),
        "other plans none": keeping.other_plans(speech, HELD, [], NOW),
        "change": keeping.confirm_change(
            speech, HELD, "<other>", CHANGE, NOW, preface=speech.say("catalogue-done")
        ),
        "change stars": keeping.no_change(speech, HUGE, "change-stars"),
        "change impossible": keeping.no_change(speech, HUGE, "change-impossible"),
        "balance": balance.overview(speech, RICH, "RUB", can_fill=True),
        "balance empty": balance.overview(speech, Purse(), "RUB", can_fill=False),
        "history": balance.history(speech, LINES, before=HUGE, more=True),
        "history none": balance.history(speech, [], before=0, more=False),
        "amounts": balance.amounts(speech, TOPUPS, "RUB", can_fill=True),
        "amounts none": balance.amounts(speech, TOPUPS, "RUB", can_fill=False),
        "write amount": balance.write_amount(speech, TOPUPS, "RUB"),
        "write amount again": balance.write_amount(speech, TOPUPS, "RUB", again=True),
        "top-up": balance.methods(speech, Money(25000, "RUB"), ways_to_fill(TERMS, TOPUPS, "RUB", 25000)),
        "top-up no method": balance.methods(speech, Money(25000, "RUB"), []),
        "promo": promo.ask(speech, RICH),
        "promo none": promo.ask(speech, Purse()),
        "promo forgotten": promo.forgotten(speech),
        "promo percent": promo.entered(speech, Entered(CODE)),
        "promo days": promo.entered(speech, Entered(attrs.evolve(CODE, kind="days"))),
        "promo granted": promo.entered(speech, Entered(attrs.evolve(CODE, kind="days"), granted=GRANTED)),
        "promo money": promo.entered(
            speech, Entered(attrs.evolve(CODE, kind="money", currency="RUB"), credited=500)
        ),
        **{f"promo {reason}": promo.unavailable(speech, reason) for reason in get_args(Reason)},
        **{f"refund {why}": refund.impossible(speech, why) for why in get_args(Why)},
        **{key: refund.usage(speech, key) for key in ("refund-usage", "refund-unknown", "refund-bad-amount")},
        "refund found": refund.found(speech, [CHARGE], 99),
        "refund several": refund.found(speech, [CHARGE] * 50, None),
        "refund which": refund.found(speech, [CHARGE, CHARGE], 99),
        "refund nothing left": refund.found(speech, [attrs.evolve(CHARGE, refunded=150)], None),
        "refund confirm": refund.confirm(
            speech,
            Giving(charges=(CHARGE, attrs.evolve(CHARGE, currency="RUB"))),
            None,
            RefundNow(HUGE, HUGE, 1, HUGE),
        ),
        "refund confirm off": refund.confirm(
            speech,
            Giving(charges=(CHARGE,), to_balance=True),
            Removed(1, timedelta(days=1), NOW, True),
            RefundAllNow("p" + "7" * 24, 1, HUGE),
        ),
        "refund confirm shorter": refund.confirm(
            speech,
            Giving(charges=(CHARGE,), amount=5),
            Removed(1, timedelta(days=1), NOW, False),
            RefundNow(HUGE, 5, 0, HUGE),
        ),
        "refund asked": refund.asked_for(speech, Giving(charges=(CHARGE,)), awaits_provider=True),
        "refund booked": refund.asked_for(speech, Giving(charges=(CHARGE,)), awaits_provider=False),
        "topped_up": money.topped_up(speech, ARGS["refund_to_balance"], STEP),
        "topped_up new": money.topped_up(speech, ARGS["refund_to_balance"], NextStep()),
        "renewal_short": money.renewal_short(speech, SHORT, TOPUPS),
        "renewal_short unfillable": money.renewal_short(speech, SHORT, TOPUPS, can_fill=False),
        "underpaid spent": paid.underpaid(speech, ARGS["underpaid"] | {"missing": 0}),
        "refund balance": money.refund(speech, ARGS["refund"] | {"to_balance": True, "expires_at": None}),
        "refund off": money.refund(speech, ARGS["refund"] | {"made": True, "off": True}),
        "receipt automatic": paid.receipt(speech, RECEIPT | {"renewed": True, "automatic": True}, HELD, PAGE),
        "receipt": paid.receipt(speech, RECEIPT, HELD, PAGE),
        "receipt direct": paid.receipt(speech, RECEIPT, HELD, DIRECT),
        "receipt no node": paid.receipt(speech, RECEIPT, HELD, ConnectInfo()),
        "receipt renewed": paid.receipt(speech, RECEIPT | {"renewed": True}, HELD, PAGE),
        "help": help_screens.overview(speech, "@support"),
        "home trial": home.home(
            speech, name, None, NOW, NOTHING, trial_hours=72, preface=trouble.banner(speech, "<b>")
        ),
        "home on trial": home.home(speech, name, made(trial=True), NOW, NOTHING, trial_hours=12),
        "plans in an incident": plans.plans(speech, OFFERS, "RUB", preface=trouble.banner(speech, "x & y")),
        "shop paused": trouble.shop_paused(speech, "<why> " * 160),
        "trial": trial.offer(speech, TITLES["en"], 8760),
        "trial started": trial.started(speech, Held(made(trial=True), TITLES), PAGE, NOW),
        "trial without node": trial.started(speech, HELD, ConnectInfo(), NOW),
        "subscription on trial": subscription.one(
            speech, Held(made(trial=True), TITLES, can_change=True), PAGE, NOW
        ),
        **{f"trial {reason}": trial.unavailable(speech, reason) for reason in get_args(NoTrial)},
        **{
            f"{template} {when}": reminders.ENDINGS[template](speech, ABOUT_AN_END | {"when": when}, ending)
            for template in reminders.ENDINGS
            for when in ("7d", "3d", "1d", "3h")
            for ending in (OVER if template in ("reminder_over", "trial_ended") else ENDING,)
        },
        "node_stopped otherwise": alerts.node_stopped(speech, ARGS["node_stopped"] | {"reason": "<new>"}),
        "alarms over": alerts.alarms(speech, {"raised": [], "cleared": ARGS["alarms"]["cleared"][:1]}),
        "notifications": notifications.overview(speech, PREFERENCES, (time(0), time(0))),
        "notifications never quiet": notifications.overview(
            speech, attrs.evolve(PREFERENCES, quiet=(time(0), time(0))), (time(22), time(9))
        ),
        **{
            f"time zones {page}": notifications.time_zones(speech, PREFERENCES, page)
            for page in (0, 1, 2, 3, 99)
        },
        "quiet from": notifications.quiet_from(speech, PREFERENCES),
        "quiet to": notifications.quiet_to(speech, PREFERENCES),
        "status": status.status(speech, DOCUMENT, SNAPSHOT),
        "status of nothing": status.status(speech, {}, Snapshot()),
        "status unread": status.status(speech, {key: {"strange": 1} for key in DOCUMENT}, Snapshot()),
        "switches": switches.overview(speech, SNAPSHOT, preface=speech.say("catalogue-done")),
        "status too long": status.status(
            speech,
            DOCUMENT | {"workers": [one | {"name": "w" * 500} for one in DOCUMENT["workers"]]},
            SNAPSHOT,
        ),
        "switches none": switches.overview(speech, Snapshot()),
        **{f"pause {name}": switches.confirm(speech, name) for name in NAMES[:3]},
        "not on sale": trouble.not_on_sale(speech),
        "maintenance": planned.maintenance(speech, PLANNED, (timedelta(hours=-9.5), timedelta(hours=12))),
        "maintenance of the only one": planned.maintenance(
            speech, PLANNED | {"others": False}, (timedelta(), timedelta(hours=12))
        ),
    }
    for template, render in money.NOTICES.items():
        found[f"{template} notice" if template in found else template] = render(speech, ARGS[template])
    for key in trouble.WORDS:
        found[key] = trouble.words(speech, key)
    for word, app in APPS.items():
        found[f"connect {word}"] = connecting.steps(speech, app, NAMED, PAGE)
        found[f"connect {word} direct"] = connecting.steps(speech, app, HELD, DIRECT)
        found[f"connect {word} without"] = connecting.steps(speech, app, None, ConnectInfo())
    for state, view in DIAGNOSES.items():
        found[f"diagnosis {state}"] = diagnosis.diagnosis(speech, NAMED, view, "<why> " * 160, "@support")
        found[f"diagnosis {state} plain"] = diagnosis.diagnosis(speech, HELD, view, None, None)
    for room in OPERATORS_ROOMS:
        more = room.screens(speech)
        # A sample under another's name would be looked at by nobody.
        assert not found.keys() & more.keys(), sorted(found.keys() & more.keys())
        found.update(more)
    return found
