"""What a customer hears of an operator's deeds: days and money that he was given, a new link, a message, the end of a block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from vpnd.bot.callbacks import Balance, Home, OneSubscription
from vpnd.bot.markup import escape
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.money import Money


def _home(speech: Speech) -> Row:
    return (Button(speech.label("button-home"), Home()),)


def gift_days(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """Days were given."""
    text = speech.say("gift-days", period=speech.period(int(args["days"])), until=_day(args["expires_at"]))
    return Screen(text, (_subscription(speech, args), _home(speech)))


def gift_money(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """Money was given."""
    text = speech.say("gift-money", amount=Money(int(args["amount"]), str(args["currency"])))
    return Screen(text, ((Button(speech.label("button-balance"), Balance()),), _home(speech)))


def link_renewed(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """The old link opens nothing any more."""
    return Screen(speech.say("link-renewed"), (_subscription(speech, args), _home(speech)))


def unblocked(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """He may come in again."""
    return Screen(speech.say("unblocked", back="yes" if int(args["back"]) else "no"), (_home(speech),))


def operator_message(speech: Speech, args: Mapping[str, Any]) -> Screen:
    """Words of an operator, letter for letter."""
    # Not through the text: one value of a text is too short for it.
    return Screen(paragraphs(speech.say("operator-message"), escape(args["text"])), (_home(speech),))


def blocked(speech: Speech, support: str | None) -> Screen:
    """All that somebody hears who is shut out."""
    if support is None:
        return Screen(speech.say("blocked"))
    return Screen(speech.say("blocked-support", support=support))


def paid_while_blocked(speech: Speech, args: Mapping[str, Any], support: str | None) -> Screen:
    """A payment of somebody who is shut out: it counts, and gives no access yet."""
    amount = Money(int(args["amount"]), str(args["currency"]))
    text = speech.say("paid-while-blocked", amount=amount, until=_day(args["expires_at"]))
    return Screen(text + "\n\n" + blocked(speech, support).text)


def _subscription(speech: Speech, args: Mapping[str, Any]) -> Row:
    action = OneSubscription(int(args["subscription_id"]))
    return (Button(speech.label("button-subscription"), action),)


def _day(text: Any) -> datetime:
    return datetime.fromisoformat(str(text))


NOTICES: Final[Mapping[str, Callable[[Speech, Mapping[str, Any]], Screen]]] = {
    "gift_days": gift_days,
    "gift_money": gift_money,
    "link_renewed": link_renewed,
    "unblocked": unblocked,
    "operator_message": operator_message,
}
