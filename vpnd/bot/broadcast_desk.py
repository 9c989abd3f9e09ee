"""Buttons about broadcasts: which there are, how far they are, and what makes them begin, rest and end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vpnd.bot.answers import stale
from vpnd.bot.broadcast_callbacks import (
    Broadcasts,
    EndAsk,
    EndNow,
    IfMissed,
    OneBroadcast,
    PauseBroadcast,
    Preview,
    ResumeBroadcast,
    Schedule,
    ScheduleNow,
    SendAsk,
    SendNow,
    Unschedule,
    UseAgain,
)
from vpnd.bot.broadcasting import deliver_broadcast
from vpnd.bot.callbacks import Action
from vpnd.bot.clocks import clock_at
from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.screens import broadcasts as screens
from vpnd.bot.show import send
from vpnd.bot.visit import Visit
from vpnd.database.outbox_rows import BoundaryDown, Dead, Delivery, Drop, Retry
from vpnd.database.scope import Transaction
from vpnd.shop import broadcast_deeds, broadcasts
from vpnd.shop.broadcast_content import variant
from vpnd.shop.broadcast_deeds import Deed, NotNow
from vpnd.shop.broadcast_times import FURTHEST, BadTime, read_time, zone_of
from vpnd.shop.broadcast_watchers import Watcher, leave, watch
from vpnd.shop.broadcasts import OnMissed, Progress
from vpnd.shop.dialogs import expected_about
from vpnd.shop.operators import Permission
from vpnd.telegram.sender import Lane

#: States in which a message that shows the broadcast is kept true.
WATCHED: Final = ("scheduled", "running", "paused")


def rate_of(deps: BotDependencies) -> float | None:
    """Messages a second that Telegram takes now, as the lanes have learnt; None: no limit is set."""
    limit = deps.sender.statistics().limit
    return None if limit is None else float(limit)


# ------------------------------------------------------------------------------------------ looking


async def show_broadcasts(visit: Visit, action: Broadcasts) -> None:
    """A page of them."""
    await show_list(visit, before=action.before or None)


async def show_list(visit: Visit, *, before: int | None = None, preface: str | None = None) -> None:
    """The list, with something said before it."""
    found = await broadcasts.listed(visit.deps.db, before=before, limit=screens.PAGE + 1)
    may_send = visit.may(Permission.BROADCAST)
    await visit.show(screens.listing(visit.speech, found, may_send=may_send, preface=preface))


async def show_broadcast(visit: Visit, action: OneBroadcast) -> None:
    """One of them."""
    await show_one(visit, action.broadcast)


async def find(visit: Visit, broadcast_id: int) -> Progress | None:
    """A broadcast that is there; else the list is shown and None returned."""
    it = await broadcasts.progress(visit.deps.db, broadcast_id)
    if it is None or it.state == "discarded":
        await show_list(visit, preface=visit.speech.say("broadcast-gone"))
        return None
    return it


async def show_one(visit: Visit, broadcast_id: int, preface: str | None = None) -> None:
    """A broadcast as it is now. Where it is not at its end, the message is kept true from now on."""
    it = await find(visit, broadcast_id)
    if it is None:
        return
    screen = screens.one(
        visit.speech,
        it,
        may_send=visit.may(Permission.BROADCAST),
        rate=rate_of(visit.deps),
        ahead=await ahead_of(visit, it.scheduled_at),
        preface=preface,
    )
    await visit.show(screen)
    if it.state in WATCHED and visit.pressed is not None and visit.pressed.editable:
        watcher = Watcher(it.id, visit.chat_id, visit.pressed.message_id, visit.speech.language)

        async def body(tx: Transaction) -> None:
            await watch(tx, watcher)

        await visit.deps.db.run("bot.watch", body)


async def ahead_of(visit: Visit, at: datetime | None) -> timedelta:
    """How far the operator's clock is ahead of UTC at a moment."""
    if at is None:
        return timedelta()
    clock = await clock_at(visit.deps.db, visit.customer.telegram_id, visit.deps.time_zone, at, at)
    return timedelta() if clock is None else clock[1]


async def leave_message(visit: Visit) -> None:
    """What was pressed shows something else from now on: it is not kept true any more. One read, and nothing more as a rule."""
    pressed = visit.pressed
    if pressed is None:
        return
    sql = "select broadcast_id from broadcast_watchers where chat_id = $1 and message_id = $2"
    if not await visit.deps.db.fetch("bot.watched", sql, visit.chat_id, pressed.message_id):
        return
    number = pressed.message_id

    async def body(tx: Transaction) -> bool:
        return await leave(tx, visit.chat_id, number)

    await visit.deps.db.run("bot.leave", body)


