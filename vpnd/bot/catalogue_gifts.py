"""The catalogue in the bot: promo codes and personal discounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from vpnd.bot.answers import stale
from vpnd.bot.catalogue_callbacks import (
    DiscountList,
    DiscountNow,
    NewDiscount,
    NewPromo,
    OneDiscount,
    OnePromo,
    PromoList,
    PromoOff,
    PromoSwitch,
    WriteLimit,
    WritePromo,
)
from vpnd.bot.catalogue_editing import about_expected, deed_of, must_edit
from vpnd.bot.catalogue_words import read_discount, read_number, read_promo
from vpnd.bot.screens import catalogue, catalogue_gifts
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Change
from vpnd.shop.dialogs import expected_about
from vpnd.shop.discounts import discount_row, list_discounts, remove_discount, set_discount
from vpnd.shop.promo_editing import (
    LIMITS,
    MOST_DAYS,
    MOST_USES,
    Limit,
    NoSuchCode,
    limit_code,
    make_code,
    switch_code,
)
from vpnd.shop.promos import PromoCode, PromoExists, PromoKind, code_by_id, list_codes
from vpnd.shop.source import fetchrow

__all__ = [
    "ask_about_code",
    "ask_about_discount",
    "ask_to_switch_off",
    "choose_kind",
    "give_discount",
    "new_discount",
    "read_discount_words",
    "read_limit",
    "read_new_promo",
    "show_discounts",
    "show_promo",
    "show_promos",
    "switch",
    "write_limit",
]

_MOST: Final[dict[Limit, int]] = {"days": MOST_DAYS, "uses": MOST_USES, "each": MOST_USES}
_MOST_TELEGRAM_DIGITS: Final = 19

# ------------------------------------------------------------------------------------------ promo codes


async def show_promos(visit: Visit, action: PromoList) -> None:
    """A page of codes."""
    page = await list_codes(visit.deps.db, catalogue_gifts.PAGE + 1, before=action.before or None)
    await visit.show(catalogue_gifts.promos(visit.speech, page))


async def show_promo(visit: Visit, action: OnePromo) -> None:
    """One code."""
    await _show_promo(visit, action.promo)


async def _found(visit: Visit, promo_id: int) -> PromoCode | None:
    """A code; None, and the answer given, if it is not there."""
    promo = await code_by_id(visit.deps.db, promo_id)
    if promo is None:
        await stale(visit, "unreadable")
    return promo


async def _show_promo(visit: Visit, promo_id: int, preface: str | None = None) -> None:
    promo = await _found(visit, promo_id)
    if promo is not None:
        await visit.show(catalogue_gifts.promo(visit.speech, promo, preface=preface))


async def choose_kind(visit: Visit, _action: NewPromo) -> None:
    """The choice of what a new code gives."""
    await visit.show(catalogue_gifts.kinds(visit.speech))


def _kind(word: str) -> PromoKind | None:
    return next((kind for kind in catalogue_gifts.KINDS if kind == word), None)


async def ask_about_code(visit: Visit, action: WritePromo) -> None:
    """Ask for the name of a code and what it gives."""
    kind = _kind(action.kind)
    if kind is None:
        await stale(visit, "unreadable")
        return
    await visit.expect("promo_new", data={"kind": kind})
    await _ask_about_code(visit, kind)


async def _ask_about_code(visit: Visit, kind: PromoKind, preface: str | None = None) -> None:
    text = visit.speech.say("promo-ask", kind=kind, currency=visit.deps.currency)
    await visit.show(catalogue.ask(visit.speech, text, PromoList(), preface=preface))


async def read_new_promo(visit: Visit, text: str) -> None:
    """Take what was written for a code and what it gives; it is made switched off."""
    kept = await about_expected(visit, "promo_new", "kind")
    kind = None if kept is None else _kind(kept[0])
    if kind is None:
        return
    wish = read_promo(text, kind, visit.deps.currency)
    if wish is None:
        must_edit(visit)
        await _ask_about_code(visit, kind, visit.speech.say("promo-unreadable"))
        return
    made: list[PromoCode] = []

    async def deed(tx: Transaction) -> Change:
        promo, change = await make_code(tx, wish.code, kind, wish.value, wish.currency)
        made[:] = [promo]
        return change

    try:
        await deed_of(visit, deed)
    except PromoExists:
        await _ask_about_code(visit, kind, visit.speech.say("promo-exists", code=wish.code))
        return
    await _show_promo(visit, made[0].id, visit.speech.say("promo-made"))
    await visit.expect_nothing()


def _limit(word: str) -> Limit | None:
    return next((limit for limit in LIMITS if limit == word), None)


async def write_limit(visit: Visit, action: WriteLimit) -> None:
    """Ask for a limit of a code."""
    limit = _limit(action.limit)
    promo = None if limit is None else await code_by_id(visit.deps.db, action.promo)
    if limit is None or promo is None:
        await stale(visit, "unreadable")
        return
    await visit.expect("promo_limit", about=promo.id, data={"limit": limit})
    await _ask_for_limit(visit, promo, limit)


async def _ask_for_limit(visit: Visit, promo: PromoCode, limit: Limit, preface: str | None = None) -> None:
    text = visit.speech.say("promo-limit-ask", limit=limit, code=promo.code)
    await visit.show(catalogue.ask(visit.speech, text, OnePromo(promo.id), preface=preface))


async def read_limit(visit: Visit, text: str) -> None:
    """Take what was written for a limit."""
    kept = await expected_about(visit.deps.db, visit.customer.id, "promo_limit")
    limit = None if kept is None else _limit(str(kept[1].get("limit")))
    promo = None if kept is None else await code_by_id(visit.deps.db, kept[0] or 0)
    if limit is None or promo is None:
        await visit.expect_nothing()
        await stale(visit, "unreadable")
        return
    number = read_number(text, 0, _MOST[limit])
    if number is None:
        must_edit(visit)
        await _ask_for_limit(visit, promo, limit, visit.speech.say("catalogue-number-unreadable"))
        return

    async def deed(tx: Transaction) -> Change:
        return await limit_code(tx, promo.id, limit, number)

    await _edit_promo(visit, promo.id, deed)
    await visit.expect_nothing()


async def _edit_promo(
    visit: Visit, promo_id: int, deed: Callable[[Transaction], Awaitable[Change]], *, asked: int = 0
) -> None:
    """Change a code, and show it with what came of that."""
    try:
        await deed_of(visit, deed, asked=asked)
    except NoSuchCode:
        await stale(visit, "unreadable")
        return
    except PromoExists:
        said = visit.speech.say("promo-exists-on")
    else:
        said = visit.speech.say("catalogue-done")
    await _show_promo(visit, promo_id, said)


async def ask_to_switch_off(visit: Visit, action: PromoOff) -> None:
    """Ask whether a code is to be switched off."""
    promo = await _found(visit, action.promo)
    if promo is not None:
        await visit.show(catalogue_gifts.promo_off(visit.speech, promo, visit.update_id))


async def switch(visit: Visit, action: PromoSwitch) -> None:
    """Let a code be entered, or no longer."""

    async def deed(tx: Transaction) -> Change:
        return await switch_code(tx, action.promo, bool(action.on))

    await _edit_promo(visit, action.promo, deed, asked=action.asked)


# ------------------------------------------------------------------------------------------ personal discounts


async def show_discounts(visit: Visit, action: DiscountList) -> None:
    """Customers with a discount of their own."""
    await _show_discounts(visit, action.before)


async def _show_discounts(visit: Visit, before: int = 0, preface: str | None = None) -> None:
    page = await list_discounts(visit.deps.db, before=before or None, limit=catalogue_gifts.PAGE + 1)
    await visit.show(catalogue_gifts.discounts(visit.speech, page, preface=preface))


async def ask_about_discount(visit: Visit, action: OneDiscount) -> None:
    """A customer's discount, and whether he is to lose it."""
    found = await discount_row(visit.deps.db, action.customer)
    if found is None:
        await _show_discounts(visit)
    else:
        await visit.show(catalogue_gifts.discount(visit.speech, found, visit.update_id))


