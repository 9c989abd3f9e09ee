"""The catalogue in the bot: its texts, and which ways to pay are offered."""

from __future__ import annotations

from functools import partial

import trio

from vpnd.bot.answers import stale
from vpnd.bot.button_data import Action
from vpnd.bot.catalogue_callbacks import (
    OneText,
    ResetText,
    ResetTextNow,
    WayOff,
    WaySwitch,
    WriteText,
    WrittenTexts,
)
from vpnd.bot.catalogue_editing import about_expected, deed_of, language_at, must_edit
from vpnd.bot.screens import catalogue_texts as screens
from vpnd.bot.text_editing import EditedText, faults_in, find_texts, key_numbered, text_of
from vpnd.bot.visit import Visit
from vpnd.database.errors import DatabaseError
from vpnd.database.scope import Transaction
from vpnd.runtime.journal import get_journal
from vpnd.shop.audit_log import Change
from vpnd.shop.operators import NotAllowed, Permission
from vpnd.shop.switches import PAY, set_switch
from vpnd.shop.text_overrides import list_overrides, put_override, remove_override

__all__ = [
    "ask_for_text",
    "ask_to_reset",
    "ask_to_switch_way_off",
    "read_search",
    "read_text",
    "reset",
    "show_languages",
    "show_text",
    "show_ways",
    "show_written",
    "switch_way",
]

log = get_journal("bot")

# ------------------------------------------------------------------------------------------ texts


async def show_languages(visit: Visit, _action: Action) -> None:
    """The languages whose texts can be edited."""
    await visit.show(screens.languages(visit.speech))


