"""Buttons by which a customer has deleted what the shop knows of him."""

from __future__ import annotations

from typing import Final

from vpnd.bot import own_callbacks
from vpnd.bot.callbacks import Action
from vpnd.bot.reading import business_now
from vpnd.bot.screens import my_data
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.erasure import Erased, erase, holdings

#: Seconds for which a yes is an answer to the question above it; an older button asks again.
ANSWER_WITHIN: Final = 900


async def show_my_data(visit: Visit, _action: Action) -> None:
    """What is known, and that it can be deleted."""
    await visit.show(my_data.overview(visit.speech, visit.deps.support))


async def ask_to_forget(visit: Visit, _action: Action) -> None:
    """Ask, with what there is to lose."""
    await _ask(visit)


async def _ask(visit: Visit, preface: str | None = None) -> None:
    currency = visit.deps.currency
    there_is = await holdings(visit.deps.db, visit.customer.id, currency)
    await visit.show(my_data.confirm(visit.speech, there_is, currency, preface=preface))


async def forget(visit: Visit, action: own_callbacks.ForgetMeNow) -> None:
    """Delete it, once an update, and say so; nodes and Telegram are told at once."""
    asked_ago = my_data.seconds_of(await business_now(visit.deps.db)) - action.asked
    if not 0 <= asked_ago <= ANSWER_WITHIN:
        await _ask(visit, my_data.too_late(visit.speech))
        return

    async def body(tx: Transaction) -> Erased:
        return await erase(
            tx,
            customer_id=visit.customer.id,
            request_key=visit.request_key,
            language=visit.deps.texts.default,
        )

    await visit.change("bot.erase", body)
    await visit.show(my_data.done(visit.speech))