async def act(
    visit: Visit, deed: Deed, broadcast_id: int, *, asked: int | None = None, site: str = "bot.broadcast"
) -> bool:
    """Do something to a broadcast; where its state does not allow it, say so and return False."""
    try:
        await visit.perform(site, Permission.BROADCAST, deed, asked=asked)
    except NotNow as error:
        if error.state is None or error.state == "discarded":
            await show_list(visit, preface=visit.speech.say("broadcast-gone"))
        else:
            await show_one(visit, broadcast_id, visit.speech.say("broadcast-not-now", state=error.state))
        return False
    return True


# ------------------------------------------------------------------------------------------ sending


async def preview(visit: Visit, action: Preview) -> None:
    """Send each variant, in each language it is written in, to whoever asked."""
    it = await find(visit, action.broadcast)
    if it is None or not await _is_ready(visit, it):
        return
    problem: str | None = None
    for has_b in (False, True)[: 1 + it.has_b]:
        part = variant(it.content, has_b=has_b)
        for language in list(part.get("text") or {visit.speech.language: ""}):
            outcome = await deliver_broadcast(visit.deps, part, visit.chat_id, language, lane=Lane.REPLY)
            problem = problem or _why(outcome)
    preface = None if problem is None else screens.preview_problem(visit.speech, problem)
    fresh = await broadcasts.progress(visit.deps.db, it.id) or it
    screen = screens.one(visit.speech, fresh, may_send=True, rate=rate_of(visit.deps), preface=preface)
    await send(visit.deps.sender, Lane.REPLY, visit.chat_id, screen, None)


def _why(outcome: Delivery) -> str | None:
    if isinstance(outcome, Dead | Drop):
        return outcome.reason
    if isinstance(outcome, Retry | BoundaryDown):
        return outcome.error
    return None


async def _is_ready(visit: Visit, it: Progress) -> bool:
    if it.ready:
        return True
    await show_one(visit, it.id)
    return False


async def ask_to_send(visit: Visit, action: SendAsk) -> None:
    """Say to how many, and how long that takes, and ask."""
    it = await find(visit, action.broadcast)
    if it is None or not await _is_draft(visit, it):
        return
    people = await broadcasts.reach(visit.deps.db, it.segment)
    await visit.show(screens.confirm_send(visit.speech, it, people, rate_of(visit.deps), visit.update_id))


async def _is_draft(visit: Visit, it: Progress) -> bool:
    if it.state == "draft" and it.ready:
        return True
    await show_one(visit, it.id, visit.speech.say("broadcast-not-now", state=it.state))
    return False


async def send_now(visit: Visit, action: SendNow) -> None:
    """Begin."""
    deed = broadcast_deeds.starting(action.broadcast, expected=action.expected)
    if await act(visit, deed, action.broadcast, asked=action.asked):
        await show_one(visit, action.broadcast)


async def pause(visit: Visit, action: PauseBroadcast) -> None:
    """Send no more until it is resumed."""
    if await act(visit, broadcast_deeds.pausing(action.broadcast), action.broadcast):
        await show_one(visit, action.broadcast)


async def resume(visit: Visit, action: ResumeBroadcast) -> None:
    """Go on."""
    if await act(visit, broadcast_deeds.resuming(action.broadcast), action.broadcast):
        await show_one(visit, action.broadcast)


async def ask_to_end(visit: Visit, action: EndAsk) -> None:
    """Say what would be lost, and ask."""
    it = await find(visit, action.broadcast)
    if it is None:
        return
    if it.state in ("draft", *WATCHED):
        await visit.show(screens.confirm_end(visit.speech, it, visit.update_id))
    else:
        await show_one(visit, it.id)


async def end(visit: Visit, action: EndNow) -> None:
    """Throw a draft away, or stop what runs."""
    it = await find(visit, action.broadcast)
    if it is None:
        return
    begun = it.state not in ("draft", "scheduled")
    deed = broadcast_deeds.stopping(it.id) if begun else broadcast_deeds.discarding(it.id)
    if await act(visit, deed, it.id, asked=action.asked):
        await (show_one(visit, it.id) if begun else show_list(visit))


