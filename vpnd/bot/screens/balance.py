"""The balance: what lies on it, where it came from and went, and how to fill it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from vpnd.bot.callbacks import Balance, History, Home, Plans, Promo, TopUp, TopUpAmount, TopUpOther, TopUpPay
from vpnd.bot.markup import Markup
from vpnd.bot.reading import Purse
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.payments.terms import TopUps
from vpnd.shop.ledger import StatementLine
from vpnd.shop.money import Money
from vpnd.shop.pricing import Terms

#: Entries of one page.
PAGE: Final = 8

# What an exchange was of is told by what it is called: it follows a payment, or goes before a refund.
_EXCHANGES: Final = {"refund_exchange": "refund_out", "refund_back_exchange": "refund_back"}


@frozen
class Entry:
    """One line of the history; `bonus`: of what the shop gave."""

    line: StatementLine
    bonus: bool = False


def _back(speech: Speech) -> Row:
    return (Button(speech.label("button-back"), Balance()), Button(speech.label("button-home"), Home()))


def overview(speech: Speech, purse: Purse, currency: str, *, can_fill: bool) -> Screen:
    """What the customer has, his own and what the shop gave him."""
    text = speech.say("balance", total=Money(purse.total, currency))
    bonus = speech.say("balance-bonus", bonus=Money(purse.bonus, currency)) if purse.bonus else None
    rows: list[Row] = [(Button(speech.label("button-top-up"), TopUp()),)] if can_fill else []
    rows += [
        (Button(speech.label("button-history"), History()), Button(speech.label("button-promo"), Promo())),
        (Button(speech.label("button-buy-more"), Plans()),),
        (Button(speech.label("button-home"), Home()),),
    ]
    return Screen(paragraphs(text, bonus, speech.say("balance-use")), tuple(rows))


def _kind(line: StatementLine) -> str:
    """What happened, as it is told."""
    if line.kind == "exchange":
        return _EXCHANGES.get(line.reference.split(":", 1)[0], "payment")
    return line.kind


def _line(speech: Speech, entry: Entry) -> str:
    line = entry.line
    return speech.say(
        "history-line-gift" if entry.bonus else "history-line",
        date=line.created_at,
        sign="+" if line.amount > 0 else "−",
        amount=Money(abs(line.amount), line.currency),
        what=speech.label("history-what", kind=_kind(line)),
    )


def history(speech: Speech, entries: Sequence[Entry], *, before: int, more: bool) -> Screen:
    """A page of the history, the newest first; `more`: there are older ones."""
    lines = "\n".join(_line(speech, entry) for entry in entries)
    text = speech.say("history", list=Markup(lines)) if entries else speech.say("history-none")
    turns: list[Button] = []
    if before:
        turns.append(Button(speech.label("button-newest"), History()))
    if more:
        turns.append(Button(speech.label("button-older"), History(entries[-1].line.id)))
    return Screen(text, (tuple(turns), _back(speech)))


def amounts(speech: Speech, topups: TopUps, currency: str, *, can_fill: bool) -> Screen:
    """The amounts that are offered, and the way to write another."""
    if not can_fill:
        return Screen(speech.say("topup-none"), (_back(speech),))
    buttons = [
        Button(speech.label("button-amount", amount=Money(amount, currency)), TopUpAmount(amount))
        for amount in topups.presets
    ]
    pairs = tuple(tuple(buttons[start : start + 2]) for start in range(0, len(buttons), 2))
    other = (Button(speech.label("button-other-amount"), TopUpOther()),)
    return Screen(speech.say("topup"), (*pairs, other, _back(speech)))


def write_amount(speech: Speech, topups: TopUps, currency: str, *, again: bool = False) -> Screen:
    """The request to write an amount; `again`: what was written was none, or none that can be filled."""
    text = speech.say(
        "topup-again" if again else "topup-write",
        least=Money(topups.least, currency),
        most=Money(topups.most, currency),
        example=Money(_example(topups), currency),
    )
    cancel = Button(speech.label("button-back"), TopUp())
    return Screen(text, ((cancel, Button(speech.label("button-home"), Home())),))


def _example(topups: TopUps) -> int:
    return topups.presets[0] if topups.presets else topups.least


def methods(speech: Speech, amount: Money, ways: Sequence[tuple[Terms, int]]) -> Screen:
    """The ways to fill the balance by an amount, each with what it asks for."""
    back = (Button(speech.label("button-back"), TopUp()), Button(speech.label("button-home"), Home()))
    if not ways:
        return Screen(speech.say("topup-no-method", amount=amount), (back,))
    rows: list[Row] = [
        (
            Button(
                speech.label(f"button-method-{terms.method}", price=Money(asked, terms.currency)),
                TopUpPay(terms.method, amount.amount),
            ),
        )
        for terms, asked in ways
    ]
    return Screen(speech.say("topup-methods", amount=amount), (*rows, back))
