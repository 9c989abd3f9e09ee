"""Buttons of one's own subscriptions: the link and its picture, how it renews itself, another plan for the rest of it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from vpnd.bot import callbacks
from vpnd.bot.answers import not_theirs
from vpnd.bot.callbacks import Action
from vpnd.bot.connect import connect_info
from vpnd.bot.reading import Held, Portfolio
from vpnd.bot.screens import keeping, subscription
from vpnd.bot.show import send
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.plan_change import ChangeImpossible, PlanChange, change_plan, quote_change
from vpnd.shop.star_subscriptions import ask_to_cancel
from vpnd.shop.subscriptions import set_renewal
from vpnd.telegram.sender import Lane

_PLANS_SHOWN: Final = 10  # of those that a subscription can be changed to

# ------------------------------------------------------------------------------------------ what there is


async def show_subscriptions(visit: Visit, _action: Action) -> None:
    """The customer's subscriptions: the only one at once, else a choice."""
    own = await visit.portfolio()
    if not own.held:
        await visit.show(subscription.nothing(visit.speech))
    elif len(own.held) == 1:
        await show_one(visit, own, own.held[0])
    else:
        await visit.show(subscription.several(visit.speech, own.held, own.now))


async def show_subscription(visit: Visit, action: callbacks.OneSubscription) -> None:
    """One subscription with its link."""
    await show_again(visit, action.subscription)


async def show_again(visit: Visit, subscription_id: int, preface: str | None = None) -> None:
    """A subscription as it is now, after something about it may have changed. `preface` is HTML said before it."""
    own = await visit.portfolio()
    held = own.find(subscription_id)
    if held is None:
        await not_theirs(visit)
    else:
        await show_one(visit, own, held, preface)


async def show_one(visit: Visit, own: Portfolio, held: Held, preface: str | None = None) -> None:
    """One of a customer's subscriptions with its link, as it was read. `preface` is HTML said before it."""
    connect = await connect_info(visit.deps.nodes, held.subscription, visit.deps.public_url)
    others = len(own.held) > 1
    await visit.show(subscription.one(visit.speech, held, connect, own.now, others=others, preface=preface))


async def show_qr_code(visit: Visit, action: callbacks.QrCode) -> None:
    """The link as a picture, in a message of its own; in words if it cannot be drawn."""
    own = await visit.portfolio()
    held = own.find(action.subscription)
    if held is None:
        await not_theirs(visit)
        return
    if not held.subscription.active or held.subscription.expires_at <= own.now:
        await show_one(visit, own, held)
        return
    connect = await connect_info(visit.deps.nodes, held.subscription, visit.deps.public_url)
    if connect.best is None:
        await visit.show(subscription.one(visit.speech, held, connect, own.now, others=len(own.held) > 1))
        return
    drawn = await visit.deps.qr.draw(connect.best)
    make = subscription.qr_failed if drawn is None else subscription.qr_code
    await send(visit.deps.sender, Lane.REPLY, visit.chat_id, make(visit.speech, held, connect), visit.deps.qr)


# ------------------------------------------------------------------------------------------ how it renews itself


async def switch_renewal(visit: Visit, action: callbacks.Renewal) -> None:
    """Renew a subscription from the balance by itself, or do not; a second press changes nothing."""

    async def body(tx: Transaction) -> bool:
        return await set_renewal(tx, action.subscription, visit.customer.id, from_balance=bool(action.on))

    await visit.change("bot.renewal", body)
    await show_again(visit, action.subscription)


async def ask_to_stop_stars(visit: Visit, action: callbacks.StopStars) -> None:
    """Ask whether Telegram is to charge a subscription no more."""
    own = await visit.portfolio()
    held = own.find(action.subscription)
    if held is None:
        await not_theirs(visit)
    elif held.subscription.renews != "stars":
        await show_one(visit, own, held)
    else:
        await visit.show(keeping.stop_stars(visit.speech, held))


