"""How operators are told: in their group, one message an alert, or each in private.

A row of kind "admin_alert" is taken into the alerts (`vpnd.shop.alerts`) and becomes posts, in the transaction that notes it: for
the group a row that says "make its message say what the alert says now", for operators in private a message each. So a post that
is repeated, or comes late, does no harm: it shows the present.

In the group an alert is one message that is changed while it goes on. After an hour without acknowledgement it is told anew, in
reply to the last one. A group that cannot be written to (the bot was removed, the topic was closed) is no alert: the owners are
told in private, and the journal hears of it once. Keys of all that is written here begin with `vpnd.monitors.alarms.KEY`, so
that the monitors do not count it: no alert is about an alert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, get_args

from telegram import LinkPreviewOptions, ReplyParameters
from telegram.constants import ParseMode

from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.notices import outcome_of
from vpnd.bot.screens import alert_board
from vpnd.bot.screens.screen import Screen
from vpnd.bot.speech import Speech
from vpnd.database import outbox
from vpnd.database.outbox_rows import Delivered, Delivery, Drop, OutboxItem
from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.shop.alert_groups import (
    AlertGroup,
    group_found,
    group_lost,
    group_moved,
    group_of,
    key_about_alerts,
    posted,
    put_posts,
)
from vpnd.shop.alerts import ALARM, Alert, alert_by_id, muted_kinds, news_of, note, recipients
from vpnd.shop.notices import MESSAGE, Template, message_payload, order_key
from vpnd.telegram.errors import Blocked, Migrated, NotModified, Rejected, TelegramError
from vpnd.telegram.sender import Lane

__all__ = ["deliver_admin_alert", "deliver_alert_post", "show_again"]

log = get_journal("bot")

#: After so long an alert that goes on, and that nobody has acknowledged, is told anew and not only changed.
TELL_AGAIN: Final = timedelta(hours=1)
_TEMPLATES: Final = frozenset(get_args(Template))
_NO_PREVIEW: Final = LinkPreviewOptions(is_disabled=True)


# ------------------------------------------------------------------------------------------ what happened


async def deliver_admin_alert(deps: BotDependencies, item: OutboxItem) -> Delivery:
    """Take a row into the alerts, and write what tells of it: all in one transaction, so that a repeat writes nothing twice.

    In private each operator gets a message of his own, so that one who cannot be reached keeps nobody else from hearing of it.
    """
    template, args = str(item.payload["template"]), item.payload["args"]
    news = news_of(template, args)

    async def body(tx: Transaction) -> bool:
        ids = await note(tx, item.key, news)
        if ids is None:
            return True
        if deps.alerts.chat is not None:
            await put_posts(tx, deps.alerts.chat, ids, item.key)
            return True
        return await _tell_all(tx, deps, item.key, template, args, ids)

    if not await deps.db.run("bot.admin_alert", body):
        log.warning(
            "bot.no_admins", message="something needs a human, and [telegram] admins is empty", key=item.key
        )
        return Drop("no admins are configured")
    return Delivered()


async def _tell_all(
    tx: Transaction,
    deps: BotDependencies,
    key: str,
    template: str,
    args: Mapping[str, Any],
    ids: Sequence[int],
) -> bool:
    """Tell each owner and manager in private of what is not muted; False if there is nobody to tell."""
    people = await recipients(tx, deps.admins)
    muted = await muted_kinds(tx)
    told: Mapping[str, Any] | None = args
    if template == "alarms":
        told = {
            side: [one for one in args[side] if f"{ALARM}{one['name']}" not in muted]
            for side in ("raised", "cleared")
        }
        told = told if told["raised"] or told["cleared"] else None
    elif template in muted:
        told = None
    if told is not None:
        alert_id = ids[0] if template != "alarms" and len(ids) == 1 else None
        await _write(tx, deps, people, key, template, told, alert_id)
    return bool(people)


async def _write(
    tx: Transaction,
    deps: BotDependencies,
    people: Mapping[int, str | None],
    key: str,
    template: str,
    args: Mapping[str, Any],
    alert_id: int | None,
) -> None:
    for person, language in people.items():
        payload: dict[str, Any] = message_payload(person, template, args, language or deps.texts.default)  # type: ignore[arg-type]  # a newer version's template has words of its own
        if alert_id is not None:
            payload["alert"] = alert_id
        await outbox.put(
            tx,
            MESSAGE,
            key_about_alerts(key, person),
            payload,
            lane="notice",
            order_key=order_key(person),
        )


# ------------------------------------------------------------------------------------------ the group


async def deliver_alert_post(deps: BotDependencies, item: OutboxItem) -> Delivery:
    """Make the group's message about an alert say what the alert says now. Database errors are raised."""
    alert = await alert_by_id(deps.db, int(item.payload["alert"]))
    if alert is None:
        return Drop("the alert is not kept any more")
    configured, again = deps.alerts.chat, str(item.payload.get("again", ""))
    if alert.muted and alert.closed_at is None:
        return Drop("muted")
    if alert.closed_at is not None and (alert.message_id is None or (again and configured is None)):
        return Drop("over before it was told")
    if configured is None:
        return await _fall_back(deps, alert, "no group is configured", again=again)
    group = await group_of(deps.db, configured)
    try:
        await _post_following(deps, group, alert)
    except (Blocked, Rejected, Migrated) as error:
        if await _lose(deps, group, alert, error):
            log.warning(
                "alerts.group_lost",
                message=f"the group of [alerts] cannot be written to, the owners are told in private: {error}",
                chat=str(group.chat_id),
            )
        return await _fall_back(deps, alert, str(error), again=again)
    except Exception as error:
        outcome = outcome_of(error)
        if outcome is None:
            raise
        return outcome
    return Delivered()


