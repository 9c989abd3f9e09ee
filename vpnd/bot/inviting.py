"""Buttons of the invitation: the customer's own link for friends, in words and as a picture, and how he stands as a host."""

from __future__ import annotations

from vpnd.bot.callbacks import Action
from vpnd.bot.screens import home
from vpnd.bot.show import send
from vpnd.bot.visit import Visit
from vpnd.shop.referrals import standing_of
from vpnd.telegram.sender import Lane


def _link(visit: Visit) -> str:
    return home.invite_link(visit.deps.sender.bot.username, visit.customer.referral_code)


async def show_invite(visit: Visit, _action: Action) -> None:
    """The customer's own link for friends, and how he stands as a host."""
    deps = visit.deps
    standing = await standing_of(deps.db, visit.customer.id, deps.currency)
    await visit.show(home.invite(visit.speech, _link(visit), standing, deps.currency))


async def show_qr_code(visit: Visit, _action: Action) -> None:
    """The link as a picture with the link below it, in a message of its own; the link alone if it cannot be drawn."""
    deps = visit.deps
    await send(deps.sender, Lane.REPLY, visit.chat_id, home.invite_qr(visit.speech, _link(visit)), deps.qr)