async def stop_stars(visit: Visit, action: callbacks.StopStarsNow) -> None:
    """Have Telegram charge a subscription no more; what was paid for stays on."""

    async def body(tx: Transaction) -> bool:
        return await ask_to_cancel(tx, action.subscription, visit.customer.id)

    await visit.change("bot.stop_stars", body)
    await show_again(visit, action.subscription)


# ------------------------------------------------------------------------------------------ another plan


async def _changeable(visit: Visit, subscription_id: int) -> tuple[Held, datetime] | None:
    """A subscription whose plan may be changed, and the business time; else the answer was given here."""
    own = await visit.portfolio()
    held = own.find(subscription_id)
    if held is None:
        await not_theirs(visit)
    elif not held.subscription.active or held.subscription.expires_at <= own.now:
        await show_one(visit, own, held)
    elif held.subscription.renews == "stars":
        # Telegram would go on charging the price of the old plan.
        await visit.show(keeping.no_change(visit.speech, subscription_id, "change-stars"))
    else:
        return held, own.now
    return None


async def _plans(visit: Visit) -> dict[str, str]:
    """The plans on sale and their titles."""
    offers = await visit.deps.catalogue.get()
    return {offer.plan_id: offer.title(visit.speech.language) for offer in offers}


async def _quote(visit: Visit, tx: Transaction, subscription_id: int, plan: str) -> PlanChange | None:
    """What a change would come to now; None if it is impossible."""
    try:
        return await quote_change(
            tx,
            subscription_id=subscription_id,
            customer_id=visit.customer.id,
            to_plan=plan,
            shop_currency=visit.deps.currency,
        )
    except ChangeImpossible:
        return None


async def show_other_plans(visit: Visit, action: callbacks.ChangePlan) -> None:
    """The plans that what is left can be changed to."""
    found = await _changeable(visit, action.subscription)
    if found is None:
        return
    held, now = found
    titles = await _plans(visit)
    others = [plan for plan in titles if plan != held.subscription.plan_id][:_PLANS_SHOWN]
    async with visit.deps.db.transaction("bot.quote_changes", read_only=True) as tx:
        quotes = [await _quote(visit, tx, action.subscription, plan) for plan in others]
    choices = [(titles[quote.to_plan], quote) for quote in quotes if quote is not None]
    await visit.show(keeping.other_plans(visit.speech, held, choices, now))


async def ask_to_change(visit: Visit, action: callbacks.ChangeTo) -> None:
    """What changing to a plan would come to, and the question whether to do it."""
    await _ask_to_change(visit, action.subscription, action.plan)


async def _ask_to_change(visit: Visit, subscription_id: int, plan: str, *, again: bool = False) -> None:
    found = await _changeable(visit, subscription_id)
    if found is None:
        return
    held, now = found
    async with visit.deps.db.transaction("bot.quote_change", read_only=True) as tx:
        change = await _quote(visit, tx, subscription_id, plan)
    title = (await _plans(visit)).get(plan)
    if change is None or title is None:
        await visit.show(keeping.no_change(visit.speech, subscription_id, "change-impossible"))
        return
    preface = visit.speech.say("change-again") if again else None
    await visit.show(keeping.confirm_change(visit.speech, held, title, change, now, preface=preface))


async def change(visit: Visit, action: callbacks.ChangeNow) -> None:
    """Change the plan, at the rate that was shown or not at all."""
    if await _changeable(visit, action.subscription) is None:
        return

    async def body(tx: Transaction) -> None:
        done = await change_plan(
            tx,
            subscription_id=action.subscription,
            customer_id=visit.customer.id,
            to_plan=action.plan,
            shop_currency=visit.deps.currency,
            request_key=visit.request_key,
        )
        if done is not None and keeping.rate_of(done) != action.rate:
            raise _RateChanged  # what was just written is rolled back

    try:
        await visit.change("bot.change_plan", body)
    except _RateChanged:
        await _ask_to_change(visit, action.subscription, action.plan, again=True)
    except ChangeImpossible:  # most often a second press
        await show_again(visit, action.subscription)
    else:
        await show_again(visit, action.subscription)


class _RateChanged(Exception):
    """Prices were changed since the customer was asked."""