async def _post_following(deps: BotDependencies, group: AlertGroup, alert: Alert) -> None:
    """Post, and where the group has become a supergroup, remember that and post there."""
    try:
        await _post(deps, group, alert)
    except Migrated as moved:
        await _follow(deps, group, moved.new_chat_id)
        await _post(deps, AlertGroup(group.configured, moved.new_chat_id), alert)
    if str(_topic(deps, alert) or 0) in group.lost:

        async def body(tx: Transaction) -> bool:
            return await group_found(tx, group.configured, _topic(deps, alert) or 0)

        if await deps.db.run("bot.alert_group", body):
            log.info("alerts.group_back", message="the group of [alerts] can be written to again")


def _topic(deps: BotDependencies, alert: Alert) -> int | None:
    return deps.alerts.topic_of(alert.kind, alert.severity)


def _speech(deps: BotDependencies) -> Speech:
    return Speech(deps.texts, deps.texts.default)


async def _post(deps: BotDependencies, group: AlertGroup, alert: Alert) -> None:
    screen = alert_board.in_group(_speech(deps), alert)
    here = alert.message_id is not None and alert.chat_id == group.chat_id
    if here and not _tell_anew(alert) and await _edit(deps, group.chat_id, alert, screen):
        return
    reply = None
    if here and alert.message_id is not None:
        reply = ReplyParameters(alert.message_id, allow_sending_without_reply=True)
    message = await deps.sender.call(
        Lane.NOTICE,
        "send_message",
        chat_id=group.chat_id,
        text=screen.text,
        parse_mode=ParseMode.HTML,
        reply_markup=screen.keyboard(),
        link_preview_options=_NO_PREVIEW,
        message_thread_id=_topic(deps, alert),
        reply_parameters=reply,
    )

    async def body(tx: Transaction) -> None:
        await posted(tx, alert.id, group.chat_id, message.message_id)

    await deps.db.run("bot.alert_posted", body)


