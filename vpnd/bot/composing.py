"""The composer of broadcasts: a message of any kind that is sent to the bot, or texts by language; buttons; a variant B."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from telegram import Message

from vpnd.bot.answers import stale
from vpnd.bot.broadcast_callbacks import Compose, ComposeButtons, ComposeText, DropB, NewBroadcast, ShareOfB
from vpnd.bot.broadcast_desk import act, find, show_one
from vpnd.bot.callbacks import Action
from vpnd.bot.screens import broadcasts as screens
from vpnd.bot.visit import Visit
from vpnd.shop import broadcast_deeds, broadcasts
from vpnd.shop.broadcast_content import VARIANT_B, Buttons, ButtonsUnreadable, read_buttons
from vpnd.shop.broadcasts import Progress
from vpnd.shop.dialogs import Expected, expected_about
from vpnd.shop.operators import Permission

#: The share of a variant B that has just been made.
_HALF: Final = 50
_TITLE: Final = 64


async def begin(visit: Visit, _action: Action) -> None:
    """Begin a draft, and ask for its message."""
    made: list[int] = []
    deed = broadcast_deeds.drafting(by=visit.actor.name, request_key=visit.request_key, made=made)
    await visit.perform("bot.broadcast", Permission.BROADCAST, deed)
    await _ask_for_message(visit, made[-1], "a")


async def compose(visit: Visit, action: Compose) -> None:
    """Ask for a variant's message."""
    if action.variant not in screens.VARIANTS:
        await stale(visit, "unreadable")
        return
    await _ask_for_message(visit, action.broadcast, action.variant)


async def _ask_for_message(visit: Visit, broadcast_id: int, which: str, problem: str | None = None) -> None:
    it = await _draft(visit, broadcast_id)
    if it is not None:
        await visit.expect("broadcast_message", about=it.id, data={"variant": which})
        await _show_composer(visit, it, which, problem)


async def _show_composer(visit: Visit, it: Progress, which: str, problem: str | None = None) -> None:
    languages = visit.deps.texts.languages
    await visit.show(screens.compose(visit.speech, it, which, languages, problem=problem))


async def _draft(visit: Visit, broadcast_id: int) -> Progress | None:
    """A draft; anything else is shown as it is, and None returned."""
    it = await find(visit, broadcast_id)
    if it is None:
        return None
    if it.state != "draft":
        await show_one(visit, it.id, visit.speech.say("broadcast-not-now", state=it.state))
        return None
    return it


async def ask_for_text(visit: Visit, action: ComposeText) -> None:
    """Ask for a text in one language."""
    if action.variant not in screens.VARIANTS or action.language not in visit.deps.texts.languages:
        await stale(visit, "unreadable")
        return
    it = await _draft(visit, action.broadcast)
    if it is not None:
        data = {"variant": action.variant, "language": action.language}
        await visit.expect("broadcast_text", about=it.id, data=data)
        await visit.show(screens.ask_for_text(visit.speech, it, action.variant, action.language))


async def ask_for_buttons(visit: Visit, action: ComposeButtons) -> None:
    """Ask for buttons."""
    if action.variant not in screens.VARIANTS:
        await stale(visit, "unreadable")
        return
    it = await _draft(visit, action.broadcast)
    if it is not None:
        await visit.expect("broadcast_buttons", about=it.id, data={"variant": action.variant})
        await visit.show(screens.ask_for_buttons(visit.speech, it, action.variant))


# ------------------------------------------------------------------------------------------ what was sent or written


async def read_message(visit: Visit, message: Message) -> None:
    """Take a message for what is to be copied. Of an album only the first is answered."""
    asked = await _asked(visit, "broadcast_message")
    if asked is None:
        return
    it, known = asked
    which = str(known.get("variant"))
    problem = _cannot_be_copied(message)
    if problem is not None:
        if message.media_group_id is None or known.get("album") != message.media_group_id:
            data = {"variant": which, "album": message.media_group_id}
            await _show_composer(visit, it, which, problem)
            await visit.expect("broadcast_message", about=it.id, data=data)
        return
    copied = {"from_chat_id": message.chat_id, "message_id": message.message_id}
    words = message.text or message.caption or ""
    await _keep(visit, it, which, {"copy": copied}, said="copy", title=words)


def _cannot_be_copied(message: Message) -> str | None:
    """Why Telegram would not copy this with buttons below it."""
    if message.media_group_id is not None:
        return "album"
    if message.invoice is not None:
        return "invoice"
    if message.paid_media is not None:
        return "paid"
    poll = message.poll
    if poll is not None and poll.type == poll.QUIZ and poll.correct_option_id is None:
        return "quiz"
    return None


