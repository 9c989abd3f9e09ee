"""For operators: `/status`, `/banner`, and the buttons that pause and resume."""

from __future__ import annotations

from typing import Final

from vpnd.bot.admin_callbacks import PauseAsk, PauseNow, Resume
from vpnd.bot.answers import stale
from vpnd.bot.callbacks import Action
from vpnd.bot.screens import status, switches
from vpnd.bot.visit import Visit
from vpnd.database.errors import DatabaseError
from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.shop.audit_log import Change
from vpnd.shop.operators import Permission
from vpnd.shop.switches import UnknownSwitch, set_banner, set_switch

log = get_journal("bot")

_OFF: Final = "off"


async def show_status(visit: Visit, _words: str = "") -> None:
    """`/status`: the daemon at a glance."""
    document = await visit.deps.picture()
    await visit.show(status.status(visit.speech, document, visit.deps.switches.snapshot))


async def write_banner(visit: Visit, words: str) -> None:
    """`/banner text` shows a banner on the first screen and the plans, `/banner off` takes it away."""
    if not words:
        await _show_switches(visit)
    else:
        await _set_banner(visit, None if words.lower() == _OFF else words)


async def press_status(visit: Visit, _action: Action) -> None:
    """The same by a button."""
    await show_status(visit)


async def show_switches(visit: Visit, _action: Action) -> None:
    """What can be paused."""
    await _refresh(visit)
    await _show_switches(visit)


async def ask_to_pause(visit: Visit, action: PauseAsk) -> None:
    """Ask whether it is to pause."""
    if action.name in visit.deps.switches.snapshot.switches:
        await visit.show(switches.confirm(visit.speech, action.name))
    else:
        await stale(visit, "unreadable")


async def pause(visit: Visit, action: PauseNow) -> None:
    """Pause a worker, the sale or the trial."""
    await _switch(visit, action.name, paused=True)


async def resume(visit: Visit, action: Resume) -> None:
    """End a pause."""
    await _switch(visit, action.name, paused=False)


async def take_banner_away(visit: Visit, _action: Action) -> None:
    """Take the banner away by a button."""
    await _set_banner(visit, None)


async def _switch(visit: Visit, name: str, *, paused: bool) -> None:
    changed = False

    async def deed(tx: Transaction) -> Change:
        nonlocal changed
        changed = await set_switch(tx, name, paused=paused, by=visit.actor.name)
        return Change(subject=f"switch:{name}", before={"paused": paused ^ changed}, after={"paused": paused})

    try:
        await visit.perform("bot.switch", Permission.SWITCH, deed)
    except UnknownSwitch:
        await stale(visit, "unreadable")
        return
    await _refresh(visit)
    said = "paused" if paused else "resumed"
    preface = visit.speech.say("switch-done", name=name, said=said if changed else f"{said}-before")
    await _show_switches(visit, preface)


async def _set_banner(visit: Visit, text: str | None) -> None:
    changed = False

    async def deed(tx: Transaction) -> Change:
        nonlocal changed
        changed = await set_banner(tx, text, by=visit.actor.name)
        return Change(subject="banner", after={"text": text})

    await visit.perform("bot.banner", Permission.SWITCH, deed)
    await _refresh(visit)
    said = "none" if not changed else "gone" if text is None else "shown"
    await _show_switches(visit, visit.speech.say("banner-done", said=said))


async def _refresh(visit: Visit) -> None:
    """Have what was changed hold here at once; the child that renews the snapshot does it again."""
    try:
        await visit.deps.switches.refresh()
    except DatabaseError as error:
        log.warning("bot.switches_not_read", message=f"the switches could not be read again: {error}")


async def _show_switches(visit: Visit, preface: str | None = None) -> None:
    await visit.show(switches.overview(visit.speech, visit.deps.switches.snapshot, preface=preface))
