"""What leaves by the outbox as a message: receipts, expiries, news of money. What operators must look at is written by
`vpnd.bot.alert_posts`.

A row says who, which text and with which values; the words, the link and the picture are made here, at the moment of
sending. Telegram has no key that would make a repeated send harmless, so a message whose answer was lost may come
twice: that is counted, and rather twice than never.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vpnd.bot.clocks import ending_of
from vpnd.bot.connect import connect_info
from vpnd.bot.counters import perhaps_repeated_total
from vpnd.bot.dependencies import BotDependencies
from vpnd.bot.figures import summary_screen
from vpnd.bot.reading import held_by_id, next_step
from vpnd.bot.screens import alert_board, from_operator, money, paid, reminders
from vpnd.bot.screens.screen import Screen
from vpnd.bot.screens.trouble import words
from vpnd.bot.show import send
from vpnd.bot.speech import Speech
from vpnd.bot.visit import note_reachable
from vpnd.bot.ways import ways_to_fill
from vpnd.database.outbox_rows import BoundaryDown, Dead, Delivered, Delivery, Drop, OutboxItem, Retry
from vpnd.runtime.journal import get_journal
from vpnd.telegram.errors import (
    Blocked,
    Conflict,
    Migrated,
    Rejected,
    RetryLater,
    TelegramUnavailable,
    Unauthorized,
)
from vpnd.telegram.sender import Lane

log = get_journal("bot")

#: Seconds until a token that is refused is tried again: only an operator can mend that.
REFUSED_PAUSE: Final = 60.0


async def deliver_message(deps: BotDependencies, item: OutboxItem) -> Delivery:
    """Send one row of kind "message". Database errors are raised; Telegram's become outcomes.

    Somebody who blocked the bot is marked unreachable and his message dropped.
    """
    try:
        chat_id = int(item.payload["chat_id"])
        screen = await _render(deps, item.payload)
    except _NoLongerTrue as outdated:
        return Drop(str(outdated))
    except (KeyError, ValueError, TypeError) as error:
        return Dead(f"the payload cannot be rendered: {type(error).__name__}: {error}")
    lane = _lane(item.lane)
    try:
        await send(deps.sender, lane, chat_id, screen, deps.qr)
    except Blocked as error:
        await note_reachable(deps, chat_id, False)
        return Drop(f"unreachable: {error}")
    except Exception as error:
        outcome = outcome_of(error)
        if outcome is None:
            raise
        return outcome
    return Delivered()


def outcome_of(error: Exception) -> Delivery | None:
    """What a failure of Telegram means for a row of the outbox; None for a failure that is not Telegram's."""
    if isinstance(error, RetryLater):
        return Retry(error.after, str(error))
    if isinstance(error, TelegramUnavailable):
        if error.maybe_sent:
            perhaps_repeated_total.inc()
        return BoundaryDown(None, str(error))
    if isinstance(error, Unauthorized | Conflict):
        return BoundaryDown(REFUSED_PAUSE, str(error))
    if isinstance(error, Migrated):
        # We speak to people, and only a group can move: whoever wrote such a row is nobody who waits for it.
        return Drop(str(error))
    if isinstance(error, Rejected | Blocked):
        return Dead(str(error))
    return None


def _lane(name: str) -> Lane:
    return next((lane for lane in Lane if lane.label == name), Lane.NOTICE)


class _NoLongerTrue(Exception):
    """What a row was to say is over."""


async def _render(deps: BotDependencies, payload: Mapping[str, Any]) -> Screen:
    """The words of a row.

    Raises KeyError, ValueError or TypeError for values that are missing or of another kind than the template's, and
    _NoLongerTrue for what was overtaken since the row was written.
    """
    language = str(payload.get("language"))
    speech = Speech(deps.texts, language if language in deps.texts.languages else deps.texts.default)
    template, args = str(payload["template"]), payload["args"]
    if template == "receipt":
        held = await held_by_id(deps.db, int(args["subscription_id"]))
        if held is None:
            return words(speech, "notice-unknown")
        if held.blocked:
            return from_operator.paid_while_blocked(speech, args, deps.support)
        connect = await connect_info(deps.nodes, held.subscription, deps.public_url)
        return paid.receipt(speech, args, held, connect)
    if template == "topped_up":
        return money.topped_up(speech, args, await next_step(deps.db, int(payload["chat_id"])))
    if template == "renewal_short":
        can_fill = bool(ways_to_fill(deps.terms, deps.topups, deps.currency, deps.topups.most))
        return money.renewal_short(speech, args, deps.topups, can_fill=can_fill)
    if template == "summary":
        summary = await summary_screen(deps, speech, int(payload["chat_id"]), args)
        if summary is None:
            raise _NoLongerTrue("whoever it is for may not see figures any more")
        return summary
    if template in reminders.ENDINGS:
        return await _about_an_end(deps, speech, template, args)
    render = money.NOTICES.get(template)
    if render is not None and "alert" in payload:
        screen = render(speech, args)
        return Screen(screen.text, alert_board.private_rows(speech, int(payload["alert"])))
    if render is None:
        # A newer version wrote it: the customer still hears that there is news.
        log.warning(
            "bot.template_unknown", message=f"there is no text for the notice {template!r}", template=template
        )
        return words(speech, "notice-unknown")
    return render(speech, args)


async def _about_an_end(
    deps: BotDependencies, speech: Speech, template: str, args: Mapping[str, Any]
) -> Screen:
    """A reminder or a notice of a trial, with what is really left by now."""
    ending = await ending_of(deps.db, int(args["subscription_id"]), deps.time_zone)
    if ending is None or not reminders.still_true(template, args, ending):
        raise _NoLongerTrue("renewed, ended or taken back meanwhile")
    return reminders.ENDINGS[template](speech, args, ending)
