"""Promo codes: asked for by a button, written after a command, or carried by a link."""

from __future__ import annotations

from vpnd.bot.callbacks import Action
from vpnd.bot.reading import purse_of
from vpnd.bot.screens import promo
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.promos import Entered, PromoUnavailable, enter_code, forget_code


async def ask_for_code(visit: Visit, _action: Action) -> None:
    """Ask for a code in words."""
    await visit.expect("promo_code")
    await visit.show(
        promo.ask(visit.speech, await purse_of(visit.deps.db, visit.customer.id, visit.deps.currency))
    )


async def read_words(visit: Visit, text: str) -> None:
    """Take what was written for the code; one that cannot be used may be followed by another."""
    if await enter(visit, text):
        # After the answer: an update that is played again understands the words once more.
        await visit.expect_nothing()


async def enter(visit: Visit, text: str) -> bool:
    """Take a code and say what it gives. False if it cannot be used."""

    async def body(tx: Transaction) -> Entered:
        return await enter_code(tx, customer_id=visit.customer.id, text=text, request_key=visit.request_key)

    try:
        entered = await visit.change("bot.promo", body)
    except PromoUnavailable as error:
        await visit.show(promo.unavailable(visit.speech, error.reason))
        return False
    await visit.show(promo.entered(visit.speech, entered))
    return True


async def forget(visit: Visit, _action: Action) -> None:
    """Take the code back that waits for the next purchase."""

    async def body(tx: Transaction) -> bool:
        return await forget_code(tx, visit.customer.id)

    await visit.deps.db.run("bot.forget_code", body)
    await visit.show(promo.forgotten(visit.speech))
