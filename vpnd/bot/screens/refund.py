"""For admins: a charge and what is left of it, the question before money goes back, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from vpnd.bot.admin_callbacks import RefundAllAsk, RefundAllNow, RefundAsk, RefundNow
from vpnd.bot.callbacks import Action, Home
from vpnd.bot.markup import Markup, code
from vpnd.bot.screens.screen import Button, Row, Screen, paragraphs
from vpnd.bot.speech import Speech
from vpnd.shop.access_removal import Removed
from vpnd.shop.money import Money
from vpnd.shop.refunds import RefundableCharge

#: Charges of one screen; a purchase has one or two.
_SHOWN: Final = 8
NOTHING: Final = "–"


@frozen(kw_only=True)
class Giving:
    """What is to go back: of which charges, how much of them (None: all that is left), and where."""

    charges: tuple[RefundableCharge, ...]
    amount: int | None = None
    to_balance: bool = False

    def total(self, speech: Speech) -> str:
        """How much that is, by currency."""
        sums: dict[str, int] = {}
        for charge in self.charges:
            part = charge.left if self.amount is None else self.amount
            sums[charge.currency] = sums.get(charge.currency, 0) + part
        return " + ".join(speech.price(Money(amount, currency)) for currency, amount in sums.items())

    @property
    def payer(self) -> str:
        """Whose money it is, as Telegram numbers him."""
        return next((str(one.telegram_id) for one in self.charges if one.telegram_id is not None), NOTHING)

    @property
    def purchase(self) -> str:
        """What it was paid for."""
        return next((one.purchase for one in self.charges if one.purchase is not None), NOTHING)


def _home(speech: Speech) -> Row:
    return (Button(speech.label("button-home"), Home()),)


def usage(speech: Speech, key: str = "refund-usage") -> Screen:
    """How the command is written, or what is wrong with what was written."""
    return Screen(speech.say(key), (_home(speech),))


def _charge(speech: Speech, charge: RefundableCharge) -> str:
    return speech.say(
        "refund-charge",
        name=code(f"{charge.provider}:{charge.charge_id}"),
        date=charge.paid_at,
        amount=Money(charge.amount, charge.currency),
        refunded=Money(charge.refunded, charge.currency),
        left=Money(charge.left, charge.currency),
        outcome=charge.outcome,
        kind=charge.kind or NOTHING,
        purchase=charge.purchase or NOTHING,
        payer=NOTHING if charge.telegram_id is None else str(charge.telegram_id),
    )


def found(speech: Speech, charges: Sequence[RefundableCharge], amount: int | None) -> Screen:
    """The charges of one name, and where what is left of them can go: all of it, or `amount` of the only one."""
    lines = [_charge(speech, charge) for charge in charges[:_SHOWN]]
    open_ones = [charge for charge in charges if charge.left > 0]
    if not open_ones:
        return Screen(paragraphs(*lines, speech.say("refund-nothing-left")), (_home(speech),))
    if amount is not None and len(open_ones) > 1:
        return Screen(paragraphs(*lines, speech.say("refund-which")), (_home(speech),))
    rows: list[Row] = []
    for key, to_balance in (("button-refund-payer", 0), ("button-refund-balance", 1)):
        rows.append((Button(speech.label(key), _ask(open_ones, amount, to_balance)),))
    partly = None
    if amount is not None:
        partly = speech.say("refund-part", amount=Money(amount, open_ones[0].currency))
    return Screen(paragraphs(*lines, partly), (*rows, _home(speech)))


def _ask(charges: Sequence[RefundableCharge], amount: int | None, to_balance: int) -> Action:
    if len(charges) == 1 or charges[0].purchase is None:
        return RefundAsk(charges[0].settlement_id, amount or 0, to_balance)
    return RefundAllAsk(charges[0].purchase, to_balance)


def confirm(speech: Speech, giving: Giving, removed: Removed | None, yes: RefundNow | RefundAllNow) -> Screen:
    """What will happen, and the question whether it shall."""
    text = speech.say(
        "refund-confirm",
        amount=giving.total(speech),
        where="balance" if giving.to_balance else "payer",
        payer=giving.payer,
        purchase=giving.purchase,
    )
    button = Button(speech.label("button-refund-yes"), yes)
    return Screen(paragraphs(text, _access(speech, removed)), ((button,), _home(speech)))


def _access(speech: Speech, removed: Removed | None) -> Markup:
    if removed is None:
        return Markup(speech.say("refund-access-kept"))
    if removed.off:
        return Markup(speech.say("refund-access-off"))
    return Markup(speech.say("refund-access-shortened", until=removed.expires_at))


def asked_for(speech: Speech, giving: Giving, *, awaits_provider: bool) -> Screen:
    """It is booked; a provider that has to pay is asked until it has answered for good."""
    key = "refund-asked" if awaits_provider else "refund-booked"
    return Screen(speech.say(key, payer=giving.payer), (_home(speech),))


def impossible(speech: Speech, why: str) -> Screen:
    """It cannot be done like that, and why."""
    return Screen(speech.say("refund-impossible", why=why), (_home(speech),))