def _tell_anew(alert: Alert) -> bool:
    """Whether an alert goes on unseen for so long that a changed message is not enough."""
    unseen = alert.acknowledged_by is None and alert.closed_at is None
    return unseen and alert.told_at is not None and alert.now - alert.told_at >= TELL_AGAIN


async def _edit(deps: BotDependencies, chat_id: int, alert: Alert, screen: Screen) -> bool:
    """Change the message; False where that is impossible: it was deleted, or is too old."""
    try:
        await deps.sender.call(
            Lane.NOTICE,
            "edit_message_text",
            text=screen.text,
            chat_id=chat_id,
            message_id=alert.message_id,
            parse_mode=ParseMode.HTML,
            reply_markup=screen.keyboard(),
            link_preview_options=_NO_PREVIEW,
        )
    except NotModified:
        return True
    except Rejected as error:
        log.debug("alerts.edit_refused", message=f"a message about an alert could not be changed: {error}")
        return False
    return True


async def _follow(deps: BotDependencies, group: AlertGroup, new_chat_id: int) -> None:
    """Remember where the group is now, and tell the owners."""

    async def body(tx: Transaction) -> bool:
        if not await group_moved(tx, group.configured, new_chat_id):
            return False
        people = await recipients(tx, deps.admins, ("owner",))
        args = {"old": str(group.configured), "new": str(new_chat_id)}
        await _write(
            tx,
            deps,
            people,
            key_about_alerts("moved", group.configured, new_chat_id),
            "alert_group_moved",
            args,
            None,
        )
        return True

    if await deps.db.run("bot.alert_group", body):
        log.warning(
            "alerts.group_moved",
            message=f"the group of [alerts] is chat {new_chat_id} now, and is posted to there; write that into the configuration",
            chat=str(new_chat_id),
        )


async def _lose(deps: BotDependencies, group: AlertGroup, alert: Alert, error: TelegramError) -> bool:
    """Note that the group, or the alert's topic of it, cannot be written to; False if that is known."""

    async def body(tx: Transaction) -> bool:
        return await group_lost(tx, group.configured, _topic(deps, alert) or 0, str(error)[:200])

    return await deps.db.run("bot.alert_group", body)


async def _fall_back(deps: BotDependencies, alert: Alert, why: str, *, again: str = "") -> Delivery:
    """Tell operators in private, once for each time that the alert came: owners of a group that is lost, else managers too.

    `again` names why it is told once more though it has not come anew: whoever has seen it is spared that.
    """
    over = alert.closed_at is not None
    if over and alert.closed_by is not None:
        return Drop(why)
    if again and alert.acknowledged_by is not None:
        return Drop("somebody looks after it")
    template, args = alert.kind, alert.args
    if alert.kind.startswith(ALARM):
        template, args = "alarms", {"raised": [] if over else [args], "cleared": [args] if over else []}
    key = key_about_alerts("private", alert.id, "over" if over else alert.times, *filter(None, [again]))
    lost = deps.alerts.chat is not None

    async def body(tx: Transaction) -> None:
        people = await recipients(tx, deps.admins, ("owner",) if lost else ("owner", "manager"))
        alert_id = alert.id if template in _TEMPLATES and template != "alarms" else None
        await _write(tx, deps, people, key, template, args, alert_id)

    await deps.db.run("bot.alert_private", body)
    return Drop(f"told in private: {why}"[:200])


async def show_again(deps: BotDependencies, alert_id: int) -> None:
    """Make the group's message, if there is one, say at once what an alert says now; the one who pressed waits for it.

    What cannot be shown is shown with the next news: nothing is lost by it.
    """
    configured = deps.alerts.chat
    alert = await alert_by_id(deps.db, alert_id)
    if configured is None or alert is None or alert.message_id is None or alert.chat_id is None:
        return
    try:
        await _edit(deps, alert.chat_id, alert, alert_board.in_group(_speech(deps), alert))
    except TelegramError as error:
        log.debug("alerts.edit_refused", message=f"a message about an alert could not be changed: {error}")
