"""What operators do about alerts: in their group, where the answer to the press says what came of it, and in private."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from vpnd.bot.alert_callbacks import (
    Acknowledge,
    AlertList,
    CloseAlert,
    MuteAlert,
    OneAlert,
    ResumeAlerts,
)
from vpnd.bot.alert_posts import show_again
from vpnd.bot.answers import stale
from vpnd.bot.button_data import Action
from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.screens import alert_board
from vpnd.bot.speech import Speech
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.alert_groups import group_of, put_posts
from vpnd.shop.alerts import (
    HOURS,
    NoSuchAlert,
    acknowledge,
    alert_by_id,
    close_alert,
    kind_number,
    list_mutes,
    mute_alert,
    open_alerts,
    resume_kind,
)
from vpnd.shop.audit_log import AlreadyDone, Change, perform
from vpnd.shop.operators import Actor, NotAllowed, Permission, actor_of
from vpnd.shop.source import Source
from vpnd.telegram.press import Press

__all__ = ["PRESSES", "on_group_press"]

_Deed = Callable[[Transaction], Awaitable[Change]]
#: What can be pressed below an alert in the group.
_IN_GROUP: Final = (Acknowledge, MuteAlert, ResumeAlerts, CloseAlert)


async def _deed(
    deps: BotDependencies, source: Source, action: Action, actor: Actor, key: str
) -> _Deed | None:
    """What a button does; None for one that means nothing (any more)."""
    if isinstance(action, Acknowledge):
        seen = action.alert
        return lambda tx: acknowledge(tx, seen, by=actor.name)
    if isinstance(action, CloseAlert):
        done = action.alert
        return lambda tx: close_alert(tx, done, by=actor.name)
    if isinstance(action, MuteAlert) and action.hours in HOURS:
        alert, hours = action.alert, action.hours
        return lambda tx: mute_alert(tx, alert, hours, by=actor.name)
    if isinstance(action, ResumeAlerts):
        kinds = [mute.kind for mute in await list_mutes(source) if kind_number(mute.kind) == action.kind]
        if kinds:

            async def resume(tx: Transaction) -> Change:
                change, ids = await resume_kind(tx, kinds[0])
                # What goes on is told again, and its message shows that it is no longer muted.
                if deps.alerts.chat is not None:
                    await put_posts(tx, deps.alerts.chat, ids, key)
                return change

            return resume
    return None


def _alert_of(action: Action) -> int | None:
    return getattr(action, "alert", None)


_SAID: Final[dict[type[Action], str]] = {
    Acknowledge: "seen",
    MuteAlert: "muted",
    ResumeAlerts: "resumed",
    CloseAlert: "closed",
}


# ------------------------------------------------------------------------------------------ in the group


async def on_group_press(
    deps: BotDependencies, press: Press, action: Action | None, chat_id: int
) -> tuple[str | None, int | None]:
    """Do what was pressed in a group; returns what the press is answered with (None: nothing), and the alert to show again.

    Only in the group that alerts are posted to, only what stands below an alert, and only for an operator who may: his role is
    asked for in the transaction that does it. Everybody else is refused by the answer alone, which nobody but he sees.
    """
    configured = deps.alerts.chat
    if configured is None or not isinstance(action, _IN_GROUP):
        return None, None
    if (await group_of(deps.db, configured)).chat_id != chat_id:
        return None, None
    speech = Speech(deps.texts, deps.texts.pick(press.person.language))
    actor = await actor_of(deps.db, press.person.id, deps.admins)
    key = f"update:{press.update_id}"
    if not actor.may(Permission.ALERTS):
        return speech.label("alert-not-yours"), None
    deed = await _deed(deps, deps.db, action, actor, key)
    if deed is None:
        return speech.label("alert-gone"), None
    chosen = deed

    async def body(tx: Transaction) -> Change:
        return await perform(tx, actor, Permission.ALERTS, chosen, request_key=key)

    try:
        await deps.db.run("bot.alert", body)
    except NotAllowed:
        return speech.label("alert-not-yours"), None
    except NoSuchAlert:
        return speech.label("alert-gone"), None
    except AlreadyDone:
        pass  # this very press was done, and its answer may not have arrived
    deps.wake_all()
    return speech.label("alert-done", what=_SAID[type(action)]), _alert_of(action)


# ------------------------------------------------------------------------------------------ in private


async def show_alerts(visit: Visit, _action: AlertList) -> None:
    """What is open, and what is muted."""
    await _show_alerts(visit)


async def _show_alerts(visit: Visit, preface: str | None = None) -> None:
    deps = visit.deps
    found = await open_alerts(deps.db, alert_board.SHOWN)
    mutes = await list_mutes(deps.db)
    chat = deps.alerts.chat
    lost = {} if chat is None else (await group_of(deps.db, chat)).lost
    await visit.show(alert_board.board(visit.speech, found, mutes, lost, preface=preface))


async def show_alert(visit: Visit, action: OneAlert) -> None:
    """One alert."""
    await _show_alert(visit, action.alert)


async def _show_alert(visit: Visit, alert_id: int, preface: str | None = None) -> None:
    alert = await alert_by_id(visit.deps.db, alert_id)
    if alert is None:
        await stale(visit, "unreadable")
    else:
        await visit.show(alert_board.in_private(visit.speech, alert, preface=preface))


async def act(visit: Visit, action: Action) -> None:
    """Do what a button below an alert says, and show the alert, here and in the group."""
    deed = await _deed(visit.deps, visit.deps.db, action, visit.actor, visit.request_key)
    if deed is None:
        await stale(visit, "unreadable")
        return
    try:
        await visit.perform("bot.alert", Permission.ALERTS, deed)
    except NoSuchAlert:
        await stale(visit, "unreadable")
        return
    said = visit.speech.say("alerts-done", what=_SAID[type(action)])
    alert_id = _alert_of(action)
    if alert_id is None:
        await _show_alerts(visit, said)
        return
    await _show_alert(visit, alert_id, said)
    await show_again(visit.deps, alert_id)


#: The buttons of alerts, with what an operator needs to press them.
PRESSES: Final[dict[type[Action], tuple[Permission, Callable[[Visit, Any], Awaitable[None]]]]] = {
    AlertList: (Permission.ALERTS, show_alerts),
    OneAlert: (Permission.ALERTS, show_alert),
    Acknowledge: (Permission.ALERTS, act),
    MuteAlert: (Permission.ALERTS, act),
    ResumeAlerts: (Permission.ALERTS, act),
    CloseAlert: (Permission.ALERTS, act),
}
