"""Notices about money that is not a purchase: the balance, rewards, refunds, renewals; and all notices by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from vpnd.bot.callbacks import Action, Balance, Home, Invite, OneSubscription, Periods, Plans, Renewal
from vpnd.bot.reading import NextStep
from vpnd.bot.screens import alerts, exports, from_operator, paid
from vpnd.bot.screens.paid import admin_lines, money_of
from vpnd.bot.screens.payment import top_up_by
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.payments.terms import TopUps
from vpnd.shop.money import Money


def _button(speech: Speech, key: str, action: Action) -> Row:
    return (Button(speech.label(key), action),)


def _home(speech: Speech) -> Row:
    return _button(speech, "button-home", Home())


def topped_up(speech: Speech, args: Mapping[str, Any], step: NextStep) -> Screen:
    """The balance was filled: what to do with it."""
    rows: list[Row] = []
    if step.waiting is not None and step.price is not None:
        rows.append((Button(speech.label("button-pay-waiting", price=step.price), step.waiting),))
    if step.renewal is not None:
        rows.append(_button(speech, "button-renew", step.renewal))
    else:
        rows.append(_button(speech, "button-buy", Plans()))
    rows.append(
        (Button(speech.label("button-balance"), Balance()), Button(speech.label("button-home"), Home()))
    )
    return Screen(speech.say("topped-up", amount=money_of(args, "amount", "currency")), tuple(rows))


def referral_reward(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """Somebody whom the customer brought has paid."""
    amount = money_of(args, "amount", "currency")
    text = speech.say("referral-reward", amount=amount, percent=int(args["percent"]))
    return Screen(
        text,
        (
            _button(speech, "button-balance", Balance()),
            _button(speech, "button-invite", Invite()),
            _home(speech),
        ),
    )


def refund(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """Money goes back: how much, where, and what becomes of the access."""
    where = "balance" if args["to_balance"] else "made" if args["made"] else "provider"
    text = speech.say("refund-notice", amount=money_of(args, "amount", "currency"), where=where)
    access = None
    if args["off"]:
        access = speech.say("refund-notice-off")
    elif args["expires_at"] is not None:
        until = datetime.fromisoformat(str(args["expires_at"]))
        access = speech.say("refund-notice-until", until=until)
    rows = (_button(speech, "button-balance", Balance()),) if args["to_balance"] else ()
    return Screen(paragraphs(text, access), (*rows, _home(speech)))


def refund_to_balance(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """The provider would not pay a refund out: it lies on the balance."""
    text = speech.say("refund-to-balance", amount=money_of(args, "amount", "currency"))
    return Screen(text, (_button(speech, "button-balance", Balance()), _home(speech)))


def renewal_short(
    speech: Speech, args: Mapping[str, Any], topups: TopUps, *, can_fill: bool = True
) -> Screen:
    """The balance cannot pay the renewal: what is missing, and how to get it there."""
    missing, subscription = money_of(args, "missing", "currency"), int(args["subscription_id"])
    text = speech.say(
        "renewal-short",
        until=datetime.fromisoformat(str(args["expires_at"])),
        price=Money(int(args["price"]), missing.currency),
        missing=missing,
        fill="yes" if can_fill else "no",
    )
    rows: list[Row] = []
    if can_fill:
        rows.append((top_up_by(speech, missing.amount, missing.currency, topups),))
    rows.append(_button(speech, "button-renew-other", Periods(str(args["plan_id"]), subscription)))
    rows.append(_button(speech, "button-renewal-off", Renewal(subscription, 0)))
    return Screen(text, (*rows, _home(speech)))


def renewal_unavailable(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """What the subscription was bought as is not sold any more, so it cannot renew itself."""
    subscription = int(args["subscription_id"])
    text = speech.say("renewal-unavailable", until=datetime.fromisoformat(str(args["expires_at"])))
    return Screen(
        text,
        (
            _button(speech, "button-plans", Plans()),
            _button(speech, "button-subscription", OneSubscription(subscription)),
            _home(speech),
        ),
    )


def refund_refused(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """For admins: a provider does not pay a refund out."""
    shown = {**args, "amount": speech.price(money_of(args, "amount", "currency"))}
    names = ("provider", "charge_id", "reason", "amount", "telegram_id")
    return admin_lines(speech, "refund-refused", shown, names)


def books_wrong(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """For admins: the books do not add up."""
    shown = {**args, "amount": speech.price(money_of(args, "amount", "currency"))}
    return admin_lines(speech, "books-wrong", shown, ("what", "currency", "amount"))


def reconciliation(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """For admins: a provider's list differs from the books."""
    return admin_lines(speech, "reconciliation", args, ("provider", "differences", "mended", "first"))


#: The notices that need nothing but their own values. A receipt also needs the subscription and its link, a filled balance
#: what to do with it, a renewal that is short how balances are filled, and one about an end how things stand by now.
NOTICES: Final[dict[str, Callable[[Speech, Mapping[str, Any]], Screen]]] = {
    "expired": paid.expired,
    "underpaid": paid.underpaid,
    "second_charge_balance": paid.second_charge_balance,
    "second_charge_refund": paid.second_charge_refund,
    "payment_held": paid.payment_held,
    "held_charge": paid.held_charge,
    "referral_reward": referral_reward,
    "refund": refund,
    "refund_to_balance": refund_to_balance,
    "renewal_unavailable": renewal_unavailable,
    "refund_refused": refund_refused,
    "books_wrong": books_wrong,
    "reconciliation": reconciliation,
    **alerts.ALERTS,
    **from_operator.NOTICES,
    "export_failed": exports.in_vain,
}
