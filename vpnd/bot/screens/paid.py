"""What follows a payment or an expiry: the receipt with the link and its QR code, and the other notices of the shop."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from vpnd.bot.callbacks import Help, Home, OneSubscription, Periods, Plans
from vpnd.bot.connect import ConnectInfo
from vpnd.bot.reading import Held
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.screens.subscription import copy_row, link_block
from vpnd.bot.speech import Speech
from vpnd.shop.money import Money, MoneyError, parse_decimal


def _money(args: Mapping[str, Any], amount: str, currency: str) -> Money:
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
    head = speech.say("receipt-renewed" if renewed else "receipt", title=title, until=until)
    own = (Button(speech.label("button-subscription"), OneSubscription(held.subscription.id)),)
    rows: list[Row] = [own]
    # One link: a caption has room for it, and the rest stands under "My subscription".
    link = link_block(speech, connect, most=1)
    if renewed:
        rows.append((Button(speech.label("button-home"), Home()),))
        return Screen(paragraphs(head, link, _overpaid(speech, args)), tuple(rows))
    if link is None:
        return Screen(paragraphs(head, speech.say("receipt-no-link"), _overpaid(speech, args)), tuple(rows))
    rows.insert(0, copy_row(speech.label("button-copy"), connect))
    rows.append((Button(speech.label("button-how-to-connect"), Help()),))
    text = paragraphs(head, link, speech.say("connect-steps"), _overpaid(speech, args))
    return Screen(text, tuple(rows), qr=connect.best)


def expired(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """The subscription has ended; one press renews it."""
    until = datetime.fromisoformat(str(args["expires_at"]))
    renew = Button(speech.label("button-renew"), Periods(str(args["plan_id"]), int(args["subscription_id"])))
    return Screen(speech.say("expired-notice", until=until), ((renew,),))


def _plain(speech: Speech, text: str) -> Screen:
    return Screen(text, ((Button(speech.label("button-home"), Home()),),))


def underpaid(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """Less came in than the price."""
    received = _money(args, "received", "currency")
    missing = _money(args, "missing", "currency")
    text = speech.say("underpaid", received=received, missing=missing)
    buy = Button(speech.label("button-buy"), Plans())
    return Screen(text, ((buy,), (Button(speech.label("button-home"), Home()),)))


def second_charge_balance(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """A purchase was paid twice; the second payment went to the balance."""
    return _plain(speech, speech.say("second-charge-balance", amount=_money(args, "amount", "currency")))


def second_charge_refund(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """A purchase was paid twice; the second payment goes back."""
    return _plain(speech, speech.say("second-charge-refund", amount=_money(args, "amount", "currency")))


def payment_held(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """A payment that a human must look at. Its amount is the provider's own text, which may not be a number."""
    text, currency = str(args["amount"]), str(args["currency"])
    try:
        amount: Money | str = parse_decimal(text, currency)
    except MoneyError:
        amount = f"{text} {currency}"
    return _plain(speech, speech.say("payment-held", amount=amount))


def held_charge(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """For admins: a charge that was not credited, and why."""
    lines = {
        name: args.get(name)
        for name in ("provider", "charge_id", "reason", "amount", "currency", "purchase", "telegram_id")
    }
    return Screen(
        speech.say(
            "held-charge", **{name: "–" if value is None else str(value) for name, value in lines.items()}
        )
    )


# The notices that need nothing but their own values; a receipt also needs the subscription and its link.
NOTICES: Final = {
    "expired": expired,
    "underpaid": underpaid,
    "second_charge_balance": second_charge_balance,
    "second_charge_refund": second_charge_refund,
    "payment_held": payment_held,
    "held_charge": held_charge,
}
