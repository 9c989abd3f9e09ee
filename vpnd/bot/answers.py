"""What is answered when a press means nothing any more, or nothing to the one who pressed: kindly, with a way on."""

from __future__ import annotations

from vpnd.bot.counters import stale_presses_total
from vpnd.bot.screens import desk, from_operator
from vpnd.bot.screens.trouble import not_on_sale, shop_paused
from vpnd.bot.visit import Visit
from vpnd.shop.operators import NotAllowed


async def stale(visit: Visit, reason: str) -> None:
    """Say kindly that a button is out of date, with the present menu."""
    stale_presses_total.labels(reason).inc()
    await visit.show_menu(visit.speech.say("stale"))


async def not_theirs(visit: Visit) -> None:
    """Answer for a thing that does not exist for this customer, whether or not it does for another."""
    stale_presses_total.labels("not_theirs").inc()
    await visit.show_menu(visit.speech.say("not-yours"))


async def off_sale(visit: Visit) -> None:
    """Say that an offer is gone, with the way to the present ones."""
    stale_presses_total.labels("not_on_sale").inc()
    await visit.show(not_on_sale(visit.speech))


async def paused(visit: Visit) -> None:
    """Say that nothing is sold for the moment."""
    await visit.show(shop_paused(visit.speech, visit.deps.banner))


async def shut_out(visit: Visit) -> None:
    """Say to somebody who is blocked that he is: one line, and nothing to press."""
    await visit.show(from_operator.blocked(visit.speech, visit.deps.support))


async def not_allowed(visit: Visit, error: NotAllowed) -> None:
    """Say to an operator that his role does not allow it; to everybody else there is no such thing."""
    if error.role is None:
        await not_theirs(visit)
        return
    await visit.show(desk.refused(visit.speech, error.role, error.permission))


async def done_already(visit: Visit) -> None:
    """Say that this question was answered before: a second press changes nothing."""
    await visit.show(desk.done_already(visit.speech))
