"""Buttons that buy: plan, period, way to pay, pay. Each checks that what it names is on sale and belongs to who pressed."""

from __future__ import annotations

from vpnd.bot import callbacks, ordering
from vpnd.bot.answers import not_theirs, off_sale, paused
from vpnd.bot.callbacks import Action
from vpnd.bot.reading import Purse, purse_of
from vpnd.bot.screens import plans, promo, trouble
from vpnd.bot.visit import Visit
from vpnd.bot.ways import Target, Way, can_repeat, way_named, ways_to_pay
from vpnd.database.scope import Transaction
from vpnd.shop.opening import OfferUnavailable, ShopPaused
from vpnd.shop.plans import Offer
from vpnd.shop.promos import PromoUnavailable, forget_code


async def show_plans(visit: Visit, _action: Action) -> None:
    """The plans on sale."""
    offers = await visit.deps.catalogue.get()
    banner = trouble.banner(visit.speech, visit.deps.banner)
    await visit.show(
        plans.plans(visit.speech, offers, visit.deps.currency, preface=banner, terms_url=visit.deps.terms_url)
    )


async def show_named_plan(visit: Visit, plan: str) -> None:
    """The periods of a plan that somebody was sent a link to; all plans, if it is not on sale."""
    offers = await visit.deps.catalogue.get()
    if any(offer.plan_id == plan for offer in offers):
        await visit.show(plans.periods(visit.speech, plan, offers, visit.deps.currency))
    else:
        banner = trouble.banner(visit.speech, visit.deps.banner)
        await visit.show(
            plans.plans(
                visit.speech, offers, visit.deps.currency, preface=banner, terms_url=visit.deps.terms_url
            )
        )


async def show_periods(visit: Visit, action: callbacks.Periods) -> None:
    """The periods of a plan, to buy it or to prolong a subscription."""
    renews = 0
    if action.renews:
        held = (await visit.portfolio()).find(action.renews)
        if held is None:
            await not_theirs(visit)
            return
        # A subscription is prolonged in its own plan; a button that names another is out of date.
        renews = held.subscription.id if held.subscription.plan_id == action.plan else 0
    await _show_periods(visit, action.plan, Target(renews))


async def show_more_periods(visit: Visit, action: callbacks.MorePeriods) -> None:
    """The periods of a plan, for one more subscription."""
    await _show_periods(visit, action.plan, Target(fresh=True))


async def _show_periods(visit: Visit, plan: str, target: Target) -> None:
    offers = await visit.deps.catalogue.get()
    if any(offer.plan_id == plan for offer in offers):
        await visit.show(plans.periods(visit.speech, plan, offers, visit.deps.currency, target))
    else:
        await off_sale(visit)


async def show_methods(visit: Visit, action: callbacks.Methods) -> None:
    """The ways to pay for an offer."""
    if action.renews and (await visit.portfolio()).find(action.renews) is None:
        await not_theirs(visit)
    else:
        await _show_methods(visit, action.offer, Target(action.renews))


async def show_more_methods(visit: Visit, action: callbacks.MoreMethods) -> None:
    """The ways to pay for one more subscription."""
    await _show_methods(visit, action.offer, Target(fresh=True))


async def _offer(visit: Visit, offer_id: int) -> Offer | None:
    offers = await visit.deps.catalogue.get()
    return next((offer for offer in offers if offer.offer_id == offer_id), None)


async def _show_methods(visit: Visit, offer_id: int, target: Target, *, preface: str | None = None) -> None:
    deps = visit.deps
    offer = await _offer(visit, offer_id)
    if offer is None:
        await off_sale(visit)
        return
    purse: Purse = await purse_of(deps.db, visit.customer.id, deps.currency)
    ways = ways_to_pay(offer, deps.terms, deps.currency, purse.percent, monthly=deps.star_subscriptions)
    await visit.show(
        plans.methods(
            visit.speech,
            offer,
            ways,
            purse,
            deps.currency,
            target,
            preface=preface,
            terms_url=deps.terms_url,
        )
    )


async def pay(visit: Visit, action: callbacks.Pay) -> None:
    """Open the purchase, or find the one that is open, and show how to pay it."""
    if action.renews and (await visit.portfolio()).find(action.renews) is None:
        await not_theirs(visit)
    else:
        await _pay(visit, action.method, action.offer, Target(action.renews))


async def pay_for_more(visit: Visit, action: callbacks.MorePay) -> None:
    """The same for one more subscription."""
    await _pay(visit, action.method, action.offer, Target(fresh=True))


async def _pay(visit: Visit, word: str, offer_id: int, target: Target) -> None:
    way = way_named(word, visit.deps.terms, monthly=visit.deps.star_subscriptions)
    if way is None or not await _may_repeat(visit, way, offer_id):
        await off_sale(visit)
        return
    try:
        opened = await ordering.open_access(visit, way, offer_id, target)
    except ShopPaused:
        await paused(visit)
    except OfferUnavailable:
        await off_sale(visit)
    except PromoUnavailable as unavailable:
        await _buy_without_code(visit, offer_id, target, unavailable)
    else:
        await ordering.present(visit, opened, target.pay(word, offer_id))


async def _may_repeat(visit: Visit, way: Way, offer_id: int) -> bool:
    """Whether Telegram can charge an offer by itself; always true of a way that it does not."""
    if not way.monthly:
        return True
    offer = await _offer(visit, offer_id)
    return offer is not None and can_repeat(offer, way.terms)


async def _buy_without_code(
    visit: Visit, offer_id: int, target: Target, unavailable: PromoUnavailable
) -> None:
    """Forget a code that cannot be used any more, and show the prices anew: nothing is bought at one he has not seen."""

    async def body(tx: Transaction) -> bool:
        return await forget_code(tx, visit.customer.id)

    await visit.deps.db.run("bot.forget_code", body)
    preface = promo.why_not(visit.speech, unavailable.reason)
    await _show_methods(visit, offer_id, target, preface=preface)


async def pay_from_balance(visit: Visit, action: callbacks.PayFromBalance) -> None:
    """Take the price of a purchase from the balance."""
    if not await ordering.pay_from_balance(visit, action.purchase):
        await not_theirs(visit)


async def complete(visit: Visit, action: callbacks.Complete) -> None:
    """Pay what is missing of a purchase."""
    if not await ordering.complete(visit, action.purchase):
        await not_theirs(visit)


async def check_paid(visit: Visit, action: callbacks.Paid) -> None:
    """How a payment stands."""
    if not await ordering.show_standing(visit, action.purchase):
        await not_theirs(visit)


async def invoice_again(visit: Visit, action: callbacks.InvoiceAgain) -> None:
    """Send a Stars invoice once more."""
    if not await ordering.send_invoice_again(visit, action.purchase):
        await not_theirs(visit)
