"""The catalogue in the bot: periods of a plan, and their prices by currency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpnd.bot.amounts import read_amount
from vpnd.bot.answers import stale
from vpnd.bot.catalogue_callbacks import (
    DropPrice,
    DropPriceNow,
    NewPeriod,
    NewPrice,
    OnePeriod,
    OnePlan,
    PeriodOff,
    PeriodSale,
    PriceNow,
    WritePrice,
)
from vpnd.bot.catalogue_editing import Deed, about_expected, change_said, must_edit, taken
from vpnd.bot.catalogue_plans import show_one_plan
from vpnd.bot.catalogue_words import currency_number, currency_numbered, read_number, read_priced
from vpnd.bot.screens import catalogue as screens
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Change
from vpnd.shop.catalogue import (
    CataloguePlan,
    Period,
    add_period,
    offer_of,
    plan_named,
    put_period_on_sale,
    remove_price,
    set_price,
)
from vpnd.shop.dialogs import Expected, expected_about
from vpnd.shop.plans_file import DAYS

__all__ = [
    "ask_to_drop",
    "ask_to_stop_selling",
    "change_price",
    "drop",
    "new_period",
    "new_price",
    "read_new_period",
    "read_new_price",
    "read_price",
    "sell",
    "show_period",
    "write_price",
]

# ------------------------------------------------------------------------------------------ periods


async def new_period(visit: Visit, action: NewPeriod) -> None:
    """Ask for the days of a new period."""
    plan = await plan_named(visit.deps.db, action.plan)
    if plan is None:
        await show_one_plan(visit, action.plan)
        return
    await visit.expect("period_new", data={"plan": plan.id})
    text = visit.speech.say("catalogue-period-ask", title=plan.title(visit.speech.language))
    await visit.show(screens.ask(visit.speech, text, OnePlan(plan.id)))


async def read_new_period(visit: Visit, text: str) -> None:
    """Take what was written for days."""
    kept = await about_expected(visit, "period_new", "plan")
    if kept is None:
        return
    plan_id, days = kept[0], read_number(text, DAYS[0], DAYS[-1])

    async def deed(tx: Transaction) -> Change:
        return await add_period(tx, plan_id, 0 if days is None else days)

    if not await taken(visit, deed, OnePlan(plan_id)):
        return
    plan = await plan_named(visit.deps.db, plan_id)
    made = next((one for one in plan.periods if one.days == days), None) if plan is not None else None
    if plan is not None and made is not None:
        await _show(visit, plan, made, visit.speech.say("catalogue-period-made"))
    await visit.expect_nothing()


async def _show(visit: Visit, plan: CataloguePlan, period: Period, preface: str | None = None) -> None:
    await visit.show(
        screens.period(visit.speech, plan, period, shop_currency=visit.deps.currency, preface=preface)
    )


async def _found(visit: Visit, offer_id: int) -> tuple[CataloguePlan, Period] | None:
    """A period and its plan; None, and the answer given, if it is not there."""
    found = await offer_of(visit.deps.db, offer_id)
    if found is None:
        await stale(visit, "unreadable")
    return found


async def show_period(visit: Visit, action: OnePeriod) -> None:
    """A period and its prices."""
    await _show_again(visit, action.offer)


async def _show_again(visit: Visit, offer_id: int, preface: str | None = None) -> None:
    found = await _found(visit, offer_id)
    if found is not None:
        await _show(visit, *found, preface)


async def _edit(visit: Visit, offer_id: int, deed: Deed, *, asked: int = 0) -> None:
    """Change a period, and show it with what came of that."""
    await _show_again(visit, offer_id, await change_said(visit, deed, asked=asked))


async def ask_to_stop_selling(visit: Visit, action: PeriodOff) -> None:
    """Ask whether a period is to be taken off sale."""
    found = await _found(visit, action.offer)
    if found is not None:
        plan, period = found
        title = f"{plan.title(visit.speech.language)} · {visit.speech.period(period.days)}"
        text = visit.speech.say("catalogue-off-confirm", title=title)
        yes = PeriodSale(period.offer_id, 0, visit.update_id)
        await visit.show(screens.confirm(visit.speech, text, yes, OnePeriod(period.offer_id)))


async def sell(visit: Visit, action: PeriodSale) -> None:
    """Put a period on sale, or off."""

    async def deed(tx: Transaction) -> Change:
        return await put_period_on_sale(tx, action.offer, bool(action.on), shop_currency=visit.deps.currency)

    await _edit(visit, action.offer, deed, asked=action.asked)


# ------------------------------------------------------------------------------------------ prices


async def new_price(visit: Visit, action: NewPrice) -> None:
    """Ask for a currency and an amount of it."""
    found = await _found(visit, action.offer)
    if found is not None:
        await visit.expect("price_new", about=action.offer)
        await _ask(visit, *found, "catalogue-price-new-ask", visit.deps.currency)


async def write_price(visit: Visit, action: WritePrice) -> None:
    """Ask for an amount."""
    currency = currency_numbered(action.currency)
    if currency is None:
        await stale(visit, "unreadable")
        return
    found = await _found(visit, action.offer)
    if found is not None:
        await visit.expect("price", about=action.offer, data={"currency": currency})
        await _ask(visit, *found, "catalogue-price-ask", currency)


async def _ask(
    visit: Visit, plan: CataloguePlan, period: Period, key: str, currency: str, *, again: bool = False
) -> None:
    speech = visit.speech
    preface = screens.refused(speech, "amount") if again else None
    text = speech.say(
        key, title=plan.title(speech.language), period=speech.period(period.days), currency=currency
    )
    await visit.show(screens.ask(speech, text, OnePeriod(period.offer_id), preface=preface))


async def _asked(
    visit: Visit, what: Expected
) -> tuple[tuple[CataloguePlan, Period], Mapping[str, Any]] | None:
    """The period that a price was asked for, and what was kept with the question; None where it is not there any more.

    Raises NotAllowed.
    """
    must_edit(visit)
    kept = await expected_about(visit.deps.db, visit.customer.id, what)
    if kept is None:
        await stale(visit, "unreadable")
        return None
    found = await _found(visit, kept[0] or 0)
    return None if found is None else (found, kept[1])


async def read_new_price(visit: Visit, text: str) -> None:
    """Take what was written for a currency and an amount."""
    asked = await _asked(visit, "price_new")
    if asked is None:
        return
    found, _ = asked
    priced = read_priced(text)
    if priced is None:
        await _ask(visit, *found, "catalogue-price-new-ask", visit.deps.currency, again=True)
        return
    await _confirm(visit, *found, *priced)


async def read_price(visit: Visit, text: str) -> None:
    """Take what was written for an amount."""
    asked = await _asked(visit, "price")
    if asked is None:
        return
    found, data = asked
    currency = str(data.get("currency"))
    amount = read_amount(text, currency)
    if amount is None:
        await _ask(visit, *found, "catalogue-price-ask", currency, again=True)
        return
    await _confirm(visit, *found, currency, amount)


async def _confirm(visit: Visit, plan: CataloguePlan, period: Period, currency: str, amount: int) -> None:
    yes = PriceNow(period.offer_id, currency_number(currency), amount, visit.update_id)
    await visit.show(screens.price_confirm(visit.speech, plan, period, currency, amount, yes))
    await visit.expect_nothing()


async def change_price(visit: Visit, action: PriceNow) -> None:
    """Ask another price from now on."""

    async def deed(tx: Transaction) -> Change:
        return await set_price(tx, action.offer, currency_numbered(action.currency) or "", action.amount)

    await _edit(visit, action.offer, deed, asked=action.asked)


async def ask_to_drop(visit: Visit, action: DropPrice) -> None:
    """Ask whether a period is to be sold in a currency no longer."""
    currency = currency_numbered(action.currency)
    found = None if currency is None else await offer_of(visit.deps.db, action.offer)
    if currency is None or found is None:
        await stale(visit, "unreadable")
        return
    plan, period = found
    text = visit.speech.say(
        "catalogue-drop-confirm",
        title=plan.title(visit.speech.language),
        period=visit.speech.period(period.days),
        currency=currency,
    )
    yes = DropPriceNow(period.offer_id, action.currency, visit.update_id)
    await visit.show(screens.confirm(visit.speech, text, yes, OnePeriod(period.offer_id)))


async def drop(visit: Visit, action: DropPriceNow) -> None:
    """Sell a period in a currency no longer."""

    async def deed(tx: Transaction) -> Change:
        return await remove_price(
            tx, action.offer, currency_numbered(action.currency) or "", shop_currency=visit.deps.currency
        )

    await _edit(visit, action.offer, deed, asked=action.asked)
