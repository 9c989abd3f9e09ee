"""What follows a payment or an expiry: the receipt with the link and its QR code, and the notices about payments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from vpnd.bot.callbacks import Balance, Complete, Home, OneSubscription, Periods, Plans
from vpnd.bot.connect import ConnectInfo
from vpnd.bot.desk_callbacks import Desk
from vpnd.bot.reading import Held
from vpnd.bot.screens.connecting import platform_rows
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.screens.subscription import copy_row, link_block
from vpnd.bot.speech import Speech
from vpnd.shop.money import Money, MoneyError, parse_decimal

#: Longest text of a provider that an admin is shown.
_SHOWN: Final = 300


def money_of(args: Mapping[str, Any], amount: str, currency: str) -> Money:
    return Money(int(args[amount]), str(args[currency]))


def _overpaid(speech: Speech, args: Mapping[str, Any]) -> str | None:
    added = args.get("balance_added")
    if not added:
        return None
    return speech.say("overpaid", amount=Money(int(added), str(args["balance_currency"])))


def receipt(speech: Speech, args: Mapping[str, Any], held: Held, connect: ConnectInfo) -> Screen:
    """Paid: here is your link and its QR code. A renewal keeps the link, so it comes without picture and steps."""
    title = held.title(speech.language)
    until = datetime.fromisoformat(str(args["expires_at"]))
    renewed = bool(args.get("renewed"))
    automatic = renewed and bool(args.get("automatic"))
    key = "receipt-automatic" if automatic else "receipt-renewed" if renewed else "receipt"
    head = speech.say(key, title=title, until=until)
    own = (Button(speech.label("button-subscription"), OneSubscription(held.subscription.id)),)
    rows: list[Row] = [own]
    # One link: a caption has room for it, and the rest stands under "My subscription".
    link = link_block(speech, connect, most=1)
    home = (Button(speech.label("button-home"), Home()),)
    if renewed:
        return Screen(paragraphs(head, link, _overpaid(speech, args)), (*rows, home))
    if link is None:
        text = paragraphs(head, speech.say("receipt-no-link"), _overpaid(speech, args))
        return Screen(text, (*rows, home))
    rows.insert(0, copy_row(speech.label("button-copy"), connect))
    rows[-1:] = [*platform_rows(speech, held.subscription.id), own, home]
    text = paragraphs(head, link, speech.say("connect-steps"), _overpaid(speech, args))
    return Screen(text, tuple(rows), qr=connect.best)


def expired(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """The subscription has ended; one press renews it."""
    until = datetime.fromisoformat(str(args["expires_at"]))
    renew = Button(speech.label("button-renew"), Periods(str(args["plan_id"]), int(args["subscription_id"])))
    home = Button(speech.label("button-home"), Home())
    return Screen(speech.say("expired-notice", until=until), ((renew,), (home,)))


def with_home(speech: Speech, text: str) -> Screen:
    return Screen(text, ((Button(speech.label("button-home"), Home()),),))


def underpaid(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """Less came in than the price; one press completes it."""
    received = money_of(args, "received", "currency")
    missing = money_of(args, "missing", "currency")
    home = (Button(speech.label("button-home"), Home()),)
    if missing.amount <= 0:
        # The parts make up the price, but what lay on the balance was spent meanwhile: it is bought from there.
        text = speech.say("underpaid-spent", received=received)
        balance = Button(speech.label("button-balance"), Balance())
        return Screen(text, ((balance, Button(speech.label("button-buy"), Plans())), home))
    complete = Button(speech.label("button-complete", price=missing), Complete(str(args["purchase"])))
    return Screen(speech.say("underpaid", received=received, missing=missing), ((complete,), home))


def second_charge_balance(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """A purchase was paid twice; the second payment went to the balance."""
    return with_home(speech, speech.say("second-charge-balance", amount=money_of(args, "amount", "currency")))


def second_charge_refund(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """A purchase was paid twice; the second payment goes back."""
    return with_home(speech, speech.say("second-charge-refund", amount=money_of(args, "amount", "currency")))


def payment_held(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """A payment that a human must look at. Its amount is the provider's own text, which may not be a number."""
    text, currency = str(args["amount"]), str(args["currency"])
    try:
        amount: Money | str = parse_decimal(text, currency)
    except MoneyError:
        amount = f"{text} {currency}"
    return with_home(speech, speech.say("payment-held", amount=amount))


def admin_lines(speech: Speech, key: str, args: Mapping[str, Any], names: Sequence[str]) -> Screen:
    """For admins: the text `key` with these values as they stand."""
    values = {name: "–" if args.get(name) is None else str(args[name])[:_SHOWN] for name in names}
    return for_operators(speech, speech.say(key, **values))


def for_operators(speech: Speech, text: str) -> Screen:
    """What operators are told, with the ways to the desk and home."""
    row = (Button(speech.label("button-desk"), Desk()), Button(speech.label("button-home"), Home()))
    return Screen(text, (row,))


def held_charge(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """For admins: a charge that was not credited, and why."""
    names = ("provider", "charge_id", "reason", "amount", "currency", "purchase", "telegram_id")
    return admin_lines(speech, "held-charge", args, names)