async def read_text(visit: Visit, message: Message) -> None:
    """Take a message for the text in one language, as it is formatted."""
    asked = await _asked(visit, "broadcast_text")
    if asked is None:
        return
    it, known = asked
    which, language = str(known.get("variant")), str(known.get("language"))
    if not message.text:
        await visit.show(screens.ask_for_text(visit.speech, it, which, language, again=True))
        return
    texts = {**(_part(it, which).get("text") or {}), language: message.text_html}
    await _keep(visit, it, which, {"text": texts}, said="text", title=message.text)


async def read_buttons_in_words(visit: Visit, text: str) -> None:
    """Take lines for buttons; one that is none is named."""
    asked = await _asked(visit, "broadcast_buttons")
    if asked is None:
        return
    it, known = asked
    which = str(known.get("variant"))
    try:
        buttons: Buttons = [] if text.strip() in ("-", "–", "—") else read_buttons(text)
    except ButtonsUnreadable as error:
        screen = screens.ask_for_buttons(visit.speech, it, which, line=error.line, fault=error.fault)
        await visit.show(screen)
        return
    message = {key: value for key, value in _part(it, which).items() if key in ("copy", "text")}
    await _keep(visit, it, which, message, said="buttons", buttons=buttons)


async def _asked(visit: Visit, what: Expected) -> tuple[Progress, Mapping[str, Any]] | None:
    """The draft that was asked about and what was kept with the question; None: it is answered already."""
    kept = await expected_about(visit.deps.db, visit.customer.id, what)
    if kept is None or kept[0] is None or not visit.may(Permission.BROADCAST):
        await visit.expect_nothing()
        await stale(visit, "unreadable")
        return None
    it = await _draft(visit, kept[0])
    return None if it is None else (it, kept[1])


def _part(it: Progress, which: str) -> Mapping[str, Any]:
    """What a variant is so far."""
    if which == "a":
        return it.content
    found: Mapping[str, Any] = it.content.get(VARIANT_B) or {}
    return found


async def _keep(
    visit: Visit,
    it: Progress,
    which: str,
    message: Mapping[str, Any],
    *,
    said: str,
    title: str = "",
    buttons: Buttons | None = None,
) -> None:
    """Keep a variant's message and buttons, and show the draft."""
    present = _part(it, which).get("buttons") or []
    part = {**message, "buttons": present if buttons is None else buttons}
    changes: dict[str, Any] = {}
    if which == "b":
        changes["content"] = {**it.content, VARIANT_B: part}
        if not it.has_b:
            changes["share_b"] = _HALF
    else:
        other = {VARIANT_B: it.content[VARIANT_B]} if it.has_b else {}
        changes["content"] = {**part, **other}
    if title and not it.title:
        changes["title"] = title[:_TITLE]
    deed = broadcast_deeds.editing(it.id, after={"variant": which, "changed": said}, **changes)
    if not await act(visit, deed, it.id):
        return
    if said == "text":
        fresh = await broadcasts.progress(visit.deps.db, it.id)
        await _show_composer(visit, fresh or it, which)
    else:
        await show_one(visit, it.id)
    # After the answer: an update that is played again understands the words once more.
    await visit.expect_nothing()


# ------------------------------------------------------------------------------------------ variant B


async def drop_b(visit: Visit, action: DropB) -> None:
    """One variant for all."""
    it = await _draft(visit, action.broadcast)
    if it is None:
        return
    content = {key: value for key, value in it.content.items() if key != VARIANT_B}
    deed = broadcast_deeds.editing(
        it.id, after={"variant": "b", "changed": "dropped"}, content=content, share_b=0
    )
    if await act(visit, deed, it.id):
        await show_one(visit, it.id)


async def choose_share(visit: Visit, action: ShareOfB) -> None:
    """How many of a hundred get variant B."""
    it = await _draft(visit, action.broadcast)
    if it is None:
        return
    if not it.has_b or not 1 <= action.percent <= 99:
        await stale(visit, "unreadable")
        return
    deed = broadcast_deeds.editing(it.id, after={"share_b": action.percent}, share_b=action.percent)
    if await act(visit, deed, it.id):
        await show_one(visit, it.id)


def handlers() -> Mapping[type[Action], tuple[Permission, Any]]:
    """Which button needs which permission and does what."""
    do = Permission.BROADCAST
    return {
        NewBroadcast: (do, begin),
        Compose: (do, compose),
        ComposeText: (do, ask_for_text),
        ComposeButtons: (do, ask_for_buttons),
        DropB: (do, drop_b),
        ShareOfB: (do, choose_share),
    }
