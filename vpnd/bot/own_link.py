"""Buttons that give a subscription a name of its owner's, and a new link in place of one that others know."""

from __future__ import annotations

from vpnd.bot import own_callbacks
from vpnd.bot.answers import not_theirs
from vpnd.bot.keeping import show_again, show_one
from vpnd.bot.reading import Held, Portfolio
from vpnd.bot.screens import own_link
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.rotation import Rotated, RotationImpossible, RotationTooSoon, rotate_link
from vpnd.shop.subscriptions import SubscriptionNotFound
from vpnd.shop.titles import LONGEST, clean_title, set_title, title_what_was_asked_about

# ------------------------------------------------------------------------------------------ its name


async def ask_for_name(visit: Visit, action: own_callbacks.Rename) -> None:
    """Ask for a name in words."""
    held = (await visit.portfolio()).find(action.subscription)
    if held is None:
        await not_theirs(visit)
        return
    await visit.expect("subscription_title", about=action.subscription)
    await visit.show(own_link.ask_for_name(visit.speech, held))


async def read_words(visit: Visit, text: str) -> None:
    """Take what was written for the name; nothing that can be seen takes the name away, and too much is asked for again."""
    title = clean_title(text)
    if len(title) > LONGEST:
        await _ask_again(visit)
        return

    async def body(tx: Transaction) -> int | None:
        return await title_what_was_asked_about(tx, visit.customer.id, title or None)

    subscription_id = await visit.deps.db.run("bot.rename", body)
    if subscription_id is None:
        await not_theirs(visit)
    else:
        await show_again(visit, subscription_id)
    # After the answer: an update that is played again understands the words once more.
    await visit.expect_nothing()


async def _ask_again(visit: Visit) -> None:
    sql = "select expects_about from customers where id = $1"
    about = await visit.deps.db.fetchval("bot.expected_about", sql, visit.customer.id)
    held = None if about is None else (await visit.portfolio()).find(about)
    if held is None:
        await not_theirs(visit)
    else:
        await visit.show(own_link.ask_for_name(visit.speech, held, too_long=True))


async def take_name_away(visit: Visit, action: own_callbacks.Unname) -> None:
    """Call it by its plan again; a second press changes nothing."""

    async def body(tx: Transaction) -> bool:
        return await set_title(tx, action.subscription, visit.customer.id, None)

    await visit.deps.db.run("bot.unname", body)
    await show_again(visit, action.subscription)


# ------------------------------------------------------------------------------------------ its link


async def _own(visit: Visit, subscription_id: int) -> tuple[Portfolio, Held] | None:
    """A subscription of the customer's that is on; else the answer was given here."""
    own = await visit.portfolio()
    held = own.find(subscription_id)
    if held is None:
        await not_theirs(visit)
    elif not held.subscription.active or held.subscription.expires_at <= own.now:
        await show_one(visit, own, held)
    else:
        return own, held
    return None


async def ask_to_rotate(visit: Visit, action: own_callbacks.Rotate) -> None:
    """Ask whether the link is to be made anew."""
    found = await _own(visit, action.subscription)
    if found is not None:
        await visit.show(own_link.confirm_rotation(visit.speech, found[1]))


async def rotate(visit: Visit, action: own_callbacks.RotateNow) -> None:
    """Make the link anew, once an update; nodes are told at once."""

    async def body(tx: Transaction) -> Rotated:
        return await rotate_link(
            tx,
            subscription_id=action.subscription,
            customer_id=visit.customer.id,
            request_key=visit.request_key,
        )

    try:
        await visit.change("bot.rotate", body)
    except SubscriptionNotFound:
        await not_theirs(visit)
    except RotationImpossible:
        await show_again(visit, action.subscription)
    except RotationTooSoon as too_soon:
        found = await _own(visit, action.subscription)
        if found is not None:
            await visit.show(own_link.rotated_before(visit.speech, found[1], too_soon.wait))
    else:
        await show_again(visit, action.subscription, own_link.rotated(visit.speech))
