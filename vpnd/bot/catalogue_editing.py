"""What all rooms of the catalogue need: who may edit it, a change and what is said of it, and what a question kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from vpnd.bot.answers import stale
from vpnd.bot.button_data import Action
from vpnd.bot.screens import catalogue as screens
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop.audit_log import Change
from vpnd.shop.catalogue import CatalogueError
from vpnd.shop.dialogs import Expected, expected_about
from vpnd.shop.operators import NotAllowed, Permission

__all__ = ["about_expected", "change_said", "deed_of", "language_at", "must_edit", "taken"]

Deed = Callable[[Transaction], Awaitable[Change]]


def must_edit(visit: Visit) -> None:
    """For what only asks: make sure that he may edit. Raises NotAllowed."""
    if not visit.may(Permission.EDIT_CATALOGUE):
        raise NotAllowed(Permission.EDIT_CATALOGUE, visit.actor.role)


async def deed_of(visit: Visit, deed: Deed, *, asked: int = 0) -> Change:
    """Change the catalogue; see `Visit.perform`. `asked`: the update that asked the question, 0 if there was none."""
    return await visit.perform("bot.catalogue", Permission.EDIT_CATALOGUE, deed, asked=asked or None)


async def change_said(visit: Visit, deed: Deed, *, asked: int = 0) -> str:
    """Change the catalogue; returns what is said of it, as HTML: that it is done, or why not."""
    try:
        await deed_of(visit, deed, asked=asked)
    except CatalogueError as error:
        return screens.refused(visit.speech, error.reason)
    return visit.speech.say("catalogue-done")


async def taken(visit: Visit, deed: Deed, back: Action) -> bool:
    """Change the catalogue by what was written. False, and the answer given, where that cannot be: he is asked on."""
    try:
        await deed_of(visit, deed)
    except CatalogueError as error:
        said = screens.refused(visit.speech, error.reason)
        await visit.show(screens.ask(visit.speech, said, back))
        return False
    return True


def language_at(visit: Visit, number: int) -> str | None:
    """The language at a place of those that the bot speaks; None if there is none."""
    languages = visit.speech.texts.languages
    return languages[number] if number < len(languages) else None


async def about_expected(visit: Visit, what: Expected, *names: str) -> tuple[str, ...] | None:
    """What was kept with a question, by name; None, and the answer given, where it is not there any more."""
    kept = await expected_about(visit.deps.db, visit.customer.id, what)
    values = tuple(kept[1].get(name) for name in names) if kept is not None else ()
    if len(values) != len(names) or not all(isinstance(value, str) for value in values):
        await visit.expect_nothing()
        await stale(visit, "unreadable")
        return None
    return tuple(str(value) for value in values)
