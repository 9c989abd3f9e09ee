"""For operators: a customer is looked for, his card, what he paid and what happened to him."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from vpnd.bot.answers import stale
from vpnd.bot.callbacks import Action
from vpnd.bot.customer_callbacks import CustomerCard, OnePayment, Payments, Timeline
from vpnd.bot.reading import charge_name
from vpnd.bot.screens import customers, deeds, refund
from vpnd.bot.visit import Visit
from vpnd.shop.customer_card import Card, card_of, payments_of
from vpnd.shop.finding import find_customers
from vpnd.shop.operators import Permission
from vpnd.shop.refunds import charges_named
from vpnd.shop.timeline import BEGINNING, Place, timeline_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def ask_whom(visit: Visit, _action: Action) -> None:
    """Ask by what somebody is looked for."""
    await _ask_whom(visit)


async def _ask_whom(visit: Visit, *, unknown: bool = False) -> None:
    await visit.expect("customer_search")
    await visit.show(customers.ask_whom(visit.speech, unknown=unknown))


async def find(visit: Visit, words: str) -> None:
    """`/find words`: the card of the one who is meant, or a list of those who may be."""
    await visit.expect_nothing()
    if not words:
        await _ask_whom(visit)
        return
    found = await find_customers(visit.deps.db, words)
    if not found:
        await _ask_whom(visit, unknown=True)
    elif len(found) == 1:
        await show_one(visit, found[0].id)
    else:
        await visit.show(customers.hits(visit.speech, found))


async def read_search(visit: Visit, text: str) -> None:
    """Take what was written for what somebody is looked for by."""
    if not visit.may(Permission.CUSTOMERS):
        await visit.expect_nothing()
        await stale(visit, "unreadable")
        return
    await find(visit, text)


async def show_card(visit: Visit, action: CustomerCard) -> None:
    """All about one customer."""
    await show_one(visit, action.customer)


async def show_one(visit: Visit, customer_id: int, preface: str | None = None) -> None:
    """The same for whoever has his number."""
    who = await known(visit, customer_id)
    if who is not None:
        await visit.show(customers.card(visit.speech, who, visit.actor, preface=preface))


async def known(visit: Visit, customer_id: int) -> Card | None:
    """The card of a customer; None if there is none, which was answered here."""
    who = await card_of(visit.deps.db, customer_id, visit.deps.currency)
    if who is None:
        await visit.show(deeds.nobody(visit.speech))
    return who


async def show_payments(visit: Visit, action: Payments) -> None:
    """His charges, to give one back."""
    charges = await payments_of(visit.deps.db, action.customer, customers.CHARGES)
    await visit.show(customers.payments(visit.speech, action.customer, charges))


async def show_payment(visit: Visit, action: OnePayment) -> None:
    """One charge, and where what is left of it can go."""
    name = await charge_name(visit.deps.db, action.settlement)
    charges = [] if name is None else await charges_named(visit.deps.db, name)
    if not charges:
        await visit.show(refund.usage(visit.speech, "refund-unknown"))
    else:
        await visit.show(refund.found(visit.speech, charges[:1], None))


async def show_timeline(visit: Visit, action: Timeline) -> None:
    """A page of what happened to him."""
    before = BEGINNING
    if action.moment:
        try:
            moment = _EPOCH + timedelta(microseconds=action.moment)
        except OverflowError:  # a forged button
            await stale(visit, "unreadable")
            return
        before = Place(moment, min(action.source, 2**31 - 1), action.id)
    page = await timeline_of(visit.deps.db, action.customer, before=before, limit=customers.PAGE + 1)
    await visit.show(customers.timeline(visit.speech, action.customer, page))
