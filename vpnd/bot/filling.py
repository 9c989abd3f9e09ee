"""The balance: buttons that show it and fill it, and the amount that somebody writes."""

from __future__ import annotations

from typing import Final

from vpnd.bot import callbacks, ordering
from vpnd.bot.amounts import read_amount
from vpnd.bot.answers import paused, stale
from vpnd.bot.callbacks import Action
from vpnd.bot.reading import purse_of
from vpnd.bot.screens import balance
from vpnd.bot.screens.balance import PAGE, Entry
from vpnd.bot.visit import Visit
from vpnd.bot.ways import ways_to_fill
from vpnd.shop import ledger
from vpnd.shop.money import Money
from vpnd.shop.opening import OfferUnavailable, ShopPaused
from vpnd.shop.pricing import Terms

_LARGEST: Final = 2**53  # minor units; a button that names more was forged


def _ways(visit: Visit, amount: int) -> list[tuple[Terms, int]]:
    deps = visit.deps
    return ways_to_fill(deps.terms, deps.topups, deps.currency, amount)


def _can_fill(visit: Visit) -> bool:
    """Whether there is any way to fill a balance."""
    return bool(_ways(visit, visit.deps.topups.most) or _ways(visit, visit.deps.topups.least))


async def show_balance(visit: Visit, _action: Action) -> None:
    """What lies on the balance."""
    deps = visit.deps
    purse = await purse_of(deps.db, visit.customer.id, deps.currency)
    await visit.show(balance.overview(visit.speech, purse, deps.currency, can_fill=_can_fill(visit)))


async def show_history(visit: Visit, action: callbacks.History) -> None:
    """A page of what came and went, his own money and the bonus in one list, by the order of the books."""
    db, currency, who = visit.deps.db, visit.deps.currency, visit.customer.id
    before = action.before or None
    own, bonus = ledger.customer(who, currency), ledger.bonus(who, currency)
    lines = await ledger.statement(db, own, bonus, limit=PAGE + 1, before=before)
    entries = [Entry(line, line.account == bonus.kind) for line in lines]
    more = len(entries) > PAGE
    await visit.show(balance.history(visit.speech, entries[:PAGE], before=action.before, more=more))


async def show_amounts(visit: Visit, _action: Action) -> None:
    """The choice of an amount."""
    deps = visit.deps
    await visit.show(balance.amounts(visit.speech, deps.topups, deps.currency, can_fill=_can_fill(visit)))


async def ask_for_amount(visit: Visit, _action: Action) -> None:
    """Ask for an amount in words."""
    await visit.expect("topup_amount")
    await visit.show(balance.write_amount(visit.speech, visit.deps.topups, visit.deps.currency))


async def read_words(visit: Visit, text: str) -> None:
    """Take what was written for the amount; what is none is answered with an example, and may be written again."""
    deps = visit.deps
    amount = read_amount(text, deps.currency)
    if amount is None or not deps.topups.least <= amount <= deps.topups.most:
        await visit.show(balance.write_amount(visit.speech, deps.topups, deps.currency, again=True))
        return
    await _show_methods(visit, amount)
    # After the answer: an update that is played again understands the words once more.
    await visit.expect_nothing()


async def show_methods(visit: Visit, action: callbacks.TopUpAmount) -> None:
    """The ways to fill the balance by an amount."""
    if 0 < action.amount <= _LARGEST:
        await _show_methods(visit, action.amount)
    else:
        await stale(visit, "unreadable")


async def _show_methods(visit: Visit, amount: int) -> None:
    await visit.show(balance.methods(visit.speech, Money(amount, visit.deps.currency), _ways(visit, amount)))


async def pay(visit: Visit, action: callbacks.TopUpPay) -> None:
    """Open the top-up, or find the one that is open, and show how to pay it."""
    deps = visit.deps
    if not deps.topups.least <= action.amount <= deps.topups.most:
        await show_amounts(visit, action)
        return
    chosen = next((way for way in _ways(visit, action.amount) if way[0].method == action.method), None)
    if chosen is None:
        await _show_methods(visit, action.amount)
        return
    terms, asked = chosen
    worth = action.amount if terms.currency == deps.currency else deps.topups.worth_of_stars(asked)
    try:
        opened = await ordering.open_filling(visit, terms, asked, worth)
    except ShopPaused:
        await paused(visit)
    except OfferUnavailable:
        await _show_methods(visit, action.amount)
    else:
        await ordering.present(visit, opened, callbacks.TopUpPay(action.method, action.amount))
