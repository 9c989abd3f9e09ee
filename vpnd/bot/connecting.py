"""Buttons that bring a device to work: platform, app, and what may be wrong if it does not."""

from __future__ import annotations

from vpnd.bot import callbacks, own_callbacks
from vpnd.bot.answers import not_theirs, stale
from vpnd.bot.apps import app_named
from vpnd.bot.callbacks import Action
from vpnd.bot.connect import ConnectInfo, connect_info
from vpnd.bot.keeping import show_one
from vpnd.bot.reading import Held, Portfolio
from vpnd.bot.screens import connecting, diagnosis
from vpnd.bot.screens import help as help_screens
from vpnd.bot.visit import Visit
from vpnd.shop.diagnosis import diagnose


def _chosen(own: Portfolio, subscription_id: int) -> Held | None:
    """The subscription that a button names; 0: the one that is on and lasts longest, else the one that ended last."""
    return own.find(subscription_id) if subscription_id else next(iter(own.held), None)


def _is_on(own: Portfolio, held: Held) -> bool:
    return held.subscription.active and held.subscription.expires_at > own.now


async def show_help(visit: Visit, _action: Action) -> None:
    """The choice of a platform, and what helps otherwise."""
    await visit.show(help_screens.overview(visit.speech, visit.deps.support, visit.deps.terms_url))


async def show_platforms(visit: Visit, action: own_callbacks.Connect) -> None:
    """The choice of a platform, for a subscription."""
    own = await visit.portfolio()
    held = _chosen(own, action.subscription)
    if held is None and action.subscription:
        await not_theirs(visit)
    elif held is None:
        await show_help(visit, action)
    elif not _is_on(own, held):
        await show_one(visit, own, held)
    else:
        await visit.show(connecting.platforms(visit.speech, held))


async def show_steps(visit: Visit, action: own_callbacks.ConnectBy) -> None:
    """How to connect by an app; without a subscription that is on, how it will be."""
    await _show_steps(visit, action.app, action.subscription)


async def show_platform(visit: Visit, action: callbacks.HelpFor) -> None:
    """How to connect on a platform, by the app that is recommended there."""
    await _show_steps(visit, action.platform, 0)


async def _show_steps(visit: Visit, word: str, subscription_id: int) -> None:
    app = app_named(word)
    if app is None:
        await stale(visit, "unreadable")
        return
    own = await visit.portfolio()
    held = _chosen(own, subscription_id)
    if held is None and subscription_id:
        await not_theirs(visit)
    elif held is not None and not _is_on(own, held) and subscription_id:
        await show_one(visit, own, held)
    elif held is None or not _is_on(own, held):
        await visit.show(connecting.steps(visit.speech, app, None, ConnectInfo()))
    else:
        connect = await connect_info(visit.deps.nodes, held.subscription, visit.deps.public_url)
        await visit.show(connecting.steps(visit.speech, app, held, connect))


async def say_it_works(visit: Visit, _action: Action) -> None:
    """A kind end."""
    await visit.show(connecting.works(visit.speech))


async def find_out(visit: Visit, action: own_callbacks.DoesNotWork) -> None:
    """What the shop can see of the reasons, and the next step."""
    deps = visit.deps
    held = _chosen(await visit.portfolio(), action.subscription)
    found = None if held is None else await diagnose(deps.db, held.subscription.id, visit.customer.id)
    if held is not None and found is not None:
        await visit.show(diagnosis.diagnosis(visit.speech, held, found, deps.banner, deps.support))
    elif action.subscription:
        await not_theirs(visit)
    else:
        await visit.show(diagnosis.nothing_to_look_at(visit.speech, deps.support))