async def use_again(visit: Visit, action: UseAgain) -> None:
    """A new draft of the same."""
    it = await find(visit, action.broadcast)
    if it is None:
        return
    if "notice" in it.content or not it.ready:
        await show_one(visit, it.id)
        return
    made: list[int] = []
    deed = broadcast_deeds.composing(
        content=it.content,
        segment=it.segment,
        title=it.title,
        share_b=it.share_b,
        by=visit.actor.name,
        made=made,
    )
    if await act(visit, deed, it.id):
        await show_one(visit, made[-1])


# ------------------------------------------------------------------------------------------ at a time


async def ask_for_time(visit: Visit, action: Schedule) -> None:
    """Ask for a day and a time in words."""
    it = await find(visit, action.broadcast)
    if it is None or not await _is_draft(visit, it):
        return
    await visit.expect("broadcast_time", about=it.id)
    await _ask_for_time(visit, it)


async def _ask_for_time(visit: Visit, it: Progress, problem: str | None = None) -> None:
    ahead = await ahead_of(visit, it.now)
    await visit.show(screens.ask_for_time(visit.speech, it, it.now.astimezone(UTC), ahead, problem=problem))


async def read_time_in_words(visit: Visit, text: str) -> None:
    """Take what was written for the time, count, and ask."""
    kept = await expected_about(visit.deps.db, visit.customer.id, "broadcast_time")
    it = None if kept is None or kept[0] is None else await broadcasts.progress(visit.deps.db, kept[0])
    if it is None or not visit.may(Permission.BROADCAST):
        await visit.expect_nothing()
        await stale(visit, "unreadable")
        return
    deps = visit.deps
    zone = await zone_of(deps.db, visit.customer.id, deps.time_zone)
    try:
        at = await read_time(deps.db, text, zone)
    except BadTime as error:
        await _ask_for_time(visit, it, error.fault)
        return
    people = await broadcasts.reach(deps.db, it.segment)
    ahead = await ahead_of(visit, at)
    await visit.show(
        screens.confirm_schedule(visit.speech, it, people, rate_of(deps), at, ahead, visit.update_id)
    )
    # After the answer: an update that is played again understands the words once more.
    await visit.expect_nothing()


async def schedule(visit: Visit, action: ScheduleNow) -> None:
    """Have it begin then; a question that was answered after its time is asked anew."""
    it = await find(visit, action.broadcast)
    if it is None:
        return
    latest = int((it.now + FURTHEST).timestamp() // 60) + 1
    if action.minute > latest:
        await stale(visit, "unreadable")
        return
    at = datetime.fromtimestamp(action.minute * 60, UTC)
    if at <= it.now:
        await _ask_for_time(visit, it, "past")
        await visit.expect("broadcast_time", about=it.id)
        return
    deed = broadcast_deeds.scheduling(it.id, at, expected=action.expected, on_missed=it.on_missed)
    if await act(visit, deed, it.id, asked=action.asked):
        await show_one(visit, it.id)


async def unschedule(visit: Visit, action: Unschedule) -> None:
    """Make it a draft again."""
    if await act(visit, broadcast_deeds.unscheduling(action.broadcast), action.broadcast):
        await show_one(visit, action.broadcast)


async def choose_if_missed(visit: Visit, action: IfMissed) -> None:
    """What becomes of it if its time is missed."""
    choices: Mapping[str, OnMissed] = {"send": "send", "skip": "skip"}
    if action.choice not in choices:
        await stale(visit, "unreadable")
        return
    choice = choices[action.choice]
    deed = broadcast_deeds.editing(action.broadcast, after={"on_missed": choice}, on_missed=choice)
    if await act(visit, deed, action.broadcast):
        await show_one(visit, action.broadcast)


def handlers() -> Mapping[type[Action], tuple[Permission, Any]]:
    """Which button needs which permission and does what; those of the composer stand with it."""
    look, do = Permission.BROADCASTS, Permission.BROADCAST
    return {
        Broadcasts: (look, show_broadcasts),
        OneBroadcast: (look, show_broadcast),
        Preview: (do, preview),
        SendAsk: (do, ask_to_send),
        SendNow: (do, send_now),
        PauseBroadcast: (do, pause),
        ResumeBroadcast: (do, resume),
        EndAsk: (do, ask_to_end),
        EndNow: (do, end),
        UseAgain: (do, use_again),
        Schedule: (do, ask_for_time),
        ScheduleNow: (do, schedule),
        Unschedule: (do, unschedule),
        IfMissed: (do, choose_if_missed),
    }
