"""For operators: what could not leave the outbox, tried again or dropped."""

from __future__ import annotations

from vpnd.bot.customer_callbacks import DeadLetters, LetterAgain, LetterDropAsk, LetterDropNow, OneLetter
from vpnd.bot.screens import dead_letters as screens
from vpnd.bot.visit import Visit
from vpnd.database.scope import Transaction
from vpnd.shop import dead_letters
from vpnd.shop.audit_log import Change
from vpnd.shop.dead_letters import DeadLetter, NoDeadLetter
from vpnd.shop.operators import Permission


async def show_letters(visit: Visit, action: DeadLetters) -> None:
    """A page of them."""
    await _show(visit, action.before or None)


async def _show(visit: Visit, before: int | None = None, preface: str | None = None) -> None:
    page = await dead_letters.dead_letters(visit.deps.db, before=before, limit=screens.PAGE + 1)
    await visit.show(screens.page(visit.speech, page, preface=preface))


async def _one(visit: Visit, letter_id: int) -> DeadLetter | None:
    """One of them; None if somebody has seen to it, which was answered here."""
    letter = await dead_letters.dead_letter(visit.deps.db, letter_id)
    if letter is None:
        await visit.show(screens.gone(visit.speech))
    return letter


async def show_letter(visit: Visit, action: OneLetter) -> None:
    """One of them, and what can be done."""
    letter = await _one(visit, action.letter)
    if letter is not None:
        await visit.show(screens.letter(visit.speech, letter))


async def again(visit: Visit, action: LetterAgain) -> None:
    """Try it again, with all its attempts."""

    async def deed(tx: Transaction) -> Change:
        return await dead_letters.retry(tx, action.letter)

    try:
        await visit.perform("bot.letter_again", Permission.DEAD_LETTERS, deed)
    except NoDeadLetter:
        await visit.show(screens.gone(visit.speech))
        return
    await _show(visit, preface=visit.speech.say("letter-tried"))


async def ask_to_drop(visit: Visit, action: LetterDropAsk) -> None:
    """Ask whether it is given up for good."""
    letter = await _one(visit, action.letter)
    if letter is not None:
        await visit.show(screens.confirm_drop(visit.speech, letter, visit.update_id))


async def drop(visit: Visit, action: LetterDropNow) -> None:
    """Give it up."""

    async def deed(tx: Transaction) -> Change:
        return await dead_letters.drop(tx, action.letter)

    try:
        await visit.perform("bot.letter_drop", Permission.DEAD_LETTERS, deed, asked=action.asked)
    except NoDeadLetter:
        await visit.show(screens.gone(visit.speech))
        return
    await _show(visit, preface=visit.speech.say("letter-dropped"))