async def new_discount(visit: Visit, _action: NewDiscount) -> None:
    """Ask whom, how much and for how long."""
    await visit.expect("discount_new")
    await visit.show(catalogue.ask(visit.speech, visit.speech.say("discount-ask"), DiscountList()))


async def read_discount_words(visit: Visit, text: str) -> None:
    """Take what was written for a customer and a discount, and ask whether he is to have it."""
    must_edit(visit)
    wish = read_discount(text)
    found = None if wish is None else await _customer(visit, wish.who)
    if wish is None or found is None:
        problem = visit.speech.say("discount-unreadable" if wish is None else "discount-unknown")
        ask = visit.speech.say("discount-ask")
        await visit.show(catalogue.ask(visit.speech, ask, DiscountList(), preface=problem))
        return
    customer_id, telegram_id, name = found
    yes = DiscountNow(customer_id, wish.percent, wish.days, visit.update_id)
    await visit.show(catalogue_gifts.discount_confirm(visit.speech, name, telegram_id, yes))
    await visit.expect_nothing()


_BY_ID: Final = "select id, telegram_id, first_name from customers where telegram_id = $1"
_BY_NAME: Final = """
select id, telegram_id, first_name from customers where lower(username) = lower($1) order by id desc limit 1
"""


async def _customer(visit: Visit, who: str) -> tuple[int, int, str] | None:
    """A customer by his Telegram id or @name."""
    digits = who.isascii() and who.isdecimal() and len(who) < _MOST_TELEGRAM_DIGITS
    row = await fetchrow(
        visit.deps.db,
        "bot.discount_for",
        _BY_ID if digits else _BY_NAME,
        int(who) if digits else who.replace("\x00", ""),
    )
    return None if row is None else (row["id"], row["telegram_id"], row["first_name"])


async def give_discount(visit: Visit, action: DiscountNow) -> None:
    """Give a customer a discount in place of the one he had, or take that away."""
    if not 0 <= action.percent <= 99 or action.days > MOST_DAYS:
        await stale(visit, "unreadable")
        return
    if (
        await fetchrow(
            visit.deps.db, "bot.discount_customer", "select 1 from customers where id = $1", action.customer
        )
        is None
    ):
        await stale(visit, "unreadable")
        return

    async def deed(tx: Transaction) -> Change:
        await tx.execute("select from customers where id = $1 for no key update", action.customer)
        before = await discount_row(tx, action.customer)
        now = await tx.fetchval("select vpnd_now()")
        until = now + timedelta(days=action.days) if action.days else None
        if action.percent:
            await set_discount(
                tx, action.customer, action.percent, until=until, note=f"by {visit.actor.name}"
            )
        else:
            await remove_discount(tx, action.customer)
        after = {"percent": action.percent, "until": None if until is None else f"{until:%Y-%m-%d %H:%M}"}
        return Change(
            subject=f"customer:{action.customer}",
            before=None
            if before is None
            else {
                "percent": before.percent,
                "until": None if before.until is None else f"{before.until:%Y-%m-%d %H:%M}",
            },
            after=after if action.percent else None,
            detail="discount",
        )

    await deed_of(visit, deed, asked=action.asked)
    await _show_discounts(visit, preface=visit.speech.say("catalogue-done"))