async def show_written(visit: Visit, action: WrittenTexts) -> None:
    """What was written in the bot in a language; words that follow are what to look for."""
    language = language_at(visit, action.language)
    if language is None:
        await stale(visit, "unreadable")
        return
    found = [one for one in await list_overrides(visit.deps.db) if one.language == language]
    page = min(action.page, max(0, (len(found) - 1) // screens.PAGE))
    await visit.expect("text_search", data={"language": language})
    await visit.show(screens.written(visit.speech, action.language, language, page, found))


async def read_search(visit: Visit, text: str) -> None:
    """Look for texts."""
    if not visit.may(Permission.CATALOGUE):
        raise NotAllowed(Permission.CATALOGUE, visit.actor.role)
    kept = await about_expected(visit, "text_search", "language")
    if kept is None:
        return
    (language,) = kept
    written = await list_overrides(visit.deps.db)
    look = partial(find_texts, text, language, visit.deps.texts_dir, written, screens.PAGE)
    found = await trio.to_thread.run_sync(look)
    number = _number(visit, language)
    # What is expected stays so: the next words are looked for as well.
    await visit.show(screens.found_texts(visit.speech, number, found))


def _number(visit: Visit, language: str) -> int:
    languages = visit.speech.texts.languages
    return languages.index(language) if language in languages else 0


async def _text(visit: Visit, number: int, key: int) -> EditedText | None:
    """A text that a button names; None, and the answer given, if there is none."""
    language, name = language_at(visit, number), await trio.to_thread.run_sync(key_numbered, key)
    if language is None or name is None:
        await stale(visit, "unreadable")
        return None
    return await _read(visit, language, name)


async def _read(visit: Visit, language: str, key: str) -> EditedText | None:
    written = await list_overrides(visit.deps.db)
    return await trio.to_thread.run_sync(text_of, key, language, visit.deps.texts_dir, written)


async def show_text(visit: Visit, action: OneText) -> None:
    """One text."""
    found = await _text(visit, action.language, action.key)
    if found is not None:
        await visit.show(screens.text(visit.speech, action.language, found))


async def ask_for_text(visit: Visit, action: WriteText) -> None:
    """Ask for the words of a text."""
    found = await _text(visit, action.language, action.key)
    if found is not None:
        await visit.expect("text_body", data={"language": found.language, "key": found.key})
        await visit.show(screens.write(visit.speech, action.language, found))


async def read_text(visit: Visit, text: str) -> None:
    """Judge what was written for a text, and have it said at once; what is refused may be written again."""
    must_edit(visit)
    kept = await about_expected(visit, "text_body", "language", "key")
    if kept is None:
        return
    language, key = kept
    body, faults = await trio.to_thread.run_sync(faults_in, key, language, text)
    number = _number(visit, language)
    if body is None:
        found = await _read(visit, language, key)
        if found is not None:
            await visit.show(screens.write(visit.speech, number, found, faults))
        return

    async def deed(tx: Transaction) -> Change:
        before = await put_override(tx, language, key, body, by=visit.actor.name)
        return Change(
            subject=f"text:{language}:{key}",
            before=None if before is None else {"text": before},
            after={"text": body},
        )

    await deed_of(visit, deed)
    await _reload(visit)
    await _show_again(visit, language, key)
    await visit.expect_nothing()


async def _show_again(visit: Visit, language: str, key: str) -> None:
    found = await _read(visit, language, key)
    if found is not None:
        said = visit.speech.say("catalogue-done")
        await visit.show(screens.text(visit.speech, _number(visit, language), found, preface=said))


async def _reload(visit: Visit) -> None:
    """Have what was written hold here at once; the child that looks for changes does it again."""
    try:
        await visit.deps.reload_texts()
    except DatabaseError as error:
        log.warning("bot.texts_not_read", message=f"the texts could not be read again: {error}")


async def ask_to_reset(visit: Visit, action: ResetText) -> None:
    """Ask whether a text is to be said as before."""
    found = await _text(visit, action.language, action.key)
    if found is not None:
        await visit.show(screens.reset(visit.speech, action.language, found, visit.update_id))


async def reset(visit: Visit, action: ResetTextNow) -> None:
    """Say a text as the folder or the package has it."""
    language, key = (
        language_at(visit, action.language),
        await trio.to_thread.run_sync(key_numbered, action.key),
    )
    if language is None or key is None:
        await stale(visit, "unreadable")
        return

    async def deed(tx: Transaction) -> Change:
        before = await remove_override(tx, language, key)
        return Change(
            subject=f"text:{language}:{key}", before=None if before is None else {"text": before}, after=None
        )

    await deed_of(visit, deed, asked=action.asked)
    await _reload(visit)
    await _show_again(visit, language, key)


# ------------------------------------------------------------------------------------------ ways to pay


async def show_ways(visit: Visit, _action: Action) -> None:
    """The ways to pay, and which are offered."""
    await _refresh(visit)
    await _show_ways(visit)


async def _show_ways(visit: Visit, preface: str | None = None) -> None:
    deps = visit.deps
    await visit.show(screens.ways(visit.speech, deps.methods, list(deps.terms), preface=preface))


async def _refresh(visit: Visit) -> None:
    try:
        await visit.deps.switches.refresh()
    except DatabaseError as error:
        log.warning("bot.switches_not_read", message=f"the switches could not be read again: {error}")


async def ask_to_switch_way_off(visit: Visit, action: WayOff) -> None:
    """Ask whether a way to pay is to be offered no longer."""
    if action.method not in visit.deps.methods:
        await stale(visit, "unreadable")
        return
    last = list(visit.deps.terms) == [action.method]
    await visit.show(screens.way_off(visit.speech, action.method, last=last, asked=visit.update_id))


async def switch_way(visit: Visit, action: WaySwitch) -> None:
    """Offer a way to pay, or not."""
    if action.method not in visit.deps.methods:
        await stale(visit, "unreadable")
        return
    on = bool(action.on)

    async def deed(tx: Transaction) -> Change:
        changed = await set_switch(tx, PAY + action.method, paused=not on, by=visit.actor.name)
        return Change(subject=f"method:{action.method}", before={"on": on ^ changed}, after={"on": on})

    await deed_of(visit, deed, asked=action.asked)
    await _refresh(visit)
    await _show_ways(visit, visit.speech.say("catalogue-done"))
