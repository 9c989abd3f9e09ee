"""What each button does. Every one of them checks that what it names belongs to whoever pressed it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from vpnd.bot import callbacks, ordering
from vpnd.bot.callbacks import Action
from vpnd.bot.connect import connect_info
from vpnd.bot.counters import stale_presses_total
from vpnd.bot.reading import Held, Portfolio, guests_of
from vpnd.bot.screens import help as help_screens
from vpnd.bot.screens import home, plans, subscription
from vpnd.bot.screens.trouble import not_on_sale
from vpnd.bot.show import send
from vpnd.bot.speech import Speech
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.customers import set_language
from vpnd.shop.plans import offers_on_sale
from vpnd.telegram.sender import Lane


async def stale(visit: Visit, reason: str) -> None:
    """Say kindly that a button is out of date, with the present menu."""
    stale_presses_total.labels(reason).inc()
    await visit.show_menu(visit.speech.say("stale"))


async def not_theirs(visit: Visit) -> None:
    """Answer for a thing that does not exist for this customer, whether or not it does for another."""
    stale_presses_total.labels("not_theirs").inc()
    await visit.show_menu(visit.speech.say("not-yours"))


async def show_home(visit: Visit, _action: Action) -> None:
    """The menu."""
    await visit.show_menu()


async def show_plans(visit: Visit, _action: Action) -> None:
    """The plans on sale."""
    offers = await offers_on_sale(visit.deps.db)
    await visit.show(plans.plans(visit.speech, offers, visit.deps.currency))


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
    offers = await offers_on_sale(visit.deps.db)
    if not any(offer.plan_id == action.plan for offer in offers):
        await off_sale(visit)
        return
    await visit.show(plans.periods(visit.speech, action.plan, offers, visit.deps.currency, renews))


async def show_methods(visit: Visit, action: callbacks.Methods) -> None:
    """The ways to pay for an offer."""
    if action.renews and (await visit.portfolio()).find(action.renews) is None:
        await not_theirs(visit)
        return
    offers = await offers_on_sale(visit.deps.db)
    offer = next((offer for offer in offers if offer.offer_id == action.offer), None)
    if offer is None:
        await off_sale(visit)
        return
    screen = plans.methods(visit.speech, offer, visit.deps.currency, visit.deps.methods, action.renews)
    await visit.show(screen)


async def off_sale(visit: Visit) -> None:
    """Say that an offer is gone, with the way to the present ones."""
    stale_presses_total.labels("not_on_sale").inc()
    await visit.show(not_on_sale(visit.speech))


async def pay(visit: Visit, action: callbacks.Pay) -> None:
    """Open the purchase, or find the one that is open, and show how to pay it."""
    if action.renews and (await visit.portfolio()).find(action.renews) is None:
        await not_theirs(visit)
    elif not await ordering.pay(visit, action):
        await off_sale(visit)


async def check_paid(visit: Visit, action: callbacks.Paid) -> None:
    """How a payment stands."""
    if not await ordering.show_standing(visit, action.purchase):
        await not_theirs(visit)


async def invoice_again(visit: Visit, action: callbacks.InvoiceAgain) -> None:
    """Send a Stars invoice once more."""
    if not await ordering.send_invoice_again(visit, action.purchase):
        await not_theirs(visit)


async def show_subscriptions(visit: Visit, _action: Action) -> None:
    """The customer's subscriptions: the only one at once, else a choice."""
    own = await visit.portfolio()
    if not own.held:
        await visit.show(subscription.nothing(visit.speech))
    elif len(own.held) == 1:
        await _show_one(visit, own, own.held[0])
    else:
        await visit.show(subscription.several(visit.speech, own.held, own.now))


async def show_subscription(visit: Visit, action: callbacks.OneSubscription) -> None:
    """One subscription with its link."""
    own = await visit.portfolio()
    held = own.find(action.subscription)
    if held is None:
        await not_theirs(visit)
    else:
        await _show_one(visit, own, held)


async def _show_one(visit: Visit, own: Portfolio, held: Held) -> None:
    connect = await connect_info(visit.deps.db, held.subscription, visit.deps.public_url)
    await visit.show(subscription.one(visit.speech, held, connect, own.now, others=len(own.held) > 1))


async def show_qr_code(visit: Visit, action: callbacks.QrCode) -> None:
    """The link as a picture, in a message of its own; in words if it cannot be drawn."""
    own = await visit.portfolio()
    held = own.find(action.subscription)
    if held is None:
        await not_theirs(visit)
        return
    if not held.subscription.active or held.subscription.expires_at <= own.now:
        await _show_one(visit, own, held)
        return
    connect = await connect_info(visit.deps.db, held.subscription, visit.deps.public_url)
    if connect.best is None:
        await visit.show(subscription.one(visit.speech, held, connect, own.now, others=len(own.held) > 1))
        return
    drawn = await visit.deps.qr.draw(connect.best)
    make = subscription.qr_failed if drawn is None else subscription.qr_code
    await send(visit.deps.sender, Lane.REPLY, visit.chat_id, make(visit.speech, held, connect), visit.deps.qr)


async def show_help(visit: Visit, _action: Action) -> None:
    """The choice of a platform."""
    await visit.show(help_screens.overview(visit.speech, visit.deps.support))


async def show_help_for(visit: Visit, action: callbacks.HelpFor) -> None:
    """The steps on one platform."""
    screen = help_screens.platform(visit.speech, action.platform, visit.deps.support)
    if screen is None:
        await stale(visit, "unreadable")
    else:
        await visit.show(screen)


async def show_languages(visit: Visit, _action: Action) -> None:
    """The choice of a language."""
    await visit.show(home.languages(visit.speech, visit.deps.texts))


async def choose_language(visit: Visit, action: callbacks.SetLanguage) -> None:
    """Speak another language, beginning with the menu."""
    texts = visit.deps.texts
    if action.language not in texts.languages:
        await stale(visit, "unreadable")
        return

    async def body(tx: Transaction) -> bool:
        return await set_language(tx, visit.customer.telegram_id, action.language)

    await visit.deps.db.run("bot.language", body)
    own = await visit.portfolio()
    screen = home.home(Speech(texts, action.language), visit.customer.first_name, own.foremost, own.now)
    await visit.show(screen)


async def show_invite(visit: Visit, _action: Action) -> None:
    """The customer's own link for friends."""
    guests = await guests_of(visit.deps.db, visit.customer.id)
    username = visit.deps.sender.bot.username
    await visit.show(home.invite(visit.speech, username, visit.customer.referral_code, guests))


Handler = Callable[[Visit, Any], Awaitable[None]]
HANDLERS: Final[dict[type[Action], Handler]] = {
    callbacks.Home: show_home,
    callbacks.Plans: show_plans,
    callbacks.Periods: show_periods,
    callbacks.Methods: show_methods,
    callbacks.Pay: pay,
    callbacks.Paid: check_paid,
    callbacks.InvoiceAgain: invoice_again,
    callbacks.Subscriptions: show_subscriptions,
    callbacks.OneSubscription: show_subscription,
    callbacks.QrCode: show_qr_code,
    callbacks.Help: show_help,
    callbacks.HelpFor: show_help_for,
    callbacks.Languages: show_languages,
    callbacks.SetLanguage: choose_language,
    callbacks.Invite: show_invite,
}
